"""MariaDB and MySQL, by PyMySQL.

Three things are done here to the driver that it has no public way for; ``tests/sql/test_pymysql.py`` says which.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, Table, create_engine, event, func, select
from sqlalchemy import Dialect as SQLAlchemyDialect
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from papertape.sql.dialect import (
    BUSY_SECONDS,
    CONNECT_SECONDS,
    IDLE_SECONDS,
    Dialect,
    SpanSearch,
    Trouble,
    wait_seconds,
)
from papertape.sql.optionfile import GROUP, read_option_file
from papertape.sql.rows import MYSQL

_NOBODY, _UNREACHED = 2003, 2002
_DISK_FULL = re.compile(r"\b28\b")
"""ENOSPC, which the server's errors in writing have in brackets, in any language."""
_WRITING = (3, 1026, 1030)
"""Errors of the server in writing a file, or of its storage engine; they hold the system's errno."""

_TROUBLES = {
    1021: Trouble.FULL,  # ER_DISK_FULL
    1040: Trouble.AWAY,  # ER_CON_COUNT_ERROR
    1044: Trouble.FORBIDDEN,  # ER_DBACCESS_DENIED_ERROR
    1045: Trouble.REFUSED,  # ER_ACCESS_DENIED_ERROR
    1049: Trouble.ABSENT,  # ER_BAD_DB_ERROR
    1053: Trouble.AWAY,  # ER_SERVER_SHUTDOWN
    1114: Trouble.FULL,  # ER_RECORD_FILE_FULL
    1130: Trouble.REFUSED,  # ER_HOST_NOT_PRIVILEGED
    1142: Trouble.DENIED,  # ER_TABLEACCESS_DENIED_ERROR
    1143: Trouble.DENIED,  # ER_COLUMNACCESS_DENIED_ERROR
    1146: Trouble.NO_TABLE,  # ER_NO_SUCH_TABLE
    1203: Trouble.AWAY,  # ER_TOO_MANY_USER_CONNECTIONS
    1205: Trouble.BUSY,  # ER_LOCK_WAIT_TIMEOUT
    1226: Trouble.AWAY,  # ER_USER_LIMIT_REACHED
    1227: Trouble.DENIED,  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    1698: Trouble.REFUSED,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1927: Trouble.AWAY,  # ER_CONNECTION_KILLED, of MariaDB
    2002: Trouble.UNREACHABLE,  # CR_CONNECTION_ERROR
    2003: Trouble.UNREACHABLE,  # CR_CONN_HOST_ERROR
    2005: Trouble.NO_HOST,  # CR_UNKNOWN_HOST
    2006: Trouble.AWAY,  # CR_SERVER_GONE_ERROR
    2013: Trouble.AWAY,  # CR_SERVER_LOST
    2055: Trouble.AWAY,  # CR_SERVER_LOST_EXTENDED
    4031: Trouble.AWAY,  # ER_CLIENT_INTERACTION_TIMEOUT, of MySQL
}
"""Error numbers: https://mariadb.com/kb/en/mariadb-error-code-reference/, and MySQL's error reference for 2000-2999."""


