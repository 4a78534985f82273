"""The values that a catalog holds: members, tape files, data sets and volumes, as they were written (R6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Member(NamedTuple):
    """One tar member on the twins, from tape file 1 on.

    ``offset`` is that of its first header (the pax one, where there is one) in bytes from the tape file's begin;
    ``size`` is that of the data alone, in bytes. ``sha256`` is empty for directories and links, ``md5`` where the lab
    declared none. ``dataset`` is the data set's place in the dump, from 0; -1 for the members that papertape adds.
    ``header`` is the CRC-32 of the member's headers in eight hexadecimal digits: it tells which header is damaged where
    the tape file's structure digest tells that one is.
    """

    name: bytes
    kind: str  # "file", "dir" or "link"
    size: int
    sha256: str
    md5: str
    tape_file: int
    offset: int
    dataset: int
    header: str


class TapeFile(NamedTuple):
    """One tape file: ``size`` in bytes, whole blocks; ``structure`` is the SHA-256 of all its bytes but file data."""

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
class Expected:
    """What the reading of a volume is held against; ``members`` yields those from tape file 1 on, in tape order.

    ``rejected`` are the numbers of the data sets that are on the tape and do not count.
    """

    dump: str
    block_size: int
    volumes: tuple[VolumeRecord, ...]
    tape_files: tuple[TapeFile, ...]
    members: Callable[[], Iterator[Member]]
    rejected: frozenset[int]
