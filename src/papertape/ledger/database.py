"""One database: connections, transactions, migrations, and its troubles told in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from papertape.errors import HostError, UserError
from papertape.ledger.patience import Patience
from papertape.ledger.server import (
    BRIEF_SECONDS,
    BUSY_SECONDS,
    alone,
    clear_unfinished,
    is_unfinished,
    make_server_engine,
    name_server,
    take_turn,
)
from papertape.sql.troubles import telling

P = ParamSpec("P")
T = TypeVar("T")

_MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0004"
"""The newest migration: with it written down, a ledger that has it opens without alembic, which takes a while to load.
"""


class Database:
    """An engine whose transactions raise nothing but papertape's own errors for the database's troubles.

    With ``patience`` a transaction for which the server is away is made again once it is back.
    """

    def __init__(self, engine: Engine, where: str, patience: Patience | None = None) -> None:
        self.where = where
        self._engine = engine
        self._patience = patience
        # What is read hangs together, whatever others write meanwhile; who writes sees all that is committed by then.
        level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = engine.execution_options(**level)
        self._writer = engine.execution_options(writes=True)

    def patient(self, patience: Patience | None) -> Database:
        """Return the same database with that patience, or with none."""
        return Database(self._engine, self.where, patience)

    def brief(self) -> Database:
        """Return the same database for a transaction that must not wait long for others, nor for a server that is away.

        It has connections of its own, closed after each transaction: waiting too long raises HostError, and nothing
        that another thread does here waits with it.
        """
        make = _sqlite_engine if self._engine.dialect.name == "sqlite" else make_server_engine
        return Database(make(self._engine.url, brief=True), self.where)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in one read transaction, never made again: a consistent view, and it blocks nobody."""
        with telling(self.where), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one write transaction: committed whole, or rolled back whole if anything raises.

        One writes at a time, as with SQLite: what is read in the transaction is true until it is committed.
        """
        with telling(self.where), self._writer.begin() as connection:
            take_turn(connection)
            yield connection

    def read(self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return what ``work`` comes to in a read transaction; with patience it may be called again."""

        def once() -> T:
            with self.reading() as connection:
                return work(connection, *arguments, **named)

        return once() if self._patience is None else self._patience.insist(once)

    def write(self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return what ``work`` comes to in a write transaction; with patience it may be called again."""

        def once() -> T:
            with self.writing() as connection:
                return work(connection, *arguments, **named)

        return once() if self._patience is None else self._patience.insist(once)

    def step(
        self,
        done: Callable[[Connection], bool],
        work: Callable[Concatenate[Connection, P], object],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> None:
        """Do ``work``, which must not be done twice, in a write transaction.

        Where the server goes away in a commit nobody knows whether it counts: ``done`` tells, once it is back.
        """
        attempts = count()

        def once(connection: Connection) -> None:
            if next(attempts) == 0 or not done(connection):
                work(connection, *arguments, **named)

        self.write(once)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection in one write transaction on tables that may not be there yet."""
        with telling(self.where), self._writer.begin() as connection:
            yield connection

    def use_write_ahead_log(self) -> None:
        """Let SQLite's readers and one writer work at the same time; the file remembers it."""
        if self._engine.dialect.name == "sqlite":
            with telling(self.where), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode=WAL")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at ``url`` with its tables as this program wants them.

    Raises UserError where the url is wrong or the ledger is newer than this program, HostError where the database
    does not let itself be opened.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        return _migrated(Database(make_server_engine(parsed), f"ledger {name_server(parsed)}"))
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


def _sqlite_engine(url: URL, *, brief: bool = False) -> Engine:
    seconds = {"timeout": str(BUSY_SECONDS), **url.query, **({"timeout": str(BRIEF_SECONDS)} if brief else {})}
    pool: dict[str, Any] = {"poolclass": NullPool} if brief else {"max_overflow": -1}
    engine = create_engine(url.set(query=seconds), **pool)
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
    # Another process may have done it meanwhile: look again, now under the lock.
    with database.migrating() as connection, alone(connection):
        if _revision(connection, database.where) != HEAD:
            clear_unfinished(connection)
            _upgrade(connection)


def _revision(connection: Connection, where: str) -> str | None:
    """Return the revision of the tables, None for an empty database; raises UserError for what is not ours."""
    tables = inspect(connection).get_table_names()
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) if "alembic_version" in tables else None
    if found is None and tables and not is_unfinished(connection, tables):
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
