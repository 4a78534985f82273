"""The catalog while it grows: rows go to disk in tape order, each as soon as its digests are known."""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from papertape.events import Rejected, Tell
from papertape.transfer.hashing import Digest
from papertape.volume.catalog import DATASETS, DATASETS_COLUMNS, FILES, FILES_COLUMNS, SUMS, dataset_row
from papertape.volume.members import DataSetRecord, Member
from papertape.volume.names import quote
from papertape.volume.sums import sums_line

SETTLE_AT = 64
"""Items that come together before rows are written: to look at each as it comes costs more than to write it."""

WRONG_MD5 = "its declared MD5 is"
"""How the reason begins for which a data set with another MD5 is rejected: it will be so every time."""


class _Pending(NamedTuple):
    """A member on its way: its digests may still be computed."""

    member: Member
    sha256: Digest | None
    md5: Digest | None


class Journal:
    """Keeps ``files.csv`` and ``datasets.csv`` in the folder ``spool``, and in a folder of its own the SHA256SUMS of
    the archive under way.

    ``datasets``, ``files`` and ``size`` (bytes) count what is whole so far, ``rejected`` lists what is not with the
    reason. Members added after ``keep_own()`` go to the list ``own``, since no catalog can list itself.
    """

    def __init__(self, spool: Path, tell: Tell) -> None:
        self.datasets = self.files = self.size = 0
        self.rejected: list[tuple[str, str]] = []
        self.own: list[Member] = []
        self._keep_own = False
        self._tell = tell
        self._pending: deque[_Pending | DataSetRecord] = deque()
        self._md5 = ""
        self._mark = self._sums_size = 0  # bytes; asking the file costs more than the hashing of a small one
        self._files = (spool / FILES).open("w", newline="", encoding="utf-8")
        self._datasets = (spool / DATASETS).open("w", newline="", encoding="utf-8")
        self.sums_folder = spool / "archive"
        self.sums_folder.mkdir()
        self._sums = (self.sums_folder / SUMS).open("wb")
        self._file_rows = csv.writer(self._files, lineterminator="\n")
        self._dataset_rows = csv.writer(self._datasets, lineterminator="\n")
        self._file_rows.writerow(FILES_COLUMNS)
        self._dataset_rows.writerow(DATASETS_COLUMNS)

    def close(self) -> None:
        """Close the files."""
        for file in (self._files, self._datasets, self._sums):
            file.close()

    def flush(self) -> None:
        """Let others read the files."""
        for file in (self._files, self._datasets, self._sums):
            file.flush()

    def begin_archive(self) -> None:
        """Begin a SHA256SUMS of its own for the next archive."""
        self._sums.seek(0)
        self._sums.truncate()
        self._mark = self._sums_size = 0

    def keep_own(self) -> None:
        """From here on, members are those of the catalog's own tape file."""
        self._keep_own = True

    def add(self, member: Member, sha256: Digest | None, md5: Digest | None) -> None:
        """Take in a member whose digests may still be under way."""
        self._pending.append(_Pending(member, sha256, md5))
        if len(self._pending) >= SETTLE_AT:
            self.settle()

    def end_dataset(self, record: DataSetRecord) -> None:
        """Say that the data set of the members added last is over, whole or (with a reason) not."""
        self._pending.append(record)
        if len(self._pending) >= SETTLE_AT:
            self.settle()

    def waiting(self) -> int:
        """Return how many items are not written yet."""
        return len(self._pending)

    def settle(self) -> None:
        """Write what is known, up to the first member whose digests are not."""
        pending = self._pending
        while pending:
            item = pending[0]
            if isinstance(item, DataSetRecord):
                self._write_dataset(item)
            elif (item.sha256 and item.sha256.value is None) or (item.md5 and item.md5.value is None):
                break
            else:
                self._write_member(item)
            pending.popleft()

    def _write_member(self, item: _Pending) -> None:
        name, kind, size, sha256, md5, tape_file, offset, dataset, header = item.member
        if item.md5:
            md5 = self._md5 = item.md5.value or ""
        if item.sha256:
            sha256 = item.sha256.value or ""
            if dataset >= 0:
                self._sums_size += self._sums.write(sums_line(sha256, name))
        if self._keep_own:
            self.own.append(Member(name, kind, size, sha256, md5, tape_file, offset, dataset, header))
        else:
            self._file_rows.writerow((quote(name), kind, size, sha256, md5, tape_file, offset, dataset, header))

    def _write_dataset(self, record: DataSetRecord) -> None:
        record = self._judge(record)
        self._dataset_rows.writerow(dataset_row(record))
        self._md5 = ""
        if record.reason:
            self._sums.seek(self._mark)
            self._sums.truncate()
            self._sums_size = self._mark
            self.rejected.append((record.source, record.reason))
            self._tell(Rejected(source=record.source, reason=record.reason))
            return
        self._mark = self._sums_size
        self.datasets += 1
        self.files += record.files
        self.size += record.size

    def _judge(self, record: DataSetRecord) -> DataSetRecord:
        """Return the record as it has to stand: what was read must have the MD5 that the lab declares."""
        if record.reason or not record.md5 or record.md5 == self._md5:
            return record
        found = f"what was read has {self._md5}" if self._md5 else "there is no visdata in it"
        return replace(record, reason=f"{WRONG_MD5} {record.md5}, but {found}")
