"""The ledger logs in to a server; if it cannot, it says why in one sentence, without the password."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from papertape.errors import HostError, LedgerAway, UserError
from papertape.ledger import open_ledger
from servers import MariaDB, PostgreSQL

SECRET = "ge%%heim#1!'x"
USER = "guarded"


@pytest.fixture(scope="module")
def guarded_mariadb(mariadb: MariaDB) -> MariaDB:
    mariadb.create_user(USER, SECRET)
    return mariadb


@pytest.fixture(scope="module")
def guarded_postgresql(postgresql: PostgreSQL) -> PostgreSQL:
    postgresql.create_user(USER, SECRET)
    return postgresql


@pytest.fixture
def mysql_url(guarded_mariadb: MariaDB) -> Iterator[str]:
    with guarded_mariadb.database() as url:
        yield guarded_mariadb.url(make_url(url).database or "", USER)


@pytest.fixture
def postgresql_url(guarded_postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with guarded_postgresql.database() as url:
        yield guarded_postgresql.url(make_url(url).database or "", USER)


def write_option_file(folder: Path, password: str) -> str:
    path = folder / "my.cnf"
    path.write_text(f'[client]\npassword="{password}"\n')
    return f"&read_default_file={path}"


def write_pgpass(folder: Path, password: str) -> None:
    path = folder / "pgpass"
    path.write_text(f"*:*:*:{USER}:{password}\n")
    path.chmod(0o600)


def refusal(url: str, kind: type[Exception] = UserError) -> str:
    with pytest.raises(kind) as caught:
        open_ledger(url)
    said = str(caught.value)
    assert SECRET not in said
    assert "wrong-secret" not in said
    assert "\n" not in said
    return said


def test_the_password_comes_from_an_option_file(mysql_url: str, tmp_path: Path) -> None:
    open_ledger(mysql_url + write_option_file(tmp_path, SECRET)).close()


def test_the_password_comes_from_pgpass(postgresql_url: str, tmp_path: Path) -> None:
    write_pgpass(tmp_path, SECRET)
    open_ledger(postgresql_url).close()


def test_the_password_comes_from_the_environment(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    open_ledger(postgresql_url).close()


def test_a_wrong_password_is_reported(mysql_url: str, postgresql_url: str, tmp_path: Path) -> None:
    assert "refuses this user or the password" in refusal(mysql_url + write_option_file(tmp_path, "wrong-secret"))
    assert "refuses this user or the password" in refusal(mysql_url)
    assert "refuses this user or the password" in refusal(postgresql_url)
    write_pgpass(tmp_path, "wrong-secret")
    assert "refuses this user or the password" in refusal(postgresql_url)


def test_a_password_in_the_url_is_not_repeated(mysql_url: str, postgresql_url: str) -> None:
    for url in (mysql_url, postgresql_url):
        wrong = make_url(url).set(password="wrong-secret").render_as_string(hide_password=False)
        assert "refuses this user or the password" in refusal(wrong)


def test_a_missing_database_is_reported(mariadb: MariaDB, postgresql: PostgreSQL) -> None:
    for server in (mariadb, postgresql):
        assert "no such database; have it made" in refusal(server.url("nowhere"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such option file; make it, and write the password in [client]"),
        ("folder", "is a folder; name an option file"),
        ("", "is empty; write the password in [client]"),
        ("[mysqld]\npassword=x\n", "has no group [client]; write it above the password"),
        (f"password={SECRET}\n[client]\n", "line 1 is in no group; write [client] above it"),
        ("[client\npassword=x\n", "line 1 is not of the form [client]; correct it"),
        (f"[client]\npassword='{SECRET}\n", "line 2 has a quote that does not end"),
    ],
)
def test_a_wrong_option_file_is_reported(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "my.cnf"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    said = refusal(f"mysql+pymysql://user@/db?unix_socket={tmp_path}/none&read_default_file={path}")
    assert says in said
    assert str(path) in said


@pytest.mark.parametrize("scheme", ["mysql+pymysql://user@/db?unix_socket=", "postgresql+psycopg://user@/db?host="])
def test_an_absent_server_is_reported(tmp_path: Path, scheme: str) -> None:
    assert "the server is away, or cannot be reached" in refusal(f"{scheme}{tmp_path}/none", LedgerAway)


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_silent_server_is_reported_within_seconds(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        began = time.monotonic()
        said = refusal(f"{scheme}://user:{'wrong-secret'}@127.0.0.1:{port}/db?connect_timeout=2", HostError)
        assert time.monotonic() - began < 30
    assert "the server is away, or cannot be reached" in said
