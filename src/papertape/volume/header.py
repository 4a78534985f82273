"""Tar headers in the pax form of POSIX.1-2017, written and read a record at a time.

Python's ``tarfile`` takes ten times as long for a header, which would stop a tape drive that runs at full speed. The
tests compare this module with ``tarfile`` and with GNU tar. ``docs/format.md``, "Headers", lists the pax records.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from papertape.volume.layout import RECORD

FILE, DIRECTORY, LINK = "file", "dir", "link"
"""The kinds of members (R7)."""

USTAR = b"ustar\00000"
"""Magic and version of a ustar header."""
_TYPES = {FILE: b"0", DIRECTORY: b"5", LINK: b"2"}
_KINDS = {b"0": FILE, b"\0": FILE, b"5": DIRECTORY, b"2": LINK}
_BACK = struct.Struct("c100s8s32s32s8s8s155s12x")
"""The fields of a ustar header after the checksum: type, target, magic, user, group, device numbers, prefix."""
_LARGEST_OWNER = 0o7777777
"""The largest user or group number that eight bytes of octal digits, NUL included, hold."""
_TEN_DIGITS = 10**9
_BLANK_SUM = b"        "
"""POSIX sums a header with blanks in place of the checksum."""
_LONGEST_NUMBER = 0o77777777777
"""The largest size or time that twelve bytes of octal digits, NUL included, hold."""

_MOST_DIGITS = 20
"""Digits of the longest number that a reader accepts in a pax record: a 64-bit one has no more."""


class Attributes(NamedTuple):
    """The facts of a header besides name and size.

    ``mode`` holds the permission bits, ``mtime`` is in nanoseconds since 1970, ``target`` is that of a link.
    """

    kind: str
    mode: int
    mtime: int
    uid: int = 0
    gid: int = 0
    user: bytes = b""
    group: bytes = b""
    target: bytes = b""


class Header(NamedTuple):
    """A header that was read; ``size`` is that of the data, ``length`` that of all header records, both in bytes."""

    name: bytes
    size: int
    attributes: Attributes
    length: int


class HeaderError(ValueError):
    """These bytes are not a header as papertape writes it."""


def build_header(name: bytes, size: int, attributes: Attributes) -> bytes:
    """Return the headers of a member as whole records: a plain one, after a pax header if it cannot hold the truth.

    ``size`` is that of the data in bytes, 0 for directories and links.
    """
    kind, mode, mtime, uid, gid, user, group, target = attributes
    frame = _frame(kind, mode, (uid, gid), (user, group), target)
    seconds, fraction = divmod(mtime, 10**9)
    plain_size = size if size <= _LONGEST_NUMBER else 0
    plain_seconds = seconds if 0 <= seconds <= _LONGEST_NUMBER else 0
    record = _pack(name[:100], plain_size, plain_seconds, frame)
    pax = _name_records(name, target)
    if fraction and _TEN_DIGITS <= seconds < 10 * _TEN_DIGITS:
        # Most files have such a time: the record's length of 30 is known, and its parts need not be measured.
        pax += b"30 mtime=%d.%09d\n" % (seconds, fraction)
    elif fraction or plain_seconds != seconds:
        sign, (before, after) = b"-" if mtime < 0 else b"", divmod(abs(mtime), 10**9)
        pax += _pax_record(b"mtime", (b"%b%d.%09d" % (sign, before, after)).rstrip(b"0").rstrip(b"."))
    if plain_size != size:
        pax += _pax_record(b"size", b"%d" % size)
    pax += frame.pax
    return b"%b%b%b%b" % (_extension_record(len(pax)), pax, bytes(-len(pax) % RECORD), record) if pax else record


class _Frame(NamedTuple):
    """The part that the headers of many members share: the fields around name, size and time, and their sum."""

    front: bytes
    back: bytes
    sum: int
    pax: bytes


# Cached, like _extension_record: the files of a night have the same owner, mode and group, over and over.
@lru_cache(4096)
def _frame(kind: str, mode: int, ids: tuple[int, int], names: tuple[bytes, bytes], target: bytes) -> _Frame:
    (uid, gid), (user, group) = ids, names
    owner = [number if number <= _LARGEST_OWNER else 0 for number in ids]
    front = b"%07o\0%07o\0%07o\0" % (mode & 0o7777, *owner)
    back = _BACK.pack(_TYPES[kind], target, USTAR, user[:31], group[:31], b"", b"", b"")
    pax = [_pax_record(key, b"%d" % value) for key, value in ((b"uid", uid), (b"gid", gid)) if value > _LARGEST_OWNER]
    pax += [_pax_record(key, value) for key, value in ((b"uname", user), (b"gname", group)) if _misfits(value, 31)]
    return _Frame(front, back, sum(front) + sum(back) + sum(_BLANK_SUM), b"".join(pax))


def _pack(name: bytes, size: int, seconds: int, frame: _Frame) -> bytes:
    """Return one header record, with its checksum."""
    numbers = b"%011o\0%011o\0" % (size, seconds)
    checksum = sum(name) + sum(numbers) + frame.sum
    return b"%b%b%b%06o\0 %b" % (name.ljust(100, b"\0"), frame.front, numbers, checksum, frame.back)


@lru_cache(4096)
def _extension_record(size: int) -> bytes:
    """Return the header record of ``size`` bytes of pax records; a reader that knows no pax makes a file of them."""
    front = b"0000644\0%07o\0%07o\0" % (0, 0)
    back = _BACK.pack(b"x", b"", USTAR, b"", b"", b"", b"", b"")
    return _pack(b"PaxHeaders", size, 0, _Frame(front, back, sum(front) + sum(back) + sum(_BLANK_SUM), b""))


def _name_records(name: bytes, target: bytes) -> bytes:
    """Return the pax records for a name and a link's target that the plain header cannot hold; empty for most."""
    if len(name) <= 100 and len(target) <= 100 and name.isascii() and target.isascii():
        return b""
    needs = [(key, value) for key, value in ((b"path", name), (b"linkpath", target)) if _misfits(value, 100)]
    records = [_pax_record(key, value) for key, value in needs]
    if not all(_is_utf8(value) for _, value in needs):
        records.insert(0, _pax_record(b"hdrcharset", b"BINARY"))
    return b"".join(records)


