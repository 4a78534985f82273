"""The rows of the lab's own tables that stand behind data sets and volumes, and which of them bear our mark.

Two databases have no transaction in common. So what is about to be marked there is written down here before, and what
was let go of there is struck off here behind it: whoever comes after a crash finds here all that may bear a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from papertape.ledger.datasets import chunks
from papertape.ledger.records import Foreign, LabRow, Marked, Standing
from papertape.ledger.schema import DATASETS, DUMPS, LAB_ROWS, VOLUMES, source_key
from papertape.states import DataSetState, DumpState, LabKind, LabState, VolumeState

_ROW = LAB_ROWS.c


def note(connection: Connection, kind: LabKind, named: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Remember rows as ``(name, source)``; return the names of those that are refused.

    With each is the other source for which that row stands already; "" if it is another row that stands for its source.
    """
    refused: dict[str, str] = {}
    for chunk in chunks(named):
        by_name = {source_key(name): (name, source_key(source)) for name, source in chunk}
        known = _known(connection, kind, by_name)
        taken = {key: name_key for name_key, key in known}
        there = dict(known)
        rows = []
        for name_key, (name, key) in by_name.items():
            if taken.setdefault(key, name_key) != name_key:
                refused[name] = ""
            elif name_key not in there:
                rows.append({"kind": kind, "name": name, "name_key": name_key, "source_key": key})
            elif there[name_key] != key and (other := _move(connection, kind, name_key, key)):
                refused[name] = other
        if rows:
            connection.execute(insert(LAB_ROWS).values(state=LabState.KNOWN), rows)
    return refused


def _move(connection: Connection, kind: LabKind, name_key: str, key: str) -> str:
    """Let a row stand for another source if nothing is left of that for which it stood; return that if not."""
    its = (_ROW.kind == kind) & (_ROW.name_key == name_key)
    left = connection.scalar(
        select(DATASETS.c.source)
        .join(LAB_ROWS, DATASETS.c.source_key == _ROW.source_key)
        .where(its, (DATASETS.c.state != DataSetState.REJECTED) | _ROW.job.is_not(None))
        .limit(1)
    )
    if left is None:
        connection.execute(update(LAB_ROWS).where(its).values(source_key=key))
    return left or ""


