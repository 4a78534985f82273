"""Data sets on disk: what is in them, and their bytes, read ahead.

Names are bytes. Nothing is followed: a symbolic link is stored as a link (R7).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from grp import getgrgid
from pwd import getpwuid
from typing import NamedTuple

from papertape.errors import SourceError
from papertape.plan import DataSet
from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes, build_header
from papertape.volume.layout import RECORD, round_up
from papertape.volume.names import quote
from papertape.volume.sums import sums_line

CATALOG_ROW = 160
"""Bytes that a row of files.csv takes besides the member's name, at the most."""
CATALOG_DATASET = 320
"""Bytes that the rows of plan.csv and of datasets.csv take together besides the source."""


class Entry(NamedTuple):
    """One file, directory or link of a data set; ``relative`` is b"" for the data set's own path.

    ``size`` is in bytes, 0 but for files.
    """

    path: bytes
    relative: bytes
    size: int
    attributes: Attributes


def member_name(host: str, path: bytes, relative: bytes) -> bytes:
    """Return the name in the archive of ``relative`` in the data set at the absolute ``path`` (R5)."""
    return b"data/%b%b%b" % (host.encode(), path, b"/" + relative if relative else b"")


def walk(path: bytes) -> Iterator[Entry]:
    """Yield what the data set at ``path`` holds, a directory before what is in it, names in byte order.

    Holds the names of the directories on the way, and nothing else. Raises SourceError.
    """
    entry = _look(path, b"")
    yield entry
    pending = [_list(entry)] if entry.attributes.kind == DIRECTORY else []
    while pending:
        name = next(pending[-1], None)
        if name is None:
            pending.pop()
            continue
        relative = name[len(path) + 1 :]
        entry = _look(name, relative)
        yield entry
        if entry.attributes.kind == DIRECTORY:
            pending.append(_list(entry))


def _list(directory: Entry) -> Iterator[bytes]:
    try:
        names = os.listdir(directory.path)
    except OSError as error:
        raise SourceError(quote(directory.path), f"cannot be listed ({error.strerror})") from error
    names.sort()
    prefix = directory.path + b"/"
    return (prefix + name for name in names)


def _look(path: bytes, relative: bytes) -> Entry:
    try:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            return Entry(path, relative, status.st_size, _attributes(status, FILE, b""))
        kind = _kind(status.st_mode)
        if kind is None:
            raise SourceError(quote(path), f"is a {_special(status.st_mode)}, which an archive cannot hold")
        target = os.readlink(path) if kind == LINK else b""
    except OSError as error:
        raise SourceError(quote(path), f"cannot be read ({error.strerror})") from error
    return Entry(path, relative, 0, _attributes(status, kind, target))


def _kind(mode: int) -> str | None:
    if stat.S_ISDIR(mode):
        return DIRECTORY
    return LINK if stat.S_ISLNK(mode) else None


def _special(mode: int) -> str:
    kinds = ((stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "named pipe"), (stat.S_ISBLK, "block device"))
    return next((name for test, name in kinds if test(mode)), "character device")


def _attributes(status: os.stat_result, kind: str, target: bytes) -> Attributes:
    return Attributes(
        kind,
        status.st_mode & 0o7777,
        status.st_mtime_ns,
        status.st_uid,
        status.st_gid,
        _user(status.st_uid),
        _group(status.st_gid),
        target,
    )


@cache
def _user(uid: int) -> bytes:
    try:
        return os.fsencode(getpwuid(uid).pw_name)
    except KeyError:
        return b""


@cache
def _group(gid: int) -> bytes:
    try:
        return os.fsencode(getgrgid(gid).gr_name)
    except KeyError:
        return b""


class Fingerprint:
    """Changes when a name, a kind, a size, a link's target or a file's modification time changes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, entry: Entry) -> None:
        """Take in the next entry."""
        kind, _, mtime, *_, target = entry.attributes
        fact = b"%d %d" % (entry.size, mtime) if kind == FILE else target
        self._hash.update(b"%b\0%b\0%b\0" % (entry.relative, kind.encode(), fact))

    def value(self) -> str:
        """Return it in hexadecimal digits."""
        return self._hash.hexdigest()


def scan(host: str, path: bytes) -> DataSet:
    """Return what the data set at the absolute ``path`` is now, without reading a byte of it; raises SourceError."""
    fingerprint, kind = Fingerprint(), ""
    files = size = tape_bytes = catalog_bytes = 0
    for entry in walk(path):
        kind = kind or entry.attributes.kind
        if kind == LINK:
            raise SourceError(quote(path), "is a symbolic link: add what it points to")
        fingerprint.add(entry)
        name = member_name(host, path, entry.relative)
        tape_bytes += len(build_header(name, entry.size, entry.attributes)) + round_up(entry.size, RECORD)
        catalog_bytes += _field_bytes(quote(name)) + CATALOG_ROW
        if entry.attributes.kind == FILE:
            files += 1
            size += entry.size
            tape_bytes += len(sums_line("0" * 64, name))
    source = f"{host}:{quote(path)}"
    catalog_bytes += 2 * _field_bytes(source) + CATALOG_DATASET
    kind = "file" if kind == FILE else "directory"
    return DataSet(source, kind, files, size, tape_bytes, catalog_bytes, fingerprint.value())


def _field_bytes(text: str) -> int:
    """Return what ``text`` takes as a field of a CSV file at the most, in bytes."""
    return len(text.encode()) + text.count('"') + 2


def read_fingerprint(path: bytes) -> str:
    """Return the fingerprint of the data set at ``path`` as it is now; raises SourceError."""
    fingerprint = Fingerprint()
    for entry in walk(path):
        fingerprint.add(entry)
    return fingerprint.value()


def check_unchanged(descriptor: int, entry: Entry) -> None:
    """Raise SourceError if the open file is not the one that the walk met, or was written to since."""
    status = os.fstat(descriptor)
    if status.st_size == entry.size and status.st_mtime_ns == entry.attributes.mtime and stat.S_ISREG(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(quote(entry.path), "was replaced while it was read")
    changes = {-1: "shrank", 0: "changed", 1: "grew"}
    change = changes[(status.st_size > entry.size) - (status.st_size < entry.size)]
    raise SourceError(quote(entry.path), f"{change} while it was read")


def find_change(dataset: DataSet, directories: Sequence[Entry] | None) -> SourceError | None:
    """Say whether something came into, or went out of, the data set while it was read.

    That changes the modification time of one of its ``directories``; without them (there were too many to keep) all
    is looked through once more.
    """
    try:
        if directories is None:
            same = read_fingerprint(dataset.path) == dataset.fingerprint
        else:
            same = all(os.lstat(entry.path).st_mtime_ns == entry.attributes.mtime for entry in directories)
    except (OSError, SourceError):
        same = False
    return None if same else SourceError(quote(dataset.path), "changed while it was read")
