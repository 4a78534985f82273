"""The things that a check-up looks at, how errors become findings, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from papertape.errors import ChangerError, DriveError, Interrupted, PapertapeError, VolumeError
from papertape.events import Tell
from papertape.ledger import Ledger
from papertape.settings import Settings
from papertape.tape.checks import SET_UP, Check, Verdict, problem
from papertape.tape.kind import LibraryKind, Parts
from papertape.transfer.stop import Stop

SEVERITY = (SET_UP, ChangerError.exit_code, DriveError.exit_code, VolumeError.exit_code, PapertapeError.exit_code)
"""Exit codes of problems, the worst first: what is wrong in the set-up may well be the cause of the others."""


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """All that is checked.

    ``devices`` are the parts of the library, not yet open; they wait for nothing. They and ``ledger`` are None where
    they cannot be opened. ``ledger_file`` is None for a ledger on a server.
    """

    kind: LibraryKind
    settings: Settings
    prefixes: tuple[str, ...]
    devices: Parts | None
    ledger: Ledger | None
    ledger_file: Path | None
    tell: Tell
    stop: Stop

    def name(self, drive: int) -> str:
        """Return the drive's name in the config: its device node, or "drive 0"."""
        return self.kind.device(drive) or f"drive {drive}"


def fault(name: str, error: PapertapeError) -> Check:
    """Return an error as a problem; its sentence says the remedy."""
    sentence = "; ".join((str(error), *getattr(error, "__notes__", ())))
    return problem(name, sentence, code=error.exit_code)


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yield the findings of ``look``; an error in it is a finding too, and never hides other findings."""
    try:
        yield from look()
    except Interrupted:
        raise
    except PapertapeError as error:
        yield fault(name, error)
    except Exception as error:  # noqa: BLE001  a bug in one check must not hide what the others find
        told = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        yield problem(name, f"unexpected: {told} (this is a bug)", code=PapertapeError.exit_code)


def exit_code(checks: Iterable[Check]) -> int:
    """Return the exit code of the worst problem, 0 if there is none."""
    codes = {check.code for check in checks if check.verdict is Verdict.PROBLEM}
    return next((code for code in SEVERITY if code in codes), max(codes, default=0))


def check_stop(stop: Stop) -> None:
    """Raise Interrupted if the operator asked to stop, at once or soon."""
    if stop.soon:
        raise Interrupted("interrupted: the check-up is not complete; run it again")
