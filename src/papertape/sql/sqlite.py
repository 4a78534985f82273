"""SQLite: a database in one file, with one writer at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from papertape.errors import HostError, UserError
from papertape.sql.dialect import Dialect, SpanSearch, Trouble, wait_seconds

_TROUBLES = {
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Trouble.CANNOT_OPEN,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.NO_DATABASE,
    sqlite3.SQLITE_IOERR: Trouble.DISK_ERROR,
}


class SQLite(Dialect):
    """See ``Dialect``."""

    is_file = True
    driver_error = sqlite3.Error
    read_isolation = None
    span_search = SpanSearch.JOIN

    def open(self, url: URL, *, brief: bool = False) -> Engine:
        """See ``Dialect.open``; raises UserError or HostError for a path that cannot hold the file."""
        _check_path(url.database)
        wait = str(wait_seconds(brief=brief))
        seconds = wait if brief else url.query.get("timeout", wait)
        pool: dict[str, Any] = {"poolclass": NullPool} if brief else {"max_overflow": -1}
        engine = create_engine(url.update_query_dict({"timeout": seconds}), **pool)
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
        return engine

    def name(self, url: URL) -> str:
        """Return the path."""
        return str(url.database)

    def make(self, url: URL, fill: Callable[[URL], None]) -> None:
        """Make a new file elsewhere and put it in its place whole: another process may be doing the same."""
        path = _check_path(url.database)
        if path.exists():
            return
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            new = Path(folder) / path.name
            fill(url.set(database=str(new)))
            # No link: the other process was faster, or the file system has none, and the file is then made in place.
            with suppress(OSError):
                os.link(new, path)

    def prepare(self, engine: Engine) -> None:
        """Let readers and one writer work at the same time; the file remembers it."""
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode=WAL")

    def take_turn(self, connection: Connection, turnstile: Select[Any]) -> None:
        """Do nothing: ``BEGIN IMMEDIATE`` has waited already."""

    def find_trouble(self, error: BaseException) -> Trouble | None:
        """See ``Dialect.find_trouble``. Codes: https://sqlite.org/rescode.html; the low byte is the primary one."""
        code: int | None = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
        return None if code is None else _TROUBLES.get(code & 0xFF)


def _check_path(database: str | None) -> Path:
    if not database or database == ":memory:":
        raise UserError("ledger: a database in memory remembers nothing; write `sqlite:////folder/ledger.sqlite`")
    path = Path(database)
    if path.is_dir():
        raise UserError(f"ledger {path}: this is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"ledger {path}: the folder {path.parent} does not exist; make it, or run `papertape init`")
    # SQLite needs the folder too, for the journal beside the file.
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.R_OK | os.W_OK):
            raise HostError(f"ledger {path}", f"{place} cannot be written; correct its permissions")
    return path


def _set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Make the settings of one connection."""
    connection.isolation_level = None  # the driver must not guess where a transaction begins
    with closing(connection.cursor()) as cursor:
        for setting in ("foreign_keys=ON", "synchronous=FULL", "temp_store=MEMORY", "cache_size=-65536"):
            cursor.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    """Begin; a writer takes the lock at once, for one that reads first and writes later can fail in the middle."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
