"""Places of data sets on imported tapes: each becomes a version among the known ones of its source, oldest first."""

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
    *,
    tag: VolumeTag,
    dump: DumpId,
    created: datetime,
    records: Iterable[DataSetRecord],
    now: datetime,
) -> None:
    """Enter the data sets of a dump that was created at ``created``, whole and rejected ones.

    A source that is in several dumps has a version for each, in the order in which they were written. A data set that
    waits and is unchanged since is the same one. Raises FormatError, which names the volume ``tag``, for a source that
    is listed twice.
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
    """Return the versions of these sources in the ledger, by key, the oldest first."""
    keys = [source_key(record.source) for record in records]
    rows = connection.execute(
        select(DATASETS, func.coalesce(DUMPS.c.created_at, DUMPS.c.started_at).label("at"))
        .outerjoin(DUMPS, DATASETS.c.dump_id == DUMPS.c.id)
        .where(DATASETS.c.source_key.in_(keys))
        .order_by(DATASETS.c.source_key, DATASETS.c.version)
    ).all()
    known: dict[str, list[_Known]] = {}
    for row in rows:
        at: datetime | None = row.at
        if at is None and row.state == DataSetState.REJECTED:
            # A rejected data set has left its dump; the list of rejections still names the dump.
            rejecting = select(DUMPS.c.created_at).join(REJECTIONS, REJECTIONS.c.dump_id == DUMPS.c.id)
            last = rejecting.where(REJECTIONS.c.source == row.source).order_by(DUMPS.c.created_at.desc()).limit(1)
            at = connection.scalar(last)
        known.setdefault(row.source_key, []).append(_Known(row, at))
    return known


def _make_room(connection: Connection, known: list[_Known], record: DataSetRecord, created: datetime) -> int:
    """Return the version that ``record`` gets, 0 if it must not be entered; newer versions move up by one.

    A version that was rejected is deleted if another one follows it, as when a data set is registered again.
    """
    gone = [item for item in known if _is_superseded(item, record, created)]
    kept = [item for item in known if item not in gone]
    older = sum(item.at is not None and item.at <= created for item in kept)
    if record.reason and older < len(kept):
        return 0
    if gone:
        connection.execute(delete(DATASETS).where(DATASETS.c.id.in_([item.row.id for item in gone])))
    order = [*kept[:older], None, *kept[older:]]
    moved = [(item.row.id, new) for new, item in enumerate(order, 1) if item and item.row.version != new]
    # First to negative numbers: source and version are unique together, also between two statements.
    for sign in (-1, 1):
        for the_id, new in moved:
            connection.execute(update(DATASETS).where(DATASETS.c.id == the_id).values(version=sign * new))
    return older + 1


def _is_superseded(item: _Known, record: DataSetRecord, created: datetime) -> bool:
    """Whether a known version goes when ``record`` comes: an older rejection, or the same data set, still waiting."""
    row = item.row
    if row.state == DataSetState.REJECTED:
        # Entered from the plan of a torn dump: a record that is whole on another tape is better.
        torn = row.dump_id is not None and not record.reason
        return torn or (item.at is not None and item.at <= created)
    same = row.fingerprint == record.fingerprint and (row.md5 is None or row.md5 == record.md5)
    return bool(row.state == DataSetState.WAITING and same and not record.reason)


def enter_torn(
    connection: Connection, *, tag: VolumeTag, dump: DumpId, planned: Iterable[Planned], last: int, now: datetime
) -> None:
    """Enter the planned data sets of a dump without a catalog as rejected; sources that the ledger has stay unchanged.

    ``last`` is the last tape file of the volume ``tag`` that was written to its end.
    """

    def explain(tape_file: int) -> str:
        state = "whole by its end" if tape_file <= last else "not written to its end"
        return (
            f"its dump was cut off: tape file {tape_file} of {tag} is {state}, and no catalog proves it; add it again"
        )

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
                reason=explain(item.tape_file),
            )
            for item in chunk
        ]
        known = _known(connection, records)
        fresh = {source_key(record.source): record for record in records if source_key(record.source) not in known}
        rows = [{**_row(record, dump, 1, now), "dump_id": dump} for record in fresh.values()]
        if rows:
            connection.execute(insert(DATASETS), rows)
