"""A catalog is trusted only after it was checked against itself: digests, numbers, places, names, lists (R9)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from papertape.errors import FormatError
from papertape.ids import VolumeTag
from papertape.volume.catalog import (
    CATALOG_JSON,
    DATASETS,
    FILES,
    SUMS,
    CatalogDocument,
    LabelDocument,
    TapeFileDocument,
    read_datasets,
    read_files,
    read_label_members,
)
from papertape.volume.document import check_names, decode_document
from papertape.volume.header import DIRECTORY, FILE, LINK
from papertape.volume.layout import ARCHIVE, END_OF_ARCHIVE, PLAN, RECORD, round_up
from papertape.volume.members import DataSetRecord, Member
from papertape.volume.names import quote
from papertape.volume.plan import LONGEST_FINGERPRINT
from papertape.volume.sums import sums_line

_DECODER = msgspec.json.Decoder(CatalogDocument)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MD5 = re.compile(r"(?:[0-9a-f]{32})?\Z")
_CRC32 = re.compile(r"[0-9a-f]{8}\Z")
LARGEST = 10**18
"""Bytes that no tape file has; 64 bits hold the sum of nine."""


def load_catalog(folder: Path, volume_tag: VolumeTag) -> CatalogDocument:
    """Return the catalog whose four files lie in ``folder``, checked against itself (R9).

    Raises FormatError, which names ``volume_tag``, if any part of it contradicts another, or cannot be read.
    """
    try:
        sums = []
        for name in (CATALOG_JSON, DATASETS, FILES):
            with (folder / name).open("rb") as file:
                sums.append(sums_line(hashlib.file_digest(file, "sha256").hexdigest(), name.encode()))
        if (folder / SUMS).read_bytes() != b"".join(sums):
            raise ValueError(f"its {SUMS} is not that of its files")
        document = parse_catalog((folder / CATALOG_JSON).read_bytes(), volume_tag)
        _check_document(document)
        _check_rows(document, folder)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise FormatError(volume_tag, f"its catalog contradicts itself: {error}") from error
    return document


def parse_catalog(content: bytes, volume_tag: VolumeTag) -> CatalogDocument:
    """Return the document in ``content``, a catalog.json, which is not checked against itself yet.

    Raises FormatError for a newer version, ValueError or msgspec.DecodeError for anything else that is no catalog.
    """
    return decode_document(content, _DECODER, volume_tag)


def _check_document(document: CatalogDocument) -> None:
    """Raise ValueError unless the volumes and the tape files of a catalog.json can be right."""
    check_names(document.dump, document.written_by)
    tape_files, volumes = document.tape_files, document.volumes
    if [item.tape_file for item in tape_files] != list(range(1, len(tape_files) + 1)):
        raise ValueError("its tape files are not numbered from 1 on")
    if [item.kind for item in tape_files] != [PLAN] + [ARCHIVE] * (len(tape_files) - 1):
        raise ValueError("its tape files are not a plan and archives")
    if not volumes or len({volume.volume_tag for volume in volumes}) != len(volumes):
        raise ValueError("its volumes are not twins")
    if sorted({volume.copy for volume in volumes}) != list(range(1, len(volumes) + 1)):
        raise ValueError("its volumes are not numbered from 1 on")
    for volume in volumes:
        check_names(volume.volume_tag, volume.volume_uuid, volume.drive_serial)
        _check_tape_file(volume.label, document.block_size)
        end = 0
        for member in read_label_members(volume.label):
            check_member(member)
            end = _end_of(member, end, volume.label.bytes)
    for item in tape_files:
        _check_tape_file(item, document.block_size)


def _check_tape_file(document: LabelDocument | TapeFileDocument, block_size: int) -> None:
    if not 0 < document.bytes < LARGEST or document.bytes % block_size:
        raise ValueError(f"a tape file of {document.bytes} bytes is not whole blocks")
    if not _DIGEST.match(document.structure):
        raise ValueError("a tape file has no proper structure digest")


def _check_rows(document: CatalogDocument, folder: Path) -> None:
    """Raise ValueError unless all counts, sizes, offsets and names in the two lists agree."""
    last = len(document.tape_files)
    tally = Tally(read_datasets(folder / DATASETS))
    own: list[tuple[int, bytes]] = []
    for member in _placed_members(document, read_files(folder / FILES)):
        if member.dataset < 0:
            own.append((member.tape_file, member.name))
            if len(own) > last + 1:
                break  # too many already: the list must not grow with a hostile catalog
        elif own and own[-1][0] == member.tape_file:
            raise ValueError(f"{quote(member.name)} comes after the last member of its archive")
        else:
            tally.add(member)
    tally.end()
    if own != [(1, b"plan.json"), (1, b"plan.csv"), *((number, SUMS.encode()) for number in range(2, last + 1))]:
        raise ValueError(f"it does not list a plan, and {SUMS} at the end of each archive")
    found = (tally.datasets, tally.rejected, tally.files, tally.size)
    stated = (document.datasets, document.rejected, document.files, document.bytes)
    if found != stated:
        raise ValueError(f"it states {stated} data sets, rejected ones, files and bytes, and lists {found}")


def _placed_members(document: CatalogDocument, members: Iterator[Member]) -> Iterator[Member]:
    """Yield ``members``; raise ValueError at one that is wrong, or does not lie after the one before it."""
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
    """Return the earliest offset at which ``member`` can end, in bytes.

    Raises ValueError unless it lies between ``begin`` and the end of its tape file, which has ``size`` bytes.
    """
    # The length of the headers is not in the catalog: one record is the least.
    end = member.offset + RECORD + round_up(member.size, RECORD)
    if member.offset % RECORD or end + len(END_OF_ARCHIVE) > size:
        raise ValueError(f"{quote(member.name)} lies outside the tape files")
    if member.offset < begin:
        raise ValueError(f"{quote(member.name)} overlaps another member")
    return end


def check_member(member: Member) -> None:
    """Raise ValueError unless the member's name, size and digests can be right (R9)."""
    parts = member.name.split(b"/")
    if not all(parts) or b".." in parts or b"." in parts or b"\0" in member.name:
        raise ValueError(f"{quote(member.name)} is not a member name that papertape writes")
    if member.dataset >= 0 and parts[0] != b"data":
        raise ValueError(f"{quote(member.name)} is outside data/")
    if member.kind != FILE and (member.kind not in {DIRECTORY, LINK} or member.size or member.dataset < 0):
        raise ValueError(f"{quote(member.name)} is not of a kind that papertape writes")
    if member.size < 0 or member.offset < 0:
        raise ValueError(f"{quote(member.name)} has a size or an offset below zero")
    if not (_DIGEST.match(member.sha256) if member.kind == FILE else not member.sha256):
        raise ValueError(f"{quote(member.name)} has no proper SHA-256")
    if not _MD5.match(member.md5) or not _CRC32.match(member.header):
        raise ValueError(f"{quote(member.name)} has no proper MD5 or header checksum")


