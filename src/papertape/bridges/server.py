"""One of the lab's MySQL or MariaDB servers: transactions, and its troubles told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, NoReturn

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, exc, inspect
from sqlalchemy.pool import NullPool

from papertape.errors import HostError, UserError
from papertape.sql.optionfile import OptionFile
from papertape.sql.rows import connect_socket

CONNECT_SECONDS = 10
"""How long a server that does not answer is waited for."""
ANSWER_SECONDS = 120
"""How long one statement may take."""
PACKAGE = "papertape[mysql]"

_REFUSED = {
    1044: "the user may not use this database; mend `database`, or have it granted",
    1045: "the user or the password is wrong; mend them",
    1049: "there is no such database; mend `database`",
    1698: "the user or the password is wrong; mend them",
    2003: "no server answers there; mend `host`, or start the server",
    2005: "there is no such host; mend `host`",
}
_FORBIDDEN = {
    1142: "the user lacks a right that is needed",
    1143: "the user lacks a right on a column",
    1146: "a table is not there; `papertape bridge check` says which",
}


class Server:
    """A database that an option file leads to; every block is one connection of its own, and one transaction."""

    def __init__(self, options: OptionFile) -> None:
        who = options.credentials
        self._path = options.path
        self.where = f"database {who.database} on {who.socket or who.host}"
        self._engine = _open(options)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection in one transaction: committed whole, or rolled back whole if anything raises.

        Raises UserError where the option file is to be mended, HostError for the database's own troubles.
        """
        connection = self._connect()
        try:
            with connection, connection.begin():
                yield connection
        except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
            self._tell(error)

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except (exc.DBAPIError, OSError, RuntimeError) as error:
            code, reason = _read(error)
            sentence = _REFUSED.get(code, f"it cannot be reached ({reason}); see to the server")
            raise UserError(f"{self._path}: {self.where}: {sentence}") from None

    def _tell(self, error: Exception) -> NoReturn:
        code, reason = _read(error)
        raise HostError(self.where, _FORBIDDEN.get(code, reason)) from None

    def check(self, table: Table) -> tuple[str, ...]:
        """Return what is not well with ``table``, though it will do; raises UserError if it lacks what is needed."""
        with self.transaction() as connection:
            found = inspect(connection)
            if not found.has_table(table.name):
                raise UserError(f"{self._path}: {self.where} has no table {table.name}; mend `database`")
            present = {column["name"] for column in found.get_columns(table.name)}
            lacking = [column.name for column in table.columns if column.name not in present]
            if lacking:
                raise UserError(
                    f"{self.where}: table {table.name} lacks {', '.join(lacking)}; name the lab's own table"
                )
            engine = str(found.get_table_options(table.name).get("mysql_engine", "InnoDB"))
        if engine.lower() == "innodb":
            return ()
        return (f"{self.where}: table {table.name} is kept by {engine}, which has no transactions; InnoDB has",)

    def close(self) -> None:
        """Let go of the driver."""
        self._engine.dispose()


class ServerTable:
    """One table of a server's database: what can be asked of it, and done to it."""

    table: ClassVar[Table]

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def where(self) -> str:
        """The database, for messages."""
        return self._server.where

    def check(self) -> tuple[str, ...]:
        """Return what is not well with the table; raises UserError if it lacks what is needed."""
        return self._server.check(self.table)


def _open(options: OptionFile) -> Engine:
    who = options.credentials
    url = URL.create(
        "mysql+pymysql", who.user, who.password, who.host, who.port, who.database, query={"charset": "utf8mb4"}
    )
    settings: dict[str, object] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "write_timeout": ANSWER_SECONDS,
    }
    if who.socket:
        settings["unix_socket"] = who.socket
    try:
        engine = create_engine(url, connect_args=settings, poolclass=NullPool, isolation_level="READ COMMITTED")
    except ModuleNotFoundError as error:
        raise UserError(f"[bridge] needs the Python package {error.name}; run `pip install '{PACKAGE}'`") from error
    if who.socket:
        event.listen(engine, "do_connect", partial(connect_socket, who.socket, CONNECT_SECONDS))
    return engine


def _read(error: Exception) -> tuple[int, str]:
    """Return the server's number for an error and its words, which may not hold the statement or its values."""
    cause = getattr(error, "orig", None) or error
    arguments = cause.args
    number = arguments[0] if arguments and isinstance(arguments[0], int) else 0
    words = arguments[1] if number and len(arguments) > 1 else cause
    return number, " ".join(str(words).split()) or type(cause).__name__
