"""Data sets: register them, and yield those that wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from papertape.clock import Clock
from papertape.errors import ClaimLost, UserError
from papertape.ids import DumpId
from papertape.ledger.database import Database
from papertape.ledger.records import Registration, Rejected
from papertape.ledger.schema import DATASETS, Name, source_key
from papertape.plan import DataSet
from papertape.sql.databases import find_dialect
from papertape.sql.dialect import SpanSearch
from papertape.sql.rows import CHUNK, stream
from papertape.states import DataSetState
from papertape.volume.names import Source

T = TypeVar("T")

NOWHERE: dict[str, Any] = {"dump_id": None, "number": None, "tape_file": None, "offset": None}
"""The place of a data set that no dump holds."""

PAGE = 2000
"""Waiting data sets in one query on MySQL."""
_PROBES = 100
"""Folders in one statement on MySQL."""

_STAGED = Table(
    "papertape_staged",
    MetaData(),
    Column("source", Name, nullable=False),
    Column("first_inside", Name, nullable=False),
    Column("first_after", Name, nullable=False),
    prefixes=["TEMPORARY"],
)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``CHUNK``."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


_ENTERING = (Registration.NEW, Registration.AGAIN)
_REPLACING = (Registration.UPDATED, Registration.AGAIN)


class DataSets:
    """The data sets of a ledger; a method is one transaction unless it says otherwise."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def register(self, dataset: DataSet) -> Registration:
        """Register one data set and return the result; raises UserError if it is inside another one or around one."""
        return self._database.write(self._register, [dataset])[0]

    def register_many(
        self, sets: Iterable[DataSet], tell: Callable[[DataSet, Registration], None] | None = None
    ) -> Counter[Registration]:
        """Register data sets, some hundreds in a transaction; return the results, counted.

        ``tell`` gets each result after its commit.

        Raises UserError as ``register`` does: those that ``tell`` got before stay registered.
        """
        counts: Counter[Registration] = Counter()
        for chunk in _distinct_chunks(sets):
            results = self._database.write(self._register, chunk)
            counts.update(results)
            if tell is not None:
                for dataset, result in zip(chunk, results, strict=True):
                    tell(dataset, result)
        return counts

    def _register(self, connection: Connection, chunk: Sequence[DataSet]) -> list[Registration]:
        """Register at most ``CHUNK`` data sets with distinct sources, and return the result for each."""
        keys = [source_key(dataset.source) for dataset in chunk]
        versions = connection.execute(
            select(DATASETS).where(DATASETS.c.source_key.in_(keys)).order_by(DATASETS.c.source_key, DATASETS.c.version)
        )
        known = {row.source_key: row for row in versions}  # the newest version comes last, and stays
        results = [_judge(dataset, known.get(key)) for dataset, key in zip(chunk, keys, strict=True)]
        # The others were checked when they entered; the write lock keeps the answer true until the commit.
        entering = [dataset for dataset, result in zip(chunk, results, strict=True) if result in _ENTERING]
        if entering and (nested := _inside_another(connection, entering) or _around_another(connection, entering)):
            inner, outer = nested
            raise UserError(f"{inner} is inside {outer}, which is a data set itself; register one of the two")
        _replace(connection, chunk, results, known, self._clock())
        return results

    def pending(self, host: str = "") -> Generator[DataSet, None, None]:
        """Yield the data sets of ``host`` ("": of all hosts) that wait, ordered by source.

        Streams, in one read transaction: use it up, or close it.
        """
        columns = [DATASETS.c[name] for name in DataSet._fields]
        query = select(*columns).where(*_waiting(host)).order_by(DATASETS.c.source)
        with self._database.reading() as connection:
            ordered = self._database.dialect.orders_by_index
            for row in stream(connection, query) if ordered else _paged(connection, query, host):
                yield _read_dataset(row)

    def of_dump(self, dump: DumpId) -> tuple[tuple[int, int, DataSet], ...]:
        """Return the data sets on a dump's tapes in tape order, with their tape files and their numbers."""
        columns = [DATASETS.c[name] for name in DataSet._fields]
        query = (
            select(DATASETS.c.tape_file, DATASETS.c.number, *columns)
            .where(DATASETS.c.dump_id == dump, DATASETS.c.number.is_not(None))
            .order_by(DATASETS.c.number)
        )
        return self._database.read(
            lambda connection: tuple(
                (tape_file, number, _read_dataset(values)) for tape_file, number, *values in connection.execute(query)
            )
        )

    def reject(self, refused: Iterable[tuple[DataSet, str]]) -> None:
        """Reject waiting data sets, each with its reason; raises ClaimLost, and rejects none, if one does not wait."""
        every = list(refused)  # an iterator would be empty when the transaction is made again

        def are_rejected(connection: Connection) -> bool:
            for chunk in chunks(dataset.id for dataset, _ in every):
                its = (DATASETS.c.id.in_(chunk)) & (DATASETS.c.state == DataSetState.REJECTED)
                if connection.scalar(select(func.count()).select_from(DATASETS).where(its)) != len(chunk):
                    return False
            return True

        self._database.step(are_rejected, reject, every)

    def rejected(self) -> Iterator[Rejected]:
        """Yield the rejected data sets, ordered by source; streams, in one read transaction."""
        columns = (DATASETS.c.source, DATASETS.c.reason)
        query = select(*columns).where(DATASETS.c.state == DataSetState.REJECTED).order_by(DATASETS.c.source)
        with self._database.reading() as connection:
            for row in stream(connection, query):
                yield Rejected(*row)

    def rejected_unchanged(self, sets: Sequence[DataSet]) -> dict[Source, str]:
        """Return the sources of those that were rejected and have not changed since, with the reasons."""
        by_key = {source_key(dataset.source): dataset for dataset in sets}

        def look(connection: Connection) -> dict[Source, str]:
            found: dict[Source, str] = {}
            for chunk in chunks(by_key):
                its = DATASETS.c.source_key.in_(chunk), DATASETS.c.state == DataSetState.REJECTED
                for row in connection.execute(select(DATASETS).where(*its)):
                    dataset = by_key[row.source_key]
                    if dataset.fingerprint == row.fingerprint and dataset.md5 in {None, row.md5}:
                        found[dataset.source] = row.reason
            return found

        return self._database.read(look)


