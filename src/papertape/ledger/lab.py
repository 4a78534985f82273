"""The rows of the lab's own tables that belong to data sets and volumes, and our marks on them.

Two databases have no transaction in common. So a mark is entered here before it is set in the lab's table, and deleted
here after it is released there: after a crash, all rows that may have a mark are found here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from papertape.ids import DumpId
from papertape.ledger.database import Database
from papertape.ledger.datasets import chunks
from papertape.ledger.records import Foreign, LabRow, Marked, Standing
from papertape.ledger.schema import DATASETS, DUMPS, LAB_ROWS, VOLUMES, source_key
from papertape.states import DataSetState, DumpState, LabKind, LabState, VolumeState

S = TypeVar("S", DataSetState, VolumeState)

_ROW = LAB_ROWS.c


class Lab:
    """The rows of the lab's own tables as a ledger knows them; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, kind: LabKind, named: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Enter which rows of the lab's tables (by name) stand for which data sets or volumes: (name, source).

        Returns the names of the refused rows, each with the source that it stands for already, or with "" if another
        row stands for its source.
        """
        refused: dict[str, str] = {}
        with self._database.writing() as connection:
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
                if rows:  # an INSERT without rows would enter a row of defaults
                    connection.execute(insert(LAB_ROWS).values(state=LabState.KNOWN), rows)
        return refused

    def of_dump(self, dump: DumpId, kind: LabKind) -> list[LabRow]:
        """Return the lab's rows of the data sets that a dump has claimed, or of its volumes."""
        if kind is LabKind.FILE:
            whose = DATASETS.c.source_key == _ROW.source_key
            query = select(_ROW.id, _ROW.kind, _ROW.name, _ROW.job, DATASETS.c.source).join(DATASETS, whose)
            query = query.where(DATASETS.c.dump_id == dump, DATASETS.c.state == DataSetState.CLAIMED)
        else:
            whose = VOLUMES.c.tag == _ROW.name
            tag = VOLUMES.c.tag.label("source")
            query = select(_ROW.id, _ROW.kind, _ROW.name, _ROW.job, tag).join(VOLUMES, whose)
            query = query.where(VOLUMES.c.dump_id == dump)
        with self._database.reading() as connection:
            return [
                LabRow(**row._asdict()) for row in connection.execute(query.where(_ROW.kind == kind).order_by(_ROW.id))
            ]

    def mark(self, rows: Sequence[LabRow], dump: DumpId, job: int) -> None:
        """Note that rows may have the mark of ``job``; call it before the mark is set in the lab's table."""
        values = {"state": LabState.CLAIMED, "job": job, "dump_id": dump, "reason": ""}
        with self._database.writing() as connection:
            for chunk in chunks(rows):
                its = _ROW.id.in_([row.id for row in chunk])
                connection.execute(update(LAB_ROWS).where(its).values(**values))

    def unmark(self, rows: Sequence[LabRow], state: LabState, reason: str = "") -> None:
        """Note that rows have no mark of ours any more; a row that another dump has marked since stays unchanged."""
        its = (_ROW.id == bindparam("row")) & (_ROW.job == bindparam("its_job"))
        with self._database.writing() as connection:
            for chunk in chunks(rows):
                connection.execute(
                    update(LAB_ROWS).where(its).values(state=state, job=None, reason=reason),
                    [{"row": row.id, "its_job": row.job} for row in chunk],
                )

    def marked(self) -> list[Marked]:
        """Return the lab's rows that have a mark of ours, or may have one, and what must be done with them."""
        with self._database.reading() as connection:
            return [*_marked_files(connection), *_marked_labels(connection)]

    def count(self) -> dict[tuple[LabKind, LabState], int]:
        """Count the lab's rows by kind and state."""
        query = select(_ROW.kind, _ROW.state, func.count()).group_by(_ROW.kind, _ROW.state)
        with self._database.reading() as connection:
            return {(LabKind(kind), LabState(state)): number for kind, state, number in connection.execute(query)}

    def foreign(self) -> list[Foreign]:
        """Return the lab's rows that somebody else changed while they were ours, by name."""
        its = _ROW.state == LabState.FOREIGN
        query = select(_ROW.kind, _ROW.name, _ROW.reason).where(its).order_by(_ROW.kind, _ROW.name)
        with self._database.reading() as connection:
            return [Foreign(*row) for row in connection.execute(query)]


def _move(connection: Connection, kind: LabKind, name_key: str, key: str) -> str:
    """Let a row stand for another source and return ""; return the old source, unchanged, if that is still in use."""
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

    In two queries: for one with both conditions a database reads all rows of the kind.
    """
    query = select(_ROW.name_key, _ROW.source_key).where(_ROW.kind == kind)
    found: set[tuple[str, str]] = set()
    for its in (_ROW.name_key.in_(list(by_name)), _ROW.source_key.in_([key for _, key in by_name.values()])):
        found.update((name_key, key) for name_key, key in connection.execute(query.where(its)))
    return list(found)


def _marked_files(connection: Connection) -> list[Marked]:
    # Outer joins: a mark whose data set or dump is gone must be found too, since it must be released.
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
        Marked(
            row=LabRow(id=row.id, kind=row.kind, name=row.name, source=row.source or "", job=row.job),
            dump=row.dump_id,
            standing=_stands(
                row.its,
                row.dumps,
                free={None, DataSetState.WAITING, DataSetState.REJECTED},
                archived=DataSetState.ARCHIVED,
            ),
            tape_file=row.tape_file,
            number=row.number,
        )
        for row in rows
    ]


def _stands(its: S | None, dump: DumpState | None, *, free: Collection[S | None], archived: S) -> Standing:
    """Return the next step for a marked row; its place counts as archived only together with its dump."""
    if its in free:
        return Standing.FREE
    both = its is archived and dump is DumpState.ARCHIVED
    return Standing.ARCHIVED if both else Standing.HELD


def _marked_labels(connection: Connection) -> list[Marked]:
    state, dump_state = VOLUMES.c.state.label("its"), DUMPS.c.state.label("dumps")
    rows = connection.execute(
        select(_ROW.id, _ROW.kind, _ROW.name, _ROW.job, _ROW.dump_id, state, dump_state)
        .select_from(
            LAB_ROWS.outerjoin(VOLUMES, VOLUMES.c.tag == _ROW.name).outerjoin(DUMPS, DUMPS.c.id == _ROW.dump_id)
        )
        .where(_ROW.job.is_not(None), _ROW.kind == LabKind.LABEL)
        .order_by(_ROW.id)
    )
    return [
        Marked(
            row=LabRow(id=row.id, kind=row.kind, name=row.name, source=row.name, job=row.job),
            dump=row.dump_id,
            # Only a blank volume is released: the lab's other program writes to a free one without a look at it.
            standing=_stands(row.its, row.dumps, free={VolumeState.BLANK}, archived=VolumeState.ARCHIVED),
            tape_file=None,
            number=None,
        )
        for row in rows
    ]
