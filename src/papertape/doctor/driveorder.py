"""Which drive is which: a cartridge is put into each drive of the changer, to see which device becomes ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from papertape.doctor.findings import Check, Devices, SetUp, fault, guarded, ok, problem, skipped, warning
from papertape.errors import DriveError, Interrupted, PapertapeError, UserError, VolumeError, VolumeMissing
from papertape.tape.changer import ElementKind, find_volume
from papertape.tape.cleanup import afterwards, one_by_one
from papertape.tape.drive import Drive
from papertape.tape.library import DriveSource
from papertape.tape.reservation import reserved
from papertape.tape.robot import Robot, drive_element
from papertape.tape.scsi.blocklimits import ask_drive_limit, takes_block
from papertape.transfer.stop import Stop
from papertape.words import show_block

READY_SECONDS = 180.0
"""How long a cartridge may take to become ready: loading takes some 20 s, with a rewind of a whole tape some 100 s."""
NEVER_READY = (
    "name the device of this drive in `drives`; or, if the cartridge is a new LTO-9 one, whose first load takes up to "
    "two hours, wait for that and run this again, or take one that was loaded before"
)
"""What to do about a cartridge that became ready nowhere."""
POLL_SECONDS = 0.5
NAME = "which drive"

Work = Callable[[int, Drive], Iterable[Check]]
"""What is done with a volume in a drive, by the drive's number, which was proven just before."""


class Visitor:
    """Brings a volume into one drive after the other, and home again through whichever device turns out to have it.

    All drives are reserved by then. Nobody believes here what the config says of the drives.
    """

    def __init__(self, devices: Devices, robot: Robot, stop: Stop, volume_tag: str) -> None:
        self._devices = devices
        self._robot = robot
        self._stop = stop
        self._tag = volume_tag

    @contextmanager
    def visiting(self, element: int) -> Iterator[tuple[int, Drive] | None]:
        """Have the volume in drive ``element``; yield number and drive of the device that became ready, None if none.

        Afterwards it is unloaded there and brought home, whatever happened. Raises ChangerError; DriveError where the
        cartridge cannot be unloaded, and then it stays where it is.
        """
        found: list[tuple[int, Drive]] = []
        self._robot.fetch(self._tag, element)
        with afterwards(lambda: one_by_one([lambda: self._bring_home(element, found)])):
            ready = self._wait(element)
            found += [ready] if ready else []
            yield ready

    def _find_ready(self, numbers: Sequence[int]) -> tuple[int, Drive] | None:
        """Return the first of the drives that has a tape ready at this moment, open and rewound."""
        for number in numbers:
            drive = self._devices.drives[number].open(self._tag)
            try:
                drive.load()
            except DriveError:
                drive.close()
            else:
                return number, drive
        return None

    def _wait(self, element: int) -> tuple[int, Drive] | None:
        numbers = sorted(range(len(self._devices.drives)), key=lambda number: number != element)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            ready = self._find_ready(numbers)
            if ready or time.monotonic() > deadline:
                return ready
            check_stop(self._stop)
            time.sleep(POLL_SECONDS)

    def _bring_home(self, element: int, found: Sequence[tuple[int, Drive]]) -> None:
        for number, drive in found:
            with suppress(DriveError):  # it is opened again just below
                drive.close()
            self._unload(element, number)
        if not found:
            self._unload_anywhere()
        self._robot.put_away(element)

    def _unload(self, element: int, number: int) -> None:
        try:
            self._let_go(number)
        except DriveError as error:
            where = f"{self._tag} is still in {drive_element(element)} of the changer"
            raise DriveError(
                number, f"{error.reason}; {where}: unload it through {self._devices.name(number)}"
            ) from error

    def _unload_anywhere(self) -> None:
        """Tell every device to let go of what it is perhaps still loading; the robot's own answer is what counts."""
        for number in range(len(self._devices.drives)):
            with suppress(PapertapeError):
                self._let_go(number)

    def _let_go(self, number: int) -> None:
        drive = self._devices.drives[number].open(self._tag)
        with afterwards(lambda: one_by_one([drive.close])):
            drive.unload()


def check_stop(stop: Stop) -> None:
    """Raise Interrupted if the operator asked to stop, however gently."""
    if stop.soon:
        raise Interrupted("interrupted: the check-up is not whole; run it again")


def prove_drives(setup: SetUp, devices: Devices, volume_tag: str, work: Work | None = None) -> Iterator[Check]:
    """Say of each drive which device it is, with ``volume_tag`` loaded into one after the other; do ``work`` there.

    Raises VolumeError, before anything is moved, for a volume that cannot be loaded, and UserError for full drives.
    """
    robot = Robot(devices.changer, devices.locks / "changer.lock", setup.tell)
    numbers = [drive.number for drive in devices.drives]
    with reserved(devices.locks, numbers, len(numbers), setup.tell):
        hindrance = _find_hindrance(devices)
        if hindrance:
            yield hindrance
            return
        elements = _find_elements(devices, robot, volume_tag)
        visitor = Visitor(devices, robot, setup.stop, volume_tag)
        proof = _Proof(setup, devices, visitor, work)
        for element in elements:
            check_stop(setup.stop)
            if not proof.visit(element):
                break
        yield from _judge(devices, volume_tag, proof.found)
        yield from proof.done


