"""Policy over a changer and its drives, written once: what may be loaded, where it goes, and that it comes home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from papertape.errors import (
    DriveError,
    LabelUnreadable,
    LibraryFull,
    TooFewDrives,
    UserError,
    VolumeError,
    VolumeMissing,
)
from papertape.events import Tell
from papertape.ids import VolumeTag
from papertape.tape.changer import CLEANING_PREFIX, Changer, Element, ElementKind, ElementStatus, Inventory, find_volume
from papertape.tape.cleanup import afterwards, at_once, one_by_one, raise_first
from papertape.tape.drive import Drive
from papertape.tape.reservation import check_drives, is_reserved, owner, reserved
from papertape.tape.robot import Robot, drive_element


class DriveSource(Protocol):
    """A drive of the library, not yet open."""

    @property
    def number(self) -> int:
        """The drive's element number."""

    def open(self, volume_tag: VolumeTag | None = None) -> Drive:
        """Open the drive, empty or not; ``volume_tag``, of the volume in it, is for its sentences.

        Raises DriveBusy, and DriveError if it is missing or does not answer.
        """


class Library:
    """A changer and its drives, shared with other processes through lock files in the folder ``locks``."""

    def __init__(self, changer: Changer, drives: Sequence[DriveSource], locks: Path, tell: Tell) -> None:
        self._drives = {drive.number: drive for drive in drives}
        self._locks = locks
        self._tell = tell
        self._robot = Robot(changer, locks / "changer.lock", tell)

    @property
    def drives(self) -> tuple[int, ...]:
        """The numbers of all drives."""
        return tuple(self._drives)

    def inventory(self) -> Inventory:
        """Return what lies where, as the changer reports it now. Raises ChangerError."""
        return self._robot.inventory()

    def loadable(self) -> frozenset[VolumeTag]:
        """Return the volume tags that a drive can get: of data cartridges, in slots and drives, none of them twice."""
        kinds = (ElementKind.STORAGE, ElementKind.DRIVE)
        elements = self.inventory().elements
        tags = Counter(status.volume_tag for status in elements if status.volume_tag)
        within = {status.volume_tag for status in elements if status.element.kind in kinds}
        return frozenset(
            VolumeTag(tag) for tag in tags if tags[tag] == 1 and tag in within and not tag.startswith(CLEANING_PREFIX)
        )

    def move(self, volume_tag: VolumeTag, number: int) -> Element:
        """Move the volume to the slot or mail slot ``number`` and return that; raises VolumeMissing, ChangerError."""
        places = [
            status.element for status in self.inventory().elements if status.element.kind is not ElementKind.DRIVE
        ]
        destination = next((place for place in places if place.number == number), None)
        if destination is None:
            last = max((place.number for place in places), default=0)
            raise UserError(f"the library has no slot {number}: its slots and mail slots are 1 to {last}")
        self._robot.transfer(volume_tag, destination)
        return destination

    def bring_in(self) -> Iterator[tuple[VolumeTag, Element]]:
        """Move what lies in the mail slots to free slots; yield each volume and where it went. Raises ChangerError."""
        for status in tuple(self.inventory().of(ElementKind.IMPORT_EXPORT)):
            if status.full:
                tag = status.volume_tag
                if tag is None:
                    raise LabelUnreadable(str(status.element))
                slot = self._free(ElementKind.STORAGE, tag)
                self._robot.transfer(tag, slot)
                yield tag, slot

    def send_out(self, volume_tag: VolumeTag) -> Element:
        """Move the volume to a free mail slot and return that. Raises VolumeMissing, ChangerError."""
        door = self._free(ElementKind.IMPORT_EXPORT, volume_tag)
        self._robot.transfer(volume_tag, door)
        return door

    def _free(self, kind: ElementKind, volume_tag: VolumeTag) -> Element:
        free = next((status.element for status in self.inventory().of(kind) if not status.full), None)
        if free is None:
            raise LibraryFull(kind.value, volume_tag)
        return free

    @contextmanager
    def reserve(self, count: int = 1, numbers: Sequence[int] | None = None) -> Iterator[Session]:
        """Take ``count`` drives, or those with the given ``numbers``, for this session alone; wait if they are in use.

        At the end whatever is in them is unloaded and brought home, whatever happened. Raises TooFewDrives,
        DriveError for a number that the library does not have, HostError if the lock files cannot be used.
        """
        among, needed = check_drives(count, numbers, self.drives)
        with reserved(self._locks, among, needed, self._tell) as taken:
            session = Session({number: self._drives[number] for number in taken}, self._robot, self._locks)
            with afterwards(session.end):
                yield session

    def bring_home(self, volume_tags: Collection[VolumeTag]) -> tuple[str, ...]:
        """Unload and bring home those of the volumes that lie in drives which nobody has reserved; return which.

        Raises DriveError, ChangerError, HostError.
        """
        drives = self.inventory().of(ElementKind.DRIVE)
        lying = {status.element.number: tag for status in drives if (tag := status.volume_tag) in volume_tags and tag}
        free = {number: tag for number, tag in lying.items() if not is_reserved(self._locks, number)}
        if free:
            with self.reserve(numbers=list(free)):
                pass  # the end of a session brings home whatever lies in its drives
        return tuple(free.values())


