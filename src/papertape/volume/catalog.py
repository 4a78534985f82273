"""The catalog: what a dump did write, member by member (R6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """One tar member on the twins, from tape file 1 on.

    ``offset`` is that of its first header (the pax one, where there is one) in bytes from the tape file's begin;
    ``size`` is that of the data alone, in bytes. ``sha256`` is empty for directories and links, ``md5`` where the lab declared none.
    ``dataset`` is the data set's place in the dump, from 0; -1 for the members that papertape adds.
    """

    name: bytes
    kind: str  # "file", "dir" or "link"
    size: int
    sha256: str
    md5: str
    tape_file: int
    offset: int
    dataset: int


class TapeFile(NamedTuple):
    """One tape file: ``size`` in bytes as it lies there (whole blocks), ``structure`` the SHA-256 of all but file data."""

    number: int
    kind: str  # "label", "plan", "archive" or "catalog"
    size: int
    structure: str


class DataSetRecord(NamedTuple):
    """One data set of a dump; ``tape_file`` and ``offset`` are those of its first member.

    ``reason`` is empty for a whole data set; else it says why the data set was rejected, and must not be restored.
    """

    number: int
    source: str
    kind: str  # "file" or "directory"
    tape_file: int
    offset: int
    files: int
    size: int
    md5: str
    fingerprint: str
    reason: str


@dataclass(frozen=True)
class VolumeRecord:
    """One of the twins: its label's members are listed with ``dataset`` -1 and ``tape_file`` 0."""

    tag: str
    uuid: str
    copy: int
    drive_serial: str
    label: TapeFile
    label_members: tuple[Member, ...]


@dataclass(frozen=True)
class Catalog:
    """What was written: the same on both volumes and in the ledger.

    ``tape_files`` are those from 1 on, the catalog's own (the last) included; ``own_members`` are the members of that
    last one. ``folder`` holds the catalog's files as they lie on tape. ``datasets`` counts the whole data sets,
    ``files`` and ``size`` their regular files.
    """

    dump: str
    created: datetime
    block_size: int
    volumes: tuple[VolumeRecord, ...]
    tape_files: tuple[TapeFile, ...]
    own_members: tuple[Member, ...]
    datasets: int
    files: int
    size: int
    folder: Path

    def members(self) -> Iterator[Member]:
        """Yield every member from tape file 1 on in tape order, the catalog's own last; holds one row at a time."""
        raise RuntimeError("not read yet")

    def dataset_records(self) -> Iterator[DataSetRecord]:
        """Yield every data set in tape order, rejected ones included; holds one row at a time."""
        raise RuntimeError("not read yet")
