"""The database's own troubles, told in one sentence without a password."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from papertape.errors import HostError, LedgerAway, PapertapeError, UserError

_FILE = (
    ("database is locked", "another process has kept it locked for too long; run this again when that one is done"),
    ("disk is full", "its disk is full; make room and run this again"),
    ("readonly database", "it cannot be written; mend its permissions, and those of its folder"),
    ("unable to open", "it cannot be opened; mend its permissions, and those of its folder"),
    ("malformed", "the database file is damaged; put back a copy of it, or run `sqlite3 FILE .recover`"),
    ("not a database", "this file is no SQLite database; mend `ledger` in the config"),
    ("disk i/o error", "its disk returned an error, or is full; see the system's log"),
)
_BUSY = "another transaction has kept it locked for too long; run this again when that one is done"
_SERVER = (
    ("lock wait timeout", _BUSY),
    ("lock timeout", _BUSY),
    ("no space left", "the server's disk is full; make room and run this again"),
    ("is full", "the server's disk is full; make room and run this again"),
    ("permission denied", "the server grants this user too little; grant all on this database, and on all in it"),
    ("command denied", "the server grants this user too little; grant all on this database, and on all in it"),
)
_REFUSED = "the server refuses this user or the password; mend the user in `ledger` and the file with the password"
_ABSENT = "the server has no such database; have it made (CREATE DATABASE), or mend `ledger` in the config"
_WRONG = (
    ("to database", "the server does not let this user into this database; have all on it granted to the user"),
    ("access denied", _REFUSED),
    ("authentication failed", _REFUSED),
    ("no password supplied", _REFUSED),
    ("no pg_hba.conf entry", _REFUSED),
    ('role "', _REFUSED),
    ("unknown database", _ABSENT),
    ('database "', _ABSENT),
)
"""What only a mended config helps against, in the order in which they are looked for."""
_AWAY = (
    "can't connect",
    "lost connection",
    "server has gone away",
    "connection refused",
    "connection failed",
    "connection to server",
    "connection timeout",
    "timeout expired",
    "no such file or directory",
    "could not translate host name",
    "name or service not known",
    "failed to resolve host",
    "starting up",
    "shutting down",
    "shutdown in progress",
    "in recovery mode",
    "closed the connection",
    "the connection is closed",
    "connection is lost",
    "terminating connection",
    "too many connections",
    "too many clients",
)


@contextmanager
def telling(where: str) -> Iterator[None]:
    """Turn what the database raises in the block into HostError, LedgerAway or UserError; ``where`` names it."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        raise _explain(where, error) from error


def _explain(where: str, error: Exception) -> PapertapeError:
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    if isinstance(getattr(error, "orig", error), sqlite3.Error):
        return HostError(where, _find(_FILE, text) or text)
    if isinstance(error, exc.OperationalError) and (wrong := _find(_WRONG, text)):
        return UserError(f"{where}: {wrong}")
    if getattr(error, "connection_invalidated", False) or any(sign in text.lower() for sign in _AWAY):
        return LedgerAway(where, f"the server is away, or cannot be reached ({text})")
    return HostError(where, _find(_SERVER, text) or text)


def _find(troubles: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((reason for sign, reason in troubles if sign in text.lower()), None)
