"""Drives and cartridges that are not there, not right, or not ours."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ledgers import in_a_file

from .operatorlab import Lab, check_archived, check_at_rest


def record(cartridge: Path, block: int) -> None:
    """Enter the host file of tape file 0 into the cartridge's record."""
    path = cartridge / "cartridge.json"
    known = json.loads(path.read_text())
    blocks = (cartridge / "0000.tar").stat().st_size // block
    known["tape_files"] = [{"runs": [[block, blocks]], "filemark": True}]
    path.write_text(json.dumps(known))


def write_foreign_tar(cartridge: Path) -> None:
    with tarfile.open(cartridge / "0000.tar", "w") as tar:
        tar.add("/etc/hostname")
    record(cartridge, 10240)


def write_random_bytes(cartridge: Path) -> None:
    (cartridge / "0000.tar").write_bytes(os.urandom(4 * 32768))
    record(cartridge, 32768)


def digest(cartridge: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(cartridge.iterdir())}


@pytest.mark.parametrize(
    ("tag", "write", "words"),
    [
        ("PAPR1001", write_foreign_tar, "a tar archive of someone else's"),
        ("PAPR2001", write_random_bytes, "bytes of someone else's data"),
    ],
)
def test_a_foreign_cartridge_is_left_alone(waiting: Lab, write: Callable[[Path], None], words: str, tag: str) -> None:
    slots = waiting.homes()[1]
    write(waiting.cartridge(tag))
    before = digest(waiting.cartridge(tag))
    ran = waiting.run("dump")
    assert ran.code == 5
    assert tag in ran.error
    assert words in ran.error
    assert "nothing was written to it" in ran.error
    assert digest(waiting.cartridge(tag)) == before
    assert waiting.states("volumes") == ["aside"] + ["blank"] * 5
    check_at_rest(waiting, slots)
    assert waiting.run("dump").code == 0
    assert check_archived(waiting) == 6
    assert digest(waiting.cartridge(tag)) == before


def test_a_cartridge_of_another_owner_in_the_drive_is_put_away(waiting: Lab) -> None:
    slots = waiting.homes()[1]
    foreign = waiting.cartridge("PAPR2003")
    write_foreign_tar(foreign)
    before = digest(foreign)
    waiting.ok("library", "load", "PAPR2003")
    waiting.ok("library", "load", "PAPR1001", "--drive", "1")
    assert waiting.run("dump").code == 0
    check_at_rest(waiting, slots)
    assert digest(foreign) == before


def test_a_volume_left_in_a_drive_is_named_with_the_drive(waiting: Lab) -> None:
    waiting.ok("library", "load", "PAPR1001", "--drive", "1")
    ran = waiting.run("library", "load", "PAPR1001", "--drive", "0")
    assert ran.code == 5
    assert "papertape library unload 1" in ran.error
    waiting.ok("library", "unload")
    assert waiting.homes()[0] == [None, None]


def test_a_missing_drive_is_named_and_nothing_is_claimed(waiting: Lab) -> None:
    slots = waiting.homes()[1]
    away = waiting.library / "drives" / "1"
    away.rename(waiting.folder / "away")
    ran = waiting.run("dump")
    assert ran.code == 6
    assert "drive 1" in ran.error
    assert "put it back" in ran.error
    check_at_rest(waiting, slots)
    assert waiting.states("volumes") == ["blank"] * 6
    (waiting.folder / "away").rename(away)
    assert waiting.run("dump").code == 0


def lay(waiting: Lab, slots: list[str | None]) -> str:
    """Lay other cartridges into the slots; return the record as it was."""
    path = waiting.library / "library.json"
    full = path.read_text()
    path.write_text(json.dumps({**json.loads(full), "slots": slots}))
    return full


def test_an_empty_library_is_reported_and_sets_no_volume_aside(waiting: Lab) -> None:
    full = lay(waiting, [None] * 6)
    for command in ("plan", "dump"):
        ran = waiting.run(command)
        assert ran.code == 5
        assert "for copy 1: none is in the library; put PAPR1001 or another blank one into a slot" in ran.error
    assert waiting.states("volumes") == ["blank"] * 6
    (waiting.library / "library.json").write_text(full)
    assert "PAPR1001 and PAPR2001" in waiting.ok("dump")


def test_the_lowest_blank_volume_that_is_in_the_library_is_taken(waiting: Lab) -> None:
    lay(waiting, [None, "PAPR1002", None, "PAPR2001", "PAPR2002", None])
    assert "PAPR1002 and PAPR2001" in waiting.ok("dump")


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    damage = {"empty": b"", "cut": content[: len(content) // 2], "junk": os.urandom(4096)}
    path.write_bytes(damage[how])


@pytest.mark.parametrize("how", ["empty", "junk"])
def test_a_damaged_library_record_is_named(waiting: Lab, how: str) -> None:
    damaged(waiting.library / "library.json", how)
    ran = waiting.run("dump")
    assert ran.code == 2
    assert "library.json" in ran.error
    assert waiting.states("volumes") == ["blank"] * 6
    assert waiting.run("status").code == 0


def test_a_cartridge_without_a_readable_label_is_hinted_at(done: Lab) -> None:
    damaged(done.cartridge("PAPR1001") / "cartridge.json", "cut")
    ran = done.run("verify", "PAPR1001")
    assert ran.code == 5
    assert "PAPR1001" in ran.error
    assert "slot 1 lies a cartridge without a readable label" in ran.error


def test_a_cartridge_without_a_readable_label_is_passed_over(waiting: Lab) -> None:
    damaged(waiting.cartridge("PAPR1001") / "cartridge.json", "cut")
    assert "PAPR1002 and PAPR2001" in waiting.ok("dump")


@in_a_file
@pytest.mark.parametrize("how", ["cut", "junk"])
def test_a_damaged_ledger_is_named_and_the_library_still_moves(done: Lab, how: str) -> None:
    for beside in done.folder.glob("ledger.sqlite-*"):
        beside.unlink()
    done.ok("library", "load", "PAPR1001")
    damaged(done.ledger, how)
    ran = done.run("dump")
    assert ran.code == 1
    assert "ledger.sqlite" in ran.error
    done.ok("library", "unload")
    assert done.homes()[0] == [None, None]
