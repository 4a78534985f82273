"""Drives in memory for the pump: slow ones, ones that write only when the test allows it, and ones that fail."""

from __future__ import annotations

import threading
from typing import Literal

from papertape.errors import DriveError
from papertape.tape.drive import DriveStatus, Mark

FILEMARK = Mark.FILEMARK


class MemoryDrive:
    """A ``Drive`` that keeps what is written in ``tape``; its ``fail_at``-th write (from 1) and all later ones fail."""

    def __init__(self, number: int, fail_at: int | None = None) -> None:
        self.number = number
        self.serial = f"MEMORY{number}"
        self.tape: list[bytes | Mark] = []
        self.flushed = 0
        self._at = 0
        self._fail_at = fail_at

    def load(self) -> None:
        self.rewind()

    def status(self) -> DriveStatus:
        return DriveStatus(True, self._at == 0, False, None, None)

    def rewind(self) -> None:
        self._at = 0

    def locate(self, address: int) -> None:
        self._at = address

    def space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        self._at = len(self.tape)

    def read_block(self, buffer: memoryview) -> int | Mark:
        if self._at >= len(self.tape):
            return Mark.END_OF_DATA
        item = self.tape[self._at]
        self._at += 1
        if isinstance(item, Mark):
            return item
        buffer[: len(item)] = item
        return len(item)

    def write_block(self, block: memoryview) -> bool:
        self._put(bytes(block))
        return False

    def write_filemark(self, *, flush: bool) -> bool:
        self._put(FILEMARK)
        if flush:
            self.flushed = len(self.tape)
        return False

    def position(self) -> int:
        return self._at

    def unload(self) -> None:
        self._at = 0

    def close(self) -> None:
        pass

    def _put(self, item: bytes | Mark) -> None:
        if self._fail_at is not None and self._at + 1 >= self._fail_at:
            raise DriveError(self.number, f"worn out at object {self._at}")
        self.tape[self._at :] = [item]
        self._at += 1


class GatedDrive(MemoryDrive):
    """Writes an object only when the test allows it; ``arrived`` is set when one is waiting."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.arrived = threading.Event()
        self._gate = threading.Semaphore(0)

    def let_through(self, objects: int = 1) -> None:
        self._gate.release(objects)

    def _put(self, item: bytes | Mark) -> None:
        self.arrived.set()
        self._gate.acquire()
        super()._put(item)


class ForgetfulDrive(MemoryDrive):
    """Reports one object less than it was given."""

    def position(self) -> int:
        return super().position() - 1
