"""PostgreSQL, by psycopg.

psycopg gives the SQLSTATE of an error in a statement, but not of one in connecting: libpq has it, and shows it in its
message only if its verbosity says so. Without it a server that writes German refuses a password in words that nobody
here can read. So a connection that failed is tried once more, with that verbosity, for the code alone.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, exc, func, literal_column
from sqlalchemy import Dialect as SQLAlchemyDialect
from sqlalchemy import select as select_
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from papertape.sql.dialect import CONNECT_SECONDS, IDLE_SECONDS, Dialect, SpanSearch, Trouble, wait_seconds

_LOCK = 0x7061706572
"""The advisory lock of those who make or change tables; any number will do that no other program has."""
_CODE_ONLY = 3
"""libpq's ``PQERRORS_SQLSTATE``, since PostgreSQL 12; an earlier one takes it for the default."""
_CODE = re.compile(r":\s+([0-9A-Z]{5})$", re.MULTILINE)
_NOT_CONNECTED = "08001"
"""sqlclient_unable_to_establish_sqlconnection: stands in for a code if connecting fails before the server gives one."""

_TROUBLES = {
    "28000": Trouble.REFUSED,  # invalid_authorization_specification: no such role, or no line in pg_hba.conf
    "28P01": Trouble.REFUSED,  # invalid_password
    "3D000": Trouble.ABSENT,  # invalid_catalog_name
    "42501": Trouble.DENIED,  # insufficient_privilege
    "42P01": Trouble.NO_TABLE,  # undefined_table
    "53100": Trouble.FULL,  # disk_full
    "53300": Trouble.AWAY,  # too_many_connections
    "55P03": Trouble.BUSY,  # lock_not_available
    "57P01": Trouble.AWAY,  # admin_shutdown
    "57P02": Trouble.AWAY,  # crash_shutdown
    "57P03": Trouble.AWAY,  # cannot_connect_now: it starts up, or shuts down
    "57P05": Trouble.AWAY,  # idle_session_timeout
    "25P03": Trouble.AWAY,  # idle_in_transaction_session_timeout, after which the server hangs up
}
"""SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html."""


class PostgreSQL(Dialect):
    """See ``Dialect``."""

    # It reads all rows for many spans while nobody has told it how many there are, but not for one after the other.
    span_search = SpanSearch.EACH

    def open(self, url: URL, *, brief: bool = False) -> Engine:
        """See ``Dialect.open``."""
        seconds = wait_seconds(brief=brief)
        pool: dict[str, Any] = {"poolclass": NullPool} if brief else {"pool_pre_ping": True, "max_overflow": -1}
        arguments = {
            "connect_timeout": CONNECT_SECONDS,
            "options": f"-c lock_timeout={seconds}s -c client_encoding=UTF8",
            "keepalives_idle": 60,
            "keepalives_interval": 10,
            "keepalives_count": 6,
            "tcp_user_timeout": 120_000,
        }
        engine = create_engine(
            url,
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            **pool,
        )
        event.listen(engine, "do_connect", _connect)
        return engine

    def take_turn(self, connection: Connection, turnstile: Select[Any]) -> None:
        """See ``Dialect.take_turn``."""
        # True: for this transaction alone, as SET LOCAL does it.
        patience = func.set_config("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s", True)
        connection.execute(select_(patience))
        connection.execute(turnstile.with_for_update())

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """See ``Dialect.alone``."""
        connection.execute(select_(func.pg_advisory_xact_lock(literal_column(str(_LOCK)))))
        yield

    def find_trouble(self, error: BaseException) -> Trouble | None:
        """See ``Dialect.find_trouble``."""
        code: str = getattr(getattr(error, "orig", None) or error, "sqlstate", None) or ""
        if code == "42501" and isinstance(error, exc.OperationalError):  # in connecting; in a statement it is another
            return Trouble.FORBIDDEN
        return Trouble.AWAY if code.startswith("08") else _TROUBLES.get(code)  # 08: connection_exception


def _connect(
    dialect: SQLAlchemyDialect, _entry: ConnectionPoolEntry, arguments: tuple[Any, ...], named: dict[str, Any]
) -> DBAPIConnection:
    """Connect; an error always has a SQLSTATE. Made for SQLAlchemy's event ``do_connect``."""
    try:
        return dialect.connect(*arguments, **named)
    except dialect.loaded_dbapi.OperationalError as error:
        refused: Any = error
        if refused.sqlstate is None and refused.pgconn is not None:  # None: it was not heard of before the timeout
            refused.sqlstate = "28P01" if refused.pgconn.needs_password else _ask_code(named)
        refused.sqlstate = refused.sqlstate or _NOT_CONNECTED
        raise


def _ask_code(named: dict[str, Any]) -> str | None:
    """Return the SQLSTATE with which a server refuses a connection; None if it gives none, or does not refuse."""
    from psycopg import conninfo, pq  # noqa: PLC0415  optional, and here it has been loaded before

    settings = {name: value for name, value in named.items() if name != "context"}  # that one is psycopg's, not libpq's
    try:
        # psycopg has no name for this function of libpq. The library is loaded: its address is all that is looked up.
        module = sys.modules[pq.PGconn.__module__].__file__
        library = ctypes.CDLL(ctypes.util.find_library("pq") if pq.__impl__ == "python" else module)
        set_verbosity = library.PQsetErrorVerbosity
    except (OSError, AttributeError):
        return None
    set_verbosity.argtypes, set_verbosity.restype = (ctypes.c_void_p, ctypes.c_int), ctypes.c_int
    deadline = time.monotonic() + CONNECT_SECONDS
    connection: Any = pq.PGconn.connect_start(conninfo.make_conninfo(**settings).encode())
    try:
        set_verbosity(connection.pgconn_ptr, _CODE_ONLY)
        while connection.status != pq.ConnStatus.BAD and (left := deadline - time.monotonic()) > 0:
            status = connection.connect_poll()
            if status in {pq.PollingStatus.OK, pq.PollingStatus.FAILED}:
                break
            waits = [connection.socket]
            reads = status == pq.PollingStatus.READING
            select.select(waits if reads else [], [] if reads else waits, [], left)
        found = _CODE.search(connection.get_error_message())
    finally:
        connection.finish()
    return found[1] if found else None
