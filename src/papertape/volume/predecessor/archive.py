"""The predecessor's archives: a tar in a tar, both parsed block by block.

::

    papertape/queue/<job>/paper.<job>.<N>.file_list     lines tape_index:archive_index:host:/path; not always there
    papertape/shm/paper.<job>.<N>.tar                   (or papertape/queue/<job>/...)
        paper.<job>.<N>/<host>:<path>                   a data set; a directory with all that it holds

GNU tar wrote the outer one, Python's ``tarfile`` the inner one: in the pax form since Python 3.8, in GNU's before that.
The oldest dumps also hold the directories above the data sets, and their members have no order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from papertape.volume.header import (
    DIRECTORY,
    FILE,
    LINK,
    USTAR,
    Attributes,
    HeaderError,
    check_record,
    make_header,
    read_pax,
    read_size,
)
from papertape.volume.layout import END_OF_ARCHIVE, RECORD, round_up
from papertape.volume.predecessor.catalog import is_plain
from papertape.volume.tapefile import MemberData, ScanError

HARD_LINK, SPECIAL = "hard link", "special file"
"""Kinds of members whose data is missing: the predecessor wrote them to the archive like any other."""

LONGEST_EXTENSION = 16 * 1024
"""Bytes of pax records, or of a long name, that a reader accepts: a path and a link of PATH_MAX fit."""

_ENDLESS = 1 << 62
_ZEROS = bytes(RECORD)
_MOST_JOBS = 4
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": DIRECTORY, b"2": LINK, b"1": HARD_LINK}
_KINDS |= dict.fromkeys((b"3", b"4", b"6"), SPECIAL)
_LONG = {b"L": b"path", b"K": b"linkpath"}
"""GNU tar's types of members that hold a long name (GNU tar manual, "Basic Tar Format"), as keys of pax records."""
_MAGICS = (USTAR, b"ustar  \0")
"""Magic and version of a ustar header, and of one in the old GNU form."""
_NUMBERS = ((b"uid", 108, 116), (b"gid", 116, 124), (b"size", 124, 136), (b"mtime", 136, 148))
"""Fields that GNU tar writes in base 256 if a number is too large for octal digits: pax key, start, end."""
_OUTER = re.compile(rb"(?:.*/)?paper\.([0-9]{1,20})\.([0-9]{1,9})\.(?:(tar)|(?:tar\.)?(?:file_)?list)", re.DOTALL)
_INNER = re.compile(rb"paper\.([0-9]{1,20})\.([0-9]{1,9})(?=/|\Z)")


class PredecessorMember(NamedTuple):
    """A member of the inner tar starts; ``name`` is ``host:/path``, or empty for the directory that holds all others.

    ``size`` is that of its data, 0 for all kinds but files. ``offset`` is that of its header, or of the extension
    before it, from the start of the tape file. Both are in bytes. The kinds are those of ``volume/header.py``,
    HARD_LINK and SPECIAL.
    """

    name: bytes
    size: int
    attributes: Attributes
    offset: int

    @property
    def kind(self) -> str:
        """The kind of the member."""
        return self.attributes.kind


class PredecessorListing(NamedTuple):
    """The next piece of the list of data sets, which comes before the inner tar; the ``last`` one ends it."""

    data: memoryview
    last: bool


class PredecessorStray(NamedTuple):
    """A member of the outer tar that does not belong in this archive; its data is skipped."""

    name: bytes
    offset: int


PredecessorEvent = PredecessorMember | MemberData | PredecessorListing | PredecessorStray


