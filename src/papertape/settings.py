"""The settings of a config that jobs work by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CROSSED, RELOAD, IN_PLACE = MOUNTS = ("crossed", "reload", "in-place")
"""How volumes come before the drives that verify them: on another drive, unloaded and loaded again, or rewound."""


@dataclass(frozen=True)
class Settings:
    """The part of the config that jobs use.

    ``copies`` is the number of twins; ``archive_size``, ``block_size`` and ``ring`` are in bytes; ``mount`` is one of
    ``MOUNTS``. ``host`` is whose data sets can be read here, "" for those of all hosts in the ledger.
    """

    copies: int
    archive_size: int
    block_size: int
    ring: int
    spool: Path
    mount: str
    host: str = ""
