"""Data sets from a volume back to disk: only the blocks needed are read, and only proven files get their names."""

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
from papertape.ids import VolumeTag
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
"""Lost members of a data set that are kept one by one; if there are more, the whole data set is tried again."""
LONGEST_HEADERS = 64 * 1024
"""The most bytes that the headers of a member take: they hold two paths."""


class Extractable(Protocol):
    """A data set, or a part of it, to be restored from one volume."""

    @property
    def source(self) -> str:
        """The data set's source."""

    @property
    def part(self) -> str:
        """The path of the incomplete data set on disk, "" if there is none."""

    def end(self) -> None:
        """Give the data set its name, since all of it is on disk. Raises Obstacle, HostError."""


class Extract(NamedTuple):
    """Members of one data set to be restored from a volume: those that ``members`` yields, in tape order.

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
        """Return the extract of the ``lost`` members alone, to be tried on another copy."""
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
    """The result of restoring from one volume; ``bytes`` and ``locates`` count the drive's work.

    ``is_postponed`` says that its label cannot be read, and that the other copies must be tried first.
    """

    extracted: list[Extracted] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    bytes: int = 0
    locates: int = 0
    is_postponed: bool = False

    @property
    def is_blind(self) -> bool:
        """Whether the drive could read nothing at all: then the drive may be at fault, and not the volume."""
        return bool(self.findings) and not self.bytes and all(isinstance(item, ReadFailed) for item in self.findings)


def check_label(drive: Drive, volume: VolumeTag, uuid: str) -> Finding | None:
    """Return what is wrong with the label of the rewound volume in ``drive``, None if it is the right one (R9).

    WrongVolume if it is the label of another volume, HeaderDamaged if the first block is no label, ReadFailed if the
    drive cannot read it.
    """
    buffer = memoryview(bytearray(MAXIMUM_BLOCK))
    try:
        size = drive.read_block(buffer)
        label = read_label(bytes(buffer[: size if isinstance(size, int) else 0]), volume)
    except DriveError as error:
        return ReadFailed(volume, 0, offset=0, found=str(error))
    except FormatError as error:
        return HeaderDamaged(volume, 0, expected=f"{volume} {uuid}", found=error.reason)
    if (label.volume_tag, label.volume_uuid) == (volume, uuid):
        return None
    return WrongVolume(volume, 0, expected=f"{volume} {uuid}", found=f"{label.volume_tag} {label.volume_uuid}")


class Layout(NamedTuple):
    """Where tape files begin on one volume, as logical objects: each has its blocks, and a filemark after them.

    The last of ``begins`` is the end of data.
    """

    volume: VolumeTag
    block_size: int
    begins: tuple[int, ...]

    def address(self, tape_file: int, offset: int) -> int:
        """Return the logical object in which the byte at ``offset`` of a tape file lies.

        An offset beyond the end gives the filemark, an unknown tape file the end of data: with wrong figures from a
        ledger, no drive is sent elsewhere.
        """
        if not 0 <= tape_file < len(self.begins) - 1:
            return self.begins[-1]
        first, last = self.begins[tape_file], self.begins[tape_file + 1] - 1
        return min(max(first + offset // self.block_size, first), last)


def lay_out(volume: VolumeTag, block_size: int, label: TapeFile, tape_files: Sequence[TapeFile]) -> Layout:
    """Return where the tape files of a volume begin (R10)."""
    begins = [0]
    for item in (label, *tape_files):
        begins.append(begins[-1] + item.size // block_size + 1)
    return Layout(volume, block_size, tuple(begins))


def restore_extracts(
    layout: Layout, extracts: Sequence[Extract], drive: Drive, *, memory: int, tell: Tell, stop: Stop
) -> Extraction:
    """Restore ``extracts``, in tape order, from the volume in ``drive``; return the result of each.

    ``memory`` bounds the blocks read ahead, in bytes. Raises Interrupted when asked to stop, HostError if the disk
    cannot be written.
    """
    spans: list[Span] = []
    for extract in extracts:
        start = layout.address(extract.tape_file, extract.begin)
        end = max(layout.address(extract.tape_file, extract.stop - 1), start) + 1
        start = max(start, spans[-1].stop) if spans else start  # a block that two data sets share is read once
        if start < end:
            spans.append(Span(start, end))
    extraction = Extraction()
    block_size, volume = layout.block_size, layout.volume
    with BlockAhead(drive, spans, block_size=block_size, memory=memory, volume=volume, tell=tell) as ahead:
        for extract in extracts:
            # Between two data sets the first request to stop is enough: what is restored so far stays.
            if stop.soon:
                raise Interrupted("stopped; run the same command again to continue")
            extractor = _Extractor(layout, extract, ahead, stop)
            extraction.extracted.append(extractor.run())
            extraction.findings += extractor.findings[: MOST_FINDINGS - len(extraction.findings)]
            extraction.bytes, extraction.locates = ahead.bytes, ahead.locates
    return extraction


class _Extractor:
    """One data set on its way from a volume to disk.

    Members are expected in tape order (``_next``). Only blocks in which one of them lies are read and scanned: after
    each member the scanner is given up, and a new one starts where the next member begins.
    """

    def __init__(self, layout: Layout, extract: Extract, ahead: BlockAhead, stop: Stop) -> None:
        self.findings: list[Finding] = []
        self._layout, self._extract = layout, extract
        self._ahead, self._stop = ahead, stop
        self._members = extract.members()
        self._next = next(self._members, None)
        self._lost: list[Member] = []
        self._cause: Finding | None = None  # the finding that cost the first of the lost members
        self._scanner: Scanner | None = None  # None: between two members
        self._current: _Member | None = None
        self._files = self._size = 0

    def run(self) -> Extracted:
        """Restore all members that can be had."""
        size = self._layout.block_size
        obstacle = None
        try:
            while self._current or self._next:
                self._stop.check()
                scanner = self._scanner = self._scanner or Scanner(self._next.offset if self._next else 0)
                offset = scanner.offset // size * size
                block = self._ahead.get(self._layout.address(self._extract.tape_file, offset))
                if isinstance(block, Unreadable):
                    self._skip(offset, offset + size, block.reason)
                else:
                    self._scan(scanner, block[scanner.offset - offset :])
        except Obstacle as error:
            obstacle = error
        finally:
            self._drop()
        lost = Lost(self._cause, partial(self._extract.again, self._lost)) if self._cause else None
        return Extracted(self._extract, lost, obstacle, self._files, self._size)

    def _skip(self, begin: int, end: int, reason: str) -> None:
        """Give up the members that lie between ``begin`` and ``end``, which cannot be read; not those after them."""
        name = self._current.member.name if self._current else self._next.name if self._next else b""
        self.findings.append(
            ReadFailed(self._layout.volume, self._extract.tape_file, offset=begin, member=quote(name), found=reason)
        )
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
                elif isinstance(event, MemberData) and self._current:
                    self._current.write(event.data)
                    if event.last:
                        current, self._current = self._current, None
                        self._end(current)
                if self._current is None:
                    self._scanner = None
                    return
        except ScanError as error:
            self._lose(error.reason)
            self._scanner = None
        if scanner.ended:  # zeros where a header should be: the members after them are as good as ever
            self._lose("the end of the archive")
            self._scanner = None

    def _begin(self, event: MemberBegin) -> None:
        """Match a member that begins on the tape with the one expected, header for header."""
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

    def _end(self, current: _Member) -> None:
        """Judge a file whose last byte was read."""
        if current.end():
            self._files += current.is_written
            self._size += current.member.size * current.is_written
            return
        self._find(DigestMismatch, current.member, current.member.sha256, current.found)
        # A file that was there already is right, as holds() has found: then the volume is damaged, and nothing is lost.
        if current.is_written:
            self._note_lost(current.member)

    def _lose(self, found: str) -> None:
        """Give up the next member: something else was ``found`` in the place of its headers."""
        if self._next:
            self._find(HeaderDamaged, self._next, None, found)
            self._note_lost(self._next)
            self._advance()

    def _find(self, kind: type[Finding], member: Member, expected: str | None, found: str) -> None:
        self.findings.append(
            kind(
                self._layout.volume,
                member.tape_file,
                offset=member.offset,
                member=quote(member.name),
                expected=expected,
                found=found,
            )
        )

    def _note_lost(self, member: Member) -> None:
        """Note that ``member`` cannot be had, because of the last finding."""
        self._cause = self._cause or self.findings[-1]
        if len(self._lost) < MOST_LOST:
            self._lost.append(member)

    def _advance(self) -> None:
        self._next = next(self._members, None)

    def _drop(self) -> None:
        """Remove the file that was not read to its end."""
        current, self._current = self._current, None
        if current:
            with suppress(Obstacle):
                current.drop()


class _Member:
    """One member on its way to disk; a file that is there already is read from tape and compared, and not written.

    ``found`` is the digest of what was read. Raises Obstacle, HostError, and so do the methods.
    """

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
        """Add the next piece of its data."""
        self._sha256.update(data)
        if self._md5:
            self._md5.update(data)
        if self._file:
            self._file.write(data)

    def end(self) -> bool:
        """Give the file its name if every byte is right, else remove it; return whether it is right."""
        self.found = self._sha256.hexdigest()
        good = self.found == self.member.sha256
        if good and self._md5 and self._md5.hexdigest() != self.member.md5:
            self.found, good = f"MD5 {self._md5.hexdigest()}, not {self.member.md5}", False
        file, self._file = self._file, None
        if file:
            (file.prove if good else file.drop)()
        return good

    def drop(self) -> None:
        """Remove what was written so far."""
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
