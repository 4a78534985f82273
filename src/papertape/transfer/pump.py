"""The pump: one reader side fills a bounded ring, one writer thread a drive empties it, hashing lanes look on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from papertape.errors import BlockRefused, CopyFailed, DriveError, PapertapeError
from papertape.events import Finished, Moved, Tell
from papertape.evidence import Written
from papertape.tape.drive import Drive
from papertape.transfer.hashing import Job, Lanes
from papertape.transfer.ring import Block, Filemark, Ring
from papertape.transfer.stop import Stop


@dataclass(frozen=True)
class Target:
    """One of the twins to write: the volume's tag, the drive it is in, and the bytes of its tape file 0."""

    volume: str
    drive: Drive
    label: bytes


class Writer:
    """Writes one copy: the label, then all that comes through the feed.

    ``error`` is what stopped it, ``flushed`` when the last flushing filemark was done; look at both after the end.
    """

    def __init__(self, target: Target, ring: Ring, number: int, tell: Tell) -> None:
        self.target = target
        self.error: PapertapeError | None = None
        self.early_warning = False
        self.touched = False
        self.bytes = 0
        self.started = datetime.now(UTC)
        self.flushed: datetime | None = None
        self._ring = ring
        self._feed = ring.feeds[number]
        self._objects = 0
        self._tell = tell

    def run(self) -> None:
        """Write until the feed ends; on a failure, keep taking blocks off the feed, so that the other copy goes on."""
        try:
            self._write_label()
            while (item := self._feed.get()) is not None:
                self._write(item)
            self._check_position()
            self.target.drive.rewind()
        except PapertapeError as error:
            self.error = error
            self.flushed = None
        finally:
            while (item := self._feed.get()) is not None:
                if isinstance(item, Block):
                    self._ring.release(item)
            self._tell(Finished(volume=self.target.volume, drive=self.target.drive.number))

    def written(self, files: int | None) -> Written:
        """Return how the copy was written; ``files`` is None if it was not written to its end."""
        drive = self.target.drive
        return Written(
            self.target.volume,
            drive.number,
            drive.serial,
            self.bytes,
            files or 0,
            self.started,
            None if files is None else self.flushed,
            self.touched,
            self.error,
        )

    def _write_label(self) -> None:
        self.touched = True
        self._write_block(memoryview(self.target.label))
        self._write_filemark(flush=False)

    def _write(self, item: Block | Filemark) -> None:
        if isinstance(item, Filemark):
            self._write_filemark(flush=item.flush)
            return
        try:
            self._write_block(item.view)
        finally:
            self._ring.release(item)

    def _write_block(self, block: memoryview) -> None:
        self.early_warning |= self.target.drive.write_block(block)
        self._objects += 1
        self.bytes += len(block)
        self._tell(Moved(volume=self.target.volume, drive=self.target.drive.number, count=len(block)))

    def _write_filemark(self, *, flush: bool) -> None:
        self.early_warning |= self.target.drive.write_filemark(flush=flush)
        self._objects += 1
        self.flushed = datetime.now(UTC) if flush else None

    def _check_position(self) -> None:
        """Written is what the drive says it has written, not what was handed to it."""
        position = self.target.drive.position()
        if position != self._objects:
            reason = (
                f"stands at logical object {position} of {self.target.volume} after writing {self._objects} objects"
            )
            raise DriveError(self.target.drive.number, reason)


class Pump:
    """Owns the threads of a writing; use it as a context manager: no thread outlives the block.

    ``ring`` is the bound of its memory in bytes. Leaving the block with an exception drops what is queued.
    """

    def __init__(self, targets: Sequence[Target], block_size: int, ring: int, tell: Tell, stop: Stop) -> None:
        self._ring = Ring(block_size=block_size, blocks=ring // block_size, writers=len(targets))
        self.writers = [Writer(target, self._ring, number, tell) for number, target in enumerate(targets)]
        self._stop = stop
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Self:
        self.lanes = Lanes(self._ring.release)
        self._threads = ThreadPoolExecutor(len(self.writers), thread_name_prefix="write")
        self._futures = [self._threads.submit(writer.run) for writer in self.writers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ring.close(drop=kind is not None)
        self.lanes.close()
        self._threads.shutdown()
        for future in self._futures:
            future.result()

    def take(self) -> Block:
        """Return a free block; raises Interrupted when asked to stop at once, CopyFailed when no copy is left."""
        self.check()
        return self._ring.take(self.check)

    def check(self) -> None:
        """Raise what ends the transfer.

        Interrupted if the stop is to be at once, CopyFailed if no writer is left, BlockRefused if a drive takes only
        shorter blocks.
        """
        self._stop.check()
        self.check_blocks()
        errors = [writer.error for writer in self.writers]
        if all(errors):
            raise CopyFailed("every copy failed") from errors[0]

    def check_blocks(self) -> None:
        """Raise BlockRefused if that is what a copy failed of: with shorter blocks all copies can be whole."""
        for writer in self.writers:
            if isinstance(writer.error, BlockRefused):
                raise writer.error

    def find_ending(self) -> tuple[str, ...]:
        """Return the volumes that are near their end, so that the dump has to come to its own."""
        return tuple(writer.target.volume for writer in self.writers if writer.early_warning)

    def publish(self, block: Block, jobs: Sequence[Sequence[Job]]) -> None:
        """Hand a filled block to the writers, and to the lanes what is to be hashed in it (a sequence a lane)."""
        busy = [(lane, work) for lane, work in enumerate(jobs) if work]
        self._ring.publish(block, len(busy))
        for lane, work in busy:
            self.lanes.post(lane, block, work)

    def mark(self, *, flush: bool) -> None:
        """End a tape file."""
        self._ring.publish(Filemark(flush))
