"""Searches: the data sets that may be deleted, and the places of data sets and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from papertape.ledger.database import Database
from papertape.ledger.records import Deletable, Found, FoundCopy, FoundFile
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, LAB_ROWS, MEMBERS, VOLUMES
from papertape.sql.databases import find_dialect
from papertape.sql.rows import stream
from papertape.states import DataSetState, DumpState, Format, LabKind, LabState, VolumeState

_GLOB = re.compile(r"[*?\[]")
_ESCAPE = "!"


class Search:
    """Searches in a ledger by source; the iterators stream, each in one read transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deletable(self) -> Iterator[Deletable]:
        """Yield the newest versions that are archived and doubtful on no copy, ordered by source.

        One with a row in the lab's own table is left out while the row is claimed, and if somebody else changed the
        row: its owner may still need the file.
        """
        newer = DATASETS.alias("newer")
        superseded = select(newer.c.id).where(
            newer.c.source_key == DATASETS.c.source_key, newer.c.version > DATASETS.c.version
        )
        untold = select(LAB_ROWS.c.id).where(
            LAB_ROWS.c.kind == LabKind.FILE,
            LAB_ROWS.c.source_key == DATASETS.c.source_key,
            LAB_ROWS.c.state.in_((LabState.CLAIMED, LabState.FOREIGN)),
        )
        # A retired or set aside volume, or one not read back since it was written, makes its whole dump doubtful.
        doubtful = (
            select(COPIES.c.dump_id)
            .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
            .where(COPIES.c.dump_id == DUMPS.c.id)
            .where(COPIES.c.verified_at.is_(None) | (VOLUMES.c.state != VolumeState.ARCHIVED))
        )
        ours = (
            DUMPS.c.format == Format.PAPERTAPE
        )  # for the predecessor's dumps no fingerprint of the files on disk is known
        safe = select(DUMPS.c.id).where(DUMPS.c.state == DumpState.ARCHIVED, ours, ~doubtful.exists())
        query = (
            select(DATASETS.c.source, DATASETS.c.fingerprint, DATASETS.c.size)
            .where(DATASETS.c.state == DataSetState.ARCHIVED)
            .where(DATASETS.c.dump_id.in_(safe), ~superseded.exists(), ~untold.exists())
            .order_by(DATASETS.c.source)
        )
        with self._database.reading() as connection:
            for row in stream(connection, query):
                yield Deletable(*row)

    def find(self, pattern: str) -> Iterator[Found]:
        """Yield the data sets whose source matches a shell glob, ordered by source, the oldest version first.

        A pattern that begins with ``/`` is compared with the path alone; one without ``*``, ``?`` and ``[`` may be any
        part of the source.
        """
        with self._database.reading() as connection:
            yield from find(connection, pattern)

    def files(self, found: Found) -> Iterator[FoundFile]:
        """Yield the members of a data set in tape order; none before it was written."""
        if found.number is None:
            return
        columns = (MEMBERS.c.name, MEMBERS.c.size, MEMBERS.c.sha256, MEMBERS.c.md5)
        its = (MEMBERS.c.dump_id == found.dump) & (MEMBERS.c.dataset == found.number)
        with self._database.reading() as connection:
            for row in stream(connection, select(*columns).where(its).order_by(MEMBERS.c.seq)):
                yield FoundFile(*row)


def find(connection: Connection, pattern: str) -> Iterator[Found]:
    """Yield the data sets whose source matches ``pattern``, ordered by source, oldest version first."""
    glob = read_glob(pattern)
    matches = match_sources(pattern)
    # All copies first: the connection can answer nothing else while the data sets are streamed.
    rows = connection.execute(
        select(COPIES.c.dump_id, VOLUMES.c.tag, COPIES.c.verified_at)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .order_by(COPIES.c.dump_id, COPIES.c.copy)
    )
    copies: dict[int, tuple[FoundCopy, ...]] = {}
    for dump, tag, verified_at in rows:
        copies[dump] = (*copies.get(dump, ()), FoundCopy(tag, verified_at is not None))
    conditions = conditions_on(DATASETS.c.source, glob)
    locations = _Locations(connection, conditions)
    # Where "a" and "a " sort as equals, the versions of one source must still follow each other.
    apart = [DATASETS.c.source_key] if find_dialect(connection).pads_names else []
    query = select(DATASETS).where(*conditions).order_by(DATASETS.c.source, *apart, DATASETS.c.version)
    for row in stream(connection, query):
        if matches(row.source):
            its = copies.get(row.dump_id, ())
            yield _found(row, its, locations.of(row, its))


