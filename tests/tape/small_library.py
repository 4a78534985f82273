"""A small library to try the policy on: A1, A2, B1 and a cleaning cartridge in slots 1 to 4 of five."""

from __future__ import annotations

import threading
from pathlib import Path

from papertape.events import Event, RobotMoves, Tell, Waiting
from papertape.tape.changer import Changer
from papertape.tape.library import Library
from papertape.tape.virtual.faults import Faults
from papertape.tape.virtual.library import VirtualLibrary, create_library

from .devices import drive_at, slot

TAGS = ("A1", "A2", "B1", "CLN001")
HOME = {"A1": "slot 1", "A2": "slot 2", "B1": "slot 3", "CLN001": "slot 4"}


class Hearing:
    def __init__(self) -> None:
        self.moves: list[tuple[str, str, str]] = []
        self.waits: list[str] = []
        self.waited = threading.Event()

    def __call__(self, event: Event) -> None:
        match event:
            case RobotMoves():
                self.moves.append((event.volume, event.source, event.destination))
            case Waiting():
                self.waits.append(event.reason)
                self.waited.set()


def make_library(folder: Path) -> Path:
    create_library(folder, slots=5, capacity=100_000, volume_tags=TAGS)
    return folder


def open_library(folder: Path, tell: Tell, faults: Faults | None = None) -> Library:
    virtual = VirtualLibrary(folder)
    faults = faults or Faults()
    drives = [faults.drive(drive) for drive in virtual.drives]
    return Library(faults.changer(virtual.changer), drives, folder / "locks", tell)


def changer(folder: Path) -> Changer:
    return VirtualLibrary(folder).changer


def leave_in_drive(folder: Path, source: int, drive: int) -> None:
    """What a killed process leaves: a cartridge in a drive, loaded."""
    changer(folder).move(slot(source), drive_at(drive))


def where(folder: Path) -> dict[str | None, str]:
    return {s.volume_tag: str(s.element) for s in changer(folder).inventory().elements if s.full}
