"""Linux ``st``: a tape device node, its operations, and how long to wait for it.

Operations, status bits and their numbers are those of ``<linux/mtio.h>``; what they do is in ``man 4 st`` and in the
kernel's ``Documentation/scsi/st.rst``. Where they are silent, the driver was measured
(docs/hardware.md).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from papertape.errors import DriveBusy, DriveError
from papertape.events import Note, Tell, Waiting
from papertape.ids import VolumeTag
from papertape.tape.drive import MAX_BLOCK
from papertape.tape.st import TOO_LONG, DeviceStatus, StDrive, TapeOp

MTIOCTOP, MTIOCGET, MTIOCPOS = 0x40086D01, 0x80306D02, 0x80086D03
_MTOP, _MTGET, _MTPOS = struct.Struct("hi"), struct.Struct("lllllii"), struct.Struct("l")
MTSETBLK = 20
OPERATIONS = {
    TapeOp.SPACE_FORWARD: 1,
    TapeOp.SPACE_BACKWARD: 2,
    TapeOp.FILEMARK: 5,
    TapeOp.REWIND: 6,
    TapeOp.OFFLINE: 7,
    TapeOp.END_OF_DATA: 12,
    TapeOp.LOCATE: 22,
    TapeOp.LOCK: 28,
    TapeOp.LOAD: 30,
    TapeOp.FILEMARK_IMMEDIATE: 35,
}
GMT_BOT, GMT_EOD, GMT_WR_PROT = 0x40000000, 0x08000000, 0x04000000
GMT_ONLINE, GMT_DR_OPEN, GMT_CLN = 0x01000000, 0x00040000, 0x00008000
UNKNOWN = -1
BLOCK_SIZE_MASK = 0xFFFFFF
TAPE_MAJOR, NO_REWIND = 9, 128
POLL_SECONDS = 0.5
SHORTEST_LIMIT = 32 * 1024
"""No adapter is known that takes shorter blocks only; in bytes."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a drive, in seconds.

    ``busy`` for another program that has it open, ``empty`` for a cartridge that the robot has just put in to be
    noticed, ``loading`` for one that is being loaded: a new LTO-9 cartridge is measured first, for up to two hours.
    After ``quiet`` an event says the reason.
    """

    busy: float = 60.0
    empty: float = 30.0
    loading: float = 2.5 * 3600
    quiet: float = 10.0


def read_serial(path: Path) -> str:
    """Return the drive's serial number, as the kernel has it in sysfs (vital product data page 80h); "" if it has not.

    ``path`` is the device node, or a link to it.
    """
    node = Path("/sys/class/scsi_tape") / path.resolve().name / "device"
    with suppress(OSError):
        return (node / "vpd_pg80").read_bytes()[4:].decode("ascii", "replace").strip("\0 ")
    return ""


class ScsiDrive:
    """Drive ``number`` of a library, at the device node ``path`` (``/dev/nst0``, ``/dev/tape/by-id/…-nst``)."""

    def __init__(self, number: int, path: Path, tell: Tell, patience: Patience | None = None) -> None:
        self.number = number
        self.path = path
        self._tell = tell
        self._patience = patience or Patience()

    def open(self, volume_tag: VolumeTag | None = None) -> StDrive:
        """Open the drive, empty or not, waiting for it if another program has it; see ``DriveSource.open``."""
        self.check()
        device = StDevice(self.number, self.path, self._tell, self._patience)
        return StDrive(self.number, read_serial(self.path) or str(self.path), device, volume_tag)

    def check(self) -> None:
        """Raise DriveError if the path is not that of a tape device that stays where it is when it is closed."""
        try:
            node = self.path.stat()
        except OSError as error:
            raise _unusable(self.number, self.path, error) from error
        if not stat.S_ISCHR(node.st_mode) or os.major(node.st_rdev) != TAPE_MAJOR:
            raise DriveError(self.number, f"{self.path} is not a tape device; correct `drives` in the config")
        if not os.minor(node.st_rdev) & NO_REWIND:
            wanted = f"{self.path.parent}/n{self.path.resolve().name}"
            raise DriveError(self.number, f"{self.path} rewinds when it is closed; name {wanted} in the config")


class StDevice:
    """An open ``st`` device (see ``TapeDevice``); opened without blocking, so that an empty drive opens too.

    Raises DriveBusy if another program has it for longer than ``patience`` allows, DriveError if it cannot be opened.
    """

    def __init__(self, number: int, path: Path, tell: Tell, patience: Patience) -> None:
        self._number = number
        self._path = path
        self._tell = tell
        self._patience = patience
        self._writable = True
        self._longest = MAX_BLOCK
        self._ended = False
        self._descriptor: int | None = None
        self._open()

    def read(self, buffer: memoryview) -> int:
        """See ``TapeDevice.read``.

        st refuses a buffer that is longer than the adapter can take, however short the block is (EINVAL, before
        anything moves): of such a buffer only a part is used.
        """
        self._ended = False
        while True:
            try:
                return os.readv(self._at_work(), [buffer[: self._longest]])
            except OSError as error:
                if (
                    error.errno not in {errno.EINVAL, errno.EOVERFLOW}
                    or min(len(buffer), self._longest) <= SHORTEST_LIMIT
                ):
                    raise
                self._longest = min(len(buffer), self._longest) // 2

    def write(self, block: memoryview) -> int:
        """See ``TapeDevice.write``."""
        descriptor = self._at_work()
        if not self._writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self._ended = False
        with self._disarming():
            count = os.write(descriptor, block)  # in variable block mode one write is one block
            if count != len(block):
                raise OSError(errno.EIO, f"only {count} of {len(block)} bytes were written")
        return count

    def operate(self, op: TapeOp, count: int) -> None:
        """See ``TapeDevice.operate``."""
        self._ended = False
        with self._disarming():
            if op is TapeOp.LOAD:
                self._load()
            elif op is TapeOp.OFFLINE:
                self._unload()
            else:
                if op is TapeOp.END_OF_DATA:  # MTEOM would hide the one error that reports a changed tape
                    self.position()
                self._order(OPERATIONS[op], count)

    def position(self) -> int:
        """See ``TapeDevice.position``."""
        with self._disarming():
            answer = fcntl.ioctl(self._at_work(), MTIOCPOS, bytes(_MTPOS.size))
        return int(_MTPOS.unpack(answer)[0])

    def status(self) -> DeviceStatus:
        """See ``TapeDevice.status``."""
        bits, file_number, block_number, _ = self._ask()
        ready = bool(bits & GMT_ONLINE)
        return DeviceStatus(
            ready=ready,
            at_bot=ready and bool(bits & GMT_BOT),
            write_protected=ready and (bool(bits & GMT_WR_PROT) or not self._writable),
            end_of_data=self._ended or bool(bits & GMT_EOD),
            file_number=file_number if ready else UNKNOWN,
            block_number=block_number if ready else UNKNOWN,
        )

    def close(self) -> None:
        """See ``TapeDevice.close``."""
        # Forgotten first: if close fails (the filemark cannot be written), the number is free again and may be reused.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> None:
        """Open the node; a protected cartridge opens for reading alone."""
        for _ in self._tries(self._patience.busy, self._busy):
            try:
                self._descriptor, self._writable = _open_node(self._path)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise _unusable(self._number, self._path, error) from error
            else:
                return
        raise DriveBusy(self._number, f"{self._busy()}; end that, and try again")

    def _busy(self) -> str:
        return f"it is in use by {find_user(self._path) or 'another process'} ({self._path})"

    def _tries(self, limit: float, what: Callable[[], str]) -> Iterator[float]:
        """Yield the seconds waited so far, until ``limit`` is over; tell the operator once what is waited for."""
        began, told = time.monotonic(), False
        while True:
            waited = time.monotonic() - began
            yield waited
            if waited >= limit:
                return
            if not told and waited >= min(self._patience.quiet, limit / 2):
                told = True
                self._tell(Waiting(reason=f"drive {self._number}: {what()}"))
            time.sleep(min(POLL_SECONDS, limit))

    def _load(self) -> None:
        """Wait until the cartridge is ready; st looks at the drive when it is opened, so open it again and again."""
        empty_since: float | None = None
        for waited in self._tries(self._patience.loading, lambda: "loading, which takes a new LTO-9 up to two hours"):
            self.close()
            self._open()
            bits, _, _, block_size = self._ask()
            if bits & GMT_ONLINE:
                if block_size:  # another program left fixed blocks, in which st would cut and pad ours
                    self._order(MTSETBLK, 0)
                if bits & GMT_CLN:
                    sentence = f"drive {self._number} asks for cleaning: put a cleaning cartridge in when it is free"
                    self._tell(Note(sentence=sentence))
                return
            if not bits & GMT_DR_OPEN:  # a cartridge is in, and being loaded: that has the longer patience
                empty_since = None
                continue
            empty_since = waited if empty_since is None else empty_since
            if waited - empty_since >= self._patience.empty:
                break
            with suppress(OSError):  # lets a cartridge in that was put offline; the next look tells
                self._order(OPERATIONS[TapeOp.LOAD], 1)
        raise OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM))

    def _unload(self) -> None:
        """Put the tape offline, which unlocks the door as well.

        Unlocking it first would keep st from writing the filemark that must follow a block.
        """
        try:
            self._order(OPERATIONS[TapeOp.OFFLINE], 1)
        except OSError as error:
            if self._ask()[0] & GMT_DR_OPEN:
                raise OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM)) from error
            raise

    @contextmanager
    def _disarming(self) -> Iterator[None]:
        """Disarm st if what is done in the block fails, other than by being refused: what comes next would write."""
        try:
            yield
        except OSError as error:
            if error.errno not in {errno.ENOSPC, *TOO_LONG}:
                with suppress(OSError):  # disarming clears the bit
                    self._ended = bool(self._ask()[0] & GMT_EOD)
                self._disarm()
            raise

    def _disarm(self) -> None:
        """Keep st from writing the filemark that it writes after a block, because the tape may be another one.

        Writing no filemark at all counts as having written one (st.c: any operation but a few ends the writing).
        """
        with suppress(OSError):
            self._order(OPERATIONS[TapeOp.FILEMARK], 0)

    def _order(self, operation: int, count: int) -> None:
        fcntl.ioctl(self._at_work(), MTIOCTOP, _MTOP.pack(operation, count))

    def _ask(self) -> tuple[int, int, int, int]:
        """Return the status bits, the file number, the block number, and the fixed block size (0 for variable)."""
        answer = fcntl.ioctl(self._at_work(), MTIOCGET, bytes(_MTGET.size))
        _, _, settings, bits, _, file_number, block_number = _MTGET.unpack(answer)
        return bits, file_number, block_number, settings & BLOCK_SIZE_MASK

    def _at_work(self) -> int:
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptor


def _open_node(path: Path) -> tuple[int, bool]:
    """Return a descriptor, and whether it can be written through. Raises OSError."""
    # Without O_NONBLOCK st waits in the kernel for a tape, and gives up by itself. O_CLOEXEC: mtx must not inherit it.
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags), True
    except OSError as error:
        if error.errno != errno.EROFS:  # a write-protected tape is ready in it
            raise
    return os.open(path, os.O_RDONLY | flags), False


def find_user(path: Path) -> str:
    """Return which process has ``path`` open ("process 77 (dd)"), as far as this user may see; "" if none is seen."""
    target = path.resolve()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            if any(link.readlink() == target for link in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return ""


def _unusable(number: int, path: Path, error: OSError) -> DriveError:
    remedy = {
        errno.ENOENT: "is missing; switch the drive on, or correct `drives` in the config",
        errno.ENXIO: "exists, but no drive answers there; switch it on and look at its cable",
        errno.ENODEV: "exists, but no drive answers there; switch it on and look at its cable",
        errno.EACCES: "may not be used by this user; join the group that owns it (tape, on Debian), and log in again",
        errno.EPERM: "may not be used by this user; join the group that owns it (tape, on Debian), and log in again",
    }.get(error.errno or 0, f"cannot be opened ({error.strerror})")
    return DriveError(number, f"{path} {remedy}")
