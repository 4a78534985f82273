"""A drive measured on a scratch volume: its speed, what filemarks cost, its longest block, and that it reads back."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

from papertape.doctor.driveorder import prove_drives
from papertape.doctor.findings import SetUp, check_stop
from papertape.errors import BlockRefused, DriveError, UserError, VolumeFull, VolumeNotBlank, WriteProtected
from papertape.events import Finished, Moved, Phase, Tell
from papertape.ids import VolumeTag
from papertape.tape.checks import Check, ok, problem, warning
from papertape.tape.drive import MAX_BLOCK, Drive, Mark
from papertape.tape.kind import Parts
from papertape.transfer.stop import Stop
from papertape.volume.layout import MAXIMUM_BLOCK, MINIMUM_BLOCK
from papertape.words import show_block, show_rate, show_seconds, show_size

MARKER = b"papertape doctor scratch: whatever is on this tape may be overwritten by papertape doctor\n"
"""How the first block of a scratch volume begins."""
WRITE_SECONDS = 60.0
"""After this time writing ends, however little was written."""
POOL = 16
"""Blocks of noise that are written in turn: no drive's compression looks back as far."""
FILEMARKS = 5
"""How many of each kind are timed."""
TELL_EVERY = 32 * 1024 * 1024
"""Bytes between two events: one for each block would be thousands a second."""
_NUMBER = struct.Struct(">Q")


@dataclass
class Noise:
    """Blocks that cannot be compressed, each with its number, the same again for reading back."""

    pool: list[bytearray]

    def block(self, number: int) -> bytearray:
        """Return block ``number``; the next call may change it."""
        block = self.pool[number % len(self.pool)]
        _NUMBER.pack_into(block, 0, number)
        return block


@dataclass
class Measured:
    """The result of writing in blocks of ``size`` bytes, and how long it took.

    Speeds are in bytes a second, that of writing with the last flush. ``flushed`` and ``immediate`` are the seconds
    that a filemark takes, None where the tape ended before. ``wrong`` is the first object that read back otherwise.
    """

    size: int
    blocks: int = 0
    write_speed: float = 0.0
    read_speed: float = 0.0
    flushed: float | None = None
    immediate: float | None = None
    wrong: int | None = None


def check_scratch(setup: SetUp, devices: Parts, volume_tag: VolumeTag | None, size: int) -> Iterator[Check]:
    """Measure each drive with up to ``size`` bytes on the volume, if there is one.

    Raises UserError unless the ledger does not know the volume: only such a one is written to.
    """
    if volume_tag is None:
        return
    if setup.ledger is None:
        raise UserError(f"--scratch {volume_tag}: the ledger cannot be asked whether it is free; nothing was written")
    known = next((volume for volume in setup.ledger.volumes.all() if volume.tag == volume_tag), None)
    if known is not None:
        reason = f"it is registered, as {known.state}"
        raise UserError(f"--scratch {volume_tag}: {reason}; nothing was written; name a volume that is not registered")
    yield from prove_drives(setup, devices, volume_tag, partial(measure_drive, setup, volume_tag, size))


def measure_drive(setup: SetUp, volume_tag: VolumeTag, size: int, number: int, drive: Drive) -> Iterator[Check]:
    """Write ``size`` bytes to the scratch volume in ``drive``, read them back, and leave the tape as scratch, or blank.

    Raises VolumeNotBlank, before anything is written, for a tape that holds anything except what doctor wrote.
    """
    check_writable(drive, volume_tag)
    name, wanted = f"drive {number}", setup.settings.block_size
    longest = find_longest(drive)
    if longest < wanted:
        takes = f"takes those of {show_block(longest)}"
        sentence = f"it refuses blocks of {show_block(wanted)}, the `block_size`, and {takes}"
        yield problem(name, sentence, f"set `block_size` in the config to {show_block(longest)} or less")
    else:
        more = " or more" if longest == MAXIMUM_BLOCK else ""
        yield ok(name, f"it writes blocks of up to {show_block(longest)}{more}")
    yield from _judge(setup, volume_tag, number, _measure(setup, drive, volume_tag, min(wanted, longest), size))
    # Whether the tape can be made blank again or not: it begins and ends with the marker first.
    drive.rewind()
    drive.write_block(_marked(MINIMUM_BLOCK))
    drive.write_filemark(flush=True)
    drive.close()  # the kind opens the device by itself
    if setup.kind.wipe(number, MARKER):
        yield ok("scratch", f"{volume_tag} is blank again")
    else:
        sentence = f"{volume_tag} begins with doctor's mark and is a scratch volume from now on: do not register it"
        yield ok("scratch", sentence)


def check_writable(drive: Drive, volume_tag: VolumeTag) -> None:
    """Return with the drive rewound if its tape is blank, or a scratch tape of doctor's; else raise VolumeError."""
    if drive.status().write_protected:
        raise WriteProtected(volume_tag, "its tab forbids writing; move the tab, or use another volume")
    refused = "doctor writes to blank tapes only, and nothing was written; name another volume with --scratch"
    buffer = memoryview(bytearray(MAX_BLOCK))
    try:
        drive.space(Mark.END_OF_DATA)
        blank = drive.position() == 0
        drive.rewind()
        first = Mark.END_OF_DATA if blank else drive.read_block(buffer)
    except DriveError as error:
        raise VolumeNotBlank(volume_tag, f"whether it is blank cannot be read ({error}); {refused}") from error
    if not blank and not (isinstance(first, int) and bytes(buffer[:first]).startswith(MARKER)):
        raise VolumeNotBlank(volume_tag, f"it is not blank; {refused}")
    drive.rewind()


