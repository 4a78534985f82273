"""Reading the predecessor's volumes back whole: straight through, once, each data set held against the catalog's MD5.

The tape has no digest of anything but what the lab declared: a file, or the ``visdata`` of a directory. The other
members of a directory are read, and must be there as a tar, but nobody knows what their bytes were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from papertape.errors import FormatError, PapertapeError
from papertape.events import Note, Tell
from papertape.evidence import (
    BlockSizeMismatch,
    CatalogInvalid,
    DigestMismatch,
    FileMissing,
    Finding,
    HeaderDamaged,
    TruncatedVolume,
    UnexpectedData,
    UnexpectedFile,
    WrongVolume,
)
from papertape.tape.drive import Drive, Mark
from papertape.transfer.stop import Stop
from papertape.transfer.verify import VolumeReading
from papertape.volume.header import DIRECTORY, FILE
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.names import quote
from papertape.volume.predecessor.archive import (
    HARD_LINK,
    SPECIAL,
    PredecessorEvent,
    PredecessorListing,
    PredecessorMember,
    PredecessorScanner,
)
from papertape.volume.predecessor.catalog import (
    ARCHIVE_BLOCK,
    CATALOG_BLOCK,
    LONGEST_CATALOG,
    PredecessorCatalog,
    PredecessorItem,
    digest_catalog,
    is_predecessor,
    parse_predecessor_catalog,
    read_predecessor_heading,
)
from papertape.volume.tapefile import MemberData, ScanError
from papertape.words import enumerate_names

PIECE = 1024 * 1024
"""Bytes that are read before they are looked at: with 10 KiB at a time two threads would wait for each other."""

ROOM = 128 * 1024
"""Bytes offered for one block of an archive: a longer request costs the driver time, however short the block is."""

VISDATA = b"visdata"


class PredecessorReading(VolumeReading):
    """A volume of the predecessor's, held against ``catalog``, or else against the one that is on it.

    ``total`` is the number of bytes that lie on it, where somebody knows. ``digest`` is the SHA-256 that a catalog
    found on the volume must have, "" for any. Once ``run`` has returned, ``catalog`` is the one found on the volume;
    None if none was given, and none could be read.
    """

    def __init__(
        self,
        tag: str,
        catalog: PredecessorCatalog | None,
        drive: Drive,
        tell: Tell,
        stop: Stop,
        total: int = 0,
        digest: str = "",
    ) -> None:
        super().__init__(tag, total, drive, tell, stop)
        self.catalog = catalog
        self._digest = digest
        self._room = memoryview(bytearray(PIECE + MAXIMUM_BLOCK))

    def read_all(self) -> None:
        """See ``VolumeReading.read_all``."""
        self.catalog = catalog = self._read_catalog()
        for items in catalog.archives():
            self._tape_file = items[0].tape_index + 1
            ArchiveReading(self, items, catalog.job).run()
        if self._read(self._room) is not Mark.END_OF_DATA:
            self._note(UnexpectedData(self.tag, self._tape_file + 1))

    def pieces(self, block_size: int) -> Iterator[memoryview | Mark]:
        """Yield the tape file that comes, many blocks at a time, each piece valid until the next; the mark at its end.

        What lies before a block that cannot be read, or is not of ``block_size`` bytes, is yielded before that tells.
        """
        offset = 0
        while True:
            filled, end = self._fill(block_size, offset)
            offset += filled
            if filled:
                self._count(filled)
                yield self._room[:filled]
            if isinstance(end, Exception):
                raise end
            if isinstance(end, Finding):
                self.find(end)
                self.give_up()
            if end is not None:
                yield end
                return

    def _fill(self, block_size: int, offset: int) -> tuple[int, Mark | Finding | PapertapeError | None]:
        """Read the blocks of a piece; return how many bytes they are, and what came in place of another one."""
        filled = 0
        while filled < PIECE:
            room = ROOM if self._tape_file else MAXIMUM_BLOCK
            try:
                size = self._read(self._room[filled : filled + room])
            except PapertapeError as error:
                return filled, error
            if isinstance(size, Mark):
                return filled, size
            if size != block_size:
                return filled, self._refuse(self._room[filled : filled + size], block_size, offset + filled)
            filled += size
        return filled, None

    def _refuse(self, block: memoryview, block_size: int, offset: int) -> Finding:
        """Return what a block of the wrong length tells."""
        if not self._tape_file and not offset and not is_predecessor(block):
            return self._foreign()
        sizes = (f"{block_size} bytes", f"{len(block)} bytes")
        return BlockSizeMismatch(self.tag, self._tape_file, offset, None, *sizes)

    def _foreign(self) -> Finding:
        found = "something that does not begin as those do"
        return WrongVolume(self.tag, 0, expected="a volume of the predecessor's", found=found)

    def _read_catalog(self) -> PredecessorCatalog:
        """Read tape file 0; return the catalog to hold the archives against."""
        content = self._read_text()
        if not is_predecessor(content):
            self._end_with(self._foreign())
        if self.catalog is not None:
            self._compare(self.catalog, content)
            return self.catalog
        found = digest_catalog(content)
        if self._digest and found != self._digest:
            self._end_with(WrongVolume(self.tag, 0, expected=f"catalog {self._digest}", found=f"catalog {found}"))
        try:
            return parse_predecessor_catalog(content, self.tag)
        except FormatError as error:
            self._end_with(CatalogInvalid(self.tag, 0, found=error.reason))

    def _read_text(self) -> bytes:
        content = bytearray()
        for piece in self.pieces(CATALOG_BLOCK):
            if piece is Mark.END_OF_DATA:
                found = f"the end of data behind {len(content)} bytes"
                self._end_with(TruncatedVolume(self.tag, 0, len(content), expected="a filemark", found=found))
            if isinstance(piece, memoryview):
                content += piece
            if len(content) > LONGEST_CATALOG:
                found = f"more than {LONGEST_CATALOG} bytes"
                self._end_with(CatalogInvalid(self.tag, 0, expected="a catalog", found=found))
        return bytes(content)

    def _compare(self, catalog: PredecessorCatalog, content: bytes) -> None:
        """Hold tape file 0 against the catalog given; the archives are worth reading if it is of the same dump."""
        heading = read_predecessor_heading(content)
        if heading != catalog.heading:
            found = f"dump {heading.job} of {heading.written}" if heading else "a heading that cannot be read"
            expected = f"dump {catalog.job} of {catalog.written}"
            self._end_with(WrongVolume(self.tag, 0, expected=expected, found=found))
        if digest_catalog(content) != catalog.sha256:
            self.find(CatalogInvalid(self.tag, 0, expected=catalog.sha256, found=digest_catalog(content)))

    def _end_with(self, finding: Finding) -> NoReturn:
        self.find(finding)
        self.give_up()

    def count_item(self) -> None:
        """Take note of a data set that was read and found equal."""
        self._files += 1

    def note(self, sentence: str) -> None:
        """Tell the operator something that is no finding."""
        self._tell(Note(sentence=f"{self.tag}: {sentence}"))


@dataclass
class _Current:
    """The data set whose members come now; ``settled`` once its digest was compared."""

    item: PredecessorItem
    name: bytes
    directory: bool = False
    settled: bool = False

    def owns(self, name: bytes) -> bool:
        """Whether the member ``name`` belongs to the data set."""
        return name == self.name or name.startswith(self.name + b"/")

    def is_proof(self, member: PredecessorMember) -> bool:
        """Whether ``member`` is the file that the data set's MD5 is of."""
        return member.kind == FILE and member.name in {self.name, self.name + b"/" + VISDATA}