def _read_dataset(values: Sequence[Any]) -> DataSet:
    """Return the data set with these columns, in the order of its fields."""
    source, *rest = values
    return DataSet(Source.parse(source), *rest)


def _distinct_chunks(sets: Iterable[DataSet]) -> Iterator[list[DataSet]]:
    """Yield data sets in lists of at most ``CHUNK`` without two of the same source."""
    chunk: dict[Source, DataSet] = {}
    for dataset in sets:
        if len(chunk) == CHUNK or dataset.source in chunk:
            yield list(chunk.values())
            chunk = {}
        chunk[dataset.source] = dataset
    if chunk:
        yield list(chunk.values())


def _judge(dataset: DataSet, known: Row[Any] | None) -> Registration:
    """Return the result of registering ``dataset`` when its newest version in the ledger is ``known``."""
    if known is None:
        return Registration.NEW
    if known.state == DataSetState.CLAIMED:
        return Registration.CLAIMED
    if known.state == DataSetState.REJECTED:
        return Registration.AGAIN
    # A checksum that the copy on tape was never compared with makes a new version: nobody knows that the copy is good.
    same = dataset.fingerprint == known.fingerprint and (dataset.md5 is None or dataset.md5 == known.md5)
    if same:
        return Registration.KNOWN
    return Registration.CHANGED if known.state == DataSetState.ARCHIVED else Registration.UPDATED


