"""The catalog: what a dump did write, member by member (R6); written a row at a time, read a row at a time."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from papertape import __version__
from papertape.errors import FormatError
from papertape.volume.layout import ARCHIVE, FORMAT_VERSION, PLAN, RECORD
from papertape.volume.names import quote, unquote

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


def describe_volume(volume: VolumeRecord) -> VolumeDocument:
    """Return the form of ``volume`` in catalog.json."""
    members = tuple((quote(m.name), m.size, m.sha256, m.offset, m.header) for m in volume.label_members)
    label = LabelDocument(volume.label.size, volume.label.structure, members)
    return VolumeDocument(volume.tag, volume.uuid, volume.copy, volume.drive_serial, label)


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


def member_row(member: Member) -> tuple[object, ...]:
    """Return the row of files.csv for ``member``."""
    return (quote(member.name), *member[1:])


def read_files(path: Path) -> Iterator[Member]:
    """Yield the members that a files.csv lists; raises ValueError at the first row that cannot be one."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, strict=True)
        if tuple(next(rows, ())) != FILES_COLUMNS:
            raise ValueError(f"{path.name} has other columns than version {FORMAT_VERSION} has")
        for name, kind, size, sha256, md5, tape_file, offset, dataset, header in rows:
            yield Member(unquote(name), kind, int(size), sha256, md5, int(tape_file), int(offset), int(dataset), header)


def read_datasets(path: Path) -> Iterator[DataSetRecord]:
    """Yield the data sets that a datasets.csv lists; raises ValueError at the first row that cannot be one."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, strict=True)
        if tuple(next(rows, ())) != DATASETS_COLUMNS:
            raise ValueError(f"{path.name} has other columns than version {FORMAT_VERSION} has")
        for number, source, kind, tape_file, offset, files, size, md5, fingerprint, reason in rows:
            unquote(source)
            yield DataSetRecord(
                int(number), source, kind, int(tape_file), int(offset), int(files), int(size), md5, fingerprint, reason
            )


def load_catalog(folder: Path, volume_tag: str) -> CatalogDocument:
    """Return the catalog whose four files lie in ``folder``, checked against itself (R9).

    ``volume_tag`` is for the sentence of the FormatError that is raised where anything in it contradicts the rest.
    """
    try:
        _check_sums(folder)
        document = parse_catalog((folder / CATALOG_JSON).read_bytes(), volume_tag)
        _check_rows(document, folder)
    except (OSError, ValueError, csv.Error, msgspec.DecodeError) as error:
        raise FormatError(volume_tag, f"its catalog contradicts itself: {error}") from error
    return document


def parse_catalog(content: bytes, volume_tag: str) -> CatalogDocument:
    """Return what a catalog.json says; raises FormatError for a newer version, ValueError for nonsense."""
    version = msgspec.json.decode(content, type=dict[str, object]).get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FormatError(volume_tag, f"its catalog has format version {version}: use a newer papertape")
    return msgspec.json.decode(content, type=CatalogDocument)


def _check_sums(folder: Path) -> None:
    lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    expected = []
    for name in (CATALOG_JSON, DATASETS, FILES):
        with (folder / name).open("rb") as file:
            expected.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}")
    if lines != expected:
        raise ValueError(f"its {SUMS} is not that of its files")


def _check_rows(document: CatalogDocument, folder: Path) -> None:
    """Raise ValueError unless all counts, sizes, offsets and names agree."""
    datasets, rejected = 0, set()
    for datasets, record in enumerate(read_datasets(folder / DATASETS), 1):
        if record.number != datasets - 1:
            raise ValueError(f"{DATASETS}: row {datasets} is of data set {record.number}")
        if record.reason:
            rejected.add(record.number)
    files, size = _check_members(document, folder, rejected)
    found = (datasets - len(rejected), len(rejected), files, size)
    stated = (document.datasets, document.rejected, document.files, document.bytes)
    if found != stated:
        raise ValueError(f"it states {stated} data sets, rejected ones, files and bytes, and lists {found}")


def _check_members(document: CatalogDocument, folder: Path, rejected: set[int]) -> tuple[int, int]:
    tape_files = {item.tape_file: item for item in document.tape_files}
    if [item.kind for item in document.tape_files] != [PLAN] + [ARCHIVE] * (len(tape_files) - 1):
        raise ValueError("its tape files are not a plan and archives")
    files, size, end = 0, 0, (0, 0)
    for member in read_files(folder / FILES):
        check_member(member)
        tape_file = tape_files.get(member.tape_file)
        if tape_file is None or not 0 <= member.offset <= tape_file.bytes - member.size - RECORD:
            raise ValueError(f"{quote(member.name)} lies outside the tape files")
        if (member.tape_file, member.offset) < end:
            raise ValueError(f"{quote(member.name)} lies upon another member")
        end = (member.tape_file, member.offset + RECORD + member.size)
        if member.kind == "file" and member.dataset >= 0 and member.dataset not in rejected:
            files, size = files + 1, size + member.size
    return files, size


def check_member(member: Member) -> None:
    """Raise ValueError unless the member's name, size and digests can be right (R9)."""
    parts = member.name.split(b"/")
    if not all(parts) or b".." in parts or b"." in parts or b"\0" in member.name:
        raise ValueError(f"{quote(member.name)} is no member name of papertape's")
    if member.dataset >= 0 and parts[0] != b"data":
        raise ValueError(f"{quote(member.name)} is outside data/")
    if member.kind not in {"file", "dir", "link"} or member.size < 0:
        raise ValueError(f"{quote(member.name)} is of no kind that papertape writes")
    if (member.kind == "file") != bool(_DIGEST.match(member.sha256)):
        raise ValueError(f"{quote(member.name)} has no proper SHA-256")
