"""The command line with the ledger on a server: begun, used by two hosts, away, and with a password to keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Server

from .operatorlab import Lab, make_sources

SMALL = ("--slots", "4", "--capacity", "64MiB", "--ring", "8MiB")


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with server.database() as made:
        yield made


def test_two_hosts_have_one_ledger(url: str, tmp_path: Path) -> None:
    labs = [Lab(tmp_path / name) for name in ("pot1", "pot2")]
    for lab, number in zip(labs, (1, 2), strict=True):
        lab.folder.mkdir()
        prefixes = [word for copy in (1, 2) for word in ("--prefix", f"P{number}C{copy}")]
        lab.ok("init", ".", "--ledger", url, *SMALL, *prefixes)
        assert not lab.ledger.exists()
        lab.configure(host=f'"{lab.folder.name}"')
        lab.ok("add", *make_sources(lab, 2, 100_000))
    for lab in labs:
        lab.ok("dump")
    statuses = [lab.json("status") for lab in labs]
    assert statuses[0] == statuses[1]
    assert statuses[0]["datasets"]["archived"] == 4
    assert all("verified" in lab.ok("find", "*") for lab in labs)


def test_volumes_that_are_known_are_not_registered_again(url: str, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.ok("init", "first", "--ledger", url, *SMALL)
    ran = lab.run("init", "second", "--ledger", url, *SMALL)
    assert ran.code == 2
    assert "PAPR1001 is registered already" in ran.error
    assert not (tmp_path / "second").exists()


def test_a_server_that_is_away_is_one_sentence(server: Server, url: str, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.ok("init", ".", "--ledger", url, *SMALL)
    server.kill()
    try:
        rans = [lab.run(*words) for words in (["status"], ["dump"], ["recover"], ["add", str(tmp_path)])]
    finally:
        server.start()
    assert [ran.code for ran in rans] == [1] * 4
    assert all("the server is away, or cannot be reached" in ran.error for ran in rans)
    assert lab.run("dump").code == 3
