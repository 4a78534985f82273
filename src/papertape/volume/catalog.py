"""The catalog: what a dump did write, member by member (R6); written a row at a time, read a row at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import msgspec.structs

from papertape import __version__
from papertape.errors import FormatError
from papertape.volume.document import check_names, decode_document
from papertape.volume.header import DIRECTORY, FILE, LINK
from papertape.volume.layout import ARCHIVE, END_OF_ARCHIVE, FORMAT_VERSION, LABEL, PLAN, RECORD, round_up
from papertape.volume.names import quote, unquote
from papertape.volume.rows import read_number, read_rows
from papertape.volume.sums import sums_line
from papertape.volume.tally import Tally

CATALOG_JSON, DATASETS, FILES, SUMS = "catalog.json", "datasets.csv", "files.csv", "SHA256SUMS"
"""The members of the catalog, in the order in which they lie on tape."""

FILES_COLUMNS = ("member", "kind", "bytes", "sha256", "md5", "tape_file", "offset", "dataset", "header_crc32")
DATASETS_COLUMNS = (
    "dataset",
    "source",
    "kind",
    "tape_file",
    "offset",
    "files",
    "bytes",
    "declared_md5",
    "fingerprint",
    "rejected",
)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MD5 = re.compile(r"(?:[0-9a-f]{32})?\Z")
_CRC32 = re.compile(r"[0-9a-f]{8}\Z")
LARGEST = 10**18
"""Bytes that no tape file has; 64 bits hold the sum of nine."""


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

    @classmethod
    def of_document(
        cls, document: CatalogDocument, own: TapeFile, own_members: tuple[Member, ...], folder: Path
    ) -> Catalog:
        """Return the catalog that ``document`` is, whose own tape file is ``own``, and its files in ``folder``."""
        return cls(
            dump=document.dump,
            created=document.created,
            block_size=document.block_size,
            volumes=tuple(read_volume(volume) for volume in document.volumes),
            tape_files=(*(TapeFile(*msgspec.structs.astuple(item)) for item in document.tape_files), own),
            own_members=own_members,
            datasets=document.datasets,
            files=document.files,
            size=document.bytes,
            folder=folder,
        )

    def members(self) -> Iterator[Member]:
        """Yield every member from tape file 1 on in tape order, the catalog's own last; holds one row at a time."""
        yield from read_files(self.folder / FILES)
        yield from self.own_members

    def dataset_records(self) -> Iterator[DataSetRecord]:
        """Yield every data set in tape order, rejected ones included; holds one row at a time."""
        return read_datasets(self.folder / DATASETS)

    def expected(self) -> Expected:
        """Return what a volume of this dump must hold."""
        rejected = frozenset(record.number for record in self.dataset_records() if record.reason)
        return Expected(self.dump, self.block_size, self.volumes, self.tape_files, self.members, rejected)


class LabelDocument(msgspec.Struct, frozen=True):
    """A twin's label in catalog.json; a member is its name, size in bytes, SHA-256, offset and header CRC-32."""

    bytes: int
    structure: str
    members: tuple[tuple[str, int, str, int, str], ...]


class VolumeDocument(msgspec.Struct, frozen=True):
    """A twin in catalog.json."""

    volume_tag: str
    volume_uuid: str
    copy: int
    drive_serial: str
    label: LabelDocument


class TapeFileDocument(msgspec.Struct, frozen=True):
    """A tape file in catalog.json; ``structure`` is the SHA-256 of all its bytes but file data."""

    tape_file: int
    kind: str
    bytes: int
    structure: str


class CatalogDocument(msgspec.Struct, frozen=True):
    """What ``catalog.json`` says: the dump's sums, its twins and its tape files from the plan to the last archive."""

    format: str
    format_version: int
    dump: str
    created: datetime
    written_by: str
    block_size: int
    datasets: int
    rejected: int
    files: int
    bytes: int
    volumes: tuple[VolumeDocument, ...]
    tape_files: tuple[TapeFileDocument, ...]


_DECODER = msgspec.json.Decoder(CatalogDocument)


def describe_volume(volume: VolumeRecord) -> VolumeDocument:
    """Return the form of ``volume`` in catalog.json."""
    members = tuple((quote(m.name), m.size, m.sha256, m.offset, m.header) for m in volume.label_members)
    label = LabelDocument(volume.label.size, volume.label.structure, members)
    return VolumeDocument(volume.tag, volume.uuid, volume.copy, volume.drive_serial, label)


