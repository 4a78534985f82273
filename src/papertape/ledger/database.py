"""One database: connections, transactions, migrations, and its troubles told in one sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from papertape.errors import HostError, UserError

BUSY_SECONDS = 300
"""How long an SQLite transaction waits for another: longer than the largest takes; ``?timeout=5`` says otherwise."""

_MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0002"
"""The newest migration: with it written down, a ledger that has it opens without alembic, which takes a while to load.
"""

_TROUBLES = (
    ("database is locked", "another process has kept it locked for too long; run this again when that one is done"),
    ("disk is full", "its disk is full; make room and run this again"),
    ("readonly database", "it cannot be written; mend its permissions, and those of its folder"),
    ("unable to open", "it cannot be opened; mend its permissions, and those of its folder"),
    ("malformed", "the database file is damaged; put back a copy of it, or run `sqlite3 FILE .recover`"),
    ("not a database", "this file is no SQLite database; mend `ledger` in the config"),
    ("disk i/o error", "its disk returned an error, or is full; see the system's log"),
)


class Database:
    """An engine whose transactions raise nothing but ``HostError`` for the database's own troubles."""

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in one read transaction: a consistent view, and it blocks nobody."""
        with self._told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one write transaction: committed whole, or rolled back whole if anything raises."""
        with self._told(), self._writer.begin() as connection:
            yield connection

    def use_write_ahead_log(self) -> None:
        """Let SQLite's readers and one writer work at the same time; the file remembers it."""
        if self._engine.dialect.name == "sqlite":
            with self._told(), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode=WAL")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
            raise HostError(self.where, _reason(error)) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    return next((reason for sign, reason in _TROUBLES if sign in text.lower()), text)


def open_database(url: str) -> Database:
    """Open the database at ``url`` with its tables as this program wants them.

    Raises UserError where the url is wrong or the ledger is newer than this program, HostError where the database
    does not let itself be opened.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        engine = create_engine(parsed, isolation_level="READ COMMITTED", pool_pre_ping=True, max_overflow=-1)
        return _migrated(Database(engine, f"ledger {parsed.render_as_string(hide_password=True)}"))
    except exc.ArgumentError:  # an unknown dialect too; the url itself may hold a password, so it is not repeated
        raise UserError("ledger: this is no database url; write `sqlite:////folder/ledger.sqlite`") from None
    except ModuleNotFoundError as error:
        raise UserError(f"ledger: this url needs the Python package {error.name}; install it") from error


def _migrated(database: Database) -> Database:
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _open_sqlite(url: URL) -> Database:
    path = _checked_path(url.database)
    where = f"ledger {path}"
    if not path.exists():
        _make(url, path, where)
    return _migrated(Database(_sqlite_engine(url), where))


def _make(url: URL, path: Path, where: str) -> None:
    """Make a new ledger elsewhere and put it in its place whole: another process may be doing the same."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        new = Path(folder) / path.name
        _migrated(Database(_sqlite_engine(url.set(database=str(new))), where)).close()
        # No link: the other process was faster, or the file system has none, and the ledger is then made in its place.
        with suppress(OSError):
            os.link(new, path)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url.set(query={"timeout": str(BUSY_SECONDS), **url.query}), max_overflow=-1)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _checked_path(database: str | None) -> Path:
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
            raise HostError(f"ledger {path}", f"{place} cannot be written; mend its permissions")
    return path


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Set what holds for one connection; the driver's own guessing where transactions begin is switched off."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "PRAGMA foreign_keys=ON",
        "PRAGMA synchronous=FULL",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA cache_size=-65536",
    ):
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin; a writer takes the lock at once, for one that reads first and writes later can fail in the middle."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(database: Database) -> None:
    """Bring the tables to this program's form; looks first, so that opening waits for no writer."""
    with database.reading() as connection:
        found = _revision(connection, database.where)
    if found == HEAD:
        return
    database.use_write_ahead_log()
    with database.writing() as connection:  # another process may have done it meanwhile: look again, now under the lock
        if _revision(connection, database.where) != HEAD:
            _upgrade(connection)


def _revision(connection: Connection, where: str) -> str | None:
    """Return the revision of the tables, None for an empty database; raises UserError for what is not ours."""
    tables = inspect(connection).get_table_names()
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) if "alembic_version" in tables else None
    if found is None and tables:
        raise UserError(f"{where}: this database belongs to something else; name another in the config")
    if found is not None and found > HEAD:
        raise UserError(f"{where}: a newer papertape made it (revision {found}); install that version")
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  seldom needed, and slow to load
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
