"""Data sets come back as they were, from whichever copy has them, and nothing half-written bears a final name."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from papertape.errors import CopiesMissing, DriveError, HostError, Interrupted, NothingToDo, RestoreFailed, UserError
from papertape.jobs.restore import Wish, plan_only
from papertape.tape.virtual.faults import Faults
from papertape.transfer.stop import Stop
from stories import HOST, KIB, At, Lab, noise, snapshot

from .conftest import MakeLab
from .damage import flip, operate

TAGS = ("PAPR1001", "PAPR2001")
PREFIX = ".papertape-"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A data set with all that an archive can hold."""
    folder = tmp_path / "night" / "odd.uv"
    (folder / "empty").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "visdata").write_bytes(noise(200_000, 7))
    (folder / "deep" / "er" / "flags").write_bytes(b"")
    (folder / "a\nb").write_bytes(b"a line feed")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_bytes(b"no UTF-8")
    (folder / "back\\slash").write_bytes(b"a backslash")
    (folder / "link").symlink_to("visdata")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "visdata").chmod(0o640)
    (folder / "deep").chmod(0o2750)
    for number, path in enumerate([folder / "visdata", folder / "deep", folder]):
        os.utime(path, ns=(1_500_000_000_123_456_789 + number,) * 2)
    return folder


@pytest.fixture
def full(lab: Lab, odd: Path) -> Lab:
    """A lab in which a night is archived."""
    lab.add(odd)
    assert lab.dump().error is None
    return lab