class MySQL(Dialect):
    """See ``Dialect``."""

    undoes_tables = False  # each CREATE TABLE commits
    # It does not know how many spans a temporary table has, and then reads all rows of the other.
    span_search = SpanSearch.OR
    orders_by_index = False  # an index has only the beginning of a long name
    pads_names = True

    def open(self, url: URL, *, brief: bool = False) -> Engine:
        """See ``Dialect.open``; ``read_default_file`` in the url names an option file, read as MySQL's clients do."""
        url, settings, warnings = _use_option_file(url)
        seconds = wait_seconds(brief=brief)
        pool: dict[str, Any] = {"poolclass": NullPool} if brief else {"pool_pre_ping": True, "max_overflow": -1}
        session = {
            "innodb_lock_wait_timeout": seconds,
            **(
                {"lock_wait_timeout": seconds} if brief else {}
            ),  # for a table that is locked (LOCK TABLES, ALTER TABLE)
            "net_write_timeout": 3600,  # a plan may take its time over the rows that it gets
            "wait_timeout": IDLE_SECONDS,
        }
        arguments: dict[str, Any] = {
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": CONNECT_SECONDS,  # for the greeting, which the driver's connect_timeout does not cover
            "write_timeout": 2 * seconds,
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",  # nothing is cut off to make it fit
            "init_command": "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in session.items()),
            **settings,
        }
        given = {name: value for name, value in arguments.items() if name not in url.query}
        engine = create_engine(
            url,
            connect_args=given,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            **pool,
        )
        path = url.query.get("unix_socket", given.get("unix_socket"))
        if isinstance(path, str):
            use_socket(engine, path, CONNECT_SECONDS)
        if "read_timeout" in given:
            event.listen(engine, "connect", partial(_allow_long_answers, 2 * seconds))

        @event.listens_for(engine, "handle_error")
        def add_warnings(context: ExceptionContext) -> None:
            # A password that a comment cuts off is refused, and nothing else would say why.
            if self.find_trouble(context.original_exception) is Trouble.REFUSED:
                for warning in warnings:
                    context.original_exception.add_note(warning)

        return engine

    def take_turn(self, connection: Connection, turnstile: Select[Any]) -> None:
        """See ``Dialect.take_turn``."""
        connection.execute(turnstile.with_for_update())

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """See ``Dialect.alone``."""
        # A lock's name has 64 characters at most, as has that of a database.
        name = func.concat("papertape ", func.left(func.sha1(func.database()), 32))
        connection.execute(select(func.get_lock(name, BUSY_SECONDS)))
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):  # if the connection is lost, the lock is, too
                connection.execute(select(func.release_lock(name)))

    def find_trouble(self, error: BaseException) -> Trouble | None:
        """See ``Dialect.find_trouble``."""
        number, *words = (getattr(error, "orig", None) or error).args or (0,)
        if number in _WRITING and words and _DISK_FULL.search(str(words[0])):
            return Trouble.FULL
        return _TROUBLES.get(number) if isinstance(number, int) else None

    def hint_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """See ``Dialect.hint_index``."""
        for name in MYSQL:
            query = query.with_hint(table, f"FORCE INDEX ({index})", name)
        return query


def use_socket(engine: Engine, path: str, seconds: float) -> None:
    """Make ``engine`` connect through the socket at ``path``, and wait for it for that long."""
    event.listen(engine, "do_connect", partial(_connect_socket, path, seconds))


def _connect_socket(
    path: str,
    seconds: float,
    dialect: SQLAlchemyDialect,
    _entry: ConnectionPoolEntry,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> DBAPIConnection:
    """Connect PyMySQL; made for SQLAlchemy's event ``do_connect``.

    The socket is ours, and closed in any case: the driver leaves its own one open where nobody listens.
    """
    reached = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            reached.settimeout(seconds)
            reached.connect(path)
        except OSError as error:  # as the driver would say it, with MySQL's number for it
            number = _NOBODY if isinstance(error, FileNotFoundError | ConnectionRefusedError) else _UNREACHED
            sentence = f"Can't connect to the server through {path} ({error.strerror or error})"
            raise dialect.loaded_dbapi.OperationalError(number, sentence) from error
        connection = dialect.connect(*arguments, **named, defer_connect=True)
        connection.connect(reached)
    except BaseException:
        reached.close()
        raise
    return connection


def _allow_long_answers(seconds: int, connection: Any, _entry: ConnectionPoolEntry) -> None:
    """Once connected, wait for an answer for as long as a lock may take; a host that vanished says nothing more."""
    connection._read_timeout = seconds  # the driver has no other way to change it


def _use_option_file(url: URL) -> tuple[URL, dict[str, Any], tuple[str, ...]]:
    """Return ``url`` completed from the option file that it names, settings of the driver, and warnings.

    The url's own parts win. Raises UserError.
    """
    named = url.query.get("read_default_file")
    if not isinstance(named, str):
        return url, {}, ()
    group = url.query.get("read_default_group", GROUP)
    found = read_option_file(Path(named).expanduser(), needed=(), group=str(group))
    url = url.difference_update_query(["read_default_file", "read_default_group"])
    who = found.credentials
    url = url.set(
        username=url.username or who.user or None,
        password=url.password or who.password or None,
        host=url.host or who.host or None,
        port=url.port or who.port,
        database=url.database or who.database or None,
    )
    settings: dict[str, Any] = {"unix_socket": who.socket} if who.socket else {}
    security = {name: found.options[f"ssl-{name}"] for name in _SSL if found.options.get(f"ssl-{name}")}
    return url, settings | ({"ssl": security} if security else {}), found.cut


_SSL = ("ca", "capath", "cert", "key", "cipher")
