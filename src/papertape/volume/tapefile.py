"""One tape file: composing a small one in memory, and scanning any as its blocks arrive.

Every byte is covered (R11): file data by the digest of its member, all the rest (headers, padding, the zeros at the
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
from papertape.volume.members import Member, TapeFile

EXTENSION = b"x"
LONGEST_EXTENSION = 1024 * 1024
"""Bytes of pax records that a reader accepts before one member: a path and a link of PATH_MAX fit a hundred times."""


class Composed(NamedTuple):
    """A small tape file: its bytes as they go to the tape, and what the catalog says of them."""

    content: bytes
    tape_file: TapeFile
    members: tuple[Member, ...]


def own_attributes(created: datetime) -> Attributes:
    """Return the attributes of the members that papertape adds."""
    return Attributes(FILE, 0o644, int(created.timestamp()) * 10**9)


def checksum_header(header: bytes | memoryview) -> str:
    """Return the CRC-32 of a member's headers, as the catalog has it."""
    return f"{zlib.crc32(header):08x}"


def compose(kind: str, members: Sequence[tuple[bytes, bytes]], created: datetime, block_size: int) -> Composed:
    """Return tape file 0 made of ``members`` (names and contents), padded to whole blocks."""
    attributes = own_attributes(created)
    structure = hashlib.sha256()
    content = bytearray()
    listed = []
    for name, data in members:
        header = build_header(name, len(data), attributes)
        digest = hashlib.sha256(data).hexdigest()
        listed.append(Member(name, FILE, len(data), digest, "", 0, len(content), -1, checksum_header(header)))
        padding = bytes(-len(data) % RECORD)
        content += header + data + padding
        structure.update(header + padding)
    end = bytes(round_up(len(content) + len(END_OF_ARCHIVE), block_size) - len(content))
    structure.update(end)
    content += end
    return Composed(bytes(content), TapeFile(0, kind, len(content), structure.hexdigest()), tuple(listed))


class MemberBegin(NamedTuple):
    """The headers of a member were read; ``offset`` (bytes from the tape file's begin) is that of the first of them."""

    header: Header
    offset: int
    checksum: str


class MemberKnown(NamedTuple):
    """The next member begins, and its headers are those that ``Scanner.known`` told to expect."""

    member: Member


class MemberData(NamedTuple):
    """The next piece of the member's data; valid until the scanner is fed again. ``last`` ends the member."""

    data: memoryview
    last: bool


