"""Nothing is written to a volume that does not itself say that it may be."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from papertape.errors import Interrupted, NoBlankVolume, VolumeError, VolumeNotBlank, WriteProtected
from papertape.tape.drive import Mark
from papertape.tape.virtual.faults import Faults
from papertape.transfer.stop import Stop
from stories import BLOCK, At, Lab, check_all_archived, noise, snapshot

from .conftest import MakeLab
from .damage import operate, record

TAGS = ("PAPR1001", "PAPR2001")


def foreign_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("theirs"))
    return buffer.getvalue()


def put_random_bytes(lab: Lab, tag: str) -> None:
    record(lab, tag, noise(10_240))


def put_one_byte(lab: Lab, tag: str) -> None:
    record(lab, tag, b"x")


def put_a_foreign_tar(lab: Lab, tag: str) -> None:
    record(lab, tag, foreign_tar(), Mark.FILEMARK)


def put_a_filemark(lab: Lab, tag: str) -> None:
    record(lab, tag, Mark.FILEMARK)


def put_an_unreadable_block(lab: Lab, tag: str) -> None:
    record(lab, tag, noise(BLOCK))
    lab.tape_files(tag)[0].write_bytes(b"")


def put_a_block_that_is_too_long(lab: Lab, tag: str) -> None:
    record(lab, tag, noise(5 * 1024 * 1024))


def put_another_ledgers_volume(lab: Lab, tag: str, other: Lab) -> None:
    for path in other.tape_files("PAPR1001"):
        (lab.cartridge(tag) / path.name).write_bytes(path.read_bytes())
    operate(lab.cartridge(tag), lambda mine: mine.update(tape_files=tape_files_of(other)))


def tape_files_of(other: Lab) -> list[object]:
    found: list[object] = []
    operate(other.cartridge("PAPR1001"), lambda theirs: found.extend(theirs["tape_files"]))
    return found


FOREIGN = [
    (put_random_bytes, "it holds 10,240 bytes of someone else's data"),
    (put_one_byte, "it holds 1 byte of someone else's data"),
    (put_a_foreign_tar, "a tar archive of someone else's"),
    (put_a_filemark, "a filemark"),
    (put_an_unreadable_block, "is not known to be blank"),
    (put_a_block_that_is_too_long, "is not known to be blank"),
]


def check_untouched(lab: Lab, tag: str, kind: type[VolumeError], reason: str) -> None:
    """The dump is refused: nothing is written to that volume or its twin; it is set aside, the twin is blank again."""
    before = [snapshot(lab.cartridge(each)) for each in TAGS]
    outcome = lab.dump()
    assert type(outcome.error) is kind
    assert outcome.error.volume_tag == tag
    assert reason in str(outcome.error)
    assert [snapshot(lab.cartridge(each)) for each in TAGS] == before
    assert [lab.volumes()[each] for each in TAGS] == ["aside" if each == tag else "blank" for each in TAGS]
    assert reason in lab.ledger.volumes.one(tag).reason
    assert set(lab.states().values()) == {"waiting"}
    assert not lab.stranded()
    assert tag not in lab.dump().volumes
    check_all_archived(lab)
    assert snapshot(lab.cartridge(tag)) == before[TAGS.index(tag)]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(("put", "reason"), FOREIGN)
def test_a_volume_that_holds_anything_is_not_written_to(
    lab: Lab, tag: str, put: Callable[[Lab, str], None], reason: str
) -> None:
    put(lab, tag)
    check_untouched(lab, tag, VolumeNotBlank, reason)


@pytest.mark.parametrize("tag", TAGS)
def test_a_volume_of_another_ledger_is_not_written_to_though_it_has_the_same_tag(
    lab: Lab, new_lab: MakeLab, night: list[Path], tag: str
) -> None:
    other = new_lab()
    other.add(*night)
    other.dump()
    put_another_ledgers_volume(lab, tag, other)
    check_untouched(lab, tag, VolumeNotBlank, "papertape's volume PAPR1001")


@pytest.mark.parametrize("tag", TAGS)
def test_a_write_protected_volume_is_not_written_to(lab: Lab, tag: str) -> None:
    operate(lab.cartridge(tag), lambda record: record.update(write_protected=True))
    check_untouched(lab, tag, WriteProtected, "tab forbids writing")


def test_both_volumes_hold_something(lab: Lab) -> None:
    for tag in TAGS:
        put_random_bytes(lab, tag)
    before = [snapshot(lab.cartridge(tag)) for tag in TAGS]
    errors = [lab.dump().error for _ in range(2)]
    assert [error.volume_tag for error in errors if isinstance(error, VolumeError)] == list(TAGS)
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    assert [snapshot(lab.cartridge(tag)) for tag in TAGS] == before


def hold(lab: Lab, blocks: int) -> None:
    """Interrupt a dump while it writes, so that its volumes stay with it."""
    stop = Stop()

    def stop_at_once() -> None:
        stop.ask()
        stop.ask()

    outcome = lab.dump(At("writing", stop_at_once, blocks=blocks), stop)
    assert isinstance(outcome.error, Interrupted)
    assert lab.ledger.dumps.held()


@pytest.mark.parametrize("blocks", [0, 1, 9])
def test_a_held_dump_is_taken_up_on_volumes_with_its_own_label_and_on_blank_ones(lab: Lab, blocks: int) -> None:
    hold(lab, blocks)
    assert lab.dump().volumes == TAGS
    assert len(lab.ledger.dumps.all()) == 1
    check_all_archived(lab)


def make_blank(lab: Lab, tag: str) -> None:
    for path in lab.tape_files(tag):
        path.unlink()
    operate(lab.cartridge(tag), lambda record: record.update(tape_files=[]))


def test_a_held_dump_is_taken_up_on_volumes_that_were_erased_meanwhile(lab: Lab) -> None:
    hold(lab, 9)
    make_blank(lab, "PAPR1001")
    assert lab.dump().volumes == TAGS
    check_all_archived(lab)


@pytest.mark.parametrize(("put", "reason"), FOREIGN)
def test_a_held_dump_does_not_write_to_a_volume_that_holds_someone_elses(
    lab: Lab, put: Callable[[Lab, str], None], reason: str
) -> None:
    hold(lab, 9)
    make_blank(lab, "PAPR2001")
    put(lab, "PAPR2001")
    before = snapshot(lab.cartridge("PAPR2001"))
    outcome = lab.dump()
    assert isinstance(outcome.error, VolumeNotBlank)
    assert reason in str(outcome.error)
    assert snapshot(lab.cartridge("PAPR2001")) == before
    assert lab.volumes()["PAPR2001"] == "aside"
    lab.finish()
    check_all_archived(lab)
    assert snapshot(lab.cartridge("PAPR2001")) == before


def test_a_held_dump_does_not_write_over_an_archived_volume_under_its_tag(
    lab: Lab, new_lab: MakeLab, night: list[Path]
) -> None:
    other = new_lab()
    other.add(*night)
    other.dump()
    hold(lab, 9)
    put_another_ledgers_volume(lab, "PAPR1001", other)
    before = snapshot(lab.cartridge("PAPR1001"))
    assert isinstance(lab.dump().error, VolumeNotBlank)
    assert snapshot(lab.cartridge("PAPR1001")) == before
    lab.finish()
    check_all_archived(lab)


def test_a_held_dump_whose_drive_fails_stays_held(lab: Lab) -> None:
    hold(lab, 9)
    with Faults().fail("load", drive=1) as faults:
        assert lab.dump(faults=faults).error is not None
    assert lab.ledger.dumps.held()
    assert lab.dump().volumes == TAGS
    check_all_archived(lab)


def test_no_blank_volume_is_reported_before_anything_is_claimed(lab: Lab) -> None:
    for number in range(1, 4):
        lab.ledger.volumes.retire(f"PAPR2{number:03}", "worn")
    with pytest.raises(NoBlankVolume, match="copy 2: register one"):
        lab.dump()
    assert set(lab.states().values()) == {"waiting"}


def test_a_held_dump_whose_volume_is_away_waits_for_it_while_others_go_on(lab: Lab, tmp_path: Path) -> None:
    hold(lab, 9)
    label = lab.cartridge("PAPR1001")
    operate(label, lambda record: record.update(barcode=None))
    before = [snapshot(lab.cartridge(tag)) for tag in TAGS]
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    assert [snapshot(lab.cartridge(tag)) for tag in TAGS] == before
    operate(label, lambda record: record.update(barcode="PAPR1001"))
    (tmp_path / "later").write_bytes(b"later")
    lab.add(tmp_path / "later")
    assert lab.dump().volumes == TAGS
    check_all_archived(lab)
