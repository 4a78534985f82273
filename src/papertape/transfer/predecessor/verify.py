"""Reads the predecessor's volumes back whole, from start to end: each data set is compared with its MD5 in the catalog.

The tape has digests only of the files for which the lab declared one: a data set that is a file, or the ``visdata`` of
a directory. All other members must be readable as a tar, but nothing proves their bytes.
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
from papertape.ids import VolumeTag
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
    enclosing,
    is_predecessor,
    parse_predecessor_catalog,
    read_predecessor_heading,
)
from papertape.volume.tapefile import MemberData, ScanError
from papertape.words import enumerate_names

PIECE = 1024 * 1024
"""Bytes that are read before they are scanned: after every 10 KiB, two drives' threads would wait for each other."""

ROOM = 128 * 1024
"""Bytes that a read of an archive asks for: a larger request costs the st driver time, however short the block is."""

VISDATA = b"visdata"


class PredecessorReading(VolumeReading):
    """The reading of a volume of the predecessor's, compared with ``catalog``, or with the one on tape if it is None.

    ``total`` is the number of bytes on the volume, 0 if it is not known. ``digest`` is the SHA-256 that the catalog on
    tape must have, "" for any. After ``run``, ``catalog`` is the one that the archives were compared with; None if
    there was none.
    """

    def __init__(
        self,
        tag: VolumeTag,
        catalog: PredecessorCatalog | None,
        drive: Drive,
        tell: Tell,
        stop: Stop,
        *,
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
        """Yield the next tape file in pieces of many blocks, and the mark after it.

        A piece is valid until the next one. Raises PapertapeError if a block cannot be read, and ends the reading with
        a finding if one is not of ``block_size`` bytes; in both cases the blocks before it are yielded first.
        """
        offset = 0
        room = ROOM if self._tape_file else MAXIMUM_BLOCK
        end: Mark | Finding | PapertapeError | None = None
        while end is None:
            filled = 0
            while filled < PIECE and end is None:
                try:
                    size = self._read(self._room[filled : filled + room])
                except PapertapeError as error:
                    end = error
                    break
                if isinstance(size, Mark):
                    end = size
                elif size == block_size:
                    filled += size
                elif self._tape_file or offset + filled or is_predecessor(self._room[:size]):
                    end = BlockSizeMismatch(
                        self.tag,
                        self._tape_file,
                        offset=offset + filled,
                        expected=f"{block_size} bytes",
                        found=f"{size} bytes",
                    )
                else:
                    end = self._foreign()
            offset += filled
            if filled:
                self._count(filled)
                yield self._room[:filled]
        if isinstance(end, Exception):
            raise end
        if isinstance(end, Finding):
            self._end_with(end)
        yield end

    def _foreign(self) -> Finding:
        found = "something that does not start like one"
        return WrongVolume(self.tag, 0, expected="a volume of the predecessor's", found=found)

    def _read_catalog(self) -> PredecessorCatalog:
        """Read tape file 0; return the catalog to compare the archives with."""
        content = self._read_text()
        if not is_predecessor(content):
            self._end_with(self._foreign())
        found = digest_catalog(content)
        if (catalog := self.catalog) is not None:
            # The archives are worth reading if the volume is of the same dump, even if its catalog is damaged.
            heading = read_predecessor_heading(content)
            if heading != catalog.heading:
                found = f"dump {heading.job} of {heading.written}" if heading else "a heading that cannot be read"
                expected = f"dump {catalog.job} of {catalog.written}"
                self._end_with(WrongVolume(self.tag, 0, expected=expected, found=found))
            if found != catalog.sha256:
                self.find(CatalogInvalid(self.tag, 0, expected=catalog.sha256, found=found))
            return catalog
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
                found = f"the end of data after {len(content)} bytes"
                self._end_with(TruncatedVolume(self.tag, 0, offset=len(content), expected="a filemark", found=found))
            if isinstance(piece, memoryview):
                content += piece
            if len(content) > LONGEST_CATALOG:
                found = f"more than {LONGEST_CATALOG} bytes"
                self._end_with(CatalogInvalid(self.tag, 0, expected="a catalog", found=found))
        return bytes(content)

    def _end_with(self, finding: Finding) -> NoReturn:
        self.find(finding)
        self.give_up()

    def count_item(self) -> None:
        """Count a data set that was read and found equal."""
        self._files += 1

    def note(self, sentence: str) -> None:
        """Report something to the operator that is no finding."""
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
        """Whether the data set's MD5 is that of ``member``."""
        return member.kind == FILE and member.name in {self.name, self.name + b"/" + VISDATA}


class ArchiveReading:
    """The reading of one archive, compared with its ``items`` in the catalog of ``job``."""

    def __init__(self, reading: PredecessorReading, items: Sequence[PredecessorItem], job: str) -> None:
        self._reading = reading
        self._items = items
        self._job = job
        self._number = items[0].tape_index + 1
        self._scanner = PredecessorScanner(items[0].tape_index)
        self._wanted = {item.name: item for item in items}  # those that were not read yet
        # The oldest dumps have the directories above the data sets in their archives.
        self._parents = {b"", *(folder for name in self._wanted for folder in enclosing(name.rpartition(b"/")[0]))}
        self._current: _Current | None = None
        self._stray: bytes | None = None  # the last member that belongs to no data set
        self._damage: ScanError | None = None  # what was damaged since the last member
        self._hash: hashlib._Hash | None = None
        self._list_hash = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def run(self) -> None:
        """Read up to the filemark that ends the archive."""
        for piece in self._reading.pieces(ARCHIVE_BLOCK):
            if isinstance(piece, Mark):
                self._finish(piece)
                return
            self._size += len(piece)
            events = self._scanner.feed(piece)
            while True:
                try:
                    for event in events:
                        self._take(event)
                    break
                except ScanError as error:
                    # The scanner continues at the next header that it finds; the data in between cannot be compared.
                    self._hash = None
                    self._report_damage(None)
                    self._damage = error
                    events = self._scanner.feed_again()

    def _find(
        self,
        kind: type[Finding],
        item: PredecessorItem | None = None,
        *,
        offset: int | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        member = str(item.source) if item else None
        finding = kind(self._reading.tag, self._number, offset=offset, member=member, expected=expected, found=found)
        self._reading.find(finding)

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
        """A member of the inner tar starts: it belongs to the current data set, to a new one, or to none."""
        name = member.name
        self._hash = None
        if self._current is None or not self._current.owns(name):
            self._leave()
            # A folder around the member is looked for as well: the header of a directory may be damaged.
            found = next((folder for folder in enclosing(name) if folder in self._wanted), None)
            self._current = _Current(self._wanted.pop(found), found) if found is not None else None
        self._report_damage(member)
        current = self._current
        if current is None:
            is_parent = member.kind == DIRECTORY and name in self._parents
            # Of a folder of strays only the topmost is reported.
            if not is_parent and (self._stray is None or self._stray not in enclosing(name)):
                self._stray = name
                self._find(UnexpectedFile, offset=member.offset, found=quote(name))
        elif member.kind in {HARD_LINK, SPECIAL} or (current.settled and current.is_proof(member)):
            kind = "second one" if member.kind == FILE else member.kind
            self._find(UnexpectedFile, current.item, offset=member.offset, found=f"{quote(name)}, a {kind}")
        else:
            current.directory |= member.kind == DIRECTORY or name != current.name
            if current.is_proof(member):
                self._hash = hashlib.md5(usedforsecurity=False)

    def _settle(self, found: str) -> None:
        """The file that proves the current data set was read; its MD5 is ``found``."""
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
        """All members of the current data set were read."""
        current, self._current = self._current, None
        if current is not None and not current.settled:
            what = f"its {VISDATA.decode()}" if current.directory else "a regular file"
            self._find(FileMissing, current.item, expected=what, found="none")

    def _report_damage(self, member: PredecessorMember | None) -> None:
        """Report the damage before ``member``, and the data set that it hit, if that is certain."""
        error, self._damage = self._damage, None
        if error is not None:
            # It hit the current data set, unless ``member`` is its first one: then it may be the end of the one before.
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
                tag = self._reading.tag
                self._reading.find(DigestMismatch(tag, self._number, member=name, expected=expected, found=found))

    def _finish(self, mark: Mark) -> None:
        """The archive has ended: nothing may be missing."""
        if mark is Mark.END_OF_DATA or not self._scanner.complete:
            item = self._current.item if self._current else None
            self._find(TruncatedVolume, item, offset=self._size, expected="the end of the archive", found=mark.value)
        self._leave()
        self._report_damage(None)
        for item in self._wanted.values():
            self._find(FileMissing, item)
        others = [job for job in self._scanner.jobs if job != self._job]
        if others:
            self._reading.note(
                f"tape file {self._number} has the job number {enumerate_names(others)} inside, its catalog {self._job}"
                "; such volumes are known, and nothing is wrong with it"
            )
        if mark is Mark.END_OF_DATA:
            self._reading.give_up()
