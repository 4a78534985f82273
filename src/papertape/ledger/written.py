"""Evidence of writing: the places of a dump's data sets and members, and the result for each copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from papertape.errors import EvidenceMissing
from papertape.evidence import Written
from papertape.ids import DumpId
from papertape.ledger import datasets, volumes
from papertape.ledger.claims import read_dump
from papertape.ledger.schema import COPIES, DATASETS, MEMBERS, REJECTIONS, TAPE_FILES, VOLUMES, source_key
from papertape.states import DataSetState
from papertape.version import __version__
from papertape.volume.catalog import Catalog
from papertape.volume.members import DataSetRecord, VolumeRecord
from papertape.volume.names import quote


def refuse_other_catalog(connection: Connection, dump: DumpId, catalog: Catalog, copies: Sequence[Written]) -> None:
    """Raise EvidenceMissing unless the catalog is the dump's, and it and the copies name each claimed volume once."""
    claimed = volumes.of_dump(connection, dump)
    if read_dump(connection, dump).uuid != catalog.dump:
        raise EvidenceMissing(dump, f"the catalog is of another dump, {catalog.dump}")
    if {(v.tag, v.uuid, v.copy) for v in catalog.volumes} != {(v.tag, v.uuid, v.copy) for v in claimed}:
        raise EvidenceMissing(dump, "the catalog names other volumes than the dump has claimed")
    if sorted(copy.volume for copy in copies) != sorted(volume.tag for volume in claimed):
        raise EvidenceMissing(dump, "not every volume that the dump has claimed was written once")


def enter_copy(connection: Connection, dump: DumpId, record: VolumeRecord, copy: Written, now: datetime) -> None:
    """Enter the result of writing one copy, and its label."""
    volume = select(VOLUMES.c.id).where(VOLUMES.c.tag == record.tag).scalar_subquery()
    connection.execute(
        update(COPIES)
        .where(COPIES.c.dump_id == dump, COPIES.c.volume_id == volume)
        .values(
            label=describe_label(record),
            touched=copy.touched,
            written_at=now if copy.ok else None,
            flushed_at=copy.flushed,
            write_drive=copy.drive,
            write_serial=copy.drive_serial,
            bytes=copy.bytes,
            files=copy.files,
            version=__version__,
            error=None if copy.error is None else str(copy.error) or type(copy.error).__name__,
        )
    )


def describe_label(volume: VolumeRecord) -> dict[str, Any]:
    """Return a volume's label as the ledger stores it, in JSON."""
    members = [[quote(member.name), *member[1:]] for member in volume.label_members]
    return {"drive_serial": volume.drive_serial, "label": list(volume.label), "members": members}


def enter_members(connection: Connection, dump: DumpId, catalog: Catalog) -> None:
    """Enter a dump's tape files and the members in them; some hundred rows are in memory at a time."""
    rows = [{"dump_id": dump, **tape_file._asdict()} for tape_file in catalog.tape_files]
    connection.execute(insert(TAPE_FILES), rows)
    for chunk in datasets.chunks(enumerate(catalog.members())):
        members = [
            {
                **member._asdict(),
                "dump_id": dump,
                "seq": seq,
                "name": quote(member.name),
                "dataset": None if member.dataset < 0 else member.dataset,
            }
            for seq, member in chunk
        ]
        connection.execute(insert(MEMBERS), members)


def place_datasets(connection: Connection, dump: DumpId, records: Sequence[DataSetRecord]) -> int:
    """Enter places and rejections of some of the dump's data sets; return how many of them are whole."""
    # By key alone: with the state as a second condition SQLite would read all claimed data sets, each time.
    keys = [source_key(record.source) for record in records]
    rows = connection.execute(select(DATASETS).where(DATASETS.c.source_key.in_(keys)))
    mine = {row.source: row for row in rows if (row.dump_id, row.state) == (dump, DataSetState.CLAIMED)}
    whole, rejected = [], []
    for record in records:
        known = mine.pop(str(record.source), None)
        if known is None:
            raise EvidenceMissing(dump, f"the catalog has {record.source}, which this dump has not claimed")
        if record.reason:
            rejected.append((known.id, record))
            continue
        if known.md5 and known.md5 != record.md5:
            raise EvidenceMissing(dump, f"{record.source} was not compared with the MD5 that is declared for it")
        # Kind, files, size and fingerprint are those that were read for the tape: nothing of the plan is archived.
        place = {"number": record.number, "tape_file": record.tape_file, "offset": record.offset}
        read = {"kind": record.kind, "files": record.files, "size": record.size, "fingerprint": record.fingerprint}
        whole.append({"the_id": known.id, **place, **read})
    if whole:
        connection.execute(update(DATASETS).where(DATASETS.c.id == bindparam("the_id")), whole)
    for the_id, record in rejected:
        # It leaves the dump; the list of rejections still names it, since parts of it are on the dump's tapes.
        values = {"state": DataSetState.REJECTED, "reason": record.reason, **datasets.NOWHERE}
        connection.execute(update(DATASETS).where(DATASETS.c.id == the_id).values(**values))
        kept = {"number": record.number, "source": str(record.source), "reason": record.reason}
        connection.execute(insert(REJECTIONS).values(dump_id=dump, **kept))
    return len(whole)
