"""Troubles are known by their codes: a server that writes German is understood as well as one that writes English."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from papertape.errors import LedgerAway, PapertapeError, UserError
from papertape.ledger import open_ledger
from servers import MariaDB, PostgreSQL, Server, run_server
from sql.german import CONNECTIONS, GermanMariaDB, GermanPostgreSQL

USER = "guarded"
KINDS: dict[str, type[Server]] = {
    "German PostgreSQL": GermanPostgreSQL,
    "German MariaDB": GermanMariaDB,
}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with run_server(KINDS[request.param]) as started:
        started.create_user(USER, "right")
        yield started


def with_password(url: str, password: str) -> str:
    return make_url(url).set(username=USER, password=password).render_as_string(hide_password=False)


def said_by(error: PapertapeError) -> str:
    """What the driver said, which the sentence may not repeat."""
    return str(error.__cause__)


def test_a_wrong_password_is_refused(server: Server) -> None:
    with server.database() as url:
        open_ledger(with_password(url, "right")).close()
        with pytest.raises(UserError, match="the server refuses this user or the password") as caught:
            open_ledger(with_password(url, "wrong"))
    assert "fehlgeschlagen" in said_by(caught.value) or "keine Zugriffsberechtigung" in said_by(caught.value)


def test_a_user_that_does_not_exist_is_refused(server: Server) -> None:
    with server.database() as url, pytest.raises(UserError, match="the server refuses this user or the password"):
        open_ledger(make_url(url).set(username="missing", password="x").render_as_string(hide_password=False))


def test_a_database_that_does_not_exist_is_named_as_the_trouble(server: Server) -> None:
    for url in (server.url("nowhere"), with_password(server.url("nowhere"), "right")):
        with pytest.raises(UserError, match=r"the server has no such database; have it made") as caught:
            open_ledger(url)
    assert "existiert nicht" in said_by(caught.value) or "Unbekannte Datenbank" in said_by(caught.value)


def test_a_database_that_is_closed_to_the_user_is_named_as_the_trouble(server: Server) -> None:
    own = "postgres" if isinstance(server, PostgreSQL) else "mysql"
    if isinstance(server, MariaDB):
        server.execute("CREATE USER outsider@localhost IDENTIFIED BY 'right'")
    else:
        server.execute(f"REVOKE CONNECT ON DATABASE {own} FROM PUBLIC", "CREATE USER outsider PASSWORD 'right'")
    url = make_url(server.url(own)).set(username="outsider", password="right")
    with pytest.raises(UserError, match="does not let this user into this database"):
        open_ledger(url.render_as_string(hide_password=False))


def test_a_server_with_too_many_connections_is_away_for_a_while(server: Server) -> None:
    engine = create_engine(server.url("postgres" if isinstance(server, PostgreSQL) else "mysql"), poolclass=NullPool)
    with server.database() as url:
        connections = []
        with suppress(Exception):
            while len(connections) <= CONNECTIONS + 1:  # MariaDB keeps one for its administrator
                connections.append(engine.connect())
        try:
            assert len(connections) <= CONNECTIONS + 1
            with pytest.raises(LedgerAway, match="the server is away, or cannot be reached"):
                open_ledger(with_password(url, "right"))
        finally:
            for connection in connections:
                connection.close()


def test_a_server_that_stopped_is_away(server: Server) -> None:
    with server.database() as url:
        ledger = open_ledger(with_password(url, "right"))
        server.kill()
        try:
            with pytest.raises(LedgerAway, match="the server is away, or cannot be reached"):
                ledger.status()
            with pytest.raises(LedgerAway, match="the server is away, or cannot be reached"):
                open_ledger(with_password(url, "right"))
        finally:
            server.start()
        assert ledger.status().datasets["waiting"] == 0
        ledger.close()


def test_psycopg_without_its_own_libpq_gives_the_same_codes() -> None:
    """Its other implementation takes the system's libpq."""
    program = """
import sys
from papertape.errors import UserError
from papertape.ledger import open_ledger
import psycopg
assert psycopg.pq.__impl__ == "python"
try:
    open_ledger(sys.argv[1])
except UserError as error:
    print(error)
"""
    environment = {**os.environ, "PSYCOPG_IMPL": "python"}
    probe = subprocess.run([sys.executable, "-c", "import psycopg"], env=environment, check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("no libpq: apt-get install libpq5")
    with run_server(GermanPostgreSQL) as server:
        server.create_user(USER, "right")
        command = [sys.executable, "-c", program, with_password(server.url("postgres"), "wrong")]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "the server refuses this user or the password" in done.stdout
