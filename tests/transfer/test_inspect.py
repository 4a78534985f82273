"""Inspections of hostile volumes: one sentence, bounded memory and time, and no file outside the folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import NAMES, NOW, Files, edit_json, edit_row, header, pack, unpack
from papertape.errors import DriveError, FormatError, PapertapeError
from papertape.tape.drive import DriveStatus, Mark
from papertape.transfer.inspect import Inspection
from papertape.transfer.stop import Stop
from papertape.volume.label import Identity, compose_label
from papertape.volume.recorded import Blank, Foreign, Recorded, Torn, Whole
from papertape.volume.tapefile import compose
from predecessor import cut, mounted
from stories import BLOCK, make_lab, make_night

TAG = "PAPR1001"
QUICK = settings(max_examples=150, deadline=None)


class TapeFiles(list[bytes]):
    """Those of a volume; too many bytes to print."""

    def __repr__(self) -> str:
        return f"{len(self)} tape files"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The tape files of a volume that a dump wrote."""
    folder = tmp_path_factory.mktemp("volume")
    lab = make_lab(folder / "lab")
    lab.add(*make_night(folder / "night"))
    assert lab.dump().state == "archived"
    lab.ledger.close()
    return TapeFiles(path.read_bytes() for path in lab.tape_files(TAG))


def lay_out(tape_files: list[bytes]) -> list[bytes | Mark]:
    tape: list[bytes | Mark] = []
    for content in tape_files:
        tape += [*cut(content, BLOCK), Mark.FILEMARK]
    return tape


class Tape:
    """A drive that reads what lies in memory, as st does; ``tape`` may be endless."""

    number, serial = 0, "MEMORY"

    def __init__(self, tape: list[bytes | Mark]) -> None:
        self._tape = tape
        self._at = 0

    def rewind(self) -> None:
        self._at = 0

    def locate(self, address: int) -> None:
        self._at = address

    def position(self) -> int:
        return self._at

    def status(self) -> DriveStatus:
        marks = self._tape[: self._at].count(Mark.FILEMARK)
        return DriveStatus(True, self._at == 0, False, marks, None)

    def space(self, filemarks: int | Mark) -> None:
        if filemarks is Mark.END_OF_DATA:
            self._at = len(self._tape)
            return
        assert isinstance(filemarks, int)
        step = 1 if filemarks > 0 else -1
        for _ in range(abs(filemarks)):
            self._space(step)

    def _space(self, step: int) -> None:
        while 0 <= (at := self._at - (step < 0)) < len(self._tape):
            self._at += step
            if self._tape[at] is Mark.FILEMARK:
                return
        raise DriveError(0, "spacing: medium or drive error (EIO)")

    def read_block(self, buffer: memoryview) -> int | Mark:
        if self._at >= len(self._tape):
            if self._at and self._tape[self._at - 1] is Mark.FILEMARK:
                return Mark.END_OF_DATA
            raise DriveError(0, "reading: medium or drive error (EIO)")
        item = self._tape[self._at]
        self._at += 1
        if isinstance(item, Mark):
            return item
        buffer[: len(item)] = item
        return len(item)


