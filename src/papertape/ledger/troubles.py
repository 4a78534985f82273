"""The error for a trouble of the ledger's database: one sentence, without a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from papertape.errors import HostError, LedgerAway, PapertapeError, UserError
from papertape.sql.dialect import Dialect, Trouble, explain

_CONFIG = {
    Trouble.REFUSED: (
        "the server refuses this user or the password; correct the user in `ledger` and the file with the password"
    ),
    Trouble.ABSENT: (
        "the server has no such database; have it made (CREATE DATABASE), or correct `ledger` in the config"
    ),
    Trouble.FORBIDDEN: "the server does not let this user into this database; have all on it granted to the user",
}
"""Troubles that need another config or another grant."""
_FILE = {
    Trouble.BUSY: "another process has kept it locked for too long; run this again when that one is done",
    Trouble.FULL: "its disk is full; make room and run this again",
    Trouble.READ_ONLY: "it cannot be written; correct its permissions, and those of its folder",
    Trouble.CANNOT_OPEN: "it cannot be opened; correct its permissions, and those of its folder",
    Trouble.DAMAGED: "the database file is damaged; put back a copy of it, or run `sqlite3 FILE .recover`",
    Trouble.NO_DATABASE: "this file is no SQLite database; correct `ledger` in the config",
    Trouble.DISK_ERROR: "its disk returned an error, or is full; see the system's log",
}
_SERVER = {
    Trouble.BUSY: "another transaction has kept it locked for too long; run this again when that one is done",
    Trouble.FULL: "the server's disk is full; make room and run this again",
    Trouble.DENIED: "the server grants this user too little; grant all on this database, and on all in it",
}
_AWAY = {Trouble.AWAY, Trouble.UNREACHABLE, Trouble.NO_HOST}
"""Troubles that may be over after a while."""


@contextmanager
def translating_errors(where: str, dialect: Dialect) -> Iterator[None]:
    """Turn the database's errors in the block into HostError, LedgerAway or UserError; ``where`` names the database."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, dialect.driver_error) as error:
        raise _explain(where, dialect, error) from error


def _explain(where: str, dialect: Dialect, error: Exception) -> PapertapeError:
    """Return the error with the remedy for a trouble; LedgerAway if waiting may end it."""
    trouble, text = dialect.find_trouble(error), explain(error)
    if dialect.is_file:
        return HostError(where, _FILE.get(trouble, text) if trouble else text)
    if trouble in _CONFIG:
        notes = getattr(getattr(error, "orig", None), "__notes__", ())
        return UserError("; ".join((f"{where}: {_CONFIG[trouble]}", *notes)))
    if trouble in _SERVER:
        return HostError(where, _SERVER[trouble])
    # Not every driver has a code for a lost connection, but SQLAlchemy marks the connection as unusable.
    if trouble in _AWAY or getattr(error, "connection_invalidated", False):
        return LedgerAway(where, f"the server is away, or cannot be reached ({text})")
    return HostError(where, text)
