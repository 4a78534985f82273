"""The lab's table of files, ``paperdata.File``: which are to go to tape, who has them, and where they went.

No row is changed but on condition that it is as it was left, so that two programs never have the same one.
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
    """A row that is to go to tape, as the lab has it; ``megabytes`` and ``md5`` are what it declares, if it does."""

    source: str
    megabytes: Decimal | None
    md5: str | None


class OnTape(NamedTuple):
    """A row that says where it lies, or who has it; ``megabytes`` and ``md5`` are what it declares, if it does."""

    source: str
    place: str
    megabytes: Decimal | None
    md5: str | None


_LAB_FILES = msgspec.json.Decoder(LabFile)
_ON_TAPE = msgspec.json.Decoder(OnTape)


class Placed(NamedTuple):
    """Where a file lies now: its row, the claim that it bears, and the ``place`` to be written into ``tape_index``."""

    source: str
    claim: Claim
    place: str


class FileTable(ServerTable):
    """What can be asked of the table, and done to it."""

    table = FILES

    def tapeable(self, file_types: str) -> Iterator[LabFile]:
        """Yield the rows that are to go to tape and nobody has, in the lab's order; ``file_types`` is a LIKE pattern.

        All rows are read before the first is yielded, into a temporary file: what is done with them may take hours,
        and the server's patience, and other programs' wish for the table, end before. Raises UserError, HostError.
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
        """Take the rows for a dump, all or none; return those that are not to be had. Raises UserError, HostError."""
        lost: list[str] = []
        with self._server.transaction() as connection:
            for chunk in chunks(sources):
                # The mark too: what a dump that is begun anew took before is its own.
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
        """Let go of rows, each on condition that it still bears its claim. Raises UserError, HostError."""
        its = (_ROW.source == bindparam("row")) & (_ROW.tape_index == bindparam("mark"))
        with self._server.transaction() as connection:
            for chunk in chunks(claims.items()):
                connection.execute(
                    update(FILES).where(its).values(tape_index=null()),
                    [{"row": source, "mark": claim.mark} for source, claim in chunk],
                )

    def push(self, placed: Sequence[Placed], *, deletable: bool) -> dict[str, Left]:
        """Say where files lie, in one transaction; ``deletable``: and that the disk copy may go.

        A row that does not bear its mark any more is left alone. Raises UserError, HostError.
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
