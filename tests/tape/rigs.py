"""What the contract tests need of a drive and a library; one class for each kind of device that is put under them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from papertape.tape.changer import Changer, Element, ElementKind
from papertape.tape.drive import Drive, Mark
from papertape.tape.library import DriveSource
from papertape.tape.virtual import VirtualLibrary, create_library

KIB = 1024


def slot(number: int) -> Element:
    return Element(ElementKind.STORAGE, number)


def mail(number: int) -> Element:
    return Element(ElementKind.IMPORT_EXPORT, number)


def drive_at(number: int) -> Element:
    return Element(ElementKind.DRIVE, number)


class LibraryRig(Protocol):
    """Two drives (0 and 1), six slots, one mail slot (7); AAA001 and AAA002 in slots 1 and 2, the rest empty.

    Each cartridge holds ``capacity`` bytes, of which the last eighth or so lies behind the early warning.
    """

    capacity: int
    changer: Changer
    drives: tuple[DriveSource, ...]

    def protect(self, volume_tag: str) -> None:
        """Move the write-protect tab of a cartridge that lies in a slot."""


class VirtualRig:
    capacity = 256 * KIB

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        create_library(
            folder,
            drives=2,
            slots=6,
            mail_slots=1,
            capacity=self.capacity,
            early_warning=self.capacity - 32 * KIB,
            volume_tags=["AAA001", "AAA002"],
        )
        library = VirtualLibrary(folder)
        self.changer: Changer = library.changer
        self.drives: tuple[DriveSource, ...] = library.drives

    def protect(self, volume_tag: str) -> None:
        edit(self.folder / "cartridges" / volume_tag / "cartridge.json", write_protected=True)


def edit(path: Path, **values: object) -> None:
    """Change fields of a JSON file by hand, as an operator would."""
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **values}))


def write(drive: Drive, *blocks: bytes) -> None:
    for block in blocks:
        drive.write_block(memoryview(block))


def read(drive: Drive, room: int = 64 * KIB) -> bytes | Mark:
    buffer = memoryview(bytearray(room))
    met = drive.read_block(buffer)
    return met if isinstance(met, Mark) else bytes(buffer[:met])


def read_all(drive: Drive) -> list[bytes | Mark]:
    """Everything from here to the end of data."""
    met = [read(drive)]
    while met[-1] is not Mark.END_OF_DATA:
        met.append(read(drive))
    return met


def is_blank(drive: Drive) -> bool:
    """Whether the tape, wherever it stands, has its end of data at BOT."""
    drive.space(Mark.END_OF_DATA)
    return drive.position() == 0 and read(drive) is Mark.END_OF_DATA


def open_loaded(folder: Path) -> Drive:
    """Drive 0 with A1, put there if it is not there yet."""
    library = VirtualLibrary(folder)
    if library.changer.inventory().find("A1")[0].element == slot(1):
        library.changer.move(slot(1), drive_at(0))
    drive = library.drives[0].open("A1")
    drive.load()
    return drive