def match_sources(pattern: str) -> Callable[[str], object]:
    """Return a function that is true for sources that match ``pattern``, as in ``find``."""
    return re.compile(translate(read_glob(pattern))).match


def read_glob(pattern: str) -> str:
    """Return ``pattern`` as a glob over whole sources; bytes from the terminal that are no UTF-8 become ``\\xNN``."""
    text = pattern.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if not _GLOB.search(text):
        return f"*{text}*"
    return f"*:{text}" if text.startswith("/") else text


def conditions_on(source: ColumnElement[str], glob: str) -> list[ColumnElement[bool]]:
    """Return the conditions that the database can check: a superset, since LIKE has no sets, and not always case."""
    head = glob[: found.start()] if (found := _GLOB.search(glob)) else glob
    conditions: list[ColumnElement[bool]] = [source.like(_like(glob), escape=_ESCAPE)]
    if head:  # a range of the index; LIKE alone makes some databases read every source
        conditions += [source >= head, source < f"{head}\U0010ffff"]
    return conditions


def _like(glob: str) -> str:
    plain = glob.partition("[")
    text = "".join(_LIKE.get(character, character) for character in plain[0])
    return f"{text}%" if plain[1] else text


_LIKE = {"*": "%", "?": "_", "%": f"{_ESCAPE}%", "_": f"{_ESCAPE}_", _ESCAPE: _ESCAPE * 2}


def _copies_by_dump(connection: Connection) -> dict[int, tuple[FoundCopy, ...]]:
    rows = connection.execute(
        select(COPIES.c.dump_id, VOLUMES.c.tag, COPIES.c.verified_at)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .order_by(COPIES.c.dump_id, COPIES.c.copy)
    )
    found: dict[int, tuple[FoundCopy, ...]] = {}
    for dump, tag, verified_at in rows:
        found[dump] = (*found.get(dump, ()), FoundCopy(tag, verified_at is not None))
    return found


class _Locations:
    """The places of the predecessor's data sets in its notation: ``20170221[H0C10001,H0C20001]-0:1``."""

    def __init__(self, connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> None:
        """Read all that the data sets that meet ``conditions`` need; it cannot be read while they are streamed."""
        its = select(DUMPS.c.id, DUMPS.c.version).where(DUMPS.c.format == Format.PREDECESSOR)
        self._versions: dict[int, str] = {row.id: row.version for row in connection.execute(its)}
        self._first: dict[tuple[int, int], int] = {}
        if self._versions:
            self._read_first(connection, conditions)

    def of(self, row: Row[Any], copies: Iterable[FoundCopy]) -> str:
        """Return the location of a data set, "" for one in papertape's own format."""
        if row.number is None or row.dump_id not in self._versions:
            return ""
        labels = ",".join(sorted(copy.volume for copy in copies))
        member = row.number - self._first[row.dump_id, row.tape_file] + 1
        return f"{self._versions[row.dump_id]}[{labels}]-{row.tape_file - 1}:{member}"

    def _read_first(self, connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> None:
        """Read the number of the first data set in each tape file of the dumps that have a match."""
        wanted = select(DATASETS.c.dump_id).where(*conditions, DATASETS.c.dump_id.in_(self._versions)).distinct()
        columns = select(DATASETS.c.dump_id, DATASETS.c.tape_file, func.min(DATASETS.c.number))
        its = columns.where(DATASETS.c.dump_id.in_(connection.scalars(wanted).all()))
        for dump, tape_file, number in connection.execute(its.group_by(DATASETS.c.dump_id, DATASETS.c.tape_file)):
            if dump is not None and tape_file is not None:
                self._first[dump, tape_file] = number


def _found(row: Row[Any], copies: tuple[FoundCopy, ...], location: str) -> Found:
    written = row.number is not None
    return Found(
        source=row.source,
        version=row.version,
        kind=row.kind,
        state=row.state,
        size=row.size,
        reason=row.reason,
        dump=row.dump_id,
        number=row.number,
        tape_file=row.tape_file,
        offset=row.offset,
        md5=row.md5,
        copies=copies if written else (),
        location=location,
    )
