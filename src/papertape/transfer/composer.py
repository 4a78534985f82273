"""Turns members into blocks of the ring, and tells the hashing lanes what is where."""

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


class Begun(NamedTuple):
    """Where a member's headers begin, in bytes from the tape file's begin, and the tape file's number."""

    tape_file: int
    offset: int


class Composer:
    """Composes tape file after tape file; ``number`` is that of the one under way, ``offset`` the next byte's in it."""

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
        """Begin the next tape file."""
        self.number += 1
        self.offset = 0
        self._structure = hashlib.sha256()

    def put_small(self, header: bytes, data: bytes, digests: tuple[Digest, ...]) -> Begun:
        """Write a member whole: headers, data, and what fills it up to whole records."""
        size = len(header) + len(data)
        padding = -size % RECORD
        if not data or self._block is None or self._at + size + padding >= self._block_size:
            begun = self.put_header(header)
            self.put_data(data, digests)
            return begun
        begun = Begun(self.number, self.offset)
        begin, view = self._at + len(header), self._block.view
        view[self._at : begin] = header
        end = begin + len(data)
        view[begin:end] = data
        view[end : end + padding] = ZEROS[:padding]
        self._structure.update(header)
        self._structure.update(ZEROS[:padding])
        self._hash(digests, view[begin:end], last=True)
        self._advance(size + padding)
        return begun

    def put_header(self, header: bytes) -> Begun:
        """Write a member's headers."""
        begun = Begun(self.number, self.offset)
        self._structure.update(header)
        self._copy(memoryview(header), ())
        return begun

    def put_data(self, data: bytes, digests: tuple[Digest, ...]) -> None:
        """Write all of a member's data, and what fills it up to whole records."""
        self._copy(memoryview(data), digests)
        if not data:
            self._end_empty(digests)
        self._pad(-len(data) % RECORD)

    def put_stream(self, descriptor: int, size: int, digests: tuple[Digest, ...]) -> str:
        """Write ``size`` bytes of data read from ``descriptor``; return why there were not so many, or nothing.

        What the file does not have is written as zeros: the headers before it have promised ``size`` bytes.
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
        if left:
            self._copy_zeros(left, digests)
        elif not size:
            self._end_empty(digests)
        self._pad(-size % RECORD)
        return why

    def hash_rest(self) -> None:
        """Hash here what lies in the block that is not full yet; the lanes must have worked off the blocks before."""
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
            self._jobs = []  # they are the lanes' now: hashed here as well, they would be hashed twice

    def _copy(self, data: memoryview, digests: tuple[Digest, ...]) -> None:
        while left := len(data):
            view = self._window(left)
            count = len(view)
            view[:] = data if count == left else data[:count]
            self._hash(digests, view, last=count == left)
            self._advance(count)
            data = data[count:]

    def _copy_zeros(self, size: int, digests: tuple[Digest, ...]) -> None:
        while size:
            view = self._window(min(size, len(ZEROS)))
            view[:] = ZEROS[: len(view)]
            size -= len(view)
            self._hash(digests, view, last=not size)
            self._advance(len(view))

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
