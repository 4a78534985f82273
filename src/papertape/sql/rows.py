"""Reading a million rows, some of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select

MYSQL = ("mysql", "mariadb")
"""SQLAlchemy's names for the two that speak MySQL's protocol."""
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
