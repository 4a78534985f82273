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
"""Items that are collected before rows are written: to try each as it comes costs more than to write it."""

WRONG_MD5 = "its declared MD5 is"
"""The reason with which a data set of another MD5 is rejected begins so: to try it again changes nothing."""


class _Pending(NamedTuple):
    """A member whose digests may still be computed; ``sha256`` and ``md5`` are None if it has no such digest."""

    member: Member
    sha256: Digest | None
    md5: Digest | None


class Journal:
    """Keeps ``files.csv`` and ``datasets.csv`` in the folder ``spool``, and SHA256SUMS of the current archive below it.

    ``datasets``, ``files`` and ``size`` (bytes) count the whole data sets so far; ``rejected`` lists the sources of the
    others, each with the reason. Members added after ``keep_own`` go to the list ``own``, since no catalog can list
    itself. All methods are called by the reader side, and raise OSError if the disk of ``spool`` refuses.
    """

    def __init__(self, spool: Path, tell: Tell) -> None:
        self.datasets = self.files = self.size = 0
        self.rejected: list[tuple[str, str]] = []
        self.own: list[Member] = []
        self._keep_own = False
        self._tell = tell
        self._pending: deque[_Pending | DataSetRecord] = deque()
        self._md5 = ""
        # Bytes of SHA256SUMS: all, and those up to the last whole data set. To ask the file would take longer than to
        # hash a small one.
        self._mark = self._sums_size = 0
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
        """Write the buffers to the files, so that they can be read by their names."""
        for file in (self._files, self._datasets, self._sums):
            file.flush()

    def begin_archive(self) -> None:
        """Begin the SHA256SUMS of the next archive; that of the last one must be on its way to tape."""
        self._sums.seek(0)
        self._sums.truncate()
        self._mark = self._sums_size = 0

    def keep_own(self) -> None:
        """Declare that all members to come are those of the catalog's tape file."""
        self._keep_own = True

    def add(self, member: Member, sha256: Digest | None, md5: Digest | None) -> None:
        """Add a member whose digests may not be known yet."""
        self._pending.append(_Pending(member, sha256, md5))
        if len(self._pending) >= SETTLE_AT:
            self.settle()

    def end_dataset(self, record: DataSetRecord) -> None:
        """End the data set to which the last members belong; ``record.reason`` says why it is not whole."""
        self._pending.append(record)
        if len(self._pending) >= SETTLE_AT:
            self.settle()

    def waiting(self) -> int:
        """Return how many members and data sets are not written yet."""
        return len(self._pending)

    def settle(self) -> None:
        """Write the rows that are complete, up to the first member whose digests are not known yet."""
        pending = self._pending
        while pending:
            item = pending[0]
            if isinstance(item, DataSetRecord):
                self._write_dataset(item)
            elif (item.sha256 and item.sha256.value is None) or (item.md5 and item.md5.value is None):
                break
            else:
                name, kind, size, sha256, md5, tape_file, offset, dataset, header = item.member
                if item.md5:
                    md5 = self._md5 = item.md5.value or ""
                if item.sha256:
                    sha256 = item.sha256.value or ""
                    if dataset >= 0:
                        self._sums_size += self._sums.write(sums_line(sha256, name))
                if self._keep_own:
                    self.own.append(item.member._replace(sha256=sha256, md5=md5))
                else:
                    self._file_rows.writerow((quote(name), kind, size, sha256, md5, tape_file, offset, dataset, header))
            pending.popleft()

    def _write_dataset(self, record: DataSetRecord) -> None:
        """Write the row of a data set whose members are all written; count it, or take its sums back."""
        if record.md5 and not record.reason and record.md5 != self._md5:
            found = f"what was read has {self._md5}" if self._md5 else "there is no visdata in it"
            record = replace(record, reason=f"{WRONG_MD5} {record.md5}, but {found}")
        self._dataset_rows.writerow(dataset_row(record))
        self._md5 = ""
        if record.reason:
            # SHA256SUMS lists whole data sets only. The members stay in files.csv: they are on the tape (R6).
            self._sums.seek(self._mark)
            self._sums.truncate()
            self._sums_size = self._mark
            self.rejected.append((str(record.source), record.reason))
            self._tell(Rejected(source=str(record.source), reason=record.reason))
            return
        self._mark = self._sums_size
        self.datasets += 1
        self.files += record.files
        self.size += record.size
