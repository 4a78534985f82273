"""The places of data sets according to the lab's own table, from the years before papertape.

Nobody has read these tapes: an entry here is no data set of the ledger, has no state, and is never archived or
deletable. As soon as a tape confirms an entry, the data set on the tape replaces it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from papertape.ids import DumpId, VolumeTag
from papertape.ledger.database import Database
from papertape.ledger.datasets import chunks
from papertape.ledger.records import Heard, Listed, Listing
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, HISTORY, VOLUMES, source_key
from papertape.ledger.search import conditions_on, match_sources, read_glob
from papertape.sql.rows import stream
from papertape.states import DumpState, Format
from papertape.words import enumerate_names

_ROW = HISTORY.c
_COLUMNS = [_ROW[name] for name in Listed._fields]


class _OnTape(NamedTuple):
    """A data set that the ledger knows from a tape."""

    tag: VolumeTag
    tape_file: int
    md5: str | None
    format: str


class History:
    """The places that only the lab's table names, and no tape has confirmed; they prove nothing.

    Every method is one transaction; ``find`` streams.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def judge(self, listed: Sequence[Listed]) -> list[Heard]:
        """Return for each entry what ``note`` would return; at most some hundreds, with distinct sources."""
        return self._database.read(_judge_all, listed)

    def note(self, listed: Sequence[Listed]) -> list[Heard]:
        """Enter new and moved entries, drop those that tapes confirm or dispute, and return what ``judge`` returns.

        At most some hundreds, with distinct sources.
        """

        def note(connection: Connection) -> list[Heard]:
            # Judged again under the write lock: an import may have entered a tape since ``judge`` was called.
            heard = _judge_all(connection, listed)
            rows: dict[Listing, list[dict[str, Any]]] = defaultdict(list)
            for item, (listing, _) in zip(listed, heard, strict=True):
                labels = f",{','.join(item.labels)},"
                rows[listing].append({**item._asdict(), "labels": labels, "source_key": source_key(item.source)})
            if rows[Listing.NEW]:
                connection.execute(insert(HISTORY), rows[Listing.NEW])
            if rows[Listing.MOVED]:
                moved = [{"key": row.pop("source_key"), **row} for row in rows[Listing.MOVED]]
                connection.execute(update(HISTORY).where(_ROW.source_key == bindparam("key")), moved)
            gone = [row["source_key"] for listing in (Listing.ON_TAPE, Listing.DISPUTED) for row in rows[listing]]
            if gone:
                connection.execute(delete(HISTORY).where(_ROW.source_key.in_(gone)))
            return heard

        return self._database.write(note)

    def find(self, pattern: str) -> Iterator[Listed]:
        """Yield the entries that match ``pattern`` as in ``Search.find``, ordered by source."""
        matches = match_sources(pattern)
        query = select(*_COLUMNS).where(*conditions_on(_ROW.source, read_glob(pattern))).order_by(_ROW.source)
        with self._database.reading() as connection:
            for row in stream(connection, query):
                if matches(row.source):
                    yield _read(row)

    def count(self) -> tuple[int, frozenset[VolumeTag]]:
        """Return the number of entries, and the labels of their tapes."""
        query = select(_ROW.labels, func.count()).group_by(_ROW.labels)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        labels = ",".join(row.labels for row in rows).split(",")
        return sum(number for _, number in rows), frozenset(VolumeTag(label) for label in labels if label)


def _judge_all(connection: Connection, listed: Sequence[Listed]) -> list[Heard]:
    """Compare at most ``CHUNK`` entries, with distinct sources, with the data sets and entries of the ledger."""
    keys = {source_key(item.source): item for item in listed}
    on_tape = _find_on_tape(connection, keys)
    ours = _find_ours(connection, listed)
    rows = connection.execute(select(_ROW.source_key, *_COLUMNS).where(_ROW.source_key.in_(list(keys))))
    known = {row.source_key: _read(row) for row in rows}
    seen = seen_volumes(connection)
    return [_judge(item, on_tape[key] + ours[key], seen, known.get(key)) for key, item in keys.items()]


def _find_on_tape(connection: Connection, keys: Iterable[str]) -> dict[str, list[_OnTape]]:
    """Return the copies on tape of the sources with these keys, by key."""
    rows = connection.execute(
        select(DATASETS.c.source_key, VOLUMES.c.tag, DATASETS.c.tape_file, DATASETS.c.md5, DUMPS.c.format)
        .join(DUMPS, DATASETS.c.dump_id == DUMPS.c.id)
        .join(COPIES, COPIES.c.dump_id == DUMPS.c.id)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .where(DATASETS.c.source_key.in_(list(keys)), DATASETS.c.number.is_not(None))
    )
    found: dict[str, list[_OnTape]] = defaultdict(list)
    for key, *values in rows:
        found[key].append(_OnTape(*values))
    return found


