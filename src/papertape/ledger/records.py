"""The ledger's answers, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from papertape.ids import DumpId, DumpUuid, VolumeTag, VolumeUuid
from papertape.plan import Volume
from papertape.states import DataSetState, DumpState, Format, LabKind, VolumeState


class Registration(StrEnum):
    """The result of registering a data set."""

    NEW = "new"
    KNOWN = "known"  # and unchanged
    UPDATED = "updated"  # it was waiting, and changed since, or a checksum was declared
    CHANGED = "changed"  # it was archived, and changed since: a new version waits
    AGAIN = "again"  # it was rejected, and waits again
    CLAIMED = "claimed"  # a dump has it now: it stays unchanged


@dataclass(frozen=True)
class Owner:
    """The process that a dump belongs to; ``started`` distinguishes it from a later one with the same number."""

    host: str
    pid: int
    started: str


@dataclass(frozen=True, kw_only=True)
class CopyRecord:
    """One copy of a dump and the evidence for it; a field that is not known yet is None.

    ``volume_state`` and ``volume_reason`` are those of the volume. ``bytes`` counts all written bytes, the label
    included; ``files`` counts the regular files of its whole data sets. ``error`` is the reason why the copy is not
    whole.
    """

    volume: VolumeTag
    uuid: VolumeUuid
    volume_state: VolumeState
    volume_reason: str
    copy: int
    touched: bool
    written_at: datetime | None
    flushed_at: datetime | None
    verified_at: datetime | None
    write_drive: int | None
    write_serial: str | None
    verify_drive: int | None
    verify_serial: str | None
    bytes: int | None
    files: int | None
    version: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class DumpRecord:
    """One dump; ``owner`` is None if it is held, or if it is over and nothing is left to do for it.

    ``ended_at`` stays set once it was archived, whatever happened later. ``datasets``, ``files`` and ``size`` (bytes)
    are those of the plan until it is written, then those of the catalog.
    """

    id: DumpId
    uuid: DumpUuid
    state: DumpState
    owner: Owner | None
    heartbeat_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    created_at: datetime | None
    version: str
    reason: str
    datasets: int
    files: int
    size: int
    block_size: int
    format: Format
    copies: tuple[CopyRecord, ...]

    @property
    def is_incomplete(self) -> bool:
        """Whether it has a good copy, and another one is missing, which `papertape recopy` makes."""
        return self.state is DumpState.INCOMPLETE

    @property
    def lacking(self) -> tuple[VolumeTag, ...]:
        """The volumes of an incomplete dump whose copies are not good."""
        if not self.is_incomplete:
            return ()
        return tuple(copy.volume for copy in self.copies if copy.volume_state is not VolumeState.CLAIMED)

    @property
    def sick(self) -> dict[VolumeTag, str]:
        """The volumes of a dump that is not over whose copies need not be read back, each with the reason."""
        found = {copy.volume: f"could not be written: {copy.error}" for copy in self.copies if copy.error}
        for copy in self.copies:
            if copy.volume_state is not VolumeState.CLAIMED:
                found.setdefault(copy.volume, copy.volume_reason)
        return found


@dataclass(frozen=True, kw_only=True)
class Held:
    """A dump that was interrupted while it wrote: only this ``uuid`` may write to these ``volumes``."""

    dump: DumpId
    uuid: DumpUuid
    reason: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, kw_only=True)
class VolumeStatus:
    """One volume in the ledger; ``uuid`` and ``dump`` (a uuid) are None for a blank one. ``capacity`` in bytes.

    ``location`` is its place outside the library, "" if nobody entered one.
    """

    tag: VolumeTag
    uuid: VolumeUuid | None
    copy: int
    capacity: int
    state: VolumeState
    reason: str
    dump: DumpUuid | None
    registered_at: datetime
    location: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How many things are in which state (every state is a key), and the bytes of the data sets in each."""

    datasets: dict[DataSetState, int]
    bytes: dict[DataSetState, int]
    volumes: dict[VolumeState, int]
    dumps: dict[DumpState, int]


class Deletable(NamedTuple):
    """A data set that is safe on every copy; its disk copy may be deleted if it still has this ``fingerprint``."""

    source: str
    fingerprint: str
    size: int


