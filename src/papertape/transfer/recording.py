"""The tape files of one dump, in their order: the plan, the archives, the catalog."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from papertape import __version__
from papertape.errors import SourceError
from papertape.events import Tell
from papertape.plan import Batch, DataSet
from papertape.transfer.composer import Composer
from papertape.transfer.hashing import Digest
from papertape.transfer.journal import Journal
from papertape.transfer.pump import Pump
from papertape.transfer.readahead import KEPT, Content, End, ReadAhead, close_content
from papertape.transfer.source import Entry, check_unchanged, find_change, member_name
from papertape.volume.catalog import CATALOG_JSON, DATASETS, FILES, SUMS, Catalog, encode_catalog
from papertape.volume.header import DIRECTORY, FILE, Attributes, build_header
from papertape.volume.layout import ARCHIVE, CATALOG, FLUSH_EVERY, FORMAT_VERSION, PLAN
from papertape.volume.members import DataSetRecord, Member, TapeFile, VolumeRecord
from papertape.volume.names import quote
from papertape.volume.plan import PLAN_COLUMNS, PLAN_CSV, PLAN_JSON, PlanDocument
from papertape.volume.sums import sums_line
from papertape.volume.tapefile import checksum_header, own_attributes

MOST_PENDING = 20_000
"""Members whose digests may be outstanding: bounds the memory that a million empty files take."""
VISDATA = b"visdata"
"""The file of a MIRIAD data set that the lab's MD5 is of."""