def _known(connection: Connection, kind: LabKind, by_name: dict[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the keys of rows that have one of the names, or stand for one of the sources.

    Asked one after the other: for both at once a database reads all rows of the kind.
    """
    query = select(_ROW.name_key, _ROW.source_key).where(_ROW.kind == kind)
    found: set[tuple[str, str]] = set()
    for its in (_ROW.name_key.in_(list(by_name)), _ROW.source_key.in_([key for _, key in by_name.values()])):
        found.update((name_key, key) for name_key, key in connection.execute(query.where(its)))
    return list(found)


def of_dump(connection: Connection, dump: int, kind: LabKind) -> list[LabRow]:
    """Return the rows behind the data sets that ``dump`` has claimed, or behind its volumes."""
    if kind is LabKind.FILE:
        whose = DATASETS.c.source_key == _ROW.source_key
        query = select(_ROW.id, _ROW.kind, _ROW.name, DATASETS.c.source, _ROW.job).join(DATASETS, whose)
        query = query.where(DATASETS.c.dump_id == dump, DATASETS.c.state == DataSetState.CLAIMED)
    else:
        query = select(_ROW.id, _ROW.kind, _ROW.name, VOLUMES.c.tag, _ROW.job).join(VOLUMES, VOLUMES.c.tag == _ROW.name)
        query = query.where(VOLUMES.c.dump_id == dump)
    return [LabRow(*row) for row in connection.execute(query.where(_ROW.kind == kind).order_by(_ROW.id))]


def mark(connection: Connection, rows: Sequence[LabRow], dump: int, job: int) -> None:
    """Say that ``rows`` may bear the mark of ``job`` from now on."""
    for chunk in chunks(rows):
        its = _ROW.id.in_([row.id for row in chunk])
        connection.execute(update(LAB_ROWS).where(its).values(state=LabState.CLAIMED, job=job, dump_id=dump, reason=""))


def unmark(connection: Connection, rows: Sequence[LabRow], state: LabState, reason: str) -> None:
    """Say that ``rows`` bear no mark any more, each on condition that it has still the job that it had."""
    its = (_ROW.id == bindparam("row")) & (_ROW.job == bindparam("its_job"))
    for chunk in chunks(rows):
        connection.execute(
            update(LAB_ROWS).where(its).values(state=state, job=None, reason=reason),
            [{"row": row.id, "its_job": row.job} for row in chunk],
        )


def marked(connection: Connection) -> list[Marked]:
    """Return the rows that bear a mark, or may, and what is to be done with each."""
    return [*_marked_files(connection), *_marked_labels(connection)]


def _marked_files(connection: Connection) -> list[Marked]:
    whose = and_(DATASETS.c.source_key == _ROW.source_key, DATASETS.c.dump_id == _ROW.dump_id)
    state, dump_state = DATASETS.c.state.label("its"), DUMPS.c.state.label("dumps")
    place = DATASETS.c.source, DATASETS.c.tape_file, DATASETS.c.number
    rows = connection.execute(
        select(_ROW.id, _ROW.kind, _ROW.name, _ROW.job, _ROW.dump_id, state, dump_state, *place)
        .select_from(LAB_ROWS.outerjoin(DATASETS, whose).outerjoin(DUMPS, DUMPS.c.id == _ROW.dump_id))
        .where(_ROW.job.is_not(None), _ROW.kind == LabKind.FILE)
        .order_by(_ROW.id)
    )
    return [
        Marked(LabRow(row.id, row.kind, row.name, row.source or "", row.job), row.dump_id, *_stands(row))
        for row in rows
    ]


def _stands(row: Any) -> tuple[Standing, int | None, int | None]:
    if row.its is None or row.its in {DataSetState.WAITING, DataSetState.REJECTED}:
        return Standing.FREE, None, None
    if row.its == DataSetState.ARCHIVED and row.dumps == DumpState.ARCHIVED:
        return Standing.ARCHIVED, row.tape_file, row.number
    return Standing.HELD, None, None


def _marked_labels(connection: Connection) -> list[Marked]:
    state, dump_state = VOLUMES.c.state.label("its"), DUMPS.c.state.label("dumps")
    rows = connection.execute(
        select(_ROW.id, _ROW.kind, _ROW.name, _ROW.name, _ROW.job, _ROW.dump_id, state, dump_state)
        .select_from(
            LAB_ROWS.outerjoin(VOLUMES, VOLUMES.c.tag == _ROW.name).outerjoin(DUMPS, DUMPS.c.id == _ROW.dump_id)
        )
        .where(_ROW.job.is_not(None), _ROW.kind == LabKind.LABEL)
        .order_by(_ROW.id)
    )
    return [Marked(LabRow(*row[:5]), row[5], _volume_stands(row[6], row[7]), None, None) for row in rows]


def _volume_stands(volume: str | None, dump: str) -> Standing:
    """Only a volume that is blank again is let go: the lab's other program writes to what is free without a look."""
    if volume == VolumeState.BLANK:
        return Standing.FREE
    return Standing.ARCHIVED if volume == VolumeState.ARCHIVED and dump == DumpState.ARCHIVED else Standing.HELD


def count(connection: Connection) -> dict[tuple[str, str], int]:
    """Count the rows by kind and state."""
    rows = connection.execute(select(_ROW.kind, _ROW.state, func.count()).group_by(_ROW.kind, _ROW.state))
    return {(kind, state): number for kind, state, number in rows}


def foreign(connection: Connection) -> list[Foreign]:
    """Return the rows that somebody else changed while they were ours."""
    rows = connection.execute(
        select(_ROW.kind, _ROW.name, _ROW.reason).where(_ROW.state == LabState.FOREIGN).order_by(_ROW.kind, _ROW.name)
    )
    return [Foreign(*row) for row in rows]
