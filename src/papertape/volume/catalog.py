"""The catalog: what a dump did write, member by member (R6); written a row at a time, read a row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import msgspec.structs

from papertape import __version__
from papertape.volume.header import FILE
from papertape.volume.layout import FORMAT_VERSION, LABEL
from papertape.volume.members import DataSetRecord, Expected, Member, TapeFile, VolumeRecord
from papertape.volume.names import quote, unquote
from papertape.volume.rows import read_number, read_rows

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
