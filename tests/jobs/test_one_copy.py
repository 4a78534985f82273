"""When one copy cannot be written, the other is finished and verified, and nothing is archived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from papertape.errors import BlockRefused, DriveError, HostDiskFull, PapertapeError, VolumeFull
from papertape.events import Event, Note
from papertape.tape.virtual.faults import Faults
from stories import BLOCK, Lab, check_all_archived, check_archived, snapshot

from .conftest import MakeLab
from .damage import operate

Make = Callable[[], Faults]


def failing(method: str, at: int, drive: int, error: PapertapeError | None = None) -> Faults:
    return Faults().fail(method, at=at, drive=drive, error=error)


def check_other_copy(lab: Lab, bad: str, good: str, kind: type[PapertapeError]) -> None:
    """The evidence of the good copy is complete, and the dump keeps it; nothing is archived."""
    (dump,) = lab.ledger.dumps.all()
    assert dump.is_incomplete
    copies = {copy.volume: copy for copy in dump.copies}
    assert copies[bad].error
    assert (copies[bad].flushed_at, copies[bad].verified_at) == (None, None)
    assert copies[good].error is None
    assert None not in (copies[good].written_at, copies[good].flushed_at, copies[good].verified_at)
    assert [lab.volumes()[tag] for tag in (bad, good)] == ["aside", "claimed"]
    assert set(lab.states().values()) == {"claimed"}
    assert not lab.stranded()
    check_archived(lab)


def check_copied(lab: Lab, bad: str, good: str) -> None:
    """The missing copy is made from the good one, which is not written to again."""
    before = [snapshot(lab.cartridge(tag)) for tag in (bad, good)]
    new = {"PAPR1001": "PAPR1002", "PAPR2001": "PAPR2002"}[bad]
    outcome = lab.recopy(bad)
    assert (outcome.state, outcome.error, set(outcome.volumes)) == ("archived", None, {good, new})
    check_all_archived(lab)
    assert [snapshot(lab.cartridge(tag)) for tag in (bad, good)] == before
    one, other = lab.tape_files(good), lab.tape_files(new)
    assert [path.read_bytes() for path in one[1:]] == [path.read_bytes() for path in other[1:]]
    assert one[0].read_bytes() != other[0].read_bytes()


def check_next(lab: Lab, *aside: str) -> None:
    before = [snapshot(lab.cartridge(tag)) for tag in aside]
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)
    assert [snapshot(lab.cartridge(tag)) for tag in aside] == before


@pytest.mark.parametrize("drive", [0, 1])
@pytest.mark.parametrize(
    ("method", "at"), [("write_block", 1), ("write_block", 2), ("write_block", 7), ("write_filemark", 1),
                       ("write_filemark", 4), ("write_filemark", 6), ("position", 2)]
)  # fmt: skip
def test_a_drive_that_fails_once_while_writing(lab: Lab, drive: int, method: str, at: int) -> None:
    bad, good = (("PAPR1001", "PAPR2001"), ("PAPR2001", "PAPR1001"))[drive]
    with failing(method, at, drive) as faults:
        outcome = lab.dump(faults=faults)
    assert isinstance(outcome.error, DriveError)
    assert outcome.error.drive == drive
    assert [(v.volume, v.ok) for v in outcome.verifications] == [(good, True)]
    check_other_copy(lab, bad, good, DriveError)
    check_copied(lab, bad, good)


def test_a_volume_that_is_physically_full_before_its_capacity(lab: Lab) -> None:
    operate(lab.cartridge("PAPR2001"), lambda record: record.update(capacity=500_000, early_warning=499_000))
    outcome = lab.dump()
    assert isinstance(outcome.error, VolumeFull)
    assert outcome.error.volume_tag == "PAPR2001"
    check_other_copy(lab, "PAPR2001", "PAPR1001", VolumeFull)
    check_copied(lab, "PAPR2001", "PAPR1001")


def test_a_host_disk_that_is_full_for_one_copy(lab: Lab) -> None:
    with failing("write_block", 5, 0, HostDiskFull(0, "the host's disk is full")) as faults:
        outcome = lab.dump(faults=faults)
    assert isinstance(outcome.error, HostDiskFull)
    check_other_copy(lab, "PAPR1001", "PAPR2001", HostDiskFull)
    check_copied(lab, "PAPR1001", "PAPR2001")


def test_a_host_disk_that_is_full_for_both_copies_costs_no_volume(lab: Lab) -> None:
    full = HostDiskFull(0, "the host's disk is full")
    with Faults().fail("write_block", at=5, drive=0, error=full).fail("write_block", at=4, drive=1, error=full) as both:
        outcome = lab.dump(faults=both)
    assert isinstance(outcome.error, HostDiskFull)
    assert set(lab.states().values()) == {"waiting"}
    assert lab.dump().volumes == ("PAPR1001", "PAPR2001")
    check_all_archived(lab)


@pytest.mark.parametrize("drive", [0, 1])
def test_a_drive_that_takes_shorter_blocks_only_gets_them(new_lab: MakeLab, night: list[Path], drive: int) -> None:
    lab = new_lab(block_size=4 * BLOCK, ring=64 * BLOCK)
    lab.add(*night)
    refusals = Faults()
    for at in (1, 2):
        refusals.fail("write_block", at=at, drive=drive, error=BlockRefused(drive, "it refuses blocks"))
    with refusals:
        outcome = lab.dump(faults=refusals)
    assert (outcome.state, outcome.error) == ("archived", None)
    (dump,) = lab.ledger.dumps.all()
    assert dump.block_size == BLOCK
    check_all_archived(lab)


def test_a_drive_that_takes_no_block_at_all_is_at_fault(lab: Lab) -> None:
    with failing("write_block", 1, 0, BlockRefused(0, "it refuses blocks of 65536 bytes")) as faults:
        outcome = lab.dump(faults=faults)
    assert isinstance(outcome.error, BlockRefused)
    assert set(lab.states().values()) == {"waiting"}
    assert not lab.stranded()


def test_both_drives_fail(lab: Lab) -> None:
    with Faults().fail("write_block", at=5, drive=0).fail("write_block", at=3, drive=1) as both:
        outcome = lab.dump(faults=both)
    assert isinstance(outcome.error, DriveError)
    assert (outcome.state, outcome.verifications) == ("failed", ())
    assert [lab.volumes()[tag] for tag in ("PAPR1001", "PAPR2001")] == ["aside", "aside"]
    check_next(lab, "PAPR1001", "PAPR2001")


def test_one_copy_cannot_be_written_and_the_other_does_not_read_back(lab: Lab) -> None:
    with Faults().fail("write_block", at=5, drive=0).fail("read_block", at=9) as faults:
        outcome = lab.dump(faults=faults)
    assert outcome.error is not None
    assert outcome.error.exit_code == 8
    assert [lab.volumes()[tag] for tag in ("PAPR1001", "PAPR2001")] == ["aside", "aside"]
    check_next(lab, "PAPR1001", "PAPR2001")


class Notes:
    """What the operator would want to read later."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            self.said.append(event.sentence)