class Rejected(NamedTuple):
    """A data set that no dump takes before it is registered again; ``reason`` is a clause."""

    source: str
    reason: str


class FoundCopy(NamedTuple):
    """A volume that holds a data set; ``verified`` says whether the last reading of that volume found it whole."""

    volume: VolumeTag
    verified: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """One version of a data set; ``tape_file`` and ``offset`` are None, ``copies`` empty, before it was archived.

    ``md5`` is the one that was declared for it, if any.
    ``location`` is its place in the predecessor's notation, "" on papertape's own volumes.
    """

    source: str
    version: int
    kind: str
    state: DataSetState
    size: int
    reason: str
    dump: DumpId | None
    number: int | None
    tape_file: int | None
    offset: int | None
    md5: str | None
    copies: tuple[FoundCopy, ...]
    location: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A data set on tapes: it begins at offset ``begin`` of ``tape_file`` and ends before ``end``, in bytes.

    ``format`` is that of the dump; for one of the predecessor ``end``, ``files`` and ``size`` (bytes) are unknown.
    """

    source: str
    kind: str
    format: Format
    dump: DumpId
    number: int
    tape_file: int
    begin: int
    end: int
    files: int
    size: int
    md5: str


@dataclass(frozen=True, kw_only=True)
class KeptCopy:
    """A volume with a copy of a dump; ``error``: why it is not whole; ``location``: its place outside the library."""

    volume: VolumeTag
    uuid: VolumeUuid
    state: VolumeState
    location: str
    error: str
    verified: bool


class FoundFile(NamedTuple):
    """One member of a data set, its name in text form; digests are empty for directories and links."""

    member: str
    size: int
    sha256: str
    md5: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """The place of a data set's members on a dump's tapes; with ``number`` -1, of papertape's own in a tape file.

    ``number`` is that in the dump; ``begin`` and ``end`` are offsets in bytes in the tape file. No other member is
    between them.
    """

    number: int
    tape_file: int
    begin: int
    end: int
    members: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabRow:
    """A row of the lab's own tables: ``name`` is its name there, ``source`` the data set or the volume tag.

    ``job`` is the number in its claim, None if it has no claim of ours.
    """

    id: int
    kind: LabKind
    name: str
    source: str
    job: int | None


class Standing(StrEnum):
    """The action that a row with our mark needs."""

    HELD = "held"  # none yet: a dump has it
    FREE = "free"  # it must be released
    ARCHIVED = "archived"  # the row must get the place on tape


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A row of the lab's own tables with our mark, and the action that it needs.

    ``tape_file`` and ``number`` are the place of a data set in ``dump``, None for a volume.
    """

    row: LabRow
    dump: DumpId
    standing: Standing
    tape_file: int | None
    number: int | None


class Foreign(NamedTuple):
    """A row that somebody else changed while it was ours: ``name`` in the lab's table, ``reason`` a clause."""

    kind: LabKind
    name: str
    reason: str


class Listing(StrEnum):
    """The result of comparing an entry of the lab's table, a data set on its tapes, with the ledger."""

    NEW = "new"
    KNOWN = "known"  # and the same as before
    MOVED = "moved"  # another place than before
    ON_TAPE = "on tape"  # the ledger knows it from the tape itself
    DISPUTED = "disputed"  # the ledger knows the contents of all these tapes, and it is on none of them


class Listed(NamedTuple):
    """The place of a data set according to the lab's table alone: no tape was read, and nothing is proven.

    ``version``, ``archive`` (from 0) and ``item`` are those in the lab's table; ``md5`` and ``size`` (bytes) are
    declared there, None if not.
    """

    source: str
    version: str
    labels: tuple[VolumeTag, ...]
    archive: int
    item: int
    md5: str | None
    size: int | None

    @property
    def location(self) -> str:
        """The location in the lab's notation."""
        return f"{self.version}[{','.join(self.labels)}]-{self.archive}:{self.item}"

    @property
    def tape_file(self) -> int:
        """The tape file that the predecessor's archive is in."""
        return self.archive + 1


class Heard(NamedTuple):
    """The result for one entry of the lab's table; ``reason`` is a clause on a contradiction, "" if there is none."""

    listing: Listing
    reason: str