class Session:
    """Exclusive use of some drives; made by ``Library.reserve``. ``drives`` are their numbers."""

    def __init__(self, drives: Mapping[int, DriveSource], robot: Robot, locks: Path) -> None:
        self.drives: tuple[int, ...] = tuple(drives)
        self._sources = drives
        self._robot = robot
        self._locks = locks
        self._left_loaded: set[int] = set()
        self._unloaded: set[int] = set()

    @contextmanager
    def mounted(
        self, volume_tags: Sequence[VolumeTag], drives: Sequence[int] | None = None, *, keep: bool = False
    ) -> Iterator[tuple[Drive, ...]]:
        """Have each volume in its drive (by default in the order of the session's), ready and at BOT; yield the drives.

        A volume that is in its drive already is rewound, not loaded again. Other cartridges in these drives are brought
        home first. Afterwards each drive is closed, unloaded and its cartridge brought home, whatever happened; with
        ``keep`` the volumes stay, rewound, for the next ``mounted``.

        Raises VolumeError for a volume that is not there or must not be loaded (then nothing was moved), DriveError,
        ChangerError. A failure while cleaning up after another error is a note on that error.
        """
        wanted = self._assign(volume_tags, drives)
        # Filled drive by drive: if the second one cannot be opened, the clean-up still has the first one to close.
        opened: dict[int, Drive] = {}
        with afterwards(lambda: self._dismount(wanted, opened, keep=keep)):
            self._arrange(wanted)
            for number, tag in wanted.items():
                opened[number] = self._sources[number].open(tag)
            raise_first(at_once([drive.load for drive in opened.values()]))  # loading takes 20 s and more in each
            yield tuple(opened[number] for number in wanted)

    def load(self, volume_tag: VolumeTag, drive: int) -> None:
        """Put the volume into ``drive``, rewound, and leave it there after the session too. Raises like ``mounted``."""
        with self.mounted([volume_tag], [drive], keep=True):
            self._left_loaded.add(drive)

    def unload(self, drive: int) -> None:
        """Unload ``drive`` and bring its cartridge home; fine if it is empty. Raises DriveError, ChangerError."""
        self._reserved(drive)
        self._left_loaded.discard(drive)
        raise_first(self._empty([drive]))

    def end(self) -> list[BaseException]:
        """Bring home whatever is in the drives, except what ``load`` left there; return the failures."""
        return self._empty([number for number in self.drives if number not in self._left_loaded])

    def _assign(self, volume_tags: Sequence[VolumeTag], drives: Sequence[int] | None) -> dict[int, VolumeTag]:
        numbers = self.drives if drives is None else tuple(drives)
        for tag in volume_tags:
            if volume_tags.count(tag) > 1:
                raise VolumeError(tag, "named twice; the copies must lie on different volumes")
        if len(numbers) < len(volume_tags):
            raise TooFewDrives(len(volume_tags), len(numbers))
        for number in numbers:
            self._reserved(number)
            if numbers.count(number) > 1:
                raise DriveError(number, "named twice; each volume needs another drive")
        return dict(zip(numbers, volume_tags, strict=False))

    def _reserved(self, number: int) -> None:
        if number not in self._sources:
            raise DriveError(number, "this session has not reserved it")

    def _arrange(self, wanted: Mapping[int, VolumeTag]) -> None:
        """Bring every wanted volume into its drive, except those that are there already.

        Looks at everything first: if anything is wrong, nothing is moved.
        """
        inventory = self._robot.inventory()
        places = {tag: self._loadable(tag, inventory) for tag in wanted.values()}
        for number in wanted:
            self._sources[number].open().close()  # a cartridge in a drive that does not answer could not come out
        in_place = {number for number, tag in wanted.items() if places[tag].element == drive_element(number)}
        away = [place.element.number for place in places.values() if place.element.kind is ElementKind.DRIVE]
        raise_first(self._empty(sorted({*wanted, *away} - in_place)))
        for number in sorted(set(wanted) - in_place):
            self._robot.fetch(wanted[number], number)

    def _loadable(self, volume_tag: VolumeTag, inventory: Inventory) -> ElementStatus:
        """Return where the volume is. Raises VolumeError if it must not, or cannot, be loaded."""
        place = find_volume(inventory, volume_tag)
        if place.element.kind is ElementKind.IMPORT_EXPORT:
            raise VolumeMissing(volume_tag, f"lies in {place.element}, the door; move it to a storage slot first")
        if place.element.kind is ElementKind.DRIVE and place.element.number not in self._sources:
            number = place.element.number
            reason = f"where it was left; unload it first ('papertape library unload {number}')"
            if is_reserved(self._locks, number):
                reason = f"which is in use by {owner(self._locks, number)}; wait until it is free"
            raise VolumeMissing(volume_tag, f"is in {place.element}, {reason}")
        return place

    def _dismount(
        self, wanted: Mapping[int, VolumeTag], opened: Mapping[int, Drive], *, keep: bool
    ) -> list[BaseException]:
        """Do what ``mounted`` promises for afterwards; return what failed."""
        if keep:
            return at_once([partial(_rewind_and_close, drive) for drive in opened.values()])
        return self._empty(list(wanted), opened)

    def _empty(self, numbers: Sequence[int], opened: Mapping[int, Drive] | None = None) -> list[BaseException]:
        """Unload these drives at once and bring their cartridges home, one by one; return what failed.

        Drives in ``opened`` are open already; all are closed in the end.
        """
        # Drives rewind and unload at the same time, which takes minutes; there is one robot, so it serves them in turn.
        failures = at_once([partial(self._unload, number, (opened or {}).get(number)) for number in numbers])
        return failures + one_by_one([partial(self._put_away, number) for number in numbers])

    def _unload(self, number: int, drive: Drive | None) -> None:
        self._unloaded.discard(number)
        if drive is None and not self._robot.is_full(number):
            return
        try:
            device = drive or self._sources[number].open()
            with afterwards(lambda: one_by_one([device.close])):
                device.unload()
                self._unloaded.add(number)
        except DriveError as error:
            raise type(error)(number, f"{error.reason}; {self._robot.left_in(number)}") from error

    def _put_away(self, number: int) -> None:
        if number in self._unloaded:  # else the drive still holds the cartridge, and the robot would pull at it
            self._unloaded.discard(number)
            self._robot.put_away(number)


def _rewind_and_close(drive: Drive) -> None:
    with afterwards(lambda: one_by_one([drive.close])):
        drive.rewind()
