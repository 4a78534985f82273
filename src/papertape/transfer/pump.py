"""The pump: one reader side fills a bounded ring; one writer thread for each drive empties it; lanes hash beside them.

The order of threads: the reader side takes a block, fills it and publishes it. From then on the block is read only, and
writers and lanes use it at the same time; the last one that releases it gives it back to the reader side.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from papertape.clock import utc_now
from papertape.errors import BlockRefused, CopyFailed, DriveError, PapertapeError
from papertape.events import Finished, Moved, Tell
from papertape.evidence import Written
from papertape.ids import VolumeTag
from papertape.tape.drive import Drive
from papertape.transfer.hashing import Job, Lanes
from papertape.transfer.ring import Block, Filemark, Ring
from papertape.transfer.stop import Stop


@dataclass(frozen=True)
class Target:
    """A volume to write: its tag, the drive it is in, and the bytes of its tape file 0, which no other volume has."""

    volume: VolumeTag
    drive: Drive
    label: bytes


class Writer:
    """Writes one copy: the label, then all that comes through the feed.

    ``error`` is the failure that stopped it; ``flushed`` is when the last flushing filemark was complete, None if
    something was written after that. Both are final when the thread has ended. ``early_warning`` and ``error`` are set
    by the writer's thread alone and read by the reader side while it runs.
    """

    def __init__(self, target: Target, ring: Ring, number: int, tell: Tell) -> None:
        self.target = target
        self.error: PapertapeError | None = None
        self.early_warning = False
        self.touched = False
        self.bytes = 0
        self.started = utc_now()
        self.flushed: datetime | None = None
        self._ring = ring
        self._feed = ring.feeds[number]
        self._objects = 0
        self._tell = tell

    def run(self) -> None:
        """Write until the feed ends; runs in a thread of its own. A failure of the drive goes to ``error``."""
        drive = self.target.drive
        try:
            self.touched = True  # before the first byte: from here on nobody may take the volume for a blank one
            self._write_block(memoryview(self.target.label))
            self._write_filemark(flush=False)
            while (item := self._feed.get()) is not None:
                if isinstance(item, Filemark):
                    self._write_filemark(flush=item.flush)
                    continue
                try:
                    self._write_block(item.view)
                finally:
                    self._ring.release(item)
            # The proof is the position that the drive reports, not the number of objects that it was handed.
            position = drive.position()
            if position != self._objects:
                where = f"stands at logical object {position} of {self.target.volume}"
                raise DriveError(drive.number, f"{where} after writing {self._objects} objects")
            drive.rewind()
        except PapertapeError as error:
            self.error = error
            self.flushed = None
        finally:
            # Whatever happened, the feed is emptied: blocks that nobody releases would stop the other copy.
            while (item := self._feed.get()) is not None:
                if isinstance(item, Block):
                    self._ring.release(item)
            self._tell(Finished(volume=self.target.volume, drive=drive.number))

    def written(self, files: int | None) -> Written:
        """Return how the copy was written; ``files`` is None if it was not written to its end."""
        return Written(
            volume=self.target.volume,
            drive=self.target.drive.number,
            drive_serial=self.target.drive.serial,
            bytes=self.bytes,
            files=files or 0,
            started=self.started,
            flushed=None if files is None else self.flushed,
            touched=self.touched,
            error=self.error,
        )

    def _write_block(self, block: memoryview) -> None:
        self.early_warning |= self.target.drive.write_block(block)
        self._objects += 1
        self.bytes += len(block)
        self._tell(Moved(volume=self.target.volume, drive=self.target.drive.number, count=len(block)))

    def _write_filemark(self, *, flush: bool) -> None:
        self.early_warning |= self.target.drive.write_filemark(flush=flush)
        self._objects += 1
        self.flushed = utc_now() if flush else None


class Pump:
    """Owns the threads of a writing; use it as a context manager: no thread outlives the block.

    ``ring`` bounds its memory, in bytes. Leaving the block waits for the writers; leaving it with an exception drops
    what is queued. All methods are called by the reader side.
    """

    def __init__(self, targets: Sequence[Target], block_size: int, ring: int, tell: Tell, stop: Stop) -> None:
        self._ring = Ring(block_size=block_size, blocks=ring // block_size, writers=len(targets))
        self.writers = [Writer(target, self._ring, number, tell) for number, target in enumerate(targets)]
        self._stop = stop
        self._futures: list[Future[None]] = []
        self._threads = ThreadPoolExecutor(len(self.writers), thread_name_prefix="write")  # its threads start with work
        self.lanes: Lanes  # from ``__enter__`` on: they start their threads at once

    def __enter__(self) -> Self:
        self.lanes = Lanes(self._ring.release)
        self._futures = [self._threads.submit(writer.run) for writer in self.writers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The ring first: its end is what the writers wait for. The lanes only release blocks, and wait for nobody.
        self._ring.close(drop=kind is not None)
        self.lanes.close()
        self._threads.shutdown()
        for future in self._futures:
            future.result()  # a failure of a drive is in the writer; this raises a fault in the program

    def take(self) -> Block:
        """Return a free block; raises Interrupted when asked to stop at once, CopyFailed when no copy is left."""
        self.check()
        return self._ring.take(self.check)

    def check(self) -> None:
        """Raise what ends the transfer.

        Interrupted if the transfer must stop at once, CopyFailed if no writer is left, BlockRefused if a drive takes
        only shorter blocks.
        """
        self._stop.check()
        self.check_blocks()
        errors = [writer.error for writer in self.writers]
        if all(errors):
            raise CopyFailed("every copy failed") from errors[0]

    def check_blocks(self) -> None:
        """Raise BlockRefused if a copy failed because of that: with shorter blocks all copies can be whole."""
        for writer in self.writers:
            if isinstance(writer.error, BlockRefused):
                raise writer.error

    def find_ending(self) -> tuple[str, ...]:
        """Return the volumes whose drives gave the early warning: the dump must end soon."""
        return tuple(writer.target.volume for writer in self.writers if writer.early_warning)

    def publish(self, block: Block, jobs: Sequence[Sequence[Job]]) -> None:
        """Hand a filled block to the writers, and its ``jobs`` (one sequence for each lane) to the lanes."""
        busy = [(lane, work) for lane, work in enumerate(jobs) if work]
        self._ring.publish(block, len(busy))
        for lane, work in busy:
            self.lanes.post(lane, block, work)

    def mark(self, *, flush: bool) -> None:
        """End a tape file; with ``flush`` the drives write their buffers to the tape before they report it."""
        self._ring.publish(Filemark(flush))