class ScanError(HeaderError):
    """What stands at ``offset`` is not a header; ``resume`` lets the scanner go on at a known one."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"{reason} at offset {offset}")
        self.offset = offset
        self.reason = reason


class Scanner:
    """Parses a tape file block by block, on the fly, and holds no more than one member's headers.

    Feed it every block; it yields what it meets. After a ScanError, call ``resume(offset)`` with the offset of the next
    header that is known from elsewhere; the rest of the block is scanned by the same iterator made anew with
    ``feed_again()``. ``ended`` is set once the end-of-archive records were met.

    Whoever has a catalog may set ``known`` to the member to come: if that is what comes, going by its offset and its
    headers' CRC-32, the headers need not be parsed. The structure digest covers them all the same.

    A scanner may begin in the middle of a tape file, at the ``offset`` of a header, with what follows in that block.
    """

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.ended = False
        self.known: Member | None = None
        self._structure = hashlib.sha256()
        self._data = 0  # bytes of file data still to come
        self._skip = 0  # bytes of padding, or of a region jumped over, still to come
        self._extension = 0  # bytes of pax records still to come, filled up to records
        self._extension_size = 0
        self._headers = bytearray()
        self._begin = 0
        self._block = memoryview(b"")
        self._at = 0

    def feed(self, block: memoryview) -> Iterator[MemberBegin | MemberKnown | MemberData]:
        """Scan the next block; raises ScanError."""
        self._block, self._at = block, 0
        return self.feed_again()

    def feed_again(self) -> Iterator[MemberBegin | MemberKnown | MemberData]:
        """Go on in the block fed last; raises ScanError."""
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
                self._take_extension()
            elif (known := self.known) is not None and known.offset == self.offset and self._take_known(known):
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
        """Return all the data of a file, if exactly this member comes next, wholly in this block; None if it does not.

        That is what makes small files quick: nothing but this, a digest and a comparison is done for each.
        """
        if self._data or self._headers or self.ended or member.kind != FILE:
            return None
        begin = self._at + self._skip
        if self.offset + self._skip != member.offset:
            return None
        data = self._find_known(member, begin)
        end = data + member.size
        if not data or end > len(self._block):
            return None
        self._structure.update(self._block[self._at : data])
        self.offset += end - self._at
        self._at = end
        self._skip = -member.size % RECORD
        return self._block[data:end]

    def _take_known(self, member: Member) -> bool:
        """Take the headers of ``member``, if it is they that stand here."""
        end = self._find_known(member, self._at)
        if self._headers or not end:
            return False
        self._structure.update(self._take(end - self._at))
        if member.kind == FILE:
            self._data = member.size
            self._skip = -member.size % RECORD
        return True

    def _find_known(self, member: Member, begin: int) -> int:
        """Return where in the block the headers of ``member`` end that begin at ``begin``; 0 if others stand there."""
        block, end = self._block, begin + RECORD
        if block[begin + 156 : begin + 157] == EXTENSION:
            try:
                end += RECORD + round_up(int(bytes(block[begin + 124 : begin + 135]), 8), RECORD)
            except ValueError:
                return 0
        known = end <= len(block) and checksum_header(block[begin:end]) == member.header
        return end if known else 0

    def _take_extension(self) -> None:
        piece = self._take(self._extension)
        self._extension -= len(piece)
        self._headers += piece

    def _take_header(self, record: bytes) -> Iterator[MemberBegin | MemberData]:
        if not self._headers:
            self._begin = self.offset
            if not any(record):
                self.ended = True
                return
        try:
            check_record(record)
            if is_extension(record):
                self._announce_extension(read_size(record))
                self._headers += self._take(RECORD)
                return
            extension = bytes(self._headers[RECORD : RECORD + self._extension_size]) if self._headers else b""
            header = read_header(extension, record, len(self._headers) + RECORD)
        except HeaderError as error:
            self._refuse()
            raise ScanError(self._begin, str(error)) from error
        self._take(RECORD)
        yield from self._begin_member(header, bytes(self._headers) + record)

    def _refuse(self) -> None:
        """Leave the refused record behind, so that no ``resume`` can meet it again.

        Behind a pax header the record stays: it may be the header of the next member, where ``resume`` will go.
        """
        if not self._headers:
            self._structure.update(self._take(RECORD))

    def _announce_extension(self, size: int) -> None:
        if self._headers or size > LONGEST_EXTENSION:
            raise HeaderError("a pax header that papertape never writes")
        self._extension_size = size
        self._extension = round_up(size, RECORD)

    def _begin_member(self, header: Header, records: bytes) -> Iterator[MemberBegin | MemberData]:
        self._structure.update(records)
        self._headers.clear()
        self._extension_size = 0
        self._data = header.size if header.attributes.kind == FILE else 0
        self._skip = -self._data % RECORD
        yield MemberBegin(header, self._begin, checksum_header(records))
        if header.attributes.kind == FILE and not header.size:
            yield MemberData(self._block[:0], True)

    def resume(self, offset: int) -> None:
        """Take all up to ``offset`` as damaged and expect a header there; ``offset`` may lie in a later block."""
        self._structure.update(self._headers)
        self._headers.clear()
        self._extension = self._extension_size = self._data = 0
        self._skip = max(offset - self.offset, 0)

    def structure(self) -> str:
        """Return the digest of all bytes so far that are not file data."""
        return self._structure.hexdigest()
