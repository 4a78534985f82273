"""Two drives to measure with: tapes of memory that is there already, or a virtual library."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from papertape.events import tell_all
from papertape.tape.drive import Drive
from papertape.tape.library import Library
from papertape.tape.st import DeviceStatus, StDrive, TapeOp
from papertape.tape.virtual.library import VirtualLibrary, create_library

TAGS = ("PAPR1001", "PAPR2001")
FILEMARK = 0


class PreallocatedTape:
    """One host file that is never cut off, so that writing again touches only memory that is allocated already.

    It answers as ``st`` does (see ``TapeDevice``) to what a writing and a verification ask of it. The lengths of its
    blocks (0 for a filemark) are kept beside it in a JSON file.
    """

    volume_tag = None

    def __init__(self, path: Path) -> None:
        self._index = path.with_suffix(".json")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._objects: list[int] = json.loads(self._index.read_bytes()) if self._index.exists() else []
        self._position = self._offset = 0
        self._end_was_read = False

    def read(self, buffer: memoryview) -> int:
        """See ``TapeDevice.read``."""
        self._end_was_read = self._position == len(self._objects)
        if self._end_was_read:
            return 0
        size = self._objects[self._position]
        self._position += 1
        if size:
            os.preadv(self._descriptor, [buffer[:size]], self._offset)
            self._offset += size
        return size

    def write(self, block: memoryview) -> int:
        """See ``TapeDevice.write``."""
        size = os.pwrite(self._descriptor, block, self._offset)
        self._append(size)
        self._offset += size
        return size

    def operate(self, op: TapeOp, count: int) -> None:
        """See ``TapeDevice.operate``."""
        if op is TapeOp.REWIND:
            self._position = self._offset = 0
        elif op in {TapeOp.FILEMARK, TapeOp.FILEMARK_IMMEDIATE}:
            for _ in range(count):
                self._append(FILEMARK)
        else:
            raise OSError(errno.EINVAL, "this tape does not do that")

    def position(self) -> int:
        """See ``TapeDevice.position``."""
        return self._position

    def status(self) -> DeviceStatus:
        """See ``TapeDevice.status``."""
        return DeviceStatus(True, self._position == 0, False, self._end_was_read, -1, -1)

    def close(self) -> None:
        """See ``TapeDevice.close``."""
        os.close(self._descriptor)
        self._index.write_text(json.dumps(self._objects))

    def _append(self, size: int) -> None:
        del self._objects[self._position :]
        self._objects.append(size)
        self._position += 1


@contextmanager
def two_drives(folder: Path, *, virtual: bool) -> Iterator[Sequence[Drive]]:
    """Have the two volumes ready in two drives; with ``virtual``, in those of a virtual library."""
    with ExitStack() as stack:
        if virtual:
            yield stack.enter_context(_mounted(folder / "library"))
            return
        drives = [
            StDrive(number, f"MEMORY{number}", PreallocatedTape(folder / f"{tag}.tape"))
            for number, tag in enumerate(TAGS)
        ]
        for drive in drives:
            stack.callback(drive.close)
        yield drives


@contextmanager
def _mounted(folder: Path) -> Iterator[Sequence[Drive]]:
    if not folder.exists():
        create_library(folder, volume_tags=TAGS)
    library = VirtualLibrary(folder)
    reserved = Library(library.changer, library.drives, folder / "locks", tell_all()).reserve(2)
    with reserved as session, session.mounted(TAGS) as drives:
        yield drives
