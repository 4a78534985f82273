"""The library's drives and robot shared among threads and processes."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from papertape.events import tell_all
from papertape.tape.drive import Drive
from papertape.tape.library import DriveSource, Library
from papertape.tape.virtual.library import VirtualLibrary

from .devices import read, write
from .small_library import HOME, Hearing, make_library, open_library, where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_library(tmp_path / "library")


@pytest.fixture
def hearing() -> Hearing:
    return Hearing()


@pytest.fixture
def library(folder: Path, hearing: Hearing) -> Library:
    return open_library(folder, hearing)


class Meeting:
    """A drive that loads, and unloads, only when the other one does so, too."""

    def __init__(self, source: DriveSource, met: list[str], barrier: threading.Barrier) -> None:
        self.number = source.number
        self._source = source
        self._met = met
        self._barrier = barrier

    def open(self, volume_tag: str | None = None) -> Drive:
        drive = self._source.open(volume_tag)
        load, unload = drive.load, drive.unload
        drive.load = lambda: (self._meet("load"), load())[1]  # type: ignore[method-assign]
        drive.unload = lambda: (self._meet("unload"), unload())[1]  # type: ignore[method-assign]
        return drive

    def _meet(self, what: str) -> None:
        self._barrier.wait()
        self._met.append(what)


def test_both_drives_load_and_unload_at_the_same_time(folder: Path) -> None:
    met: list[str] = []
    virtual = VirtualLibrary(folder)
    drives = [
        Meeting(drive, met, barrier) for barrier in [threading.Barrier(2, timeout=30)] for drive in virtual.drives
    ]
    with (
        Library(virtual.changer, drives, folder / "locks", tell_all()).reserve(2) as session,
        session.mounted(["A1", "A2"]),
    ):
        pass
    assert met == ["load", "load", "unload", "unload"]
    assert where(folder) == HOME


def test_two_threads_share_the_drives_and_the_robot(folder: Path) -> None:
    errors: list[BaseException] = []

    def work(tag: str) -> None:
        library = open_library(folder, tell_all())
        try:
            for _ in range(3):
                with library.reserve(1) as session, session.mounted([tag]) as (drive,):
                    write(drive, tag.encode())
                    drive.rewind()
                    assert read(drive) == tag.encode()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=[tag]) for tag in ("A1", "A2", "B1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert where(folder) == HOME


def hold_both_drives(folder: Path, channel: Connection) -> None:
    with open_library(folder, tell_all()).reserve(2):
        channel.send("reserved")
        channel.recv()


@pytest.mark.parametrize("end", ["released", "killed"])
def test_a_second_process_waits_and_says_for_whom(folder: Path, library: Library, hearing: Hearing, end: str) -> None:
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=hold_both_drives, args=(folder, there))
    holder.start()
    there.close()  # or a process that dies would be waited for for ever
    assert here.recv() == "reserved"
    got: list[tuple[int, ...]] = []
    waiter = threading.Thread(target=lambda: _reserve_one(library, got))
    waiter.start()
    assert hearing.waited.wait(60)
    assert got == []
    if end == "released":
        here.send("go on")
    else:
        holder.kill()
    waiter.join()
    holder.join()
    assert got == [(0,)]
    assert hearing.waits == [f"drive 0 and drive 1 are in use by process {holder.pid}"]


def _reserve_one(library: Library, got: list[tuple[int, ...]]) -> None:
    with library.reserve(1) as session:
        got.append(session.drives)
