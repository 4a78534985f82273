"""Small plans, catalogs and results, as a dump would make them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from papertape.evidence import DigestMismatch, Verification, Written
from papertape.ledger import Ledger, Owner
from papertape.plan import Batch, DataSet, Volume
from papertape.volume.catalog import Catalog
from papertape.volume.members import DataSetRecord, Member, TapeFile, VolumeRecord
from papertape.volume.names import Source

NOW = datetime(2024, 5, 17, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(hours=9)
ME = Owner("tape1", 4711, "12345")
OTHER = Owner("tape2", 4711, "12345")
UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
DIGEST = hashlib.sha256(b"").hexdigest()
BLOCK = 1 << 20
LABEL_SIZE, PLAN_SIZE, ARCHIVE_SIZE, CATALOG_SIZE = BLOCK, BLOCK, 8 * BLOCK, 2 * BLOCK
TAPE_SIZE = LABEL_SIZE + PLAN_SIZE + ARCHIVE_SIZE + CATALOG_SIZE


class StillClock:
    """A clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment


def at(ledger: Ledger, moment: datetime) -> Ledger:
    """Set the clock of the ledger to that moment, and return the ledger."""
    assert isinstance(ledger.clock, StillClock)
    ledger.clock.moment = moment
    return ledger


def all_tags(ledger: Ledger) -> list[str]:
    """Return every volume tag, as if all were in the library."""
    return [volume.tag for volume in ledger.volumes.all()]


@dataclass(frozen=True, kw_only=True)
class ListedCatalog(Catalog):
    """A catalog in memory."""

    member_rows: tuple[Member, ...] = ()
    dataset_rows: tuple[DataSetRecord, ...] = ()

    def members(self) -> Iterator[Member]:
        yield from self.member_rows
        yield from self.own_members

    def dataset_records(self) -> Iterator[DataSetRecord]:
        yield from self.dataset_rows


def dataset(source: str, *, fingerprint: str = "f1", size: int = 100, md5: str | None = None) -> DataSet:
    return DataSet(
        source=Source.parse(source),
        kind="file",
        files=1,
        size=size,
        tape_bytes=1024 + size,
        catalog_bytes=200,
        fingerprint=fingerprint,
        md5=md5,
    )


def named(count: int, folder: str = "host:/data") -> list[DataSet]:
    return [dataset(f"{folder}/zen.{number:06}.uv") for number in range(count)]


def fill(ledger: Ledger, count: int = 3, pairs: int = 2) -> None:
    ledger.datasets.register_many(named(count))
    tags = [(f"PAPR{copy}{number:03}", copy, 10**9) for copy in (1, 2) for number in range(1, pairs + 1)]
    ledger.volumes.add(tags)


def plan(
    ledger: Ledger,
    *,
    dump: str = UUID,
    sets: Sequence[DataSet] | None = None,
    volumes: Sequence[Volume] | None = None,
    refused: Sequence[tuple[DataSet, str]] = (),
) -> Batch:
    chosen = tuple(ledger.datasets.pending()) if sets is None else tuple(sets)
    twins = ledger.volumes.free(2, all_tags(ledger)) if volumes is None else tuple(volumes)
    return Batch(
        dump=dump,
        volumes=tuple(twins),
        block_size=BLOCK,
        archives=(chosen,),
        refused=tuple(refused),
        tape_bytes=10**6,
    )


def member(name: bytes, *, number: int = 0, tape_file: int = 2, offset: int = 0, size: int = 100) -> Member:
    return Member(
        name=name,
        kind="file",
        size=size,
        sha256=DIGEST,
        md5="",
        tape_file=tape_file,
        offset=offset,
        dataset=number,
        header="0badcafe",
    )


def volume_record(volume: Volume) -> VolumeRecord:
    own = (member(b"README.txt", number=-1, tape_file=0), member(b"volume.json", number=-1, tape_file=0, offset=1024))
    return VolumeRecord(
        tag=volume.tag,
        uuid=volume.uuid,
        copy=volume.copy,
        drive_serial=f"S{volume.copy}",
        label=TapeFile(0, "label", LABEL_SIZE, DIGEST),
        label_members=own,
    )