class ArchiveReading:
    """One archive of a volume, held against its ``items`` in the catalog of ``job``."""

    def __init__(self, reading: PredecessorReading, items: Sequence[PredecessorItem], job: str) -> None:
        self._reading = reading
        self._items = items
        self._job = job
        self._number = items[0].tape_index + 1
        self._scanner = PredecessorScanner(items[0].tape_index)
        self._wanted = {item.name: item for item in items}  # those not met yet
        self._parents = _find_parents(self._wanted)
        self._current: _Current | None = None
        self._odd: bytes | None = None  # what was found to belong to no data set, last
        self._damage: ScanError | None = None  # what was damaged since the last member
        self._hash: hashlib._Hash | None = None
        self._list_hash = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def run(self) -> None:
        """Read up to the filemark that ends the archive."""
        for piece in self._reading.pieces(ARCHIVE_BLOCK):
            if isinstance(piece, Mark):
                self._finish(piece)
            else:
                self._size += len(piece)
                self._scan(piece)

    def _find(
        self,
        kind: type[Finding],
        item: PredecessorItem | None = None,
        *,
        offset: int | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        source = item.source if item else None
        self._reading.find(kind(self._reading.tag, self._number, offset, source, expected, found))

    def _scan(self, piece: memoryview) -> None:
        events = self._scanner.feed(piece)
        while True:
            try:
                for event in events:
                    self._take(event)
            except ScanError as error:
                self._lose(error)
                events = self._scanner.feed_again()
            else:
                return

    def _take(self, event: PredecessorEvent) -> None:
        if isinstance(event, MemberData):
            if self._hash is not None:
                self._hash.update(event.data)
                if event.last:
                    self._settle(self._hash.hexdigest())
        elif isinstance(event, PredecessorMember):
            self._begin(event)
        elif isinstance(event, PredecessorListing):
            self._take_list(event)
        else:
            self._find(UnexpectedFile, offset=event.offset, found=quote(event.name))

    def _begin(self, member: PredecessorMember) -> None:
        """A member of the inner tar begins: it belongs to the current data set, or to one that was not met yet."""
        self._hash = None
        if self._current is None or not self._current.owns(member.name):
            self._leave()
            self._current = self._look_up(member.name)
        self._tell_damage(member)
        current = self._current
        if current is None:
            self._meet_stray(member)
        elif member.kind in {HARD_LINK, SPECIAL} or (current.settled and current.is_proof(member)):
            found = f"{quote(member.name)}, a {member.kind if member.kind != FILE else 'second one'}"
            self._find(UnexpectedFile, current.item, offset=member.offset, found=found)
        else:
            current.directory |= member.kind == DIRECTORY or member.name != current.name
            if current.is_proof(member):
                self._hash = hashlib.md5(usedforsecurity=False)

    def _look_up(self, name: bytes) -> _Current | None:
        """Return the data set that a member belongs to, also where the header of its directory was lost."""
        way = name
        while way:
            item = self._wanted.pop(way, None)
            if item is not None:
                return _Current(item, way)
            way = way.rpartition(b"/")[0]
        return None

    def _meet_stray(self, member: PredecessorMember) -> None:
        """A member belongs to no data set; of a folder that belongs to none the topmost is told."""
        name, odd = member.name, self._odd
        if member.kind == DIRECTORY and name in self._parents:
            return
        if odd is None or not (name == odd or name.startswith(odd + b"/")):
            self._odd = name
            self._find(UnexpectedFile, offset=member.offset, found=quote(name))

    def _settle(self, found: str) -> None:
        """The file that the current data set's MD5 is of was read."""
        self._hash = None
        current = self._current
        if current is None:
            return
        current.settled = True
        if found == current.item.md5:
            self._reading.count_item()
        else:
            self._find(DigestMismatch, current.item, expected=current.item.md5, found=found)

    def _leave(self) -> None:
        """All members of the current data set were met."""
        current, self._current = self._current, None
        if current is not None and not current.settled:
            what = f"its {VISDATA.decode()}" if current.directory else "a regular file"
            self._find(FileMissing, current.item, expected=what, found="none")

    def _lose(self, error: ScanError) -> None:
        """What stands where a header must be is none; the scanner goes on at the next one that it finds."""
        self._hash = None
        self._tell_damage(None)
        self._damage = error

    def _tell_damage(self, member: PredecessorMember | None) -> None:
        """Tell what was damaged before ``member``, and whose it is where that is sure.

        It is the current data set's, unless ``member`` is its first one: then it may be the end of the one before.
        """
        error, self._damage = self._damage, None
        if error is not None:
            current = self._current if member else None
            item = current.item if current and member and member.name != current.name else None
            self._find(HeaderDamaged, item, offset=error.offset, found=error.reason)

    def _take_list(self, event: PredecessorListing) -> None:
        self._list_hash.update(event.data)
        if event.last:
            found, self._list_hash = self._list_hash.hexdigest(), hashlib.md5(usedforsecurity=False)
            lines = (b"%d:%d:%b\n" % (item.tape_index, item.archive_index, item.name) for item in self._items)
            expected = hashlib.md5(b"".join(lines), usedforsecurity=False).hexdigest()
            if found != expected:
                name = f"paper.{self._scanner.jobs[0]}.{self._number - 1}.file_list"
                where = (self._reading.tag, self._number, None, name)
                self._reading.find(DigestMismatch(*where, expected, found))

    def _finish(self, mark: Mark) -> None:
        """The archive is over: nothing may be missing."""
        if mark is Mark.END_OF_DATA or not self._scanner.complete:
            item = self._current.item if self._current else None
            self._find(TruncatedVolume, item, offset=self._size, expected="the end of the archive", found=mark.value)
        self._leave()
        self._tell_damage(None)
        for item in self._wanted.values():
            self._find(FileMissing, item)
        self._tell_jobs()
        if mark is Mark.END_OF_DATA:
            self._reading.give_up()

    def _tell_jobs(self) -> None:
        others = [job for job in self._scanner.jobs if job != self._job]
        if others:
            self._reading.note(
                f"tape file {self._number} has the job number {enumerate_names(others)} inside, its catalog {self._job}"
                "; such volumes are known, and nothing is wrong with it"
            )


def _find_parents(names: dict[bytes, PredecessorItem]) -> frozenset[bytes]:
    """Return the directories above the data sets: the oldest dumps have them in their archives."""
    parents = {b""}
    for name in names:
        way = name.rpartition(b"/")[0]
        while way not in parents:
            parents.add(way)
            way = way.rpartition(b"/")[0]
    return frozenset(parents)
