"""Reading ahead: while one data set is composed, the next ones are looked through, opened and read.

A disk gives small files slowly one by one, and quickly if it is asked for several at once.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from queue import Queue
from typing import NamedTuple, Self

from papertape.errors import SourceError
from papertape.plan import DataSet
from papertape.transfer.source import Entry, Fingerprint, check_unchanged, walk
from papertape.volume.header import FILE
from papertape.volume.names import quote

READERS = 4
"""Threads that open and read files where that means waiting for a disk. What comes from memory is quicker read by one,
the one that looks through the data sets to come."""
SLOW = 2e-3
"""Seconds a file that mean waiting, too: a network file system need not show in the counts of blocks read."""
SMALL_FILE = 256 * 1024
"""Bytes up to which a file is read whole ahead of its turn; of a larger one the kernel is told to read ahead."""
BATCH_FILES = 64
BATCH_BYTES = 4 * 1024 * 1024
BATCHES_AHEAD = 8
"""Together they bound what is read ahead: some 40 MiB, and as many hundred open files."""
KEPT = 20_000
"""Entries of a data set that are kept from looking it through; a larger one is walked a second time."""


class Content(NamedTuple):
    """An entry's data: all of it, or a descriptor to read it from; ``error`` says why there is neither."""

    entry: Entry
    data: bytes | None = None
    descriptor: int | None = None
    error: SourceError | None = None


class End(NamedTuple):
    """A data set is over; ``error`` says why it is not whole."""

    error: SourceError | None


class ReadAhead:
    """The contents of data sets, one after the other; use it as a context manager: no thread or file outlives it.

    Iterating yields, for each data set in order, its entries with their data, and an End. A data set that is not any
    more what was registered comes as an End alone. The taker closes the descriptors that it is given.
    """

    def __init__(self, datasets: Iterable[DataSet]) -> None:
        self._datasets = datasets
        self._ahead: Queue[Future[list[Content | End]] | None] = Queue(BATCHES_AHEAD)
        self._current: list[Content | End] = []
        self._over = False
        self._slow = False

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(READERS + 1, thread_name_prefix="read")
        self._scout = self._threads.submit(self._look_ahead)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        _close(self._current)
        while (future := self._ahead.get()) is not None:
            _close(future.result())
        self._threads.shutdown()

    def __iter__(self) -> Iterator[Content | End]:
        while (future := self._ahead.get()) is not None:
            self._current = future.result()[::-1]
            while self._current:
                yield self._current.pop()
        self._ahead.put(None)  # for __exit__
        self._scout.result()

    def _look_ahead(self) -> None:
        try:
            for batch in _batches(chain.from_iterable(map(_examine, self._datasets))):
                if self._over:
                    return
                self._ahead.put(self._threads.submit(self._open_all, batch) if self._slow else self._open_here(batch))
        finally:
            self._ahead.put(None)

    def _open_here(self, batch: list[Entry | End]) -> Future[list[Content | End]]:
        future: Future[list[Content | End]] = Future()
        future.set_result(self._open_all(batch))
        return future

    def _open_all(self, batch: list[Entry | End]) -> list[Content | End]:
        began, blocks = time.monotonic(), _blocks_read()
        contents = [item if isinstance(item, End) else _open(item) for item in batch]
        self._slow = _blocks_read() > blocks or time.monotonic() - began > SLOW * len(batch)
        return contents


def _blocks_read() -> int:
    """Return how often this thread had to read from a disk (``ru_inblock``, ``man 2 getrusage``)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _examine(dataset: DataSet) -> Iterator[Entry | End]:
    """Yield a data set's entries if it is still what was registered, before tape is spent on it; then its End."""
    try:
        fingerprint = Fingerprint()
        entries = []
        for number, entry in enumerate(walk(dataset.path)):
            fingerprint.add(entry)
            if number < KEPT:
                entries.append(entry)
        if fingerprint.value() != dataset.fingerprint:
            raise SourceError(quote(dataset.path), "changed since it was registered: `papertape add` it again")
        yield from entries
        if number >= KEPT:
            yield from _walk_again(dataset, entries)
    except SourceError as error:
        yield End(error)
    else:
        yield End(None)


def _walk_again(dataset: DataSet, known: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries behind the ``known`` ones, and see that all are still what was registered."""
    again = walk(dataset.path)
    fingerprint = Fingerprint()
    for entry in islice(again, len(known)):
        fingerprint.add(entry)
    for entry in again:
        fingerprint.add(entry)
        yield entry
    if fingerprint.value() != dataset.fingerprint:
        raise SourceError(quote(dataset.path), "changed while it was read")


def _batches(items: Iterator[Entry | End]) -> Iterator[list[Entry | End]]:
    batch: list[Entry | End] = []
    size = 0
    for item in items:
        batch.append(item)
        size += min(item.size, SMALL_FILE) if isinstance(item, Entry) else 0
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def close_content(content: Content) -> None:
    """Close what a content brings that nobody will read."""
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
        return Content(entry, data=_read_small(descriptor, entry))
    except SourceError as error:
        return Content(entry, error=error)
    except OSError as error:
        return Content(entry, error=SourceError(quote(entry.path), f"cannot be read ({error.strerror})"))
    finally:
        if not keep:
            os.close(descriptor)


def _read_small(descriptor: int, entry: Entry) -> bytes:
    data = os.read(descriptor, entry.size + 1)
    check_unchanged(descriptor, entry)
    if len(data) != entry.size:
        raise SourceError(quote(entry.path), "changed while it was read")
    return data