def _replace(
    connection: Connection,
    chunk: Sequence[DataSet],
    results: Sequence[Registration],
    known: dict[str, Row[Any]],
    now: datetime,
) -> None:
    """Enter new and changed data sets; a changed one gets a new id, so that no earlier plan can claim it."""
    rows, gone = [], []
    for dataset, result in zip(chunk, results, strict=True):
        if result in (Registration.KNOWN, Registration.CLAIMED):
            continue
        key = source_key(dataset.source)
        old = known.get(key)
        if old is not None and result in _REPLACING:
            gone.append(old.id)
        values: dict[str, Any] = {**dataset._asdict(), "source": str(dataset.source), "source_key": key}
        del values["id"]
        if old is not None and dataset.md5 is None:
            values["md5"] = old.md5  # a declared checksum holds until another one is declared
        version = 1 if old is None else old.version + (result is Registration.CHANGED)
        rows.append({**values, "version": version, "state": DataSetState.WAITING, "registered_at": now})
    if gone:
        connection.execute(delete(DATASETS).where(DATASETS.c.id.in_(gone)))
    if rows:
        connection.execute(insert(DATASETS), rows)


def _inside_another(connection: Connection, datasets: Sequence[DataSet]) -> tuple[str, str] | None:
    """Return the sources of one of ``datasets`` and of a data set around it, None if there is no such pair."""
    outer = {above: str(dataset.source) for dataset in datasets for above in _above(dataset.source)}
    for dataset in datasets:
        source = str(dataset.source)
        if source in outer:
            return outer[source], source
    for chunk in chunks(outer):
        found = connection.scalar(
            select(DATASETS.c.source)
            .where(DATASETS.c.source_key.in_([source_key(source) for source in chunk]))
            .where(DATASETS.c.state != DataSetState.REJECTED)
            .limit(1)
        )
        if found is not None:
            return outer[found], found
    return None


def _above(source: Source) -> Iterator[str]:
    """Yield the text forms of all folders around ``source``."""
    path = source.path
    while path.rstrip(b"/"):
        path = path.rpartition(b"/")[0]
        yield str(Source(source.host, path or b"/"))


def _around_another(connection: Connection, datasets: Sequence[DataSet]) -> tuple[str, str] | None:
    """Return the sources of a registered data set and of one of ``datasets`` around it, None if there is no such pair.

    Each folder needs one look into the index. The way to ask for it is the one with which the database does not read
    all registered data sets (``papertape.sql``).
    """
    search = find_dialect(connection).span_search
    if search is SpanSearch.JOIN:
        return _join_staged(connection, datasets)
    if search is SpanSearch.EACH:
        return _name_outer(_probe_each(connection, datasets), datasets)
    for start in range(0, len(datasets), _PROBES):
        some = datasets[start : start + _PROBES]
        nested = _name_outer(_probe(connection, some), some)
        if nested:
            return nested
    return None


def _join_staged(connection: Connection, datasets: Sequence[DataSet]) -> tuple[str, str] | None:
    _STAGED.create(connection, checkfirst=True)
    connection.execute(delete(_STAGED))
    connection.execute(insert(_STAGED), [{"source": str(each.source), **_span(each.source)} for each in datasets])
    inside = (DATASETS.c.source >= _STAGED.c.first_inside) & (DATASETS.c.source < _STAGED.c.first_after)
    found = connection.execute(
        select(DATASETS.c.source, _STAGED.c.source)
        .select_from(_STAGED.join(DATASETS, inside))
        .where(DATASETS.c.state != DataSetState.REJECTED)
        .limit(1)
    ).first()
    return None if found is None else (found[0], found[1])


def _probe_each(connection: Connection, datasets: Sequence[DataSet]) -> str | None:
    """Return a source that is inside one of ``datasets``; the first one in each span comes from the index."""
    spans = [_span(dataset.source) for dataset in datasets]
    ends = [literal([span[end] for span in spans], ARRAY(Text)) for end in ("first_inside", "first_after")]
    span = func.unnest(*ends).table_valued("first_inside", "first_after").render_derived()
    source = DATASETS.c.source
    inside = (source >= span.c.first_inside, source < span.c.first_after, DATASETS.c.state != DataSetState.REJECTED)
    first = select(source).where(*inside).order_by(source).limit(1).lateral()
    found: str | None = connection.scalar(select(first.c.source).select_from(span.join(first, true())).limit(1))
    return found


