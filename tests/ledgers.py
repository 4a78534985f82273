"""Where the ledgers of the tests' labs lie: each in a file of its lab's folder, or each in a database on one server.

``make test LEDGER=mariadb`` (or ``postgresql``) has them on a server. The tests in ``ledger/`` are on every one of them
in any case, and know nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, NullPool, create_engine, make_url, text

from papertape.ledger import open_ledger
from servers import MariaDB, PostgreSQL, Server

VARIABLE = "PAPERTAPE_LEDGER"
SQLITE = "sqlite"
KINDS: dict[str, type[Server]] = {"mariadb": MariaDB, "postgresql": PostgreSQL}
KIND = os.environ.get(VARIABLE) or SQLITE
if KIND != SQLITE and KIND not in KINDS:
    raise pytest.UsageError(f"{VARIABLE}={KIND}: the ledger can be on {SQLITE}, {', '.join(KINDS)}")

in_a_file = pytest.mark.skipif(KIND != SQLITE, reason="about a ledger in a file")
"""Marks a test of what can befall the file that a ledger is in."""

_EMPTY = "empty_ledger"
"""A database with a ledger's tables and nothing in them, to be copied: that is quicker than to migrate."""


class _Servers:
    """The server of this process, if there is one, and the databases on it."""

    def __init__(self) -> None:
        self.one: Server | None = None
        self.made: list[str] = []
        self.numbers = count(1)


_servers = _Servers()


@contextmanager
def ledgers_on(server: Server) -> Iterator[None]:
    """Have all new ledgers of the block on that server."""
    _servers.one = server
    open_ledger(server.create(_EMPTY)).close()
    yield
    _servers.one = None


@contextmanager
def passing_ledgers() -> Iterator[None]:
    """Remove, in the end, the databases of the ledgers that were made in the block."""
    before = len(_servers.made)
    yield
    server = _servers.one
    for name in _servers.made[before:]:
        assert server is not None
        server.drop(name)
    del _servers.made[before:]


def new_ledger(folder: Path) -> str:
    """Return where a new ledger is to be, the url of a file in ``folder`` or of an empty one on the server."""
    return _take_copy(_EMPTY, folder)


def copy_ledger(url: str, folder: Path) -> str:
    """Return where a copy of a ledger is that nobody has open; ``folder`` is the copy of the folder that it was in."""
    return _take_copy(make_url(url).database or "", folder)


def _take_copy(database: str, folder: Path) -> str:
    server = _servers.one
    if server is None:
        return f"sqlite:///{folder}/ledger.sqlite"
    name = f"ledger{next(_servers.numbers)}"
    _servers.made.append(name)
    server.copy(database, name)
    return server.url(name)


def lose_ledger(url: str) -> None:
    """Take away all that is in a ledger."""
    database = make_url(url).database
    assert database
    if make_url(url).get_backend_name() == SQLITE:
        path = Path(database)
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
    else:
        assert _servers.one is not None
        _servers.one.drop(database)
        _servers.one.copy(_EMPTY, database)


@contextmanager
def behind_its_back(url: str) -> Iterator[Connection]:
    """Give a connection to the database of a ledger, in one transaction."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def ask(url: str, query: str | Executable, **values: Any) -> list[tuple[Any, ...]]:
    """Ask the database of a ledger itself."""
    with behind_its_back(url) as connection:
        result: Any = connection.execute(text(query) if isinstance(query, str) else query, values)
        return [tuple(row) for row in result]
