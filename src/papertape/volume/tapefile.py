"""One tape file: a small one is composed in memory, and any one is scanned as its blocks arrive.

Every byte is covered by a digest (R11): file data by that of its member, the rest (headers, padding, the zeros at the
end) by the tape file's structure digest.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from papertape.volume.header import (
    FILE,
    Attributes,
    Header,
    HeaderError,
    build_header,
    check_record,
    is_extension,
    read_header,
    read_size,
)
from papertape.volume.layout import END_OF_ARCHIVE, RECORD, round_up
from papertape.volume.members import Member, TapeFile, own_member

EXTENSION = b"x"
LONGEST_EXTENSION = 1024 * 1024
"""Bytes of pax records that a reader accepts before one member (R9): a hundred times those of the longest names."""


class Composed(NamedTuple):
    """A small tape file: its bytes as they go to tape, and the catalog's entries for it."""

    content: bytes
    tape_file: TapeFile
    members: tuple[Member, ...]


def own_attributes(created: datetime) -> Attributes:
    """Return the attributes of the members that papertape adds."""
    return Attributes(FILE, 0o644, int(created.timestamp()) * 10**9)


def checksum_header(header: bytes | memoryview) -> str:
    """Return the CRC-32 of a member's headers in eight hexadecimal digits (R11)."""
    return f"{zlib.crc32(header):08x}"


def compose(kind: str, members: Sequence[tuple[bytes, bytes]], created: datetime, block_size: int) -> Composed:
    """Return tape file 0 with these ``members`` (names and contents), in whole blocks of ``block_size`` bytes."""
    attributes = own_attributes(created)
    structure = hashlib.sha256()
    content = bytearray()
    listed = []
    for name, data in members:
        header = build_header(name, len(data), attributes)
        digest = hashlib.sha256(data).hexdigest()
        listed.append(
            own_member(name, size=len(data), sha256=digest, offset=len(content), header=checksum_header(header))
        )
        padding = bytes(-len(data) % RECORD)
        content += header + data + padding
        structure.update(header + padding)
    end = bytes(round_up(len(content) + len(END_OF_ARCHIVE), block_size) - len(content))
    structure.update(end)
    content += end
    return Composed(bytes(content), TapeFile(0, kind, len(content), structure.hexdigest()), tuple(listed))


class MemberBegin(NamedTuple):
    """The headers of a member were read.

    ``offset`` is that of the first of them, in bytes from the start of the tape file; ``checksum`` is their CRC-32.
    """

    header: Header
    offset: int
    checksum: str


class MemberKnown(NamedTuple):
    """The next member begins, and its headers are those of ``Scanner.known``."""

    member: Member


class MemberData(NamedTuple):
    """The next piece of the member's data, valid until the scanner is fed again; the ``last`` one ends the member."""

    data: memoryview
    last: bool


