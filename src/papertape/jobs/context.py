"""The context that every job works in, and the outcome of a dump."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from papertape.errors import ConfigError, Interrupted, NothingToDo, PapertapeError
from papertape.events import Ended, Note, Tell
from papertape.evidence import Verification
from papertape.ids import DumpId, VolumeTag
from papertape.ledger import Ledger, Patience
from papertape.settings import Settings
from papertape.states import DumpState, LabKind
from papertape.tape.library import Library
from papertape.transfer.stop import Stop

TAKEN = "the lab's database says that it is taken, or is not to be used any more"


class Lost(NamedTuple):
    """The part of a dump's claim that the lab's databases refused: ``sources`` of data sets, and ``volumes`` by tag."""

    sources: tuple[str, ...]
    volumes: tuple[VolumeTag, ...]


class Lab(Protocol):
    """The lab's own databases as a dump sees them: it must claim there what it takes, and report at its end.

    The methods but ``settle`` raise UserError if the config or an option file is wrong, HostError if a server fails.
    """

    def patient(self, patience: Patience) -> Lab:
        """Return the same lab with a ledger that waits for a server that is away."""

    def claim(self, dump: DumpId) -> Lost:
        """Claim the lab's rows for all that ``dump`` has claimed: all, or none, and then return which are taken."""

    def check_label(self, tag: VolumeTag) -> None:
        """Raise VolumeError if the lab has given the blank volume ``tag`` to somebody else."""

    def claim_label(self, dump: DumpId, tag: VolumeTag) -> None:
        """Claim the tape ``tag``, which ``dump`` has claimed in the ledger; raises VolumeError if it is taken."""

    def settle(self) -> object:
        """Release what no dump claims any more, and report what is archived; a failure leaves that pending."""


@dataclass(frozen=True)
class NoLab:
    """A ``Lab`` for a config without [bridge]: every volume is free, and nothing is reported."""

    ledger: Ledger

    def patient(self, patience: Patience) -> NoLab:
        """Return the same with a ledger that waits for a server that is away."""
        return NoLab(self.ledger.patient(patience))

    def claim(self, dump: DumpId) -> Lost:
        """Claim nothing; raises ConfigError if data sets of the dump came from a lab's database."""
        rows = self.ledger.lab.of_dump(dump, LabKind.FILE)
        if rows:
            raise ConfigError(f"{rows[0].name} came from the lab's database, and the config has no [bridge]; add it")
        return Lost((), ())

    def check_label(self, tag: VolumeTag) -> None:
        """Accept every volume."""

    def claim_label(self, dump: DumpId, tag: VolumeTag) -> None:
        """Accept every volume."""

    def settle(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Context:
    """Everything that a job works with; ``open_library`` gives the same library each time."""

    ledger: Ledger
    open_library: Callable[[], Library]
    settings: Settings
    tell: Tell
    stop: Stop
    lab: Lab

    @property
    def library(self) -> Library:
        """The library, opened when a job first needs it: looking things up works without one."""
        return self.open_library()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one dump, as the ledger has it; ``size`` in bytes. ``error`` is why it is not archived, or None.

    ``dump`` is 0 if every data set was rejected before anything was claimed. ``rejected`` are sources and reasons;
    ``lacking`` are the volumes whose copies must be made again, if another copy is good.
    """

    dump: DumpId
    uuid: str
    state: DumpState
    volumes: tuple[VolumeTag, ...]
    datasets: int = 0
    files: int = 0
    size: int = 0
    rejected: tuple[tuple[str, str], ...] = ()
    verifications: tuple[Verification, ...] = ()
    error: PapertapeError | None = None
    lacking: tuple[VolumeTag, ...] = ()


class Ending:
    """Collects, while a job runs, how it ends."""

    def __init__(self) -> None:
        self.dumps: list[tuple[DumpId, DumpState]] = []
        self.errors: list[BaseException] = []
        self.rejected = 0

    def add(self, outcome: Outcome) -> Outcome:
        """Add the outcome of one dump, and return it."""
        if outcome.dump:
            self.dumps.append((outcome.dump, outcome.state))
        self.rejected += len(outcome.rejected)
        self.fail(outcome.error)
        return outcome

    def fail(self, error: BaseException | None) -> None:
        """Add an error, if there is one."""
        if error is not None:
            self.errors.append(error)


@contextmanager
def ending(job: str, tell: Tell) -> Iterator[Ending]:
    """Tell how ``job`` (the name of the command) ended when the block is left, whether it raises or not.

    NothingToDo passes and is no error: a night without data must alarm nobody.
    """
    end = Ending()
    try:
        yield end
    except NothingToDo:
        raise
    except GeneratorExit:  # the block is in a generator, and its caller asks for nothing more
        end.fail(Interrupted("ended before all was done"))
        raise
    except BaseException as error:
        end.fail(error)
        raise
    finally:
        tell(Ended(job=job, dumps=tuple(end.dumps), errors=tuple(end.errors), rejected=end.rejected))


def be_patient(context: Context) -> Context:
    """Return the same context with a ledger that waits for a server that is away: tapes are under way.

    A stop at once ends the waiting.
    """

    def pause(seconds: float) -> None:
        context.stop.check()
        time.sleep(seconds)

    patience = Patience(lambda sentence: context.tell(Note(sentence=sentence)), pause)
    return replace(context, ledger=context.ledger.patient(patience), lab=context.lab.patient(patience))
