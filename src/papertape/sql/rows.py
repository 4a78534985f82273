"""What SQLAlchemy's drivers leave to those who use them: sockets, and reading a million rows some at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

MYSQL = ("mysql", "mariadb")
"""What SQLAlchemy calls the two that speak MySQL's protocol."""
_NOBODY, _UNREACHED = 2003, 2002
CHUNK = 1000
"""How many values go into one IN list, and how many rows are asked for at a time: every server takes that many."""


def stream(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    """Yield the rows of ``query``, few of them in memory at a time; drop the iterator where the rest is not needed.

    On MySQL nothing else may be asked on ``connection`` before the last row.
    """
    result = connection.execute(query, execution_options={"yield_per": CHUNK})
    cursor: Any = getattr(result, "cursor", None)
    unread = getattr(cursor, "_result", None)
    whole = False
    try:
        yield from result
        whole = True
    finally:
        if not whole and connection.dialect.name in MYSQL:
            _hang_up(connection, cursor, unread)
        elif not whole:
            result.close()


def _hang_up(connection: Connection, cursor: Any, unread: Any) -> None:
    """End a result that is not read to its end: MySQL's protocol can only be read on, a million rows maybe, or cut."""
    if cursor is not None:
        cursor.connection = None  # else the driver reads all the rest, when the cursor is closed,
    if unread is not None:
        unread.unbuffered_active = False  # and when its result is forgotten
    if not connection.invalidated:
        connection.invalidate()


def connect_socket(
    path: str,
    seconds: float,
    dialect: Dialect,
    _entry: ConnectionPoolEntry,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> DBAPIConnection:
    """Connect PyMySQL by way of a socket at ``path``; made for SQLAlchemy's event ``do_connect``.

    The socket is ours, and closed in any case: the driver leaves its own one open where nobody listens.
    """
    reached = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _reach(reached, path, seconds, dialect)
        connection = dialect.connect(*arguments, **named, defer_connect=True)
        connection.connect(reached)
    except BaseException:
        reached.close()
        raise
    return connection


def _reach(reached: socket.socket, path: str, seconds: float, dialect: Dialect) -> None:
    """Connect the socket itself; raises the driver's error, with MySQL's number for it, as the driver would."""
    try:
        reached.settimeout(seconds)
        reached.connect(path)
    except OSError as error:
        number = _NOBODY if isinstance(error, FileNotFoundError | ConnectionRefusedError) else _UNREACHED
        sentence = f"Can't connect to the server by way of {path} ({error.strerror or error})"
        raise dialect.loaded_dbapi.OperationalError(number, sentence) from error