class Tally:
    """Compares the data sets in ``records`` with their members and counts both; every method raises ValueError.

    ``datasets``, ``files`` and ``size`` (bytes) leave out the ``rejected`` data sets. Holds one data set at a time.
    """

    def __init__(self, records: Iterator[DataSetRecord]) -> None:
        self.datasets = self.rejected = self.files = self.size = 0
        self._records = enumerate(records)
        self._current = self._next()

    def add(self, member: Member) -> None:
        """Count the next member; its data set must be the current one, or a later one."""
        while self._current and self._current.number < member.dataset:
            self._close(self._current)
        if self._current is None or self._current.number != member.dataset:
            raise ValueError(f"{quote(member.name)} is in data set {member.dataset}, which is not listed there")
        self._current.add(member)

    def end(self) -> None:
        """There are no more members: every data set that is left must be complete."""
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
            # Nothing of a rejected data set counts (R6): its members need not agree with what was registered.
            self.rejected += 1
        else:
            current.check()
            self.datasets += 1
            self.files += record.files
            self.size += record.size
        self._current = self._next()


class _DataSet:
    """One data set, and the sums of its members so far."""

    def __init__(self, record: DataSetRecord) -> None:
        if record.kind not in {"file", "directory"}:
            raise ValueError(f"data set {record.number} is not of a kind that papertape writes")
        if len(record.fingerprint) > LONGEST_FINGERPRINT:
            raise ValueError(f"data set {record.number} has a fingerprint of {len(record.fingerprint)} characters")
        self.record = record
        self.number = record.number
        self._name = record.source.member
        self._within = self._name + b"/"
        self._started = self._matched = False
        self._files = self._size = 0

    def add(self, member: Member) -> None:
        if not self._started:
            # The data set's own path comes first (R5).
            if member.name != self._name or (member.kind == FILE) != (self.record.kind == "file"):
                raise ValueError(f"{quote(member.name)} is not the first member of {self.record.source}")
            if (member.tape_file, member.offset) != (self.record.tape_file, self.record.offset):
                raise ValueError(f"data set {self.number} is not where it is said to be")
            self._started = True
        elif not member.name.startswith(self._within):
            raise ValueError(f"{quote(member.name)} is not in {self.record.source}")
        if member.kind == FILE:
            self._files += 1
            self._size += member.size
            self._matched |= member.md5 == self.record.md5

    def check(self) -> None:
        """Raise ValueError unless all members that the data set must have were added."""
        found, stated = (self._files, self._size), (self.record.files, self.record.size)
        if not self._started or found != stated:
            raise ValueError(f"data set {self.number} states {stated} files and bytes, and {found} are listed")
        if self.record.md5 and not self._matched:
            raise ValueError(f"data set {self.number} has no file with the declared MD5")
