"""Every error that papertape raises, sorted by what the operator does about it.

::

    PapertapeError                                              exit 1
    ├── UserError             correct the command or the config exit 2
    │   ├── ConfigError       correct the config file           exit 2
    │   └── Obstacle          move away what is in the way      exit 2
    ├── NothingToDo           no data set is waiting            exit 3
    ├── SourceError           reject that data set, continue    exit 4
    ├── AllRejected           correct the sources, add them     exit 4
    ├── NotReproduced         copy the twin, not the disk       exit 4
    ├── VolumeError           set the volume aside              exit 5
    │   ├── VolumeMissing     put it where a drive can get it   exit 5
    │   ├── VolumeNotBlank    nothing was written to it         exit 5
    │   ├── VolumeFull        it ended before its capacity      exit 5
    │   ├── WriteProtected    move the tab, or another volume   exit 5
    │   └── FormatError       its bytes break the format        exit 5
    ├── NoBlankVolume         register or insert a blank one    exit 5
    ├── CopiesMissing         put one of them into a slot       exit 5
    ├── DriveError            take the drive out of service     exit 6
    │   ├── DriveBusy         end the process that has it       exit 6
    │   ├── BlockRefused      make `block_size` smaller         exit 6
    │   └── HostDiskFull      make room for the virtual library exit 6
    ├── TooFewDrives          use fewer volumes at once         exit 6
    ├── ChangerError          stop, look into the library       exit 7
    │   ├── InventoryUnknown  it does not say what lies where   exit 7
    │   ├── MoveFailed        see where the cartridge is now    exit 7
    │   │   └── SourceEmpty   nothing was moved                 exit 7
    │   ├── LabelUnreadable   take that cartridge out by hand   exit 7
    │   └── LibraryFull       take a cartridge out              exit 7
    ├── VerificationFailed    the volumes named are not good    exit 8
    ├── RestoreFailed         no copy has the data sets named   exit 8
    ├── CopyFailed            every copy of a dump failed       exit 1
    ├── HostError             the host's own disk or database   exit 1
    │   └── LedgerAway        the ledger's server is away       exit 1
    ├── ClaimLost             another process was faster        exit 1
    ├── WrongState            a dump cannot take that step      exit 1
    ├── EvidenceMissing       nothing proves that claim         exit 1
    └── Interrupted           run it again                      exit 130

An error carries fields, and each holds what its name says; the sentence is built from them and says what happened,
where, and the remedy. Exceptions that are no ``PapertapeError`` never reach the operator: ``HeaderError`` and
``ScanError`` of the volume format are of ``ValueError``, and where the volume is known they become findings, or a
``FormatError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from papertape.ids import DumpId, VolumeTag
from papertape.words import be, enumerate_names


class PapertapeError(Exception):
    """The root of the tree; raised as itself by nothing."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "an unforeseen error, or the host's disk or database failed"


class UserError(PapertapeError):
    """The command or the config asks for something that cannot be done."""

    exit_code = 2
    meaning = "the command or the config is wrong"


class ConfigError(UserError):
    """The config file, or a value in it, is wrong."""