@pytest.fixture
def close_lab(new_lab: MakeLab, night: list[Path]) -> Lab:
    """A lab whose reader side is never far ahead of its drives."""
    made = new_lab(ring=4 * BLOCK)
    made.add(*night)
    return made


def told_rest(states: list[str]) -> str:
    count = states.count("waiting")
    assert count
    return "1 data set" if count == 1 else f"{count} data sets"


def test_the_early_warning_ends_the_dump_at_that_archive_and_the_rest_waits(close_lab: Lab) -> None:
    lab = close_lab
    for tag in ("PAPR1001", "PAPR2001"):
        operate(lab.cartridge(tag), lambda record: record.update(early_warning=200_000))
    notes = Notes()
    outcome = lab.dump(notes)
    assert (outcome.state, outcome.error) == ("archived", None)
    states = list(lab.states().values())
    assert 0 < states.count("archived") < 6
    assert states.count("archived") + states.count("waiting") == 6
    (said,) = notes.said
    assert said.endswith(f"the tape ends earlier than planned; left for the next dump: {told_rest(states)}")
    assert "PAPR1001" in said or "PAPR2001" in said
    check_archived(lab)
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)


def test_the_early_warning_of_one_copy_ends_both_in_the_same_way(close_lab: Lab) -> None:
    lab = close_lab
    operate(lab.cartridge("PAPR2001"), lambda record: record.update(early_warning=200_000))
    notes = Notes()
    assert lab.dump(notes).error is None
    rest = told_rest(list(lab.states().values()))
    assert notes.said == [f"PAPR2001: the tape ends earlier than planned; left for the next dump: {rest}"]
    one, other = lab.tape_files("PAPR1001"), lab.tape_files("PAPR2001")
    assert [path.read_bytes() for path in one[1:]] == [path.read_bytes() for path in other[1:]]


def test_with_one_of_three_copies_bad_the_other_two_are_verified(new_lab: MakeLab, lab: Lab) -> None:
    three = new_lab(copies=3, drives=3)
    three.ledger.datasets.register_many(lab.ledger.datasets.pending())
    with failing("write_block", 4, 1) as faults:
        outcome = three.dump(faults=faults)
    assert [(v.volume, v.ok) for v in outcome.verifications] == [("PAPR1001", True), ("PAPR3001", True)]
    assert set(three.states().values()) == {"claimed"}
    three.finish()
    check_all_archived(three)


def test_a_volume_that_is_not_in_the_library_is_passed_over_and_stays_blank(lab: Lab) -> None:
    operate(lab.cartridge("PAPR1001"), lambda record: record.update(barcode="OTHER001"))
    assert lab.dump().volumes == ("PAPR1002", "PAPR2001")
    assert lab.volumes()["PAPR1001"] == "blank"
    check_all_archived(lab)
