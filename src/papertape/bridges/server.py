"""One of the lab's MySQL or MariaDB servers: transactions, and one sentence for each trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from sqlalchemy import URL, Connection, Table, create_engine, exc, inspect
from sqlalchemy.pool import NullPool

from papertape.errors import HostError, UserError
from papertape.sql.dialect import Trouble, explain
from papertape.sql.mysql import MySQL, use_socket
from papertape.sql.optionfile import OptionFile

CONNECT_SECONDS = 10
"""Seconds to wait for a server that does not answer."""
ANSWER_SECONDS = 120
"""Seconds that one statement may take."""
PACKAGE = "papertape[mysql]"

_IN_CONNECTING = {
    Trouble.FORBIDDEN: "the user may not use this database; correct `database`, or have it granted",
    Trouble.REFUSED: "the user or the password is wrong; correct them",
    Trouble.ABSENT: "there is no such database; correct `database`",
    Trouble.UNREACHABLE: "no server answers there; correct `host`, or start the server",
    Trouble.NO_HOST: "there is no such host; correct `host`",
}
_IN_STATEMENTS = {
    Trouble.DENIED: "the user lacks a right that is needed",
    Trouble.NO_TABLE: "a table is not there; `papertape bridge check` says which",
}


class Server:
    """A database that an option file leads to; every block is one connection of its own, and one transaction."""

    def __init__(self, options: OptionFile) -> None:
        """Connect to nothing yet; raises UserError if the driver is not installed."""
        who = options.credentials
        self._path = options.path
        self.where = f"database {who.database} on {who.socket or who.host}"
        self._dialect = MySQL()
        url = URL.create(
            "mysql+pymysql",
            username=who.user,
            password=who.password,
            host=who.host,
            port=who.port,
            database=who.database,
            query={"charset": "utf8mb4"},
        )
        settings: dict[str, object] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": ANSWER_SECONDS,
            "write_timeout": ANSWER_SECONDS,
        }
        if who.socket:
            settings["unix_socket"] = who.socket
        try:
            # No pool: the lab's server must not keep connections of a job that writes to tape for hours.
            self._engine = create_engine(
                url, connect_args=settings, poolclass=NullPool, isolation_level="READ COMMITTED"
            )
        except ModuleNotFoundError as error:
            raise UserError(f"[bridge] needs the Python package {error.name}; run `pip install '{PACKAGE}'`") from error
        if who.socket:
            use_socket(self._engine, who.socket, CONNECT_SECONDS)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection in one transaction: committed whole, or rolled back whole if anything raises.

        Raises UserError if nobody can connect as the option file says, HostError if a statement fails.
        """
        try:
            connection = self._engine.connect()
        except (exc.DBAPIError, OSError, RuntimeError) as error:  # RuntimeError: a package for the login is missing
            sentence = _IN_CONNECTING.get(self._dialect.find_trouble(error) or Trouble.AWAY)
            sentence = sentence or f"it cannot be reached ({explain(error)}); look at the server"
            raise UserError(f"{self._path}: {self.where}: {sentence}") from None
        try:
            with connection, connection.begin():
                yield connection
        except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
            trouble = self._dialect.find_trouble(error)
            reason = _IN_STATEMENTS.get(trouble) if trouble else None
            raise HostError(self.where, reason or explain(error)) from None

    def check(self, table: Table) -> tuple[str, ...]:
        """Return warnings about ``table``; raises UserError if the table, or a column that is needed, is missing."""
        with self.transaction() as connection:
            found = inspect(connection)
            if not found.has_table(table.name):
                raise UserError(f"{self._path}: {self.where} has no table {table.name}; correct `database`")
            present = {column["name"] for column in found.get_columns(table.name)}
            absent = [column.name for column in table.columns if column.name not in present]
            if absent:
                raise UserError(f"{self.where}: table {table.name} lacks {', '.join(absent)}; name the lab's own table")
            engine = str(found.get_table_options(table.name).get("mysql_engine", "InnoDB"))
        if engine.lower() == "innodb":
            return ()
        return (f"{self.where}: table {table.name} is kept by {engine}, which has no transactions; InnoDB has",)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class ServerTable:
    """One table of a server's database."""

    table: ClassVar[Table]

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def where(self) -> str:
        """The database, for messages."""
        return self._server.where

    def check(self) -> tuple[str, ...]:
        """Return warnings about the table; raises UserError if it, or a column that is needed, is missing."""
        return self._server.check(self.table)