def look(tape: list[bytes | Mark], tag: str = TAG) -> Recorded:
    """Inspect a tape; whatever the result, only files of the catalog or the plan may be in the folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inner"
        drive: Any = Tape(tape)
        try:
            found = Inspection(tag, drive, folder, Stop()).run()
            if isinstance(found, Whole):
                assert list(found.catalog.members())
        finally:
            inside = {str(path.relative_to(name)) for path in Path(name).rglob("*")}
            allowed = {*NAMES, "SHA256SUMS", "plan.json", "plan.csv"}
            assert inside <= {"inner", *(f"inner/{each}" for each in allowed)}
        return found


def refused(tape: list[bytes | Mark]) -> str:
    with pytest.raises(FormatError) as caught:
        look(tape)
    assert caught.value.volume_tag == TAG
    assert "\n" not in str(caught.value)
    return caught.value.reason


def with_catalog(volume: list[bytes], change: Callable[[Files], Files | None]) -> list[bytes | Mark]:
    files = unpack(volume[-1])
    return lay_out([*volume[:-1], pack(change(files) or files)])


def test_a_volume_says_what_it_is_in_a_few_blocks(volume: list[bytes]) -> None:
    found = look(lay_out(volume))
    assert isinstance(found, Whole)
    assert (found.label.volume_tag, found.catalog.datasets, found.remade) == (TAG, 6, False)
    assert found.record.label_members[0].name == b"README.txt"
    assert found.catalog.tape_files[-1].size == len(volume[-1])


def test_a_volume_in_a_virtual_drive_is_recognized(volume: list[bytes], tmp_path: Path) -> None:
    with mounted(tmp_path / "library", **{TAG: lay_out(volume)}) as (drive,):
        inspect = Inspection(TAG, drive, tmp_path / "folder", Stop())
        assert isinstance(inspect.run(), Whole)
        assert inspect.bytes == len(volume[0]) + len(volume[-1])


def test_blank_and_foreign_volumes(tmp_path: Path) -> None:
    assert isinstance(look([]), Blank)
    for first in (b"x", bytes(BLOCK), b"\xff" * 4 * 1024**2, Mark.FILEMARK):
        assert isinstance(look([first, Mark.FILEMARK]), Foreign)
    with mounted(tmp_path / "library", AAA001=[], AAA002=[b"x" * 3]) as drives:
        found = [Inspection("AAA001", drive, tmp_path / "folder", Stop()).run() for drive in drives]
    assert [type(each) for each in found] == [Blank, Foreign]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edit_json(format_version=2), "format version 2"),
        (edit_json(format="tarpit"), "not papertape's"),
        (edit_json(datasets=7), "and lists"),
        (edit_json(files=10**30), "contradicts itself"),
        (edit_json(bytes=-1), "and lists"),
        (edit_json(block_size=128 * 1024), "whole blocks"),
        (edit_json(block_size=1), "block size"),
        (edit_json(created="2026-01-01T00:00:00"), "not the time"),
        (edit_json(created="0001-01-01T00:00:00+14:00"), "not the time"),
        (edit_json(dump="x" * 100), "no uuid"),
        (edit_json(dump="\u001b[2J"), "no uuid"),
        (edit_json(volumes__0__volume_uuid="other"), "neither in its catalog nor"),
        (edit_json(volumes__0__volume_tag="PAPR2001"), "not twins"),
        (edit_json(volumes__0__copy=0), "numbered"),
        (edit_json(volumes__0__copy=2, volumes__1__copy=1), "not the one that its catalog has"),
        (edit_json(volumes__0__label__structure="0" * 64), "not the one that its catalog has"),
        (edit_json(volumes__0__label__members__0__2="0" * 64), "not the one that its catalog has"),
        (edit_json(volumes__0__label__bytes=10**30), "whole blocks"),
        (edit_json(volumes=[]), "not twins"),
        (edit_json(tape_files__0__bytes=2**63), "whole blocks"),
        (edit_json(tape_files__1__tape_file=7), "numbered from 1 on"),
        (edit_json(tape_files=[]), "contradicts itself"),
        (edit_row("files.csv", 4, "offset", "512"), "contradicts itself"),
        (edit_row("files.csv", 4, "bytes", "9" * 18), "outside the tape files"),
        (edit_row("files.csv", 4, "member", "data/x/../../etc/passwd"), "not a member name"),
        (edit_row("datasets.csv", 1, "files", "2"), "states"),
        (edit_row("datasets.csv", 1, "source", "correlator"), "not host:/path"),
        (edit_row("datasets.csv", 1, "fingerprint", "f" * 256), "fingerprint"),
        (edit_row("datasets.csv", 1, "source", "two\nlines"), "longer than its line"),
        (edit_row("datasets.csv", 1, "rejected", "x" * 200_000), "longer than its line"),
        (lambda files: {**files, "catalog.json": b'{"format_version":1,"x":' + b"[" * 100_000}, "nesting"),
        (lambda files: {**files, "catalog.json": b""}, "contradicts itself"),
        (lambda files: {**files, "files.csv": b"\xff\xfe"}, "contradicts itself"),
        (lambda files: {"catalog.json": files["catalog.json"], "../x": b"", **files}, "in place of datasets.csv"),
        (lambda files: {**files, "SHA256SUMS": b"", "more": b""}, "in place of the end"),
    ],
)
def test_a_catalog_that_contradicts_itself(
    volume: list[bytes], change: Callable[[Files], Files | None], sentence: str
) -> None:
    assert sentence in refused(with_catalog(volume, change))


def test_sums_that_contradict_the_catalog(volume: list[bytes]) -> None:
    files = unpack(volume[-1])
    files["datasets.csv"] += b"x"
    assert "SHA256SUMS" in refused(lay_out([*volume[:-1], pack(files, signed=False)]))


@pytest.mark.parametrize(
    ("name", "size"), [(b"catalog.json", 10 * 10**9), (b"catalog.json", 2**63), (b"catalog.json", 64 * 1024**2 + 1)]
)
def test_a_header_that_promises_too_much_is_refused_before_anything_is_stored(
    volume: list[bytes], name: bytes, size: int
) -> None:
    block = header(name, size).ljust(BLOCK, b"\0")
    assert "are the most" in refused([*lay_out(volume[:-1]), block, block, Mark.FILEMARK])


def test_a_catalog_that_continues_after_its_end(volume: list[bytes]) -> None:
    drive: Any = Tape([*lay_out(volume)[:-1], *[bytes(BLOCK)] * 100_000, Mark.FILEMARK])
    with tempfile.TemporaryDirectory() as name:
        inspect = Inspection(TAG, drive, Path(name) / "inner", Stop())
        with pytest.raises(FormatError, match="goes on after its end"):
            inspect.run()
        assert inspect.bytes < len(volume[0]) + len(volume[-1]) + 2 * BLOCK


def test_a_label_of_gigabytes(volume: list[bytes]) -> None:
    block = header(b"README.txt", 10**10).ljust(BLOCK, b"\0")
    drive: Any = Tape([block, *[bytes(BLOCK)] * 150_000, Mark.FILEMARK])
    with tempfile.TemporaryDirectory() as name:
        inspect = Inspection(TAG, drive, Path(name) / "inner", Stop())
        with pytest.raises(FormatError, match=r"no whole volume\.json"):
            inspect.run()
        assert inspect.bytes == BLOCK
    long = volume[0] + bytes(BLOCK)
    assert "goes on after its end" in refused(lay_out([long, *volume[1:]]))


def label(**values: Any) -> bytes:
    """Return a label with other words in its volume.json."""
    composed = compose_label(Identity(TAG, "a-uuid", 1), [Identity("PAPR2001", "b-uuid", 2)], BLOCK, NOW)
    files = unpack(composed.content)
    files["volume.json"] = json.dumps({**json.loads(files["volume.json"]), **values}).encode()
    return compose("label", [(name.encode(), data) for name, data in files.items()], NOW, BLOCK).content


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"format_version": 2, "all": "new"}, "format version 2"),
        ({"volume_tag": "PAPR2001"}, "wrong cartridge"),
        ({"volume_tag": "\x1b" * 10_000}, "no uuid, volume tag"),
        ({"volume_uuid": "x" * 65}, "no uuid, volume tag"),
        ({"copy": 10**30}, "it says copy"),
        ({"copy": 0}, "it says copy"),
        ({"block_size": 2 * BLOCK}, "one whole block"),
        ({"block_size": 2**70}, "cannot be read"),
        ({"created": "2026-01-01T00:00:00"}, "not the time"),
        ({"copy": 3}, "has no such copy"),
        ({"twins": []}, "neither in its catalog nor"),
        ({"created": "1999-01-01T00:00:00Z"}, "neither in its catalog nor"),
    ],
)
def test_a_label_with_impossible_values(volume: list[bytes], values: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(lay_out([label(**values), *volume[1:]]))


def test_the_label_of_another_dump(volume: list[bytes]) -> None:
    found = look(lay_out([label(created="2999-01-01T00:00:00Z"), *volume[1:]]))
    assert isinstance(found, Whole)
    assert found.remade


def test_a_plan_with_impossible_values_is_no_plan(volume: list[bytes]) -> None:
    plan = header(b"plan.json", 10**12).ljust(BLOCK, b"\0")
    found = look(lay_out([volume[0], plan, *volume[2:-1]]))
    assert isinstance(found, Torn)
    assert found.plan is None
    assert found.last == len(volume) - 2


@QUICK
@given(at=st.integers(0, 10**6), marked=st.booleans())
def test_a_volume_cut_anywhere_is_torn_or_an_error(volume: list[bytes], at: int, marked: bool) -> None:
    tape = lay_out(volume)
    end = at % len(tape)
    short = [*tape[:end], Mark.FILEMARK] if marked else tape[:end]
    found = look(short)
    assert isinstance(found, Whole) == (short == tape)
    if isinstance(found, Torn):
        written = tape[:end].count(Mark.FILEMARK) - 1
        assert found.last <= max(written + (marked and tape[end] is Mark.FILEMARK), 0)


@QUICK
@given(last=st.booleans(), at=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_byte_that_flipped_is_reported(volume: list[bytes], last: bool, at: int, bit: int) -> None:
    number = len(volume) - 1 if last else 0
    content = bytearray(volume[number])
    content[at % len(bytes(content).rstrip(b"\0"))] ^= 1 << bit
    tape = lay_out([bytes(content) if each == number else volume[each] for each in range(len(volume))])
    try:
        found = look(tape)
    except PapertapeError:
        return
    if isinstance(found, Whole):  # a header of the catalog's own is covered by the ledger alone (R11)
        original = look(lay_out(volume))
        assert isinstance(original, Whole)
        assert number
        assert found.catalog.tape_files[-1].structure != original.catalog.tape_files[-1].structure


@QUICK
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=2000), st.just(Mark.FILEMARK)), max_size=8), st.booleans())
def test_noise_is_foreign(tape: list[bytes | Mark], headed: bool) -> None:
    if headed:
        tape = [b"## Paper dump catalog:" + (tape[0] if tape and isinstance(tape[0], bytes) else b""), *tape]
    try:
        found = look(tape)
    except (FormatError, DriveError):
        return
    assert isinstance(found, Blank | Foreign)
