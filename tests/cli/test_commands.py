"""Every command: its help, its JSON, and each exit code by a real run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import pytest

from commandlines import find_command, list_paths
from papertape.errors import EXIT_CODES

from .operatorlab import COMMAND, Lab, check_archived, check_at_rest, finish

DOCS = [page for page in (Path(__file__).parents[2] / "docs").glob("*.md") if page.name != "commands.md"]
README = Path(__file__).parents[2] / "README.md"


ALL = list(list_paths())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = find_command(path)
    assert command.help
    assert command.short_help
    assert len(command.short_help) <= 60
    assert "\n" not in command.short_help
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    assert any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize(
    "path", [path for path in ALL if not isinstance(find_command(path), click.Group)], ids=" ".join
)
def test_every_example_is_a_command_line(path: tuple[str, ...]) -> None:
    epilog = find_command(path).epilog or ""
    examples = [line.strip() for line in epilog.splitlines() if line.strip().startswith("papertape")]
    assert examples
    for example in examples:
        name, *words = shlex.split(example.partition("|")[0])
        assert (name, *words[: len(path)]) == ("papertape", *path)
        find_command(path).make_context(path[-1], words[len(path) :])


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    if not DOCS:
        pytest.skip("there are no docs yet")
    assert any(f"papertape {' '.join(path)}" in page.read_text() for page in [*DOCS, README])


def test_help_is_printed_by_the_program_itself(blank_lab: Lab) -> None:
    assert "--until-done" in blank_lab.ok("dump", "--help")
    text = blank_lab.ok("--help")
    for code, meaning in EXIT_CODES:
        assert re.search(rf"^ +{code}  {meaning}$", text, re.MULTILINE)


# What --json prints, as the command line promises it: neither fewer fields nor more.


class Finding(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    volume: str
    tape_file: int
    offset: int
    member: str
    expected: str
    found: str


class Verified(msgspec.Struct, forbid_unknown_fields=True):
    volume: str
    drive: int
    ok: bool
    files: int
    bytes: int
    seconds: float
    findings: list[Finding]


class Rejected(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    reason: str


class Dumped(msgspec.Struct, forbid_unknown_fields=True):
    dump: int
    state: str
    volumes: list[str]
    datasets: int
    files: int
    bytes: int
    lacking: list[str]
    rejected: list[Rejected]
    verifications: list[Verified]


class Verifications(msgspec.Struct, forbid_unknown_fields=True):
    verifications: list[Verified]


class DataSets(msgspec.Struct, forbid_unknown_fields=True):
    waiting: int
    claimed: int
    archived: int
    rejected: int


class Status(msgspec.Struct, forbid_unknown_fields=True):
    datasets: DataSets
    volumes: dict[Literal["blank", "claimed", "archived", "aside", "retired"], int]
    dumps: dict[str, int]


class Copy(msgspec.Struct, forbid_unknown_fields=True):
    volume: str
    tape_file: int
    offset: int
    verified: bool


class File(msgspec.Struct, forbid_unknown_fields=True):
    member: str
    bytes: int
    sha256: str


class Found(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    state: str
    bytes: int
    copies: list[Copy]
    files: list[File]


def decode(text: str, kind: Any) -> Any:
    return msgspec.json.decode(text, type=kind)


def test_dump_and_verify_print_the_json_that_is_promised(waiting: Lab) -> None:
    dumped = decode(waiting.ok("dump", "--json"), Dumped)
    assert (dumped.dump, dumped.state, dumped.volumes) == (1, "archived", ["PAPR1001", "PAPR2001"])
    assert (dumped.datasets, dumped.files, dumped.bytes, dumped.rejected) == (6, 8, 18_000_000, [])
    assert [(item.volume, item.drive, item.ok) for item in dumped.verifications] == [
        ("PAPR1001", 1, True),
        ("PAPR2001", 0, True),
    ]
    verified = decode(waiting.ok("--json", "verify", "PAPR2001", "PAPR1001"), Verifications)
    assert [item.volume for item in verified.verifications] == ["PAPR2001", "PAPR1001"]
    assert all(item.ok and item.bytes and not item.findings for item in verified.verifications)


def test_status_and_find_print_the_json_that_is_promised(done: Lab) -> None:
    status = decode(done.ok("status", "--json"), Status)
    assert status.datasets == DataSets(0, 0, 6, 0)
    assert status.volumes == {"blank": 4, "claimed": 0, "archived": 2, "aside": 0, "retired": 0}
    assert status.dumps["archived"] == 1
    assert done.ok("--json", "status") == done.ok("status", "--json", "--json")
    found = decode(done.ok("find", "zen.00", "--json"), list[Found])
    assert len(found) == 6
    assert [copy.volume for copy in found[0].copies] == ["PAPR1001", "PAPR2001"]
    assert all(copy.verified and copy.tape_file >= 2 for item in found for copy in item.copies)
    assert all(len(file.sha256) in {0, 64} for item in found for file in item.files)
    assert sum(file.bytes for file in found[2].files) == found[2].bytes == 3_000_000


def test_everything_else_prints_json_too(waiting: Lab) -> None:
    plan, dry = waiting.json("plan"), waiting.json("dump", "--dry-run")
    assert plan["volumes"] == ["PAPR1001", "PAPR2001"]
    assert plan["archives"] == dry["archives"]
    assert sum(len(archive["datasets"]) for archive in plan["archives"]) == 6
    assert len(waiting.json("volumes")) == len(waiting.json("volumes", "show")) == 6
    assert waiting.json("library") == waiting.json("library", "status")
    assert waiting.json("library", "load", "PAPR1002") == {"loaded": "PAPR1002", "drive": 0}
    assert waiting.json("library", "unload") == {"unloaded": [0]}
    door = waiting.json("library", "export", "PAPR1002")
    assert [(move["volume"], move["kind"]) for move in door] == [("PAPR1002", "mail slot")]
    assert [move["volume"] for move in waiting.json("library", "import")] == ["PAPR1002"]
    assert waiting.json("library", "move", "PAPR1002", str(door[0]["number"])) == door
    assert waiting.json("volumes", "add", "PAPR1009") == {"added": ["PAPR1009"]}
    assert waiting.json("volumes", "retire", "PAPR1009") == {"retired": "PAPR1009"}


# One real run for each exit code.


def wrong_command(lab: Lab) -> int:
    return lab.run("frobnicate").code


def nothing_to_do(lab: Lab) -> int:
    lab.ok("dump")
    codes = {lab.run("dump").code, lab.run("plan").code, lab.run("recover").code, lab.run("find", "nowhere").code}
    assert codes == {3}
    return 3


def some_rejected(lab: Lab) -> int:
    source = "one.uvh5"
    (lab.folder / source).write_bytes(b"before")
    lab.ok("add", source)
    (lab.folder / source).write_bytes(b"changed since")
    ran = lab.run("dump", "--json")
    dumped = decode(ran.out, Dumped)
    assert dumped.rejected[0].source.endswith(source)
    assert check_archived(lab) == 6
    assert lab.run("add", "/nowhere").code == 4
    return ran.code


def write_protected(lab: Lab) -> int:
    record = lab.cartridge("PAPR1001") / "cartridge.json"
    record.write_text(record.read_text().replace('"write_protected": false', '"write_protected": true'))
    return lab.run("dump").code


def missing_drive(lab: Lab) -> int:
    (lab.library / "drives" / "1").rename(lab.folder / "away")
    return lab.run("dump").code


def stuck_robot(lab: Lab) -> int:
    (lab.library / "robot.lock").unlink(missing_ok=True)
    (lab.library / "robot.lock").mkdir()
    return lab.run("dump").code


def flipped_byte(lab: Lab) -> int:
    lab.ok("dump")
    flip(lab.cartridge("PAPR2001") / "0003.tar")
    ran = lab.run("verify", "PAPR1001", "PAPR2001", "--json")
    good, bad = decode(ran.out, Verifications).verifications
    assert good.ok
    assert (bad.findings[0].volume, bad.findings[0].tape_file) == ("PAPR2001", 3)
    assert "zen.00" in bad.findings[0].member
    assert "PAPR2001" in ran.err
    assert lab.ok("status", "--deletable") == ""
    return ran.code


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100_000)
        (byte,) = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte ^ 1]))


def interrupted(lab: Lab) -> int:
    process = lab.start("dump")
    assert process.stderr
    while not process.stderr.readline().startswith("moving"):
        pass
    process.send_signal(signal.SIGTERM)
    return finish(process).code


def damaged_ledger(lab: Lab) -> int:
    lab.use_ledger(f"sqlite:///{lab.ledger}")
    lab.ledger.write_bytes(os.urandom(4096))
    return lab.run("status").code


REACHED: list[tuple[int, Callable[[Lab], int]]] = [
    (0, lambda lab: lab.run("dump").code),
    (1, damaged_ledger),
    (2, wrong_command),
    (3, nothing_to_do),
    (4, some_rejected),
    (5, write_protected),
    (6, missing_drive),
    (7, stuck_robot),
    (8, flipped_byte),
    (130, interrupted),
]


def test_every_exit_code_is_reached_below() -> None:
    assert [code for code, _ in REACHED] == [code for code, _ in EXIT_CODES]


@pytest.mark.parametrize(("code", "reach"), REACHED, ids=[str(code) for code, _ in REACHED])
def test_the_exit_code_is(waiting: Lab, code: int, reach: Callable[[Lab], int]) -> None:
    slots = waiting.homes()[1]
    assert reach(waiting) == code
    check_at_rest(waiting, slots)


def test_a_byte_that_flips_before_it_is_verified_archives_nothing(waiting: Lab) -> None:
    waiting.configure(library__timing="0.02")  # a robot's move then takes 0.3 s
    process = waiting.start("dump")
    assert process.stderr
    while not process.stderr.readline().startswith("moving PAPR2001 from drive 1"):
        pass
    flip(waiting.cartridge("PAPR2001") / "0003.tar")
    ran = finish(process)
    assert ran.code == 8, ran
    assert "; run `papertape recopy PAPR2001`" in ran.out
    assert waiting.states("datasets") == ["claimed"] * 6
    assert sorted(waiting.states("volumes")) == ["aside", *["blank"] * 4, "claimed"]
    assert "papertape recopy PAPR2001" in waiting.ok("status")
    waiting.configure(library__timing="0")
    assert "archived on PAPR1001 and PAPR2002" in waiting.ok("recopy", "PAPR2001")
    assert check_archived(waiting) == 6


def test_a_closed_pipe_is_no_error(done: Lab) -> None:
    for arguments in (["find", "*"], ["status"], ["volumes", "--json"]):
        process = done.start(*arguments)
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr
        assert process.stderr.read() == ""
        process.stderr.close()


def test_a_dump_continues_if_nobody_reads_its_progress(waiting: Lab) -> None:
    process = waiting.start("dump")
    assert process.stderr
    assert process.stderr.readline()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert process.stdout
    assert "is archived" in process.stdout.read()
    process.stdout.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error(blank: Lab) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*COMMAND, "status"],
            cwd=blank.folder,
            env=blank.environment,
            stdout=full,
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ran.returncode == 1
    assert ran.stderr == (
        "papertape: standard output: cannot be written (No space left on device); redirect it to another place\n"
    )
