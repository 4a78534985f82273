"""The drives of a virtual library: each operation is done on the folder of the cartridge that lies in the drive."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from papertape.errors import DriveBusy, DriveError, VolumeError
from papertape.ids import VolumeTag
from papertape.tape.locks import try_lock
from papertape.tape.st import DeviceStatus, StDrive, TapeOp
from papertape.tape.virtual.cartridge import Cartridge
from papertape.tape.virtual.hostfile import drive_error
from papertape.tape.virtual.medium import UNKNOWN, Medium, fault
from papertape.tape.virtual.shelf import DriveRecord, Shelf
from papertape.tape.virtual.timing import DriveTiming


class VirtualDrive:
    """Drive ``number`` of a virtual library, open in one process at a time; ``timing`` is None for no delays."""

    def __init__(self, number: int, serial: str, shelf: Shelf, timing: DriveTiming | None) -> None:
        self.number = number
        self.serial = serial
        self.timing = timing
        self._shelf = shelf

    def open(self, volume_tag: VolumeTag | None = None) -> StDrive:
        """Open the drive, empty or not; see ``DriveSource.open``."""
        folder = self._shelf.drive(self.number)
        try:
            lock = try_lock(folder / "lock")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DriveError(
                self.number, f"missing: the folder {folder} is gone; put it back, or correct the config"
            ) from error
        except OSError as error:
            raise drive_error(self.number, error) from error
        if lock is None:
            raise DriveBusy(self.number, "it is in use by another process or thread")
        return StDrive(self.number, self.serial, VirtualDevice(self.number, self._shelf, self.timing, lock), volume_tag)


class VirtualDevice:
    """An open drive of a virtual library, answering as ``st`` does (see ``TapeDevice``).

    ``lock`` is the descriptor that keeps others out; it is closed with the device.
    """

    def __init__(self, number: int, shelf: Shelf, timing: DriveTiming | None, lock: int) -> None:
        self._number = number
        self._shelf = shelf
        self._timing = timing
        self._lock: int | None = lock
        self._medium: Medium | None = None
        self._wound = False

    def read(self, buffer: memoryview) -> int:
        """See ``TapeDevice.read``."""
        count = self._at_work().read(buffer)
        if self._timing:
            self._timing.transfer(count)
        return count

    def write(self, block: memoryview) -> int:
        """See ``TapeDevice.write``."""
        count = self._at_work().write(block)
        if self._timing:
            self._timing.transfer(count)
        return count

    def operate(self, op: TapeOp, count: int) -> None:
        """See ``TapeDevice.operate``."""
        if op is TapeOp.LOAD:
            self._load()
        elif op is TapeOp.OFFLINE:
            self._unload()
        elif op is TapeOp.LOCK:
            self._at_work()  # no robot takes a loaded cartridge out, locked or not
        elif op in {TapeOp.FILEMARK, TapeOp.FILEMARK_IMMEDIATE}:
            self._at_work().write_filemarks(count, flush=op is TapeOp.FILEMARK)
            if self._timing and op is TapeOp.FILEMARK:
                self._timing.flush()
        else:
            self._wind(op, count)

    def position(self) -> int:
        """See ``TapeDevice.position``."""
        return self._at_work().address

    def status(self) -> DeviceStatus:
        """See ``TapeDevice.status``."""
        medium = self._medium or self._take_up()
        if medium is None:
            return DeviceStatus(
                ready=False,
                at_bot=False,
                write_protected=False,
                end_of_data=False,
                file_number=UNKNOWN,
                block_number=UNKNOWN,
            )
        return DeviceStatus(
            ready=True,
            at_bot=medium.address == 0,
            write_protected=medium.cartridge.record.write_protected,
            end_of_data=medium.end_of_data,
            file_number=medium.file_number,
            block_number=medium.block_number,
        )

    def close(self) -> None:
        """See ``TapeDevice.close``; the tape stays where it is, and the next who opens the drive finds it there."""
        if self._lock is None:
            return
        try:
            if self._medium:
                self._medium.close()
                self._remember(self._medium.address if self._wound else None)
        finally:  # also where the filemark could not be written: st closes the device then, too
            self._medium = None
            os.close(self._lock)
            self._lock = None

    def _at_work(self) -> Medium:
        if self._lock is None:
            raise fault(errno.EBADF)
        medium = self._medium or self._take_up()
        if medium is None:
            raise fault(errno.ENOMEDIUM)
        if not self._wound:
            raise fault(errno.EIO)  # some kernels answer so until the first rewind after a load
        return medium

    def _take_up(self) -> Medium | None:
        """Find the tape that is loaded in the drive, and where the last who used it left it."""
        record = self._record()
        if not record.loaded or record.cartridge is None:
            return None
        cartridge = Cartridge(self._shelf.cartridge(record.cartridge), self._number, self._shelf.spare)
        if cartridge.record.cleaning:
            return None
        medium = Medium(cartridge)
        self._wound = record.position is not None
        if record.position:  # the process before closed the device there, and the tape did not move
            medium.resume(record.position)
        if self._wound:
            self._remember(None)  # if this process dies, nobody knows where the tape stands
        self._medium = medium
        return medium

    def _load(self) -> None:
        if self._medium is None and self._record().cartridge is not None:
            self._remember(self._record().position, loaded=True)
            self._take_up()
        if self._medium is None:
            raise fault(errno.EIO)
        if self._timing and not self._wound:
            self._timing.load()

    def _unload(self) -> None:
        try:
            ready = self._medium or self._take_up()
        except (VolumeError, DriveError):  # a cartridge whose files cannot be read must come out, too
            ready = None
        if ready:
            self._wind(TapeOp.REWIND, 1)
            ready.close()
            if self._timing:
                self._timing.unload()
        elif not self._record().loaded:
            raise fault(errno.ENOMEDIUM)
        self._remember(None, loaded=False)
        self._medium, self._wound = None, False

    def _wind(self, op: TapeOp, count: int) -> None:
        medium = self._medium or self._take_up()
        if medium is not None and op is TapeOp.REWIND:
            self._wound = True
        medium = self._at_work()
        before = medium.used
        try:
            wind: dict[TapeOp, Callable[[int], None]] = {
                TapeOp.REWIND: lambda _: medium.rewind(),
                TapeOp.LOCATE: medium.locate,
                TapeOp.SPACE_FORWARD: medium.space_forward,
                TapeOp.SPACE_BACKWARD: medium.space_backward,
                TapeOp.END_OF_DATA: lambda _: medium.go_to_end(),
            }
            wind[op](count)
        finally:
            if self._timing:
                self._timing.travel((medium.used - before) / medium.cartridge.record.capacity)

    def _record(self) -> DriveRecord:
        try:
            return self._shelf.read().drives[self._number]
        except IndexError as error:
            raise DriveError(self._number, f"missing: {self._shelf.folder}/library.json names no such drive") from error
        except OSError as error:
            raise drive_error(self._number, error) from error

    def _remember(self, position: int | None, *, loaded: bool = True) -> None:
        try:
            with self._shelf.changing() as library:
                library.drives[self._number].position = position
                library.drives[self._number].loaded = loaded
        except OSError as error:
            raise drive_error(self._number, error) from error