def _find_ours(connection: Connection, listed: Sequence[Listed]) -> dict[str, list[_OnTape]]:
    """Return the copies on tape that papertape wrote and entered into the lab's table, by the key of the lab's path.

    The lab's table has its own path for such a data set, so the source differs. The tape file, the number in the dump
    and the last part of the path identify it.
    """
    labels = {label for item in listed for label in item.labels}
    on_labels = (
        select(VOLUMES.c.tag, COPIES.c.dump_id)
        .join(COPIES, COPIES.c.volume_id == VOLUMES.c.id)
        .join(DUMPS, COPIES.c.dump_id == DUMPS.c.id)
        .where(VOLUMES.c.tag.in_(labels), DUMPS.c.format == Format.PAPERTAPE)
    )
    dumps = {row.tag: row.dump_id for row in connection.execute(on_labels)}
    found: dict[str, list[_OnTape]] = defaultdict(list)
    if not dumps:
        return found
    its = DATASETS.c.dump_id.in_(set(dumps.values())), DATASETS.c.number.in_({item.item for item in listed})
    query = select(DATASETS.c.dump_id, DATASETS.c.number, DATASETS.c.tape_file, DATASETS.c.source, DATASETS.c.md5)
    places = {(row.dump_id, row.number, row.tape_file): row for row in connection.execute(query.where(*its))}
    for item in listed:
        for label in item.labels:
            row = places.get((dumps.get(label, -1), item.item, item.archive))
            if row is not None and _name(row.source) == _name(item.source):
                found[source_key(item.source)].append(_OnTape(label, row.tape_file, row.md5, Format.PAPERTAPE))
    return found


def _name(source: str) -> str:
    return source.rpartition("/")[2]


def _judge(item: Listed, on_tape: Iterable[_OnTape], seen: frozenset[VolumeTag], known: Listed | None) -> Heard:
    """Return the result for one entry; where a tape and the lab's table disagree, the tape counts."""
    place = next((place for place in on_tape if place.tag in item.labels), None)
    if place is not None:
        reason = ""
        if place.format == Format.PREDECESSOR and place.tape_file != item.tape_file:
            reason = f"it is in archive {place.tape_file - 1} of {place.tag}"
        elif item.md5 and place.md5 and item.md5 != place.md5:
            reason = f"its MD5 is {place.md5} on {place.tag}, and {item.md5} in the lab's table"
        return Heard(Listing.ON_TAPE, reason)
    searched = enumerate_names(label for label in item.labels if label in seen)
    reason = f"the ledger knows the contents of {searched}, and this is not there" if searched else ""
    # While one of its tapes was not seen, the data set may still be on that tape.
    if seen.issuperset(item.labels):
        return Heard(Listing.DISPUTED, reason)
    if known is None:
        return Heard(Listing.NEW, reason)
    return Heard(Listing.KNOWN if known == item else Listing.MOVED, reason)


def _read(row: Row[Any]) -> Listed:
    values = {name: getattr(row, name) for name in Listed._fields}
    return Listed(**{**values, "labels": tuple(row.labels.strip(",").split(","))})


def forget(connection: Connection, dump: DumpId, form: str, tag: VolumeTag) -> None:
    """Drop the entries on the volume ``tag`` that it confirms: ``dump``, of format ``form``, was just read from it."""
    place = and_(DATASETS.c.number == _ROW.item, DATASETS.c.tape_file == _ROW.archive)
    its = place if form == Format.PAPERTAPE else DATASETS.c.source_key == _ROW.source_key
    rows = connection.execute(
        select(_ROW.id, _ROW.source, DATASETS.c.source.label("found"))
        .join(DATASETS, its)
        .where(DATASETS.c.dump_id == dump, _ROW.labels.contains(f",{tag},", autoescape=True))
    )
    for chunk in chunks([row.id for row in rows if _name(row.source) == _name(row.found)]):
        connection.execute(delete(HISTORY).where(_ROW.id.in_(chunk)))


def seen_volumes(connection: Connection) -> frozenset[VolumeTag]:
    """Return the volumes whose contents the ledger knows, without those that only a twin's catalog names."""
    unseen = (COPIES.c.flushed_at.is_(None)) & (COPIES.c.error.is_(None)) & (COPIES.c.label.is_(None))
    query = (
        select(VOLUMES.c.tag)
        .join(DUMPS, VOLUMES.c.dump_id == DUMPS.c.id)
        .outerjoin(COPIES, (COPIES.c.volume_id == VOLUMES.c.id) & (COPIES.c.dump_id == VOLUMES.c.dump_id))
        .where((DUMPS.c.state != DumpState.INCOMPLETE) | COPIES.c.volume_id.is_(None) | ~unseen)
    )
    return frozenset(connection.scalars(query))
