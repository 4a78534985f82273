"""Data sets from a volume back to disk: only what is wanted is read, and only what is proven gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from papertape.errors import DriveError, FormatError, Interrupted, Obstacle
from papertape.events import Tell
from papertape.evidence import DigestMismatch, Finding, HeaderDamaged, ReadFailed, WrongVolume
from papertape.tape.drive import Drive
from papertape.transfer.blockahead import BlockAhead, Span, Unreadable
from papertape.transfer.destination import NewFile, Restoration, Wanted
from papertape.transfer.stop import Stop
from papertape.volume.header import DIRECTORY, FILE, Attributes
from papertape.volume.label import read_label
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.members import Member, TapeFile
from papertape.volume.names import quote
from papertape.volume.tapefile import MemberBegin, MemberData, ScanError, Scanner

MOST_FINDINGS = 1000
"""Findings of one volume that are kept one by one."""
MOST_LOST = 100_000
"""Members of a data set that could not be had and are kept one by one; where there are more, all are tried again."""
LONGEST_HEADERS = 64 * 1024
"""Bytes that a member's headers take at the most: they hold two paths."""


class Extractable(Protocol):
    """A data set, or a part of it, that is to be taken from a volume."""

    @property
    def source(self) -> str:
        """The data set's source."""

    @property
    def part(self) -> str:
        """Where to find what is there of it if it cannot be had whole, "" if there is nothing."""

    def end(self) -> None:
        """All of it is on disk: give it its name. Raises Obstacle, HostError."""


class Extract(NamedTuple):
    """Members of one data set to be taken from a volume: those that ``members`` yields, in tape order.

    They lie in tape file ``tape_file`` from ``begin`` on, and end before ``stop`` (offsets in bytes). ``prefix`` is the
    data set's own member name.
    """

    source: str
    tape_file: int
    begin: int
    stop: int
    prefix: bytes
    members: Callable[[], Iterator[Member]]
    restoration: Restoration

    def again(self, lost: Sequence[Member]) -> Extract:
        """Return the extract of those members that could not be had before."""
        if len(lost) >= MOST_LOST:
            return self
        stop = min(self.stop, lost[-1].offset + lost[-1].size + LONGEST_HEADERS)
        return self._replace(begin=lost[0].offset, stop=stop, members=partial(iter, tuple(lost)))

    @property
    def part(self) -> str:
        """See ``Extractable.part``."""
        return self.restoration.part

    def end(self) -> None:
        """See ``Extractable.end``."""
        self.restoration.end()


class Lost(NamedTuple):
    """Why an extract is not whole, and how to try the rest of it: ``again`` returns that as an extract."""

    finding: Finding
    again: Callable[[], Extractable]


class Extracted(NamedTuple):
    """The result of one extract: ``lost`` if this volume does not have all of it, ``obstacle`` if the disk refuses it.

    ``files`` and ``size`` (bytes) count what was written to disk.
    """

    extract: Extractable
    lost: Lost | None
    obstacle: Obstacle | None
    files: int
    size: int


@dataclass
class Extraction:
    """What reading from one volume came to; ``bytes`` and ``locates`` are the drive's work.

    ``is_postponed`` says that its label cannot be read, and that other copies are to be tried first.
    """

    extracted: list[Extracted] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    bytes: int = 0
    locates: int = 0
    is_postponed: bool = False

    @property
    def is_blind(self) -> bool:
        """Whether the drive could read nothing at all: it may be the drive that is sick, and not the volume."""
        return bool(self.findings) and not self.bytes and all(isinstance(item, ReadFailed) for item in self.findings)


def check_label(drive: Drive, volume: str, uuid: str) -> Finding | None:
    """Return what is wrong with the label of the rewound volume in ``drive``, None if it is the right one (R9).

    That is WrongVolume if it is another's, HeaderDamaged if there is none that can be read.
    """
    buffer = memoryview(bytearray(MAXIMUM_BLOCK))
    try:
        size = drive.read_block(buffer)
        label = read_label(bytes(buffer[: size if isinstance(size, int) else 0]), volume)
    except DriveError as error:
        return ReadFailed(volume, 0, 0, found=str(error))
    except FormatError as error:
        return HeaderDamaged(volume, 0, expected=f"{volume} {uuid}", found=error.reason)
    if (label.volume_tag, label.volume_uuid) == (volume, uuid):
        return None
    return WrongVolume(volume, 0, expected=f"{volume} {uuid}", found=f"{label.volume_tag} {label.volume_uuid}")


