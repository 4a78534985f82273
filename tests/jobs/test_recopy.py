"""A copy is made again: block for block its twin, proven as any other, and the good copy is not written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from papertape.errors import (
    CopiesMissing,
    DriveError,
    Interrupted,
    NoBlankVolume,
    NotReproduced,
    PapertapeError,
    SourceError,
    UserError,
    VerificationFailed,
    VolumeError,
    VolumeNotBlank,
)
from papertape.tape.virtual.faults import Faults
from papertape.transfer.stop import Stop
from stories import At, Lab, check_all_archived, snapshot

from .conftest import MakeLab
from .damage import flip, operate

BAD, GOOD, NEW = "PAPR2001", "PAPR1001", "PAPR2002"


@pytest.fixture
def lost(lab: Lab) -> Lab:
    """A lab in which a night was archived, and one of its tapes is lost."""
    assert lab.dump().error is None
    lab.ledger.volumes.retire(BAD, "lost in the post")
    return lab


def check_twins(lab: Lab, good: str, new: str) -> None:
    """From tape file 1 on they are the same; the label is the new one's own."""
    one, other = lab.tape_files(good), lab.tape_files(new)
    assert [path.read_bytes() for path in one[1:]] == [path.read_bytes() for path in other[1:]]
    assert one[0].read_bytes() != other[0].read_bytes()
    assert new.encode() in other[0].read_bytes()


@pytest.mark.parametrize("from_disk", [False, True])
def test_a_lost_copy_is_made_again(lost: Lab, from_disk: bool) -> None:
    before = [snapshot(lost.cartridge(tag)) for tag in (GOOD, BAD)]
    outcome = lost.recopy(BAD, from_disk=from_disk)
    assert (outcome.state, outcome.error, set(outcome.volumes)) == ("archived", None, {GOOD, NEW})
    check_all_archived(lost)
    check_twins(lost, GOOD, NEW)
    assert [snapshot(lost.cartridge(tag)) for tag in (GOOD, BAD)] == before
    assert lost.volumes()[BAD] == "retired"
    assert len(list(lost.ledger.search.deletable())) == 6
    assert [verification.ok for verification in lost.verify(GOOD, NEW)] == [True, True]


def test_a_copy_that_was_made_again_is_made_again(lost: Lab) -> None:
    lost.recopy(BAD)
    lost.ledger.volumes.retire(NEW, "lost, too")
    assert lost.recopy(NEW).error is None
    check_all_archived(lost)
    check_twins(lost, GOOD, "PAPR2003")


def test_while_it_is_made_nothing_counts_as_archived(lost: Lab) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(lost.ledger.dumps.all()[0].state)
        seen.extend(set(lost.states().values()))
        seen.extend(item.source for item in lost.ledger.search.deletable())

    lost.recopy(BAD, At("copying", look, 3))
    assert seen == ["verifying", "claimed"]


