"""A catalog is trusted only after it was checked against itself: digests, numbers, places, names, lists (R9)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from papertape.errors import FormatError
from papertape.volume.catalog import (
    CATALOG_JSON,
    DATASETS,
    FILES,
    SUMS,
    CatalogDocument,
    LabelDocument,
    read_datasets,
    read_files,
)
from papertape.volume.document import check_names, decode_document
from papertape.volume.header import DIRECTORY, FILE, LINK
from papertape.volume.layout import ARCHIVE, END_OF_ARCHIVE, PLAN, RECORD, round_up
from papertape.volume.members import DataSetRecord, Member
from papertape.volume.names import quote, unquote
from papertape.volume.plan import LONGEST_FINGERPRINT, check_source
from papertape.volume.sums import sums_line

_DECODER = msgspec.json.Decoder(CatalogDocument)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MD5 = re.compile(r"(?:[0-9a-f]{32})?\Z")
_CRC32 = re.compile(r"[0-9a-f]{8}\Z")
LARGEST = 10**18
"""Bytes that no tape file has; 64 bits hold the sum of nine."""


def load_catalog(folder: Path, volume_tag: str) -> CatalogDocument:
    """Return the catalog whose four files lie in ``folder``, checked against itself (R9).

    ``volume_tag`` is for the sentence of the FormatError that is raised where anything in it contradicts the rest.
    """
    try:
        _check_sums(folder)
        document = parse_catalog((folder / CATALOG_JSON).read_bytes(), volume_tag)
        _check_document(document)
        _check_rows(document, folder)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise FormatError(volume_tag, f"its catalog contradicts itself: {error}") from error
    return document


def parse_catalog(content: bytes, volume_tag: str) -> CatalogDocument:
    """Return what a catalog.json says; raises FormatError for a newer version, ValueError for nonsense."""
    return decode_document(content, _DECODER, volume_tag)


def _check_sums(folder: Path) -> None:
    expected = []
    for name in (CATALOG_JSON, DATASETS, FILES):
        with (folder / name).open("rb") as file:
            expected.append(sums_line(hashlib.file_digest(file, "sha256").hexdigest(), name.encode()))
    if (folder / SUMS).read_bytes() != b"".join(expected):
        raise ValueError(f"its {SUMS} is not that of its files")


def _check_document(document: CatalogDocument) -> None:
    """Raise ValueError unless the twins and the tape files of a catalog.json can be right."""
    check_names(document.dump, document.written_by)
    tape_files = document.tape_files
    if [item.tape_file for item in tape_files] != list(range(1, len(tape_files) + 1)):
        raise ValueError("its tape files are not numbered from 1 on")
    if [item.kind for item in tape_files] != [PLAN] + [ARCHIVE] * (len(tape_files) - 1):
        raise ValueError("its tape files are not a plan and archives")
    tags = {volume.volume_tag for volume in document.volumes}
    if not tags or len(tags) != len(document.volumes):
        raise ValueError("its volumes are not twins")
    if sorted({volume.copy for volume in document.volumes}) != list(range(1, len(document.volumes) + 1)):
        raise ValueError("its volumes are not numbered from 1 on")
    for volume in document.volumes:
        check_names(volume.volume_tag, volume.volume_uuid, volume.drive_serial)
        _check_label(volume.label, document.block_size)
    for item in tape_files:
        _check_tape_file(item.bytes, item.structure, document.block_size)


def _check_tape_file(size: int, structure: str, block_size: int) -> None:
    if not 0 < size < LARGEST or size % block_size:
        raise ValueError(f"a tape file of {size} bytes is not whole blocks")
    if not _DIGEST.match(structure):
        raise ValueError("a tape file has no proper structure digest")


def _check_label(label: LabelDocument, block_size: int) -> None:
    _check_tape_file(label.bytes, label.structure, block_size)
    end = 0
    for name, size, sha256, offset, header in label.members:
        member = Member(unquote(name), FILE, size, sha256, "", 0, offset, -1, header)
        check_member(member)
        end = _end_of(member, end, label.bytes)


def _check_rows(document: CatalogDocument, folder: Path) -> None:
    """Raise ValueError unless all counts, sizes, offsets and names agree."""
    tally = Tally(read_datasets(folder / DATASETS))
    own: list[tuple[int, bytes]] = []
    for member in _placed_members(document, read_files(folder / FILES)):
        if member.dataset < 0:
            own.append((member.tape_file, member.name))
            if len(own) > len(document.tape_files) + 1:
                break  # so many of its own it cannot have
        elif own and own[-1][0] == member.tape_file:
            raise ValueError(f"{quote(member.name)} lies behind the last member of its archive")
        else:
            tally.add(member)
    tally.end()
    _check_own(own, len(document.tape_files))
    found = (tally.datasets, tally.rejected, tally.files, tally.size)
    stated = (document.datasets, document.rejected, document.files, document.bytes)
    if found != stated:
        raise ValueError(f"it states {stated} data sets, rejected ones, files and bytes, and lists {found}")


def _check_own(own: list[tuple[int, bytes]], last: int) -> None:
    sums = [(number, SUMS.encode()) for number in range(2, last + 1)]
    if own != [(1, b"plan.json"), (1, b"plan.csv"), *sums]:
        raise ValueError(f"it does not list a plan, and {SUMS} at the end of each archive")


def _placed_members(document: CatalogDocument, members: Iterator[Member]) -> Iterator[Member]:
    """Yield ``members``, each checked, and found to lie in its tape file behind the one before."""
    number, end = 1, 0
    for member in members:
        check_member(member)
        if not number <= member.tape_file <= len(document.tape_files):
            raise ValueError(f"{quote(member.name)} lies outside the tape files, or out of order")
        if member.tape_file > number:
            number, end = member.tape_file, 0
        end = _end_of(member, end, document.tape_files[number - 1].bytes)
        yield member


def _end_of(member: Member, begin: int, size: int) -> int:
    """Return where ``member`` ends at the earliest, if it lies between ``begin`` and ``size`` in its tape file."""
    end = member.offset + RECORD + round_up(member.size, RECORD)
    if member.offset % RECORD or end + len(END_OF_ARCHIVE) > size:
        raise ValueError(f"{quote(member.name)} lies outside the tape files")
    if member.offset < begin:
        raise ValueError(f"{quote(member.name)} lies upon another member")
    return end


def check_member(member: Member) -> None:
    """Raise ValueError unless the member's name, size and digests can be right (R9)."""
    parts = member.name.split(b"/")
    if not all(parts) or b".." in parts or b"." in parts or b"\0" in member.name:
        raise ValueError(f"{quote(member.name)} is no member name of papertape's")
    if member.dataset >= 0 and parts[0] != b"data":
        raise ValueError(f"{quote(member.name)} is outside data/")
    if member.kind != FILE and (member.kind not in {DIRECTORY, LINK} or member.size or member.dataset < 0):
        raise ValueError(f"{quote(member.name)} is of no kind that papertape writes")
    if member.size < 0 or member.offset < 0:
        raise ValueError(f"{quote(member.name)} has a size or an offset below zero")
    if not (_DIGEST.match(member.sha256) if member.kind == FILE else not member.sha256):
        raise ValueError(f"{quote(member.name)} has no proper SHA-256")
    if not _MD5.match(member.md5) or not _CRC32.match(member.header):
        raise ValueError(f"{quote(member.name)} has no proper MD5 or header checksum")