class _Proof:
    """What was found so far: which device each element is, and what was found beside that."""

    def __init__(self, setup: SetUp, devices: Devices, visitor: Visitor, work: Work | None) -> None:
        self.found: dict[int, int | None] = {}
        self.done: list[Check] = []
        self._visitor = visitor
        self._work: Work | None = work or partial(_check_block, setup, devices)

    def visit(self, element: int) -> bool:
        """Visit one drive, and work there if it is what the config says; tell whether the cartridge came home."""
        try:
            with self._visitor.visiting(element) as ready:
                self.found[element] = ready[0] if ready else None
                if ready and ready[0] == element:
                    self._do_work(*ready)
        except Interrupted:
            raise
        except PapertapeError as error:
            self.done.append(fault(NAME, error))
            return False
        return True

    def _do_work(self, number: int, drive: Drive) -> None:
        """Do the work if there is any left; what is wrong with the volume is wrong with it in the next drive, too."""
        if self._work is None:
            return
        found = guarded(f"drive {number}", partial(self._try, self._work, number, drive))
        self.done += [check for check in found if check not in self.done]

    def _try(self, work: Work, number: int, drive: Drive) -> Iterator[Check]:
        try:
            yield from work(number, drive)
        except VolumeError:
            self._work = None
            raise


def _check_block(setup: SetUp, devices: Devices, number: int, drive: Drive) -> Iterator[Check]:
    """Read once with the config's block size, which tells whether drive and adapter take it; nothing is written."""
    size = setup.settings.block_size
    if not devices.nodes or (ask_drive_limit(devices.nodes[number]) or size) < size:  # which another check tells of
        return
    drive.close()
    node = devices.nodes[number]
    taken = takes_block(node, size)
    if taken is False:
        smaller = next((half for half in _halves(size) if takes_block(node, half)), None)
        remedy = f"set `block_size` in the config to {show_block(smaller)}" if smaller else "make `block_size` smaller"
        yield problem(f"drive {number}", f"{node} refuses blocks of {show_block(size)}, the `block_size`", remedy)
    elif taken:
        yield ok(f"drive {number}", f"{node} reads with blocks of {show_block(size)}")


def _halves(size: int) -> Iterator[int]:
    half = 1 << (size.bit_length() - 1)
    while half >= 64 * 1024:
        if half < size:
            yield half
        half //= 2


def _find_hindrance(devices: Devices) -> Check | None:
    """Return why nothing can be loaded: a drive or a changer that is not right, which other checks tell of."""
    try:
        ready = [drive.number for drive in devices.drives if _is_ready(drive)]
        full = [status.full for status in devices.changer.inventory().of(ElementKind.DRIVE)]
    except PapertapeError:
        return skipped(NAME, "not tried: first mend what is wrong with the changer and the drives")
    return _tell_foreign(devices, ready[0]) if ready and not any(full) else None


def _is_ready(drive: DriveSource) -> bool:
    """Tell whether a tape is ready in the drive, moving nothing; what cannot be opened could not be unloaded."""
    opened = drive.open()
    with afterwards(lambda: one_by_one([opened.close])):
        return opened.status().ready


def _find_elements(devices: Devices, robot: Robot, volume_tag: str) -> list[int]:
    """Return the drives to visit. Raises VolumeError for a volume that cannot be loaded, UserError for full drives."""
    inventory = robot.inventory()
    place = find_volume(inventory, volume_tag).element
    if place.kind is not ElementKind.STORAGE:
        raise VolumeMissing(volume_tag, f"lies in {place}; bring it into a slot first")
    drives = list(inventory.of(ElementKind.DRIVE))
    for status in drives:
        if status.full:
            what = f"{status.volume_tag or 'a cartridge'} lies in {status.element}, and all must be empty for this"
            raise UserError(f"{what}: `papertape library unload` brings it home")
    return [status.element.number for status in drives][: len(devices.drives)]


def _tell_foreign(devices: Devices, number: int) -> Check:
    name = devices.name(number)
    sentence = f"{name} has a tape ready, while the changer says that all its drives are empty: it is no drive of it"
    return problem(NAME, sentence, "name the changer's own drives in `drives`")


def _judge(devices: Devices, volume_tag: str, found: Mapping[int, int | None]) -> Iterator[Check]:
    order = [number for number in found.values() if number is not None]
    right = ", ".join(f'"{devices.name(number)}"' for number in order)
    whole = len(set(order)) == len(found) == len(devices.drives)
    remedy = f"in the config, write drives = [{right}]" if whole else "name the drives in the changer's order"
    for element, number in found.items():
        yield _judge_one(devices, volume_tag, element, number, remedy)


def _judge_one(devices: Devices, volume_tag: str, element: int, number: int | None, remedy: str) -> Check:
    put = f"{volume_tag}, put into drive {element} of the changer,"
    if number == element:
        there = f": {devices.name(element)} is drive {element}" if devices.nodes else ""
        return ok(NAME, f"{put} became ready there{there}")
    if number is None:
        named = "the devices in `drives`" if devices.nodes else "the drives"
        sentence = f"{put} became ready at none of {named} within {READY_SECONDS:.0f} s"
        return problem(NAME, sentence, NEVER_READY, DriveError.exit_code)
    sentence = f"{put} became ready at {devices.name(number)}, which the config calls drive {number}"
    return problem(NAME, sentence, remedy)


def tell_unproven(devices: Devices) -> Check:
    """Return that nobody looked."""
    if not devices.nodes:
        return skipped(NAME, "a library in a folder has no devices that could be swapped")
    sentence = "not proven: whether `drives` stand in the changer's order shows only when a cartridge is loaded"
    return warning(NAME, sentence, "name a cartridge with --load, which writes nothing")