def test_one_drive_is_enough_from_disk(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(drives=2)
    lab.add(*night)
    with Faults().fail("write_block", at=5, drive=1) as faults:
        lab.dump(faults=faults)
    operate_library(lab, drives=1)
    with pytest.raises(UserError, match="--from-disk"):
        lab.recopy(BAD)
    assert lab.recopy(BAD, from_disk=True).error is None
    check_twins(lab, GOOD, NEW)
    assert set(lab.states().values()) == {"archived"}


def operate_library(lab: Lab, drives: int) -> None:
    """Take drives out of the library."""
    path = lab.folder / "library" / "library.json"
    text = path.read_text()
    assert '"drives"' in text
    record = msgspec.json.decode(text)
    record["drives"] = record["drives"][:drives] if isinstance(record["drives"], list) else drives
    path.write_bytes(msgspec.json.encode(record))


def touch_mode(path: Path) -> None:
    path.chmod(0o600)


def touch_time(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("change", [touch_mode, touch_time, grow, Path.unlink])
def test_from_disk_a_source_that_changed_is_reported_before_anything_is_written(
    lost: Lab, night: list[Path], change: Callable[[Path], None]
) -> None:
    change(night[2])
    outcome = lost.recopy(BAD, from_disk=True)
    assert isinstance(outcome.error, SourceError)
    assert night[2].name in str(outcome.error)
    assert lost.volumes()[NEW] == "blank"
    assert not lost.tape_files(NEW)
    assert lost.recopy(BAD).error is None
    check_all_archived(lost)


def test_from_disk_bytes_that_changed_secretly_are_found_and_never_count(lost: Lab, night: list[Path]) -> None:
    at = night[2].stat().st_mtime_ns
    flip(night[2], 5000)
    os.utime(night[2], ns=(at, at))
    outcome = lost.recopy(BAD, from_disk=True)
    assert isinstance(outcome.error, SourceError)
    assert night[2].name in str(outcome.error)
    assert (outcome.state, lost.volumes()[NEW]) == ("incomplete", "aside")
    assert not list(lost.ledger.search.deletable())
    assert lost.recopy(NEW).error is None
    check_all_archived(lost)


def test_from_disk_only_what_can_be_the_same(lost: Lab) -> None:
    lost.recopy(BAD)
    lost.ledger.volumes.retire(NEW, "lost, too")
    outcome = lost.recopy(NEW, from_disk=True)
    assert isinstance(outcome.error, NotReproduced)
    assert "copy it from its twin" in str(outcome.error)
    assert not lost.tape_files("PAPR2003")


def test_a_good_twin_that_turns_out_bad_is_set_aside_and_nothing_is_lost_sight_of(lost: Lab, tmp_path: Path) -> None:
    flip(lost.tape_files(GOOD)[3], 70_000)
    outcome = lost.recopy(BAD)
    assert isinstance(outcome.error, VerificationFailed)
    assert (outcome.state, lost.volumes()[GOOD], lost.volumes()[NEW]) == ("incomplete", "aside", "aside")
    assert set(lost.states().values()) == {"claimed"}
    assert not list(lost.ledger.search.deletable())
    done = lost.restore("*", to=tmp_path / "back")
    assert (done.sets, len(done.failed)) == (5, 1)
    with pytest.raises(VolumeError, match="no good twin"):
        lost.recopy(NEW)


@pytest.mark.parametrize(
    ("method", "at"), [("write_block", 1), ("write_block", 6), ("write_filemark", 3), ("position", 1)]
)
def test_a_drive_that_fails_while_it_writes_costs_one_blank_volume(lost: Lab, method: str, at: int) -> None:
    before = snapshot(lost.cartridge(GOOD))
    drive = 1 if method != "position" else None
    with Faults().fail(method, at=at, drive=drive) as faults:
        outcome = lost.recopy(BAD, faults=faults)
    assert isinstance(outcome.error, PapertapeError)
    if method == "position":  # asked of the blank volume, before it was claimed
        assert lost.recopy(BAD).error is None
    else:
        assert (outcome.state, outcome.lacking) == ("incomplete", (NEW,))
        again = lost.recopy(NEW)
        assert (again.error, set(again.volumes)) == (None, {GOOD, "PAPR2003"})
    check_all_archived(lost)
    assert snapshot(lost.cartridge(GOOD)) == before


def test_a_new_copy_that_does_not_read_back_is_made_again(lost: Lab) -> None:
    outcome = lost.recopy(BAD, At("verifying", lambda: flip(lost.tape_files(NEW)[3], 70_000)))
    assert isinstance(outcome.error, VerificationFailed)
    assert (outcome.state, outcome.lacking) == ("incomplete", (NEW,))
    assert lost.recopy(NEW).error is None
    check_all_archived(lost)


class Killed(BaseException):
    """Whoever ran the job is gone."""


@pytest.mark.parametrize(("phase", "blocks"), [("copying", 0), ("copying", 9), ("verifying", 0), ("verifying", 3)])
def test_a_recopy_that_a_dead_process_left_is_continued(lost: Lab, phase: str, blocks: int) -> None:
    before = snapshot(lost.cartridge(GOOD))

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        lost.recopy(BAD, At(phase, die, blocks))
    (outcome,) = lost.recover() or [lost.recopy(NEW)]
    if outcome.state != "archived":
        assert outcome.lacking == (NEW,)
        again = lost.recopy(NEW)
        assert (again.error, set(again.volumes)) == (None, {GOOD, NEW})
    check_all_archived(lost)
    check_twins(lost, GOOD, NEW)
    assert snapshot(lost.cartridge(GOOD)) == before


@pytest.mark.parametrize("from_disk", [False, True])
def test_stopped_at_once_the_same_volume_is_written_again(lost: Lab, from_disk: bool) -> None:
    stop = Stop()

    def ask() -> None:
        stop.soon = stop.now = True

    outcome = lost.recopy(BAD, At("writing" if from_disk else "copying", ask, 3), stop, from_disk=from_disk)
    assert isinstance(outcome.error, Interrupted)
    assert (outcome.state, outcome.lacking) == ("incomplete", (NEW,))
    again = lost.recopy(NEW)
    assert (again.error, set(again.volumes)) == (None, {GOOD, NEW})
    check_all_archived(lost)


def test_an_impossible_recopy_is_reported_and_changes_nothing(lab: Lab) -> None:
    lab.dump()
    for tag, words in (("PAPR1002", "holds no copy"), (GOOD, "not known to be bad"), ("NOSUCH01", "not registered")):
        with pytest.raises(UserError, match=words):
            lab.recopy(tag)
    lab.ledger.volumes.retire(BAD, "lost")
    lab.ledger.volumes.retire(NEW, "sold")
    lab.ledger.volumes.retire("PAPR2003", "sold")
    with pytest.raises(NoBlankVolume, match="register one with"):
        lab.recopy(BAD)
    lab.ledger.volumes.add([("PAPR2004", 2, 1000)])
    with pytest.raises(NoBlankVolume, match="none is in the library; put PAPR2004"):
        lab.recopy(BAD)
    assert lab.ledger.dumps.all()[0].state == "archived"


def test_a_volume_that_is_not_blank_is_not_written_to(lost: Lab) -> None:
    operate(lost.cartridge(NEW), lambda record: record.update(barcode="OTHER001"))
    operate(lost.cartridge(BAD), lambda record: record.update(barcode=NEW))
    before = [path.read_bytes() for path in lost.tape_files(BAD)]
    outcome = lost.recopy(BAD)
    assert isinstance(outcome.error, VolumeNotBlank)
    assert lost.volumes()[NEW] == "aside"
    assert [path.read_bytes() for path in lost.tape_files(BAD)] == before
    assert lost.ledger.dumps.all()[0].state == "archived"
    assert lost.recopy(BAD).error is None
    check_all_archived(lost)


def test_a_good_twin_that_is_away_is_asked_for(lost: Lab) -> None:
    operate(lost.cartridge(GOOD), lambda record: record.update(barcode="OTHER001"))
    with pytest.raises(CopiesMissing, match=GOOD):
        lost.recopy(BAD)
    assert lost.recopy(BAD, from_disk=True).error is None


def test_of_three_copies_two_bad_ones_are_made_again_one_after_the_other(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(copies=3, drives=3)
    lab.add(*night)
    assert lab.dump().error is None
    for tag in ("PAPR2001", "PAPR3001"):
        lab.ledger.volumes.retire(tag, "lost")
    first = lab.recopy("PAPR2001")
    assert (first.state, type(first.error)) == ("incomplete", VolumeError)
    assert "PAPR3001" in str(first.error)
    second = lab.recopy("PAPR3001")
    assert (second.state, second.error) == ("archived", None)
    check_all_archived(lab)


def test_a_drive_that_dies_at_any_block_while_a_dump_is_written(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab()
    lab.add(*night)
    with Faults().fail("write_block", at=8, drive=1, lasting=False) as faults:
        outcome = lab.dump(faults=faults)
    assert isinstance(outcome.error, DriveError)
    before = snapshot(lab.cartridge(GOOD))
    assert lab.recopy(BAD).error is None
    check_all_archived(lab)
    assert snapshot(lab.cartridge(GOOD)) == before
