"""The record: what is registered, claimed, written and proven, in one database; knows no tape."""

from papertape.ledger.imports import Imported, Registered
from papertape.ledger.ledger import Ledger, open_ledger
from papertape.ledger.patience import Patience
from papertape.ledger.records import (
    ClaimLost,
    CopyRecord,
    Deletable,
    DumpRecord,
    EvidenceMissing,
    Extent,
    Found,
    FoundCopy,
    FoundFile,
    Held,
    Kept,
    KeptCopy,
    LedgerAway,
    Owner,
    Registration,
    Rejected,
    Status,
    VolumeStatus,
    WrongState,
)
from papertape.ledger.replacement import UNFINISHED
from papertape.ledger.schema import DataSetState, DumpState, Format, VolumeState

__all__ = [
    "UNFINISHED",
    "ClaimLost",
    "CopyRecord",
    "DataSetState",
    "Deletable",
    "DumpRecord",
    "DumpState",
    "EvidenceMissing",
    "Extent",
    "Format",
    "Found",
    "FoundCopy",
    "FoundFile",
    "Held",
    "Imported",
    "Kept",
    "KeptCopy",
    "Ledger",
    "LedgerAway",
    "Owner",
    "Patience",
    "Registered",
    "Registration",
    "Rejected",
    "Status",
    "VolumeState",
    "VolumeStatus",
    "WrongState",
    "open_ledger",
]
