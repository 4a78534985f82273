"""What an operator gets wrong: one sentence that says what, where and what to do, and exit code 2 (or its own)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledgers import in_a_file

from .operatorlab import Lab, check_at_rest, make_lab

ESCAPE = "\x1b[31mred\x1b]0;title\x07\x9b1m\u202e"


def is_plain(text: str) -> bool:
    """Tell whether a terminal may see the text: lines of printable characters."""
    return all(line.isprintable() for line in text.split("\n"))


WRONG = [
    (2, ["verify", "NOPE"], "not registered"),
    (2, ["verify", "PAPR1001"], "blank"),
    (2, ["volumes", "add", "PAPR1001"], "registered already"),
    (2, ["volumes", "add", "H0C10001"], "PAPR1, PAPR2"),
    (2, ["volumes", "add", "PAPR1/../x", "--cartridge"], "volume tag"),
    (2, ["volumes", "add", "PAPR1007", "--capacity", "much"], "5GB"),
    (5, ["library", "load", "NOPE"], "not in the library"),
    (6, ["library", "load", "PAPR1001", "--drive", "9"], "drive 0 and drive 1"),
    (2, ["init"], "there already"),
    (2, ["init", "/etc/hostname/x"], "Not a directory"),
    (2, ["init", "new", "--ring", "1MB"], "ring"),
    (2, ["init", "new", "--capacity", "0"], "size"),
    (2, ["add", "--md5sums", "/nowhere", "/etc/hostname"], "/nowhere"),
    (2, ["add", "--md5sums", "/etc/passwd", "/etc/hostname"], "line 1"),
    (2, ["--config", "/nowhere", "status"], "/nowhere"),
    (2, ["--config", "/etc", "status"], "folder"),
    (2, ["demo", "new", "--source", "/nowhere"], "/nowhere"),
    (4, ["add", "/nowhere/zen"], "/nowhere/zen"),
    (4, ["add", "/"], "root"),
    (4, ["add", "/dev/null"], "device"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "word"), WRONG, ids=[" ".join(item[1]).encode("unicode_escape").decode() for item in WRONG]
)
def test_wrong_input_is_reported_in_one_sentence(blank_lab: Lab, code: int, arguments: list[str], word: str) -> None:
    ran = blank_lab.run(*arguments)
    assert ran.code == code, ran
    assert word in ran.error
    assert is_plain(ran.err)
    assert not (blank_lab.folder / "new").exists()
    check_at_rest(blank_lab, blank_lab.homes()[1])


def test_a_path_inside_a_data_set_is_none_of_its_own(blank: Lab) -> None:
    (blank.folder / "uv").mkdir()
    (blank.folder / "uv" / "visdata").write_bytes(b"1")
    blank.ok("add", "uv")
    for path in ("uv/visdata", "."):
        ran = blank.run("add", path)
        assert ran.code == 2
        assert "register one of the two" in ran.error
    assert blank.states("datasets") == ["waiting"]


def test_a_path_that_changed_since_it_was_registered_is_named(blank: Lab) -> None:
    for name in ("one", "two"):
        (blank.folder / name).write_bytes(b"1")
    blank.ok("add", "one", "two")
    (blank.folder / "one").write_bytes(b"22")
    told = blank.ok("add", "one", "two")
    assert "changed since it was registered" in told
    assert told.endswith("0 data sets registered, 0 B; 1 known and unchanged\n")


def test_a_file_that_an_archive_cannot_hold_is_refused_by_name(blank: Lab) -> None:
    os.mkfifo(blank.folder / "pipe")
    (blank.folder / "link").symlink_to("nowhere")
    (blank.folder / "uv").mkdir()
    os.mkfifo(blank.folder / "uv" / "pipe")
    ran = blank.run("add", "pipe", "link", "uv")
    assert ran.code == 4
    told = ran.err.splitlines()
    assert len(told) == 3
    assert "lab/pipe: is a named pipe" in told[0]
    assert "lab/link: is a symbolic link" in told[1]
    assert "named pipe" in told[2]
    assert blank.states("datasets") == []


def test_no_escape_sequence_reaches_the_terminal(blank: Lab) -> None:
    odd = blank.folder / f"a{ESCAPE}b"
    odd.write_bytes(b"1")
    bytes_only = os.fsencode(blank.folder) + b"/\xff\xfe\n"
    Path(os.fsdecode(bytes_only)).write_bytes(b"2")
    runs = [
        blank.run("add", str(odd), bytes_only),
        blank.run("add", f"{odd}.gone", bytes_only + b"\xfe"),
        blank.run("find", ESCAPE),
        blank.run("find", "*"),
        blank.run("volumes", "add", f"PAPR1{ESCAPE}"),
        blank.run("volumes", "retire", "PAPR1003", "--reason", ESCAPE),
        blank.run("volumes"),
        blank.run(f"--{ESCAPE}"),
        blank.run(ESCAPE),
        blank.run("--config", f"/{ESCAPE}", "status"),
        blank.run("init", b"\xff\x1b[31m"),
        blank.run("dump"),
        blank.run("find", "*", "--json"),
        blank.run("status"),
        blank.run("--json", "init", b"other\xff\x1b"),
    ]
    for ran in runs:
        assert is_plain(ran.out), ran
        assert is_plain(ran.err), ran
    assert blank.states("datasets") == ["archived"] * 2
    assert [ran.code for ran in runs] == [0, 4, 3, 0, 2, 0, 0, 2, 2, 2, 0, 0, 0, 0, 0]


def test_volumes_are_retired_for_good_and_only_when_they_are_free(done: Lab) -> None:
    assert "may not be deleted" in done.ok("volumes", "retire", "PAPR1001", "--reason", "torn leader")
    assert "torn leader" in done.ok("volumes", "show", "PAPR1001")
    assert "may be deleted from disk: 0 data sets" in done.ok("status")
    assert done.run("volumes", "add", "PAPR1001").code == 2
    done.ok("verify", "PAPR1001")
    assert done.states("volumes") == ["archived", "blank", "blank", "blank", "blank", "retired"]


def test_a_volume_that_was_set_aside_unwritten_comes_back_by_add(waiting: Lab) -> None:
    record = waiting.cartridge("PAPR1001") / "cartridge.json"
    locked = record.read_text().replace('"write_protected": false', '"write_protected": true')
    free = record.read_text()
    record.write_text(locked)
    assert waiting.run("dump").code == 5
    record.write_text(free)
    waiting.ok("volumes", "add", "PAPR1001")
    assert "PAPR1001 and PAPR2001" in waiting.ok("dump")
    assert waiting.run("volumes", "add", "PAPR1001").code == 2


def test_the_config_is_looked_for_in_order(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", slots=2)
    home = tmp_path / "home"
    (home / ".config" / "papertape").mkdir(parents=True)
    elsewhere = Lab(tmp_path, HOME=str(home))
    assert "no config file" in elsewhere.run("status").error
    config = (lab.folder / "papertape.toml").read_text()
    at_home = home / ".config" / "papertape" / "papertape.toml"
    at_home.write_text(config.replace('"sqlite:///ledger.sqlite"', f'"{lab.url}"'))
    assert elsewhere.run("status").code == 0
    (tmp_path / "papertape.toml").write_text("broken")
    assert "papertape.toml: " in elsewhere.run("status").error
    elsewhere.environment["PAPERTAPE_CONFIG"] = str(at_home)
    assert elsewhere.run("status").code == 0
    assert elsewhere.run("--config", "papertape.toml", "status").code == 2


@in_a_file
def test_a_new_ledger_is_reported(blank: Lab) -> None:
    blank.ledger.unlink()
    ran = blank.run("status")
    assert ran.code == 0
    assert "a new, empty one was made" in ran.error
    assert blank.run("status").err == ""
