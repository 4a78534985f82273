"""The predecessor's catalogs: the genuine one, any that it could have written, and ones that it never would have."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.volume.samples import BLOCK, NOW, QUICK, THOROUGH, TWIN, VOLUME

from papertape.errors import FormatError
from papertape.volume.label import compose_label
from papertape.volume.predecessor import catalog as module
from papertape.volume.predecessor.catalog import (
    CATALOG_BLOCK,
    PredecessorHeading,
    is_predecessor,
    locate_item,
    parse_predecessor_catalog,
    read_predecessor_heading,
)
from predecessor import HEADING, JOB, OldVolume, compose_catalog, compose_lines, pad

MD5 = "0123456789abcdef0123456789abcdef"
MIB = 1024 * 1024
GOOD = [[(b"pot1:/data/zen.1.uv", MD5), (b"pot1:/data/zen.2.uv", "f" * 32)], [(b"pot2:/data/zen.1.uv", MD5)]]

_part = st.binary(min_size=1, max_size=30).map(
    lambda raw: raw.replace(b"/", b"-").replace(b"\0", b"0").replace(b"\n", b" ")
)
_parts = _part.filter(lambda part: part not in {b".", b".."})
paths = st.lists(_parts, min_size=1, max_size=5).map(lambda parts: b"/" + b"/".join(parts))
hosts = st.from_regex(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
sources = st.builds(lambda host, path: host + b":" + path, hosts, paths)
archives_strategy = st.lists(sources, min_size=1, max_size=12, unique=True).flatmap(
    lambda names: st.lists(st.integers(0, len(names)), max_size=3).map(
        lambda cuts: [
            [(name, hashlib.md5(name).hexdigest()) for name in names[begin:end]]
            for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(names)], strict=True)
            if begin < end
        ]
    )
)


def refuse(content: bytes) -> str:
    """Return the reason why these blocks are no catalog."""
    with pytest.raises(FormatError) as caught:
        parse_predecessor_catalog(content, "H0C10001")
    assert caught.value.volume_tag == "H0C10001"
    return caught.value.reason


def with_lines(*lines: bytes) -> bytes:
    return pad(HEADING.format(job=JOB).encode() + b"".join(line + b"\n" for line in lines), CATALOG_BLOCK)


def test_the_catalog_of_a_volume_of_600_data_sets(old_volume: OldVolume) -> None:
    content = old_volume.tape_files[0]
    assert is_predecessor(memoryview(content)[:CATALOG_BLOCK])
    catalog = parse_predecessor_catalog(content, "H0C10001")
    assert catalog.heading == old_volume.heading
    assert len(catalog.items) == 600
    assert [len(archive) for archive in catalog.archives()] == [159, 159, 159, 123]
    assert catalog.items[0] == old_volume.first
    assert catalog.sha256 == hashlib.sha256(content.rstrip(b"\0")).hexdigest()
    place = locate_item(catalog, ["H0C20001", "H0C10001"], catalog.items[-1])
    assert place == "20170221[H0C10001,H0C20001]-3:123"


def test_a_volume_of_papertapes_is_none_of_the_predecessors() -> None:
    assert not is_predecessor(compose_label(VOLUME, [TWIN], BLOCK, NOW).content)
    assert not is_predecessor(b"")
    assert not is_predecessor(b"## Paper dump")
    assert is_predecessor(compose_catalog(GOOD))


@QUICK
@given(archives_strategy, st.from_regex(r"[0-9]{1,20}", fullmatch=True))
@example([[(b"h:/a b:c\xff\\", MD5)]], "1")
def test_whatever_it_could_write_is_read(archives: list[list[tuple[bytes, str]]], job: str) -> None:
    content = compose_catalog(archives, job)
    catalog = parse_predecessor_catalog(content, "V")
    assert catalog.heading == read_predecessor_heading(content) == PredecessorHeading(job, "20170221", "20171003-0412")
    assert [[(item.name, item.md5) for item in archive] for archive in catalog.archives()] == archives
    assert [item.number for item in catalog.items] == list(range(1, len(catalog.items) + 1))
    for item in catalog.items:
        assert item.source.host.encode() + b":" + item.source.path == item.name
        assert str(item.source).isprintable() or not str(item.source).isascii()


def test_both_of_a_pair_have_the_same_digest_and_no_others() -> None:
    catalogs = [compose_catalog(GOOD), compose_catalog(GOOD), compose_catalog(GOOD, "1"), compose_catalog(GOOD[:1])]
    digests = [parse_predecessor_catalog(content, "V").sha256 for content in catalogs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("change", [(b"catalog:", b"catalog: "), (b"archive_index", b"file_index")])
def test_headings_of_its_oldest_versions(change: tuple[bytes, bytes]) -> None:
    content = pad(compose_catalog(GOOD).rstrip(b"\0").replace(*change), CATALOG_BLOCK)
    assert len(parse_predecessor_catalog(content, "V").items) == 3


@pytest.mark.parametrize("over", range(-2, 3))
def test_text_that_just_fills_its_block(over: int) -> None:
    room = CATALOG_BLOCK - len(HEADING.format(job=JOB)) - len(compose_lines([[(b"h:/", MD5)] * 9]))
    names = [b"h:/%d" % number + b"x" * (room // 9 - 1) for number in range(8)]
    rest = room - sum(len(name) - len(b"h:/") for name in names)
    content = compose_catalog([[(name, MD5) for name in [*names, b"h:/" + b"y" * (rest + over)]]])
    assert len(content.rstrip(b"\0")) == CATALOG_BLOCK + over
    assert len(parse_predecessor_catalog(content, "V").items) == 9


def test_a_line_runs_across_the_end_of_a_block() -> None:
    archives = [[(b"pot1:/data/zen.%05d.uv" % number, MD5) for number in range(2000)]]
    content = compose_catalog(archives)
    assert content[CATALOG_BLOCK - 1 : CATALOG_BLOCK] != b"\n"
    assert len(parse_predecessor_catalog(content, "V").items) == 2000


LINE = b"1:0:1:%b:h:/a" % MD5.encode()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([b""], "where item:"),
        ([b"1:0:1:h:/a"], "where item:"),
        ([b"one:0:1:%b:h:/a" % MD5.encode()], "where item:"),
        ([b"-1:0:1:%b:h:/a" % MD5.encode()], "where item:"),
        ([b"1:0:1:%b:h:/a" % MD5[1:].encode()], "is no MD5"),
        ([b"1:0:1:None:h:/a"], "is no MD5"),
        ([b"1:0:1:%b:h:a" % MD5.encode()], "not an absolute path"),
        ([b"1:0:1:%b:h:/%b" % (MD5.encode(), b"a" * 4096)], "not an absolute path"),
        ([b"1:0:1:%b::/a" % MD5.encode()], "not a host name"),
        ([b"1:0:1:%b:a b:/a" % MD5.encode()], "not a host name"),
        ([b"1:0:1:%b:\xff:/a" % MD5.encode()], "not a host name"),
        ([LINE.replace(b"/a", b"/a/../b")], "not a path"),
        ([LINE.replace(b"/a", b"/..")], "not a path"),
        ([LINE.replace(b"/a", b"/./a")], "not a path"),
        ([LINE.replace(b"/a", b"//a")], "not a path"),
        ([LINE.replace(b"/a", b"/a/")], "not a path"),
        ([LINE.replace(b"/a", b"/")], "not a path"),
        ([b"2:0:1:%b:h:/a" % MD5.encode()], "comes after 0"),
        ([LINE, b"3:0:2:%b:h:/b" % MD5.encode()], "comes after 1"),
        ([b"1:1:1:%b:h:/a" % MD5.encode()], "archive 1, after -1"),
        ([LINE, b"2:2:1:%b:h:/b" % MD5.encode()], "archive 2, after 0"),
        ([LINE, b"2:1:1:%b:h:/b" % MD5.encode(), b"3:0:2:%b:h:/c" % MD5.encode()], "archive 0, after 1"),
        ([b"1:0:2:%b:h:/a" % MD5.encode()], "number 2 of its archive"),
        ([LINE, b"2:0:3:%b:h:/b" % MD5.encode()], "number 3 of its archive"),
        ([LINE, b"2:1:2:%b:h:/b" % MD5.encode()], "number 2 of its archive"),
        ([LINE, b"2:0:2:%b:h:/a" % MD5.encode()], "h:/a is in it twice"),
        ([LINE, b"2:1:1:%b:h:/a" % MD5.encode()], "h:/a is in it twice"),
        ([], "lists no data set"),
        ([b"## a comment"], "where item:"),
    ],
)
def test_a_catalog_that_contradicts_itself_is_refused(lines: list[bytes], reason: str) -> None:
    assert reason in refuse(with_lines(*lines))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "middle of a line"),
        (bytes(CATALOG_BLOCK), "does not"),
        (compose_catalog(GOOD)[:-1], "does not fill"),
        (compose_catalog(GOOD) + bytes(CATALOG_BLOCK), "does not fill"),
        (compose_catalog(GOOD).replace(b"zen.1", b"zen.\0"), "a NUL in its text"),
        (pad(compose_catalog(GOOD).rstrip(b"\n\0"), CATALOG_BLOCK), "middle of a line"),
        (pad(compose_lines(GOOD), CATALOG_BLOCK), "heading"),
        (compose_catalog(GOOD).replace(b"20171003-0412", b"20171303-0412"), "heading"),
        (compose_catalog(GOOD).replace(b"data_md5", b"data_sha"), "heading"),
        (compose_catalog(GOOD, "no number"), "heading"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(content: bytes, reason: str) -> None:
    assert reason in refuse(content)


def test_a_catalog_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "longer than" in refuse(bytes(module.LONGEST_CATALOG + CATALOG_BLOCK))
    monkeypatch.setattr(module, "MOST_ITEMS", 2)
    assert "data set 3" in refuse(compose_catalog(GOOD))


_edits = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(0, 8),
        st.one_of(st.binary(max_size=8), st.sampled_from([b"\n", b":", b"..", b"/", b"\0", b"1:0:1:", b"##"])),
    ),
    min_size=1,
    max_size=5,
)


@THOROUGH
@given(_edits, st.booleans())
def test_a_mutated_catalog_is_refused_or_says_what_it_can(edits: list[tuple[int, int, bytes]], padded: bool) -> None:
    text = compose_catalog(GOOD).rstrip(b"\0")
    for at, length, new in edits:
        where = at % len(text)
        text = text[:where] + new + text[where + length :] or b"\n"
    with contextlib.suppress(FormatError):
        catalog = parse_predecessor_catalog(pad(text, CATALOG_BLOCK if padded else 1), "V")
        places = [(item.tape_index, item.archive_index) for item in catalog.items]
        assert places == sorted(set(places))
        assert len({item.source for item in catalog.items}) == len(catalog.items)
        assert all(re.fullmatch("[0-9a-f]{32}", item.md5) for item in catalog.items)
        assert not any({b"", b"..", b"."} & set(item.source.path[1:].split(b"/")) for item in catalog.items)


@THOROUGH
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    for content in (raw, pad(raw, CATALOG_BLOCK), pad(HEADING.format(job=JOB).encode() + raw, 32768)):
        refuse(content)


MILLION = """
import sys, time
from pathlib import Path
from papertape.volume.predecessor.catalog import parse_predecessor_catalog
from predecessor import compose_catalog

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

content = compose_catalog([((b"pot1:/data1/%d/zen.%d.uv" % (i, i), "%032x" % i) for i in range(a, a + 1000))
                           for a in range(0, 10**6, 1000)])
before, began = peak(), time.process_time()
assert len(parse_predecessor_catalog(content, "V").items) == 10**6
print(time.process_time() - began, peak() - before)
"""


def test_a_million_data_sets_take_seconds_and_a_bounded_memory(tell_figure: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", MILLION], env=environment, capture_output=True, text=True, check=True)
    seconds, grown = map(float, done.stdout.split())
    tell_figure(f"a predecessor's catalog of a million data sets: {seconds:.1f} s of CPU, {grown / MIB:.0f} MiB")
    assert seconds < 60
    assert grown < 1000 * MIB
