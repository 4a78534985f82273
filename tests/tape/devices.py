"""What the contract tests need of a drive and a library; one class for each kind of device that is put under them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from papertape.events import tell_all
from papertape.tape.changer import Changer, Element, ElementKind
from papertape.tape.drive import Drive, Mark
from papertape.tape.library import DriveSource
from papertape.tape.scsi.mtx import MtxChanger
from papertape.tape.scsi.stdevice import Patience, ScsiDrive
from papertape.tape.virtual.library import VirtualLibrary, create_library

KIB = 1024
SCSI_CHANGER = "PAPERTAPE_SCSI_CHANGER"


def slot(number: int) -> Element:
    return Element(ElementKind.STORAGE, number)


def mail(number: int) -> Element:
    return Element(ElementKind.IMPORT_EXPORT, number)


def drive_at(number: int) -> Element:
    return Element(ElementKind.DRIVE, number)


class DevicesUnderTest(Protocol):
    """Two drives (0 and 1), six slots, one mail slot (7); AAA001 and AAA002 in slots 1 and 2, the rest empty.

    Each cartridge holds ``capacity`` bytes, of which the last eighth or so lies behind the early warning.
    """

    changer: Changer
    drives: tuple[DriveSource, ...]

    @property
    def capacity(self) -> int:
        """See above."""

    block: int
    """The size of blocks of which a cartridge holds some dozens."""

    def protect(self, volume_tag: str) -> None:
        """Move the write-protect tab of a cartridge that lies in a slot."""

    def close(self) -> None:
        """End what they have open."""


class VirtualDevices:
    capacity = 256 * KIB
    block = 4 * KIB

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
        self._opened: list[Drive] = []
        self.drives: tuple[DriveSource, ...] = tuple(_Remembering(source, self._opened) for source in library.drives)

    def protect(self, volume_tag: str) -> None:
        edit(self.folder / "cartridges" / volume_tag / "cartridge.json", write_protected=True)

    def close(self) -> None:
        for drive in self._opened:
            drive.close()


class ScsiDevices:
    """The kernel's st driver and mtx, where the environment names a library with scratch cartridges.

    PAPERTAPE_SCSI_CHANGER and PAPERTAPE_SCSI_DRIVES (two device nodes and a blank between them) are the library;
    PAPERTAPE_SCSI_IMAGES is the folder in which the rig keeps its cartridges, of 8 MiB, for their tabs; real ones have
    none, and take too long to fill.
    """

    block = 512 * KIB

    def __init__(self, folder: Path) -> None:
        self._images = os.environ.get("PAPERTAPE_SCSI_IMAGES")
        self.changer: Changer = MtxChanger(Path(os.environ[SCSI_CHANGER]))
        patience = Patience(busy=0.2, empty=0.2, loading=30)
        self._nodes = os.environ["PAPERTAPE_SCSI_DRIVES"].split()
        sources = [ScsiDrive(number, Path(node), tell_all(), patience) for number, node in enumerate(self._nodes)]
        self._opened: list[Drive] = []
        self.drives: tuple[DriveSource, ...] = tuple(_Remembering(source, self._opened) for source in sources)
        self._clear()

    @property
    def capacity(self) -> int:
        if not self._images:
            pytest.skip("a real cartridge takes too long to fill")
        return 24 * KIB * KIB  # early warning at 8 MiB, and 16 MiB behind it

    def protect(self, volume_tag: str) -> None:
        if not self._images:
            pytest.skip("nobody is there to move the tab")
        Path(self._images, volume_tag).chmod(0o444)

    def close(self) -> None:
        for drive in self._opened:
            drive.close()

    def _clear(self) -> None:
        """Bring both cartridges home, blank and writable; a drive looks at the tab when it loads one."""
        homes = {"AAA001": slot(1), "AAA002": slot(2)}
        for tag, home in homes.items():
            (place,) = self.changer.inventory().find(tag)
            if place.element.kind is ElementKind.DRIVE:
                self._offline(place.element.number)
            if place.element != home:
                self.changer.move(place.element, home)
        for tag, home in homes.items():
            if self._images:
                Path(self._images, tag).chmod(0o644)
            self.changer.move(home, drive_at(0))
            self._erase(0)
            self._offline(0)
            self.changer.move(drive_at(0), home)

    def _offline(self, number: int) -> None:
        drive = self.drives[number].open()
        drive.unload()
        drive.close()

    def _erase(self, number: int) -> None:
        """Make the cartridge in the drive one that nothing was ever recorded on."""
        drive = self.drives[number].open()
        drive.load()
        drive.close()
        subprocess.run(["mt", "-f", self._nodes[number], "erase", "0"], check=True)


class _Remembering:
    """A drive source that remembers what it opened: a test that fails leaves its drive open."""

    def __init__(self, source: DriveSource, opened: list[Drive]) -> None:
        self.number = source.number
        self._source = source
        self._opened = opened

    def open(self, volume_tag: str | None = None) -> Drive:
        self._opened.append(self._source.open(volume_tag))
        return self._opened[-1]


def make_devices(folder: Path) -> DevicesUnderTest:
    """The library that the environment names, or a virtual one in ``folder``."""
    return ScsiDevices(folder) if SCSI_CHANGER in os.environ else VirtualDevices(folder)


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


def read_all(drive: Drive, room: int = 64 * KIB) -> list[bytes | Mark]:
    """Everything from here to the end of data."""
    met = [read(drive, room)]
    while met[-1] is not Mark.END_OF_DATA:
        met.append(read(drive, room))
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