class Obstacle(UserError):
    """Something in the destination of a restore is in the way of the data set ``source``; ``reason`` is a clause."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class NothingToDo(PapertapeError):
    """There is no work of the kind asked for."""

    exit_code = 3
    meaning = "there is nothing to do"


class SourceError(PapertapeError):
    """A data set cannot be archived as it is; the others are archived.

    ``path`` is that of the data set or of the file in it, as shown to people, ``reason`` a clause without a full stop.
    """

    exit_code = 4
    meaning = "some data sets were rejected, the rest is archived"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class AllRejected(PapertapeError):
    """Every data set of a dump was rejected: nothing was archived, and the volumes stay blank or held."""

    exit_code = SourceError.exit_code
    meaning = SourceError.meaning

    def __init__(self, dump: DumpId) -> None:
        super().__init__(f"every data set of dump {dump} was rejected; its volumes are kept for the next dump")
        self.dump = dump


class NotReproduced(PapertapeError):
    """Written again from disk, a dump is not byte for byte as it is on its twin; ``reason`` is a clause."""

    exit_code = SourceError.exit_code
    meaning = SourceError.meaning

    def __init__(self, dump_uuid: str, reason: str) -> None:
        super().__init__(f"dump {dump_uuid} cannot be written again from disk: {reason}; copy it from its twin")
        self.dump_uuid = dump_uuid
        self.reason = reason


class VolumeError(PapertapeError):
    """A volume cannot be used; it is set aside. ``volume_tag`` is None where the tag is not known."""

    exit_code = 5
    meaning = "a volume is missing or cannot be used"

    def __init__(self, volume_tag: VolumeTag | None, reason: str) -> None:
        super().__init__(f"volume {volume_tag or '(tag unknown)'}: {reason}")
        self.volume_tag = volume_tag
        self.reason = reason


class VolumeMissing(VolumeError):
    """A volume is not where a drive can get it: nothing is wrong with it, and it is not set aside."""


class VolumeNotBlank(VolumeError):
    """A volume that should be blank holds something; nothing was written to it."""


class VolumeFull(VolumeError):
    """The physical end of the medium came before the end of what was planned."""


class WriteProtected(VolumeError):
    """The cartridge's tab forbids writing."""


class FormatError(VolumeError):
    """The data on a volume break a rule of the volume format."""


class NoBlankVolume(PapertapeError):
    """There is no blank volume, or none that a drive can get, for ``copy`` (counted from 1)."""

    exit_code = VolumeError.exit_code
    meaning = VolumeError.meaning

    def __init__(self, copy: int, reason: str) -> None:
        super().__init__(f"no blank volume for copy {copy}: {reason}")
        self.copy = copy
        self.reason = reason


class CopiesMissing(PapertapeError):
    """One of several volumes is needed, and none of them is where a drive can get it."""

    exit_code = VolumeError.exit_code
    meaning = VolumeError.meaning

    def __init__(self, volume_tags: Sequence[VolumeTag], reason: str) -> None:
        names = enumerate_names(volume_tags, "or")
        super().__init__(f"{f'volume {names}' if names else 'no volume'}: {reason}")
        self.volume_tags = tuple(volume_tags)
        self.reason = reason


class DriveError(PapertapeError):
    """A drive failed, or did not do what was asked; ``drive`` is its element number."""

    exit_code = 6
    meaning = "a drive is missing, busy or failed"

    def __init__(self, drive: int, reason: str) -> None:
        super().__init__(f"drive {drive}: {reason}")
        self.drive = drive
        self.reason = reason


class DriveBusy(DriveError):
    """Another process or thread has the drive open."""


class BlockRefused(DriveError):
    """The drive or its adapter does not take a block of that length; nothing was written."""


class HostDiskFull(DriveError):
    """The disk below a virtual library is full: neither the cartridge nor its recording is to blame."""


class TooFewDrives(PapertapeError):
    """More drives are needed at once than there are; both are counts."""

    exit_code = DriveError.exit_code
    meaning = DriveError.meaning

    def __init__(self, needed: int, available: int) -> None:
        remedy = "use fewer volumes at once, or add a drive"
        super().__init__(f"too few drives: {needed} needed at once, {available} available; {remedy}")
        self.needed = needed
        self.available = available


