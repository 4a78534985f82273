"""A catalog's two lists held against each other, data set by data set, a row at a time (R9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from papertape.volume.header import FILE
from papertape.volume.names import quote, unquote
from papertape.volume.plan import LONGEST_FINGERPRINT, check_source

if TYPE_CHECKING:
    from papertape.volume.catalog import DataSetRecord, Member


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