class TarScanner:
    """Parses one tar as GNU tar and Python's ``tarfile`` write it; holds no more than one member's headers.

    The tar lies from ``offset`` to ``end`` in its tape file. ``rename`` returns the name to report for a member, and
    raises HeaderError for one that does not belong here. After a ScanError the scanner is ``lost``: it takes the next
    record that is a header with the right checksum and a name that belongs here for the next member.
    """

    def __init__(self, offset: int, end: int, rename: Callable[[bytes], bytes]) -> None:
        self.offset = offset
        self.lost = False
        self._end = end
        self._rename = rename
        self._zeros = 0  # bytes of the end of the archive so far; the archive is over if there are any
        self._data = 0  # bytes of data still to come
        self._skip = 0  # bytes of padding still to come
        self._pax: dict[bytes, bytes] = {}  # what the extensions say about the next member
        self._types = b""  # types of those extensions
        self._extension = bytearray()
        self._extension_size = 0  # bytes of the extension that is being read
        self._begin = offset
        self._piece = memoryview(b"")
        self._at = 0

    @property
    def closed(self) -> bool:
        """Whether both end-of-archive records were read."""
        return self._zeros >= len(END_OF_ARCHIVE)

    def feed(self, piece: memoryview) -> Iterator[PredecessorMember | MemberData]:
        """Scan the next piece, which holds whole records; the iterator raises ScanError."""
        self._piece, self._at = piece, 0
        return self.feed_again()

    def feed_again(self) -> Iterator[PredecessorMember | MemberData]:
        """Scan the rest of the piece fed last; the iterator raises ScanError."""
        while self._at < len(self._piece):
            if self._data:
                piece = self._take(self._data)
                self._data -= len(piece)
                yield MemberData(piece, not self._data)
            elif self._skip:
                self._skip -= len(self._take(self._skip))
            elif self._zeros:
                self._take_zeros()
            elif self._extension_size:
                self._take_extension()
            elif (member := self._take_record()) is not None:
                yield member
                if member.kind == FILE and not member.size:
                    yield MemberData(self._piece[:0], True)

    def give_up(self) -> None:
        """Take everything that is still to come for data."""
        self.lost = False
        self._zeros = self._skip = self._extension_size = 0
        self._data = _ENDLESS

    def close(self) -> None:
        """There is nothing more: raise ScanError unless the archive's end was read, or had to be missed."""
        if not self.closed and not self.lost:
            self.lost = True
            raise ScanError(self.offset, "the archive ends too early")

    def _take(self, size: int) -> memoryview:
        piece = self._piece[self._at : self._at + size]
        self._at += len(piece)
        self.offset += len(piece)
        return piece

    def _take_zeros(self) -> None:
        """Take the zeros that fill up the last block; search the rest for headers if it is not zeros."""
        piece = self._take(len(self._piece))
        rest = len(bytes(piece).lstrip(b"\0"))
        self._zeros += len(piece)
        if rest:
            back = min(round_up(rest, RECORD), len(piece))
            self._at -= back
            self.offset -= back
            self._zeros = 0
            raise self._lose(self.offset, "there is something after the end of the archive")

    def _take_record(self) -> PredecessorMember | None:
        """Take one record; return the member that starts with it, None for all records but a member's own header."""
        begin, record = self.offset, bytes(self._take(RECORD))
        if not self._types:
            self._begin = begin
            if record == _ZEROS:
                self._zeros = 0 if self.lost else RECORD
                return None
        try:
            check_record(record, _MAGICS)
            type_ = record[156:157]
            if type_ in b"xLK":
                size = read_size(record)
                if not 0 < size <= LONGEST_EXTENSION or type_ in self._types:
                    raise HeaderError("an extension of a header that is never written")
                self._types += type_
                self._extension, self._extension_size = bytearray(), size
                return None
            member = self._read_member(record)
        except HeaderError as error:
            # Of the records in a damaged region most are data: only one with an extension before it was a header.
            if self.lost and not self._types:
                return None
            raise self._lose(self._begin, str(error)) from error
        self._forget_extensions()
        self.lost = False
        self._data = member.size
        self._skip = -member.size % RECORD
        return member

    def _lose(self, offset: int, reason: str) -> ScanError:
        self.lost = True
        self._forget_extensions()
        return ScanError(offset, reason)

    def _forget_extensions(self) -> None:
        self._pax = {}
        self._types = b""
        self._extension_size = 0

    def _take_extension(self) -> None:
        size = self._extension_size
        self._extension += self._take(round_up(size, RECORD) - len(self._extension))
        if len(self._extension) < size:
            return
        content = bytes(self._extension[:size])
        long = _LONG.get(self._types[-1:])
        try:
            self._pax |= {long: content.partition(b"\0")[0]} if long else read_pax(content)
        except HeaderError as error:
            raise self._lose(self._begin, str(error)) from error
        self._extension_size = 0

    def _read_member(self, record: bytes) -> PredecessorMember:
        kind = _KINDS.get(record[156:157])
        if kind is None:
            raise HeaderError(f"a member of type {record[156:157]!a} is never written")
        pax = {}
        for key, begin, end in _NUMBERS:
            # In base 256 the first byte is 0x80, or 0xff for a negative number (GNU tar manual, "Extensions").
            if record[begin] & 0x80:
                if record[begin] not in {0x80, 0xFF}:
                    raise HeaderError(f"{record[begin:end]!a} is not a number")
                negative = record[begin] == 0xFF
                digits = record[begin if negative else begin + 1 : end]
                pax[key] = b"%d" % int.from_bytes(digits, "big", signed=negative)
        header = make_header(kind, pax | self._pax, record, 0)
        size = header.size if kind == FILE else 0
        if self.offset + size > self._end:
            raise HeaderError(f"a member of {size} bytes is longer than its archive")
        name = header.name.removesuffix(b"/") if kind == DIRECTORY else header.name
        return PredecessorMember(self._rename(name), size, header.attributes, self._begin)


