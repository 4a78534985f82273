"""Blocks of chosen places on a tape, read ahead by a thread of their own, so that the drive keeps streaming."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from queue import SimpleQueue
from typing import NamedTuple, Self

from papertape.errors import DriveError
from papertape.events import Moved, Tell
from papertape.tape.drive import Drive, Mark

READ_ON = 512 * 1024 * 1024
"""Bytes between two places up to which reading on is faster than a LOCATE: a drive needs some three seconds to stop,
turn back and start again, and reads as much in that time."""
MOST_HOLES = 50
"""Unreadable blocks after which the rest of a volume is not tried: other copies are better."""
FEWEST_BUFFERS = 4


class Span(NamedTuple):
    """Logical objects on a tape from ``start`` up to ``stop``, which is excluded."""

    start: int
    stop: int


class Unreadable(NamedTuple):
    """Stands in the place of a block that could not be read; ``reason`` is a clause."""

    reason: str


_OUTSIDE = Unreadable("it lies outside of the spans to be read")


class _Item(NamedTuple):
    """The block found at ``address``, and the ``buffer`` that it is a part of."""

    address: int
    found: memoryview | Unreadable
    buffer: memoryview


class BlockAhead:
    """Reads ``spans`` (in order, not overlapping) of the tape in ``drive``; a context manager: no thread outlives it.

    ``memory`` bounds the blocks that are waiting, in bytes. ``locates`` and ``bytes`` count the drive's work.

    Threads: the reading thread fills buffers, the caller's thread gets blocks. Each buffer belongs to one of them, or
    to one of the two queues between them; so nothing needs a lock.
    """

    def __init__(
        self, drive: Drive, spans: Sequence[Span], *, block_size: int, memory: int, volume: str, tell: Tell
    ) -> None:
        self.locates = 0
        self.bytes = 0
        self._drive = drive
        self._spans = spans
        self._block_size = block_size
        self._volume, self._tell = volume, tell
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._filled: SimpleQueue[_Item | BaseException | None] = SimpleQueue()
        self._unmade = max(memory // block_size, FEWEST_BUFFERS)
        self._position = -1  # the logical object at which the drive stands; -1: not known
        self._holes = 0
        self._over = False
        self._current: _Item | None = None
        self._thread = threading.Thread(target=self._run, name=f"ahead-{drive.number}")

    def __enter__(self) -> Self:
        for _ in range(FEWEST_BUFFERS):
            self._make_buffer()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The thread may be waiting for a buffer: any buffer wakes it up, and it looks at the flag before it reads.
        self._over = True
        self._free.put(memoryview(b""))
        self._thread.join()

    def get(self, address: int) -> memoryview | Unreadable:
        """Return the block at ``address``, valid until the next call; addresses must not go back.

        Raises the error that ended the reading of the whole volume.
        """
        while self._current is None or self._current.address < address:
            if self._current is not None:
                # Buffers are made one by one, only while the reading thread has none: a small data set needs few.
                if self._free.empty():
                    self._make_buffer()
                self._free.put(self._current.buffer)
                self._current = None
            item = self._filled.get()
            if not isinstance(item, _Item):
                self._filled.put(item)  # the end is the answer to every later call, too
                if item is None:
                    return _OUTSIDE
                raise item
            self._current = item
        return self._current.found if self._current.address == address else _OUTSIDE

    def _make_buffer(self) -> None:
        if self._unmade:
            self._unmade -= 1
            self._free.put(memoryview(bytearray(self._block_size)))

    def _run(self) -> None:
        try:
            for address in chain.from_iterable(range(span.start, span.stop) for span in self._spans):
                buffer = self._free.get()
                if self._over:
                    return
                self._filled.put(_Item(address, self._take(address, buffer), buffer))
        except Exception as error:  # noqa: BLE001  whatever it is, who waits for the blocks raises it
            self._filled.put(error)
        finally:
            self._filled.put(None)

    def _take(self, address: int, buffer: memoryview) -> memoryview | Unreadable:
        if self._holes >= MOST_HOLES:
            return Unreadable(f"{MOST_HOLES} blocks before it could not be read, and the rest was not tried")
        try:
            if self._position < 0 or not 0 <= (address - self._position) * self._block_size <= READ_ON:
                self.locates += 1
                self._drive.locate(address)
                self._position = address
            while self._position < address:
                self._read(buffer)
            size = self._read(buffer)
        except DriveError as error:
            self._position = -1  # after an error nobody knows where the tape stands: the next block needs a LOCATE
            self._holes += 1
            return Unreadable(str(error))
        if isinstance(size, Mark):
            return Unreadable(f"there is {size.value} in its place")
        return buffer[:size] if size == self._block_size else Unreadable(f"it has {size} bytes, not {self._block_size}")

    def _read(self, buffer: memoryview) -> int | Mark:
        size = self._drive.read_block(buffer)
        self._position += 1
        if not isinstance(size, Mark):
            self.bytes += size
            self._tell(Moved(volume=self._volume, drive=self._drive.number, count=size))
        return size
