"""Which drive is which: a cartridge is put into each drive of the changer, to see which device becomes ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from papertape.doctor.findings import SetUp, check_stop, fault, guarded
from papertape.errors import DriveError, Interrupted, PapertapeError, UserError, VolumeError, VolumeMissing
from papertape.ids import VolumeTag
from papertape.tape.changer import ElementKind, find_volume
from papertape.tape.checks import Check, ok, problem, skipped, warning
from papertape.tape.cleanup import afterwards, one_by_one
from papertape.tape.drive import Drive
from papertape.tape.kind import Parts
from papertape.tape.reservation import reserved
from papertape.tape.robot import Robot, drive_element

READY_SECONDS = 180.0
"""How long a cartridge may take to become ready: loading takes some 20 s, with a rewind of a whole tape some 100 s."""
NEVER_READY = (
    "name the device of this drive in `drives`; or, if the cartridge is a new LTO-9 one, whose first load takes up to "
    "two hours, wait for that and run this again, or take one that was loaded before"
)
"""The remedy for a cartridge that became ready nowhere."""
POLL_SECONDS = 0.5
NAME = "which drive"

Work = Callable[[int, Drive], Iterable[Check]]
"""Work with a volume in a drive, by the drive's number, which was proven just before."""


def check_order(setup: SetUp, devices: Parts, volume_tag: VolumeTag | None, *, is_proven: bool) -> Iterator[Check]:
    """Prove with ``volume_tag`` which drive is which; without one, say that it ``is_proven`` by nothing else."""
    if volume_tag:
        yield from prove_drives(setup, devices, volume_tag)
    elif not is_proven and setup.kind.device(0) is None:
        yield skipped(NAME, "a library of this kind has no devices that could be swapped")
    elif not is_proven:
        sentence = "not proven: whether `drives` stand in the changer's order shows only when a cartridge is loaded"
        yield warning(NAME, sentence, "name a cartridge with --load, which writes nothing")


def prove_drives(setup: SetUp, devices: Parts, volume_tag: VolumeTag, work: Work | None = None) -> Iterator[Check]:
    """Say of each drive which device it is, with ``volume_tag`` loaded into one after the other; do ``work`` there.

    Without ``work``, one block is read with the config's block size. Raises VolumeError, before anything is moved, for
    a volume that cannot be loaded, and UserError for full drives.
    """
    robot = Robot(devices.changer, devices.locks / "changer.lock", setup.tell)
    numbers = [drive.number for drive in devices.drives]
    with reserved(devices.locks, numbers, len(numbers), setup.tell):
        hindrance = _find_hindrance(setup, devices)
        if hindrance:
            yield hindrance
            return
        elements = _find_elements(devices, robot, volume_tag)
        visitor = Visitor(setup, devices, robot, volume_tag)
        found: dict[int, int | None] = {}
        done: list[Check] = []
        left: list[Work] = [work or partial(_read_block, setup)]

        def do(number: int, drive: Drive) -> Iterator[Check]:
            """Work, unless the volume was at fault before: it would be in the next drive, too."""
            for each in left:
                try:
                    yield from each(number, drive)
                except VolumeError:
                    left.clear()
                    raise

        try:
            for element in elements:
                check_stop(setup.stop)
                with visitor.visiting(element) as ready:
                    found[element] = ready[0] if ready else None
                    if ready and ready[0] == element:  # a drive that is not what the config says is not worked on
                        checks = guarded(f"drive {element}", partial(do, *ready))
                        done += [check for check in checks if check not in done]
        except Interrupted:
            raise
        except PapertapeError as error:  # the cartridge did not come home: the other drives cannot be visited
            done.append(fault(NAME, error))
        yield from _judge(setup, volume_tag, found, len(numbers))
        yield from done


