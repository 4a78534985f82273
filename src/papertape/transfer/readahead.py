"""Reading ahead: while one data set is composed, the next ones are walked, opened and read.

A disk delivers small files slowly one by one, and quickly if several are requested at once.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from queue import Queue
from typing import NamedTuple, Self

from papertape.errors import SourceError
from papertape.plan import DataSet
from papertape.transfer.source import Entry, Fingerprint, check_unchanged, walk
from papertape.volume.header import FILE
from papertape.volume.names import quote

READERS = 4
"""Threads that open and read files where that means waiting for a disk. Files that the kernel has in memory are read
faster by one thread, the scout, which walks the data sets to come."""
SLOW = 2e-3
"""Seconds per file that count as waiting, too: the blocks read from a network file system need not be counted."""
SMALL_FILE = 256 * 1024
"""Bytes up to which a file is read whole ahead of its turn; of a larger one the kernel is asked to read ahead."""
BATCH_FILES = 64
BATCH_BYTES = 4 * 1024 * 1024
BATCHES_AHEAD = 8
"""Together they bound what is read ahead: some 40 MiB, and as many hundred open files."""
KEPT = 20_000
"""Entries of a data set that are kept in memory from the first walk; a larger one is walked a second time."""


class Content(NamedTuple):
    """An entry's data: all of it, or a descriptor to read it from; ``error`` says why there is neither."""

    entry: Entry
    data: bytes | None = None
    descriptor: int | None = None
    error: SourceError | None = None


class End(NamedTuple):
    """The end of a data set; ``error`` says why it is not whole."""

    error: SourceError | None


class ReadAhead:
    """The contents of data sets, one after the other; use it as a context manager: no thread or file outlives it.

    Iterating yields, for each data set in order, its entries with their data, and an End. A data set that has changed
    since it was registered yields only an End. The caller closes the descriptors that it gets.

    Threads: the scout walks the data sets and fills the queue; the readers open and read; the caller's thread iterates.
    """

    def __init__(self, datasets: Iterable[DataSet]) -> None:
        self._datasets = datasets
        self._ahead: Queue[Future[list[Content | End]] | None] = Queue(BATCHES_AHEAD)
        self._current: list[Content | End] = []
        self._over = False
        self._slow = False
        self._threads = ThreadPoolExecutor(READERS + 1, thread_name_prefix="read")  # its threads start with the work
        self._scout: Future[None]  # from ``__enter__`` on

    def __enter__(self) -> Self:
        self._scout = self._threads.submit(self._walk_ahead)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        _close(self._current)
        # The queue is emptied up to its end mark: the scout may wait in a full queue, and each batch has open files.
        while (future := self._ahead.get()) is not None:
            _close(future.result())
        self._threads.shutdown()

    def __iter__(self) -> Iterator[Content | End]:
        while (future := self._ahead.get()) is not None:
            # Reversed, so that what was not taken yet is what __exit__ finds here to close.
            self._current = future.result()[::-1]
            while self._current:
                yield self._current.pop()
        self._ahead.put(None)  # for __exit__
        self._scout.result()

    def _walk_ahead(self) -> None:
        """Run in the scout's thread: walk the data sets, and queue their entries in batches."""
        batch: list[Entry | End] = []
        size = 0
        try:
            for item in chain.from_iterable(map(_examine, self._datasets)):
                if self._over:
                    return
                batch.append(item)
                size += min(item.size, SMALL_FILE) if isinstance(item, Entry) else 0
                if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                    self._queue(batch)
                    batch, size = [], 0
            if batch:
                self._queue(batch)
        finally:
            # Also after an error, which the iteration raises: nobody may wait for a batch that never comes.
            self._ahead.put(None)

    def _queue(self, batch: list[Entry | End]) -> None:
        # The queue holds futures, not contents: so batches keep the order of the walk, whichever is read first.
        if self._slow:
            self._ahead.put(self._threads.submit(self._open_all, batch))
        else:
            future: Future[list[Content | End]] = Future()
            future.set_result(self._open_all(batch))
            self._ahead.put(future)

    def _open_all(self, batch: list[Entry | End]) -> list[Content | End]:
        began, blocks = time.monotonic(), _blocks_read()
        contents = [item if isinstance(item, End) else _open(item) for item in batch]
        # Set by whichever thread read last, as a guess for the next batch: a wrong one costs time, and nothing else.
        self._slow = _blocks_read() > blocks or time.monotonic() - began > SLOW * len(batch)
        return contents


def _blocks_read() -> int:
    """Return how often this thread had to read from a disk (``ru_inblock``, ``man 2 getrusage``)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _examine(dataset: DataSet) -> Iterator[Entry | End]:
    """Yield a data set's entries, and its End; only an End if it is not what was registered, before tape is used."""
    try:
        fingerprint = Fingerprint()
        entries = []
        for number, entry in enumerate(walk(dataset.source.path)):
            fingerprint.add(entry)
            if number < KEPT:
                entries.append(entry)
        if fingerprint.value() != dataset.fingerprint:
            raise SourceError(quote(dataset.source.path), "changed since it was registered: `papertape add` it again")
        yield from entries
        if number >= KEPT:
            # The rest comes from a second walk, and the fingerprint shows whether that met the same entries.
            fingerprint = Fingerprint()
            for number, entry in enumerate(walk(dataset.source.path)):
                fingerprint.add(entry)
                if number >= KEPT:
                    yield entry
            if fingerprint.value() != dataset.fingerprint:
                raise SourceError(quote(dataset.source.path), "changed while it was read")
    except SourceError as error:
        yield End(error)
    else:
        yield End(None)


def close_content(content: Content) -> None:
    """Close the descriptor of a content that is not read, if it has one."""
    if content.descriptor is not None:
        os.close(content.descriptor)


def _close(contents: Iterable[Content | End]) -> None:
    for content in contents:
        if isinstance(content, Content):
            close_content(content)


def _open(entry: Entry) -> Content:
    """Open a file, and read it if it is small; a failure is a value, which travels in order with the data."""
    if entry.attributes.kind != FILE:
        return Content(entry)
    try:
        # O_NONBLOCK: a named pipe that has replaced the file meanwhile must not stop the thread (man 2 open).
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Content(entry, error=SourceError(quote(entry.path), f"cannot be opened ({error.strerror})"))
    keep = False
    try:
        if entry.size > SMALL_FILE:
            check_unchanged(descriptor, entry)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            os.posix_fadvise(descriptor, 0, BATCH_BYTES, os.POSIX_FADV_WILLNEED)
            keep = True
            return Content(entry, descriptor=descriptor)
        data = os.read(descriptor, entry.size + 1)  # one more, so that a file that grew shows
        check_unchanged(descriptor, entry)
        if len(data) != entry.size:
            raise SourceError(quote(entry.path), "changed while it was read")
        return Content(entry, data=data)
    except SourceError as error:
        return Content(entry, error=error)
    except OSError as error:
        return Content(entry, error=SourceError(quote(entry.path), f"cannot be read ({error.strerror})"))
    finally:
        if not keep:
            os.close(descriptor)