def find_longest(drive: Drive) -> int:
    """Return the longest block in bytes, of those that a volume can have, that the drive writes; DriveError if none.

    Each try begins at BOT and begins with the marker: cut off at any moment, the tape is still a scratch tape.
    """
    size = MAXIMUM_BLOCK
    while True:
        drive.rewind()
        try:
            drive.write_block(_marked(size))
        except BlockRefused:
            if size <= MINIMUM_BLOCK:
                raise
            size //= 2
        else:
            return size


def _marked(size: int) -> memoryview:
    return memoryview(bytearray(MARKER.ljust(size, b"\0")))


def _measure(setup: SetUp, drive: Drive, volume_tag: VolumeTag, block: int, size: int) -> Measured:
    """Write and read back ``size`` bytes in blocks of ``block``, less if the time is over or the tape ends."""
    noise = Noise([bytearray(os.urandom(block)) for _ in range(POOL)])
    measured = Measured(block)
    moves = _Moves(setup.tell, volume_tag, drive.number)
    count, at_end = max(size // block, 1), False
    drive.rewind()
    drive.write_block(_marked(block))
    setup.tell(Phase(name="writing", volumes=(volume_tag,), total=count * block))
    began = time.monotonic()
    while measured.blocks < count and not at_end and time.monotonic() - began < WRITE_SECONDS:
        check_stop(setup.stop)
        try:
            at_end = drive.write_block(memoryview(noise.block(measured.blocks)))
        except VolumeFull:  # the early warning may come a block late
            at_end = True
        else:
            measured.blocks += 1
            moves.add(block)
    with suppress(VolumeFull):
        drive.write_filemark(flush=True)
    measured.write_speed = measured.blocks * block / max(time.monotonic() - began, 1e-6)
    moves.end()
    if not at_end:
        measured.flushed = _time_filemarks(drive, noise, setup.stop, flush=True)
        measured.immediate = _time_filemarks(drive, noise, setup.stop, flush=False)
    drive.rewind()
    _read(setup, drive, volume_tag, noise, measured)
    return measured


def _time_filemarks(drive: Drive, noise: Noise, stop: Stop, *, flush: bool) -> float:
    """Return the median of the seconds that a filemark after one block takes."""
    taken = []
    for number in range(FILEMARKS):
        check_stop(stop)
        drive.write_block(memoryview(noise.block(number)))
        began = time.monotonic()
        drive.write_filemark(flush=flush)
        taken.append(time.monotonic() - began)
    return median(taken)


def _read(setup: SetUp, drive: Drive, volume_tag: VolumeTag, noise: Noise, measured: Measured) -> None:
    """Read the written blocks back, and report the first one that differs."""
    moves = _Moves(setup.tell, volume_tag, drive.number)
    buffer = bytearray(measured.size)
    drive.read_block(memoryview(buffer))  # the marker
    setup.tell(Phase(name="reading", volumes=(volume_tag,), total=measured.blocks * len(buffer)))
    began = time.monotonic()
    for number in range(measured.blocks):
        check_stop(setup.stop)
        count = drive.read_block(memoryview(buffer))
        if count != len(buffer) or buffer != noise.block(number):
            measured.wrong = number + 1
            break
        moves.add(len(buffer))
    measured.read_speed = measured.blocks * len(buffer) / max(time.monotonic() - began, 1e-6)
    moves.end()


class _Moves:
    """Tells the bytes that moved, in steps of TELL_EVERY."""

    def __init__(self, tell: Tell, volume_tag: VolumeTag, drive: int) -> None:
        self._tell = tell
        self._volume = volume_tag
        self._drive = drive
        self._untold = 0

    def add(self, count: int) -> None:
        self._untold += count
        if self._untold >= TELL_EVERY:
            self._tell(Moved(volume=self._volume, drive=self._drive, count=self._untold))
            self._untold = 0

    def end(self) -> None:
        self._tell(Moved(volume=self._volume, drive=self._drive, count=self._untold))
        self._untold = 0
        self._tell(Finished(volume=self._volume, drive=self._drive))


def _judge(setup: SetUp, volume_tag: VolumeTag, number: int, measured: Measured) -> Iterator[Check]:
    name, generation = f"drive {number}", setup.kind.generation(number)
    if measured.wrong is not None:
        sentence = f"{volume_tag} does not read back as it was written, from object {measured.wrong} on"
        yield problem(name, sentence, "take the drive out of service, or try another cartridge", DriveError.exit_code)
        return
    speeds = f"writes {show_rate(measured.write_speed)} and reads {show_rate(measured.read_speed)}"
    amount = f"{show_size(measured.blocks * measured.size)} in blocks of {show_block(measured.size)}"
    sentence = f"it {speeds} ({amount}, read back the same)"
    if generation and measured.write_speed < generation.slowest_speed:
        slow = f"{generation.name} streams from {show_rate(generation.slowest_speed)} on"
        yield warning(name, f"{sentence}; {slow}", "look at its cable and adapter, or take a larger `block_size`")
    else:
        yield ok(name, sentence)
    if measured.flushed is not None and measured.immediate is not None:
        flushed, immediate = show_seconds(measured.flushed), show_seconds(measured.immediate)
        yield ok(name, f"a filemark that is waited for takes {flushed}, one that is not {immediate}")
