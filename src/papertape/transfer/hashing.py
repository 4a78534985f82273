"""Digests of file data, computed beside the writing: several files at once, each file in order.

``hashlib`` releases the GIL for more than 2047 bytes, so lanes are threads (Python documentation, hashlib).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from papertape.transfer.ring import CHECK_EVERY, Block

_ALGORITHMS = {"sha256": hashlib.sha256, "md5": hashlib.md5}


CHANGE_AFTER = 512 * 1024
"""Bytes of files after which the lanes are compared again."""


class Digest:
    """The digest of one file in one algorithm; ``value`` is None until the last piece went in."""

    __slots__ = ("_hash", "lane", "value")

    def __init__(self, algorithm: str, lane: int) -> None:
        self._hash = _ALGORITHMS[algorithm](usedforsecurity=False)
        self.lane = lane
        self.value: str | None = None

    def update(self, data: memoryview, *, last: bool) -> None:
        """Add the next piece."""
        self._hash.update(data)
        if last:
            self.value = self._hash.hexdigest()


Job = tuple[Digest, memoryview, bool]
"""A digest, its next piece, and whether that is the last one."""

_Work = tuple[Block, Sequence[Job]] | threading.Event | None


class Lanes:
    """Hashing threads; a digest stays in its lane, so that its pieces stay in order."""

    def __init__(self, release: Callable[[Block], None], count: int | None = None) -> None:
        self.count = count or max(2, min(8, os.cpu_count() or 2))
        self._release = release
        self._queues: list[SimpleQueue[_Work]] = [SimpleQueue() for _ in range(self.count)]
        self._best = self._since = 0
        self._posted = [0] * self.count  # bytes; written by the reader side alone
        self._hashed = [0] * self.count  # bytes; each written by its lane alone
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"hash-{lane}") for lane in range(self.count)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, algorithm: str, size: int) -> Digest:
        """Return a new digest, of a file of ``size`` bytes, in the lane with the least to do.

        Small files go to one lane for a while, and then to the other: to look for the best one costs more than to hash.
        """
        self._since += size
        if self._since > CHANGE_AFTER:
            self._since = 0
            backlog = [posted - hashed for posted, hashed in zip(self._posted, self._hashed, strict=True)]
            self._best = backlog.index(min(backlog))
        self._posted[self._best] += size
        return Digest(algorithm, self._best)

    def post(self, lane: int, block: Block, jobs: Sequence[Job]) -> None:
        """Give a lane its work in ``block``, which it releases when done."""
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
            self._release(block)

    def drain(self, check: Callable[[], None]) -> None:
        """Wait until all that was posted is hashed; what ``check``, called twice a second, raises goes through."""
        reached = [threading.Event() for _ in self._queues]
        for queue, event in zip(self._queues, reached, strict=True):
            queue.put(event)
        for event in reached:
            while not event.wait(CHECK_EVERY):
                check()

    def close(self) -> None:
        """End the lanes when they have worked off what they have."""
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()
