"""Proof: the verifications of a dump, and the one step from there to ``archived``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from papertape.errors import EvidenceMissing
from papertape.evidence import Verification
from papertape.ids import DumpId
from papertape.ledger import volumes
from papertape.ledger.claims import move, read_dump, unknown_volume
from papertape.ledger.records import DumpRecord, Owner
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, TAPE_FILES, VERIFICATIONS, VOLUMES
from papertape.states import DataSetState, DumpState, Format, VolumeState
from papertape.version import __version__
from papertape.volume.members import TapeFile

FINDINGS_KEPT = 1000
"""Findings of one verification that are stored in full; all are counted."""

_ARCHIVED = {DATASETS: DataSetState.ARCHIVED, VOLUMES: VolumeState.ARCHIVED, DUMPS: DumpState.ARCHIVED}


def commit(
    connection: Connection, dump: DumpId, mine: Owner | None, verifications: Sequence[Verification], now: datetime
) -> None:
    """Call the dump archived: data sets, volumes and dump, all or none.

    Raises EvidenceMissing unless every copy was written and flushed without error, and was read back whole and equal.
    """
    # First, a step into the same state: it fails if the dump belongs to another process, or is not being verified.
    values = {"heartbeat_at": now, "ended_at": now, "reason": ""}
    move(connection, dump, mine, (DumpState.VERIFYING,), DumpState.VERIFYING, **values)
    claimed = volumes.of_dump(connection, dump)
    found = read_dump(connection, dump)
    _refuse_unproven(connection, found, claimed, verifications)
    _refuse_miscounted(connection, found)
    by_tag = {volume.tag: volume.id for volume in claimed}
    for verification in verifications:
        _enter(connection, verification, volume=by_tag[verification.volume], dump=dump, wrong="", now=now)
    say_archived(connection, dump)


def say_archived(connection: Connection, dump: DumpId) -> None:
    """Bring a dump, its data sets and its volumes to their last state; the caller has the evidence."""
    for table, its in (
        (DATASETS, (DATASETS.c.dump_id == dump) & (DATASETS.c.state == DataSetState.CLAIMED)),
        (VOLUMES, (VOLUMES.c.dump_id == dump) & (VOLUMES.c.state == VolumeState.CLAIMED)),
        (DUMPS, DUMPS.c.id == dump),
    ):
        connection.execute(update(table).where(its).values(state=_ARCHIVED[table]))  # the one line that says so


def _refuse_unproven(
    connection: Connection, dump: DumpRecord, claimed: Sequence[Row[Any]], verifications: Sequence[Verification]
) -> None:
    """Raise EvidenceMissing unless every copy was written, flushed and read back whole, now or before."""
    if not dump.copies or sorted(copy.volume for copy in dump.copies) != sorted(volume.tag for volume in claimed):
        raise EvidenceMissing(dump.id, "a volume that it was written to does not belong to it any more")
    read = sorted(verification.volume for verification in verifications)
    # A copy that counts as verified already is not read again when only its twin was made again.
    proven = [copy.volume for copy in dump.copies if copy.verified_at and copy.volume not in read]
    if sorted([*read, *proven]) != sorted(copy.volume for copy in dump.copies):
        raise EvidenceMissing(dump.id, "not every copy was read back once")
    for copy in dump.copies:
        if copy.error or not copy.written_at or not copy.flushed_at:
            raise EvidenceMissing(dump.id, f"the copy on {copy.volume} is not whole: {copy.error or 'never flushed'}")
    for verification in verifications:
        wrong = _wrong(connection, dump, verification)
        if wrong:
            raise EvidenceMissing(dump.id, f"the copy on {verification.volume} is not proven: {wrong}")


def _refuse_miscounted(connection: Connection, dump: DumpRecord) -> None:
    """Raise EvidenceMissing unless data sets, files and bytes in the ledger are as many as the dump's catalog says."""
    mine = (DATASETS.c.dump_id == dump.id) & (DATASETS.c.state == DataSetState.CLAIMED)
    query = select(func.count(), func.count(DATASETS.c.number), func.sum(DATASETS.c.files), func.sum(DATASETS.c.size))
    claimed, placed, files, size = connection.execute(query.select_from(DATASETS).where(mine)).one()
    if (claimed, placed, files or 0, size or 0) != (dump.datasets, dump.datasets, dump.files, dump.size):
        raise EvidenceMissing(dump.id, "its data sets, files and bytes are not as many as its catalog says")


def _wrong(connection: Connection, dump: DumpRecord, verification: Verification) -> str:
    """Return why ``verification`` does not prove its volume, "" if it does: every byte and every file was read."""
    if not verification.ok:
        return verification.findings[0].sentence()
    size: int | None = None  # unknown for a volume of the predecessor: its catalog has no sizes
    if dump.format != Format.PREDECESSOR:
        query = select(COPIES.c.label).join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        label = connection.scalar(query.where(COPIES.c.dump_id == dump.id, VOLUMES.c.tag == verification.volume))
        if label is None:
            return "the ledger does not know what was written to it"
        rest = connection.scalar(select(func.sum(TAPE_FILES.c.size)).where(TAPE_FILES.c.dump_id == dump.id))
        size = TapeFile(*label["label"]).size + int(rest or 0)
    if verification.files != dump.files or size not in {None, verification.bytes}:
        read = f"{verification.bytes} bytes and {verification.files} files"
        return f"{read} were read, but {size} and {dump.files} were written"
    return ""


def record(connection: Connection, verification: Verification, now: datetime) -> bool:
    """Enter a verification outside a dump, and return whether the volume is good; a bad one is set aside."""
    volume = connection.execute(select(VOLUMES).where(VOLUMES.c.tag == verification.volume)).first()
    if volume is None:
        raise unknown_volume(verification.volume)
    dump = volume.dump_id
    wrong = (
        "the ledger knows no dump on it"
        if dump is None
        else _wrong(connection, read_dump(connection, dump), verification)
    )
    _enter(connection, verification, volume=volume.id, dump=dump, wrong=wrong, now=now)
    if wrong:
        volumes.set_aside(connection, volume.id, wrong)
    return not wrong


def _enter(
    connection: Connection,
    verification: Verification,
    *,
    volume: int,
    dump: DumpId | None,
    wrong: str,
    now: datetime,
) -> None:
    its = {"volume_id": volume, "recorded_at": now, "started_at": verification.started}
    # It exists if this transaction is made again because nobody knows whether the first one was committed.
    if connection.execute(select(VERIFICATIONS.c.id).filter_by(**its)).first() is None:
        findings = [{"kind": each.kind, **asdict(each)} for each in verification.findings[:FINDINGS_KEPT]]
        connection.execute(
            insert(VERIFICATIONS).values(
                **its,
                dump_id=dump,
                drive=verification.drive,
                drive_serial=verification.drive_serial,
                ended_at=verification.ended,
                seconds=verification.seconds,
                ok=verification.ok,
                bytes=verification.bytes,
                files=verification.files,
                version=__version__,
                findings_count=len(verification.findings),
                findings=findings,
            )
        )
    connection.execute(
        update(COPIES)
        .where(COPIES.c.dump_id == dump, COPIES.c.volume_id == volume)
        .values(
            verified_at=None if wrong else verification.ended,
            verify_drive=verification.drive,
            verify_serial=verification.drive_serial,
        )
    )
