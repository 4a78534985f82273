"""The catalog: what a dump did write, member by member (R6). Its lists are written and read a row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import msgspec.structs

from papertape.ids import VolumeTag
from papertape.version import __version__
from papertape.volume.layout import FORMAT_VERSION, LABEL
from papertape.volume.members import DataSetRecord, Expected, Member, TapeFile, VolumeRecord, own_member
from papertape.volume.names import Source, quote, unquote
from papertape.volume.rows import read_number, read_rows

CATALOG_JSON, DATASETS, FILES, SUMS = "catalog.json", "datasets.csv", "files.csv", "SHA256SUMS"
"""The members of the catalog, in tape order."""

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


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The content of a dump, the same on every copy and in the ledger.

    ``tape_files`` are those from 1 on; the last one is the catalog itself, and ``own_members`` are its members.
    ``folder`` holds the catalog's files as they lie on tape. ``datasets`` counts the data sets that were not rejected,
    ``files`` their regular files, ``size`` the bytes of these.
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
        """Return the catalog in ``document``, a checked catalog.json, with its own tape file and its ``folder``.

        Raises ValueError for a name that is no text form.
        """
        return cls(
            dump=document.dump,
            created=document.created,
            block_size=document.block_size,
            volumes=tuple(read_volume(volume) for volume in document.volumes),
            # Both have the same fields in the same order.
            tape_files=(*(TapeFile(*msgspec.structs.astuple(item)) for item in document.tape_files), own),
            own_members=own_members,
            datasets=document.datasets,
            files=document.files,
            size=document.bytes,
            folder=folder,
        )

    def members(self) -> Iterator[Member]:
        """Yield every member from tape file 1 on in tape order, the catalog's own last.

        Holds one row at a time. Raises ValueError at a wrong row: a folder that ``load_catalog`` accepted has none.
        """
        yield from read_files(self.folder / FILES)
        yield from self.own_members

    def dataset_records(self) -> Iterator[DataSetRecord]:
        """Yield every data set in tape order, rejected ones included; holds one row at a time.

        Raises ValueError like ``members``.
        """
        return read_datasets(self.folder / DATASETS)

    def expected(self) -> Expected:
        """Return what a volume of this dump must hold; raises ValueError like ``members``."""
        return Expected(
            dump=self.dump,
            block_size=self.block_size,
            volumes=self.volumes,
            tape_files=self.tape_files,
            members=self.members,
            rejected=frozenset(record.number for record in self.dataset_records() if record.reason),
        )


class LabelDocument(msgspec.Struct, frozen=True):
    """A label in catalog.json; a member is its name, size in bytes, SHA-256, offset and header CRC-32."""

    bytes: int
    structure: str
    members: tuple[tuple[str, int, str, int, str], ...]


class VolumeDocument(msgspec.Struct, frozen=True):
    """A volume in catalog.json; ``drive_serial`` is that of the drive that wrote it."""

    volume_tag: VolumeTag
    volume_uuid: str
    copy: int
    drive_serial: str
    label: LabelDocument


class TapeFileDocument(msgspec.Struct, frozen=True):
    """A tape file in catalog.json; ``structure`` is the SHA-256 of all its bytes except file data (R11)."""

    tape_file: int
    kind: str
    bytes: int
    structure: str


class CatalogDocument(msgspec.Struct, frozen=True):
    """The content of ``catalog.json``: the dump's sums, its volumes, and its tape files except the catalog itself.

    ``datasets``, ``files`` and ``bytes`` leave out the ``rejected`` data sets.
    """

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
    return VolumeDocument(
        volume_tag=volume.tag,
        volume_uuid=volume.uuid,
        copy=volume.copy,
        drive_serial=volume.drive_serial,
        label=LabelDocument(volume.label.size, volume.label.structure, members),
    )


def read_volume(document: VolumeDocument) -> VolumeRecord:
    """Return the volume that ``document`` describes; raises ValueError for a member whose name is no text form."""
    return VolumeRecord(
        tag=VolumeTag(document.volume_tag),
        uuid=document.volume_uuid,
        copy=document.copy,
        drive_serial=document.drive_serial,
        label=TapeFile(0, LABEL, document.label.bytes, document.label.structure),
        label_members=read_label_members(document.label),
    )


def read_label_members(label: LabelDocument) -> tuple[Member, ...]:
    """Return the members of ``label``; raises ValueError for one whose name is no text form."""
    return tuple(
        own_member(unquote(name), size=size, sha256=sha256, offset=offset, header=header)
        for name, size, sha256, offset, header in label.members
    )


def encode_catalog(catalog: Catalog, rejected: int) -> bytes:
    """Return catalog.json for a ``catalog`` without its own tape file; ``rejected`` counts the rejected data sets."""
    # The catalog's own tape file cannot be listed in it: its digest covers this very document.
    document = CatalogDocument(
        format="papertape",
        format_version=FORMAT_VERSION,
        dump=catalog.dump,
        created=catalog.created,
        written_by=f"papertape {__version__}",
        block_size=catalog.block_size,
        datasets=catalog.datasets,
        rejected=rejected,
        files=catalog.files,
        bytes=catalog.size,
        volumes=tuple(describe_volume(volume) for volume in catalog.volumes),
        tape_files=tuple(TapeFileDocument(*tape_file) for tape_file in catalog.tape_files),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read_files(path: Path) -> Iterator[Member]:
    """Yield the members that the files.csv at ``path`` lists; raises ValueError at the first wrong row."""
    for name, kind, size, sha256, md5, tape_file, offset, dataset, header in read_rows(path, FILES_COLUMNS):
        yield Member(
            name=unquote(name),
            kind=kind,
            size=read_number(size),
            sha256=sha256,
            md5=md5,
            tape_file=read_number(tape_file),
            offset=read_number(offset),
            dataset=-1 if dataset == "-1" else read_number(dataset),
            header=header,
        )


def dataset_row(record: DataSetRecord) -> tuple[str | int, ...]:
    """Return the row of datasets.csv for ``record``, with DATASETS_COLUMNS."""
    return (
        record.number,
        str(record.source),
        record.kind,
        record.tape_file,
        record.offset,
        record.files,
        record.size,
        record.md5,
        record.fingerprint,
        record.reason,
    )


def read_datasets(path: Path) -> Iterator[DataSetRecord]:
    """Yield the data sets that the datasets.csv at ``path`` lists; raises ValueError at the first wrong row."""
    for row in read_rows(path, DATASETS_COLUMNS):
        number, source, kind, tape_file, offset, files, size, md5, fingerprint, reason = row
        yield DataSetRecord(
            number=read_number(number),
            source=Source.parse(source),
            kind=kind,
            tape_file=read_number(tape_file),
            offset=read_number(offset),
            files=read_number(files),
            size=read_number(size),
            md5=md5,
            fingerprint=fingerprint,
            reason=reason,
        )
