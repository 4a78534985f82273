"""What dead processes left is finished or undone, once, whoever looks first."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from papertape.errors import ChangerError, TooFewDrives, VerificationFailed
from papertape.events import Event, Phase, tell_all
from papertape.jobs.context import Outcome
from papertape.jobs.dump import dump, recover
from papertape.ledger import DumpRecord, Owner, identify_process, is_alive
from papertape.ledger.owner import _started
from papertape.tape.changer import Element, ElementKind
from papertape.tape.library import Library
from papertape.tape.virtual.faults import Faults
from papertape.tape.virtual.library import VirtualLibrary
from stories import At, Lab, check_all_archived, check_archived, nobody

from .conftest import MakeLab
from .damage import flip

TAGS = ("PAPR1001", "PAPR2001")


class Killed(BaseException):
    """Stands for a process that dies: the drives are emptied, which a robot would do later, the ledger is not told."""


class Fatal:
    """Dies at the beginning of a phase."""

    def __init__(self, phase: str) -> None:
        self._phase = phase

    def __call__(self, event: Event) -> None:
        if isinstance(event, Phase) and event.name == self._phase:
            raise Killed


def leave_planned(lab: Lab) -> None:
    lab.ledger.dumps.begin(lab.plan())


def leave_writing(lab: Lab) -> None:
    leave_planned(lab)
    lab.ledger.dumps.start_writing(only_dump(lab).id)


def leave_written(lab: Lab) -> None:
    """Written, and before the reading the robot is stuck."""
    with Faults().fail("move", at=3, lasting=True) as faults:
        assert lab.dump(faults=faults).state == "written"
    assert lab.stranded()


def leave_verifying(lab: Lab) -> None:
    with pytest.raises(Killed):
        lab.dump(Fatal("verifying"))


def leave_archived(lab: Lab) -> None:
    """Archived, and then the robot is stuck before the first cartridge is home."""
    with Faults().fail("move", at=7, lasting=True) as faults:
        assert lab.dump(faults=faults).state == "archived"
    assert lab.stranded() == list(reversed(TAGS))


def leave_incomplete(lab: Lab) -> None:
    """A copy did not read back, and then the robot is stuck."""
    with Faults().fail("read_block", at=9).fail("move", at=7, lasting=True) as faults:
        assert lab.dump(faults=faults).state == "incomplete"
    assert lab.stranded() == list(reversed(TAGS))


def only_dump(lab: Lab) -> DumpRecord:
    (dump,) = lab.ledger.dumps.all()
    return dump


def check_freed(lab: Lab, outcomes: list[Outcome], state: str) -> None:
    assert [outcome.state for outcome in outcomes] == [state]
    assert set(lab.states().values()) == {"waiting"}
    check_archived(lab)


@pytest.mark.parametrize("leave", [leave_planned, leave_writing])
@pytest.mark.parametrize("undo", [False, True])
def test_a_dump_that_was_being_written_is_written_again_on_its_volumes(lab: Lab, leave: object, undo: bool) -> None:
    assert callable(leave)
    leave(lab)
    outcomes = lab.recover(undo=undo)
    check_freed(lab, outcomes, "planned")
    assert outcomes[0].error is None
    assert lab.dump().volumes == TAGS
    assert only_dump(lab).state == "archived"
    check_all_archived(lab)


@pytest.mark.parametrize("leave", [leave_written, leave_verifying])
def test_a_dump_that_was_written_is_read_back_and_archived(lab: Lab, leave: object) -> None:
    assert callable(leave)
    leave(lab)
    check_archived(lab)
    (outcome,) = lab.recover()
    assert (outcome.state, outcome.error) == ("archived", None)
    assert [verification.ok for verification in outcome.verifications] == [True, True]
    check_all_archived(lab)
    assert lab.recover() == []


@pytest.mark.parametrize("leave", [leave_written, leave_verifying])
def test_undo_gives_a_written_dump_up_and_sets_its_volumes_aside(lab: Lab, leave: object) -> None:
    assert callable(leave)
    leave(lab)
    check_freed(lab, lab.recover(undo=True), "failed")
    assert [lab.volumes()[tag] for tag in TAGS] == ["aside", "aside"]
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)


def test_a_written_dump_that_does_not_read_back_is_failed_by_recover(lab: Lab) -> None:
    leave_verifying(lab)
    for tag in TAGS:
        flip(lab.tape_files(tag)[2], 3000)
    outcomes = lab.recover()
    assert isinstance(outcomes[0].error, VerificationFailed)
    check_freed(lab, outcomes, "failed")
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")


def test_a_written_dump_with_one_copy_that_does_not_read_back_keeps_the_other(lab: Lab) -> None:
    leave_verifying(lab)
    flip(lab.tape_files("PAPR1001")[2], 3000)
    (outcome,) = lab.recover()
    assert isinstance(outcome.error, VerificationFailed)
    assert (outcome.state, outcome.lacking) == ("incomplete", ("PAPR1001",))
    assert lab.recopy("PAPR1001").error is None
    check_all_archived(lab)


def test_recover_with_too_few_drives_leaves_the_dump_to_the_next_one(lab: Lab) -> None:
    leave_verifying(lab)
    virtual = VirtualLibrary(lab.folder / "library")
    one = Library(virtual.changer, virtual.drives[:1], lab.folder / "library" / "locks", tell_all())
    (outcome,) = recover(dataclasses.replace(lab.context(), open_library=lambda: one))
    assert isinstance(outcome.error, TooFewDrives)
    assert outcome.state == "verifying"
    assert [again.error for again in lab.recover()] == [None]
    check_all_archived(lab)


def test_recover_with_a_drive_that_fails_leaves_the_dump_to_the_next_one(lab: Lab) -> None:
    leave_verifying(lab)
    with Faults().fail("load", drive=1) as faults:
        (outcome,) = lab.recover(faults=faults)
    assert outcome.error is not None
    assert outcome.error.exit_code == 6
    assert outcome.state == "verifying"
    assert [again.state for again in lab.recover()] == ["archived"]
    check_all_archived(lab)


def test_one_copy_failed_and_then_the_process_died(lab: Lab) -> None:
    with pytest.raises(Killed), Faults().fail("write_block", at=4, drive=1) as faults:
        lab.dump(Fatal("verifying"), faults=faults)
    (outcome,) = lab.recover()
    assert outcome.error is not None
    assert outcome.error.exit_code == 5
    assert [(v.volume, v.ok) for v in outcome.verifications] == [("PAPR1001", True)]
    assert (outcome.state, outcome.lacking) == ("incomplete", ("PAPR2001",))
    check_archived(lab)
    lab.finish()
    check_all_archived(lab)


def test_an_error_with_one_orphan_does_not_keep_the_others_from_their_turn(lab: Lab, tmp_path: Path) -> None:
    leave_verifying(lab)
    flip(lab.tape_files("PAPR1001")[2], 3000)
    (tmp_path / "later").write_bytes(b"later")
    lab.add(tmp_path / "later")
    lab.ledger.dumps.begin(lab.plan())
    assert [outcome.state for outcome in lab.recover()] == ["incomplete", "planned"]


@pytest.mark.parametrize(("leave", "state"), [(leave_archived, "archived"), (leave_incomplete, "incomplete")])
@pytest.mark.parametrize("undo", [False, True])
def test_cartridges_that_a_finished_dump_left_in_drives_are_returned(
    lab: Lab, leave: Callable[[Lab], None], state: str, undo: bool
) -> None:
    leave(lab)
    (outcome,) = lab.recover(undo=undo)
    assert (outcome.state, outcome.error) == (state, None)
    assert not lab.stranded()
    assert lab.recover() == []
    check_archived(lab)


def test_a_cartridge_that_cannot_be_returned_is_left_to_the_next_recover(lab: Lab) -> None:
    leave_archived(lab)
    with Faults().fail("move", at=2) as faults:
        (outcome,) = lab.recover(faults=faults)
    assert isinstance(outcome.error, ChangerError)
    (left,) = lab.stranded()
    assert left in str(outcome.error)
    assert [again.error for again in lab.recover()] == [None]
    assert not lab.stranded()


def test_a_cartridge_that_was_returned_by_hand_is_not_reported(lab: Lab) -> None:
    leave_archived(lab)
    with lab.context().library.reserve(2):
        pass
    assert lab.recover() == []
    assert lab.ledger.dumps.undismissed(is_alive) == []


def test_a_volume_that_was_put_into_a_drive_on_purpose_stays_there(lab: Lab) -> None:
    assert lab.dump().error is None
    with lab.context().library.reserve(numbers=[1]) as session:
        session.load("PAPR1001", 1)
    assert lab.recover() == []
    assert lab.stranded() == ["PAPR1001"]


@pytest.mark.parametrize("taken", [{TAGS[0]: 2}, {TAGS[0]: 2, TAGS[1]: 3}, {TAGS[1]: 0}])
def test_volumes_that_were_left_in_drives_beyond_the_first_are_read_back(
    new_lab: MakeLab, night: list[Path], taken: dict[str, int]
) -> None:
    lab = new_lab(drives=4)
    lab.add(*night)
    leave_verifying(lab)
    changer = VirtualLibrary(lab.folder / "library").changer
    for tag, drive in taken.items():
        (place,) = changer.inventory().find(tag)
        changer.move(place.element, Element(ElementKind.DRIVE, drive))
    (outcome,) = lab.recover()
    assert (outcome.state, outcome.error) == ("archived", None)
    check_all_archived(lab)


def test_two_recovers_at_once_handle_an_orphan_once(lab: Lab) -> None:
    leave_verifying(lab)
    barrier = threading.Barrier(2)

    def run() -> list[Outcome]:
        context = lab.context(owner=identify_process())
        barrier.wait()
        return recover(context)

    with ThreadPoolExecutor(2) as threads:
        outcomes = [future.result() for future in [threads.submit(run), threads.submit(run)]]
    assert sorted(len(each) for each in outcomes) == [0, 1]
    check_all_archived(lab)


def test_a_recover_while_the_dump_is_alive_leaves_it_alone(lab: Lab) -> None:
    found: list[list[Outcome]] = []
    alive = lab.context(owner=identify_process())
    tell = At("verifying", lambda: found.append(recover(alive)))
    outcome = dump(lab.context(tell, owner=identify_process()))[-1]
    assert (outcome.state, found) == ("archived", [[]])


def test_a_dump_whose_claim_was_taken_over_writes_nothing_into_the_ledger(lab: Lab) -> None:
    """Its process was taken for dead: what it goes on to say must not count."""
    other = Lab(lab.folder, lab.settings, lab.url)
    tell = At("verifying", lambda: recover(other.context(), undo=True))
    outcome = lab.dump(tell)
    assert outcome.error is not None
    assert set(lab.states().values()) == {"waiting"}
    check_archived(lab)
    other.ledger.close()
    lab.finish()
    check_all_archived(lab)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def owner_of(pid: int) -> Owner:
    return Owner(socket.gethostname(), pid, _started(pid))


def test_a_process_is_alive_until_it_ends_and_a_zombie_is_not(child: subprocess.Popen[bytes]) -> None:
    owner = owner_of(child.pid)
    assert is_alive(owner)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is over, and nobody has taken note
    assert not is_alive(owner)
    child.wait()
    assert not is_alive(owner)


def test_a_later_process_of_the_same_number_is_another_one() -> None:
    mine = identify_process()
    assert is_alive(mine)
    assert not is_alive(dataclasses.replace(mine, started="another boot:17"))
    assert not is_alive(nobody())


def test_a_process_on_another_host_is_taken_to_be_alive(lab: Lab) -> None:
    elsewhere = Owner("another-host", 1, "its boot:1")
    assert is_alive(elsewhere)
    lab.ledger_of(elsewhere).dumps.begin(lab.plan())
    assert lab.recover() == []
    assert set(lab.states().values()) == {"claimed"}
