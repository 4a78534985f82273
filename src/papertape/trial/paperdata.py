"""Test data in the lab's tables: rows for the data of ``papertape testdata``, and free tapes, in a test database."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from papertape.bridges import read_option_file
from papertape.errors import SourceError
from papertape.jobs.register import read_md5sums
from papertape.transfer.source import scan
from papertape.trial.tables import LARGEST, LONGEST_NAME, LONGEST_SOURCE, Filled, Trial, TrialFile
from papertape.trial.testdata import DATA, MD5SUMS
from papertape.volume.names import quote

HOST = "testhost"
"""The host in the rows of the table of files."""
CAPACITY = 2_500_000
"""The capacity of a tape in the lab's table, in MB."""
MEGABYTE = 10**6
_TYPES = {".uvcA": "uvcA", ".uvh5": "uvh5"}
OTHER = "other"
"""The file type of data that the lab would not put on tape."""


class Filling(NamedTuple):
    """The rows that were inserted into both tables, and the names of data sets that the table of files cannot hold."""

    files: Filled
    labels: Filled
    left_out: tuple[str, ...]


class TrialBase(NamedTuple):
    """The test databases of the table of files and of that of tapes, which may be the same one."""

    files: Trial
    labels: Trial

    def connect(self) -> None:
        """Raise UserError, HostError if one of them cannot be used."""
        self.files.connect()
        self.labels.connect()

    def fill(self, folder: Path, labels: Sequence[str]) -> Filling:
        """Insert rows for the test data in ``folder``, and free tapes. Raises UserError, HostError."""
        rows, left_out = list_rows(folder)
        files = self.files.fill_files(rows)
        return Filling(files, self.labels.fill_labels(labels, CAPACITY), left_out)

    def clean(self) -> tuple[int, int]:
        """Delete the inserted rows, and nothing else; return how many files and tapes. Raises HostError."""
        files, labels = self.files.clean()
        if self.labels is not self.files:
            labels += self.labels.clean()[1]
        return files, labels


@contextmanager
def open_trial(folder: Path, files: Path, labels: Path, *, strict: bool) -> Iterator[TrialBase]:
    """Open the test databases of two option files, for the test data in ``folder``, in the block.

    Raises UserError if one of them is not for tests, before either server is asked.
    """
    mark = make_mark(folder)
    first = Trial(read_option_file(files, strict=strict), mark)
    try:
        second = first if labels == files else Trial(read_option_file(labels, strict=strict), mark)
        try:
            yield TrialBase(first, second)
        finally:
            second.close()
    finally:
        first.close()


def make_mark(folder: Path) -> str:
    """Return the mark of the rows for the test data in ``folder``, a different one for each folder on each host."""
    place = f"{os.uname().nodename}:{os.path.abspath(folder)}"
    return f"papertape testdata {hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"


def list_rows(folder: Path) -> tuple[list[TrialFile], tuple[str, ...]]:
    """Return a row for each data set with a declared MD5, and the names of those that do not fit into a row.

    Raises UserError if there is no test data in ``folder``.
    """
    rows, left_out = [], []
    for path, md5 in sorted(read_md5sums(folder / MD5SUMS).items()):
        try:
            text, found = path.decode(), scan(HOST, path)
        except (UnicodeDecodeError, SourceError):
            left_out.append(quote(path))
            continue
        base, _, name = text.rpartition("/")
        source = f"{HOST}:{text}"
        if len(source) > LONGEST_SOURCE or len(name) > LONGEST_NAME:
            left_out.append(quote(path))
            continue
        row = TrialFile(
            host=HOST,
            base_path=base[:LONGEST_NAME],
            filename=name,
            filetype=_TYPES.get(Path(name).suffix, OTHER),
            source=source,
            filesize=min(round(Decimal(found.size) / MEGABYTE, 2), LARGEST),
            md5sum=md5,
            timestamp=int(os.lstat(path).st_mtime),
        )
        rows.append(row)
    return rows, tuple(left_out)


def folder_of(folder: Path) -> str:
    """Return the absolute path of the data sets, for the rules of ``[bridge.paths]``."""
    return os.path.join(os.path.abspath(folder), DATA)
