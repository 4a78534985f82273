"""Restores data sets from the predecessor's volumes to disk.

The catalog says in which archive a data set is, but not where in it: an archive is read from its start until everything
wanted was found. A data set is proven by the MD5 of its ``visdata``, or, if it is a file, by its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter

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
from papertape.ids import VolumeTag
from papertape.tape.drive import Drive, Mark
from papertape.transfer.destination import NewFile, Restoration, Wanted
from papertape.transfer.predecessor.verify import ROOM, VISDATA
from papertape.transfer.restore import Extracted, Extraction, Lost
from papertape.transfer.stop import Stop
from papertape.volume.header import DIRECTORY, FILE, LINK
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.names import quote
from papertape.volume.predecessor.archive import PredecessorMember, PredecessorScanner
from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK, LONGEST_CATALOG, digest_catalog, enclosing
from papertape.volume.tapefile import MemberData, ScanError


@dataclass
class PredecessorExtract:
    """One data set to restore from tape file ``tape_file``; ``name`` is its ``host:/path`` there.

    ``begin`` takes FILE or DIRECTORY, once the tape shows which it is, and returns the ``restoration``. ``cause`` is
    the finding that cost it, if it is ``lost``. ``files`` and ``size`` (bytes) count what was written to disk.
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
        """Return the same extract with nothing on disk, for the other copy."""
        # No MD5 proves most files of a directory: all of them must come from the same copy as the proven one.
        if self.restoration:
            self.restoration.discard()
        return PredecessorExtract(
            source=self.source, tape_file=self.tape_file, name=self.name, md5=self.md5, begin=self.begin
        )


def holds_predecessor(extract: PredecessorExtract) -> bool:
    """Whether a data set is in the destination already; raises Obstacle if something else is in its place."""
    directory = extract.begin(DIRECTORY)
    if directory.is_staged:
        return False
    wanted = Wanted("md5", extract.md5)
    if directory.is_directory:
        return directory.holds(VISDATA, FILE, wanted)
    return extract.begin(FILE).holds(b"", FILE, wanted)


def restore_predecessor(
    volume: VolumeTag, digest: str, extracts: Sequence[PredecessorExtract], drive: Drive, *, tell: Tell, stop: Stop
) -> Extraction:
    """Restore ``extracts``, ordered by tape file, from the rewound volume in ``drive``; the result covers each of them.

    ``digest`` is the SHA-256 that the text of the volume's catalog must have. Raises Interrupted, HostError.
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
    """Nothing more can be read from this volume."""


class _Way:
    """The reading of one volume; ``ended_by`` is the finding after which nothing more was read from it."""

    def __init__(self, volume: VolumeTag, drive: Drive, tell: Tell, stop: Stop) -> None:
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
        """Restore the ``extracts`` from one archive."""
        if self._stop.soon:
            raise Interrupted("stopped; run the same command again to continue")
        if tape_file > self._tape_file:
            self.extraction.locates += 1
            try:
                self._drive.space(tape_file - self._tape_file)
            except DriveError as error:
                self._end(ReadFailed(self._volume, self._tape_file, found=str(error)))
            self._tape_file = tape_file
        archive = _Archive(self._volume, tape_file, extracts, self.extraction.findings)
        try:
            while not archive.is_over:
                block = self._read(ROOM)
                if isinstance(block, Mark):
                    self._tape_file += 1
                    break
                if len(block) != ARCHIVE_BLOCK:
                    expected, found = f"{ARCHIVE_BLOCK} bytes", f"{len(block)} bytes"
                    self._end(BlockSizeMismatch(self._volume, tape_file, expected=expected, found=found))
                archive.take(block)
        finally:
            # Also when the reading is given up: data sets that were not found must be reported.
            archive.end(self.ended_by)

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
    """One archive, and the ``extracts`` wanted from it; adds to ``findings``."""

    def __init__(
        self, volume: VolumeTag, tape_file: int, extracts: list[PredecessorExtract], findings: list[Finding]
    ) -> None:
        self._volume, self._tape_file = volume, tape_file
        self._findings = findings
        self._wanted = {extract.name: extract for extract in extracts}
        self._scanner = PredecessorScanner(tape_file - 1)
        self._ended_by: Finding | None = None
        self._current: _Item | None = None

    @property
    def is_over(self) -> bool:
        """Whether everything wanted was found."""
        return not self._wanted and self._current is None

    def take(self, block: memoryview) -> None:
        """Scan the next block."""
        events = self._scanner.feed(block)
        while True:
            try:
                for event in events:
                    if isinstance(event, PredecessorMember):
                        self._begin(event)
                    elif isinstance(event, MemberData) and self._current:
                        self._act(partial(_Item.write, event=event))
            except ScanError as error:
                # Nobody knows now whether the data set that was being read is complete.
                if self._current:
                    self._current.damaged = True
                    self._find(HeaderDamaged, self._current.extract, None, error.reason, error.offset)
                events = self._scanner.feed_again()
            else:
                return

    def end(self, ended_by: Finding | None) -> None:
        """The archive has ended, or nothing more can be read from it because of ``ended_by``."""
        self._ended_by = ended_by
        self._leave(whole=self._scanner.complete)
        for extract in self._wanted.values():
            self._find(FileMissing, extract, None, "none")

    def _begin(self, member: PredecessorMember) -> None:
        if self._current is None or not self._current.owns(member.name):
            self._leave(whole=True)
            # A folder around the member is looked for as well: the header of a directory may be damaged.
            name = next((folder for folder in enclosing(member.name) if folder in self._wanted), None)
            self._current = _Item(self._wanted.pop(name)) if name is not None else None
        if self._current:
            self._act(partial(_Item.begin, member=member))

    def _act(self, act: Callable[[_Item], None]) -> None:
        """Call ``act`` with the current data set, and keep an Obstacle that it raises."""
        item = self._current
        if item is None or item.extract.obstacle:
            return
        try:
            act(item)
        except Obstacle as error:
            item.extract.obstacle = error

    def _leave(self, *, whole: bool) -> None:
        """All members of the current data set were read; it is ``whole`` if the archive did not end inside it."""
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


class _Item:
    """The data set whose members come now; ``found`` is the MD5 of the file that proves it, once it was read."""

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
        """A member starts; raises Obstacle if something on disk is in its way, or if it cannot be restored."""
        self.drop()
        extract = self.extract
        relative = member.name[len(extract.name) + 1 :]
        if extract.restoration is None:
            extract.restoration = extract.begin(FILE if member.kind == FILE and not relative else DIRECTORY)
        proof = relative in {b"", VISDATA} and member.kind == FILE
        self._hash = hashlib.md5(usedforsecurity=False) if proof else None
        restoration = extract.restoration
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
        """Write the next piece of the member's data."""
        if self._hash:
            self._hash.update(event.data)
        if self._file:
            self._file.write(event.data)
            self.extract.size += len(event.data)
        if event.last:
            if self._hash:
                self.found = self._hash.hexdigest()
            file = self._file
            if file and (not self._hash or self.found == self.extract.md5):
                self._file = None  # first: if prove() raises, there is nothing left to drop
                file.prove()
                self.extract.files += 1
            else:
                self.drop()

    def drop(self) -> None:
        """Remove the file that was not read to its end, or is not the proven one."""
        file, self._file = self._file, None
        if file:
            file.drop()
