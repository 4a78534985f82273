"""The lab's two tables for trying things: made in a test database where they are missing, filled, and emptied again.

What is put in bears the mark of whose it is, in a column that nobody else writes to: only that is ever taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, func, insert, inspect, select
from sqlalchemy.dialects.mysql import BIGINT, CHAR, DECIMAL, INTEGER, MEDIUMINT, TINYINT, TINYTEXT, VARCHAR

from papertape.bridges.claims import chunks
from papertape.bridges.paperdata import FILES
from papertape.bridges.server import Server
from papertape.errors import UserError
from papertape.sql.optionfile import OptionFile

ENDING = "test"
"""How the name of a database ends that may be filled."""
MADE = "made by papertape testdata"
"""The comment on a table that was missing."""
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
    """A row of the table of files; ``megabytes`` is all that lies there, ``timestamp`` in seconds since 1970."""

    host: str
    base_path: str
    filename: str
    filetype: str
    source: str
    filesize: Decimal
    md5sum: str
    timestamp: int


class Filled(NamedTuple):
    """How many rows were ``added``, how many were ``there`` from before, and which are somebody else's."""

    added: int
    there: int
    foreign: tuple[str, ...]


def refuse_in_use(options: OptionFile) -> None:
    """Raise UserError unless the option file leads to a database whose name says that it is there for tests."""
    name = options.credentials.database
    if not name.endswith(ENDING):
        raise UserError(
            f"{options.path}: the name of database {name} does not end in `{ENDING}`, and test rows go into no other; "
            "make one, and name it in an option file of its own"
        )


class Trial:
    """One test database; ``mark`` says whose rows are put in and taken out."""

    def __init__(self, options: OptionFile, mark: str) -> None:
        """Raise UserError for a database that is not one for tests; nothing is asked of it yet."""
        refuse_in_use(options)
        self._server = Server(options)
        self._mark = mark
        self.where = self._server.where

    def connect(self) -> None:
        """Raise UserError, HostError if the server cannot be reached, or a table there is not like the lab's."""
        with self._server.transaction() as connection:
            present = [table for table in (FILE, IDS) if inspect(connection).has_table(table.name)]
        for table in present:
            self._server.check(table)

    def fill_files(self, rows: Sequence[TrialFile]) -> Filled:
        """Put in rows that are not there yet, as such that are to go to tape; makes the table if it is missing."""
        state = {"is_tapeable": 1, "is_deletable": 0, "init_host": self._mark}
        return self._fill(FILE, "source", "init_host", [{**row._asdict(), **state} for row in rows])

    def fill_labels(self, labels: Sequence[str], capacity: int) -> Filled:
        """Put in free tapes of ``capacity`` in MB that are not there yet; makes the table if it is missing."""
        rows = [{"label": label, "capacity": capacity, "tape_location": self._mark} for label in labels]
        return self._fill(IDS, "label", "tape_location", rows)

    def _fill(self, table: Table, key: str, owner: str, rows: Sequence[dict[str, object]]) -> Filled:
        known: dict[str, str | None] = {}
        with self._server.transaction() as connection:
            table.create(connection, checkfirst=True)
            for chunk in chunks(rows):
                its = table.c[key].in_([row[key] for row in chunk])
                found = connection.execute(select(table.c[key], table.c[owner]).where(its))
                known.update((name, mark) for name, mark in found)
                fresh = [row for row in chunk if row[key] not in known]
                if fresh:
                    connection.execute(insert(table), fresh)
        foreign = tuple(name for name, mark in known.items() if mark != self._mark)
        return Filled(len(rows) - len(known), len(known) - len(foreign), foreign)

    def clean(self) -> tuple[int, int]:
        """Take out what bears the mark, and tables that were made here and are empty; return how many rows of each."""
        with self._server.transaction() as connection:
            counts = self._empty(connection, FILE, "init_host"), self._empty(connection, IDS, "tape_location")
        for table in (FILE, IDS):
            self._drop(table)
        return counts

    def _empty(self, connection: Connection, table: Table, owner: str) -> int:
        if not inspect(connection).has_table(table.name):
            return 0
        return connection.execute(delete(table).where(table.c[owner] == self._mark)).rowcount

    def _drop(self, table: Table) -> None:
        """Drop a table that was made here, and has no row: it is locked, so that nobody puts one in meanwhile."""
        with self._server.transaction() as connection:
            found = inspect(connection)
            if not found.has_table(table.name) or found.get_table_comment(table.name)["text"] != MADE:
                return
            connection.exec_driver_sql(_LOCKS[table.name])
            if not connection.scalar(select(func.count()).select_from(table)):
                table.drop(connection, checkfirst=False)
            connection.exec_driver_sql("UNLOCK TABLES")

    def close(self) -> None:
        """Let go of the driver."""
        self._server.close()


_LOCKS = {FILE.name: "LOCK TABLES File WRITE", IDS.name: "LOCK TABLES ids WRITE"}
