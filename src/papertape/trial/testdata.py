"""A night of test data that can be built again: the same seed and sizes give the same bytes, names and times.

::

    FOLDER/md5sums.txt                          what the lab's database would declare, in md5sum form
    FOLDER/data/                                one data set an entry:
        correlator-0001.bin                         large, incompressible
        zen.2457698.40355.xx.HH.uvcA/               MIRIAD-like: visdata, header, history, vartable, flags
        zen.2457698.40355.xx.HH.uvh5                with the signature of an HDF5 file, and noise
        logs-0001/                                  small and compressible files, symbolic links
        'a blank', 'a\\nnewline', ...                names that break careless programs
        empty-0001
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import NamedTuple

from papertape.errors import HostError, UserError
from papertape.events import Phase, Tell
from papertape.volume.sums import sums_line
from papertape.words import show_size

MD5SUMS, DATA = "md5sums.txt", "data"
VISDATA = b"visdata"
"""The file of a MIRIAD data set that the lab's MD5 is of."""
KIB, MIB = 1024, 1024 * 1024
PIECE = MIB
DISK_BLOCK = 4096
"""Most disks round a file's size up to a multiple of this, in bytes."""
LOGS_IN_A_FOLDER = 50
LINES = 64
FIRST_NIGHT, FIRST_FRACTION, FILE_FRACTION = 2457698, 40355, 746
"""The Julian day of the first file, its fraction and the time between two, both in hundred-thousandths of a day."""
JULIAN_EPOCH = 2440587.5
"""The Julian day of 1970-01-01 00:00 UTC."""

ODD_NAMES = (
    b"a blank",
    b"a\nnewline",
    b"back\\slash",
    b"not utf-8 \xe9\xff",
    "ünïcode 望遠鏡".encode(),
    b"200-bytes-" + b"x" * 190,
    b"-rf",
    b"quote ' and \" and $HOME",
)
"""Every one is a legal name on Linux; a file system that refuses one gets on without it."""

LINK_TARGETS = (b"log-000001.txt", b"../logs-0001", b"/nowhere/at all", b"n\xf6where")
"""Symbolic links lead to a file, upwards, to nothing, and to a name that is not UTF-8."""

_REFUSED_NAME = {errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG}

Seed = tuple[int, bytes]
"""The builder's seed, and the name of what it is for."""