class PredecessorScanner:
    """Parses the archive with the ``tape_index`` ``number``, a tar in a tar, block by block.

    Feed it every block, of whole records, and use up the iterator. After a ScanError, which says where something is
    damaged, continue with ``feed_again``: the scanner finds the next header in the inner tar by itself. ``jobs`` are
    the job numbers that stand in the archive, in the order of the archive; some volumes have others than their catalog.
    """

    def __init__(self, number: int) -> None:
        self.jobs: tuple[str, ...] = ()
        self._number = number
        self._outer = TarScanner(0, _ENDLESS, bytes)
        self._inner: TarScanner | None = None
        self._inside: PredecessorMember | None = None  # the member of the outer tar whose data comes
        self._closing = False
        self._given_up = False

    @property
    def complete(self) -> bool:
        """Whether the archive's end was read, or cannot be recognised because the archive's start is damaged."""
        return self._outer.closed or self._given_up

    def feed(self, block: memoryview) -> Iterator[PredecessorEvent]:
        """Scan the next block, or several; the iterator raises ScanError."""
        return self._scan(self._outer.feed(block))

    def feed_again(self) -> Iterator[PredecessorEvent]:
        """Scan the rest of the block fed last; the iterator raises ScanError."""
        if self._outer.lost:
            # A header of the outer tar is damaged: everything after it is searched for members of the inner one.
            self._given_up = True
            self._outer.give_up()
            if self._inner is None:
                self._inner = TarScanner(self._outer.offset, _ENDLESS, self._rename)
                self._inner.lost = True
                self._inside = PredecessorMember(b"", 0, Attributes(FILE, 0, 0), self._outer.offset)
            else:
                self._inside = None
        if self._inner is not None:
            yield from self._scan_inner(self._inner.feed_again())
        yield from self._scan(self._outer.feed_again())

    def _scan(self, events: Iterator[PredecessorMember | MemberData]) -> Iterator[PredecessorEvent]:
        for event in events:
            if isinstance(event, PredecessorMember):
                yield from self._enter(event)
            elif self._inside is None:
                continue
            elif self._inner is None:
                yield PredecessorListing(*event)
            else:
                self._closing = event.last
                yield from self._scan_inner(self._inner.feed(event.data))

    def _enter(self, member: PredecessorMember) -> Iterator[PredecessorStray]:
        """A member of the outer tar starts: the list of data sets, the inner tar, or a stray."""
        self._inside = None
        match = _OUTER.fullmatch(member.name)
        wrong = match is None or int(match[2]) != self._number or member.kind != FILE
        if match is None or wrong or self._inner is not None:
            yield PredecessorStray(member.name, member.offset)
            return
        self._inside = member
        self._add_job(match[1])
        if match[3]:
            self._inner = TarScanner(self._outer.offset, self._outer.offset + member.size, self._rename)

    def _scan_inner(self, events: Iterator[PredecessorMember | MemberData]) -> Iterator[PredecessorMember | MemberData]:
        yield from events
        if self._closing and self._inner is not None:
            self._closing = False
            self._inner.close()

    def _rename(self, name: bytes) -> bytes:
        """Return ``host:/path`` for a member of the inner tar; raises HeaderError for one that does not belong here."""
        match = _INNER.match(name)
        if match is None or int(match[2]) != self._number:
            raise HeaderError("a member outside the archive's own folder")
        relative = name[match.end() :]
        if relative and not is_plain(relative):
            raise HeaderError("a member with a name that no file can have")
        self._add_job(match[1])
        return relative[1:]

    def _add_job(self, job: bytes) -> None:
        name = job.decode("ascii")
        # A damaged or hostile archive must not make the list grow without end.
        if name not in self.jobs and len(self.jobs) < _MOST_JOBS:
            self.jobs += (name,)