def describe(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a path, and itself: its mode, its time and what is in it."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        mode = status.st_mode & ~0o7777 if path.is_symlink() else status.st_mode
        found[str(path.relative_to(folder))] = (mode, status.st_mtime_ns, content)
    return found


def back(to: Path, path: Path) -> Path:
    return to / HOST / str(path)[1:]


def check_back(to: Path, *paths: Path) -> None:
    for path in paths:
        assert describe(back(to, path)) == describe(path)
    assert not [path for path in to.rglob("*") if path.name.startswith(PREFIX)]


def check_whole(to: Path, *paths: Path) -> None:
    """What bears the name of a data set is whole."""
    for path in paths:
        if os.path.lexists(back(to, path)):
            assert describe(back(to, path)) == describe(path)


def test_everything_comes_back_as_it_was(full: Lab, night: list[Path], odd: Path, tmp_path: Path) -> None:
    to = tmp_path / "back"
    done = full.restore("*", to=to)
    assert (done.error, done.sets, done.mounts, done.sick) == (None, 7, 1, {})
    check_back(to, *night, odd)
    assert not full.stranded()


def test_files_that_are_there_already_are_not_read_again(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path
) -> None:
    to = tmp_path / "back"
    full.restore("*", to=to)
    before = snapshot(to)
    done = full.restore("*", to=to)
    assert (done.sets, len(done.plan.present), done.mounts, done.read) == (0, 7, 0, 0)
    assert snapshot(to) == before
    (back(to, odd) / "visdata").unlink()
    done = full.restore("*", to=to)
    assert (done.sets, done.files, done.mounts) == (1, 1, 1)
    check_back(to, *night, odd)


def test_a_single_data_set_costs_a_locate_and_little_reading(new_lab: MakeLab, tmp_path: Path) -> None:
    lab = new_lab(archive_size=64 * KIB * KIB)
    paths = [tmp_path / "night" / f"zen.{number:02}" for number in range(6)]
    (tmp_path / "night").mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(noise(2_000_000, number))
    lab.add(*paths)
    lab.dump()
    for number, path in enumerate(paths):
        done = lab.restore(str(path), to=tmp_path / f"back{number}")
        assert (done.sets, done.locates, done.size) == (1, 1, 2_000_000)
        assert done.read <= 1.2 * done.size
        check_back(tmp_path / f"back{number}", path)


@pytest.mark.parametrize("tag", TAGS)
def test_a_damaged_byte_is_taken_from_the_twin(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path, tag: str
) -> None:
    flip(full.tape_files(tag)[3], 70_000)
    done = full.restore("*", to=tmp_path / "back", wish=Wish(("*",), volume=tag))
    assert (done.error, done.sets, done.mounts, list(done.sick)) == (None, 7, 2, [tag])
    check_back(tmp_path / "back", *night, odd)
    assert full.volumes()[tag] == "aside"
    assert not list(full.ledger.search.deletable())


def test_a_block_that_cannot_be_read_is_taken_from_the_twin(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path
) -> None:
    with Faults().fail("read_block", at=4) as faults:
        done = full.restore("*", to=tmp_path / "back", faults=faults)
    assert (done.error, done.sets, done.mounts) == (None, 7, 2)
    check_back(tmp_path / "back", *night, odd)
    assert full.volumes()["PAPR1001"] == "aside"


@pytest.mark.parametrize("method", ["open", "load", "locate", "unload", "close"])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_drive_that_fails_costs_nothing_where_there_is_another(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path, method: str, lasting: bool
) -> None:
    (tmp_path / "more").write_bytes(noise(100_000, 99))
    full.add(tmp_path / "more")
    assert full.dump().error is None
    faults = Faults().fail(method, at=1, drive=0, lasting=lasting)
    try:
        done = full.restore("*", to=tmp_path / "back", faults=faults)
    except DriveError:
        check_whole(tmp_path / "back", *night, odd, tmp_path / "more")
        with full.context().library.reserve(2):
            pass  # brings home what is left
        done = full.restore("*", to=tmp_path / "back")
    assert done.error is None
    check_back(tmp_path / "back", *night, odd, tmp_path / "more")


def test_damage_on_both_copies_at_different_places_costs_nothing(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path
) -> None:
    flip(full.tape_files("PAPR1001")[3], 70_000)
    flip(full.tape_files("PAPR2001")[2], 70_000)
    done = full.restore("*", to=tmp_path / "back")
    assert (done.error, done.sets, sorted(done.sick)) == (None, 7, ["PAPR1001"])
    check_back(tmp_path / "back", *night, odd)


def test_damage_in_one_data_set_on_both_copies_at_different_files_costs_nothing(
    full: Lab, odd: Path, tmp_path: Path
) -> None:
    (found,) = full.ledger.search.find(str(odd))
    members = {
        m.name.rpartition(b"/")[2]: m for m in full.ledger.contents.dataset_members(found.dump or 0, found.number or 0)
    }
    for tag, name in zip(TAGS, (b"visdata", b"back\\slash"), strict=True):
        member = members[name]
        flip(full.tape_files(tag)[member.tape_file], member.offset + 1536 + member.size // 2)
    done = full.restore(str(odd), to=tmp_path / "back")
    assert (done.error, done.sets) == (None, 1)
    check_back(tmp_path / "back", odd)


def test_damage_in_the_same_file_on_both_copies_names_it_and_saves_the_rest(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path
) -> None:
    for tag, offset in zip(TAGS, (70_000, 80_000), strict=True):
        flip(full.tape_files(tag)[2], offset)
    done = full.restore("*", to=tmp_path / "back")
    assert isinstance(done.error, RestoreFailed)
    assert done.error.exit_code == 8
    ((lost, why),) = done.failed
    assert done.sets == 6
    missing = [path for path in [*night, odd] if not back(tmp_path / "back", path).exists()]
    assert [f"{HOST}:{path}" for path in missing] == [lost]
    part = Path(why.rpartition(" is in ")[2])
    assert {path.name for path in part.iterdir()} == {path.name for path in missing[0].iterdir()} - {"visdata"}
    shutil.rmtree(part)
    check_back(tmp_path / "back", *({*night, odd} - set(missing)))
    assert [full.volumes()[tag] for tag in TAGS] == ["aside", "aside"]


def test_each_lost_data_set_is_named_with_the_finding_that_cost_it(
    full: Lab, night: list[Path], tmp_path: Path
) -> None:
    for path, place in ((night[0], 1536 + 5_000), (night[1], 0)):
        (found,) = full.ledger.search.find(str(path))
        members = full.ledger.contents.dataset_members(found.dump or 0, found.number or 0)
        largest = max(members, key=lambda member: member.size)
        for tag in TAGS:
            flip(full.tape_files(tag)[largest.tape_file], largest.offset + place)
    done = full.restore("*", to=tmp_path / "back")
    reasons = {source: why.partition(" (")[0] for source, why in done.failed}
    names = [f"{HOST}:{path}" for path in night[:2]]
    assert sorted(reasons) == sorted(names)
    assert reasons[names[0]].startswith("the bytes are not those that were written")
    assert reasons[names[1]].startswith("a tar header is damaged")
    assert all(str(path) in reasons[name] for path, name in zip(night, names, strict=False))


def test_two_blocks_that_cannot_be_read_in_a_large_data_set(new_lab: MakeLab, tmp_path: Path) -> None:
    lab = new_lab()
    many = tmp_path / "many.uv"
    many.mkdir()
    for number in range(40):
        (many / f"{number:02}").write_bytes(noise(30_000, number))
    lab.add(many)
    lab.dump()
    with Faults().fail("read_block", at=5, drive=0).fail("read_block", at=9, drive=0) as faults:
        done = lab.restore("*", to=tmp_path / "back", faults=faults)
    assert (done.error, done.sets, done.mounts) == (None, 1, 2)
    check_back(tmp_path / "back", many)
    assert done.read < 2 * 1_300_000


def test_the_label_of_another_volume_is_not_trusted(full: Lab, night: list[Path], odd: Path, tmp_path: Path) -> None:
    own, other = (full.tape_files(tag)[0] for tag in TAGS)
    own.write_bytes(other.read_bytes())
    done = full.restore("*", to=tmp_path / "back")
    assert (done.error, list(done.sick)) == (None, ["PAPR1001"])
    check_back(tmp_path / "back", *night, odd)


def test_a_volume_that_is_not_in_the_library_is_passed_over(full: Lab, night: list[Path], tmp_path: Path) -> None:
    operate(full.cartridge("PAPR1001"), lambda record: record.update(barcode="OTHER001"))
    done = full.restore("zen", to=tmp_path / "back")
    assert (done.error, done.sick, done.plan.portions[0].copies[0].volume) == (None, {}, "PAPR2001")
    check_back(tmp_path / "back", *night)


def test_volumes_that_are_both_away_are_named_with_their_places(full: Lab, tmp_path: Path) -> None:
    for number, tag in enumerate(TAGS):
        operate(full.cartridge(tag), lambda record, number=number: record.update(barcode=f"OTHER00{number}"))
    full.ledger.volumes.place("PAPR2001", "the vault, shelf 3")
    done = full.restore("*", to=tmp_path / "back")
    assert isinstance(done.error, CopiesMissing)
    assert "PAPR2001: out of the library, the vault, shelf 3" in str(done.error)
    assert done.mounts == 0


def test_a_different_file_is_never_replaced_without_overwrite(full: Lab, night: list[Path], tmp_path: Path) -> None:
    to, mine = tmp_path / "back", back(tmp_path / "back", night[0])
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match="--overwrite"):
        full.restore("*", to=to)
    assert [path.read_bytes() for path in to.rglob("*") if path.is_file()] == [b"mine"]
    done = full.restore("zen", to=to, overwrite=True)
    assert done.error is None
    check_back(to, *night)


def test_a_folder_in_the_place_of_a_file_is_in_the_way_even_so(full: Lab, night: list[Path], tmp_path: Path) -> None:
    back(tmp_path / "back", night[0]).mkdir(parents=True)
    with pytest.raises(UserError, match="in the way"):
        full.restore("*", to=tmp_path / "back", overwrite=True)


def test_a_link_in_the_destination_is_never_followed(full: Lab, night: list[Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    to = tmp_path / "back"
    to.mkdir()
    (to / HOST).symlink_to(outside)
    with pytest.raises(UserError, match="no folder"):
        full.restore("*", to=to)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("blocks", [1, 3, 5, 9])
def test_stopped_at_once_it_continues_with_the_same_command(
    full: Lab, night: list[Path], odd: Path, tmp_path: Path, blocks: int
) -> None:
    stop, to = Stop(), tmp_path / "back"

    def ask() -> None:
        stop.soon = stop.now = True

    with pytest.raises(Interrupted, match="same command"):
        full.restore("*", to=to, stop=stop, tell=At("restoring", ask, blocks))
    check_whole(to, *night, odd)
    done = full.restore("*", to=to)
    assert done.error is None
    check_back(to, *night, odd)


def test_an_older_version_by_date_and_by_dump(full: Lab, night: list[Path], tmp_path: Path) -> None:
    before = night[0].read_bytes()
    night[0].write_bytes(b"a newer version")
    full.add(night[0])
    full.dump()
    first, second = sorted(full.ledger.dumps.all(), key=lambda dump: dump.id)
    assert first.created_at
    source = f"{HOST}:{night[0]}"
    cases = [
        (Wish((source,)), b"a newer version"),
        (Wish((source,), at=first.created_at + timedelta(microseconds=1)), before),
        (Wish((source,), dump=first.id), before),
        (Wish((source,), dump=second.id), b"a newer version"),
    ]
    for number, (wish, content) in enumerate(cases):
        to = tmp_path / f"back{number}"
        assert full.restore(to=to, wish=wish).error is None
        assert back(to, night[0]).read_bytes() == content


def test_nothing_to_restore_is_reported(full: Lab, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="nosuch"):
        full.restore("nosuch", to=tmp_path / "back")
    (tmp_path / "waits").write_bytes(b"waits")
    full.add(tmp_path / "waits")
    with pytest.raises(NothingToDo, match="on tape"):
        full.restore("waits", to=tmp_path / "back")


def test_a_plan_makes_no_folder(full: Lab, tmp_path: Path) -> None:
    plan = plan_only(full.context(), Wish(("*",)), tmp_path / "back")
    assert (len(plan.portions), len(plan.portions[0].sets), plan.places["PAPR1001"]) == (1, 7, "slot 1")
    assert not (tmp_path / "back").exists()


def test_all_drives_are_used_at_once(new_lab: MakeLab, tmp_path: Path) -> None:
    lab = new_lab(capacity=4 * KIB * KIB)
    paths = [tmp_path / f"zen.{number}" for number in range(9)]
    for number, path in enumerate(paths):
        path.write_bytes(noise(1_000_000, number))
    lab.add(*paths)
    lab.finish()
    done = lab.restore("*", to=tmp_path / "back")
    assert (done.error, done.sets, done.mounts) == (None, 9, 3)
    check_back(tmp_path / "back", *paths)
    assert not lab.stranded()


def test_an_incomplete_dump_can_be_restored_from(lab: Lab, night: list[Path], tmp_path: Path) -> None:
    with Faults().fail("write_block", at=5, drive=0) as faults:
        lab.dump(faults=faults)
    done = lab.restore("*", to=tmp_path / "back")
    assert (done.error, done.sick, done.mounts) == (None, {}, 1)
    check_back(tmp_path / "back", *night)


def test_a_disk_that_is_full_is_reported_and_nothing_is_half_written(full: Lab, tmp_path: Path) -> None:
    before, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    lab_files = max(path.stat().st_size for path in full.folder.rglob("*") if path.is_file())
    assert lab_files > 50_000
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(HostError, match="run the same command again"):
            full.restore(f"{HOST}:*zen.0*", to=tmp_path / "back")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == []
