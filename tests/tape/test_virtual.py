"""The library in a folder: its files, what survives a kill, hostile records, and the host's own faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from papertape.errors import ChangerError, DriveError, PapertapeError, UserError, VolumeError
from papertape.tape.drive import Mark
from papertape.tape.virtual.library import VirtualLibrary, add_cartridge, create_library

from .devices import drive_at, edit, is_blank, mail, open_loaded, read, slot, write

FM, EOD = Mark.FILEMARK, Mark.END_OF_DATA
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_library(tmp_path / "library", drives=2, slots=3, capacity=10**6, volume_tags=["A1", "A2"])
    return tmp_path / "library"


def record(folder: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((folder / "cartridges/A1/cartridge.json").read_text())
    return loaded


def test_nothing_is_believed_before_the_first_rewind(folder: Path) -> None:
    library = VirtualLibrary(folder)
    library.changer.move(slot(1), drive_at(0))
    drive = library.drives[0].open()
    assert drive.status().ready
    for call in (
        drive.position,
        lambda: read(drive),
        lambda: write(drive, b"x"),
        lambda: drive.space(Mark.END_OF_DATA),
    ):
        with pytest.raises(DriveError):
            call()
    drive.rewind()
    assert is_blank(drive)
    drive.close()


def test_a_tape_file_is_a_host_file_that_tar_reads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    archive = subprocess.run(["tar", "-cf", "-", "hello.txt"], cwd=tmp_path, check=True, capture_output=True).stdout
    drive = open_loaded(folder)
    for _ in range(2):
        write(drive, *[archive[start : start + 512] for start in range(0, len(archive), 512)])
        drive.write_filemark(flush=False)
    drive.close()
    cartridge = folder / "cartridges" / "A1"
    assert sorted(path.name for path in cartridge.iterdir()) == ["0000.tar", "0001.tar", "cartridge.json"]
    listed = subprocess.run(["tar", "-tf", cartridge / "0001.tar"], check=True, capture_output=True).stdout
    assert listed == b"hello.txt\n"


def test_equal_blocks_are_one_run(folder: Path) -> None:
    drive = open_loaded(folder)
    write(drive, *[bytes(512)] * 9, bytes(100))
    drive.close()
    assert record(folder)["tape_files"] == [{"runs": [[512, 9], [100, 1]], "filemark": True}]


def test_files_after_a_written_block_are_removed(folder: Path) -> None:
    drive = open_loaded(folder)
    for number in range(4):
        write(drive, bytes([number]))
        drive.write_filemark(flush=False)
    drive.locate(2)
    write(drive, b"new")
    drive.close()
    names = sorted(path.name for path in (folder / "cartridges/A1").iterdir())
    assert names == ["0000.tar", "0001.tar", "cartridge.json"]


def test_a_host_file_that_was_cut_is_an_unreadable_block_and_no_end(folder: Path) -> None:
    drive = open_loaded(folder)
    write(drive, b"0" * 100, b"1" * 100)
    drive.close()
    os.truncate(folder / "cartridges/A1/0000.tar", 150)
    drive = open_loaded(folder)
    assert read(drive) == b"0" * 100
    with pytest.raises(DriveError, match="EIO"):
        read(drive)
    assert read(drive) is FM
    drive.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version": 2}',
        b"[" * 100_000,
        b'{"version":1,"barcode":"../x","generation":"LTO-6","capacity":1,"early_warning":1}',
        b'{"version":1,"barcode":"A1","generation":"LTO-6","capacity":-1,"early_warning":1}',
        (
            b'{"version":1,"barcode":"A1","generation":"LTO-6","capacity":9,"early_warning":1,'
            b'"tape_files":[{"runs":[[0,1]],"filemark":true}]}'
        ),
        (
            b'{"version":1,"barcode":"A1","generation":"LTO-6","capacity":9,"early_warning":1,'
            b'"tape_files":[{"runs":[[1,null]],"filemark":true}]}'
        ),
        (
            b'{"version":1,"barcode":"A1","generation":"LTO-6","capacity":9,"early_warning":1,'
            b'"tape_files":[{"runs":[],"filemark":false},{"runs":[],"filemark":true}]}'
        ),
    ],
)
def test_a_cartridge_record_that_is_none_is_one_error_and_the_cartridge_comes_out(folder: Path, text: bytes) -> None:
    library = VirtualLibrary(folder)
    (folder / "cartridges/A1/cartridge.json").write_bytes(text)
    library.changer.move(slot(1), drive_at(0))
    drive = library.drives[0].open()
    with pytest.raises(VolumeError, match=r"volume A1: .*restore it or leave it out"):
        drive.load()
    drive.unload()
    drive.close()
    library.changer.move(drive_at(0), slot(1))


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"version":1,"generation":"LTO-6","drives":[],"slots":["../../etc"],"mail_slots":[]}']
)
def test_a_library_record_that_is_none_is_one_error(folder: Path, text: bytes) -> None:
    (folder / "library.json").write_bytes(text)
    with pytest.raises(UserError, match=r"library\.json: not what a virtual library keeps there"):
        VirtualLibrary(folder)


def test_a_folder_without_a_library(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no virtual library"):
        VirtualLibrary(tmp_path)
    (tmp_path / "library.json").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        VirtualLibrary(tmp_path)


def test_a_library_is_made_in_an_empty_folder_only(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in use"):
        create_library(folder)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make a virtual library there"):
        create_library(tmp_path / "file" / "library")
    with pytest.raises(UserError, match="do not fit into 1 slots"):
        create_library(tmp_path / "new", slots=1, volume_tags=["A", "B"])
    with pytest.raises(UserError, match="no generation"):
        create_library(tmp_path / "new1", generation="LTO-3", volume_tags=["A"])
    with pytest.raises(UserError, match="cannot be a volume tag"):
        create_library(tmp_path / "new2", volume_tags=["../A"])


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_library_that_may_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="Permission denied"):
        create_library(tmp_path / "closed" / "library")


def test_cartridges_are_added(folder: Path) -> None:
    assert add_cartridge(folder, "CLN001", element=mail(4)) == mail(4)
    assert add_cartridge(folder, "A3") == slot(3)
    with pytest.raises(UserError, match="no room"):
        add_cartridge(folder, "A4")
    with pytest.raises(UserError, match="no room"):
        add_cartridge(folder, "A4", element=drive_at(0))
    inventory = VirtualLibrary(folder).changer.inventory()
    assert inventory.find("CLN001")[0].element == mail(4)


def test_a_missing_drive(folder: Path) -> None:
    library = VirtualLibrary(folder)
    (folder / "drives/0").rename(folder / "taken-out")
    with pytest.raises(DriveError, match=r"drive 0: missing: the folder .*drives/0 is gone"):
        library.drives[0].open()
    with pytest.raises(ChangerError, match="drive 0 is missing"):
        library.changer.move(slot(1), drive_at(0))
    (folder / "taken-out").rename(folder / "drives/0")
    library.drives[0].open().close()


def test_a_removed_library_is_an_error_of_the_drive(folder: Path) -> None:
    drive = open_loaded(folder)
    shutil.rmtree(folder)
    with pytest.raises(PapertapeError, match=r"cannot be used|No such file"):
        write(drive, b"x")
    with pytest.raises(PapertapeError):
        drive.close()


def test_a_removed_cartridge_is_an_error_of_the_drive_and_not_the_end(folder: Path) -> None:
    drive = open_loaded(folder)
    write(drive, b"x")
    drive.rewind()
    shutil.rmtree(folder / "cartridges/A1")
    with pytest.raises(DriveError, match="No such file"):
        read(drive)
    with pytest.raises(DriveError, match="No such file"):
        write(drive, b"x")
    drive.close()


def test_early_warning_point_can_be_chosen(tmp_path: Path) -> None:
    create_library(tmp_path / "l", capacity=1000, early_warning=500, volume_tags=["A1"])
    drive = open_loaded(tmp_path / "l")
    assert [drive.write_block(memoryview(bytes(100))) for _ in range(10)] == [False] * 5 + [True] * 5
    drive.close()


def test_a_cleaning_cartridge_is_never_ready_and_comes_out_again(folder: Path) -> None:
    add_cartridge(folder, "CLN001", element=slot(3))
    library = VirtualLibrary(folder)
    library.changer.move(slot(3), drive_at(0))
    drive = library.drives[0].open()
    assert not drive.status().ready
    with pytest.raises(DriveError):
        drive.load()
    drive.unload()
    drive.close()
    library.changer.move(drive_at(0), slot(3))


def test_a_cartridge_whose_folder_is_gone_comes_out_again(folder: Path) -> None:
    shutil.rmtree(folder / "cartridges/A1")
    library = VirtualLibrary(folder)
    library.changer.move(slot(1), drive_at(0))
    drive = library.drives[0].open()
    with pytest.raises(DriveError, match="No such file"):
        drive.load()
    drive.unload()
    drive.close()
    library.changer.move(drive_at(0), slot(1))


def test_a_cartridge_lies_in_one_place(folder: Path) -> None:
    edit(folder / "library.json", slots=["A1", "A1", None])
    with pytest.raises(UserError, match="A1 cannot lie in two elements"):
        VirtualLibrary(folder)
