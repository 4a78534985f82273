"""One database: connections, transactions, migrations, and its troubles as errors of one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Column, Connection, Engine, MetaData, String, Table, exc, inspect, make_url, select

from papertape.errors import UserError
from papertape.ledger.patience import Patience
from papertape.ledger.schema import METADATA
from papertape.ledger.troubles import translating_errors
from papertape.sql.databases import UNKNOWN, find_dialect
from papertape.sql.dialect import Dialect

P = ParamSpec("P")
T = TypeVar("T")

_MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0004"
"""The newest migration. It is written here so that a ledger which has it opens without alembic, which loads slowly."""


_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table; every writer locks its one row."""


class Database:
    """An engine whose transactions raise papertape's own errors, and no others, for troubles of the database.

    With ``patience`` a transaction is made again once the server is back, if it was away.
    """

    def __init__(
        self, engine: Engine, dialect: Dialect, url: URL, where: str, patience: Patience | None = None
    ) -> None:
        self.dialect = dialect
        self.where = where
        self._engine = engine
        self._url = url
        self._patience = patience
        # A reader sees one state, whatever others write meanwhile; a writer sees all that is committed by then.
        level = {"isolation_level": dialect.read_isolation} if dialect.read_isolation else {}
        self._reader = engine.execution_options(**level)
        self._writer = engine.execution_options(writes=True)

    def patient(self, patience: Patience | None) -> Database:
        """Return the same database with ``patience``, or with none."""
        return Database(self._engine, self.dialect, self._url, self.where, patience)

    def brief(self) -> Database:
        """Return the same database for a transaction that must not wait long, for others or for a server that is away.

        It has separate connections, closed after each transaction: waiting too long raises HostError, and no other
        thread waits with it.
        """
        return Database(self.dialect.open(self._url, brief=True), self.dialect, self._url, self.where)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in one read transaction, never made again: a consistent view, and it blocks nobody."""
        with translating_errors(self.where, self.dialect), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one write transaction: committed whole, or rolled back whole if anything raises.

        One transaction writes at a time, as with SQLite: all that it reads stays true until it is committed.
        """
        with translating_errors(self.where, self.dialect), self._writer.begin() as connection:
            self.dialect.take_turn(connection, select(_VERSION.c.version_num))
            yield connection

    def read(self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call ``work`` in a read transaction and return its result; with patience it may be called again."""

        def once() -> T:
            with self.reading() as connection:
                return work(connection, *arguments, **named)

        return once() if self._patience is None else self._patience.insist(once)

    def write(self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call ``work`` in a write transaction and return its result; with patience it may be called again."""

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

        If the server goes away in a commit, nobody knows whether the commit counts; ``done`` finds out afterwards.
        """
        attempts = count()

        def once(connection: Connection) -> None:
            # The question is asked under the same lock as the work, so that the answer stays true until the commit.
            if next(attempts) == 0 or not done(connection):
                work(connection, *arguments, **named)

        self.write(once)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Give a connection in one write transaction on tables that may not exist yet."""
        # Not ``writing``: its lock is a row of a table that the first migration makes.
        with translating_errors(self.where, self.dialect), self._writer.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Set the options that the database itself stores; once, before it has tables."""
        with translating_errors(self.where, self.dialect):
            self.dialect.prepare(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at ``url`` and bring its tables to this program's form.

    Raises UserError if the url is wrong or the ledger is newer than this program, HostError if the database cannot be
    opened.
    """
    try:
        parsed = make_url(url)
        dialect = find_dialect(parsed)
        dialect.make(parsed, lambda new: _open(new, dialect, parsed).close())
        return _open(parsed, dialect, parsed)
    except exc.ArgumentError:  # an unknown driver too; the url itself may hold a password, so it is not repeated
        raise UserError(UNKNOWN) from None
    except ModuleNotFoundError as error:
        raise UserError(f"ledger: this url needs the Python package {error.name}; install it") from error


def _open(url: URL, dialect: Dialect, named: URL) -> Database:
    """Return the database at ``url`` with its tables up to date; messages call it by the url ``named``."""
    database = Database(dialect.open(url), dialect, url, f"ledger {dialect.name(named)}")
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _migrate(database: Database) -> None:
    """Bring the tables to this program's form; reads first, so that opening waits for no writer."""
    with database.reading() as connection:
        found = _find_revision(connection, database)
    if found == HEAD:
        return
    database.prepare()
    from alembic import command  # noqa: PLC0415  rarely needed, and slow to load
    from alembic.config import Config  # noqa: PLC0415

    # Another process may have done it meanwhile: look again, now under the lock.
    with database.migrating() as connection, database.dialect.alone(connection):
        if _find_revision(connection, database) != HEAD:
            if _is_unfinished(connection, database):
                METADATA.drop_all(connection)  # nothing is in them
                _VERSION.drop(connection)
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            command.upgrade(config, "head")


def _find_revision(connection: Connection, database: Database) -> str | None:
    """Return the revision of the tables, None for an empty database; raises UserError if it is no ledger, or newer."""
    tables = inspect(connection).get_table_names()
    found = connection.scalar(select(_VERSION.c.version_num)) if _VERSION.name in tables else None
    if found is None and tables and not _is_unfinished(connection, database):
        raise UserError(f"{database.where}: this database belongs to something else; name another in the config")
    if found is not None and found > HEAD:
        raise UserError(f"{database.where}: a newer papertape made it (revision {found}); install that version")
    return found


def _is_unfinished(connection: Connection, database: Database) -> bool:
    """Whether all tables are a ledger's, and empty: a process died while it made them one after the other."""
    tables = inspect(connection).get_table_names()
    ours = {*METADATA.tables, _VERSION.name}
    # Where a rollback undoes CREATE TABLE, nothing half made can be left.
    if database.dialect.undoes_tables or _VERSION.name not in tables or not ours.issuperset(tables):
        return False
    there = [METADATA.tables[name] for name in tables if name in METADATA.tables]
    return not any(connection.execute(select(table.c[0]).limit(1)).first() for table in there)
