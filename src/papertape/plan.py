"""Decisions, pure: data sets and a capacity become a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from papertape.volume.names import unquote


class DataSet(NamedTuple):
    """The unit the lab tracks: one regular file, or one directory with all that it holds (R7).

    ``source`` is ``host:/path`` in text form. ``tape_bytes`` is what its members and their SHA256SUMS lines take in an
    archive, ``catalog_bytes`` what its rows take in the catalog. ``fingerprint`` changes when a name, a size, a kind
    or a modification time in it changes. ``md5`` is what the lab declares, of the file or of the directory's
    ``visdata``. ``id`` is the ledger's.
    """

    source: str
    kind: str  # "file" or "directory"
    files: int
    size: int
    tape_bytes: int
    catalog_bytes: int
    fingerprint: str
    md5: str | None = None
    id: int = 0

    @property
    def host(self) -> str:
        """The host that the path is on."""
        return self.source.partition(":")[0]

    @property
    def path(self) -> bytes:
        """The absolute path on that host."""
        return unquote(self.source.partition(":")[2])


class Volume(NamedTuple):
    """One of the twins that a batch goes to; ``capacity`` in bytes, ``copy`` counts from 1."""

    tag: str
    uuid: str
    copy: int
    capacity: int


@dataclass(frozen=True)
class Batch:
    """The plan of one dump: which data sets, in which archives, onto which volumes.

    ``refused`` are the data sets that no volume can hold, with the reason. ``tape_bytes`` is what the dump takes on
    each volume, labels, plan and catalog included.
    """

    dump: str
    volumes: tuple[Volume, ...]
    block_size: int
    archives: tuple[tuple[DataSet, ...], ...]
    refused: tuple[tuple[DataSet, str], ...]
    tape_bytes: int
