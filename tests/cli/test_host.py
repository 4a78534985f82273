"""The host's own disk refuses: one sentence, a ledger in order, and after making room the dump succeeds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgers import in_a_file

from .operatorlab import Lab, check_archived, check_at_rest


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "papertape-test", folder], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("this needs the right to mount a small disk")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def check_nothing_used_up(lab: Lab) -> None:
    assert lab.states("datasets") == ["waiting"] * 6
    assert "aside" not in lab.states("volumes")
    assert check_archived(lab) == 0


def check_succeeds(lab: Lab, slots: list[str]) -> None:
    ran = lab.run("dump")
    assert ran.code == 0, ran
    assert check_archived(lab) == 6
    assert lab.states("volumes") == ["archived"] * 2 + ["blank"] * 4
    check_at_rest(lab, slots)


def test_a_full_disk_below_the_library(waiting: Lab, disk: Disk) -> None:
    slots = waiting.homes()[1]
    moved = disk.folder / "library"
    shutil.move(waiting.library, moved)
    waiting.configure(library__path=f'"{moved}"')
    waiting.library = moved
    ran = waiting.run("dump")
    assert ran.code == 6
    assert "disk below" in ran.error
    assert "make room" in ran.error
    check_at_rest(waiting, slots)
    check_nothing_used_up(waiting)
    disk.resize("80m")
    check_succeeds(waiting, slots)


def test_a_full_disk_below_the_spool(waiting: Lab, disk: Disk) -> None:
    slots = waiting.homes()[1]
    waiting.configure(spool=f'"{disk.folder}/spool"')
    disk.fill()
    ran = waiting.run("dump")
    assert ran.code == 1
    assert f"{disk.folder}/spool" in ran.error
    assert "make room" in ran.error
    check_at_rest(waiting, slots)
    check_nothing_used_up(waiting)
    disk.make_room()
    check_succeeds(waiting, slots)


@in_a_file
def test_a_full_disk_below_the_ledger(waiting: Lab, disk: Disk) -> None:
    slots = waiting.homes()[1]
    moved = disk.folder / "ledger.sqlite"
    for path in waiting.folder.glob("ledger.sqlite*"):
        shutil.move(path, disk.folder)
    waiting.use_ledger(f"sqlite:///{moved}")
    disk.fill()
    ran = waiting.run("dump")
    assert ran.code == 1
    assert "ledger.sqlite" in ran.error
    assert "full" in ran.error
    check_at_rest(waiting, slots)
    disk.make_room()
    check_nothing_used_up(waiting)
    check_succeeds(waiting, slots)


def test_init_on_a_full_disk_leaves_nothing(blank_lab: Lab, disk: Disk) -> None:
    disk.fill()
    ran = blank_lab.run("init", str(disk.folder / "new"))
    assert ran.code in {1, 2}
    assert "No space left" in ran.error or "full" in ran.error
    assert sorted(path.name for path in disk.folder.iterdir()) == ["filler"]
    disk.make_room()
    assert blank_lab.run("init", str(disk.folder / "new")).code == 0


def test_testdata_and_demo_look_for_room_first(blank_lab: Lab, disk: Disk) -> None:
    for command in ("testdata", "demo"):
        ran = blank_lab.run(command, str(disk.folder / "new"))
        assert ran.code == 2
        assert "make room" in ran.error
    assert not any(disk.folder.iterdir())


def test_a_read_only_folder(waiting: Lab, disk: Disk) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    ran = waiting.run("init", str(disk.folder / "new"))
    assert ran.code == 2
    assert "Read-only file system" in ran.error
    waiting.configure(spool=f'"{disk.folder}/spool"')
    ran = waiting.run("dump")
    assert ran.code == 1
    assert "Read-only file system" in ran.error
    check_nothing_used_up(waiting)


def test_a_file_in_place_of_the_spool(waiting: Lab) -> None:
    (waiting.folder / "spool").write_text("in the way")
    ran = waiting.run("dump")
    assert ran.code == 1
    assert "spool" in ran.error
    check_nothing_used_up(waiting)
    assert (waiting.folder / "spool").read_text() == "in the way"
