"""The states of data sets, volumes and dumps, and other closed sets of words that the ledger keeps."""

from __future__ import annotations

from enum import StrEnum


class DataSetState(StrEnum):
    """Where a data set stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    ARCHIVED = "archived"
    REJECTED = "rejected"


class VolumeState(StrEnum):
    """Where a volume stands; ``aside`` is sick, ``retired`` is out of service by the operator's word."""

    BLANK = "blank"
    CLAIMED = "claimed"
    ARCHIVED = "archived"
    ASIDE = "aside"
    RETIRED = "retired"


class DumpState(StrEnum):
    """Where a dump stands.

    A planned one without owner is held: it will be written again on the same volumes. An incomplete one has a good copy
    and must get another, which is made from it.
    """

    PLANNED = "planned"
    WRITING = "writing"
    WRITTEN = "written"
    VERIFYING = "verifying"
    INCOMPLETE = "incomplete"
    ARCHIVED = "archived"
    FAILED = "failed"
    ABANDONED = "abandoned"


class LabKind(StrEnum):
    """The subject of a row in the lab's own tables."""

    FILE = "file"
    LABEL = "label"


class LabState(StrEnum):
    """The state of a row in the lab's own tables, as far as papertape uses it."""

    KNOWN = "known"  # it has no mark of ours
    CLAIMED = "claimed"  # it has our mark, or may have it
    PUSHED = "pushed"  # it says where things lie on tape
    FOREIGN = "foreign"  # somebody else changed it while it was ours, and it was left alone


class Format(StrEnum):
    """Whose tapes a dump is on."""

    PAPERTAPE = "papertape"
    PREDECESSOR = "predecessor"
