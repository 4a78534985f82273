"""The robot as the library uses it: one move at a time among all threads and processes, and never a blind one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from papertape.errors import (
    ChangerError,
    HostError,
    InventoryUnknown,
    LibraryFull,
    MoveFailed,
    PapertapeError,
    SourceEmpty,
    VolumeMissing,
)
from papertape.events import RobotMoves, Tell
from papertape.ids import VolumeTag
from papertape.tape.changer import (
    PUT_BACK,
    Changer,
    Element,
    ElementKind,
    ElementStatus,
    Inventory,
    find_volume,
)
from papertape.tape.locks import locked
from papertape.words import enumerate_names

NO_LABEL = "without a readable label"


def drive_element(number: int) -> Element:
    """Return the element of drive ``number``."""
    return Element(ElementKind.DRIVE, number)


class Robot:
    """Moves cartridges with ``changer``, alone while it holds the file ``lock``, and tells each move as an event."""

    def __init__(self, changer: Changer, lock: Path, tell: Tell) -> None:
        self._changer = changer
        self._lock = lock
        self._tell = tell
        self._came_from: dict[VolumeTag, Element] = {}
        self._fetched: dict[int, VolumeTag] = {}

    def inventory(self) -> Inventory:
        """See ``Changer.inventory``."""
        return self._changer.inventory()

    def fetch(self, volume_tag: VolumeTag, drive: int) -> None:
        """Move the volume from its slot into the empty ``drive``. Raises VolumeMissing, ChangerError."""
        with self._alone():  # from looking to moving: between the two, another process could move something
            place = find_volume(self.inventory(), volume_tag).element
            self._came_from[volume_tag] = place
            self._fetched[drive] = volume_tag
            self._move(volume_tag, place, drive_element(drive))

    def put_away(self, drive: int) -> None:
        """Move what lies in the unloaded ``drive`` to its home slot, or any free one. Raises ChangerError."""
        with self._alone():
            inventory = self._look(drive)
            status = inventory.at(drive_element(drive))
            if status is not None and status.full:
                self._move(status.volume_tag, status.element, self._home(status, inventory))
            self._fetched.pop(drive, None)

    def transfer(self, volume_tag: VolumeTag, destination: Element) -> None:
        """Move the volume from its slot or mail slot to another. Raises VolumeMissing, ChangerError."""
        with self._alone():
            found = self.inventory().find(volume_tag)
            if len(found) != 1:
                where = enumerate_names(str(status.element) for status in found) or "nowhere in the library"
                raise VolumeMissing(volume_tag, f"is {where}; it must be in one place to be moved")
            if found[0].element.kind is ElementKind.DRIVE:
                remedy = f"unload it first ('papertape library unload {found[0].element.number}')"
                raise VolumeMissing(volume_tag, f"is in {found[0].element}; {remedy}")
            self._move(volume_tag, found[0].element, destination)

    def where(self, volume_tag: VolumeTag | None) -> str:
        """Say where the volume lies, as a clause."""
        try:
            found = self.inventory().find(volume_tag) if volume_tag else ()
        except PapertapeError as error:
            name = f"volume {volume_tag}" if volume_tag else "it"
            return f"where {name} is now is unknown, because the changer does not tell ({error})"
        places = enumerate_names(str(status.element) for status in found) or "in no element that the changer can see"
        return f"volume {volume_tag} is now in {places}" if found else f"volume {volume_tag or NO_LABEL} is {places}"

    def is_full(self, drive: int) -> bool:
        """Tell whether a cartridge lies in the drive. Raises ChangerError."""
        status = self._look(drive).at(drive_element(drive))
        return status is not None and status.full

    def left_in(self, drive: int) -> str:
        """Say what lies in the drive, as a clause."""
        try:
            status = self._look(drive).at(drive_element(drive))
        except PapertapeError as error:
            return f"what is in it is unknown, because the changer does not tell ({error})"
        return f"volume {status.volume_tag or NO_LABEL} is still in it" if status and status.full else "it is empty"

    def _look(self, drive: int) -> Inventory:
        """Return the inventory; if the changer does not tell, its error names what was put into ``drive`` last."""
        try:
            return self.inventory()
        except InventoryUnknown as error:
            if drive not in self._fetched:
                raise
            reason = f"{error.reason}; volume {self._fetched[drive]} was put into {drive_element(drive)}: look there"
            raise InventoryUnknown(reason) from error

    def _move(self, volume_tag: VolumeTag | None, source: Element, destination: Element) -> None:
        self._tell(RobotMoves(volume=volume_tag or NO_LABEL, source=str(source), destination=str(destination)))
        try:
            self._changer.move(source, destination)
        except ChangerError as error:
            # If the volume is nowhere any more, somebody took it out of the slot: not the robot's fault.
            taken_out = False
            if isinstance(error, SourceEmpty) and volume_tag and source.kind is not ElementKind.DRIVE:
                with suppress(PapertapeError):
                    taken_out = not self.inventory().find(volume_tag)
            if taken_out and volume_tag:
                raise VolumeMissing(volume_tag, f"has been taken out of {source}; {PUT_BACK}") from error
            reason = f"{error.reason}; {self.where(volume_tag)}"
            raise MoveFailed(str(source), str(destination), reason) from error
        # A changer that reports success may have moved something else, or nothing: what it lists now is what counts.
        arrived = self.inventory().at(destination)
        if arrived is None or not arrived.full or arrived.volume_tag != volume_tag:
            reason = f"the changer reports success, but {self.where(volume_tag)}: look into the library"
            raise MoveFailed(str(source), str(destination), reason)

    def _home(self, status: ElementStatus, inventory: Inventory) -> Element:
        """Return the slot that the cartridge came from if it is free, else a free one, at best nobody else's home."""
        free = [place.element for place in inventory.of(ElementKind.STORAGE) if not place.full]
        home = status.home or (self._came_from.get(status.volume_tag) if status.volume_tag else None)
        if home in free:
            return home
        if not free:
            raise LibraryFull(ElementKind.STORAGE.value, status.volume_tag)
        # A slot that is the home of a cartridge in another drive will be needed when that one comes back.
        claimed = {drive.home for drive in inventory.of(ElementKind.DRIVE)}
        return next((slot for slot in free if slot not in claimed), free[0])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                self._lock.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self._lock))
            except OSError as error:
                raise HostError(str(self._lock), f"cannot be locked: {error.strerror or error}") from error
            yield
