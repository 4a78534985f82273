"""The bounded ring of blocks between the reader side and the drives: its size bounds the memory of a transfer.

Blocks are allocated when first needed and then used again. Every writer sees every block in the same order; a block is
free again when all writers and all hashing lanes have let go of it.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

CHECK_EVERY = 0.5
"""Seconds between two looks, while the reader side waits, at whether the transfer must end."""
SLAB = 32 * 1024 * 1024


class Block:
    """One block of the ring; ``view`` is its memory, ``users`` counts who still needs it."""

    __slots__ = ("users", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.users = 0


class Slabs:
    """Memory for the ring, taken from the system in pieces of ``SLAB`` bytes, in huge pages where it has them.

    Touching a gigabyte of ordinary pages for the first time takes longer than hashing it.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._slab = memoryview(b"")

    def cut(self) -> memoryview:
        """Return memory for one more block."""
        if len(self._slab) < self._block_size:
            slab = mmap.mmap(-1, max(SLAB, self._block_size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(OSError):  # a kernel without huge pages
                slab.madvise(mmap.MADV_HUGEPAGE)
            self._slab = memoryview(slab)
        piece, self._slab = self._slab[: self._block_size], self._slab[self._block_size :]
        return piece


class Filemark(NamedTuple):
    """An order to the writers, in line with the blocks."""

    flush: bool


class Feed:
    """What one writer has yet to write, in order.

    A writer starts when its feed is filled to the high watermark, and not before; then it goes on until the feed is
    empty. So a drive that is faster than the disk stops seldom and long, in place of often ("shoe-shining").
    """

    def __init__(self, ring: Ring, high: int) -> None:
        self._ring = ring
        self._high = high
        self._items: deque[Block | Filemark] = deque()
        self._draining = False
        self.changed = threading.Condition(ring.lock)

    def put(self, item: Block | Filemark) -> None:
        """Append ``item``; the ring's lock is held."""
        self._items.append(item)
        if self._draining or len(self._items) >= self._high:
            self.changed.notify()

    def get(self) -> Block | Filemark | None:
        """Return the next item, waiting for the high watermark after the feed ran empty; None at the end."""
        with self._ring.lock:
            while not self._items or not (self._draining or len(self._items) >= self._high):
                self._draining = False
                if self._ring.closed:
                    if not self._items:
                        return None
                    break
                self.changed.wait()
            self._draining = True
            return self._items.popleft()

    def drop(self) -> None:
        """Let go of all that is queued; the ring's lock is held."""
        for item in self._items:
            if isinstance(item, Block):
                self._ring.free(item)
        self._items.clear()


class Ring:
    """A fixed number of blocks, and the feeds of ``writers`` writers."""

    def __init__(self, block_size: int, blocks: int, writers: int) -> None:
        self.block_size = block_size
        self.lock = threading.Lock()
        self.closed = False
        self._limit = max(blocks, 4)
        self._made = 0
        self._slabs = Slabs(block_size)
        self._free: deque[Block] = deque()
        self._freed = threading.Condition(self.lock)
        # one block is being filled and one is being hashed while the writers wait
        self.feeds = tuple(Feed(self, (self._limit - 2) // 2) for _ in range(writers))

    def take(self, check: Callable[[], None]) -> Block:
        """Return a free block; what ``check``, called twice a second while waiting, raises goes through."""
        while True:
            with self.lock:
                if self._free:
                    return self._free.pop()
                if self._made < self._limit:
                    self._made += 1
                    return Block(self._slabs.cut())
                self._freed.wait(CHECK_EVERY)
            check()

    def publish(self, item: Block | Filemark, lanes: int = 0) -> None:
        """Hand ``item`` to every writer; ``lanes`` hashing lanes need the block as well."""
        with self.lock:
            if isinstance(item, Block):
                item.users = len(self.feeds) + lanes
            for feed in self.feeds:
                feed.put(item)

    def release(self, block: Block) -> None:
        """Say that one user of ``block`` is done with it."""
        with self.lock:
            self.free(block)

    def free(self, block: Block) -> None:
        """Say the same with the ring's lock held."""
        block.users -= 1
        if not block.users:
            self._free.append(block)
            self._freed.notify()

    def close(self, *, drop: bool = False) -> None:
        """Say that nothing more comes; with ``drop``, what is queued is not to be written either."""
        with self.lock:
            self.closed = True
            for feed in self.feeds:
                if drop:
                    feed.drop()
                feed.changed.notify()
