"""Places of data sets on tapes that were imported: in between what is known of the same sources, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from papertape.errors import FormatError
from papertape.ids import DumpId, VolumeTag
from papertape.ledger.datasets import chunks
from papertape.ledger.schema import DATASETS, DUMPS, REJECTIONS, source_key
from papertape.states import DataSetState
from papertape.volume.members import DataSetRecord
from papertape.volume.plan import Planned


class _Known(NamedTuple):
    """A version that the ledger has; ``at`` is when its dump was written, None for one that is newer than any dump."""

    row: Row[Any]
    at: datetime | None


def enter(
    connection: Connection,
    tag: VolumeTag,
    dump: DumpId,
    created: datetime,
    records: Iterable[DataSetRecord],
    now: datetime,
) -> None:
    """Enter the data sets of a dump that was created at ``created``, whole and rejected ones.

    A source that is in several dumps has a version for each, in the order in which they were written. A waiting
    one that is unchanged since is the very same data set. Raises FormatError, which names the volume ``tag``, for a
    source that comes twice.
    """
    for chunk in chunks(records):
        known = _known(connection, chunk)
        rows = []
        for record in chunk:
            if record.reason:
                kept = {"number": record.number, "source": str(record.source), "reason": record.reason}
                connection.execute(insert(REJECTIONS).values(dump_id=dump, **kept))
            before = known.setdefault(source_key(record.source), [])
            if before is _ENTERED or any(item.row.dump_id == dump for item in before):
                raise FormatError(tag, f"its catalog lists {record.source} twice")
            version = _make_room(connection, before, record, created) if before else 1
            if version:
                rows.append(_row(record, dump, version, now))
            known[source_key(record.source)] = _ENTERED
        if rows:
            connection.execute(insert(DATASETS), rows)


_ENTERED: list[_Known] = []
"""Stands for a source that was entered just now."""


def _row(record: DataSetRecord, dump: DumpId, version: int, now: datetime) -> dict[str, Any]:
    rejected = bool(record.reason)
    return {
        "source": str(record.source),
        "source_key": source_key(record.source),
        "version": version,
        "kind": record.kind,
        "files": record.files,
        "size": record.size,
        "tape_bytes": 0,
        "catalog_bytes": 0,
        "fingerprint": record.fingerprint,
        "md5": record.md5 or None,
        "state": DataSetState.REJECTED if rejected else DataSetState.CLAIMED,
        "reason": record.reason,
        "registered_at": now,
        "dump_id": None if rejected else dump,
        "number": None if rejected else record.number,
        "tape_file": None if rejected else record.tape_file,
        "offset": None if rejected else record.offset,
    }


def _known(connection: Connection, records: Sequence[DataSetRecord]) -> dict[str, list[_Known]]:
    """Return what the ledger has of these sources, by key, the oldest version first."""
    keys = [source_key(record.source) for record in records]
    rows = connection.execute(
        select(DATASETS, func.coalesce(DUMPS.c.created_at, DUMPS.c.started_at).label("at"))
        .outerjoin(DUMPS, DATASETS.c.dump_id == DUMPS.c.id)
        .where(DATASETS.c.source_key.in_(keys))
        .order_by(DATASETS.c.source_key, DATASETS.c.version)
    ).all()
    known: dict[str, list[_Known]] = {}
    for row in rows:
        at = row.at or (_rejected_at(connection, row.source) if row.state == DataSetState.REJECTED else None)
        known.setdefault(row.source_key, []).append(_Known(row, at))
    return known


def _rejected_at(connection: Connection, source: str) -> datetime | None:
    """Return when the last dump was written that rejected ``source``."""
    query = select(DUMPS.c.created_at).join(REJECTIONS, REJECTIONS.c.dump_id == DUMPS.c.id)
    moment: datetime | None = connection.scalar(
        query.where(REJECTIONS.c.source == source).order_by(DUMPS.c.created_at.desc()).limit(1)
    )
    return moment


def _make_room(connection: Connection, known: list[_Known], record: DataSetRecord, created: datetime) -> int:
    """Return the version that ``record`` gets, 0 if it is not to be entered; the newer ones move up.

    As where a data set is registered again: a version that was rejected goes when another one comes after it.
    """
    gone = [item for item in known if _is_superseded(item, record, created)]
    kept = [item for item in known if item not in gone]
    older = sum(item.at is not None and item.at <= created for item in kept)
    if record.reason and older < len(kept):
        return 0
    if gone:
        connection.execute(delete(DATASETS).where(DATASETS.c.id.in_([item.row.id for item in gone])))
    _renumber(connection, [*kept[:older], None, *kept[older:]])
    return older + 1


def _is_superseded(item: _Known, record: DataSetRecord, created: datetime) -> bool:
    row = item.row
    if row.state == DataSetState.REJECTED:
        torn = row.dump_id is not None and not record.reason
        return torn or (item.at is not None and item.at <= created)
    same = row.fingerprint == record.fingerprint and (row.md5 is None or row.md5 == record.md5)
    return bool(row.state == DataSetState.WAITING and same and not record.reason)


def _renumber(connection: Connection, order: Sequence[_Known | None]) -> None:
    """Give each its place as its version, counted from 1; in two steps, since no two may have the same meanwhile."""
    moved = [(item.row.id, new) for new, item in enumerate(order, 1) if item and item.row.version != new]
    for sign in (-1, 1):
        for the_id, new in moved:
            connection.execute(update(DATASETS).where(DATASETS.c.id == the_id).values(version=sign * new))


def enter_torn(
    connection: Connection, dump: DumpId, tag: VolumeTag, planned: Iterable[Planned], last: int, now: datetime
) -> None:
    """Enter as rejected the planned data sets of a dump without a catalog, where nothing else is known of them.

    ``last`` is the last tape file of the volume ``tag`` that was written to its end.
    """
    for number, chunk in enumerate(chunks(planned)):
        records = [
            DataSetRecord(
                number=number,
                source=item.source,
                kind=item.kind,
                tape_file=0,
                offset=0,
                files=item.files,
                size=item.size,
                md5=item.md5,
                fingerprint=item.fingerprint,
                reason=_explain_torn(tag, item.tape_file, last),
            )
            for item in chunk
        ]
        known = _known(connection, records)
        fresh = {source_key(record.source): record for record in records if source_key(record.source) not in known}
        rows = [{**_row(record, dump, 1, now), "dump_id": dump} for record in fresh.values()]
        if rows:
            connection.execute(insert(DATASETS), rows)


def _explain_torn(tag: VolumeTag, tape_file: int, last: int) -> str:
    state = "whole by its end" if tape_file <= last else "not written to its end"
    return f"its dump was cut off: tape file {tape_file} of {tag} is {state}, and no catalog proves it; add it again"
