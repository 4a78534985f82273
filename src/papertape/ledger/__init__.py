"""The ledger: all that is registered, claimed, written and proven, in one database; it knows no tape."""

from papertape.ledger.dumps import UNFINISHED
from papertape.ledger.imports import Imported, Registered
from papertape.ledger.ledger import Ledger, open_ledger
from papertape.ledger.owner import identify_process, is_alive
from papertape.ledger.patience import Patience
from papertape.ledger.records import (
    CopyRecord,
    Deletable,
    DumpRecord,
    Extent,
    Foreign,
    Found,
    FoundCopy,
    FoundFile,
    Heard,
    Held,
    Kept,
    KeptCopy,
    LabRow,
    Listed,
    Listing,
    Marked,
    Owner,
    Registration,
    Rejected,
    Standing,
    Status,
    VolumeStatus,
)
from papertape.ledger.search import match_sources

__all__ = [
    "UNFINISHED",
    "CopyRecord",
    "Deletable",
    "DumpRecord",
    "Extent",
    "Foreign",
    "Found",
    "FoundCopy",
    "FoundFile",
    "Heard",
    "Held",
    "Imported",
    "Kept",
    "KeptCopy",
    "LabRow",
    "Ledger",
    "Listed",
    "Listing",
    "Marked",
    "Owner",
    "Patience",
    "Registered",
    "Registration",
    "Rejected",
    "Standing",
    "Status",
    "VolumeStatus",
    "identify_process",
    "is_alive",
    "match_sources",
    "open_ledger",
]
