"""How fast the disk can be read, compared with the speed that keeps a drive streaming."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock

from papertape.doctor.findings import SetUp
from papertape.errors import SourceError, UserError
from papertape.tape.checks import Check, ok, skipped, warning
from papertape.tape.generations import GENERATIONS, Generation
from papertape.transfer.readahead import READERS
from papertape.transfer.source import walk
from papertape.transfer.stop import Stop
from papertape.words import show_rate, show_seconds, show_size

NAME = "source"
MOST_BYTES = 2 * 10**9
MOST_SECONDS = 5.0
FEWEST_BYTES, FEWEST_SECONDS = 100 * 10**6, 0.5
"""Below both, what was measured says nothing."""
MOST_SETS, MOST_FILES = 50, 2000
CHUNK = 1024 * 1024


def check_source(setup: SetUp, folder: Path | None) -> Iterator[Check]:
    """Read some of what waits in the ledger, or lies in ``folder``, from the disk itself; nothing is changed."""
    if folder is not None and not folder.exists():
        raise UserError(f"--source {folder}: there is no such folder; name one with data like that to be archived")
    files = list(islice(_files(setup, folder), MOST_FILES))
    if not files:
        yield skipped(NAME, "there is nothing to read: no data set waits; name a folder with --source")
        return
    size, seconds = read_files(files, setup.stop)
    speed = size / max(seconds, 1e-6)
    where = str(folder) if folder else "the data sets that wait"
    sentence = f"{where}: {show_rate(speed)} from disk ({show_size(size)} in {show_seconds(seconds)})"
    if size < FEWEST_BYTES and seconds < FEWEST_SECONDS:
        yield skipped(NAME, f"{sentence}, too little to tell; name a folder with more data with --source")
        return
    yield judge(sentence, speed, find_generations(setup))


def _files(setup: SetUp, folder: Path | None) -> Iterator[bytes]:
    if folder is not None:
        roots = [os.fsencode(folder.absolute())]
    else:
        waiting = setup.ledger.datasets.pending(setup.settings.host) if setup.ledger else iter(())
        roots = [dataset.source.path for dataset in islice(waiting, MOST_SETS)]
    for root in roots:
        with suppress(SourceError):
            yield from (entry.path for entry in walk(root) if entry.size > 0)


def read_files(files: Sequence[bytes], stop: Stop) -> tuple[int, float]:
    """Return the bytes read and the seconds that took, with as many threads as a dump has, past the page cache."""
    reading = _Reading(stop)
    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(reading.read, files))
    return reading.size, time.monotonic() - reading.began


class _Reading:
    """The bytes that several threads have read together, and when they have read enough."""

    def __init__(self, stop: Stop) -> None:
        self.size = 0
        self.began = time.monotonic()
        self._stop = stop
        self._lock = Lock()

    def read(self, path: bytes) -> None:
        """Read a file, as far as there is time; one that cannot be read is passed over."""
        with suppress(OSError):
            # A FIFO that took the file's place would keep the open waiting for a writer: O_NONBLOCK.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                # Out of the page cache first: what counts is how fast the disk is, not the memory.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
                buffer = bytearray(CHUNK)
                while time.monotonic() - self.began < MOST_SECONDS and self.size < MOST_BYTES and not self._stop.soon:
                    count = os.readv(descriptor, [buffer])
                    if not count:
                        break
                    with self._lock:  # ``+=`` from several threads could lose an addition
                        self.size += count
            finally:
                os.close(descriptor)


def find_generations(setup: SetUp | None) -> list[Generation]:
    """Return the LTO generations of the drives, each once; all generations where that of a drive is not known."""
    drives = setup.devices.drives if setup and setup.devices else ()
    known = [setup.kind.generation(drive.number) for drive in drives] if setup else []
    found = [generation for generation in dict.fromkeys(known) if generation is not None]
    return found if found and None not in known else list(GENERATIONS.values())


def judge(sentence: str, speed: float, generations: Sequence[Generation]) -> Check:
    """Return whether ``speed``, in bytes a second, keeps drives of these generations streaming."""
    slow = [generation for generation in generations if speed < generation.slowest_speed]
    table = len(generations) == len(GENERATIONS)
    unknown = "; the LTO generation of the drives is not known" if table else ""
    if not slow:
        most = max(generations, key=lambda generation: generation.slowest_speed)
        enough = f"that keeps {most.name} streaming, which takes {show_rate(most.slowest_speed)} at the least"
        return ok(NAME, f"{sentence}; {enough}{unknown}")
    needs = ", ".join(f"{one.name} {show_rate(one.slowest_speed)}" for one in dict.fromkeys(slow))
    remedy = "a drive that waits stops and repositions: dump from a faster disk, or make `ring` larger"
    return warning(NAME, f"{sentence}; too slow to keep streaming: {needs} at the least{unknown}", remedy)
