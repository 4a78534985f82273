"""The tape files of one dump, in their order: the plan, the archives, the catalog."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from papertape.errors import SourceError
from papertape.events import Tell
from papertape.plan import Batch, DataSet
from papertape.transfer.composer import Composer, Place
from papertape.transfer.hashing import Digest
from papertape.transfer.journal import Journal
from papertape.transfer.pump import Pump
from papertape.transfer.readahead import KEPT, Content, End, ReadAhead, close_content
from papertape.transfer.source import Entry, check_unchanged, find_change
from papertape.version import __version__
from papertape.volume.catalog import CATALOG_JSON, DATASETS, FILES, SUMS, Catalog, encode_catalog
from papertape.volume.header import DIRECTORY, Attributes, build_header
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
    """Return the bytes of plan.json (R4)."""
    sizes = [dataset.size for archive in batch.archives for dataset in archive]
    document = PlanDocument(
        format="papertape",
        format_version=FORMAT_VERSION,
        dump=batch.dump,
        created=created,
        written_by=f"papertape {__version__}",
        block_size=batch.block_size,
        volumes=tuple(volume.tag for volume in batch.volumes),
        archives=len(batch.archives),
        datasets=len(sizes),
        bytes=sum(sizes),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _member(name: bytes, size: int, attributes: Attributes, place: Place, *, dataset: int, header: bytes) -> Member:
    """Return a member whose digests are not known yet."""
    return Member(
        name=name,
        kind=attributes.kind,
        size=size,
        sha256="",
        md5="",
        tape_file=place.tape_file,
        offset=place.offset,
        dataset=dataset,
        header=checksum_header(header),
    )


class Recording:
    """Writes the tape files of a dump through a pump; ``journal`` records the result of each data set.

    ``spool`` is an empty folder, in which the catalog grows. All methods are called by the reader side, in this order:
    ``write_plan``, ``write_archive`` for each archive, ``write_catalog``. They raise what ``Pump.check`` raises, and
    OSError if the spool cannot be written.
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
        """Write tape file 1, the plan of this dump (R4); ``next_size`` as in ``write_archive``."""
        (self._spool / PLAN_JSON).write_bytes(describe_plan(self._batch, self._created))
        with (self._spool / PLAN_CSV).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(PLAN_COLUMNS)
            for number, archive in enumerate(self._batch.archives, 2):
                for item in archive:
                    md5 = item.md5 or ""
                    rows.writerow((number, str(item.source), item.kind, item.files, item.size, md5, item.fingerprint))
        self._composer.begin()
        self._add_spooled(self._spool, PLAN_JSON, PLAN_CSV)
        self._end(PLAN, next_size)

    def write_archive(self, datasets: Sequence[DataSet], next_size: int) -> None:
        """Write one archive (R5).

        ``next_size`` is that of the next archive in bytes, 0 after the last one: it decides where to flush (R8).
        """
        self._composer.begin()
        self.journal.begin_archive()
        with ReadAhead(datasets) as ahead:
            contents = iter(ahead)
            for dataset in datasets:
                tape_file, offset = self._composer.number, self._composer.offset
                error = self._write_members(dataset, contents)
                reason = ""
                if error:
                    reason = (
                        error.reason if error.path == quote(dataset.source.path) else f"{error.path} {error.reason}"
                    )
                self.journal.end_dataset(
                    DataSetRecord(
                        number=self._number,
                        source=dataset.source,
                        kind=dataset.kind,
                        tape_file=tape_file,
                        offset=offset,
                        files=dataset.files,
                        size=dataset.size,
                        md5=dataset.md5 or "",
                        fingerprint=dataset.fingerprint,
                        reason=reason,
                    )
                )
                self._number += 1
        # SHA256SUMS lists the members before it, so all their digests must be known when it is added.
        self._settle()
        self.journal.flush()
        self._add_spooled(self.journal.sums_folder, SUMS)
        self._settle()
        self._end(ARCHIVE, next_size)

    def write_catalog(self, volumes: tuple[VolumeRecord, ...]) -> Catalog:
        """Write the last tape file, flushed, and return the catalog (R6); ``volumes`` are the twins that it names."""
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
        # No member may be added to the lists any more once they are on their way to tape: from here on they are kept.
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
        """End the tape file, and flush before the next one if more than ``FLUSH_EVERY`` bytes would be unflushed."""
        tape_file = self._composer.end(kind)
        self._tape_files.append(tape_file)
        self._unflushed += tape_file.size
        flush = self._unflushed + next_size > FLUSH_EVERY
        self._pump.mark(flush=flush)
        if flush:
            self._unflushed = 0

    def _settle(self) -> None:
        """Wait until everything added so far has its digests and its rows."""
        # In this order: the last pieces of a file, which lie in the open block, are hashed after those in the lanes.
        self._pump.lanes.drain(self._pump.check)
        self._composer.hash_rest()
        self.journal.settle()

    def _add_spooled(self, folder: Path, *names: str) -> None:
        """Add members of papertape's own: the files in ``folder`` with these names."""
        for name in names:
            with (folder / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._add_file(name.encode(), size, own_attributes(self._created), file.fileno(), dataset=-1)

    def _write_members(self, dataset: DataSet, contents: Iterator[Content | End]) -> SourceError | None:
        """Write the contents up to the data set's end; return the first error, after which nothing is written.

        It is returned, not raised: an exception would end the dump, and this error concerns one data set.
        """
        prefix = dataset.source.member
        subject = (b"" if dataset.kind == "file" else VISDATA) if dataset.md5 else None
        wrong: SourceError | None = None
        directories: list[Entry] = []
        for content in contents:
            if isinstance(content, End):
                return wrong or content.error or find_change(dataset, directories if len(directories) <= KEPT else None)
            if wrong:
                close_content(content)
                continue
            _, relative, size, attributes = content.entry
            name = b"%b/%b" % (prefix, relative) if relative else prefix
            with_md5 = relative == subject
            if content.data is not None:
                header = build_header(name, size, attributes)
                sha256, md5 = self._start_digests(size, with_md5=with_md5)
                place = self._composer.put_small(header, content.data, (sha256, md5) if md5 else (sha256,))
                self._list(_member(name, size, attributes, place, dataset=self._number, header=header), sha256, md5)
            elif content.descriptor is not None:
                wrong = self._add_large(name, content.entry, content.descriptor, with_md5=with_md5)
            elif content.error is not None:
                wrong = content.error
            else:
                if attributes.kind == DIRECTORY and len(directories) <= KEPT:
                    directories.append(content.entry)
                self._add_header(name, 0, attributes, dataset=self._number)
        raise RuntimeError(f"{dataset.source} was never read to its end")

    def _add_large(self, name: bytes, entry: Entry, descriptor: int, *, with_md5: bool) -> SourceError | None:
        """Add a file from its open ``descriptor``, and close it; return what is wrong with the file."""
        try:
            why = self._add_file(
                name, entry.size, entry.attributes, descriptor, dataset=self._number, with_md5=with_md5
            )
            if why:
                return SourceError(quote(entry.path), why)
            check_unchanged(descriptor, entry)  # after the last byte: a change while it was read shows in its time
        except SourceError as error:
            return error
        finally:
            os.close(descriptor)
        return None

    def _add_file(
        self, name: bytes, size: int, attributes: Attributes, descriptor: int, *, dataset: int, with_md5: bool = False
    ) -> str:
        """Add a member whose data is read from ``descriptor``; return why it is not whole, or ""."""
        sha256, md5 = self._start_digests(size, with_md5=with_md5)
        self._add_header(name, size, attributes, dataset=dataset, sha256=sha256, md5=md5)
        return self._composer.put_stream(descriptor, size, (sha256, md5) if md5 else (sha256,))

    def _start_digests(self, size: int, *, with_md5: bool) -> tuple[Digest, Digest | None]:
        lanes = self._pump.lanes
        # MD5 takes about twice the time of SHA-256 where the processor has instructions for the latter.
        return lanes.start("sha256", size), lanes.start("md5", 2 * size) if with_md5 else None

    def _add_header(
        self,
        name: bytes,
        size: int,
        attributes: Attributes,
        *,
        dataset: int,
        sha256: Digest | None = None,
        md5: Digest | None = None,
    ) -> None:
        header = build_header(name, size, attributes)
        place = self._composer.put_header(header)
        self._list(_member(name, size, attributes, place, dataset=dataset, header=header), sha256, md5)

    def _list(self, member: Member, sha256: Digest | None, md5: Digest | None) -> None:
        self.journal.add(member, sha256, md5)
        if self.journal.waiting() > MOST_PENDING:
            self._settle()
