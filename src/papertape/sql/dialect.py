"""One interface to all that kinds of databases do differently."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, StrEnum, auto
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, Select, Table
from sqlalchemy.exc import DBAPIError

BUSY_SECONDS = 300
"""Seconds that a transaction waits for another: longer than the largest takes; SQLite's ``?timeout=5`` says otherwise.
"""
BRIEF_SECONDS = 5
"""Seconds that a transaction of the heartbeat waits for another."""
CONNECT_SECONDS = 10
"""Seconds to wait for a server that does not answer; ``?connect_timeout=60`` in the url says otherwise."""
IDLE_SECONDS = 600
"""Seconds that a server keeps the open transaction of a host that was cut off, and with it everybody else's turn."""


class Trouble(StrEnum):
    """The meaning of a database's error for the user; the ledger and the bridge each have a sentence for it."""

    REFUSED = auto()  # the user, or the password, or the host that connects
    FORBIDDEN = auto()  # this user may not use this database
    ABSENT = auto()  # there is no such database
    UNREACHABLE = auto()  # no server answers there
    NO_HOST = auto()  # there is no such host
    AWAY = auto()  # the server was there and is not, or takes nobody more; waiting may help
    BUSY = auto()  # somebody else has had a lock for too long
    FULL = auto()  # no room on the disk
    DENIED = auto()  # the user lacks a right on a table
    NO_TABLE = auto()
    READ_ONLY = auto()
    CANNOT_OPEN = auto()
    DAMAGED = auto()
    NO_DATABASE = auto()  # the file is something else
    DISK_ERROR = auto()


class SpanSearch(Enum):
    """How to find one row of a large table that lies in any of many spans, by its index."""

    JOIN = auto()  # join with a temporary table of spans
    EACH = auto()  # ask for the first row of each span of an array
    OR = auto()  # name some spans at a time in one condition


class Dialect(ABC):
    """One kind of database."""

    is_file: ClassVar[bool] = False
    """Whether the database is a file on this host, and not on a server."""
    driver_error: ClassVar[type[Exception]] = DBAPIError
    """An error of the driver's own, if it is met where SQLAlchemy does not wrap it."""
    read_isolation: ClassVar[str | None] = "REPEATABLE READ"
    """The isolation level that gives a reader one consistent view; None where every transaction has it."""
    undoes_tables: ClassVar[bool] = True
    """Whether a CREATE TABLE is rolled back with its transaction."""
    span_search: ClassVar[SpanSearch]
    orders_by_index: ClassVar[bool] = True
    """Whether rows come in the order of a long name by an index, the first one at once."""
    pads_names: ClassVar[bool] = False
    """Whether ``"a"`` and ``"a "`` sort as equals."""

    @abstractmethod
    def open(self, url: URL, *, brief: bool = False) -> Engine:
        """Return the engine for ``url``; nothing is connected yet. Raises UserError for an option file in it.

        With ``brief`` its transactions wait ``BRIEF_SECONDS`` for others at most, and no connection is kept.
        """

    def name(self, url: URL) -> str:
        """Return how to call the database in a sentence: without its password, and without options."""
        return url.set(password=None, query={}).render_as_string()

    def make(self, url: URL, fill: Callable[[URL], None]) -> None:  # noqa: B027  a server's database is made by its administrator
        """Make the database if it is the user's to make; ``fill`` makes the tables in the one that it is given."""

    def prepare(self, engine: Engine) -> None:  # noqa: B027  only SQLite has something to set in the database itself
        """Make the settings that the database itself keeps, before there are tables."""

    @abstractmethod
    def take_turn(self, connection: Connection, turnstile: Select[Any]) -> None:
        """Wait until no other transaction writes; the turn ends with this transaction.

        ``turnstile`` reads the one row that every writer locks.
        """

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:  # noqa: ARG002
        """Keep others from making or changing tables during the block, if a transaction alone does not do that."""
        yield

    @abstractmethod
    def find_trouble(self, error: BaseException) -> Trouble | None:
        """Return the meaning of an error of the database or its driver, by its code; None if the code is not known.

        Messages are not looked at: a server writes them in its administrator's language.
        """

    def hint_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:  # noqa: ARG002
        """Return ``query`` with the demand to use that index, where the database does not find it by itself."""
        return query


def wait_seconds(*, brief: bool) -> int:
    """Return for how many seconds a transaction waits for another."""
    return BRIEF_SECONDS if brief else BUSY_SECONDS


def explain(error: Exception) -> str:
    """Return the words of the driver's error on one line, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    number, *rest = cause.args or (None,)
    words = rest[0] if isinstance(number, int) and rest else cause
    return " ".join(str(words).split()) or type(cause).__name__