class ScanError(HeaderError):
    """There is no header at ``offset``; ``Scanner.resume`` continues at a known one."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"{reason} at offset {offset}")
        self.offset = offset
        self.reason = reason


class Scanner:
    """Parses a tape file block by block and holds no more than one member's headers.

    Feed it every block and use up the iterator. After a ScanError call ``resume`` with the offset of the next header
    that is known from elsewhere, and ``feed_again`` for the rest of the block. ``ended`` is set when the
    end-of-archive records were read.

    A reader with a catalog may set ``known`` to the next member: if offset and CRC-32 of its headers are right, they
    are not parsed. The structure digest covers them all the same.

    A scanner may start in the middle of a tape file: at the ``offset`` of a header, fed first with the rest of its
    block.
    """

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.ended = False
        self.known: Member | None = None
        self._structure = hashlib.sha256()
        self._data = 0  # bytes of file data still to come
        self._skip = 0  # bytes of padding, or of a damaged region, still to come
        self._extension = 0  # bytes of pax records still to come, filled up to records
        self._extension_size = 0
        self._headers = bytearray()
        self._begin = 0
        self._block = memoryview(b"")
        self._at = 0

    def feed(self, block: memoryview) -> Iterator[MemberBegin | MemberKnown | MemberData]:
        """Scan the next block; the iterator raises ScanError."""
        self._block, self._at = block, 0
        return self.feed_again()

    def feed_again(self) -> Iterator[MemberBegin | MemberKnown | MemberData]:
        """Scan the rest of the block fed last; the iterator raises ScanError."""
        block, length = self._block, len(self._block)
        while self._at < length:
            if self._data:
                piece = self._take(self._data)
                self._data -= len(piece)
                yield MemberData(piece, not self._data)
            elif self._skip:
                piece = self._take(self._skip)
                self._skip -= len(piece)
                self._structure.update(piece)
            elif self.ended:
                self._structure.update(self._take(length))
            elif self._extension:
                piece = self._take(self._extension)
                self._extension -= len(piece)
                self._headers += piece
            elif (known := self.known) is not None and known.offset == self.offset and (end := self._find_data(known)):
                self._structure.update(self._take(end - self._at))
                if known.kind == FILE:
                    self._data = known.size
                    self._skip = -known.size % RECORD
                yield MemberKnown(known)
                if known.kind == FILE and not known.size:
                    yield MemberData(block[:0], True)
            else:
                yield from self._take_header(bytes(block[self._at : self._at + RECORD]))

    def _take(self, size: int) -> memoryview:
        piece = self._block[self._at : self._at + size]
        self._at += len(piece)
        self.offset += len(piece)
        return piece

    def take_whole(self, member: Member) -> memoryview | None:
        """Return all data of ``member`` if it is the next one, a file, and lies wholly in this block; else None."""
        # The fast path for small files: besides this, a reader takes one digest and compares it.
        if self._data or self.ended or member.kind != FILE or self.offset + self._skip != member.offset:
            return None
        data = self._find_data(member)
        end = data + member.size
        if not data or end > len(self._block):
            return None
        self._structure.update(self._block[self._at : data])
        self.offset += end - self._at
        self._at = end
        self._skip = -member.size % RECORD
        return self._block[data:end]

    def _find_data(self, member: Member) -> int:
        """Return where in the block the headers of ``member`` end if they come next, after any padding; 0 if not."""
        if self._headers:
            return 0
        block, begin = self._block, self._at + self._skip
        end = begin + RECORD
        if block[begin + 156 : begin + 157] == EXTENSION:
            try:
                end += RECORD + round_up(int(bytes(block[begin + 124 : begin + 135]), 8), RECORD)
            except ValueError:
                return 0
        known = end <= len(block) and checksum_header(block[begin:end]) == member.header
        return end if known else 0

    def _take_header(self, record: bytes) -> Iterator[MemberBegin | MemberData]:
        """Take the header record that comes: an end-of-archive record, a pax header, or a member's plain header."""
        if not self._headers:
            self._begin = self.offset
            if not any(record):
                self.ended = True
                return
        try:
            check_record(record)
            if is_extension(record):
                size = read_size(record)
                if self._headers or size > LONGEST_EXTENSION:
                    raise HeaderError("a pax header that papertape never writes")
                self._extension_size, self._extension = size, round_up(size, RECORD)
                self._headers += self._take(RECORD)
                return
            extension = bytes(self._headers[RECORD : RECORD + self._extension_size]) if self._headers else b""
            header = read_header(extension, record, len(self._headers) + RECORD)
        except HeaderError as error:
            # The bad record is passed over, so that no ``resume`` meets it again. After a pax header it stays: it may
            # be the header of the next member, and ``resume`` goes there.
            if not self._headers:
                self._structure.update(self._take(RECORD))
            raise ScanError(self._begin, str(error)) from error
        self._take(RECORD)
        records = bytes(self._headers) + record
        self._structure.update(records)
        self._headers.clear()
        self._extension_size = 0
        self._data = header.size if header.attributes.kind == FILE else 0
        self._skip = -self._data % RECORD
        yield MemberBegin(header, self._begin, checksum_header(records))
        if header.attributes.kind == FILE and not header.size:
            yield MemberData(self._block[:0], True)

    def resume(self, offset: int) -> None:
        """Pass over everything up to ``offset`` as damaged and expect a header there, in this block or a later one."""
        self._structure.update(self._headers)
        self._headers.clear()
        self._extension = self._extension_size = self._data = 0
        self._skip = max(offset - self.offset, 0)

    def structure(self) -> str:
        """Return the SHA-256, in hexadecimal, of all bytes so far that are not file data (R11)."""
        return self._structure.hexdigest()