def _probe(connection: Connection, datasets: Sequence[DataSet]) -> str | None:
    """Return a source that is inside one of ``datasets``, which are at most ``_PROBES``."""
    # The state is in an expression: otherwise a server may use the index on it and read all registered data sets.
    spans = [_span(dataset.source) for dataset in datasets]
    source = DATASETS.c.source
    inside = or_(*((source >= span["first_inside"]) & (source < span["first_after"]) for span in spans))
    query = select(source).where(inside, DATASETS.c.state.concat("") != DataSetState.REJECTED)
    found: str | None = connection.scalar(query.limit(1))
    return found


def _name_outer(inner: str | None, datasets: Sequence[DataSet]) -> tuple[str, str] | None:
    """Return ``inner`` and the source of the data set around it."""
    if inner is None:
        return None
    folders = {source.rstrip("/"): source for source in (str(dataset.source) for dataset in datasets)}
    above = (folder.rstrip("/") for folder in _above(Source.parse(inner)))
    return inner, next(folders[folder] for folder in above if folder in folders)


def _span(source: Source) -> dict[str, str]:
    """Return the span of the sources inside ``source``: they begin with it and a slash; zero comes after the slash."""
    folder = str(source).rstrip("/")
    return {"first_inside": f"{folder}/", "first_after": f"{folder}0"}


def _waiting(host: str) -> list[ColumnElement[bool]]:
    waiting: list[ColumnElement[bool]] = [DATASETS.c.state == DataSetState.WAITING]
    if host:  # no host has a colon in its name, and the semicolon is the character after it
        waiting += [DATASETS.c.source >= f"{host}:", DATASETS.c.source < f"{host};"]
    return waiting


def _paged(connection: Connection, query: Select[Any], host: str) -> Iterator[Row[Any]]:
    """Yield the rows of ``query`` page by page; in one query, MySQL would sort all waiting rows before the first.

    Its index has only the beginnings of sources, so it gives no complete order. A page is the span of sources that the
    index finds first, and one page is sorted quickly.
    """
    source, last = DATASETS.c.source, ""
    while True:
        page = select(source).where(*_waiting(host), source > last)
        page = find_dialect(connection).hint_index(page, DATASETS, "datasets_state_source")
        end = connection.scalar(select(func.max(page.limit(PAGE).subquery().c.source)))
        if end is None:
            return
        yield from connection.execute(query.where(source > last, source <= end)).all()
        last = end


def claim(connection: Connection, datasets: Iterable[DataSet], dump: DumpId) -> None:
    """Give the waiting ``datasets`` to ``dump``; raises ClaimLost if one of them is not waiting any more."""
    for chunk in chunks(datasets):
        ids = [dataset.id for dataset in chunk]
        # The state is in an expression: otherwise SQLite uses the index on it, and each chunk reads all waiting rows.
        waiting = DATASETS.c.state.concat("") == DataSetState.WAITING
        taken = connection.execute(
            update(DATASETS)
            .where(DATASETS.c.id.in_(ids), waiting)
            .values(state=DataSetState.CLAIMED, reason="", **{**NOWHERE, "dump_id": dump})
        )
        if taken.rowcount != len(chunk):
            lost = len(chunk) - taken.rowcount
            raise ClaimLost(
                f"{lost} data sets from {chunk[0].source} on", "taken or changed since the plan; plan again"
            )


def release(connection: Connection, dump: DumpId, *, unwritten_only: bool = False) -> None:
    """Make the data sets of ``dump`` wait again; with ``unwritten_only`` those without a place on its tapes alone."""
    mine = [DATASETS.c.dump_id == dump, DATASETS.c.state == DataSetState.CLAIMED]
    if unwritten_only:
        mine.append(DATASETS.c.number.is_(None))
    connection.execute(update(DATASETS).where(*mine).values(state=DataSetState.WAITING, **NOWHERE))


def reject(connection: Connection, refused: Iterable[tuple[DataSet, str]]) -> None:
    """Reject waiting data sets, each with its reason; raises ClaimLost if one of them is not waiting any more."""
    for dataset, reason in refused:
        taken = connection.execute(
            update(DATASETS)
            .where(DATASETS.c.id == dataset.id, DATASETS.c.state == DataSetState.WAITING)
            .values(state=DataSetState.REJECTED, reason=reason)
        )
        if taken.rowcount != 1:
            raise ClaimLost(str(dataset.source), "taken or changed since the plan; plan again")
