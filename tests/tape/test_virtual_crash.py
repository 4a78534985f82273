"""What is on a virtual cartridge after its writer was killed, or the host's disk was full."""

from __future__ import annotations

import multiprocessing
import random
import resource
import signal
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from papertape.errors import DriveError, HostDiskFull
from papertape.events import tell_all
from papertape.tape.drive import Mark
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library

from .devices import edit, is_blank, open_loaded, read, read_all, write

FM, EOD = Mark.FILEMARK, Mark.END_OF_DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_library(tmp_path / "library", drives=2, slots=3, capacity=10**6, volume_tags=["A1", "A2"])
    return tmp_path / "library"


def write_until_killed(folder: Path, channel: Connection) -> None:
    drive = open_loaded(folder)
    write(drive, b"whole")
    drive.write_filemark(flush=False)
    write(drive, *[b"x" * 1000] * 5, *[b"y" * 10] * 3)
    channel.send("written")
    signal.pause()


def tear(folder: Path) -> None:
    """Let a process write 8 blocks of a tape file, and kill it."""
    here, there = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(folder, there))
    writer.start()
    there.close()  # or a process that dies would be waited for for ever
    assert here.recv() == "written"
    writer.kill()
    writer.join()


def test_a_killed_writers_blocks_are_there_and_the_end_is_torn(folder: Path) -> None:
    tear(folder)
    with (folder / "cartridges/A1/0001.tar").open("ab") as file:
        file.write(b"half")  # of the block that was being written
    drive = open_loaded(folder)
    whole = [b"whole", FM, *[b"x" * 1000] * 5, *[b"y" * 10] * 3]
    assert [read(drive) for _ in whole] == whole
    for _ in range(2):
        with pytest.raises(DriveError, match=r"volume A1: reading a block failed at object 10: medium or drive error"):
            read(drive)
    with pytest.raises(DriveError, match="volume A1: writing a block is refused after an error"):
        write(drive, b"more")
    drive.load()
    drive.space(EOD)
    assert drive.position() == 10
    write(drive, b"more")
    drive.rewind()
    assert read_all(drive) == [*whole, b"more", FM, EOD]
    drive.close()


def test_after_a_kill_the_tape_must_be_rewound(folder: Path) -> None:
    tear(folder)
    drive = VirtualLibrary(folder).drives[0].open()
    assert drive.status().ready
    with pytest.raises(DriveError):
        drive.position()
    drive.close()


def test_a_kill_right_after_the_announcement_of_a_block_leaves_nothing(folder: Path) -> None:
    announced = [{"runs": [[512, None]], "filemark": False}]
    edit(folder / "cartridges/A1/cartridge.json", tape_files=announced)
    drive = open_loaded(folder)
    assert is_blank(drive)
    drive.close()


def blocks_of(seed: int) -> list[bytes | Mark]:
    """Some tape files of blocks that are all different, in runs of equal lengths."""
    chance = random.Random(seed)
    things: list[bytes | Mark] = []
    for _ in range(30):
        size = chance.choice([8, 9, 500, 512])
        things += [len(things).to_bytes(4, "big") + chance.randbytes(size - 4) for _ in range(chance.randrange(1, 40))]
        if chance.random() < 0.3:
            things.append(FM)
    return things


def write_for_ever(folder: Path, seed: int, channel: Connection) -> None:
    drive = open_loaded(folder)
    for thing in blocks_of(seed):
        if thing is FM:
            drive.write_filemark(flush=False)
        else:
            drive.write_block(memoryview(thing))  # type: ignore[arg-type]
        channel.send_bytes(b"one more")
    signal.pause()


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_at_any_moment_leaves_a_beginning_of_what_was_written(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    things = blocks_of(seed)
    drive = open_loaded(folder)
    for _ in range(3 * (seed % 2)):  # every other time something longer lies on the tape already
        write(drive, *[b"old" * 100] * 200)
        drive.write_filemark(flush=False)
    drive.close()
    here, there = multiprocessing.Pipe(duplex=False)
    writer = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(folder, seed, there))
    writer.start()
    heard = chance.randrange(1, len(things))
    for _ in range(heard):
        here.recv_bytes()
    writer.kill()
    writer.join()
    drive = open_loaded(folder)
    found: list[bytes | Mark] = []
    try:
        while (thing := read(drive)) is not EOD:
            found.append(thing)
    except DriveError as error:
        assert "EIO" in str(error)  # noqa: PT017
        assert found[-1] is not FM
    drive.close()
    assert heard <= len(found)
    assert found == things[: len(found)]


def write_on_a_small_disk(folder: Path, channel: Connection) -> None:
    """A limit on the size of a file stands in for a full disk."""
    drive = open_loaded(folder)
    write(drive, b"a" * 1500)
    drive.write_filemark(flush=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    written = 0
    try:
        while True:
            write(drive, b"b" * 1500)
            written += 1
    except HostDiskFull as error:
        channel.send((written, str(error)))
    drive.unload()
    drive.close()


def test_a_full_host_disk_is_not_a_full_tape_and_the_recording_stays_whole(folder: Path) -> None:
    here, there = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(target=write_on_a_small_disk, args=(folder, there))
    writer.start()
    there.close()  # or a process that dies would be waited for for ever
    written, sentence = here.recv()
    writer.join()
    assert writer.exitcode == 0
    assert written == 6
    assert "drive 0: the host's disk below" in sentence
    drive = open_loaded(folder)
    assert read_all(drive) == [b"a" * 1500, FM, *[b"b" * 1500] * 6, FM, EOD]
    drive.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "disk").mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path / "disk"], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("only root can make a small disk")
    yield tmp_path / "disk"
    subprocess.run(["umount", tmp_path / "disk"], check=True)


def fill_up(library: Library) -> None:
    with library.reserve(2) as session, session.mounted(["A1", "A2"]) as drives:
        while True:
            for drive in drives:
                write(drive, bytes(8192))


def test_a_full_disk_keeps_no_cartridge_from_being_put_away(small_disk: Path) -> None:
    create_library(small_disk / "library", slots=2, capacity=10**9, volume_tags=["A1", "A2"])
    virtual = VirtualLibrary(small_disk / "library")
    library = Library(virtual.changer, virtual.drives, small_disk / "locks", tell_all())
    with pytest.raises(HostDiskFull, match=r"disk below .* is full"):
        fill_up(library)
    assert [str(s.element) for s in library.inventory().elements if s.full] == ["slot 1", "slot 2"]
    with library.reserve(1) as session, session.mounted(["A1"]) as (drive,):
        assert set(read_all(drive)) == {bytes(8192), FM, EOD}
