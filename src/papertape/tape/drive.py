"""One sequential-access device, as the rest of papertape sees it.

A filemark, the end of data and the early warning are return values; only surprises raise, and only errors of
``papertape.errors``: no ``OSError`` leaves this package.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, Protocol

MAX_BLOCK = 8 * 1024 * 1024
"""The longest block in bytes that is read: ``st`` takes it in variable block mode on LTO drives."""


class Mark(enum.Enum):
    """A mark that a read can meet in place of a block."""

    FILEMARK = "filemark"
    END_OF_DATA = "end of data"


@dataclass(frozen=True)
class DriveStatus:
    """The state that the drive reports; ``file_number`` and ``block_number`` are None where the drive does not know."""

    ready: bool
    at_bot: bool
    write_protected: bool
    file_number: int | None
    block_number: int | None


class Drive(Protocol):
    """One data transfer element, open for this process alone.

    ``number`` is its element number (0 for the first drive of the library), ``serial`` its serial number.
    """

    number: int
    serial: str

    def load(self) -> None:
        """Wait until the cartridge that is in the drive is ready, lock the door, and rewind the tape.

        After a load, nothing that the drive says of the tape counts before the first rewind: some kernels answer EIO
        until then. Raises DriveError.
        """

    def status(self) -> DriveStatus:
        """Return the drive's state; does not move the tape, and an empty drive is no error."""

    def rewind(self) -> None:
        """Go to BOT. After a write, a filemark is written first, as ``st`` does. Raises DriveError."""

    def locate(self, address: int) -> None:
        """Go to logical object ``address``, counted from BOT; blocks and filemarks are objects alike (SSC LOCATE)."""

    def space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        """Move over ``filemarks`` filemarks (negative: backwards), or to the end of data, to append there."""

    def read_block(self, buffer: memoryview) -> int | Mark:
        """Read the next block into ``buffer`` and return its length in bytes, or the mark met instead.

        A filemark is passed by being read. Raises DriveError if the block is longer than ``buffer`` or cannot be read;
        an unreadable block is never taken for the end of data. To ``st`` a blank tape is unreadable, too: to recognize
        one, ``space`` to the end of data; it is at BOT.
        """

    def write_block(self, block: memoryview) -> bool:
        """Write one block of ``len(block)`` bytes; True once the early warning was met (the block is written even so).

        ``st`` reports the early warning with the block after the one that met it, so True may come a block late.

        Everything after the position is lost. Raises VolumeFull at the physical end, WriteProtected, DriveError, and
        BlockRefused if it is too long for the drive. After an error of the drive or the medium nothing is written until
        the next ``load``: the tape may be another.
        """

    def write_filemark(self, *, flush: bool) -> bool:
        """Write a filemark; True once the early warning was met.

        With ``flush``, everything before it is on the tape when this returns; without, it costs nothing and promises
        nothing (MTWEOFI, ``man 4 st``).
        """

    def position(self) -> int:
        """Return the logical object address that the drive itself reports (SSC READ POSITION)."""

    def unload(self) -> None:
        """Rewind and release the cartridge, so that the robot can take it; no error on an empty drive."""

    def close(self) -> None:
        """Give the device back; after a write, a filemark is written first, as ``st`` does."""
