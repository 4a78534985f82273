"""A clean dump: everything archived, the evidence complete, twins equal, the library as it was."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from papertape.errors import NothingToDo, TooFewDrives
from papertape.events import Event, Phase, RobotMoves
from papertape.jobs.register import register
from papertape.ledger import CopyRecord
from papertape.settings import CROSSED, IN_PLACE, MOUNTS, RELOAD
from papertape.version import __version__
from papertape.volume.layout import RECORD
from stories import BLOCK, HOST, KIB, Lab, check_all_archived, noise

from .conftest import MakeLab


class Diary:
    """Robot moves and phases in their order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Phase():
                self.lines.append(event.name)
            case RobotMoves():
                self.lines.append(f"{event.volume}: {event.source} to {event.destination}")


def copies_of(lab: Lab) -> tuple[CopyRecord, ...]:
    (dump,) = lab.ledger.dumps.all()
    return dump.copies


def tape_bytes(lab: Lab, tag: str) -> int:
    return sum(path.stat().st_size for path in lab.tape_files(tag))


def check_twins(lab: Lab, *tags: str) -> None:
    """The volumes differ in tape file 0 alone (R3)."""
    recordings = [[path.read_bytes() for path in lab.tape_files(tag)] for tag in tags]
    assert len(recordings[0]) > 3
    for other in recordings[1:]:
        assert other[0] != recordings[0][0]
        assert other[1:] == recordings[0][1:]


def test_a_clean_dump_is_archived_on_a_pair_with_all_evidence(lab: Lab) -> None:
    before = lab.where()
    outcome = lab.dump()
    assert (outcome.state, outcome.error, outcome.rejected) == ("archived", None, ())
    assert (outcome.volumes, outcome.datasets, outcome.files) == (("PAPR1001", "PAPR2001"), 6, 8)
    assert lab.where() == before
    check_twins(lab, "PAPR1001", "PAPR2001")
    for copy in copies_of(lab):
        assert (copy.touched, copy.files, copy.version) == (True, 8, __version__)
        assert copy.bytes == tape_bytes(lab, copy.volume)
        assert None not in (copy.written_at, copy.flushed_at, copy.verified_at)
        assert (copy.write_serial, copy.verify_serial) == (
            f"VIRTUAL{copy.write_drive:03}",
            f"VIRTUAL{copy.verify_drive:03}",
        )
        assert copy.write_drive != copy.verify_drive
    check_all_archived(lab)


def test_every_byte_and_every_file_was_read_back(lab: Lab) -> None:
    outcome = lab.dump()
    assert outcome.size == 650_063
    for verification in outcome.verifications:
        assert verification.ok
        assert verification.bytes == tape_bytes(lab, verification.volume)
        assert verification.files == 8


def test_a_second_dump_has_nothing_to_do_and_a_changed_source_goes_to_the_next_pair(
    lab: Lab, night: list[Path]
) -> None:
    lab.dump()
    first = [path.read_bytes() for path in lab.tape_files("PAPR1001")]
    with pytest.raises(NothingToDo):
        lab.dump()
    night[0].write_bytes(b"reprocessed")
    lab.add(*night)
    outcome = lab.dump()
    assert (outcome.volumes, outcome.datasets) == (("PAPR1002", "PAPR2002"), 1)
    assert [path.read_bytes() for path in lab.tape_files("PAPR1001")] == first
    check_all_archived(lab)


def test_without_rejections_the_spool_is_gone_after_the_dump(lab: Lab) -> None:
    lab.dump()
    assert list(lab.settings.spool.iterdir()) == []


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_verifying_mount_is_made_as_the_setting_says(new_lab: MakeLab, night: list[Path], mount: str) -> None:
    lab = new_lab(mount=mount)
    lab.add(*night)
    diary = Diary()
    assert lab.dump(diary).error is None
    between = diary.lines[diary.lines.index("writing") + 1 : diary.lines.index("verifying")]
    assert len(between) == {IN_PLACE: 0, RELOAD: 4, CROSSED: 4}[mount]
    crossed = [copy.write_drive != copy.verify_drive for copy in copies_of(lab)]
    assert crossed == [mount == CROSSED] * 2
    check_all_archived(lab)