class ChangerError(PapertapeError):
    """The changer failed; ``reason`` is a clause. Raised as one of its kinds only."""

    exit_code = 7
    meaning = "the changer failed, look into the library"

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class InventoryUnknown(ChangerError):
    """The changer does not say what lies where."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"asking the changer what lies where: {reason}", reason)


class MoveFailed(ChangerError):
    """A robot move failed; ``source`` and ``destination`` are elements as shown to people: "slot 3", "drive 0"."""

    def __init__(self, source: str, destination: str, reason: str) -> None:
        super().__init__(f"moving a cartridge from {source} to {destination}: {reason}", reason)
        self.source = source
        self.destination = destination


class SourceEmpty(MoveFailed):
    """There was no cartridge to be moved, and nothing was done."""

    def __init__(self, source: str, destination: str) -> None:
        super().__init__(source, destination, f"{source} is empty")


class LabelUnreadable(ChangerError):
    """The cartridge in ``element`` ("mail slot 13") has no label that the changer can read, so it is not moved."""

    def __init__(self, element: str) -> None:
        reason = "the cartridge has no readable label; take it out by hand"
        super().__init__(f"{element}: {reason}", reason)
        self.element = element


class LibraryFull(ChangerError):
    """No element of ``kind`` ("slot", "mail slot") is free for the volume; its tag is None if it cannot be read."""

    def __init__(self, kind: str, volume_tag: VolumeTag | None) -> None:
        reason = f"no {kind} is free; take a cartridge out"
        super().__init__(f"volume {volume_tag or 'without a readable label'} cannot be moved: {reason}", reason)
        self.kind = kind
        self.volume_tag = volume_tag


class VerificationFailed(PapertapeError):
    """At least one volume did not read back as it was written; ``verifications`` are all results of the run."""

    exit_code = 8
    meaning = "a copy did not read back as it was written"

    def __init__(self, verifications: Sequence[Any]) -> None:
        bad = [item for item in verifications if not item.ok]
        worst = "; ".join(f"{item.volume}: {item.findings[0].sentence()}" for item in bad if item.findings)
        names = enumerate_names(item.volume for item in bad)
        super().__init__(f"{names} did not read back as written and {be(len(bad))} set aside ({worst})")
        self.verifications = tuple(verifications)


class RestoreFailed(PapertapeError):
    """Data sets could not be restored from any copy; ``failed`` are their sources, each with a clause that says why."""

    exit_code = 8
    meaning = VerificationFailed.meaning

    def __init__(self, failed: Sequence[tuple[str, str]]) -> None:
        source, reason = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        super().__init__(
            f"{source} could not be restored from any copy ({reason}){more}; the rest was restored as far as possible"
        )
        self.failed = tuple(failed)


class CopyFailed(PapertapeError):
    """Every copy of a dump failed while it was written; the first failure is its cause. Ends the reading side."""


class HostError(PapertapeError):
    """The host's own disk or database refused; ``where`` names it."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class ClaimLost(PapertapeError):
    """Someone else was faster; nothing was changed. ``what`` names the thing, ``reason`` is a clause."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class LedgerAway(HostError):
    """The ledger's server cannot be reached, or was lost: nobody knows whether the last step took effect."""


class WrongState(PapertapeError):
    """A dump is not in a state from which it can do this; nothing was changed."""

    def __init__(self, dump: int, state: str, wanted: str) -> None:
        super().__init__(f"dump {dump} is {state}, so it cannot become {wanted}; see `papertape status`")
        self.dump = dump
        self.state = state
        self.wanted = wanted


class EvidenceMissing(PapertapeError):
    """The evidence for a dump is not complete, or contradicts the ledger; nothing was changed."""

    def __init__(self, dump: int, reason: str) -> None:
        super().__init__(f"dump {dump}: {reason}")
        self.dump = dump
        self.reason = reason


class Interrupted(PapertapeError):
    """The operator asked to stop."""

    exit_code = 130
    meaning = "interrupted, run the command again"


EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "everything was done"),
    *sorted(
        (kind.exit_code, kind.meaning)
        for kind in (
            PapertapeError,
            UserError,
            NothingToDo,
            SourceError,
            VolumeError,
            DriveError,
            ChangerError,
            VerificationFailed,
            Interrupted,
        )
    ),
)
"""The one table of exit codes: ``--help`` and ``docs/errors.md`` print it."""