def catalog(batch: Batch, rejected: dict[str, str] | None = None, *, until: int | None = None) -> ListedCatalog:
    """The catalog of ``batch``, with some data sets rejected, ended before the one numbered ``until``."""
    rejected = rejected or {}
    sets = [each for archive in batch.archives for each in archive][:until]
    records = tuple(
        DataSetRecord(
            number=number,
            source=each.source,
            kind=each.kind,
            tape_file=2,
            offset=number * 2048,
            files=each.files,
            size=each.size,
            md5=each.md5 or "",
            fingerprint=each.fingerprint,
            reason=rejected.get(str(each.source), ""),
        )
        for number, each in enumerate(sets)
    )
    plan_members = [member(b"plan.json", number=-1, tape_file=1)]
    rows = [member(b"data/%d" % number, number=number, offset=2048 * number) for number in range(len(sets))]
    whole = [record for record in records if not record.reason]
    tape_files = (
        TapeFile(1, "plan", PLAN_SIZE, DIGEST),
        TapeFile(2, "archive", ARCHIVE_SIZE, DIGEST),
        TapeFile(3, "catalog", CATALOG_SIZE, DIGEST),
    )
    return ListedCatalog(
        dump=batch.dump,
        created=NOW,
        block_size=batch.block_size,
        volumes=tuple(volume_record(volume) for volume in batch.volumes),
        tape_files=tape_files,
        own_members=(member(b"catalog.json", number=-1, tape_file=3),),
        datasets=len(whole),
        files=sum(record.files for record in whole),
        size=sum(record.size for record in whole),
        folder=Path("/nowhere"),
        member_rows=(*plan_members, *rows),
        dataset_rows=records,
    )


def copies(batch: Batch, *, flushed: datetime | None = NOW, error: Exception | None = None) -> list[Written]:
    """The results of writing the batch's copies; ``flushed`` and ``error`` are those of the last one."""
    good = [
        Written(
            volume=each.tag,
            drive=each.copy - 1,
            drive_serial=f"S{each.copy}",
            bytes=TAPE_SIZE,
            files=1,
            started=NOW,
            flushed=NOW,
            touched=True,
        )
        for each in batch.volumes[:-1]
    ]
    last = batch.volumes[-1]
    return [
        *good,
        Written(
            volume=last.tag,
            drive=1,
            drive_serial="S2",
            bytes=TAPE_SIZE,
            files=1,
            started=NOW,
            flushed=flushed,
            touched=True,
            error=error,
        ),
    ]


def verification(tag: str, files: int, *, size: int = TAPE_SIZE, good: bool = True) -> Verification:
    findings = () if good else (DigestMismatch(tag, 2, offset=2048, member="data/1", expected="aa", found="bb"),)
    return Verification(
        volume=tag,
        drive=0,
        drive_serial="S9",
        files=files,
        bytes=size,
        seconds=60.5,
        started=NOW,
        ended=LATER,
        findings=findings,
    )


def verifications(batch: Batch, files: int) -> list[Verification]:
    return [verification(volume.tag, files) for volume in batch.volumes]


def begin(ledger: Ledger, batch: Batch) -> int:
    return ledger.dumps.begin(batch)


def begin_writing(ledger: Ledger, batch: Batch) -> int:
    dump = ledger.dumps.begin(batch)
    ledger.dumps.start_writing(dump)
    return dump


def write(ledger: Ledger, batch: Batch, written: ListedCatalog | None = None) -> int:
    """Bring ``batch`` to the state ``verifying``."""
    dump = begin_writing(ledger, batch)
    ledger.dumps.written(dump, written or catalog(batch), copies(batch))
    ledger.dumps.start_verifying(dump)
    return dump


def archive(ledger: Ledger, batch: Batch | None = None) -> tuple[int, Batch]:
    """Bring a dump to the state ``archived``."""
    batch = batch or plan(ledger)
    written = catalog(batch)
    dump = write(ledger, batch, written)
    at(ledger, LATER).dumps.commit(dump, verifications(batch, written.files))
    return dump, batch


def states(ledger: Ledger) -> dict[str, str]:
    return {found.source: found.state for found in ledger.search.find("*")}
