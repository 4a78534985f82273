"""Option files: MySQL's own syntax, and one sentence for each way in which one will not do."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.labdatabase import read
from papertape.bridges import read_option_file
from papertape.errors import UserError

REST = "user=obs\nhost=db\ndatabase=paperdata\n"
GOOD = f"[client]\npassword=secret\n{REST}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.cnf"


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("password=plain", "plain"),
        ("password = plain ", "plain"),
        ("password=50%", "50%"),
        ('password="a#b"', "a#b"),
        ("password='a#b' # why", "a#b"),
        ('password="it\'s"', "it's"),
        (r'password="a\"b\\c"', r'a"b\c'),
        (r"password=tab\there\sand", "tab\there and"),
        ("password=a # comment", "a"),
        ("password=a=b;c", "a=b;c"),
        ('password="blanks  "', "blanks  "),
        ("password=grün", "grün"),
        ("password=it's#1", "it's#1"),
        ("password='a'b'", "a'b"),
        (r'password="a\"#b"', 'a"#b'),
        ("password=a\\", "a\\"),
        (r"password=\q\'", r"\q'"),
        ("password=\u2003wide\u2003", "\u2003wide\u2003"),
        ("password=one\npassword=two", "two"),
    ],
)
def test_a_password_is_what_mysql_takes_it_for(path: Path, line: str, password: str) -> None:
    found = read(path, f"# head\n[client]\n{line}\n{REST}; tail\n[mysqldump]\nquick\n")
    assert found.credentials.password == password
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", r"is empty; write user, password, host and database in \[client\]"),
        (" \n", "is empty"),
        ("user=obs\n", "line 1 is in no group"),
        ("[client\nuser=obs\n", "line 1 is not of the form"),
        ("[client]\nuser=obs\n", "lacks password, host and database; add it"),
        ("[client]\npassword=\n" + REST, "lacks password"),
        ("[client]\npassword='abc\n" + REST, "line 2 has a quote that does not end"),
        ("[client]\npassword='abc'def\n" + REST, "line 2 has a quote that does not end, or something after it"),
        ("[client]\n=hidden\n" + REST, "line 2 is not of the form"),
        ("!includedir /etc/mysql\n" + GOOD, "line 1 includes another file"),
        (GOOD + "port=http\n", "line 6: the port is no number"),
        (GOOD + "port=65536\n", "the port is no number"),
        (b"[client]\npassword=\xff\n", "not text in UTF-8"),
        (b"x" * 70_000, "more than 65536 bytes"),
        ("[mysql]\nuser=obs\n", r"has no group \[client\]; write it above the password"),
    ],
)
def test_an_option_file_that_will_not_do_is_refused_in_one_sentence(
    path: Path, content: str | bytes, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read(path, content)
    assert str(path) in str(caught.value)
    assert "abc" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_path_that_is_no_file_is_reported(path: Path) -> None:
    with pytest.raises(UserError, match="no such option file"):
        read_option_file(path)
    with pytest.raises(UserError, match="is a folder"):
        read_option_file(path.parent)
    os.mkfifo(path)
    with pytest.raises(UserError, match="is no file"):
        read_option_file(path)


def test_a_file_without_rights_is_said(path: Path) -> None:
    path.write_text(GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(UserError, match="cannot be read"):
        read_option_file(path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_others_must_not_read_it(path: Path, mode: int) -> None:
    assert read(path, GOOD, mode=mode).warnings == (
        f"{path}: others than its owner may read it; run `chmod 600 {path}`",
    )
    with pytest.raises(UserError, match="others than its owner may read it"):
        read(path, GOOD, mode=mode, strict=True)
    assert read(path, GOOD, strict=True).warnings == ()


def test_a_password_that_a_comment_cuts_off_is_warned_of(path: Path) -> None:
    found = read(path, f"[client]\npassword=a#b\n{REST}")
    assert found.credentials.password == "a"
    assert found.warnings == (f"{path}: line 2: what follows the `#` does not count; put the password in quotes",)


def test_a_password_is_never_shown(path: Path) -> None:
    assert "secret" not in repr(read(path, GOOD))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1))
def test_any_password_can_be_written(password: str) -> None:
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder) / "lab.cnf", f'[client]\npassword="{quoted}"\n{REST}')
    assert found.credentials.password == password


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UserError):
        read(Path(folder) / "lab.cnf", content)


LINES = """
"a#b"
'a#b' # why
"a\\"b\\\\c"
"a\\"#b"
a=b;c
a # comment
a#b
 a  b\t
tab\\there\\sand
"it's"
it's#1
'a'b'
a"b#c"d
\\q\\'\\"\\\\
ends\\
"ends\\\\"
50%
"  "
grün
x\u2028y\u0085z
"""


@pytest.mark.parametrize("line", LINES.strip("\n").split("\n"))
def test_mysqls_own_client_reads_the_same_value(path: Path, line: str) -> None:
    program = shutil.which("my_print_defaults")
    if program is None:
        pytest.skip("no my_print_defaults: apt-get install mariadb-server")
    found = read(path, f"[client]\npassword={line}\n{REST}")
    command = [program, "--show", f"--defaults-file={path}", "client"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False)
    if printed.returncode:
        command.remove("--show")
        printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"--password={found.credentials.password}\n" in printed.stdout