class Visitor:
    """Brings a volume into one drive after the other, and home again through whichever device turns out to have it.

    All drives are reserved by then. The config is not believed here: that element 0 is the first of ``drives`` is what
    has to be proven.
    """

    def __init__(self, setup: SetUp, devices: Parts, robot: Robot, volume_tag: VolumeTag) -> None:
        self._setup = setup
        self._drives = devices.drives
        self._robot = robot
        self._tag = volume_tag

    @contextmanager
    def visiting(self, element: int) -> Iterator[tuple[int, Drive] | None]:
        """Have the volume in drive ``element``; yield number and drive of the device that became ready, None if none.

        Afterwards it is unloaded there and brought home, whatever happened. Raises ChangerError; DriveError where the
        cartridge cannot be unloaded, and then it stays where it is.
        """
        ready: tuple[int, Drive] | None = None

        def bring_home() -> None:
            if ready is None:
                # A device that is still loading may hold the cartridge. Whether one let it go, the robot will say.
                for number in range(len(self._drives)):
                    with suppress(PapertapeError):
                        self._unload(number)
            else:
                number, drive = ready
                with suppress(DriveError):  # it is opened again just below
                    drive.close()
                try:
                    self._unload(number)
                except DriveError as error:
                    place = f"{self._tag} is still in {drive_element(element)} of the changer"
                    reason = f"{error.reason}; {place}: unload it through {self._setup.name(number)}"
                    raise DriveError(number, reason) from error
            self._robot.put_away(element)

        self._robot.fetch(self._tag, element)
        with afterwards(partial(one_by_one, [bring_home])):
            ready = self._wait(element)
            yield ready

    def _wait(self, element: int) -> tuple[int, Drive] | None:
        """Return the first drive that has a tape ready, open and rewound; None if none has within READY_SECONDS."""
        numbers = sorted(range(len(self._drives)), key=lambda number: number != element)  # the likely one first
        deadline = time.monotonic() + READY_SECONDS
        while True:
            for number in numbers:
                drive = self._drives[number].open(self._tag)
                try:
                    drive.load()
                except DriveError:
                    drive.close()
                else:
                    return number, drive
            if time.monotonic() > deadline:
                return None
            check_stop(self._setup.stop)
            time.sleep(POLL_SECONDS)

    def _unload(self, number: int) -> None:
        drive = self._drives[number].open(self._tag)
        with afterwards(partial(one_by_one, [drive.close])):
            drive.unload()


def _read_block(setup: SetUp, number: int, drive: Drive) -> Iterator[Check]:
    drive.close()  # the kind opens the device by itself
    yield from setup.kind.check_block(number, setup.settings.block_size)


def _find_hindrance(setup: SetUp, devices: Parts) -> Check | None:
    """Return why nothing can be loaded: a drive or a changer that is not right, which other checks report.

    Looks whether a tape is ready in a drive and moves nothing. A drive that cannot be opened could not be unloaded.
    """
    ready = []
    try:
        for drive in devices.drives:
            opened = drive.open()
            with afterwards(partial(one_by_one, [opened.close])):
                if opened.status().ready:
                    ready.append(drive.number)
        full = any(status.full for status in devices.changer.inventory().of(ElementKind.DRIVE))
    except PapertapeError:
        return skipped(NAME, "not tried: first repair what is wrong with the changer and the drives")
    if not ready or full:
        return None
    name = setup.name(ready[0])
    sentence = f"{name} has a tape ready, while the changer says that all its drives are empty: it is no drive of it"
    return problem(NAME, sentence, "name the changer's own drives in `drives`")


def _find_elements(devices: Parts, robot: Robot, volume_tag: VolumeTag) -> list[int]:
    """Return the drives to visit. Raises VolumeError for a volume that cannot be loaded, UserError for full drives."""
    inventory = robot.inventory()
    place = find_volume(inventory, volume_tag).element
    if place.kind is not ElementKind.STORAGE:
        raise VolumeMissing(volume_tag, f"lies in {place}; bring it into a slot first")
    drives = list(inventory.of(ElementKind.DRIVE))
    for status in drives:
        if status.full:
            tag = status.volume_tag or "a cartridge"
            sentence = f"{tag} lies in {status.element}, and all must be empty for this"
            raise UserError(f"{sentence}: `papertape library unload` brings it home")
    return [status.element.number for status in drives][: len(devices.drives)]


def _judge(setup: SetUp, volume_tag: VolumeTag, found: Mapping[int, int | None], drives: int) -> Iterator[Check]:
    """Yield a finding for each element of ``found``, which has the number of the device that became ready there."""
    order: Sequence[int] = [number for number in found.values() if number is not None]
    is_whole = len(set(order)) == len(found) == drives
    right = ", ".join(f'"{setup.name(number)}"' for number in order)
    remedy = f"in the config, write drives = [{right}]" if is_whole else "name the drives in the changer's order"
    for element, number in found.items():
        put = f"{volume_tag}, put into drive {element} of the changer,"
        if number is None:
            sentence = f"{put} became ready at none of the drives in the config within {READY_SECONDS:.0f} s"
            yield problem(NAME, sentence, NEVER_READY, DriveError.exit_code)
        elif number != element:
            sentence = f"{put} became ready at {setup.name(number)}, which the config calls drive {number}"
            yield problem(NAME, sentence, remedy)
        else:
            device = setup.kind.device(number)
            yield ok(NAME, f"{put} became ready there{f': {device} is drive {number}' if device else ''}")
