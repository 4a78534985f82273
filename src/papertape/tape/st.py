"""A drive as Linux ``st`` presents it, and the one place where its errno values become papertape's values and errors.

``TapeDevice`` is what ``st`` offers to a program: blocks, operations, and errno (kernel ``Documentation/scsi/st.rst``,
``man 4 st``). The virtual cartridges answer in the same words, so both stand under ``StDrive``.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from papertape.errors import BlockRefused, DriveError, VolumeFull, WriteProtected
from papertape.ids import VolumeTag
from papertape.tape.drive import DriveStatus, Mark

TOO_LONG = {errno.EINVAL, errno.EOVERFLOW, errno.ENOMEM}
"""The answers of st to a block that is too long for the drive, the adapter or st's buffer; nothing was done."""


class TapeOp(enum.Enum):
    """The ``MTIOCTOP`` operations that papertape uses, by their names in ``man 4 st``."""

    REWIND = "MTREW"
    SPACE_FORWARD = "MTFSF"
    SPACE_BACKWARD = "MTBSF"
    END_OF_DATA = "MTEOM"
    FILEMARK = "MTWEOF"
    FILEMARK_IMMEDIATE = "MTWEOFI"
    LOCATE = "MTSEEK"
    LOCK = "MTLOCK"
    LOAD = "MTLOAD"
    OFFLINE = "MTOFFL"


@dataclass(frozen=True)
class DeviceStatus:
    """The answer to ``MTIOCGET``; ``file_number`` and ``block_number`` are -1 where ``st`` has lost count."""

    ready: bool
    at_bot: bool
    write_protected: bool
    end_of_data: bool
    file_number: int
    block_number: int


class TapeDevice(Protocol):
    """An open ``st`` device, or something that answers like one; every method may raise ``OSError``.

    A device that runs on the host's own disk raises errors of ``papertape.errors`` for faults of that disk, so that
    they are not taken for the tape's.
    """

    def read(self, buffer: memoryview) -> int:
        """Read the next block; 0 at a filemark, which is passed, and at the end of data (``status`` tells which).

        ENOMEM: ``buffer`` is shorter than the block, which is skipped. EIO: anything that cannot be read.
        """

    def write(self, block: memoryview) -> int:
        """Write one block. ENOSPC: nothing was written; a second try succeeds until the physical end is reached."""

    def operate(self, op: TapeOp, count: int) -> None:
        """Do one MTIOCTOP operation."""

    def position(self) -> int:
        """Return the logical object address (MTIOCPOS)."""

    def status(self) -> DeviceStatus:
        """Return the drive's state without moving the tape; an empty drive is not an error."""

    def close(self) -> None:
        """Close the device; after a written block ``st`` writes a filemark first."""


_REASONS = {
    errno.ENOMEDIUM: "no cartridge is ready in it",
    errno.EIO: "medium or drive error (EIO)",
    errno.EBUSY: "it is in use by another process",
    errno.EINVAL: "it refused the request (EINVAL)",
}


