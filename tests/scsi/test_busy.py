"""Somebody else has the drives: another dump, or a program that knows nothing of papertape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .invariants import check_all_archived, check_nothing_unproven
from .machine import Job, Lab, Machine

pytestmark = pytest.mark.rig

PATIENCE = 3
PAIRS = [("PAPR1001", "PAPR2001"), ("PAPR1002", "PAPR2002"), ("PAPR1003", "PAPR2003"), ("PAPR1004", "PAPR2004")]
TAGS = [tag for pair in PAIRS for tag in pair]
SPARE = len(TAGS) + 1


class Office:
    """A lab and its machine, with data that waits."""

    def __init__(self, lab: Lab, machine: Machine) -> None:
        self.lab = lab
        self.machine = machine
        self._nights = [lab.folder / f"night{number}" for number in range(len(PAIRS))]

    def need_data(self) -> None:
        if "waiting" not in self.machine.states("datasets"):
            self.machine.ok("add", *sorted(self._nights.pop().iterdir()))

    def hold(self) -> tuple[Job, str]:
        """Let a foreign program have drive 0 open, and a tape in it; return it and how it is called."""
        self.machine.mtx("load", SPARE, 0)
        job = self.machine.program("sh", "-c", "exec sleep 1000 </dev/nst0")
        self.machine.wait(lambda: self.machine.call("guest_actions.is_open", "/dev/nst0"))
        return job, f"process {job.pid} (sleep)"

    def let_go(self, job: Job) -> None:
        job.kill()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("busy")
    with TapeLibrary(cartridges=dict.fromkeys([*TAGS, "SPARE"], 64)) as library:
        lab = Lab(folder, library, patience=PATIENCE)
        for number in range(len(PAIRS)):
            lab.make_night(f"night{number}", 1)
        with lab.boot() as machine:
            machine.ok("volumes", "add", *TAGS, "--capacity", "64MiB")
            yield Office(lab, machine)


@pytest.fixture(autouse=True)
def data(office: Office) -> None:
    office.need_data()


def test_two_dumps_at_once_do_the_work_once(office: Office) -> None:
    machine = office.machine
    first = machine.start(["dump"], pause="writing PAPR")
    first.paused()
    second = machine.start(["dump"])
    assert second.until("waiting: ")
    assert f"in use by process {first.pid}" in second.said
    assert first.go().wait().code == 0
    late = second.wait()
    assert late.code == 3
    assert late.error.startswith("no data set is waiting")
    check_all_archived(machine)


def test_a_foreign_program_with_the_drive_open_is_named(office: Office) -> None:
    machine, before = office.machine, office.lab.digests(TAGS)
    archived = check_nothing_unproven(machine)
    holder, name = office.hold()
    began = time.monotonic()
    ran = machine.papertape("dump")
    assert time.monotonic() - began >= PATIENCE
    assert ran.code == 6
    assert f"papertape: drive 0: it is in use by {name} (/dev/nst0); end that, and try again" in ran.sentences
    assert office.lab.digests(TAGS) == before
    assert check_nothing_unproven(machine) == archived
    assert machine.in_drives() == ["SPARE"]
    office.let_go(holder)
    machine.ok("dump")
    check_all_archived(machine)


def test_a_drive_that_comes_free_in_time_is_waited_for(office: Office) -> None:
    machine = office.machine
    holder, name = office.hold()
    job = machine.start(["dump"])
    assert job.until("waiting: ")
    assert f"waiting: drive 0: it is in use by {name} (/dev/nst0)" in job.said
    office.let_go(holder)
    assert job.wait().code == 0
    check_all_archived(machine)