class Layout(NamedTuple):
    """Where tape files begin on one volume, as logical objects: each has its blocks, and a filemark behind them."""

    volume: str
    block_size: int
    begins: tuple[int, ...]

    def address(self, tape_file: int, offset: int) -> int:
        """Return the logical object in which the byte at ``offset`` of a tape file lies.

        That is its filemark for an offset beyond its end, and the end of data for a tape file that there is not: what a
        ledger says wrongly ends there, and no drive is sent elsewhere.
        """
        if not 0 <= tape_file < len(self.begins) - 1:
            return self.begins[-1]
        first, last = self.begins[tape_file], self.begins[tape_file + 1] - 1
        return min(max(first + offset // self.block_size, first), last)


def lay_out(volume: str, block_size: int, label: TapeFile, tape_files: Sequence[TapeFile]) -> Layout:
    """Return where the tape files of a volume begin (R10)."""
    begins = [0]
    for item in (label, *tape_files):
        begins.append(begins[-1] + item.size // block_size + 1)
    return Layout(volume, block_size, tuple(begins))


def restore_extracts(
    layout: Layout, extracts: Sequence[Extract], drive: Drive, *, memory: int, tell: Tell, stop: Stop
) -> Extraction:
    """Restore ``extracts``, in tape order, from the volume in ``drive``; return what became of each.

    ``memory`` bounds the blocks read ahead, in bytes. Raises Interrupted when asked to stop, HostError if the disk
    cannot be written.
    """
    spans = _merge([_span(layout, extract) for extract in extracts])
    extraction = Extraction()
    with BlockAhead(
        drive, spans, block_size=layout.block_size, memory=memory, volume=layout.volume, tell=tell
    ) as ahead:
        for extract in extracts:
            if stop.soon:
                raise Interrupted("stopped; the same command again goes on where this one stopped")
            way = _Way(layout, extract, ahead, stop)
            extraction.extracted.append(way.run())
            extraction.findings += way.findings[: MOST_FINDINGS - len(extraction.findings)]
            extraction.bytes, extraction.locates = ahead.bytes, ahead.locates
    return extraction


def _span(layout: Layout, extract: Extract) -> Span:
    begin = layout.address(extract.tape_file, extract.begin)
    return Span(begin, max(layout.address(extract.tape_file, extract.stop - 1), begin) + 1)


def _merge(spans: Sequence[Span]) -> list[Span]:
    """Return spans of which none overlaps the one before: where two data sets share a block, it is read once."""
    merged: list[Span] = []
    for span in spans:
        start = max(span.start, merged[-1].stop) if merged else span.start
        if start < span.stop:
            merged.append(Span(start, span.stop))
    return merged


class _Way:
    """One data set on its way from a volume to disk."""

    def __init__(self, layout: Layout, extract: Extract, ahead: BlockAhead, stop: Stop) -> None:
        self.findings: list[Finding] = []
        self._layout, self._extract = layout, extract
        self._ahead, self._stop = ahead, stop
        self._members = extract.members()
        self._next = next(self._members, None)
        self._lost: list[Member] = []
        self._cause: Finding | None = None  # the finding that cost the first of the lost members
        self._scanner: Scanner | None = None  # none: the next member begins wherever it does
        self._current: _Member | None = None
        self._files = self._size = 0

    def run(self) -> Extracted:
        """Take all members that can be had."""
        obstacle = None
        try:
            while self._current or self._next:
                self._stop.check()
                self._take_block()
        except Obstacle as error:
            obstacle = error
        finally:
            self._drop()
        lost = Lost(self._cause, partial(self._extract.again, self._lost)) if self._cause else None
        return Extracted(self._extract, lost, obstacle, self._files, self._size)

    def _take_block(self) -> None:
        """Take the block in which the scanner stands, or, between two members, the one in which the next begins."""
        size = self._layout.block_size
        scanner = self._scanner = self._scanner or Scanner(self._next.offset if self._next else 0)
        offset = scanner.offset // size * size
        block = self._ahead.get(self._layout.address(self._extract.tape_file, offset))
        if isinstance(block, Unreadable):
            self._skip(offset, offset + size, block.reason)
        else:
            self._scan(scanner, block[scanner.offset - offset :])

    def _skip(self, begin: int, end: int, reason: str) -> None:
        """What lies from ``begin`` to ``end`` cannot be read: the members in it are lost, those behind it are not."""
        volume, number = self._layout.volume, self._extract.tape_file
        name = self._current.member.name if self._current else self._next.name if self._next else b""
        self.findings.append(ReadFailed(volume, number, begin, quote(name), None, reason))
        if self._current:
            self._note_lost(self._current.member)
            self._drop()
        while self._next and self._next.offset < end:
            self._note_lost(self._next)
            self._advance()
        self._scanner = None

    def _scan(self, scanner: Scanner, data: memoryview) -> None:
        try:
            for event in scanner.feed(data):
                if isinstance(event, MemberBegin):
                    self._begin(event)
                elif isinstance(event, MemberData):
                    self._take(event)
                if self._current is None:
                    self._scanner = None
                    return
        except ScanError as error:
            self._lose(error.reason)
            self._scanner = None
        if scanner.ended:  # zeros where a header should be: what lies behind them is as good as ever
            self._lose("the end of the archive")
            self._scanner = None

    def _begin(self, event: MemberBegin) -> None:
        """A member begins: it must be the one that is wanted, header for header."""
        member, header = self._next, event.header
        if member is None:
            return
        size = header.size if header.attributes.kind == FILE else 0
        found = (event.offset, event.checksum, header.name, header.attributes.kind, size)
        if found != (member.offset, member.header, member.name, member.kind, member.size):
            self._lose(f"{quote(header.name)}, {event.checksum}")
            return
        self._advance()
        self._current = _Member(member, self._extract, header.attributes)
        if member.kind != FILE:
            self._current = None

    def _take(self, event: MemberData) -> None:
        if self._current is None:
            return
        self._current.write(event.data)
        if event.last:
            current, self._current = self._current, None
            self._judge(current, good=current.end())

    def _judge(self, current: _Member, *, good: bool) -> None:
        if good:
            self._files += current.is_written
            self._size += current.member.size * current.is_written
            return
        self._find(DigestMismatch, current.member, current.member.sha256, current.found)
        if current.is_written:
            self._note_lost(current.member)

    def _lose(self, found: str) -> None:
        """The member to come is not what it should be."""
        if self._next:
            self._find(HeaderDamaged, self._next, None, found)
            self._note_lost(self._next)
            self._advance()

    def _find(self, kind: type[Finding], member: Member, expected: str | None, found: str) -> None:
        volume = self._layout.volume
        self.findings.append(kind(volume, member.tape_file, member.offset, quote(member.name), expected, found))

    def _note_lost(self, member: Member) -> None:
        """Put down that ``member`` cannot be had, because of the finding noted last."""
        self._cause = self._cause or self.findings[-1]
        if len(self._lost) < MOST_LOST:
            self._lost.append(member)

    def _advance(self) -> None:
        self._next = next(self._members, None)

    def _drop(self) -> None:
        current, self._current = self._current, None
        if current:
            with suppress(Obstacle):
                current.drop()


class _Member:
    """One member on its way to disk; a file that is there already is read through, and not written."""

    def __init__(self, member: Member, extract: Extract, attributes: Attributes) -> None:
        self.member = member
        self.is_written = False
        self.found = ""
        self._md5 = hashlib.md5(usedforsecurity=False) if member.md5 else None
        self._sha256 = hashlib.sha256()
        self._file: NewFile | None = None
        relative = relative_name(extract.source, member.name, extract.prefix)
        restoration = extract.restoration
        wanted = Wanted("sha256", member.sha256, member.size) if member.kind == FILE else None
        if member.kind == DIRECTORY:
            restoration.holds(relative, DIRECTORY)
            restoration.make_directory(relative, attributes)
        elif member.kind != FILE:
            if not restoration.holds(relative, member.kind, target=attributes.target):
                restoration.make_link(relative, attributes)
        elif not restoration.holds(relative, FILE, wanted):
            self._file = restoration.make_file(relative, attributes)
            self.is_written = True

    def write(self, data: memoryview) -> None:
        """Take the next piece of its data."""
        self._sha256.update(data)
        if self._md5:
            self._md5.update(data)
        if self._file:
            self._file.write(data)

    def end(self) -> bool:
        """All data is there: give the file its name if every byte is right; tell whether it is."""
        self.found = self._sha256.hexdigest()
        good = self.found == self.member.sha256
        if good and self._md5 and self._md5.hexdigest() != self.member.md5:
            self.found, good = f"MD5 {self._md5.hexdigest()}, not {self.member.md5}", False
        file, self._file = self._file, None
        if file:
            (file.prove if good else file.drop)()
        return good

    def drop(self) -> None:
        """Take away what was written so far."""
        file, self._file = self._file, None
        if file:
            file.drop()


def relative_name(source: str, name: bytes, prefix: bytes) -> bytes:
    """Return a member's name within its data set; raises Obstacle if it does not lie in it."""
    if name == prefix:
        return b""
    if not name.startswith(prefix + b"/"):
        raise Obstacle(source, f"member {quote(name)} does not belong to it")
    return name[len(prefix) + 1 :]
