"""A virtual cartridge's tape as a drive moves over it: where it stands, and what reading and writing there do.

Faults of the tape are ``OSError`` with the errno that Linux ``st`` gives; faults of the host's disk are errors of
``papertape.errors``. The two never mix: a full disk is not a full tape.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from papertape.tape.drive import MAX_BLOCK
from papertape.tape.virtual.cartridge import RECORD, Cartridge, Run, TapeFile
from papertape.tape.virtual.hostfile import drive_error, sync_file, sync_folder

UNKNOWN = -1


def fault(number: int) -> OSError:
    """Return the ``OSError`` of errno ``number``."""
    return OSError(number, os.strerror(number))


def at_path(error: OSError, path: Path) -> OSError:
    """Return ``error`` of a call with a descriptor, which knows no name, as one of the file at ``path``."""
    error.filename = str(path)
    return error


class Medium:
    """The tape of ``cartridge``, at BOT. ``file_number`` and ``block_number`` are -1 where ``st`` loses count."""

    def __init__(self, cartridge: Cartridge) -> None:
        self.cartridge = cartridge
        self.end_of_data = False
        self._file = self.file_number = 0
        self._files = cartridge.files
        self._counts_blocks = True
        self._descriptor: int | None = None
        self._appending = False
        self._unmarked = False
        self._unsynced: list[Path] = []
        self._warned = self._wrote = False
        self._end: int | None = None
        # The position: how much lies before this tape file and, in it, before this block; see ``_go``.
        self._objects_before = self._bytes_before = self._block = self._offset = 0
        self._runs: list[Run] = []
        self._run = Run(0, 0)  # the one that is written
        self._next_run = self._left = self._size = 0
        self._after_mark = False
        self._go(0, 0)

    @property
    def used(self) -> int:
        """The bytes between BOT and the position."""
        return self._bytes_before + self._offset

    @property
    def address(self) -> int:
        """The logical object address of the position."""
        return self._objects_before + self._block

    @property
    def block_number(self) -> int:
        """The number of the next block in its tape file."""
        return self._block if self._counts_blocks else UNKNOWN

    def read(self, buffer: memoryview) -> int:
        """See ``TapeDevice.read``; who reads after writing gets no filemark there, as with st."""
        if self._unmarked:
            self._leave_unmarked()
        if self._left == 0 and not self._enter_next_run():
            return self._read_mark()
        size, count = self._size, 0
        fits = len(buffer) >= size
        if fits:
            path = self.cartridge.path(self._file)
            if self._descriptor is None:
                self._descriptor = self._open(path, os.O_RDONLY)
            try:
                count = os.preadv(self._descriptor, [buffer[:size]], self._offset)
            except OSError as error:
                raise drive_error(self.cartridge.drive, at_path(error, path)) from error
        self._offset += size
        self._block += 1
        self._left -= 1
        if not fits:  # the block is passed nevertheless, as by st
            raise fault(errno.ENOMEM)
        if count != size:  # somebody cut the host file: the block is gone
            raise fault(errno.EIO)
        return size

    def write(self, block: memoryview) -> int:
        """See ``TapeDevice.write``."""
        size = len(block)
        record = self.cartridge.record
        if record.write_protected:
            raise fault(errno.EROFS)
        if not 0 < size <= MAX_BLOCK:
            raise fault(errno.EINVAL)
        end = self.used + size
        # As st: ENOSPC once at the early warning, with nothing written, so that the same block is written again.
        if self._warned or end > record.capacity:
            self._warned = False
            self._unmarked = True  # st also writes the filemark after a block that did not fit
            raise fault(errno.ENOSPC)
        if not self._appending or size != self._size:
            self._begin_run(size)
        self._put(block)
        self._run.count += 1
        self._offset += size
        self._block += 1
        self._unmarked = True
        self._warned = end >= record.early_warning
        return size

    def write_filemarks(self, count: int, *, flush: bool) -> None:
        """Write ``count`` filemarks; with ``flush`` all before them is on the host's disk on return."""
        if self.cartridge.record.write_protected:
            raise fault(errno.EROFS)
        for _ in range(count):
            self._mark(flush=flush)
        if flush:
            self._sync_older()

    def rewind(self) -> None:
        """Go to BOT."""
        self.end_writing()
        self._go(0, 0)

    def locate(self, address: int) -> None:
        """Go to logical object ``address``; EIO, and at the end of data unknown to st, if the tape has none such."""
        self.end_writing()
        if not self._find(address):
            self._go_to_end()
            self.end_of_data = False  # st does not know it
            raise fault(errno.EIO)
        if address:
            self.file_number = UNKNOWN
            self._counts_blocks = False

    def resume(self, address: int) -> None:
        """Stand at ``address`` without moving there: the last who used the tape left it so."""
        if not self._find(address):
            self._go_to_end()

    def space_forward(self, filemarks: int) -> None:
        """Go to just after the ``filemarks``-th filemark from here; EIO, and at the end of data, if there are fewer.

        st writes no filemark before it spaces forward: what was written last stays without one.
        """
        self._leave_unmarked()
        target = self._file + filemarks
        if target > len(self._files) or not all(file.filemark for file in self._files[self._file : target]):
            self._go_to_end()
            raise fault(errno.EIO)
        self._go(target, 0)
        self._after_mark = True

    def space_backward(self, filemarks: int) -> None:
        """Go before the ``filemarks``-th filemark from here, backwards; EIO, and at BOT, if there are fewer.

        If the last operation was a write, st writes a filemark first; that one is not counted.
        """
        filemarks += self._unmarked
        self.end_writing()
        target = self._file - filemarks
        if target < 0:
            self._go(0, 0)
            raise fault(errno.EIO)
        self._go(target, self._files[target].blocks)
        self._counts_blocks = False

    def go_to_end(self) -> None:
        """Go to the end of data; what was written last stays without a filemark, as with st."""
        self._leave_unmarked()
        self._go_to_end()

    def _leave_unmarked(self) -> None:
        """End writing without the filemark that should follow: the recording is torn there."""
        if self._unmarked and self._appending:
            self._complete_file(sync=True)
            self.cartridge.save(sync=True)
        self._unmarked = self._appending = False
        self.end_writing()

    def end_writing(self) -> None:
        """Write the filemark that ``st`` writes before anything else is done with a tape that was written to."""
        if self._unmarked:
            self._mark(flush=True)
        if self._wrote:
            self._sync_older()
            self.cartridge.tidy()
            self._wrote = False

    def close(self) -> None:
        """End writing, and close the host file."""
        try:
            self.end_writing()
        finally:
            self._close_file()

    def _go(self, number: int, block: int) -> None:
        """Stand before block ``block`` of tape file ``number``; its filemark counts as one more block."""
        self._close_file()
        self._appending = self._warned = self.end_of_data = self._after_mark = False
        self._file = self.file_number = number
        self._counts_blocks = True
        self._objects_before = sum(file.objects for file in self._files[:number])
        self._bytes_before = sum(file.bytes for file in self._files[:number])
        self._runs = self._files[number].runs if number < len(self._files) else []
        self._block, self._offset, self._next_run, self._left, self._size = block, 0, 0, 0, 0
        while block > 0 and self._enter_next_run():
            step = min(block, self._left)
            block -= step
            self._left -= step
            self._offset += step * self._size

    def _find(self, address: int) -> bool:
        """Stand at logical object ``address``; False if the tape has no such object."""
        number, left = 0, address
        while number < len(self._files) and left >= self._files[number].objects and self._files[number].filemark:
            left -= self._files[number].objects
            number += 1
        if left > (self._files[number].objects if number < len(self._files) else 0):
            return False
        self._go(number, left)
        return True

    def _go_to_end(self) -> None:
        torn = bool(self._files) and not self._files[-1].filemark
        self._go(len(self._files) - torn, self._files[-1].blocks if torn else 0)
        self._counts_blocks = False
        self.end_of_data = True

    def _enter_next_run(self) -> bool:
        """Make the next run of blocks the current one; False at a filemark and at the end of data."""
        while self._left == 0 and self._next_run < len(self._runs):
            run = self._runs[self._next_run]
            self._next_run += 1
            self._size, self._left = run.size, run.count
        return self._left > 0

    def _read_mark(self) -> int:
        """Pass a filemark, or report the end of data as st does: 0 once, right after a filemark was read, else EIO."""
        if self._file < len(self._files) and self._files[self._file].filemark:
            counted = self.file_number
            self._go(self._file + 1, 0)
            self._after_mark = True
            if counted == UNKNOWN:
                self.file_number = UNKNOWN
            return 0
        if not self._after_mark or self._block:
            self.end_of_data = self.end_of_data and not self._block
            raise fault(errno.EIO)
        self.end_of_data, self._after_mark = True, False
        return 0

    def _begin_run(self, size: int) -> None:
        """Start blocks of ``size`` bytes at the position; everything after it is lost from here on."""
        file = self._writable_file()
        if not file.runs or file.runs[-1].size != size:
            file.runs.append(Run(size, 0))
        # Announced before its first block is written: a killed writer's blocks are counted from the file's size.
        self.cartridge.save(growing=True, recycled=self._end is not None)
        self._wrote = True
        self._runs, self._run, self._size = file.runs, file.runs[-1], size
        self._next_run, self._left = len(file.runs), 0
        self._appending = True

    def _writable_file(self) -> TapeFile:
        """Return the tape file at the position, cut off there, its host file open for writing."""
        if self._appending:
            return self._files[self._file]
        if self._file < len(self._files):
            self.cartridge.forget_after(self._file, self._block)
        else:
            self._files.append(TapeFile())
        self._close_file()
        path = self.cartridge.path(self._file)
        self._descriptor = self._open(path, os.O_RDWR | os.O_CREAT)
        try:
            # Where the host file has old blocks after the position, note from now on where the new ones end.
            if os.fstat(self._descriptor).st_size > self._offset:
                self._end = self._open(self.cartridge.end_path, os.O_WRONLY | os.O_CREAT)
                os.pwrite(self._end, self._offset.to_bytes(8, "little"), 0)
        except OSError as error:
            raise drive_error(self.cartridge.drive, at_path(error, path)) from error
        return self._files[self._file]

    def _put(self, block: memoryview) -> None:
        """Write ``block`` to the host file; if the host cannot, nothing of it stays."""
        assert self._descriptor is not None  # noqa: S101  # _begin_run opened it
        done = 0
        try:
            while done < len(block):
                done += os.pwrite(self._descriptor, block[done:] if done else block, self._offset + done)
            if self._end is not None:
                os.pwrite(self._end, (self._offset + done).to_bytes(8, "little"), 0)
        except OSError as error:
            with contextlib.suppress(OSError):  # the disk is full: give back the room of a part of a block
                os.ftruncate(self._descriptor, self._offset)
            raise drive_error(self.cartridge.drive, at_path(error, self.cartridge.path(self._file))) from error

    def _mark(self, *, flush: bool) -> None:
        file = self._writable_file()
        file.filemark = True  # ``save`` writes it; undone if that fails, so that record and memory agree
        try:
            self._complete_file(sync=flush)
            self.cartridge.save(sync=flush)
        except BaseException:
            file.filemark = False
            raise
        if not flush:
            self._unsynced.append(self.cartridge.path(self._file))
        self._wrote = True
        warned = self._warned
        self._go(self._file + 1, 0)
        self._warned, self._unmarked = warned, False

    def _complete_file(self, *, sync: bool) -> None:
        """Cut the host file off where the tape file ends; with ``sync``, put it on the host's disk."""
        assert self._descriptor is not None  # noqa: S101  # _writable_file opened it
        try:
            if self._end is not None:
                os.ftruncate(self._descriptor, self._offset)
            if sync:
                os.fsync(self._descriptor)
        except OSError as error:
            raise drive_error(self.cartridge.drive, at_path(error, self.cartridge.path(self._file))) from error

    def _sync_older(self) -> None:
        """Put on the host's disk what filemarks without a flush left in its cache."""
        try:
            for path in self._unsynced:
                with contextlib.suppress(FileNotFoundError):  # overwritten from further front since
                    sync_file(path)
            sync_file(self.cartridge.folder / RECORD)
            self._unsynced.clear()
            sync_folder(self.cartridge.folder)
        except OSError as error:
            raise drive_error(self.cartridge.drive, error) from error

    def _open(self, path: Path, flags: int) -> int:
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise drive_error(self.cartridge.drive, error) from error

    def _close_file(self) -> None:
        for descriptor in (self._descriptor, self._end):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._end = None
