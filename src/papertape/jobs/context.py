"""What jobs work with, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from papertape.errors import PapertapeError
from papertape.ledger import Ledger, Owner
from papertape.report import Reporter
from papertape.tape.library import Library
from papertape.transfer.stop import Stop
from papertape.volume.evidence import Verification

CROSSED, RELOAD, IN_PLACE = MOUNTS = ("crossed", "reload", "in-place")
"""How volumes come before the drives that verify them: on another drive, unloaded and loaded again, or rewound."""


@dataclass(frozen=True)
class Settings:
    """What a job needs to know of the config.

    ``copies`` is the number of twins; ``archive_size``, ``block_size`` and ``ring`` are in bytes; ``mount`` is one of
    ``MOUNTS``.
    """

    copies: int
    archive_size: int
    block_size: int
    ring: int
    spool: Path
    mount: str


@dataclass(frozen=True)
class Context:
    """What every job works with."""

    ledger: Ledger
    library: Library
    settings: Settings
    owner: Owner
    report: Reporter
    stop: Stop


@dataclass(frozen=True)
class Outcome:
    """What became of one dump; ``size`` in bytes. ``error`` is why it is not archived, or None.

    ``rejected`` are sources and reasons.
    """

    dump: int
    uuid: str
    state: str
    volumes: tuple[str, ...]
    datasets: int
    files: int
    size: int
    rejected: tuple[tuple[str, str], ...]
    verifications: tuple[Verification, ...] = ()
    error: PapertapeError | None = None


def conclude(
    ledger: Ledger,
    dump: int,
    rejected: tuple[tuple[str, str], ...],
    verifications: tuple[Verification, ...] = (),
    error: PapertapeError | None = None,
) -> Outcome:
    """Return what the ledger says became of a dump."""
    record = ledger.dump(dump)
    volumes = tuple(copy.volume for copy in record.copies)
    counts = (record.datasets, record.files, record.size)
    return Outcome(dump, record.uuid, record.state, volumes, *counts, rejected, verifications, error)
