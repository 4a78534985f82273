"""papertape itself killed with SIGKILL between the ledger and the lab's own tables, at every step."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bridges.commits import STATEMENTS
from bridges.labdatabase import LabDatabase

from .operatorlab import RECOVERED, Lab, add_bridge, check_archived, finish, make_sources

TESTS = Path(__file__).parents[1]
SETS = 6
PRELUDE = """
import os, signal, sys
from bridges.commits import at_commit, while_reading
from papertape.cli import main
def die():
    os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["papertape", *sys.argv[1:]]
"""
WRITING = """
import papertape.jobs.dump as dump
dump.write_volumes = lambda *_, **__: die()
main()
"""
READING = """
with while_reading(die):
    main()
"""
BETWEEN = """
import papertape.jobs.lab.pull as job
job.TOGETHER = 2
looked = []
register = job._register
def once(*arguments):
    if looked:
        die()
    looked.append(arguments)
    return register(*arguments)
job._register = once
main()
"""


@pytest.fixture
def lab(blank: Lab, database: LabDatabase) -> Lab:
    """A lab with a [bridge], whose data sets the lab's table has."""
    add_bridge(blank, database, {"pot1:/data": f"{blank.folder}/night"})
    for path in make_sources(blank, SETS, 300_000):
        database.add_row(f"pot1:/data/{Path(path).name}")
    database.add_labels(row["tag"] for row in blank.json("volumes", "show"))
    blank.environment["PYTHONPATH"] = str(TESTS)
    return blank


def at(step: str, *, committed: bool) -> str:
    return f"with at_commit({step!r}, die, committed={committed}):\n    main()\n"


def die_in(lab: Lab, code: str, *arguments: str) -> None:
    """Run a command that kills itself where the code says."""
    process = lab.start_python("-c", PRELUDE + code, *arguments)
    assert finish(process).code == -signal.SIGKILL


def make_whole(lab: Lab, database: LabDatabase) -> None:
    """What an operator does: all is archived, and told, once; nothing is claimed any more."""
    check_deletable(lab, database)
    for command in (("recover",), ("bridge", "pull"), ("dump",), ("bridge", "push")):
        ran = lab.run(*command)
        assert ran.code in RECOVERED, ran
        check_deletable(lab, database)
    assert check_archived(lab) == SETS
    assert lab.states("datasets") == ["archived"] * SETS
    assert lab.states("dumps").count("archived") == 1
    assert lab.rows("SELECT count(*) FROM lab_rows WHERE job IS NOT NULL") == [(0,)]
    files = database.files()
    places = {place for place, _ in files.values()}
    assert len(places) == SETS
    assert all("[" in str(place) for place in places)
    assert {deletable for _, deletable in files.values()} == {1}
    labels = database.labels()
    assert {tag for tag, (date, _) in labels.items() if date} == {
        tag for (tag,) in lab.rows("SELECT tag FROM volumes WHERE state = 'archived'")
    }
    assert not any(status for _, status in labels.values())
    assert lab.run("bridge", "push").out == "0 rows written, 0 released\n"


def check_deletable(lab: Lab, database: LabDatabase) -> None:
    """What the lab may delete is archived."""
    archived = {
        source.rpartition("/")[2] for (source,) in lab.rows("SELECT source FROM datasets WHERE state='archived'")
    }
    assert {name for name, (_, deletable) in database.files().items() if deletable} <= archived


@pytest.mark.parametrize("code", [READING, BETWEEN], ids=["reading", "between"])
def test_killed_in_a_pull(lab: Lab, database: LabDatabase, code: str) -> None:
    die_in(lab, code, "bridge", "pull")
    make_whole(lab, database)


@pytest.mark.parametrize("committed", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", [step for step in STATEMENTS if "release" not in step])
def test_killed_at_a_commit_of_a_dump(lab: Lab, database: LabDatabase, step: str, committed: bool) -> None:
    lab.ok("bridge", "pull")
    die_in(lab, at(step, committed=committed), "dump")
    make_whole(lab, database)


@pytest.mark.parametrize("committed", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", ["release of files", "push of files"])
def test_killed_once_more_during_recovery(lab: Lab, database: LabDatabase, step: str, committed: bool) -> None:
    lab.ok("bridge", "pull")
    if "release" in step:
        die_in(lab, WRITING, "dump")
        die_in(lab, at(step, committed=committed), "recover")
    else:
        die_in(lab, at("push of files", committed=False), "dump")
        die_in(lab, at(step, committed=committed), "bridge", "push")
    make_whole(lab, database)
