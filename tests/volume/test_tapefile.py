"""Tape files: composed, scanned, damaged (R1, R9, R10, R11)."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections import deque
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes, Header, build_header
from papertape.volume.members import Member
from papertape.volume.tapefile import (
    LONGEST_EXTENSION,
    MemberBegin,
    MemberData,
    MemberKnown,
    ScanError,
    Scanner,
    compose,
)

from .samples import BLOCK, NOW, QUICK, THOROUGH, names

members_strategy = st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=8)
SMALL = [(b"README.txt", b"read me" * 90), ("né".encode(), b""), (b"\xff" * 101, b"\0" * 512), (b"last", b"x")]


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


class Seen:
    """What a scanner says of a tape file: (name, offset, header checksum, SHA-256) of each whole member."""

    def __init__(self) -> None:
        self.members: list[tuple[bytes, int, str, str]] = []
        self.errors = 0
        self.structure = ""
        self.ended = False
        self._hash = hashlib.sha256()
        self._begun = (b"", -1, "")

    def take(self, event: MemberBegin | MemberKnown | MemberData) -> None:
        if isinstance(event, MemberData):
            self._hash.update(event.data)
            if event.last:
                self.members.append((*self._begun, self._hash.hexdigest()))
            return
        self._hash = hashlib.sha256()
        if isinstance(event, MemberKnown):
            self._begun = (event.member.name, event.member.offset, event.member.header)
        else:
            self._begun = (event.header.name, event.offset, event.checksum)


def _next(catalog: Sequence[Member], offset: int) -> Member | None:
    return next((member for member in catalog if member.offset > offset), None)


def scan(blocks: Iterable[bytes], catalog: Sequence[Member] = (), *, tell: bool = False) -> Seen:
    """Scan ``blocks``; after an error, go on at the next member of the ``catalog``, or else a record further.

    With ``tell`` the scanner is told what to expect, as a verification does.
    """
    seen, scanner = Seen(), Scanner()
    for block in blocks:
        events = scanner.feed(memoryview(block))
        while events:
            scanner.known = _next(catalog, scanner.offset - 1) if tell else None
            try:
                for event in events:
                    seen.take(event)
                    scanner.known = _next(catalog, scanner.offset) if tell else None
                break
            except ScanError as error:
                seen.errors += 1
                following = _next(catalog, error.offset)
                scanner.resume(following.offset if following else error.offset + 512)
                events = scanner.feed_again()
    seen.structure, seen.ended = scanner.structure(), scanner.ended
    return seen


@QUICK
@given(members_strategy, st.sampled_from([512, 1024, 4096, BLOCK]), st.booleans())
def test_r1_a_composed_tape_file_is_scanned_back(
    members: list[tuple[bytes, bytes]], block_size: int, tell: bool
) -> None:
    composed = compose("label", members, NOW, BLOCK)
    assert len(composed.content) == composed.tape_file.size
    assert composed.tape_file.size % BLOCK == 0
    seen = scan(cut(composed.content, block_size), composed.members, tell=tell)
    assert seen.members == [(item.name, item.offset, item.header, item.sha256) for item in composed.members]
    assert [item.name for item in composed.members] == [name for name, _ in members]
    assert [item.sha256 for item in composed.members] == [hashlib.sha256(data).hexdigest() for _, data in members]
    assert (seen.structure, seen.ended, seen.errors) == (composed.tape_file.structure, True, 0)


@QUICK
@given(members_strategy.filter(bool), st.data())
def test_r10_an_offset_leads_to_its_member(members: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    composed = compose("archive", members, NOW, BLOCK)
    member = data.draw(st.sampled_from(composed.members))
    block = member.offset // BLOCK
    blocks = cut(composed.content, BLOCK)[block:]
    blocks[0] = blocks[0][member.offset - block * BLOCK :]
    assert scan(blocks).members[0][0] == member.name


def test_r7_links_and_directories_have_no_data() -> None:
    kinds = [
        Attributes(DIRECTORY, 0o755, 0),
        Attributes(LINK, 0o777, 0, target=b"elsewhere"),
        Attributes(FILE, 0o644, 0),
    ]
    content = b"".join(build_header(kind.kind.encode(), 0, kind) for kind in kinds) + bytes(1024)
    events = list(Scanner().feed(memoryview(content)))
    begins = [event.header for event in events if isinstance(event, MemberBegin)]
    assert begins == [Header(kind.kind.encode(), 0, kind, 512) for kind in kinds]
    assert [event.last for event in events if isinstance(event, MemberData)] == [True]


@pytest.mark.parametrize("tell", [False, True])
def test_r11_every_flipped_bit_is_noticed(tell: bool) -> None:
    composed = compose("label", [(b"a", b"data"), ("é".encode(), b"")], NOW, 512)
    content = bytearray(composed.content)
    good = scan([bytes(content)])
    for at in range(len(content)):
        for bit in range(8):
            content[at] ^= 1 << bit
            seen = scan([bytes(content)], composed.members, tell=tell)
            assert seen.errors or (seen.members, seen.structure) != (good.members, good.structure), (at, bit)
            content[at] ^= 1 << bit


@QUICK
@given(members_strategy, st.integers(0, 2**40), st.integers(0, 7))
def test_r11_a_flipped_bit_anywhere_is_noticed(members: list[tuple[bytes, bytes]], at: int, bit: int) -> None:
    composed = compose("label", members, NOW, BLOCK)
    content = bytearray(composed.content)
    content[at % len(content)] ^= 1 << bit
    good, seen = scan(cut(composed.content, 4096)), scan(cut(bytes(content), 4096))
    assert seen.errors or (seen.members, seen.structure) != (good.members, good.structure)


def test_r9_after_a_damaged_header_the_next_member_is_found() -> None:
    composed = compose("archive", SMALL, NOW, BLOCK)
    for number, damaged in enumerate(composed.members):
        content = bytearray(composed.content)
        content[damaged.offset + 3] ^= 0xFF
        seen = scan(cut(bytes(content), 512), composed.members)
        assert [name for name, *_ in seen.members] == [name for name, _ in SMALL[:number] + SMALL[number + 1 :]]


def test_r9_a_resume_that_does_not_advance_still_ends() -> None:
    scanner = Scanner()
    events, errors = scanner.feed(memoryview(b"\1" * 4096)), 0
    while True:
        try:
            assert not list(events)
            break
        except ScanError as error:
            errors += 1
            assert errors <= 8
            scanner.resume(error.offset)
            events = scanner.feed_again()
    assert scanner.offset == 4096


def test_r9_a_member_given_up_while_it_begins_yields_no_data() -> None:
    scanner = Scanner()
    content = build_header(b"n", 700, Attributes(FILE, 0o644, 0)) + b"x" * 700 + bytes(324) + bytes(1024)
    events = scanner.feed(memoryview(content))
    assert isinstance(next(events), MemberBegin)
    scanner.resume(1536)
    assert list(events) == []
    assert scanner.ended


def test_r9_a_pax_header_with_no_member_after_it_is_refused() -> None:
    extension = build_header(b"n" * 200, 0, Attributes(FILE, 0o644, 0))[:-512]
    with pytest.raises(ScanError, match="offset 0"):
        list(Scanner().feed(memoryview(extension + bytes(1024))))


def announce(size: int) -> bytes:
    """Return the header of pax records that are ``size`` bytes long."""
    record = bytearray(build_header(b"PaxHeaders/n", size, Attributes(FILE, 0o644, 0)))
    record[156:157] = b"x"
    record[148:156] = b"        "
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record)


@pytest.mark.parametrize("size", [LONGEST_EXTENSION + 1, 8**11 - 1])
def test_r9_an_enormous_pax_header_is_refused(size: int) -> None:
    with pytest.raises(ScanError, match="never writes"):
        list(Scanner().feed(memoryview(announce(size))))


def test_r9_a_scanner_holds_one_header_and_no_more() -> None:
    scanner, filling = Scanner(), memoryview(bytes(BLOCK))
    tracemalloc.start()
    try:
        list(scanner.feed(memoryview(announce(LONGEST_EXTENSION))))
        with pytest.raises(ScanError):
            deque((list(scanner.feed(filling)) for _ in range(1024)), 0)
        assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST_EXTENSION
    finally:
        tracemalloc.stop()


_record = st.one_of(
    st.binary(min_size=512, max_size=512),
    st.just(bytes(512)),
    st.sampled_from(cut(compose("label", SMALL, NOW, 512).content, 512)),
    st.builds(announce, st.integers(0, 4096)),
)


@THOROUGH
@given(st.lists(_record, max_size=30), st.sampled_from([512, 1024, 100, 777, 5000]))
def test_r9_arbitrary_records_raise_nothing_but_scan_errors(records: list[bytes], block_size: int) -> None:
    content = b"".join(records)
    seen = scan(cut(content, block_size))
    assert seen.errors <= 2 * len(content) // min(block_size, 512) + 2


_edits = st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=40)), max_size=6)


@THOROUGH
@given(members_strategy, _edits, st.integers(0, 20_000), st.sampled_from([512, 4096, BLOCK, 1000]))
def test_r9_mutated_tape_files_raise_nothing_but_scan_errors(
    members: list[tuple[bytes, bytes]], edits: list[tuple[int, bytes]], length: int, block_size: int
) -> None:
    composed = compose("archive", members, NOW, 512)
    content = bytearray(composed.content)
    for at, new in edits:
        where = at % len(content)
        content[where : where + len(new)] = new
    blocks = cut(bytes(content[:length]), block_size)
    scan(blocks)
    scan(blocks, composed.members)
    scan(blocks, composed.members, tell=True)
