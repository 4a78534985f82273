"""A ledger on PostgreSQL, MariaDB or MySQL: how to connect, and how those who write take turns.

All that SQLite does by itself is asked for here, so that the rest of the ledger need not know where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from configparser import Error, RawConfigParser
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from papertape.errors import UserError
from papertape.ledger.schema import METADATA
from papertape.sql.rows import MYSQL, connect_socket

BUSY_SECONDS = 300
"""How long a transaction waits for another: longer than the largest takes; SQLite's ``?timeout=5`` says otherwise."""
BRIEF_SECONDS = 5
"""How long a transaction waits for another that must not be waited for: a heartbeat."""
CONNECT_SECONDS = 10
"""How long to wait for a server that does not answer; ``?connect_timeout=60`` says otherwise."""
IDLE_SECONDS = 600
"""How long a server keeps the transaction of a host that was cut off, and with it everybody else's turn."""
_LOCK = 0x7061706572


def make_server_engine(url: URL, *, brief: bool = False) -> Engine:
    """Return the engine for a ledger on a server; raises UserError for an option file that cannot be used.

    With ``brief`` its transactions wait ``BRIEF_SECONDS`` for others at most, and no connection is kept.
    """
    mysql = url.get_backend_name() in MYSQL
    if mysql:
        _check_option_file(url)
    arguments = _mysql_arguments(brief=brief) if mysql else _postgresql_arguments(brief=brief)
    pool: dict[str, Any] = {"poolclass": NullPool} if brief else {"pool_pre_ping": True, "max_overflow": -1}
    given = {name: value for name, value in arguments.items() if name not in url.query}
    engine = create_engine(
        url,
        connect_args=given,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        **pool,
    )
    if mysql and isinstance(path := url.query.get("unix_socket"), str):
        event.listen(engine, "do_connect", partial(connect_socket, path, CONNECT_SECONDS))
    if mysql and "read_timeout" in given:
        event.listen(engine, "connect", partial(_allow_long_answers, 2 * (BRIEF_SECONDS if brief else BUSY_SECONDS)))
    return engine


def name_server(url: URL) -> str:
    """Return how to call a ledger on a server in a sentence: without its password, and without options."""
    return url.set(password=None, query={}).render_as_string()


def _mysql_arguments(*, brief: bool) -> dict[str, Any]:
    seconds = BRIEF_SECONDS if brief else BUSY_SECONDS
    session = {
        "innodb_lock_wait_timeout": seconds,
        **({"lock_wait_timeout": seconds} if brief else {}),  # for a table that is locked (LOCK TABLES, ALTER TABLE)
        "net_write_timeout": 3600,  # a plan may take its time over the rows that it gets
        "wait_timeout": IDLE_SECONDS,
    }
    settings = ", ".join(f"SESSION {name} = {value}" for name, value in session.items())
    return {
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": CONNECT_SECONDS,  # for the greeting, which the driver's connect_timeout does not cover
        "write_timeout": 2 * seconds,
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",  # nothing is cut off to make it fit
        "init_command": f"SET {settings}",
    }


def _allow_long_answers(seconds: int, connection: Any, _entry: ConnectionPoolEntry) -> None:
    """Once connected, wait for an answer for as long as a lock may take; a host that vanished says nothing more."""
    connection._read_timeout = seconds  # the driver has no other way to change it


def _postgresql_arguments(*, brief: bool) -> dict[str, Any]:
    session = {
        "lock_timeout": f"{BRIEF_SECONDS if brief else BUSY_SECONDS}s",
        "client_encoding": "UTF8",
    }
    return {
        "connect_timeout": CONNECT_SECONDS,
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 6,
        "tcp_user_timeout": 120_000,
    }


def _check_option_file(url: URL) -> None:
    """Look at the option file that the url names: the driver passes over one that is not there, without a word."""
    named = url.query.get("read_default_file")
    if not isinstance(named, str):
        return
    group = str(url.query.get("read_default_group", "client"))
    where = f"ledger: the option file {named}"
    options = RawConfigParser(allow_no_value=True)
    try:
        options.read_string(Path(named).expanduser().read_text())
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror}); mend the path or its rights") from None
    except (Error, UnicodeDecodeError):  # what the parser says repeats the line, and with it the password
        raise UserError(f"{where} has not the form of one; write [client], and below it password=...") from None
    if not options.has_section(group):
        raise UserError(f"{where} has no section [{group}]; write it above the password")


def take_turn(connection: Connection) -> None:
    """Wait until no other transaction writes to a ledger on a server; it is over with this transaction."""
    if connection.dialect.name == "sqlite":
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"))
    connection.execute(text("SELECT version_num FROM alembic_version FOR UPDATE"))


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Have nobody else make or change tables meanwhile, where a transaction alone does not see to that."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    if connection.dialect.name not in MYSQL:
        yield
        return
    name = "concat('papertape ', left(sha1(database()), 32))"
    connection.execute(text(f"SELECT GET_LOCK({name}, {BUSY_SECONDS})"))
    try:
        yield
    finally:
        with _unless_away():
            connection.execute(text(f"SELECT RELEASE_LOCK({name})"))


@contextmanager
def _unless_away() -> Iterator[None]:
    """Let the lock go with the connection, if that is what happened."""
    try:
        yield
    except SQLAlchemyError:
        return


def is_unfinished(connection: Connection, tables: list[str]) -> bool:
    """Whether the tables are a ledger's that was never made to its end: MySQL makes one after the other."""
    ours = {*METADATA.tables, "alembic_version"}
    if connection.dialect.name not in MYSQL or "alembic_version" not in tables or not ours.issuperset(tables):
        return False
    return not any(
        connection.execute(select(METADATA.tables[name].c[0]).limit(1)).first()
        for name in tables
        if name in METADATA.tables
    )


def clear_unfinished(connection: Connection) -> None:
    """Remove such tables: nothing is in them."""
    tables = inspect(connection).get_table_names()
    if is_unfinished(connection, tables):
        METADATA.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
