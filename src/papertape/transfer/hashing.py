"""Digests of file data, computed while the drives write: several files at once, the pieces of each file in order.

``hashlib`` releases the GIL for more than 2047 bytes, so lanes are threads (Python documentation, hashlib).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from papertape.transfer.ring import CHECK_EVERY, Block

CHANGE_AFTER = 512 * 1024
"""Bytes of files after which the lanes are compared again."""
_ALGORITHMS = {"sha256": hashlib.sha256, "md5": hashlib.md5}


class Digest:
    """The digest of one file by one algorithm: ``value`` is in hexadecimal digits, None before the last piece went in.

    Only its lane updates it. The reader side polls ``value``, which is set once and as a whole: no lock is needed.
    """

    __slots__ = ("_hash", "lane", "value")

    def __init__(self, algorithm: str, lane: int) -> None:
        # MD5 proves nothing here against an attacker, so it is used even on a machine in FIPS mode.
        self._hash = _ALGORITHMS[algorithm](usedforsecurity=False)
        self.lane = lane
        self.value: str | None = None

    def update(self, data: memoryview, *, last: bool) -> None:
        """Add the next piece."""
        self._hash.update(data)
        if last:
            self.value = self._hash.hexdigest()


Job = tuple[Digest, memoryview, bool]
"""A digest, its next piece, and whether that is the last one. A plain tuple, since there is one for each small file."""

_Work = tuple[Block, Sequence[Job]] | threading.Event | None


class Lanes:
    """``count`` hashing threads (default: one for each processor, from 2 to 8), which run until ``close``.

    A digest stays in its lane, so that its pieces stay in order. ``start``, ``post``, ``drain`` and ``close`` are
    called by the reader side alone.
    """

    def __init__(self, release: Callable[[Block], None], count: int | None = None) -> None:
        self.count = count or max(2, min(8, os.cpu_count() or 2))
        self._release = release
        self._queues: list[SimpleQueue[_Work]] = [SimpleQueue() for _ in range(self.count)]
        self._best = self._since = 0
        # Two counters with one writing thread each need no lock; the reader side sees their difference a bit late.
        self._posted = [0] * self.count  # bytes; written by the reader side alone
        self._hashed = [0] * self.count  # bytes; each written by its lane alone
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"hash-{lane}") for lane in range(self.count)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, algorithm: str, size: int) -> Digest:
        """Return a new digest for a file of ``size`` bytes, in the lane with the fewest bytes to hash.

        Small files go to one lane until ``CHANGE_AFTER`` bytes came together: to look for the best lane takes longer
        than to hash such a file.
        """
        self._since += size
        if self._since > CHANGE_AFTER:
            self._since = 0
            backlog = [posted - hashed for posted, hashed in zip(self._posted, self._hashed, strict=True)]
            self._best = backlog.index(min(backlog))
        self._posted[self._best] += size
        return Digest(algorithm, self._best)

    def post(self, lane: int, block: Block, jobs: Sequence[Job]) -> None:
        """Give a lane its work in ``block``; the lane releases the block when it is done."""
        self._queues[lane].put((block, jobs))

    def _run(self, lane: int) -> None:
        while (work := self._queues[lane].get()) is not None:
            if isinstance(work, threading.Event):
                work.set()
                continue
            block, jobs = work
            count = 0
            for digest, data, last in jobs:
                digest.update(data, last=last)
                count += len(data)
            self._hashed[lane] += count
            self._release(block)  # last: the pieces are views of the block's memory, which is overwritten after this

    def drain(self, check: Callable[[], None]) -> None:
        """Wait until all that was posted is hashed, calling ``check`` twice a second; its exceptions go through."""
        # A lane works in order: when it meets the event, it has done all that was posted before.
        reached = [threading.Event() for _ in self._queues]
        for queue, event in zip(self._queues, reached, strict=True):
            queue.put(event)
        for event in reached:
            while not event.wait(CHECK_EVERY):
                check()

    def close(self) -> None:
        """End the threads after they have done what was posted."""
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()
