"""The servers that other tests work with: that they come back after a crash, and that none is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from servers import DEMANDED, MariaDB, PostgreSQL, Server, await_end, run_server

KINDS = {"mariadb": MariaDB, "postgresql": PostgreSQL}


@pytest.fixture(params=sorted(KINDS))
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def test_committed_data_outlive_a_crash(server: Server) -> None:
    with server.database() as url:
        run(url, "CREATE TABLE kept (number INTEGER)")
        run(url, "INSERT INTO kept VALUES (7)")
        server.kill()
        server.start()
        assert run(url, "SELECT number FROM kept") == [(7,)]


def test_databases_have_nothing_in_common(server: Server) -> None:
    with server.database() as first, server.database() as second:
        run(first, "CREATE TABLE mine (number INTEGER)")
        run(second, "CREATE TABLE mine (number INTEGER)")
        assert first != second


HOLDER = """
import sys, time
from servers import MariaDB, PostgreSQL, run_server
with run_server(globals()[sys.argv[1]]) as server:
    print(server._process.pid, server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def leftover() -> Iterator[list[Path]]:
    folders: list[Path] = []
    yield folders
    for folder in folders:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_a_server_does_not_outlive_who_started_it(server: Server, leftover: list[Path]) -> None:
    command = [sys.executable, "-c", HOLDER, type(server).__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="tests") as holder:
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        leftover.append(Path(folder))
        holder.kill()
    await_end(int(pid))


def test_missing_parts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MariaDB, "programs", ("mariadbd", "no-such-program"))
    monkeypatch.delenv(DEMANDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no no-such-program: apt-get install mariadb-server"):
        run_server(MariaDB).__enter__()
    monkeypatch.setenv(DEMANDED, "required")
    with pytest.raises(pytest.fail.Exception, match="no no-such-program"):
        run_server(MariaDB).__enter__()
