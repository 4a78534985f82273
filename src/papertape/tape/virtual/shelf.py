"""``library.json``: what lies where in a virtual library, and in what state its drives are.

Only what a real library knows by itself stands there; what is recorded on a cartridge stands with the cartridge.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from papertape.errors import UserError
from papertape.tape.changer import Element, ElementKind
from papertape.tape.locks import locked
from papertape.tape.virtual.cartridge import Tag
from papertape.tape.virtual.hostfile import read_json, write_json_with_spare

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]


class DriveRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A drive. ``position`` is null until the first rewind after a load, and while a process moves the tape."""

    serial: str
    cartridge: Tag | None = None
    home: Count | None = None
    loaded: bool = False
    position: Count | None = None


class LibraryRecord(msgspec.Struct, forbid_unknown_fields=True):
    """``library.json``: drives from 0, slots from 1, then the mail slots; a cartridge by its folder's name."""

    version: Literal[1]
    generation: str
    drives: list[DriveRecord]
    slots: list[Tag | None]
    mail_slots: list[Tag | None]

    def elements(self) -> Iterator[Element]:
        """Yield the elements in order."""
        yield from (Element(ElementKind.DRIVE, number) for number in range(len(self.drives)))
        yield from (Element(ElementKind.STORAGE, number) for number in range(1, len(self.slots) + 1))
        first = len(self.slots) + 1
        yield from (Element(ElementKind.IMPORT_EXPORT, first + place) for place in range(len(self.mail_slots)))

    def cartridge_in(self, element: Element) -> str | None:
        """Return the folder name of the cartridge in ``element``."""
        if element.kind is ElementKind.DRIVE:
            return self.drives[element.number].cartridge
        places, place = self._place(element)
        return places[place]

    def take(self, element: Element) -> str | None:
        """Empty ``element`` and return what was in it."""
        taken = self.cartridge_in(element)
        if element.kind is ElementKind.DRIVE:
            self.drives[element.number] = DriveRecord(self.drives[element.number].serial)
        else:
            places, place = self._place(element)
            places[place] = None
        return taken

    def put(self, element: Element, cartridge: str | None, home: int | None) -> None:
        """Lay ``cartridge`` into ``element``; a drive loads it, and remembers its ``home`` slot."""
        if element.kind is ElementKind.DRIVE:
            serial = self.drives[element.number].serial
            self.drives[element.number] = DriveRecord(serial, cartridge, home, loaded=cartridge is not None)
        else:
            places, place = self._place(element)
            places[place] = cartridge

    def _place(self, element: Element) -> tuple[list[Tag | None], int]:
        if element.kind is ElementKind.STORAGE:
            return self.slots, element.number - 1
        return self.mail_slots, element.number - len(self.slots) - 1


_DECODER = msgspec.json.Decoder(LibraryRecord)


class Shelf:
    """The virtual library in ``folder``, shared by all processes; raises OSError for the host's disk, or UserError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cartridge(self, name: str) -> Path:
        """Return the folder of the cartridge ``name``."""
        return self.folder / "cartridges" / name

    def drive(self, number: int) -> Path:
        """Return the folder of drive ``number``; a drive without one has been taken away."""
        return self.folder / "drives" / str(number)

    def read(self) -> LibraryRecord:
        """Return the state of the library at this moment."""
        path = self.folder / "library.json"
        try:
            record = read_json(path, _DECODER)
        except FileNotFoundError as error:
            raise UserError(f"{self.folder}: no virtual library is here; make one with 'papertape init'") from error
        held = [name for element in record.elements() if (name := record.cartridge_in(element))]
        for name in held:
            if held.count(name) > 1:
                raise UserError(f"{path}: cartridge {name} cannot lie in two elements at once; correct the file")
        return record

    @property
    def spare(self) -> Path:
        """The file that keeps room on the disk for the library's records."""
        return self.folder / "spare"

    @contextmanager
    def changing(self) -> Iterator[LibraryRecord]:
        """Hand out the state alone among all processes, and write it back unless an exception comes."""
        with locked(self.folder / "library.lock"):
            record = self.read()  # inside the lock: another process may have changed it since
            yield record
            write_json_with_spare(self.folder / "library.json", record, self.spare)
