"""Data sets on disk: their entries, sizes and fingerprints. Their data is read by ``readahead`` and ``recording``.

Names are bytes. No symbolic link is followed: it is stored as a link (R7).
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
from papertape.volume.names import Source, quote
from papertape.volume.sums import sums_line

CATALOG_ROW = 160
"""The most bytes that a row of files.csv has besides the member's name."""
CATALOG_DATASET = 320
"""The most bytes that the rows of one data set in plan.csv and datasets.csv have together besides the source."""


_SPECIAL = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "named pipe", stat.S_IFBLK: "block device"}


class Entry(NamedTuple):
    """One file, directory or link of a data set; ``relative`` is b"" for the data set's own path.

    ``path`` is the absolute path on disk. ``size`` is in bytes, 0 for directories and links.
    """

    path: bytes
    relative: bytes
    size: int
    attributes: Attributes


def member_name(source: Source, relative: bytes) -> bytes:
    """Return the name in the archive of the file ``relative`` in the data set ``source`` (R5)."""
    return b"%b/%b" % (source.member, relative) if relative else source.member


def walk(path: bytes) -> Iterator[Entry]:
    """Yield the entries of the data set at ``path``: a directory before its content, names in byte order.

    Only the lists of names of the open directories are held in memory. Raises SourceError for an entry that cannot be
    read, or that no archive can hold.
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
        if stat.S_ISDIR(status.st_mode):
            return Entry(path, relative, 0, _attributes(status, DIRECTORY, b""))
        if stat.S_ISLNK(status.st_mode):
            return Entry(path, relative, 0, _attributes(status, LINK, os.readlink(path)))
    except OSError as error:
        raise SourceError(quote(path), f"cannot be read ({error.strerror})") from error
    special = _SPECIAL.get(stat.S_IFMT(status.st_mode), "character device")
    raise SourceError(quote(path), f"is a {special}, which an archive cannot hold")


def _attributes(status: os.stat_result, kind: str, target: bytes) -> Attributes:
    return Attributes(
        kind=kind,
        mode=status.st_mode & 0o7777,
        mtime=status.st_mtime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
        user=_user(status.st_uid),
        group=_group(status.st_gid),
        target=target,
    )


# Cached: a look-up may ask a directory server, and a million files have a handful of owners.
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
    """A SHA-256 over all entries: of each its name and kind, of files size and modification time, of links the target.

    It shows that a data set has changed since it was registered, without reading its data.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, entry: Entry) -> None:
        """Add the next entry, in the order of ``walk``."""
        kind, _, mtime, *_, target = entry.attributes
        fact = b"%d %d" % (entry.size, mtime) if kind == FILE else target
        self._hash.update(b"%b\0%b\0%b\0" % (entry.relative, kind.encode(), fact))

    def value(self) -> str:
        """Return the fingerprint of the entries so far, in hexadecimal digits."""
        return self._hash.hexdigest()


def scan(host: str, path: bytes) -> DataSet:
    """Return the data set at the absolute ``path`` as it is now, with its sizes on tape; reads no data.

    Raises SourceError for an entry that no archive can hold, and for a data set that is a symbolic link.
    """
    source, fingerprint, kind = Source(host, path), Fingerprint(), ""
    files = size = tape_bytes = catalog_bytes = 0
    for entry in walk(path):
        kind = kind or entry.attributes.kind
        if kind == LINK:
            raise SourceError(quote(path), "is a symbolic link: add what it points to")
        fingerprint.add(entry)
        name = member_name(source, entry.relative)
        tape_bytes += len(build_header(name, entry.size, entry.attributes)) + round_up(entry.size, RECORD)
        catalog_bytes += _field_bytes(quote(name)) + CATALOG_ROW
        if entry.attributes.kind == FILE:
            files += 1
            size += entry.size
            tape_bytes += len(sums_line("0" * 64, name))
    return DataSet(
        source=source,
        kind="file" if kind == FILE else "directory",
        files=files,
        size=size,
        tape_bytes=tape_bytes,
        catalog_bytes=catalog_bytes + 2 * _field_bytes(str(source)) + CATALOG_DATASET,
        fingerprint=fingerprint.value(),
    )


def _field_bytes(text: str) -> int:
    """Return the most bytes that ``text`` takes as a field of a CSV file: quotes around it, and quotes doubled."""
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
    # The usual case first, with as few calls as possible: this runs for every file.
    if status.st_size == entry.size and status.st_mtime_ns == entry.attributes.mtime and stat.S_ISREG(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(quote(entry.path), "was replaced while it was read")
    changes = {-1: "shrank", 0: "changed", 1: "grew"}
    change = changes[(status.st_size > entry.size) - (status.st_size < entry.size)]
    raise SourceError(quote(entry.path), f"{change} while it was read")


def find_change(dataset: DataSet, directories: Sequence[Entry] | None) -> SourceError | None:
    """Return an error if names were added to the data set, or removed from it, while it was read.

    That changes the modification time of one of its ``directories`` (``man 7 inode``). If that is None, because there
    were too many to keep, the whole data set is walked once more.
    """
    try:
        if directories is None:
            same = read_fingerprint(dataset.source.path) == dataset.fingerprint
        else:
            same = all(os.lstat(entry.path).st_mtime_ns == entry.attributes.mtime for entry in directories)
    except (OSError, SourceError):
        same = False
    return None if same else SourceError(quote(dataset.source.path), "changed while it was read")
