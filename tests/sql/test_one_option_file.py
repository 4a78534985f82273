"""One option file for both: the bridge and the ledger read the same password, and log in with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from papertape.bridges import Server
from papertape.errors import UserError
from papertape.ledger import open_ledger
from papertape.sql.optionfile import read_option_file
from servers import MariaDB

PASSWORDS = {
    '"  pa#ss  "': "  pa#ss  ",
    "'a\\'b' # why": "a'b",
    '"q\\"uo\\\\te"': 'q"uo\\te',
    "it's#1": "it's#1",
    "  bare\\sand\\tbent   # a comment": "bare and\tbent",
    "50%; of=it": "50%; of=it",
}
"""Passwords as they are written into the file, and what they are."""


@pytest.mark.parametrize("written", PASSWORDS)
def test_the_bridge_and_the_ledger_log_in_with_the_same_file(mariadb: MariaDB, tmp_path: Path, written: str) -> None:
    password = PASSWORDS[written]
    mariadb.create_user("shared", password)
    path = tmp_path / "lab.cnf"
    with mariadb.database() as url:
        database = make_url(url).database
        lines = ["[client]", "user = shared", f"password ={written}", f"socket={mariadb.folder}/socket"]
        path.write_text("\n".join([*lines, f"database={database}", ""]))
        path.chmod(0o600)
        found = read_option_file(path)
        assert found.credentials.password == password
        server = Server(found)
        with server.transaction() as connection:
            assert connection.scalar(text("SELECT current_user()")) == "shared@localhost"
        server.close()
        open_ledger(f"mysql+pymysql://?read_default_file={path}").close()
        open_ledger(f"mysql+pymysql://shared@/{database}?read_default_file={path}").close()


def test_a_password_that_a_comment_cuts_short_is_refused_with_the_reason(mariadb: MariaDB, tmp_path: Path) -> None:
    mariadb.create_user("shared", "pa#ss")
    path = tmp_path / "lab.cnf"
    path.write_text("[client]\npassword=pa#ss\n")
    with mariadb.database() as url, pytest.raises(UserError, match="refuses this user or the password") as caught:
        open_ledger(f"{make_url(url).set(username='shared')}&read_default_file={path}")
    assert f"{path}: line 2: what follows the `#` does not count; put the password in quotes" in str(caught.value)


def test_the_url_wins_over_the_option_file(mariadb: MariaDB, tmp_path: Path) -> None:
    mariadb.create_user("shared", "right")
    path = tmp_path / "lab.cnf"
    path.write_text("[client]\nuser=nobody\npassword=right\ndatabase=nowhere\n[other]\npassword=wrong\n")
    with mariadb.database() as url:
        named = make_url(url).set(username="shared")
        open_ledger(f"{named}&read_default_file={path}").close()
        with pytest.raises(UserError, match="refuses this user or the password"):
            open_ledger(f"{named}&read_default_file={path}&read_default_group=other")
