"""``papertape bridge`` as an operator has it: a config, an option file, a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.labdatabase import LabDatabase

from .operatorlab import Lab, add_bridge, check_archived, make_sources


@pytest.fixture
def lab(blank: Lab, database: LabDatabase) -> Lab:
    """A lab with a [bridge], whose data sets the lab's table has."""
    add_bridge(blank, database, {"pot1:/data": f"{blank.folder}/night"})
    for path in make_sources(blank, 6, 300_000):
        database.add_row(f"pot1:/data/{Path(path).name}")
    database.add_labels(row["tag"] for row in blank.json("volumes", "show"))
    return blank


def test_the_whole_way(lab: Lab, database: LabDatabase) -> None:
    assert "as expected" in lab.ok("bridge", "check")
    assert lab.json("bridge", "check") == {"ok": True, "warnings": []}
    database.add_row("pot1:/data/missing")
    ran = lab.run("bridge", "pull")
    assert ran.code == 4
    assert "pot1:/data/missing: " in ran.err
    assert "6 data sets registered" in ran.out
    assert "1 row left out" in ran.out
    database.do("DELETE FROM File WHERE source LIKE '%missing'")
    again = lab.json("bridge", "pull")
    assert (again["registered"], again["known"], again["troubles"]) == (0, 6, [])
    lab.ok("dump")
    assert check_archived(lab) == 6
    assert {deletable for _, deletable in database.files().values()} == {1}
    assert lab.json("bridge", "push") == {"pushed": 0, "released": 0, "pending": 0, "foreign": [], "troubles": []}
    status = lab.json("bridge", "status")
    assert status["file"]["pushed"] == 6
    assert status["label"]["pushed"] == 2
    assert status["pending"] == 0
    assert "files: 6 pushed" in lab.ok("bridge", "status")
    assert lab.json("bridge", "pull")["registered"] == 0


def test_a_server_that_is_away_is_reported_and_written_later(lab: Lab, database: LabDatabase) -> None:
    lab.ok("bridge", "pull")
    good = database.options.read_bytes()
    database.options.write_bytes(good.replace(b"/socket", b"/nowhere"))
    for command in (("bridge", "check"), ("bridge", "pull"), ("dump",)):
        ran = lab.run(*command)
        assert ran.code == 2, ran
        assert "no server answers" in ran.err
    database.options.write_bytes(good)
    lab.ok("dump")
    assert {deletable for _, deletable in database.files().values()} == {1}


@pytest.mark.parametrize("command", ["check", "pull", "push", "status"])
def test_without_a_section_there_is_no_bridge(blank: Lab, command: str) -> None:
    ran = blank.run("bridge", command)
    assert ran.code == 2
    assert "no [bridge]" in ran.error


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('files = "a"', "paths"),
        ('files = ""\n[bridge.paths]\n"a:/b" = "/c"', "files"),
        ('files = "a"\n[bridge.paths]\n"b" = "/c"', "not of the form host:/path"),
        ('files = "a"\n[bridge.paths]\n"a:/b" = "c"', "no absolute path"),
        ('files = "a"\nnonsense = 1\n[bridge.paths]\n"a:/b" = "/c"', "nonsense"),
    ],
)
def test_a_wrong_section_is_reported(blank: Lab, section: str, says: str) -> None:
    config = blank.folder / "papertape.toml"
    config.write_text(f"{config.read_text()}\n[bridge]\n{section}\n")
    ran = blank.run("bridge", "check")
    assert ran.code == 2
    assert says in ran.error


def test_the_option_file_must_be_its_owners(lab: Lab, database: LabDatabase) -> None:
    database.options.chmod(0o644)
    ran = lab.run("bridge", "check")
    assert ran.code == 2
    assert "chmod 600" in ran.error
    lab.configure(strict="false")
    config = lab.folder / "papertape.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("strict")]
    config.write_text("\n".join(lines))
    assert "chmod 600" in lab.ok("bridge", "check")


def test_a_killed_dump_leaves_no_claim(lab: Lab, database: LabDatabase) -> None:
    lab.ok("bridge", "pull")
    code = (
        "import os, signal, papertape.jobs.dump as dump\n"
        "dump.write_volumes = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from papertape.cli import main\nimport sys\nsys.argv = ['papertape', 'dump']\nmain()"
    )
    process = lab.start_python("-c", code)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert all(mark and mark.startswith("1") for mark, _ in database.files().values())
    assert lab.run("recover").code == 0
    assert {mark for mark, _ in database.files().values()} == {None}
    lab.ok("dump")
    assert {deletable for _, deletable in database.files().values()} == {1}
    assert not any(status for _, status in database.labels().values())


def test_a_password_that_a_hash_cuts_off_is_reported_with_the_refusal(lab: Lab, database: LabDatabase) -> None:
    database.options.write_text(database.options.read_text().replace('password="50% of #1', "password=50%#1"))
    for command in (("bridge", "check"), ("--json", "bridge", "check")):
        ran = lab.run(*command)
        assert (ran.code, ran.out) == (2, "")
        assert "the user or the password is wrong" in ran.error
        assert "put the password in quotes" in ran.err
        assert "50%" not in ran.err


def test_pull_says_as_json_what_it_left_out(lab: Lab, database: LabDatabase) -> None:
    database.add_row("pot1:/data/missing")
    database.add_row("pot2:/data/zen")
    ran = lab.run("--json", "bridge", "pull")
    said = json.loads(ran.out)
    assert ran.code == 4
    assert {item["row"] for item in said["troubles"]} == {"pot1:/data/missing", "pot2:/data/zen"}
    assert (said["registered"], said["refused"], said["volumes"]) == (6, 2, [])
