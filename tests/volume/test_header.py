"""Tar headers: what is written is what Python's ``tarfile`` and our own reader read (R1, R7)."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from papertape.volume.header import (
    DIRECTORY,
    FILE,
    LINK,
    Attributes,
    Header,
    HeaderError,
    build_header,
    check_record,
    is_extension,
    read_header,
    read_number,
    read_pax,
    read_size,
)

from .samples import QUICK, THOROUGH, headers, names

PLAIN = Attributes(FILE, 0o644, 0)
TYPES = {FILE: tarfile.REGTYPE, DIRECTORY: tarfile.DIRTYPE, LINK: tarfile.SYMTYPE}


def with_tarfile(header: bytes) -> tarfile.TarInfo:
    archive = io.BytesIO(header + bytes(1024))
    with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        info = tar.firstmember
    assert info is not None
    return info


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def with_our_own(header: bytes) -> Header:
    extension, record = b"", header[-512:]
    check_record(record)
    if is_extension(header):
        check_record(header[:512])
        extension = header[512 : 512 + read_size(header[:512])]
    return read_header(extension, record, len(header))


@THOROUGH
@given(headers())
def test_r1_tarfile_reads_every_header(facts: tuple[bytes, int, Attributes]) -> None:
    name, size, attributes = facts
    info = with_tarfile(build_header(name, size, attributes))
    assert raw(info.name) == name
    assert (info.size, info.type) == (size, TYPES[attributes.kind])
    assert (info.mode, info.uid, info.gid) == (attributes.mode, attributes.uid, attributes.gid)
    assert (raw(info.uname), raw(info.gname)) == (attributes.user, attributes.group)
    assert raw(info.linkname) == attributes.target
    assert info.mtime == pytest.approx(attributes.mtime / 10**9, rel=1e-12, abs=1e-9)


@THOROUGH
@given(headers())
def test_r1_our_own_reader_reads_every_header_to_the_nanosecond(facts: tuple[bytes, int, Attributes]) -> None:
    name, size, attributes = facts
    header = build_header(name, size, attributes)
    assert len(header) % 512 == 0
    assert with_our_own(header) == Header(name, size, attributes, len(header))


@QUICK
@given(names)
@example(b"n" * 100)
@example(b"n" * 101)
@example(b"\xff" * 100)
@example(b"\xff" * 101)
@example("é".encode())
def test_r7_a_pax_header_is_written_for_long_names_and_for_utf8_alone(name: bytes) -> None:
    utf8 = name.decode("utf-8", "ignore").encode() == name
    header = build_header(name, 0, PLAIN)
    assert is_extension(header) == (len(name) > 100 or (utf8 and not name.isascii()))
    assert (b"21 hdrcharset=BINARY\n" in header) == (len(name) > 100 and not utf8)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"mtime": 1}, b"mtime=0.000000001"),
        ({"mtime": -1}, b"mtime=-0.000000001"),
        ({"mtime": -1_500_000_000}, b"mtime=-1.5"),
        ({"mtime": 8**11 * 10**9}, b"mtime=8589934592\n"),
        ({"uid": 8**7}, b"uid=2097152"),
        ({"gid": 8**7}, b"gid=2097152"),
        ({"user": "Zoë".encode()}, "uname=Zoë".encode()),
        ({"group": b"g" * 32}, b"gname=" + b"g" * 32),
    ],
)
def test_r1_a_pax_header_holds_what_the_plain_one_cannot(change: dict[str, object], key: bytes) -> None:
    header = build_header(b"n", 0, PLAIN._replace(**change))
    assert key in header
    assert len(header) == 3 * 512


@pytest.mark.parametrize("change", [{"mtime": (8**11 - 1) * 10**9}, {"uid": 8**7 - 1}, {"user": b"u" * 31}, {}])
def test_r1_the_plain_header_is_enough_where_it_holds_the_truth(change: dict[str, object]) -> None:
    assert len(build_header(b"n" * 100, 8**11 - 1, PLAIN._replace(**change))) == 512


@THOROUGH
@given(st.binary(min_size=512, max_size=512), st.binary(max_size=1024))
def test_r9_arbitrary_records_raise_nothing_but_header_errors(record: bytes, extension: bytes) -> None:
    for read in (check_record, read_size, lambda record: read_header(extension, record, 512)):
        with contextlib.suppress(HeaderError):
            read(record)


_keys = st.sampled_from([b"mtime", b"uid", b"gid", b"size", b"path", b"linkpath", b"uname"])
_values = st.one_of(
    st.binary(max_size=20),
    st.integers().map(lambda number: b"%d" % number),
    st.sampled_from(
        [b"", b"-", b"--1", b"1_0", b" 1", b"+1", b"1e9", b"nan", b"9" * 5000, b"-1", b".5", b"1.", b"\xd9\xa1"]
    ),
)


def pax_record(key: bytes, value: bytes) -> bytes:
    length = next(n for n in range(10_000) if n == len(b"%d %b=%b\n" % (n, key, value)))
    return b"%d %b=%b\n" % (length, key, value)


@THOROUGH
@given(st.dictionaries(_keys, _values))
def test_r9_arbitrary_pax_values_raise_nothing_but_header_errors(values: dict[bytes, bytes]) -> None:
    body = b"".join(pax_record(*item) for item in values.items())
    assert read_pax(body) == values
    try:
        header = read_header(body, build_header(b"n", 0, PLAIN), 512)
    except HeaderError:
        return
    assert header.size >= 0
    assert header.attributes.uid >= 0
    assert header.attributes.gid >= 0


@pytest.mark.parametrize("value", [b"1_0", b" 1", b"+1", b"-1", b"", b"01\n"])
@pytest.mark.parametrize("key", [b"uid", b"gid", b"size"])
def test_r9_a_pax_number_is_decimal_digits_alone(key: bytes, value: bytes) -> None:
    with pytest.raises(HeaderError):
        read_header(pax_record(key, value), build_header(b"n", 0, PLAIN), 512)


@THOROUGH
@given(st.one_of(st.binary(max_size=600), st.from_regex(rb"[0-9]{1,12} [a-z]*=?[a-z]*\n?")))
def test_r9_arbitrary_pax_records_raise_nothing_but_header_errors(body: bytes) -> None:
    with contextlib.suppress(HeaderError):
        read_pax(body)


@pytest.mark.parametrize(
    "field", [b"", b"\0" * 8, b"0000008\0", b"\x80\0\0\0\0\0\0\1", b"-000001\0", b"00 00\0", b"0x1\0"]
)
def test_r9_a_number_is_octal_digits_alone(field: bytes) -> None:
    with pytest.raises(HeaderError):
        read_number(field)


@pytest.mark.parametrize("at", [0, 100, 124, 136, 148, 156, 257, 511])
def test_r9_a_flipped_bit_in_a_header_is_noticed(at: int) -> None:
    record = bytearray(build_header(b"name", 1, PLAIN))
    record[at] ^= 1
    with pytest.raises(HeaderError):
        check_record(bytes(record))


@pytest.mark.parametrize("length", [0, 1, 265, 329, 511])
def test_r9_a_cut_record_is_no_header(length: int) -> None:
    record = build_header(b"name", 0, PLAIN)[:length]
    with pytest.raises(HeaderError):
        check_record(record)
