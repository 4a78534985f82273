"""The lab's two tables in a test database: created if they are missing, filled, and cleaned again.

Every inserted row has a mark, in a column that nobody else writes to. Only rows with that mark are ever deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Column, MetaData, String, Table, Text, delete, func, insert, inspect, select
from sqlalchemy.dialects.mysql import BIGINT, CHAR, DECIMAL, INTEGER, MEDIUMINT, TINYINT, TINYTEXT, VARCHAR

from papertape.bridges.claims import chunks
from papertape.bridges.paperdata import FILES
from papertape.bridges.server import Server
from papertape.errors import UserError
from papertape.sql.optionfile import OptionFile

ENDING = "test"
"""The name of a database must end so; otherwise it is in use, and nothing is inserted."""
MADE = "made by papertape testdata"
"""The comment on a table that was created here."""
LONGEST_SOURCE, LONGEST_NAME, LARGEST = 200, 100, Decimal("99999.99")
"""Characters that ``source`` and ``filename`` hold, and MB that ``filesize`` holds."""

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "comment": MADE,
}
_TABLES = MetaData()
FILE = Table(
    FILES.name,
    _TABLES,
    Column("host", VARCHAR(100)),
    Column("base_path", VARCHAR(100)),
    Column("filename", VARCHAR(LONGEST_NAME)),
    Column("filetype", VARCHAR(20)),
    Column("source", VARCHAR(LONGEST_SOURCE), primary_key=True),
    Column("obsnum", BIGINT),
    Column("filesize", DECIMAL(7, 2)),
    Column("md5sum", VARCHAR(32)),
    Column("tape_index", VARCHAR(100)),
    Column("is_tapeable", TINYINT(1)),
    Column("is_deletable", TINYINT(1)),
    Column("timestamp", BIGINT),
    Column("init_host", VARCHAR(100)),
    **_OPTIONS,
)
IDS = Table(
    "ids",
    _TABLES,
    Column("id", MEDIUMINT, primary_key=True, autoincrement=True),
    Column("label", CHAR(8)),
    Column("description", Text),
    Column("date", TINYTEXT),
    Column("status", INTEGER),
    Column("capacity", INTEGER),
    Column("tape_location", String(64)),
    **_OPTIONS,
)


class TrialFile(NamedTuple):
    """A row of the table of files; ``filesize`` in MB, ``timestamp`` in seconds since 1970."""

    host: str
    base_path: str
    filename: str
    filetype: str
    source: str
    filesize: Decimal
    md5sum: str
    timestamp: int


class Filled(NamedTuple):
    """How many rows were ``added``, how many were ``there`` before, and the keys of rows without the mark."""

    added: int
    there: int
    foreign: tuple[str, ...]


class Trial:
    """One test database; ``mark`` is that of the rows to insert and delete."""

    def __init__(self, options: OptionFile, mark: str) -> None:
        """Raise UserError if the database is not for tests; the server is not asked yet."""
        name = options.credentials.database
        if not name.endswith(ENDING):
            raise UserError(
                f"{options.path}: the name of database {name} does not end in `{ENDING}`, so it is not for test rows; "
                "create one, and name it in an option file of its own"
            )
        self._server = Server(options)
        self._mark = mark
        self.where = self._server.where

    def connect(self) -> None:
        """Raise UserError, HostError if the server cannot be reached, or a table there differs from the lab's."""
        with self._server.transaction() as connection:
            present = [table for table in (FILE, IDS) if inspect(connection).has_table(table.name)]
        for table in present:
            self._server.check(table)

    def fill_files(self, rows: Sequence[TrialFile]) -> Filled:
        """Insert rows that are not there yet, marked for tape; creates the table if it is missing."""
        state = {"is_tapeable": 1, "is_deletable": 0, "init_host": self._mark}
        return self._fill(FILE, "source", "init_host", [{**row._asdict(), **state} for row in rows])

    def fill_labels(self, labels: Sequence[str], capacity: int) -> Filled:
        """Insert free tapes of ``capacity`` MB that are not there yet; creates the table if it is missing."""
        rows = [{"label": label, "capacity": capacity, "tape_location": self._mark} for label in labels]
        return self._fill(IDS, "label", "tape_location", rows)

    def _fill(self, table: Table, key: str, owner: str, rows: Sequence[dict[str, object]]) -> Filled:
        known: dict[str, str | None] = {}
        with self._server.transaction() as connection:
            table.create(connection, checkfirst=True)
            for chunk in chunks(rows):
                same_key = table.c[key].in_([row[key] for row in chunk])
                found = connection.execute(select(table.c[key], table.c[owner]).where(same_key))
                known.update((name, mark) for name, mark in found)
                fresh = [row for row in chunk if row[key] not in known]
                if fresh:
                    connection.execute(insert(table), fresh)
        foreign = tuple(name for name, mark in known.items() if mark != self._mark)
        return Filled(len(rows) - len(known), len(known) - len(foreign), foreign)

    def clean(self) -> tuple[int, int]:
        """Delete the rows with the mark, and empty tables that were created here; return how many files and tapes."""
        deleted = []
        with self._server.transaction() as connection:
            for table, owner in ((FILE, "init_host"), (IDS, "tape_location")):
                is_there = inspect(connection).has_table(table.name)
                marked = delete(table).where(table.c[owner] == self._mark)
                deleted.append(connection.execute(marked).rowcount if is_there else 0)
        for table in (FILE, IDS):
            with self._server.transaction() as connection:
                found = inspect(connection)
                if not found.has_table(table.name) or found.get_table_comment(table.name)["text"] != MADE:
                    continue
                # Locked, so that nobody inserts a row between the count and the drop. DROP TABLE commits by itself.
                connection.exec_driver_sql(_LOCKS[table.name])
                if not connection.scalar(select(func.count()).select_from(table)):
                    table.drop(connection, checkfirst=False)
                connection.exec_driver_sql("UNLOCK TABLES")
        return deleted[0], deleted[1]

    def close(self) -> None:
        """Close the connection."""
        self._server.close()


_LOCKS = {FILE.name: "LOCK TABLES File WRITE", IDS.name: "LOCK TABLES ids WRITE"}