@dataclass(frozen=True)
class Sizes:
    """How much test data to build: for each kind how many, and how many bytes each.

    Small files have from an eighth of ``small_bytes`` up to all of it. ``uv_bytes`` are those of ``visdata``. ``odd``
    files are named after the first of ``ODD_NAMES``.
    """

    large: int = 2
    large_bytes: int = 16 * MIB
    small: int = 200
    small_bytes: int = 32 * KIB
    uv: int = 6
    uv_bytes: int = MIB
    uvh5: int = 2
    uvh5_bytes: int = 512 * KIB
    empty: int = 2
    links: int = 4
    odd: int = len(ODD_NAMES)

    def check(self) -> None:
        """Raise UserError if there can be no such test data."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise UserError(f"test data of {field.name} {value}: a count or a size cannot be below 0")
        if self.odd > len(ODD_NAMES):
            raise UserError(f"test data with {self.odd} odd names: there are only {len(ODD_NAMES)}")


class Built(NamedTuple):
    """One data set that was built; ``bytes`` and ``files`` count its regular files.

    ``md5`` is that of the file, or of a MIRIAD directory's ``visdata``; None for any other directory.
    """

    path: Path
    bytes: int
    files: int
    md5: str | None


class _Item(NamedTuple):
    """A file to build (``content`` is its bytes, or how they are made), or, with ``target``, a symbolic link.

    ``name`` is relative to the data set, b"" for the data set itself; ``time`` is in seconds since 1970.
    """

    name: bytes
    size: int
    time: int
    content: bytes | None = None
    compressible: bool = False
    target: bytes | None = None


class _DataSet(NamedTuple):
    name: bytes
    items: tuple[_Item, ...]


def build_testdata(folder: Path, sizes: Sizes, seed: int, tell: Tell) -> list[Built]:
    """Build the test data for ``seed`` and ``sizes`` in ``folder``, which must be empty or must not exist yet.

    Returns the data sets in the order in which they were built. Raises UserError if the folder is in use or the disk
    has no room for all of it (then nothing was built), HostError if the disk fails later.
    """
    sizes.check()
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: not empty; build test data in a folder of its own")
    except OSError as error:
        raise UserError(f"{folder}: cannot be used for test data ({error.strerror})") from error
    needed = _bytes_needed(sizes)
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
    if free < needed:
        amounts = f"{show_size(needed)}, and {show_size(free)} are free"
        raise UserError(f"{folder}: the test data needs {amounts}; make room, or build less")
    tell(Phase(name="building test data", total=needed))
    try:
        (folder / DATA).mkdir(parents=True)
        every = (_build(folder / DATA / os.fsdecode(dataset.name), dataset, seed) for dataset in _plan(sizes, seed))
        built = [dataset for dataset in every if dataset]
        # The MD5 of a directory stands under the directory's own path, as in the lab's database.
        sums = [sums_line(item.md5, os.fsencode(item.path.absolute())) for item in built if item.md5]
        (folder / MD5SUMS).write_bytes(b"".join(sums))
    except OSError as error:
        reason = f"the test data cannot be built ({error.strerror})"
        raise HostError(str(folder), f"{reason}: make room or use another folder, and delete the rest") from error
    return built


def _bytes_needed(sizes: Sizes) -> int:
    """Return the bytes that all of it takes on disk, and a tenth more, from the sizes alone: it may be far too much."""
    kinds = (
        (sizes.large, sizes.large_bytes),
        (sizes.small, sizes.small_bytes),
        (sizes.uv, sizes.uv_bytes + sizes.uv_bytes // 32 + 4 * DISK_BLOCK),
        (sizes.uvh5, sizes.uvh5_bytes),
        (sizes.empty + sizes.links + sizes.odd + 1, DISK_BLOCK),
    )
    return sum(number * (size + DISK_BLOCK) for number, size in kinds) * 11 // 10


def _plan(sizes: Sizes, seed: int) -> Iterator[_DataSet]:
    """Yield the data sets of the night, in the order in which they are built."""
    clock = count(_unix_time(FIRST_NIGHT, FIRST_FRACTION), 60)  # one time per minute, in seconds since 1970
    for number in range(1, sizes.large + 1):
        yield _DataSet(b"correlator-%04d.bin" % number, (_Item(b"", sizes.large_bytes, next(clock)),))
    yield from _plan_miriad(sizes, seed)
    for stem, time in _observations(sizes.uvh5):
        yield _DataSet(stem + b"uvh5", (_Item(b"", sizes.uvh5_bytes, time),))
    yield from _plan_logs(sizes, seed, clock)
    for name in ODD_NAMES[: sizes.odd]:
        yield _DataSet(name, (_text(b"", next(clock), b"The name of this file is %a.\n" % name),))
    for number in range(1, sizes.empty + 1):
        yield _DataSet(b"empty-%04d" % number, (_Item(b"", 0, next(clock)),))


def _unix_time(day: int, fraction: int) -> int:
    return round((day + fraction / 1e5 - JULIAN_EPOCH) * 86400)


def _observations(number: int) -> Iterator[tuple[bytes, int]]:
    """Yield the stem of a file's name and its time for each of ``number`` observations of a row."""
    for index in range(number):
        day, fraction = divmod(FIRST_NIGHT * 100_000 + FIRST_FRACTION + index * FILE_FRACTION, 100_000)
        yield b"zen.%d.%05d.xx.HH." % (day, fraction), _unix_time(day, fraction)