@pytest.mark.parametrize(("copies", "drives"), [(1, 1), (1, 2), (2, 4), (3, 3), (3, 4)])
def test_any_number_of_copies_and_drives(new_lab: MakeLab, night: list[Path], copies: int, drives: int) -> None:
    lab = new_lab(copies=copies, drives=drives)
    lab.add(*night)
    outcome = lab.dump()
    assert outcome.volumes == tuple(f"PAPR{copy}001" for copy in range(1, copies + 1))
    assert [copy.write_drive != copy.verify_drive for copy in copies_of(lab)] == [drives > 1] * copies
    check_all_archived(lab)
    check_twins(lab, *outcome.volumes)


def test_with_too_few_drives_nothing_is_claimed(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(drives=1)
    lab.add(*night)
    with pytest.raises(TooFewDrives, match="2 needed at once, 1 available"):
        lab.dump()
    assert set(lab.states().values()) == {"waiting"}
    assert lab.ledger.dumps.all() == ()


def test_more_than_a_pair_holds_goes_to_pair_after_pair(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(capacity=900_000)
    lab.add(*night)
    outcomes = lab.finish()
    assert [outcome.volumes for outcome in outcomes] == [("PAPR1001", "PAPR2001"), ("PAPR1002", "PAPR2002")]
    check_all_archived(lab)


def test_a_data_set_larger_than_a_volume_is_refused_by_name_and_the_others_archived(
    new_lab: MakeLab, night: list[Path], tmp_path: Path
) -> None:
    lab = new_lab(capacity=2_000_000)
    (tmp_path / "huge").write_bytes(bytes(2_000_000))
    lab.add(*night, tmp_path / "huge")
    outcome = lab.dump()
    assert [source.rpartition("/")[2] for source, _ in outcome.rejected] == ["huge"]
    assert "more than a volume" in outcome.rejected[0][1]
    states = lab.states()
    assert states.pop("huge") == "rejected"
    assert set(states.values()) == {"archived"}


def test_only_data_sets_that_no_volume_holds_are_refused_without_touching_a_volume(
    new_lab: MakeLab, tmp_path: Path
) -> None:
    lab = new_lab(capacity=2_000_000)
    (tmp_path / "huge").write_bytes(bytes(2_000_000))
    lab.add(tmp_path / "huge")
    outcome = lab.dump()
    assert (outcome.dump, len(outcome.rejected)) == (0, 1)
    assert set(lab.volumes().values()) == {"blank"}
    with pytest.raises(NothingToDo):
        lab.dump()


def test_members_may_end_wherever_they_like_in_a_block(new_lab: MakeLab, tmp_path: Path) -> None:
    """Each number of records is in it: files, and lists of digests, that end where a block ends, or close to it."""
    lab = new_lab(archive_size=1, capacity=64 * KIB * KIB)
    (tmp_path / "many").mkdir()
    for records in range(BLOCK // RECORD):
        (tmp_path / "many" / f"{records:03}").write_bytes(noise(records * RECORD))
    lab.add(*sorted((tmp_path / "many").iterdir()))
    outcome = lab.dump()
    assert (outcome.error, outcome.rejected, outcome.datasets) == (None, (), BLOCK // RECORD)


def test_a_ledger_that_several_hosts_share_gives_each_its_own_data_sets(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    list(register(lab.ledger, f"{HOST}2", [os.fsencode(other)], {}))
    lab.settings = dataclasses.replace(lab.settings, host=HOST)
    assert lab.dump().error is None
    assert [str(item.source) for item in lab.ledger.datasets.pending()] == [f"{HOST}2:{other}"]
    with pytest.raises(
        NothingToDo,
        match=f"no data set of host {HOST} is waiting; .* such as {HOST}2:{other}",
    ):
        lab.dump()
