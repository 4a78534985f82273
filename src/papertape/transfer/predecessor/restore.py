"""Data sets from the predecessor's volumes back to disk.

The tape says in which archive a data set is, and not where in it: an archive is read from its begin until all that is
wanted was met. What proves a data set is the MD5 of its ``visdata``, or of itself where it is a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Literal

from papertape.errors import DriveError, Interrupted, Obstacle
from papertape.events import Moved, Tell
from papertape.evidence import (
    BlockSizeMismatch,
    DigestMismatch,
    FileMissing,
    Finding,
    HeaderDamaged,
    ReadFailed,
    WrongVolume,
)
from papertape.tape.drive import Drive, Mark
from papertape.transfer.destination import NewFile, Restoration, Wanted
from papertape.transfer.predecessor.verify import ROOM, VISDATA
from papertape.transfer.restore import Extracted, Extraction, Lost
from papertape.transfer.stop import Stop
from papertape.volume.header import DIRECTORY, FILE, LINK
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.names import quote
from papertape.volume.predecessor.archive import PredecessorMember, PredecessorScanner
from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK, LONGEST_CATALOG, digest_catalog
from papertape.volume.tapefile import MemberData, ScanError


@dataclass
class PredecessorExtract:
    """One data set to be taken from tape file ``tape_file``; ``name`` is its ``host:/path`` there.

    ``begin`` starts its way back, once it is known whether it is a file or a directory: then that is ``restoration``.
    ``cause`` is the finding that cost it, where it is lost.
    """

    source: str
    tape_file: int
    name: bytes
    md5: str
    begin: Callable[[str], Restoration]
    restoration: Restoration | None = None
    lost: bool = True
    cause: Finding | None = None
    obstacle: Obstacle | None = None
    files: int = 0
    size: int = 0

    @property
    def part(self) -> str:
        """See ``Restoration.part``."""
        return self.restoration.part if self.restoration else ""

    def end(self) -> None:
        """See ``Extractable.end``."""
        if self.restoration:
            self.restoration.end()

    def again(self) -> PredecessorExtract:
        """Return the extract anew, with nothing on disk: what no MD5 proves comes from one copy or from the other."""
        if self.restoration:
            self.restoration.discard()
        return PredecessorExtract(self.source, self.tape_file, self.name, self.md5, self.begin)


def holds_predecessor(extract: PredecessorExtract) -> bool:
    """Tell whether a data set is in the destination already; raises Obstacle if something else is."""
    directory = extract.begin(DIRECTORY)
    if directory.is_staged:
        return False
    wanted = Wanted("md5", extract.md5)
    if directory.is_directory:
        return directory.holds(VISDATA, FILE, wanted)
    return extract.begin(FILE).holds(b"", FILE, wanted)


def restore_predecessor(
    volume: str, digest: str, extracts: Sequence[PredecessorExtract], drive: Drive, *, tell: Tell, stop: Stop
) -> Extraction:
    """Restore ``extracts``, ordered by tape file, from the rewound volume in ``drive``; each says what became of it.

    ``digest`` is that of the catalog that the volume must have. Raises Interrupted, HostError.
    """
    way = _Way(volume, drive, tell, stop)
    with suppress(_Over):
        way.check_catalog(digest)
        for tape_file, wanted in groupby(extracts, attrgetter("tape_file")):
            way.restore(tape_file, list(wanted))
    for item in extracts:
        cause = item.cause or way.ended_by or FileMissing(volume, item.tape_file, member=item.source)
        lost = Lost(cause, item.again) if item.lost and not item.obstacle else None
        way.extraction.extracted.append(Extracted(item, lost, item.obstacle, item.files, item.size))
    return way.extraction


class _Over(Exception):
    """Nothing more can be had from this volume."""


class _Way:
    """The reading of one volume; ``ended_by`` is the finding after which nothing more was read from it."""

    def __init__(self, volume: str, drive: Drive, tell: Tell, stop: Stop) -> None:
        self.extraction = Extraction()
        self.ended_by: Finding | None = None
        self._volume, self._drive = volume, drive
        self._tell, self._stop = tell, stop
        self._buffer = memoryview(bytearray(MAXIMUM_BLOCK))
        self._tape_file = 0

    def check_catalog(self, digest: str) -> None:
        """Read tape file 0; raises _Over if it is not the catalog of this dump."""
        content = bytearray()
        while not isinstance(block := self._read(MAXIMUM_BLOCK), Mark) and len(content) <= LONGEST_CATALOG:
            content += block
        self._tape_file = 1
        if digest_catalog(bytes(content)) != digest:
            found = f"one that begins {quote(bytes(content[:60]))}"
            self._end(WrongVolume(self._volume, 0, expected="the catalog of its dump", found=found))

    def restore(self, tape_file: int, extracts: list[PredecessorExtract]) -> None:
        """Restore what is wanted of one archive."""
        if self._stop.soon:
            raise Interrupted("stopped; the same command again goes on where this one stopped")
        if tape_file > self._tape_file:
            self.extraction.locates += 1
            self._space(tape_file - self._tape_file)
            self._tape_file = tape_file
        archive = _Archive(self._volume, tape_file, extracts, self.extraction.findings)
        try:
            while not archive.is_over:
                block = self._read(ROOM)
                if isinstance(block, Mark):
                    self._tape_file += 1
                    break
                if len(block) != ARCHIVE_BLOCK:
                    sizes = (f"{ARCHIVE_BLOCK} bytes", f"{len(block)} bytes")
                    self._end(BlockSizeMismatch(self._volume, tape_file, None, None, *sizes))
                archive.take(block)
        finally:
            archive.end(self.ended_by)

    def _space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        try:
            self._drive.space(filemarks)
        except DriveError as error:
            self._end(ReadFailed(self._volume, self._tape_file, found=str(error)))

    def _read(self, room: int) -> memoryview | Mark:
        self._stop.check()
        try:
            size = self._drive.read_block(self._buffer[:room])
        except DriveError as error:
            self._end(ReadFailed(self._volume, self._tape_file, found=str(error)))
        if isinstance(size, Mark):
            return size
        self.extraction.bytes += size
        self._tell(Moved(volume=self._volume, drive=self._drive.number, count=size))
        return self._buffer[:size]

    def _end(self, finding: Finding) -> None:
        self.extraction.findings.append(finding)
        self.ended_by = finding
        raise _Over


class _Archive:
    """One archive, and what is wanted of it; ``findings`` gets what is wrong."""

    def __init__(
        self, volume: str, tape_file: int, extracts: list[PredecessorExtract], findings: list[Finding]
    ) -> None:
        self._volume, self._tape_file = volume, tape_file
        self._findings = findings
        self._wanted = {extract.name: extract for extract in extracts}
        self._scanner = PredecessorScanner(tape_file - 1)
        self._ended_by: Finding | None = None
        self._current: _Item | None = None

    @property
    def is_over(self) -> bool:
        """Whether all that is wanted was met."""
        return not self._wanted and self._current is None

    def take(self, block: memoryview) -> None:
        """Take the next block."""
        events = self._scanner.feed(block)
        while True:
            try:
                for event in events:
                    if isinstance(event, PredecessorMember):
                        self._begin(event)
                    elif isinstance(event, MemberData) and self._current:
                        self._act(partial(_Item.write, event=event))
            except ScanError as error:
                self._damage(error)
                events = self._scanner.feed_again()
            else:
                return

    def end(self, ended_by: Finding | None) -> None:
        """The archive is over, or nothing more can be had from it because of ``ended_by``."""
        self._ended_by = ended_by
        self._leave(whole=self._scanner.complete)
        for extract in self._wanted.values():
            self._find(FileMissing, extract, None, "none")

    def _begin(self, member: PredecessorMember) -> None:
        if self._current is None or not self._current.owns(member.name):
            self._leave(whole=True)
            name = next((way for way in _ways(member.name) if way in self._wanted), None)
            self._current = _Item(self._wanted.pop(name)) if name is not None else None
        if self._current:
            self._act(partial(_Item.begin, member=member))

    def _act(self, act: Callable[[_Item], None]) -> None:
        """Do something with the current data set; what is in its way on disk is noted on it."""
        item = self._current
        if item is None or item.extract.obstacle:
            return
        try:
            act(item)
        except Obstacle as error:
            item.extract.obstacle = error

    def _damage(self, error: ScanError) -> None:
        """A header is damaged: of the data set under way nobody knows now whether it is whole."""
        if self._current:
            self._current.damaged = True
            self._find(HeaderDamaged, self._current.extract, None, error.reason, error.offset)

    def _leave(self, *, whole: bool) -> None:
        """All members of the current data set were met; it is ``whole`` if the archive did not end in it."""
        item, self._current = self._current, None
        if item is None:
            return
        item.drop()
        extract = item.extract
        if extract.obstacle:
            return
        extract.lost = item.damaged or not whole or item.found != extract.md5
        if extract.lost and not item.damaged:
            self._find(DigestMismatch if item.found else FileMissing, extract, extract.md5, item.found or "none")

    def _find(
        self,
        kind: type[Finding],
        extract: PredecessorExtract,
        expected: str | None,
        found: str,
        offset: int | None = None,
    ) -> None:
        finding = kind(
            self._volume, self._tape_file, offset=offset, member=extract.source, expected=expected, found=found
        )
        self._findings.append(finding)
        extract.cause = extract.cause or self._ended_by or finding


def _ways(name: bytes) -> list[bytes]:
    """Return a name and those of all folders around it, the longest first."""
    parts = name.split(b"/")
    return [b"/".join(parts[:count]) for count in range(len(parts), 0, -1)]


class _Item:
    """A data set whose members come now; ``found`` is the MD5 of what proves it, once that was read."""

    def __init__(self, extract: PredecessorExtract) -> None:
        self.extract = extract
        self.damaged = False
        self.found = ""
        self._file: NewFile | None = None
        self._hash: hashlib._Hash | None = None

    def owns(self, name: bytes) -> bool:
        """Whether the member belongs to the data set."""
        return name == self.extract.name or name.startswith(self.extract.name + b"/")

    def begin(self, member: PredecessorMember) -> None:
        """A member begins; raises Obstacle."""
        self.drop()
        extract = self.extract
        relative = member.name[len(extract.name) + 1 :]
        if extract.restoration is None:
            extract.restoration = extract.begin(FILE if member.kind == FILE and not relative else DIRECTORY)
        proof = relative in {b"", VISDATA} and member.kind == FILE
        self._hash = hashlib.md5(usedforsecurity=False) if proof else None
        self._make(extract.restoration, relative, member)

    def _make(self, restoration: Restoration, relative: bytes, member: PredecessorMember) -> None:
        if member.kind == DIRECTORY:
            restoration.holds(relative, DIRECTORY)
            restoration.make_directory(relative, member.attributes)
        elif member.kind == LINK:
            if not restoration.holds(relative, LINK):
                restoration.make_link(relative, member.attributes)
        elif member.kind == FILE:
            wanted = Wanted("md5", self.extract.md5, member.size) if self._hash else None
            if not restoration.holds(relative, FILE, wanted):
                self._file = restoration.make_file(relative, member.attributes)
        else:
            raise Obstacle(self.extract.source, f"{quote(relative)} is a {member.kind}, which is not restored")

    def write(self, event: MemberData) -> None:
        """Take the next piece of the member's data."""
        if self._hash:
            self._hash.update(event.data)
        if self._file:
            self._file.write(event.data)
            self.extract.size += len(event.data)
        if event.last:
            self._end()

    def _end(self) -> None:
        good = True
        if self._hash:
            self.found = self._hash.hexdigest()
            good = self.found == self.extract.md5
        file, self._file = self._file, None
        if file:
            (file.prove if good else file.drop)()
            self.extract.files += good

    def drop(self) -> None:
        """Take away what was not read to its end."""
        file, self._file = self._file, None
        if file:
            file.drop()
