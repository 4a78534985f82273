"""The lab's table of files, ``paperdata.File``: which must go to tape, who has claimed them, and where they are.

A row is changed only if it is still as it was left, so that two programs never have the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from tempfile import TemporaryFile
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import (
    Column,
    MetaData,
    Numeric,
    Select,
    SmallInteger,
    String,
    Table,
    bindparam,
    null,
    or_,
    select,
    update,
)

from papertape.bridges.claims import Claim, Left, chunks
from papertape.bridges.server import ServerTable
from papertape.sql.rows import stream

R = TypeVar("R")

LONGEST_PLACE = 100
"""Characters that ``tape_index`` holds."""

FILES = Table(
    "File",
    MetaData(),
    Column("source", String(200), primary_key=True),
    Column("filename", String(100)),
    Column("filetype", String(20)),
    Column("filesize", Numeric(7, 2)),
    Column("md5sum", String(32)),
    Column("tape_index", String(LONGEST_PLACE)),
    Column("is_tapeable", SmallInteger),
    Column("is_deletable", SmallInteger),
)
_ROW = FILES.c


class LabFile(NamedTuple):
    """A row that must go to tape; ``megabytes`` (10**6 bytes) and ``md5`` as the lab declares them, or None."""

    source: str
    megabytes: Decimal | None
    md5: str | None


class OnTape(NamedTuple):
    """A row with a ``tape_index``: ``place`` says where the file is, or who claims it. The rest: see ``LabFile``."""

    source: str
    place: str
    megabytes: Decimal | None
    md5: str | None


_LAB_FILES = msgspec.json.Decoder(LabFile)
_ON_TAPE = msgspec.json.Decoder(OnTape)


class Placed(NamedTuple):
    """A file that is on tape: its row, the claim in it, and the ``place`` that ``tape_index`` must get."""

    source: str
    claim: Claim
    place: str


class FileTable(ServerTable):
    """The table: rows are listed, claimed, released, and written when their files are on tape."""

    table = FILES

    def tapeable(self, file_types: str) -> Iterator[LabFile]:
        """Yield the rows that must go to tape and nobody claims, in the lab's order; ``file_types`` is a LIKE pattern.

        All rows are read into a temporary file before the first is yielded: the caller may take hours, and must not
        keep the server, or other programs that want the table, waiting. Raises UserError, HostError.
        """
        query = (
            select(_ROW.source, _ROW.filesize, _ROW.md5sum)
            .where(_ROW.is_tapeable == 1, _ROW.tape_index.is_(None), _ROW.filetype.like(file_types))
            .order_by(_ROW.filename, _ROW.source)
        )
        return self._read(query, _LAB_FILES)

    def on_tape(self) -> Iterator[OnTape]:
        """Yield the rows with something in ``tape_index``, ordered by source; read and raises like ``tapeable``."""
        query = select(_ROW.source, _ROW.tape_index, _ROW.filesize, _ROW.md5sum)
        return self._read(query.where(_ROW.tape_index.is_not(None)).order_by(_ROW.source), _ON_TAPE)

    def _read(self, query: Select[Any], decoder: msgspec.json.Decoder[R]) -> Iterator[R]:
        with TemporaryFile() as spool:
            with self._server.transaction() as connection:
                for row in stream(connection, query):
                    spool.write(msgspec.json.encode(tuple(row)) + b"\n")
            spool.seek(0)
            yield from map(decoder.decode, spool)

    def claim(self, sources: Iterable[str], claim: Claim) -> list[str]:
        """Claim rows for a dump, all or none; return those that are taken. Raises UserError, HostError."""
        lost: list[str] = []
        with self._server.transaction() as connection:
            for chunk in chunks(sources):
                # A row with this very mark is free, too: the dump claimed it before, and was started again.
                free = or_(_ROW.tape_index.is_(None), _ROW.tape_index == claim.mark)
                its = _ROW.source.in_(chunk)
                done = connection.execute(
                    update(FILES).where(its, free, _ROW.is_tapeable == 1).values(tape_index=claim.mark)
                )
                if done.rowcount != len(chunk):
                    marked = connection.scalars(select(_ROW.source).where(its, _ROW.tape_index == claim.mark))
                    lost += sorted(set(chunk) - set(marked))
            if lost:
                connection.rollback()
        return lost

    def release(self, claims: Mapping[str, Claim]) -> None:
        """Release rows, each only if it still has its claim. Raises UserError, HostError."""
        its = (_ROW.source == bindparam("row")) & (_ROW.tape_index == bindparam("mark"))
        with self._server.transaction() as connection:
            for chunk in chunks(claims.items()):
                connection.execute(
                    update(FILES).where(its).values(tape_index=null()),
                    [{"row": source, "mark": claim.mark} for source, claim in chunk],
                )

    def push(self, placed: Sequence[Placed], *, deletable: bool) -> dict[str, Left]:
        """Write where files are, in one transaction; with ``deletable`` also that the disk copy may be deleted.

        A row that does not have its mark any more is not touched. Raises UserError, HostError.
        """
        its = (_ROW.source == bindparam("row")) & (_ROW.tape_index == bindparam("mark"))
        values = {"tape_index": bindparam("place"), **({"is_deletable": 1} if deletable else {})}
        found: dict[str, str | None] = {}
        with self._server.transaction() as connection:
            for chunk in chunks(placed):
                connection.execute(
                    update(FILES).where(its).values(values),
                    [{"row": item.source, "mark": item.claim.mark, "place": item.place} for item in chunk],
                )
                names = [item.source for item in chunk]
                rows = connection.execute(select(_ROW.source, _ROW.tape_index).where(_ROW.source.in_(names)))
                found.update((row.source, row.tape_index) for row in rows)
        return {item.source: Left.DONE if found.get(item.source) == item.place else Left.FOREIGN for item in placed}
