"""The rows of the lab's own tables that belong to data sets and volumes, and which of them have our mark.

Two databases have no common transaction. So a row is written down here before it is marked there, and removed here only
after it was released there: after a crash, all rows that may have a mark are found here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from papertape.ids import DumpId
from papertape.ledger.database import Database
from papertape.ledger.datasets import chunks
from papertape.ledger.records import Foreign, LabRow, Marked, Standing
from papertape.ledger.schema import DATASETS, DUMPS, LAB_ROWS, VOLUMES, source_key
from papertape.states import DataSetState, DumpState, LabKind, LabState, VolumeState

_ROW = LAB_ROWS.c


class Lab:
    """The rows of the lab's own tables as a ledger knows them; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, kind: LabKind, named: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Remember which rows of the lab's tables (their names) stand for which data sets or volumes.

        Returns the names of those that are left out, each with the source for which it stands already, or with "" where
        another row stands for its source.
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
                if rows:
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
        """Record that rows may have the mark of ``job`` from now on, before it is written to the lab's own table."""
        values = {"state": LabState.CLAIMED, "job": job, "dump_id": dump, "reason": ""}
        with self._database.writing() as connection:
            for chunk in chunks(rows):
                its = _ROW.id.in_([row.id for row in chunk])
                connection.execute(update(LAB_ROWS).where(its).values(**values))

    def unmark(self, rows: Sequence[LabRow], state: LabState, reason: str = "") -> None:
        """Record that rows no longer have our mark; one that another dump has marked meanwhile stays as it is."""
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
        Marked(
            row=LabRow(id=row.id, kind=row.kind, name=row.name, source=row.source or "", job=row.job),
            dump=row.dump_id,
            standing=_file_stands(row.its, row.dumps),
            tape_file=row.tape_file,
            number=row.number,
        )
        for row in rows
    ]


def _file_stands(dataset: DataSetState | None, dump: DumpState | None) -> Standing:
    if dataset in {None, DataSetState.WAITING, DataSetState.REJECTED}:
        return Standing.FREE
    both = dataset is DataSetState.ARCHIVED and dump is DumpState.ARCHIVED
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
            standing=_volume_stands(row.its, row.dumps),
            tape_file=None,
            number=None,
        )
        for row in rows
    ]


def _volume_stands(volume: VolumeState | None, dump: DumpState | None) -> Standing:
    """Only a volume that is blank again is released: the lab's other program writes to what is free without a look."""
    if volume is VolumeState.BLANK:
        return Standing.FREE
    both = volume is VolumeState.ARCHIVED and dump is DumpState.ARCHIVED
    return Standing.ARCHIVED if both else Standing.HELD
