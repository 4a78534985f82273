"""A tape library in a folder: cartridges, drives and a robot that behave like the real thing under Linux ``st``.

::

    library.json                    what lies where, and the state of the drives
    drives/0/  drives/1/ ...        one folder a drive: move it away, and the drive is missing
    cartridges/PAPR1001/            one folder a cartridge:
        cartridge.json                  label, capacity, tab, block sizes and filemarks
        0000.tar  0001.tar ...          one host file a tape file

A cartridge's tab is ``write_protected`` in its ``cartridge.json``; an operator may edit it while the cartridge lies in
a slot, and may edit ``library.json`` to lay cartridges elsewhere while nothing runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from papertape.errors import MoveFailed, SourceEmpty, UserError
from papertape.tape.changer import TAG_PATTERN, Element, ElementKind, ElementStatus, Inventory
from papertape.tape.generations import GENERATIONS
from papertape.tape.locks import locked
from papertape.tape.virtual.cartridge import blank_cartridge, read_label
from papertape.tape.virtual.drive import VirtualDrive
from papertape.tape.virtual.hostfile import keep_spare, write_json
from papertape.tape.virtual.shelf import DriveRecord, LibraryRecord, Shelf
from papertape.tape.virtual.timing import ROBOT_MOVE_SECONDS, Clock, DriveTiming


def create_library(
    folder: Path,
    *,
    drives: int = 2,
    slots: int = 12,
    mail_slots: int = 1,
    capacity: int | None = None,
    early_warning: int | None = None,
    generation: str = "LTO-6",
    volume_tags: Sequence[str] = (),
) -> None:
    """Make a virtual library in ``folder``, with blank cartridges in its slots from the first on, in the order given.

    ``capacity`` is a cartridge's, in bytes; the generation's, if it is left out. ``early_warning`` is where, in bytes,
    the drive starts to warn of the tape's end; half a percent (at least 1 MiB) before it, if left out. Volume tags
    that start with CLN are cleaning cartridges'. Raises UserError if the folder is in use or cannot be written to.
    """
    if len(volume_tags) > slots:
        raise UserError(f"{len(volume_tags)} cartridges do not fit into {slots} slots: take fewer, or more slots")
    shelf = Shelf(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder}: in use: a virtual library needs an empty folder, or a new one")
        (folder / "cartridges").mkdir()
        (folder / "drives").mkdir()
        for number in range(drives):
            shelf.drive(number).mkdir()
        for tag in volume_tags:
            _blank(shelf, tag, capacity, generation, early_warning)
        record = LibraryRecord(
            version=1,
            generation=generation,
            drives=[DriveRecord(serial=f"VIRTUAL{number:03}") for number in range(drives)],
            slots=[*volume_tags, *[None] * (slots - len(volume_tags))],
            mail_slots=[None] * mail_slots,
        )
        keep_spare(folder / "spare")
        write_json(folder / "library.json", record)  # last: before it there is no library
    except OSError as error:
        raise UserError(f"{folder}: cannot make a virtual library there: {error.strerror or error}") from error


def add_cartridge(
    folder: Path,
    volume_tag: str,
    *,
    element: Element | None = None,
    capacity: int | None = None,
    early_warning: int | None = None,
) -> Element:
    """Lay a new blank cartridge into ``element`` (the first free slot, if left out) and return the element.

    Raises UserError if there is no room, or there is such a cartridge already.
    """
    shelf = Shelf(folder)
    try:
        with shelf.changing() as record:
            places = (at for at in record.elements() if (at == element if element else at.kind is ElementKind.STORAGE))
            free = [at for at in places if at.kind is not ElementKind.DRIVE and record.cartridge_in(at) is None]
            if not free:
                raise UserError(f"{folder}: {element or 'the library'} has no room for cartridge {volume_tag}")
            _blank(shelf, volume_tag, capacity, record.generation, early_warning)
            record.put(free[0], volume_tag, None)
            return free[0]
    except OSError as error:
        raise UserError(f"{folder}: cannot add cartridge {volume_tag}: {error.strerror or error}") from error


def _blank(shelf: Shelf, tag: str, capacity: int | None, generation: str, early_warning: int | None) -> None:
    if not re.fullmatch(TAG_PATTERN, tag):
        raise UserError(f"{tag!r} cannot be a volume tag: letters, digits, '-' and '_', at most 32")
    if generation not in GENERATIONS:
        raise UserError(f"there is no generation {generation!r}; there are {', '.join(GENERATIONS)}")
    if shelf.cartridge(tag).exists():
        raise UserError(f"there is a cartridge {tag} already")
    blank_cartridge(shelf.cartridge(tag), capacity or GENERATIONS[generation].capacity, generation, early_warning)


class VirtualLibrary:
    """The library in ``folder``: its ``changer``, and its ``drives`` to be opened.

    With a ``clock`` loading, winding, moving and streaming take the time that they take in the library's LTO
    generation; without, none. Raises UserError if ``folder`` holds no library.
    """

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        shelf = Shelf(folder)
        try:
            record = shelf.read()
        except OSError as error:
            raise UserError(f"{folder}: the virtual library cannot be read: {error.strerror}") from error
        if clock is not None and record.generation not in GENERATIONS:
            raise UserError(f"{folder}: there is no generation {record.generation!r}")
        self.folder = folder
        self.changer = VirtualChanger(shelf, clock)
        self.drives = tuple(
            VirtualDrive(
                number, drive.serial, shelf, DriveTiming(GENERATIONS[record.generation], clock) if clock else None
            )
            for number, drive in enumerate(record.drives)
        )


class VirtualChanger:
    """The robot of a virtual library (see ``Changer``); it moves one cartridge at a time among all processes."""

    def __init__(self, shelf: Shelf, clock: Clock | None) -> None:
        self._shelf = shelf
        self._clock = clock

    def inventory(self) -> Inventory:
        """See ``Changer.inventory``."""
        try:
            record = self._shelf.read()
        except OSError as error:
            raise UserError(f"{self._shelf.folder}: the virtual library cannot be read: {error.strerror}") from error
        return Inventory(tuple(self._status(record, element) for element in record.elements()))

    def move(self, source: Element, destination: Element) -> None:
        """See ``Changer.move``."""
        try:
            # Not the library's lock: drives go on writing, and noting where they stand, while the robot moves.
            with locked(self._shelf.folder / "robot.lock"):
                if self._clock:
                    self._clock.sleep(ROBOT_MOVE_SECONDS)
                with self._shelf.changing() as record:
                    self._check(record, source, destination)
                    home = source.number if source.kind is ElementKind.STORAGE else None
                    if source.kind is ElementKind.DRIVE:
                        home = record.drives[source.number].home
                    record.put(destination, record.take(source), home)
        except OSError as error:
            reason = f"the virtual library's files cannot be used: {error.strerror or error}"
            raise MoveFailed(str(source), str(destination), reason) from error

    def _status(self, record: LibraryRecord, element: Element) -> ElementStatus:
        name = record.cartridge_in(element)
        if name is None:
            return ElementStatus(element, full=False)
        home = record.drives[element.number].home if element.kind is ElementKind.DRIVE else None
        slot = Element(ElementKind.STORAGE, home) if home is not None else None
        return ElementStatus(element, True, read_label(self._shelf.cartridge(name)), slot)

    def _check(self, record: LibraryRecord, source: Element, destination: Element) -> None:
        """Raise MoveFailed, or SourceEmpty, if the robot cannot do it."""
        reason = self._find_missing(record, source, destination)
        if not reason and record.cartridge_in(source) is None:
            raise SourceEmpty(str(source), str(destination))
        if not reason and record.cartridge_in(destination) is not None:
            reason = f"{destination} is full"
        elif not reason and source.kind is ElementKind.DRIVE and record.drives[source.number].loaded:
            reason = f"{source} has not been unloaded"
        if reason:
            raise MoveFailed(str(source), str(destination), reason)

    def _find_missing(self, record: LibraryRecord, *places: Element) -> str | None:
        """Say which of the elements is not there, None if all are."""
        elements = set(record.elements())
        for element in places:
            if element not in elements:
                return f"the library has no {element}"
            if element.kind is ElementKind.DRIVE and not self._shelf.drive(element.number).is_dir():
                return f"{element} is missing: the folder {self._shelf.drive(element.number)} is gone"
        return None
