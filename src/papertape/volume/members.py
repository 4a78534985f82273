"""The values that a catalog holds: members, tape files, data sets and volumes, as they were written (R6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from papertape.ids import VolumeTag
from papertape.volume.header import FILE
from papertape.volume.names import Source


# A tuple, because there is one for each file of a dump: creating it takes a third of the time of a frozen dataclass.
class Member(NamedTuple):
    """One tar member on the volumes of a dump.

    ``kind`` is one of those in ``volume/header.py``. ``size`` is that of the data alone, ``offset`` that of the first
    header (the pax one, if there is one) from the start of the tape file (R10); both in bytes. ``sha256`` is empty for
    directories and links, ``md5`` where the lab declared none. ``dataset`` is the data set's number in the dump, from
    0, or -1 for a member that papertape adds. ``header`` is the CRC-32 of the headers in eight hexadecimal digits: it
    tells which header is damaged, the structure digest only that one is (R11).
    """

    name: bytes
    kind: str
    size: int
    sha256: str
    md5: str
    tape_file: int
    offset: int
    dataset: int
    header: str


def own_member(name: bytes, *, size: int, sha256: str, offset: int, header: str) -> Member:
    """Return a file of tape file 0: papertape added it, so it has no declared MD5 and is of no data set."""
    return Member(
        name=name,
        kind=FILE,
        size=size,
        sha256=sha256,
        md5="",
        tape_file=0,
        offset=offset,
        dataset=-1,
        header=header,
    )


class TapeFile(NamedTuple):
    """One tape file: ``kind`` is one of those in ``volume/layout.py``, ``size`` is in bytes, whole blocks.

    ``structure`` is the SHA-256 of all its bytes except file data (R11).
    """

    number: int
    kind: str
    size: int
    structure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetRecord:
    """One data set of a dump; ``tape_file`` and ``offset`` are those of its first member.

    ``kind`` is "file" or "directory". ``files`` counts the regular files, ``size`` their bytes. ``reason`` is empty for
    a whole data set; else it says why the data set was rejected, and it must not be restored (R6).
    """

    number: int
    source: Source
    kind: str
    tape_file: int
    offset: int
    files: int
    size: int
    md5: str
    fingerprint: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class VolumeRecord:
    """One volume of a dump, and its label: ``label_members`` have ``dataset`` -1 and ``tape_file`` 0."""

    tag: VolumeTag
    uuid: str
    copy: int
    drive_serial: str
    label: TapeFile
    label_members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The values that a reading of a volume is compared with; ``block_size`` is in bytes.

    ``members`` returns an iterator over the members from tape file 1 on, in tape order. ``rejected`` are the numbers of
    the data sets that are on tape and do not count.
    """

    dump: str
    block_size: int
    volumes: tuple[VolumeRecord, ...]
    tape_files: tuple[TapeFile, ...]
    members: Callable[[], Iterator[Member]]
    rejected: frozenset[int]