def describe_plan(batch: Batch, created: datetime) -> bytes:
    """Return plan.json."""
    sizes = [dataset.size for archive in batch.archives for dataset in archive]
    document = PlanDocument(
        "papertape",
        FORMAT_VERSION,
        batch.dump,
        created,
        f"papertape {__version__}",
        batch.block_size,
        tuple(volume.tag for volume in batch.volumes),
        len(batch.archives),
        len(sizes),
        sum(sizes),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


class Recording:
    """Writes a dump's tape files through a pump; ``journal`` knows what became of each data set.

    ``spool`` is an empty folder for what will be the catalog.
    """

    def __init__(self, batch: Batch, pump: Pump, spool: Path, created: datetime, tell: Tell) -> None:
        self.journal = Journal(spool, tell)
        self._batch = batch
        self._pump = pump
        self._spool = spool
        self._created = created
        self._composer = Composer(pump, batch.block_size)
        self._tape_files: list[TapeFile] = []
        self._unflushed = 0
        self._number = 0

    def write_plan(self, next_size: int) -> None:
        """Write tape file 1: what this dump is about to write (R4); ``next_size`` as in ``write_archive``."""
        (self._spool / PLAN_JSON).write_bytes(describe_plan(self._batch, self._created))
        with (self._spool / PLAN_CSV).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(PLAN_COLUMNS)
            for number, archive in enumerate(self._batch.archives, 2):
                for item in archive:
                    md5 = item.md5 or ""
                    rows.writerow((number, item.source, item.kind, item.files, item.size, md5, item.fingerprint))
        self._composer.begin()
        self._add_spooled(self._spool, PLAN_JSON, PLAN_CSV)
        self._end(PLAN, next_size)

    def write_archive(self, datasets: Sequence[DataSet], next_size: int) -> None:
        """Write one archive (R5); ``next_size`` is that of the next one in bytes, which decides where to flush (R8)."""
        self._composer.begin()
        self.journal.begin_archive()
        with ReadAhead(datasets) as ahead:
            contents = iter(ahead)
            for dataset in datasets:
                self._write_dataset(dataset, contents)
        self._settle()
        self.journal.flush()
        self._add_spooled(self.journal.sums_folder, SUMS)
        self._settle()
        self._end(ARCHIVE, next_size)

    def write_catalog(self, volumes: tuple[VolumeRecord, ...]) -> Catalog:
        """Write the last tape file, flushed, and return what it says (R6)."""
        journal = self.journal
        catalog = Catalog(
            dump=self._batch.dump,
            created=self._created,
            block_size=self._batch.block_size,
            volumes=volumes,
            tape_files=tuple(self._tape_files),
            own_members=(),
            datasets=journal.datasets,
            files=journal.files,
            size=journal.size,
            folder=self._spool,
        )
        (self._spool / CATALOG_JSON).write_bytes(encode_catalog(catalog, len(journal.rejected)))
        journal.flush()
        journal.keep_own()
        self._composer.begin()
        self._add_spooled(self._spool, CATALOG_JSON, DATASETS, FILES)
        self._settle()
        (self._spool / SUMS).write_bytes(b"".join(sums_line(member.sha256, member.name) for member in journal.own))
        self._add_spooled(self._spool, SUMS)
        self._settle()
        self._end(CATALOG, FLUSH_EVERY)
        return dataclasses.replace(catalog, tape_files=tuple(self._tape_files), own_members=tuple(journal.own))

    def _end(self, kind: str, next_size: int) -> None:
        tape_file = self._composer.end(kind)
        self._tape_files.append(tape_file)
        self._unflushed += tape_file.size
        flush = self._unflushed + next_size > FLUSH_EVERY
        self._pump.mark(flush=flush)
        if flush:
            self._unflushed = 0

    def _settle(self) -> None:
        """Wait until everything added so far has its digests and its rows."""
        self._pump.lanes.drain(self._pump.check)
        self._composer.hash_rest()
        self.journal.settle()

    def _add_spooled(self, folder: Path, *names: str) -> None:
        """Add papertape's own members, from the files in ``folder`` that bear their names."""
        for name in names:
            with (folder / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._add_file(name.encode(), size, own_attributes(self._created), -1, file.fileno())

    def _write_dataset(self, dataset: DataSet, contents: Iterator[Content | End]) -> None:
        """Write one data set; whatever is wrong with it ends in its record, not in an exception."""
        tape_file, offset = self._composer.number, self._composer.offset
        error = self._write_entries(dataset, contents)
        record = DataSetRecord(
            number=self._number,
            source=dataset.source,
            kind=dataset.kind,
            tape_file=tape_file,
            offset=offset,
            files=dataset.files,
            size=dataset.size,
            md5=dataset.md5 or "",
            fingerprint=dataset.fingerprint,
            reason=_explain(error, dataset) if error else "",
        )
        self.journal.end_dataset(record)
        self._number += 1

    def _write_entries(self, dataset: DataSet, contents: Iterator[Content | End]) -> SourceError | None:
        """Write the contents up to the data set's end; return what is wrong with it, and write nothing behind that."""
        prefix = member_name(dataset.host, dataset.path, b"")
        subject = (b"" if dataset.kind == "file" else VISDATA) if dataset.md5 else None
        wrong: SourceError | None = None
        directories: list[Entry] = []
        for content in contents:
            if isinstance(content, End):
                return wrong or content.error or find_change(dataset, directories if len(directories) <= KEPT else None)
            if wrong:
                close_content(content)
                continue
            if content.entry.attributes.kind == DIRECTORY and len(directories) <= KEPT:
                directories.append(content.entry)
            relative = content.entry.relative
            name = b"%b/%b" % (prefix, relative) if relative else prefix
            wrong = self._write_content(name, content, with_md5=relative == subject)
        raise RuntimeError(f"{dataset.source} was never read to its end")

    def _write_content(self, name: bytes, content: Content, *, with_md5: bool) -> SourceError | None:
        """Write one member; return what is wrong with it."""
        attributes = content.entry.attributes
        if attributes.kind != FILE:
            self._add_header(name, 0, attributes, self._number, None, None)
        elif content.data is not None:
            self._add_small(name, attributes, content.data, with_md5=with_md5)
        elif content.descriptor is not None:
            return self._add_large(name, content.entry, content.descriptor, with_md5=with_md5)
        return content.error

    def _add_large(self, name: bytes, entry: Entry, descriptor: int, *, with_md5: bool) -> SourceError | None:
        try:
            why = self._add_file(name, entry.size, entry.attributes, self._number, descriptor, with_md5)
            if why:
                return SourceError(quote(entry.path), why)
            check_unchanged(descriptor, entry)
        except SourceError as error:
            return error
        finally:
            os.close(descriptor)
        return None

    def _add_small(self, name: bytes, attributes: Attributes, data: bytes, *, with_md5: bool) -> None:
        size = len(data)
        header = build_header(name, size, attributes)
        sha256, md5 = self._start_digests(size, with_md5)
        begun = self._composer.put_small(header, data, (sha256, md5) if md5 else (sha256,))
        self._list(Member(name, FILE, size, "", "", *begun, self._number, checksum_header(header)), sha256, md5)

    def _add_file(
        self,
        name: bytes,
        size: int,
        attributes: Attributes,
        number: int,
        descriptor: int,
        with_md5: bool = False,
    ) -> str:
        """Add a member whose data is read from ``descriptor``; return why it is not whole, or nothing."""
        digests = self._start_digests(size, with_md5)
        self._add_header(name, size, attributes, number, *digests)
        return self._composer.put_stream(descriptor, size, tuple(filter(None, digests)))

    def _start_digests(self, size: int, with_md5: bool) -> tuple[Digest, Digest | None]:
        lanes = self._pump.lanes
        return lanes.start("sha256", size), lanes.start("md5", 2 * size) if with_md5 else None

    def _add_header(
        self, name: bytes, size: int, attributes: Attributes, number: int, sha256: Digest | None, md5: Digest | None
    ) -> None:
        header = build_header(name, size, attributes)
        begun = self._composer.put_header(header)
        member = Member(name, attributes.kind, size, "", "", *begun, number, checksum_header(header))
        self._list(member, sha256, md5)

    def _list(self, member: Member, sha256: Digest | None, md5: Digest | None) -> None:
        self.journal.add(member, sha256, md5)
        if self.journal.waiting() > MOST_PENDING:
            self._settle()


def _explain(error: SourceError, dataset: DataSet) -> str:
    return error.reason if error.path == quote(dataset.path) else f"{error.path} {error.reason}"
