"""Turns members into blocks of the ring, and gives the hashing lanes their work.

File data is copied once, into the block that the drives write: a large file is read from the disk straight into it.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from papertape.transfer.hashing import Digest, Job
from papertape.transfer.pump import Pump
from papertape.transfer.ring import Block
from papertape.volume.layout import END_OF_ARCHIVE, RECORD, round_up
from papertape.volume.members import TapeFile

ZEROS = memoryview(bytes(1024 * 1024))
"""The source of padding, in pieces of at most 1 MiB."""


class Place(NamedTuple):
    """Where a member's headers begin: the number of the tape file, and the bytes from its begin."""

    tape_file: int
    offset: int


class Composer:
    """Composes tape file after tape file: ``number`` is that of the current one, ``offset`` its size so far in bytes.

    All methods are called by the reader side. ``digests`` are those that the data of a member goes into; a member
    without digests (a directory, a link) has no data.
    """

    def __init__(self, pump: Pump, block_size: int) -> None:
        self.number = 0
        self.offset = 0
        self._pump = pump
        self._block_size = block_size
        self._block: Block | None = None
        self._at = 0
        self._jobs: list[list[Job]] = []
        self._structure = hashlib.sha256()

    def begin(self) -> None:
        """Begin the next tape file; the one before has ended, on the boundary of a block."""
        self.number += 1
        self.offset = 0
        self._structure = hashlib.sha256()

    def put_small(self, header: bytes, data: bytes, digests: tuple[Digest, ...]) -> Place:
        """Write a whole member, headers, data and padding; return where it begins."""
        size = len(header) + len(data)
        padding = -size % RECORD
        # The fast way, for the millions of files that lie wholly in one block: one copy each, and few calls.
        if not data or self._block is None or self._at + size + padding >= self._block_size:
            place = self.put_header(header)
            self.put_data(data, digests)
            return place
        place = Place(self.number, self.offset)
        begin, view = self._at + len(header), self._block.view
        view[self._at : begin] = header
        end = begin + len(data)
        view[begin:end] = data
        view[end : end + padding] = ZEROS[:padding]
        self._structure.update(header)
        self._structure.update(ZEROS[:padding])
        self._hash(digests, view[begin:end], last=True)
        self._advance(size + padding)
        return place

    def put_header(self, header: bytes) -> Place:
        """Write a member's headers; return where they begin."""
        place = Place(self.number, self.offset)
        self._structure.update(header)
        self._copy(memoryview(header), ())
        return place

    def put_data(self, data: bytes, digests: tuple[Digest, ...]) -> None:
        """Write all data of a member, and the padding up to a whole record."""
        self._copy(memoryview(data), digests)
        if not data:
            self._end_empty(digests)
        self._pad(-len(data) % RECORD)

    def put_stream(self, descriptor: int, size: int, digests: tuple[Digest, ...]) -> str:
        """Write ``size`` bytes of data read from ``descriptor``, and the padding; return why there were fewer, or "".

        Missing bytes are written as zeros: the headers, which are in the ring already, promise ``size`` bytes.
        """
        left, why = size, ""
        while left and not why:
            view = self._window(left)
            try:
                count = os.readv(descriptor, [view])
            except OSError as error:
                count, why = 0, f"cannot be read ({error.strerror})"
            if count:
                self._hash(digests, view[:count], last=count == left)
                self._advance(count)
            else:
                why = why or "shrank while it was read"
            left -= count
        while left:
            view = self._window(min(left, len(ZEROS)))
            view[:] = ZEROS[: len(view)]
            left -= len(view)
            self._hash(digests, view, last=not left)
            self._advance(len(view))
        if not size:
            self._end_empty(digests)
        self._pad(-size % RECORD)
        return why

    def hash_rest(self) -> None:
        """Hash the pieces in the block that is not full yet, in this thread.

        The lanes must have done all earlier blocks (``Lanes.drain``): the pieces of a file must be hashed in order.
        """
        for jobs in self._jobs:
            for digest, data, last in jobs:
                digest.update(data, last=last)
            jobs.clear()

    def end(self, kind: str) -> TapeFile:
        """End the tape file: the end-of-archive records, and zeros up to a whole block (R1)."""
        size = round_up(self.offset + len(END_OF_ARCHIVE), self._block_size)
        self._pad(size - self.offset)
        return TapeFile(self.number, kind, size, self._structure.hexdigest())

    def _window(self, size: int) -> memoryview:
        """Return the next free memory, at least one and at most ``size`` bytes."""
        if self._block is None:
            self._block = self._pump.take()
            self._at = 0
            self._jobs = [[] for _ in range(self._pump.lanes.count)]
        return self._block.view[self._at : self._at + size]

    def _advance(self, count: int) -> None:
        self._at += count
        self.offset += count
        if self._at == self._block_size and self._block is not None:
            self._pump.publish(self._block, self._jobs)
            self._block = None
            self._jobs = []  # the lanes have them now: hash_rest would hash them a second time

    def _copy(self, data: memoryview, digests: tuple[Digest, ...]) -> None:
        while left := len(data):
            view = self._window(left)
            count = len(view)
            view[:] = data if count == left else data[:count]
            self._hash(digests, view, last=count == left)
            self._advance(count)
            data = data[count:]

    def _pad(self, size: int) -> None:
        while size:
            piece = ZEROS[: min(size, len(ZEROS))]
            self._structure.update(piece)
            self._copy(piece, ())
            size -= len(piece)

    def _hash(self, digests: tuple[Digest, ...], view: memoryview, *, last: bool) -> None:
        for digest in digests:
            self._jobs[digest.lane].append((digest, view, last))

    @staticmethod
    def _end_empty(digests: tuple[Digest, ...]) -> None:
        for digest in digests:
            digest.update(ZEROS[:0], last=True)