def _plan_miriad(sizes: Sizes, seed: int) -> Iterator[_DataSet]:
    """Yield MIRIAD directories: the items of a real one, with as many bytes, whose content nobody reads."""
    for stem, time in _observations(sizes.uv):
        history = b"CORR-DACQ: created file.\ntest data, seed %d: %buvcA\n" % (seed, stem)
        items = (
            _text(b"header", time, _header_item(b"vislen", sizes.uv_bytes) + _header_item(b"ncorr", 8 * KIB)),
            _text(b"vartable", time, b"r corr\ni nchan\ni npol\ni nspect\nd inttime\nd sdf\na source\na telescop\n"),
            _Item(b"flags", sizes.uv_bytes // 32, time, compressible=True),
            _text(b"history", time + 60, history),
            _Item(VISDATA, sizes.uv_bytes, time),
        )
        yield _DataSet(stem + b"uvcA", items)


def _text(name: bytes, time: int, content: bytes) -> _Item:
    return _Item(name, len(content), time, content)


def _header_item(name: bytes, value: int) -> bytes:
    """Return an item of a MIRIAD header: a name of 16 bytes, then length, type and value."""
    return name.ljust(15, b"\0") + b"\x10" + b"\0\0\0\x08\0\0\0\x10" + value.to_bytes(8, "big")


def _plan_logs(sizes: Sizes, seed: int, clock: Iterator[int]) -> Iterator[_DataSet]:
    """Yield directories of small files; the links are spread over them."""
    folders = max(-(-sizes.small // LOGS_IN_A_FOLDER), min(sizes.links, 1))
    draw = random.Random(f"{seed} small")  # noqa: S311  # it must come out the same every time
    smallest = sizes.small_bytes // 8
    for number in range(folders):
        own = range(number + 1, sizes.small + 1, folders)
        files = [
            _Item(b"log-%06d.txt" % log, draw.randint(smallest, sizes.small_bytes), next(clock), compressible=True)
            for log in own
        ]
        links = [
            _Item(b"link-%04d" % (link + 1), 0, next(clock), target=LINK_TARGETS[link % len(LINK_TARGETS)])
            for link in range(number, sizes.links, folders)
        ]
        yield _DataSet(b"logs-%04d" % (number + 1), (*files, *links))


def _build(path: Path, dataset: _DataSet, seed: int) -> Built | None:
    """Build one data set; return None if its name is odd and the file system refuses it."""
    is_directory = bool(dataset.items[0].name)
    md5 = None
    try:
        if is_directory:
            path.mkdir()
        for item in dataset.items:
            place = path / os.fsdecode(item.name) if is_directory else path
            digest = _make(place, item, (seed, dataset.name + item.name))
            if item.name in {b"", VISDATA}:
                md5 = digest
    except OSError as error:
        if dataset.name in ODD_NAMES and error.errno in _REFUSED_NAME:
            return None
        raise
    if is_directory:  # last: each new entry has changed the directory's time
        time = dataset.items[-1].time
        os.utime(path, (time, time))
    sizes = [item.size for item in dataset.items if item.target is None]
    return Built(path, sum(sizes), len(sizes), md5)


def _make(path: Path, item: _Item, seed: Seed) -> str:
    """Make a file or a link, and return the MD5 of its bytes."""
    digest = hashlib.md5(usedforsecurity=False)
    if item.target is not None:
        path.symlink_to(os.fsdecode(item.target))
    else:
        pieces: Iterable[bytes]
        if item.content is not None:
            pieces = (item.content,)
        elif item.compressible:
            pieces = _cut(_log_lines(seed), item.size)
        else:
            signature = b"\x89HDF\r\n\x1a\n" if seed[1].endswith(b".uvh5") else b""
            pieces = _cut(_noise(seed, signature), item.size)
        with path.open("xb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
    os.utime(path, (item.time, item.time), follow_symlinks=False)
    return digest.hexdigest()


def _cut(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the first ``size`` bytes of ``pieces``."""
    for piece in pieces:
        if len(piece) >= size:
            yield piece[:size]
            return
        size -= len(piece)
        yield piece


def _noise(seed: Seed, beginning: bytes) -> Iterator[bytes]:
    """Yield ``beginning`` and then bytes without end that no compression makes shorter.

    SHAKE-128 gives a third of a gigabyte a second, half as much again as ``random.randbytes``.
    """
    yield beginning
    for number in count():
        key = b"%d %d %b" % (seed[0], number, seed[1])
        yield hashlib.shake_128(key, usedforsecurity=False).digest(PIECE)


def _log_lines(seed: Seed) -> Iterator[bytes]:
    """Yield lines of a log without end, some at a time."""
    draw = random.Random(b"%d %b" % seed)  # noqa: S311  # it must come out the same every time
    line = b"%08d antenna %03d: 19 correlations, %3d K, no error\n"
    for number in count(0, LINES):
        yield b"".join(line % (number + more, draw.getrandbits(8), draw.getrandbits(8)) for more in range(LINES))
