"""The predecessor's volumes, which must stay readable: their grammar, and the catalog at their start.

::

    volume  := catalog FM  ( archive FM )+  EOD

The catalog is plain text in blocks of 32768 bytes, the last one filled up with NUL: three lines of heading, then
``item:tape_index:archive_index:md5:host:/path`` for each data set, in tape order. Data sets are counted from 1, in the
volume and in their archive; archives are counted from 0: ``tape_index`` N is tape file N + 1. Nothing on a volume names
the volume, so the two of a pair are equal. ``archive.py`` reads the archives.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from papertape.errors import FormatError
from papertape.ids import VolumeTag
from papertape.volume.names import Source, quote

CATALOG_BLOCK = 32 * 1024
ARCHIVE_BLOCK = 10 * 1024
"""Bytes in every block of the catalog, and in every block of an archive (GNU tar's usual 20 records)."""

LONGEST_CATALOG = 256 * 1024**2
"""Bytes of the longest catalog that a reader accepts: hundreds of times that of the fullest volume."""

MOST_ITEMS = 2_000_000
"""The most data sets that a reader accepts in one catalog; each takes some 400 bytes of memory."""

_BEGIN = b"## Paper dump catalog:"
# Its oldest versions wrote a blank after the colon, and file_index for archive_index.
_HEADING = re.compile(
    rb"## Paper dump catalog: ?([0-9]{1,20}) \(version: ([0-9]{8}) on ([0-9]{8}-[0-9]{4})\)\n"
    rb"## This tape contains files as listed below:\n"
    rb"## item_index:tape_index:(?:archive|file)_index:data_md5:dir_path\(host:fullpath\)\n"
)
_ITEM = re.compile(
    rb"([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,9}):([0-9a-fA-F]{32}):([A-Za-z0-9][A-Za-z0-9._-]{0,254}):(/[^\n]{0,4095})\n"
)
_ODD_PART = re.compile(rb"//|/\.{1,2}(?:/|\Z)|/\Z|\0")


class PredecessorItem(NamedTuple):
    """One data set of a catalog: ``number`` counts from 1, ``tape_index`` from 0, ``archive_index`` from 1.

    ``md5``, in lowercase, is that of the file, or of the directory's ``visdata``.
    """

    number: int
    tape_index: int
    archive_index: int
    md5: str
    source: Source

    @property
    def name(self) -> bytes:
        """``host:/path`` as it stands on the tape, in the catalog and in the archive."""
        return self.source.raw


class PredecessorHeading(NamedTuple):
    """The heading of a catalog: the job number, and the program's version and the time of writing as on tape.

    ``written`` is YYYYMMDD-HHMM; nothing says in which time zone.
    """

    job: str
    version: str
    written: str


@dataclass(frozen=True)
class PredecessorCatalog:
    """The catalog of a pair of volumes: the fields of ``PredecessorHeading``, and ``items`` in tape order, not empty.

    ``sha256`` is that of the text without the NULs after it: equal on both volumes of a pair, and on no others.
    """

    job: str
    version: str
    written: str
    items: tuple[PredecessorItem, ...]
    sha256: str

    @property
    def heading(self) -> PredecessorHeading:
        """The heading, which identifies the dump."""
        return PredecessorHeading(self.job, self.version, self.written)

    @property
    def created(self) -> datetime:
        """The time of writing, as if it were UTC: the predecessor named no time zone."""
        return datetime.strptime(self.written, "%Y%m%d-%H%M").replace(tzinfo=UTC)

    def archives(self) -> Iterator[tuple[PredecessorItem, ...]]:
        """Yield the items of each archive, in tape order."""
        for _, items in groupby(self.items, attrgetter("tape_index")):
            yield tuple(items)


def is_predecessor(first_block: bytes | memoryview) -> bool:
    """Whether the predecessor wrote the volume whose first block is ``first_block``."""
    return bytes(memoryview(first_block)[: len(_BEGIN)]) == _BEGIN


def is_plain(path: bytes) -> bool:
    """Whether an absolute ``path`` has no empty, ``.`` or ``..`` part and no NUL."""
    return not _ODD_PART.search(path)


def enclosing(name: bytes) -> Iterator[bytes]:
    """Yield ``name`` and the names of all folders around it, the longest first."""
    while name:
        yield name
        name = name.rpartition(b"/")[0]


def locate_item(catalog: PredecessorCatalog, labels: Iterable[str], item: PredecessorItem) -> str:
    """Return the place of ``item`` in the form of the lab's database: ``20170221[H0C10001,H0C20001]-0:1``."""
    return f"{catalog.version}[{','.join(sorted(labels))}]-{item.tape_index}:{item.archive_index}"


def read_predecessor_heading(content: bytes | memoryview) -> PredecessorHeading | None:
    """Return the heading at the start of ``content``; None if there is none."""
    match = _HEADING.match(content)
    if match is None:
        return None
    heading = PredecessorHeading(*(group.decode("ascii") for group in match.groups()))
    # The expression lets 20171399-9999 pass.
    try:
        datetime.strptime(heading.written, "%Y%m%d-%H%M")
    except ValueError:
        return None
    return heading


def digest_catalog(content: bytes) -> str:
    """Return the SHA-256, in hexadecimal, of the text of the catalog whose blocks are ``content``."""
    return hashlib.sha256(content.rstrip(b"\0")).hexdigest()


def parse_predecessor_catalog(content: bytes, volume_tag: VolumeTag) -> PredecessorCatalog:
    """Return the catalog whose whole blocks are ``content``; raises FormatError, which names ``volume_tag``."""
    try:
        if len(content) > LONGEST_CATALOG:
            raise ValueError(f"it is longer than {LONGEST_CATALOG} bytes")
        text = content.rstrip(b"\0")
        if len(content) % CATALOG_BLOCK or len(content) - len(text) >= CATALOG_BLOCK:
            raise ValueError(f"its text of {len(text)} bytes does not fill {len(content)} bytes of blocks")
        if b"\0" in text:
            raise ValueError(f"there is a NUL in its text, at offset {text.index(0)}")
        if not text.endswith(b"\n"):
            raise ValueError("its text ends in the middle of a line")
        heading = read_predecessor_heading(text)
        if heading is None:
            raise ValueError("it does not have the heading that the predecessor wrote")
        items = tuple(_read_items(text))
    except ValueError as error:
        raise FormatError(volume_tag, f"its catalog of the predecessor's cannot be read: {error}") from error
    return PredecessorCatalog(*heading, items, hashlib.sha256(text).hexdigest())


def _read_items(text: bytes) -> Iterator[PredecessorItem]:
    """Yield the items in the lines after the heading; raises ValueError at one that is not the next in tape order."""
    match = _HEADING.match(text)
    at = match.end() if match else 0
    if at == len(text):
        raise ValueError("it lists no data set")
    before = PredecessorItem(0, -1, 0, "", Source("", b""))
    sources = set()
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            line = text[at : at + 5000].partition(b"\n")[0]
            raise ValueError(f"in line {before.number + 4} {_explain(line)}")
        at = match.end()
        source = Source(match[5].decode("ascii"), match[6])
        if not is_plain(source.path):
            raise ValueError(f"{quote(source.path)} is not a path that a data set can have")
        item = PredecessorItem(
            number=int(match[1]),
            tape_index=int(match[2]),
            archive_index=int(match[3]),
            md5=match[4].decode("ascii").lower(),
            source=source,
        )
        if item.number != before.number + 1 or item.number > MOST_ITEMS:
            raise ValueError(f"data set {item.number} comes after {before.number}")
        step = item.tape_index - before.tape_index
        if step not in ((0, 1) if before.number else (1,)):
            raise ValueError(f"data set {item.number} lies in archive {item.tape_index}, after {before.tape_index}")
        if item.archive_index != (1 if step else before.archive_index + 1):
            raise ValueError(f"data set {item.number} is number {item.archive_index} of its archive, out of order")
        if source in sources:
            raise ValueError(f"{source} is in it twice")
        sources.add(source)
        yield item
        before = item


def _explain(line: bytes) -> str:
    """Return why ``line`` is no item, as a clause."""
    fields = line.split(b":", 5)
    if len(fields) < 6 or not all(re.fullmatch(rb"[0-9]{1,9}", field) for field in fields[:3]):
        return f"{quote(line[:100])} stands where item:tape_index:archive_index:md5:host:/path should be"
    if not re.fullmatch(rb"[0-9a-fA-F]{32}", fields[3]):
        return f"{quote(fields[3][:100])} is no MD5"
    if not fields[5].startswith(b"/") or len(fields[5]) > 4096:
        return f"{quote(fields[5][:100])} is not an absolute path"
    return f"{quote(fields[4][:100])} is not a host name"