class Tally:
    """Counts the data sets that ``records`` list while their members come in; each raises ValueError if it can't be."""

    def __init__(self, records: Iterator[DataSetRecord]) -> None:
        self.datasets = self.rejected = self.files = self.size = 0
        self._records = enumerate(records)
        self._current = self._next()

    def add(self, member: Member) -> None:
        """Take in the next member of a data set."""
        while self._current and self._current.number < member.dataset:
            self._close(self._current)
        if self._current is None or self._current.number != member.dataset:
            raise ValueError(f"{quote(member.name)} is in data set {member.dataset}, which is not listed there")
        self._current.add(member)

    def end(self) -> None:
        """Say that there are no more members."""
        while self._current:
            self._close(self._current)

    def _next(self) -> _DataSet | None:
        number, record = next(self._records, (0, None))
        if record and record.number != number:
            raise ValueError(f"data set {record.number} is listed in the place of data set {number}")
        return _DataSet(record) if record else None

    def _close(self, current: _DataSet) -> None:
        record = current.record
        if record.reason:
            self.rejected += 1
        else:
            current.check()
            self.datasets += 1
            self.files += record.files
            self.size += record.size
        self._current = self._next()


class _DataSet:
    """One data set, and what was found of it so far."""

    def __init__(self, record: DataSetRecord) -> None:
        if record.kind not in {"file", "directory"}:
            raise ValueError(f"data set {record.number} is of no kind that papertape writes")
        if len(record.fingerprint) > LONGEST_FINGERPRINT:
            raise ValueError(f"data set {record.number} has a fingerprint of {len(record.fingerprint)} characters")
        check_source(record.source)
        host, _, path = record.source.partition(":")
        self.record = record
        self.number = record.number
        self._name = b"data/%b%b" % (host.encode(), unquote(path))
        self._within = self._name + b"/"
        self._begun = self._matched = False
        self._files = self._size = 0

    def add(self, member: Member) -> None:
        if not self._begun:
            self._begin(member)
        elif not member.name.startswith(self._within):
            raise ValueError(f"{quote(member.name)} is not in {self.record.source}")
        if member.kind == FILE:
            self._files += 1
            self._size += member.size
            self._matched |= member.md5 == self.record.md5

    def _begin(self, member: Member) -> None:
        """The data set's own path comes first (R5)."""
        if member.name != self._name or (member.kind == FILE) != (self.record.kind == "file"):
            raise ValueError(f"{quote(member.name)} is not the begin of {self.record.source}")
        if (member.tape_file, member.offset) != (self.record.tape_file, self.record.offset):
            raise ValueError(f"data set {self.number} is not where it is said to be")
        self._begun = True

    def check(self) -> None:
        """Raise ValueError unless all that the data set should have was found."""
        found, stated = (self._files, self._size), (self.record.files, self.record.size)
        if not self._begun or found != stated:
            raise ValueError(f"data set {self.number} states {stated} files and bytes, and {found} are listed")
        if self.record.md5 and not self._matched:
            raise ValueError(f"data set {self.number} has no file of the MD5 that is declared")