class StDrive:
    """A ``Drive`` (see there) on a ``TapeDevice``.

    ``number`` is the drive's element number, ``serial`` its serial number, ``volume_tag`` that of the volume that was
    put into it, where it is known. Errors name the drive, and the volume.
    """

    def __init__(self, number: int, serial: str, device: TapeDevice, volume_tag: VolumeTag | None = None) -> None:
        self.number = number
        self.serial = serial
        self._device = device
        self._volume_tag = volume_tag
        self._early_warning = False
        self._at_end = False
        self._in_doubt = False

    def load(self) -> None:
        """See ``Drive.load``."""
        self._move(TapeOp.LOAD, 1, "loading")
        with suppress(OSError):  # not every drive can; what follows an error is refused even so
            self._device.operate(TapeOp.LOCK, 1)
        self.rewind()
        self._in_doubt = False

    def status(self) -> DriveStatus:
        """See ``Drive.status``."""
        with self._named("asking for its state"):
            status = self._device.status()
        return DriveStatus(
            ready=status.ready,
            at_bot=status.at_bot,
            write_protected=status.write_protected,
            file_number=status.file_number if status.file_number >= 0 else None,
            block_number=status.block_number if status.block_number >= 0 else None,
        )

    def rewind(self) -> None:
        """See ``Drive.rewind``."""
        self._move(TapeOp.REWIND, 1, "rewinding")

    def locate(self, address: int) -> None:
        """See ``Drive.locate``."""
        self._move(TapeOp.LOCATE, address, f"locating object {address}")

    def space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        """See ``Drive.space``."""
        try:
            self._space(filemarks)
        finally:
            with suppress(OSError):  # the drive's own word, from the sense data of spacing
                self._at_end = self._device.status().end_of_data

    def _space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        if filemarks is Mark.END_OF_DATA:
            self._move(TapeOp.END_OF_DATA, 1, "spacing to the end of data")
        elif filemarks > 0:
            self._move(TapeOp.SPACE_FORWARD, filemarks, f"spacing over {filemarks} filemarks")
        elif filemarks < 0:
            self._move(TapeOp.SPACE_BACKWARD, -filemarks, f"spacing back over {-filemarks} filemarks")

    def read_block(self, buffer: memoryview) -> int | Mark:
        """See ``Drive.read_block``."""
        if self._at_end:  # st answers EIO from the second read on, which must not look like a bad block
            return Mark.END_OF_DATA
        try:
            count = self._device.read(buffer)
        except OSError as error:
            raise self._read_error(error, len(buffer)) from error
        if count:
            return count
        return self._mark_met()

    def write_block(self, block: memoryview) -> bool:
        """See ``Drive.write_block``."""
        self._check_trusted("writing a block")
        self._at_end = False
        try:
            self._device.write(block)
        except OSError as error:
            if error.errno in TOO_LONG:
                reason = f"{self._of_volume()}it refuses blocks of {len(block)} bytes"
                raise BlockRefused(self.number, reason) from error
            if error.errno != errno.ENOSPC:
                raise self._write_error(error, "writing a block") from error
            self._write_past_early_warning(block)
        return self._early_warning

    def write_filemark(self, *, flush: bool) -> bool:
        """See ``Drive.write_filemark``."""
        self._check_trusted("writing a filemark")
        self._at_end = False
        op = TapeOp.FILEMARK if flush else TapeOp.FILEMARK_IMMEDIATE
        try:
            self._device.operate(op, 1)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise self._write_error(error, "writing a filemark") from error
            self._early_warning = True
            with self._writing("writing a filemark"):
                self._device.operate(op, 1)
        return self._early_warning

    def position(self) -> int:
        """See ``Drive.position``."""
        with self._named("asking for its position"):
            return self._device.position()

    def unload(self) -> None:
        """See ``Drive.unload``."""
        self._early_warning = self._at_end = False
        try:
            self._device.operate(TapeOp.OFFLINE, 1)
        except OSError as error:
            if error.errno != errno.ENOMEDIUM:
                raise DriveError(self.number, self._sentence(error, "unloading")) from error

    def close(self) -> None:
        """See ``Drive.close``."""
        with self._named("closing"):
            self._device.close()

    def _move(self, op: TapeOp, count: int, doing: str) -> None:
        self._early_warning = False
        self._at_end = False
        with self._named(doing):
            self._device.operate(op, count)

    def _mark_met(self) -> Mark:
        with self._named("asking for its state"):
            self._at_end = self._device.status().end_of_data
        return Mark.END_OF_DATA if self._at_end else Mark.FILEMARK

    def _write_past_early_warning(self, block: memoryview) -> None:
        """Write the block that met ENOSPC once more: st reports the early warning so, and nothing was written yet."""
        self._early_warning = True
        with self._writing("writing a block"):
            self._device.write(block)

    def _check_trusted(self, doing: str) -> None:
        """After an error the tape may be another one, or stand elsewhere: st would write to it nevertheless."""
        if self._in_doubt:
            reason = f"{self._of_volume()}{doing} is refused after an error: unload it, and load it again"
            raise DriveError(self.number, reason)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._write_error(error, doing) from error

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DriveError(self.number, self._sentence(error, doing)) from error

    def _read_error(self, error: OSError, room: int) -> DriveError:
        if error.errno == errno.ENOMEM:
            reason = f"{self._of_volume()}the block is longer than the buffer of {room} bytes; the block was skipped"
            return DriveError(self.number, reason)
        return DriveError(self.number, self._sentence(error, "reading a block"))

    def _write_error(self, error: OSError, doing: str) -> DriveError | VolumeFull | WriteProtected:
        if error.errno == errno.ENOSPC:
            return VolumeFull(self._volume_tag, f"the physical end of the tape was reached in drive {self.number}")
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            reason = (
                f"it is write-protected (drive {self.number}); move the tab of the cartridge, or take another volume"
            )
            return WriteProtected(self._volume_tag, reason)
        return DriveError(self.number, self._sentence(error, doing))

    def _sentence(self, error: OSError, doing: str) -> str:
        self._in_doubt |= error.errno != errno.EINVAL  # which refuses, and does nothing
        reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        return f"{self._of_volume()}{doing} failed{self._where()}: {reason}"

    def _of_volume(self) -> str:
        return f"volume {self._volume_tag}: " if self._volume_tag else ""

    def _where(self) -> str:
        try:
            return f" at object {self._device.position()}"
        except OSError:
            return ""
