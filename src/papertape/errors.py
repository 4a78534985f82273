"""Every error that papertape raises, sorted by what the operator does about it.

::

    PapertapeError                                              exit 1
    ├── UserError             mend the command or the config    exit 2
    │   └── ConfigError       mend the config file              exit 2
    ├── NothingToDo           no data set is waiting            exit 3
    ├── SourceError           drop that data set, go on         exit 4
    ├── VolumeError           set the volume aside              exit 5
    │   ├── VolumeMissing     it is not where it can be loaded  exit 5
    │   ├── VolumeNotBlank    nothing was written to it         exit 5
    │   ├── VolumeFull        it ended before its capacity      exit 5
    │   ├── WriteProtected    move the tab, or another volume   exit 5
    │   └── FormatError       its bytes are not of the format   exit 5
    ├── DriveError            take the drive out of service     exit 6
    │   ├── DriveBusy         another process has it            exit 6
    │   ├── BlockRefused      it takes shorter blocks only      exit 6
    │   └── HostDiskFull      the virtual library's disk is full  exit 6
    ├── ChangerError          stop, a human looks               exit 7
    ├── VerificationFailed    the volumes named are not good    exit 8
    ├── RestoreFailed         no copy has what is named         exit 8
    ├── HostError             the host's own disk or database   exit 1
    │   └── LedgerAway        the ledger's server is away       exit 1
    ├── ClaimLost             another process was faster        exit 1
    ├── WrongState            a dump cannot take that step      exit 1
    ├── EvidenceMissing       nothing proves that claim         exit 1
    └── Interrupted           run it again                      exit 130

An error carries fields; its sentence is built from them and says what happened, where, and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class PapertapeError(Exception):
    """The root of the tree; raised as itself by nothing."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "unexpected"


class UserError(PapertapeError):
    """The command or the config asks for something that cannot be done."""

    exit_code = 2
    meaning = "wrong command or config"


class ConfigError(UserError):
    """The config file, or a value in it, is wrong."""


class NothingToDo(PapertapeError):
    """There is no work of the kind asked for."""

    exit_code = 3
    meaning = "nothing to do"


class SourceError(PapertapeError):
    """A data set cannot be archived as it is; the others go on.

    ``path`` is the source as shown to people, ``reason`` a clause without a full stop.
    """

    exit_code = 4
    meaning = "some sources were rejected, the rest is archived"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class VolumeError(PapertapeError):
    """A volume cannot be used; it is set aside."""

    exit_code = 5
    meaning = "volume"

    def __init__(self, volume_tag: str, reason: str) -> None:
        super().__init__(f"volume {volume_tag}: {reason}")
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
    """What lies on a volume breaks a rule of the volume format."""


class DriveError(PapertapeError):
    """A drive failed, or did not do what it was told; ``drive`` is its element number."""

    exit_code = 6
    meaning = "drive"

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


class ChangerError(PapertapeError):
    """A robot move failed; ``source`` and ``destination`` are elements as shown to people."""

    exit_code = 7
    meaning = "changer"

    def __init__(self, source: str, destination: str, reason: str) -> None:
        super().__init__(f"moving a cartridge from {source} to {destination}: {reason}")
        self.source = source
        self.destination = destination
        self.reason = reason


class VerificationFailed(PapertapeError):
    """At least one volume did not read back as it was written; ``verifications`` are all results of the run."""

    exit_code = 8
    meaning = "verification failed"

    def __init__(self, verifications: Sequence[Any]) -> None:
        bad = [item for item in verifications if not item.ok]
        worst = "; ".join(f"{item.volume}: {item.findings[0].sentence()}" for item in bad if item.findings)
        names = " and ".join(item.volume for item in bad)
        super().__init__(
            f"{names} did not read back as written and {'is' if len(bad) == 1 else 'are'} set aside ({worst})"
        )
        self.verifications = tuple(verifications)


class RestoreFailed(PapertapeError):
    """Data sets could be had from no copy; ``failed`` are their sources, each with a clause that says why."""

    exit_code = 8
    meaning = VerificationFailed.meaning

    def __init__(self, failed: Sequence[tuple[str, str]]) -> None:
        source, reason = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        super().__init__(f"{source} could be had from no copy ({reason}){more}; what else could be had is restored")
        self.failed = tuple(failed)


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
    """The ledger's server cannot be reached, or was lost: nothing is known of what it was asked last."""


class WrongState(PapertapeError):
    """A dump is not in a state from which it can do this; nothing was changed."""

    def __init__(self, dump: int, state: str, wanted: str) -> None:
        super().__init__(f"dump {dump} is {state}, so it cannot become {wanted}; see `papertape status`")
        self.dump = dump
        self.state = state
        self.wanted = wanted


class EvidenceMissing(PapertapeError):
    """What a dump says of itself is not enough, or contradicts the ledger; nothing was changed."""

    def __init__(self, dump: int, reason: str) -> None:
        super().__init__(f"dump {dump}: {reason}")
        self.dump = dump
        self.reason = reason


class Interrupted(PapertapeError):
    """The operator asked to stop."""

    exit_code = 130
    meaning = "interrupted"


EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "all well"),
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
