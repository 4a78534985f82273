"""The bounded ring of blocks between the reader side and the drives: its size bounds the memory of a transfer.

Blocks are allocated when they are first needed, and reused. Every writer gets every block in the same order. A block is
free again when all writers and all hashing lanes have released it.

Threads: the reader side (one thread) calls ``take``, ``publish`` and ``close``; each writer calls ``Feed.get`` of one
feed; writers and hashing lanes call ``release``. One lock guards all of it, and it is never held while a drive or a
disk works. A method whose name ends in ``_locked`` may only be called while the ring's lock is held.
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
"""Bytes that are taken from the system at once."""


class Block:
    """One block of the ring: ``view`` is its memory, ``users`` counts the threads that still need it."""

    __slots__ = ("users", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.users = 0


class Slabs:
    """Memory for the ring, taken from the system in pieces of ``SLAB`` bytes, in huge pages where the kernel has them.

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
    """An order to the writers, queued in line with the blocks; ``flush`` also empties the drive's buffer."""

    flush: bool


class Feed:
    """The queue of one writer, in the order of the tape.

    A writer starts when its feed is filled to the high watermark (``high`` items), and then writes until the feed is
    empty. So a drive that is faster than the disk stops rarely and for long, instead of often ("shoe-shining").
    """

    def __init__(self, ring: Ring, high: int) -> None:
        self._ring = ring
        self._high = high
        self._items: deque[Block | Filemark] = deque()
        self._draining = False
        # The condition shares the ring's lock: whoever waits here releases the whole ring.
        self.changed = threading.Condition(ring.lock)

    def put_locked(self, item: Block | Filemark) -> None:
        """Append ``item``."""
        self._items.append(item)
        # Below the watermark the writer would only wake up to wait again.
        if self._draining or len(self._items) >= self._high:
            self.changed.notify()

    def get(self) -> Block | Filemark | None:
        """Return the next item; None at the end. Waits for the high watermark after the feed ran empty."""
        with self._ring.lock:
            while not self._items or not (self._draining or len(self._items) >= self._high):
                self._draining = False
                # After the close nothing more comes: the rest is written without waiting for the watermark.
                if self._ring.closed:
                    if not self._items:
                        return None
                    break
                self.changed.wait()
            self._draining = True
            return self._items.popleft()

    def drop_locked(self) -> None:
        """Release everything that is queued."""
        for item in self._items:
            if isinstance(item, Block):
                self._ring.release_locked(item)
        self._items.clear()


class Ring:
    """At most ``blocks`` blocks (never fewer than 4) of ``block_size`` bytes, and the feeds of ``writers`` writers."""

    def __init__(self, *, block_size: int, blocks: int, writers: int) -> None:
        self.block_size = block_size
        self.lock = threading.Lock()
        self.closed = False
        self._limit = max(blocks, 4)
        self._made = 0
        self._slabs = Slabs(block_size)
        self._free: deque[Block] = deque()
        self._freed = threading.Condition(self.lock)
        # One block is being filled and one is being hashed while the writers wait: these two cannot be queued. Of the
        # others one half is queued before a writer starts, and the disk fills the second half while it writes.
        self.feeds = tuple(Feed(self, (self._limit - 2) // 2) for _ in range(writers))

    def take(self, check: Callable[[], None]) -> Block:
        """Return a free block, calling ``check`` twice a second while waiting; its exceptions go through."""
        while True:
            with self.lock:
                if self._free:
                    # The block that was freed last is the most likely one to be in the processor's cache.
                    return self._free.pop()
                if self._made < self._limit:
                    self._made += 1
                    return Block(self._slabs.cut())
                self._freed.wait(CHECK_EVERY)
            # Without the lock: the writers go on releasing blocks, and an exception leaves the ring usable.
            check()

    def publish(self, item: Block | Filemark, lanes: int = 0) -> None:
        """Hand ``item`` to every writer; ``lanes`` is the number of hashing lanes that will release the block, too."""
        with self.lock:
            # All users are counted before the first one can see the block: it cannot become free too early.
            if isinstance(item, Block):
                item.users = len(self.feeds) + lanes
            for feed in self.feeds:
                feed.put_locked(item)

    def release(self, block: Block) -> None:
        """Say that one user of ``block`` does not need it any more."""
        with self.lock:
            self.release_locked(block)

    def release_locked(self, block: Block) -> None:
        """See ``release``."""
        block.users -= 1
        if not block.users:
            self._free.append(block)
            self._freed.notify()

    def close(self, *, drop: bool = False) -> None:
        """Say that nothing more comes. With ``drop`` the items that are queued are released, and not written."""
        with self.lock:
            self.closed = True
            for feed in self.feeds:
                if drop:
                    feed.drop_locked()
                feed.changed.notify()