def _misfits(value: bytes, room: int) -> bool:
    """Whether ``value`` needs a pax record: it is too long, or a reader would have to guess its encoding.

    A short value that is not UTF-8 stays in the plain header as it is: every reader takes that for bytes.
    """
    return len(value) > room or not (value.isascii() or not _is_utf8(value))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return ``length key=value LF``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # the digits of the length can be one more than those of the rest
    return b"%d %b=%b\n" % (length, key, value)


def is_extension(record: bytes) -> bool:
    """Whether this header record announces pax records, which come next, before the member's plain header."""
    return record[156:157] == b"x"


def read_number(field: bytes) -> int:
    """Return the number in an octal field; raises HeaderError."""
    digits = field.rstrip(b"\0 ")
    if not digits or digits.strip(b"01234567"):
        raise HeaderError(f"{field!a} is not an octal number")
    return int(digits, 8)


def check_record(record: bytes, magics: tuple[bytes, ...] = (USTAR,)) -> None:
    """Raise HeaderError unless ``record`` (512 bytes) is a tar header of these ``magics`` with the right checksum."""
    if record[257:265] not in magics or len(record) != RECORD:
        raise HeaderError("no tar header")
    if sum(record) - sum(record[148:156]) + 256 != read_number(record[148:156]):
        raise HeaderError("the header's checksum is wrong")


def read_size(record: bytes) -> int:
    """Return the data size in bytes that a checked header record states; raises HeaderError."""
    return read_number(record[124:136])


def read_header(extension: bytes, record: bytes, length: int) -> Header:
    """Return the header in a checked ``record``, with the pax records before it (or b""); raises HeaderError.

    ``length`` is that of all its records in bytes.
    """
    kind = _KINDS.get(record[156:157])
    if kind is None:
        raise HeaderError(f"a member of type {record[156:157]!a} is never written")
    return make_header(kind, read_pax(extension) if extension else {}, record, length)


def make_header(kind: str, pax: dict[bytes, bytes], record: bytes, length: int) -> Header:
    """Return the header in a checked ``record``; a key in ``pax`` replaces the field of that name.

    Raises HeaderError. The places of the fields are those of a ustar header (POSIX.1-2017, pax).
    """
    attributes = Attributes(
        kind=kind,
        mode=read_number(record[100:108]),
        mtime=_nanoseconds(pax[b"mtime"]) if b"mtime" in pax else read_number(record[136:148]) * 10**9,
        uid=_decimal(pax[b"uid"]) if b"uid" in pax else read_number(record[108:116]),
        gid=_decimal(pax[b"gid"]) if b"gid" in pax else read_number(record[116:124]),
        user=pax.get(b"uname", record[265:297].rstrip(b"\0")),
        group=pax.get(b"gname", record[297:329].rstrip(b"\0")),
        target=pax.get(b"linkpath", record[157:257].rstrip(b"\0")),
    )
    size = _decimal(pax[b"size"]) if b"size" in pax else read_size(record)
    return Header(pax.get(b"path", record[:100].rstrip(b"\0")), size, attributes, length)


def _nanoseconds(text: bytes) -> int:
    seconds, _, fraction = text.removeprefix(b"-").partition(b".")
    value = _decimal(seconds) * 10**9 + _decimal(fraction[:9].ljust(9, b"0"))
    return -value if text.startswith(b"-") else value


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise HeaderError(f"{digits[:_MOST_DIGITS]!a} is not a decimal number")
    return int(digits)


def read_pax(records: bytes) -> dict[bytes, bytes]:
    """Return the keys and values of pax records; raises HeaderError."""
    values = {}
    while records:
        digits, space, _ = records[:12].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = records[len(digits) + 1 : length].partition(b"=")
        if not equals or length > len(records) or not value.endswith(b"\n"):
            raise HeaderError("a pax record is damaged")
        values[key] = value[:-1]
        # A length below its own digits would never end; the partition above then finds no equals sign and refuses it.
        records = records[length:]
    return values
