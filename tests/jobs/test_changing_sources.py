"""A source that is not what it was costs its own data set and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from papertape.errors import AllRejected, NothingToDo
from papertape.jobs.context import Outcome
from papertape.jobs.deletable import OnDisk, find_deletable
from stories import HOST, KIB, At, Lab, check_all_archived, check_archived, noise

from .conftest import MakeLab

BIG = 4 * KIB * KIB


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 100_000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def rewrite_the_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (grow, "grew while it was read"),
    (shrink, "shrank while it was read"),
    (empty, "shrank while it was read"),
    (rewrite_the_end, "changed while it was read"),
    (touch, "changed while it was read"),
]


@pytest.fixture
def big(lab: Lab, tmp_path: Path) -> Path:
    """A waiting file of 4 MiB, larger than the ring, that comes before a night of other data sets."""
    path = tmp_path / "a-big-one"
    path.write_bytes(noise(BIG))
    lab.add(path)
    return path


def check_rejected(lab: Lab, outcome: Outcome, name: str, reason: str) -> None:
    """That data set is rejected with the reason, and named; the others are archived, and both volumes verify."""
    assert outcome.error is None
    assert outcome.state == "archived"
    assert [(source.rpartition("/")[2], why) for source, why in outcome.rejected] == [(name, lab.reasons()[name])]
    assert reason in lab.reasons()[name]
    states = lab.states()
    assert states.pop(name) == "rejected"
    assert set(states.values()) == {"archived"}
    check_archived(lab)


def check_by_hand(lab: Lab, folder: Path, name: str) -> None:
    """Stock tar and sha256sum are content with every archive, and no list of digests names the rejected one."""
    for path in lab.tape_files("PAPR1001")[2:]:
        folder.mkdir()
        subprocess.run(["tar", "-xf", path], cwd=folder, check=True, capture_output=True)
        if (folder / "SHA256SUMS").read_bytes():
            subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
        assert name not in (folder / "SHA256SUMS").read_text()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_a_file_that_changes_while_it_is_read(
    lab: Lab, big: Path, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    outcome = lab.dump(At("writing", lambda: change(big), blocks=4))
    check_rejected(lab, outcome, big.name, reason)
    check_by_hand(lab, tmp_path / "by hand", big.name)


def test_a_rejected_data_set_waits_again_once_it_is_registered_again(lab: Lab, big: Path) -> None:
    lab.dump(At("writing", lambda: grow(big), blocks=4))
    with pytest.raises(NothingToDo):
        lab.dump()
    lab.add(big)
    assert lab.states()[big.name] == "waiting"
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)


def be_gone(path: Path) -> None:
    path.unlink()


def be_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def be_a_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


REPLACED: list[tuple[Callable[[Path], object], str]] = [
    (be_gone, "No such file"),
    (be_a_pipe, "named pipe"),
    (be_a_link, "changed since"),
    (be_a_folder, "changed since"),
    (grow, "changed since it was registered"),
]


@pytest.mark.parametrize(("replace", "reason"), REPLACED)
def test_a_file_that_is_replaced_before_its_turn(
    lab: Lab, big: Path, night: list[Path], replace: Callable[[Path], object], reason: str
) -> None:
    outcome = lab.dump(At("writing", lambda: replace(night[3]), blocks=4))
    check_rejected(lab, outcome, night[3].name, reason)


@pytest.mark.parametrize(("replace", "reason"), REPLACED)
def test_a_file_that_is_replaced_between_add_and_dump(
    lab: Lab, night: list[Path], replace: Callable[[Path], object], reason: str
) -> None:
    replace(night[3])
    check_rejected(lab, lab.dump(), night[3].name, reason)


@pytest.fixture
def folder(lab: Lab, tmp_path: Path) -> Path:
    """A waiting directory: a big file first, and behind it more small ones than are opened ahead."""
    path = tmp_path / "a-folder.uv"
    path.mkdir()
    (path / "0").write_bytes(noise(BIG))
    for number in range(900):
        (path / f"file-{number:03}").write_bytes(b"%d" % number)
    lab.add(path)
    return path


LATER: list[tuple[Callable[[Path], object], str]] = [
    (be_gone, "cannot be opened (No such file"),
    (be_a_pipe, "while it was read"),
    (be_a_link, "cannot be opened"),
    (be_a_folder, "Is a directory"),
    (grow, "grew while it was read"),
]


@pytest.mark.parametrize(("replace", "reason"), LATER)
def test_a_member_that_is_replaced_while_its_data_set_is_read(
    lab: Lab, folder: Path, tmp_path: Path, replace: Callable[[Path], object], reason: str
) -> None:
    outcome = lab.dump(At("writing", lambda: replace(folder / "file-899"), blocks=4))
    check_rejected(lab, outcome, folder.name, reason)
    check_by_hand(lab, tmp_path / "by hand", folder.name)


def test_a_member_that_is_added_while_its_data_set_is_read(lab: Lab, folder: Path) -> None:
    outcome = lab.dump(At("writing", (folder / "new").touch, blocks=4))
    check_rejected(lab, outcome, folder.name, "changed while it was read")


def test_a_member_that_is_added_after_the_dump_keeps_the_disk_copy(lab: Lab, folder: Path) -> None:
    lab.dump(At("verifying", (folder / "new").touch))
    check_all_archived(lab)
    on_disk = {str(item.source).rpartition("/")[2]: item.on_disk for item in find_deletable(lab.ledger, HOST)}
    assert on_disk.pop(folder.name) is OnDisk.CHANGED
    assert set(on_disk.values()) == {OnDisk.SAME}


def test_a_folder_that_vanishes_while_it_is_read(lab: Lab, folder: Path) -> None:
    outcome = lab.dump(At("writing", lambda: folder.rename(folder.with_name("moved")), blocks=4))
    check_rejected(lab, outcome, folder.name, "No such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_any_more(lab: Lab, night: list[Path]) -> None:
    night[3].chmod(0)
    check_rejected(lab, lab.dump(), night[3].name, "cannot be opened")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_declared_md5_of_files_and_of_visdata_is_compared(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab()
    declared = {bytes(path): md5(path) for path in night[:-1]}
    declared[bytes(night[-1] / "visdata")] = md5(night[-1] / "visdata")
    lab.add(*night, md5s=declared)
    assert lab.dump().rejected == ()
    check_all_archived(lab)
    for found in lab.ledger.search.find("*.uvh5"):
        (file,) = lab.ledger.search.files(found)
        assert file.md5 in declared.values()


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_source_that_has_not_its_declared_md5(
    new_lab: MakeLab, night: list[Path], tmp_path: Path, number: int
) -> None:
    lab = new_lab()
    lab.add(*night, md5s={bytes(night[number]): "0" * 32})
    check_rejected(lab, lab.dump(), night[number].name, f"its declared MD5 is {'0' * 32}, but what was read has")
    check_by_hand(lab, tmp_path / "by hand", night[number].name)


def test_a_directory_without_the_visdata_whose_md5_is_declared(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab()
    (night[-1] / "visdata").rename(night[-1] / "visdata.old")
    lab.add(*night, md5s={bytes(night[-1]): "0" * 32})
    check_rejected(lab, lab.dump(), night[-1].name, "there is no visdata in it")


def test_a_visdata_deeper_down_is_not_the_one_that_counts(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab()
    (night[-1] / "deep").mkdir()
    (night[-1] / "deep" / "visdata").write_bytes(b"another")
    lab.add(*night, md5s={bytes(night[-1]): md5(night[-1] / "visdata")})
    assert lab.dump().rejected == ()


def test_only_rejected_sources_archive_nothing_and_keep_the_volumes_for_the_next_dump(
    lab: Lab, night: list[Path]
) -> None:
    for path in night[:-1]:
        grow(path)
    grow(night[-1] / "header")
    outcome = lab.dump()
    assert isinstance(outcome.error, AllRejected)
    assert len(outcome.rejected) == 6
    assert set(lab.states().values()) == {"rejected"}
    with pytest.raises(NothingToDo):
        lab.dump()
    lab.add(*night)
    assert lab.dump().volumes == ("PAPR1001", "PAPR2001")
    check_all_archived(lab)


def test_many_rejected_ones_in_several_archives(lab: Lab, big: Path, night: list[Path]) -> None:
    for path in (night[0], night[2], night[3]):
        grow(path)
    outcome = lab.dump()
    assert outcome.error is None
    assert sorted(lab.states().items()) == [
        ("a-big-one", "archived"),
        *((path.name, "rejected" if path in (night[0], night[2], night[3]) else "archived") for path in night),
    ]
    check_archived(lab)
