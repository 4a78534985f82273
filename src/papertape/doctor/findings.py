"""What a check-up looks at, and what it finds: one sentence for each thing, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from papertape.errors import ChangerError, DriveError, Interrupted, PapertapeError, UserError, VolumeError
from papertape.events import Tell
from papertape.ledger import Ledger
from papertape.settings import Settings
from papertape.tape.changer import Changer
from papertape.tape.generations import Generation
from papertape.tape.library import DriveSource
from papertape.tape.scsi.stdevice import ScsiDrive
from papertape.transfer.stop import Stop

SET_UP = UserError.exit_code
SEVERITY = (SET_UP, ChangerError.exit_code, DriveError.exit_code, VolumeError.exit_code, PapertapeError.exit_code)
"""Exit codes of problems, the worst first: what is wrong in the set-up may well be the cause of the others."""


@dataclass(frozen=True)
class Devices:
    """The library's parts as the config names them, not yet open; they wait for nothing.

    ``locks`` is the folder of the lock files, ``generation`` that of a library in a folder.
    """

    changer: Changer
    drives: Sequence[DriveSource]
    locks: Path
    generation: Generation | None = None

    @property
    def nodes(self) -> tuple[Path, ...]:
        """The device nodes of the drives; none in a library in a folder."""
        return tuple(drive.path for drive in self.drives if isinstance(drive, ScsiDrive))

    def name(self, number: int) -> str:
        """Return what the config calls the drive: its device node, or "drive 0"."""
        return str(self.nodes[number]) if self.nodes else f"drive {number}"


@dataclass(frozen=True)
class SetUp:
    """What is checked. ``devices`` and ``ledger`` are None where they cannot be had, ``ledger_file`` if it is none."""

    settings: Settings
    prefixes: tuple[str, ...]
    devices: Devices | None
    ledger: Ledger | None
    ledger_file: Path | None
    tell: Tell
    stop: Stop


class Verdict(StrEnum):
    """What a check came to; only a problem keeps a night from succeeding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One finding: ``sentence`` says what, ``remedy`` what to change, ``code`` is the exit code of a problem."""

    name: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    code: int = 0


def ok(name: str, sentence: str) -> Check:
    """Return that all is well."""
    return Check(name, Verdict.OK, sentence)


def warning(name: str, sentence: str, remedy: str = "") -> Check:
    """Return what may go wrong, or be slow."""
    return Check(name, Verdict.WARNING, sentence, remedy)


def problem(name: str, sentence: str, remedy: str = "", code: int = SET_UP) -> Check:
    """Return what will go wrong."""
    return Check(name, Verdict.PROBLEM, sentence, remedy, code)


def skipped(name: str, sentence: str) -> Check:
    """Return what was not looked at, and why."""
    return Check(name, Verdict.SKIPPED, sentence)


def fault(name: str, error: PapertapeError) -> Check:
    """Return an error as a problem; its own sentence says the remedy."""
    sentence = "; ".join((str(error), *getattr(error, "__notes__", ())))
    return problem(name, sentence, code=error.exit_code)


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yield what ``look`` finds; an error in it is a finding too, and never hides those of others."""
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