def read_volume(document: VolumeDocument) -> VolumeRecord:
    """Return the twin that ``document`` describes; raises ValueError for a member whose name is no text form."""
    label = document.label
    members = tuple(
        Member(unquote(name), FILE, size, sha256, "", 0, offset, -1, header)
        for name, size, sha256, offset, header in label.members
    )
    whole = TapeFile(0, LABEL, label.bytes, label.structure)
    return VolumeRecord(document.volume_tag, document.volume_uuid, document.copy, document.drive_serial, whole, members)


def encode_catalog(
    catalog: Catalog,
    rejected: int,
) -> bytes:
    """Return catalog.json for a catalog whose own tape file is not written yet."""
    document = CatalogDocument(
        "papertape",
        FORMAT_VERSION,
        catalog.dump,
        catalog.created,
        f"papertape {__version__}",
        catalog.block_size,
        catalog.datasets,
        rejected,
        catalog.files,
        catalog.size,
        tuple(describe_volume(volume) for volume in catalog.volumes),
        tuple(TapeFileDocument(*tape_file) for tape_file in catalog.tape_files),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read_files(path: Path) -> Iterator[Member]:
    """Yield the members that a files.csv lists; raises ValueError at the first row that cannot be one."""
    for name, kind, size, sha256, md5, tape_file, offset, dataset, header in read_rows(path, FILES_COLUMNS):
        number = -1 if dataset == "-1" else read_number(dataset)
        place = (read_number(tape_file), read_number(offset))
        yield Member(unquote(name), kind, read_number(size), sha256, md5, *place, number, header)


def read_datasets(path: Path) -> Iterator[DataSetRecord]:
    """Yield the data sets that a datasets.csv lists; raises ValueError at the first row that cannot be one."""
    for row in read_rows(path, DATASETS_COLUMNS):
        number, source, kind, tape_file, offset, files, size, md5, fingerprint, reason = row
        unquote(source)
        place = (read_number(tape_file), read_number(offset))
        yield DataSetRecord(
            read_number(number), source, kind, *place, read_number(files), read_number(size), md5, fingerprint, reason
        )


def load_catalog(folder: Path, volume_tag: str) -> CatalogDocument:
    """Return the catalog whose four files lie in ``folder``, checked against itself (R9).

    ``volume_tag`` is for the sentence of the FormatError that is raised where anything in it contradicts the rest.
    """
    try:
        _check_sums(folder)
        document = parse_catalog((folder / CATALOG_JSON).read_bytes(), volume_tag)
        _check_document(document)
        _check_rows(document, folder)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise FormatError(volume_tag, f"its catalog contradicts itself: {error}") from error
    return document


def parse_catalog(content: bytes, volume_tag: str) -> CatalogDocument:
    """Return what a catalog.json says; raises FormatError for a newer version, ValueError for nonsense."""
    return decode_document(content, _DECODER, volume_tag)


def _check_sums(folder: Path) -> None:
    expected = []
    for name in (CATALOG_JSON, DATASETS, FILES):
        with (folder / name).open("rb") as file:
            expected.append(sums_line(hashlib.file_digest(file, "sha256").hexdigest(), name.encode()))
    if (folder / SUMS).read_bytes() != b"".join(expected):
        raise ValueError(f"its {SUMS} is not that of its files")


def _check_document(document: CatalogDocument) -> None:
    """Raise ValueError unless the twins and the tape files of a catalog.json can be right."""
    check_names(document.dump, document.written_by)
    tape_files = document.tape_files
    if [item.tape_file for item in tape_files] != list(range(1, len(tape_files) + 1)):
        raise ValueError("its tape files are not numbered from 1 on")
    if [item.kind for item in tape_files] != [PLAN] + [ARCHIVE] * (len(tape_files) - 1):
        raise ValueError("its tape files are not a plan and archives")
    tags = {volume.volume_tag for volume in document.volumes}
    if not tags or len(tags) != len(document.volumes):
        raise ValueError("its volumes are not twins")
    if sorted({volume.copy for volume in document.volumes}) != list(range(1, len(document.volumes) + 1)):
        raise ValueError("its volumes are not numbered from 1 on")
    for volume in document.volumes:
        check_names(volume.volume_tag, volume.volume_uuid, volume.drive_serial)
        _check_label(volume.label, document.block_size)
    for item in tape_files:
        _check_tape_file(item.bytes, item.structure, document.block_size)


def _check_tape_file(size: int, structure: str, block_size: int) -> None:
    if not 0 < size < LARGEST or size % block_size:
        raise ValueError(f"a tape file of {size} bytes is not whole blocks")
    if not _DIGEST.match(structure):
        raise ValueError("a tape file has no proper structure digest")


def _check_label(label: LabelDocument, block_size: int) -> None:
    _check_tape_file(label.bytes, label.structure, block_size)
    end = 0
    for name, size, sha256, offset, header in label.members:
        member = Member(unquote(name), FILE, size, sha256, "", 0, offset, -1, header)
        check_member(member)
        end = _end_of(member, end, label.bytes)


def _check_rows(document: CatalogDocument, folder: Path) -> None:
    """Raise ValueError unless all counts, sizes, offsets and names agree."""
    tally = Tally(read_datasets(folder / DATASETS))
    own: list[tuple[int, bytes]] = []
    for member in _placed_members(document, read_files(folder / FILES)):
        if member.dataset < 0:
            own.append((member.tape_file, member.name))
            if len(own) > len(document.tape_files) + 1:
                break  # so many of its own it cannot have
        elif own and own[-1][0] == member.tape_file:
            raise ValueError(f"{quote(member.name)} lies behind the last member of its archive")
        else:
            tally.add(member)
    tally.end()
    _check_own(own, len(document.tape_files))
    found = (tally.datasets, tally.rejected, tally.files, tally.size)
    stated = (document.datasets, document.rejected, document.files, document.bytes)
    if found != stated:
        raise ValueError(f"it states {stated} data sets, rejected ones, files and bytes, and lists {found}")


def _check_own(own: list[tuple[int, bytes]], last: int) -> None:
    sums = [(number, SUMS.encode()) for number in range(2, last + 1)]
    if own != [(1, b"plan.json"), (1, b"plan.csv"), *sums]:
        raise ValueError(f"it does not list a plan, and {SUMS} at the end of each archive")


def _placed_members(document: CatalogDocument, members: Iterator[Member]) -> Iterator[Member]:
    """Yield ``members``, each checked, and found to lie in its tape file behind the one before."""
    number, end = 1, 0
    for member in members:
        check_member(member)
        if not number <= member.tape_file <= len(document.tape_files):
            raise ValueError(f"{quote(member.name)} lies outside the tape files, or out of order")
        if member.tape_file > number:
            number, end = member.tape_file, 0
        end = _end_of(member, end, document.tape_files[number - 1].bytes)
        yield member


def _end_of(member: Member, begin: int, size: int) -> int:
    """Return where ``member`` ends at the earliest, if it lies between ``begin`` and ``size`` in its tape file."""
    end = member.offset + RECORD + round_up(member.size, RECORD)
    if member.offset % RECORD or end + len(END_OF_ARCHIVE) > size:
        raise ValueError(f"{quote(member.name)} lies outside the tape files")
    if member.offset < begin:
        raise ValueError(f"{quote(member.name)} lies upon another member")
    return end


def check_member(member: Member) -> None:
    """Raise ValueError unless the member's name, size and digests can be right (R9)."""
    parts = member.name.split(b"/")
    if not all(parts) or b".." in parts or b"." in parts or b"\0" in member.name:
        raise ValueError(f"{quote(member.name)} is no member name of papertape's")
    if member.dataset >= 0 and parts[0] != b"data":
        raise ValueError(f"{quote(member.name)} is outside data/")
    if member.kind != FILE and (member.kind not in {DIRECTORY, LINK} or member.size or member.dataset < 0):
        raise ValueError(f"{quote(member.name)} is of no kind that papertape writes")
    if member.size < 0 or member.offset < 0:
        raise ValueError(f"{quote(member.name)} has a size or an offset below zero")
    if not (_DIGEST.match(member.sha256) if member.kind == FILE else not member.sha256):
        raise ValueError(f"{quote(member.name)} has no proper SHA-256")
    if not _MD5.match(member.md5) or not _CRC32.match(member.header):
        raise ValueError(f"{quote(member.name)} has no proper MD5 or header checksum")
