"""Tape file 0 (R2, R3, R9)."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.errors import FormatError
from papertape.volume.header import Attributes, build_header
from papertape.volume.label import Identity, Label, Twin, compose_label, explain_volume, parse_label, read_label
from papertape.volume.layout import check_block_size
from papertape.volume.tapefile import compose

from .samples import BLOCK, NOW, QUICK, THOROUGH, TWIN, VOLUME

_tags = st.text(st.sampled_from("ABCXYZ0129-_"), min_size=1, max_size=32)
identities = st.builds(Identity, _tags, st.uuids().map(str), st.integers(1, 9))
block_sizes = st.integers(BLOCK // 512, 4 * 1024 * 1024 // 512).map(lambda factor: factor * 512)


def document(**changes: object) -> bytes:
    """Return a good volume.json with ``changes``; None removes a field."""
    good = {
        "format": "papertape",
        "format_version": 1,
        "volume_uuid": VOLUME.uuid,
        "volume_tag": VOLUME.tag,
        "copy": 1,
        "twins": [{"volume_tag": TWIN.tag, "volume_uuid": TWIN.uuid}],
        "block_size": BLOCK,
        "created": "2024-05-17T03:04:05Z",
        "written_by": "papertape 0.1.0",
    }
    changed = {**good, **changes}
    return json.dumps({key: value for key, value in changed.items() if value is not None}).encode()


@QUICK
@given(identities, st.lists(identities, max_size=3), block_sizes)
def test_r2_a_label_is_read_back(volume: Identity, twins: list[Identity], block_size: int) -> None:
    label = read_label(compose_label(volume, twins, block_size, NOW).content, volume.tag)
    expected = (volume.tag, volume.uuid, volume.copy, block_size, NOW)
    assert (label.volume_tag, label.volume_uuid, label.copy, label.block_size, label.created) == expected
    assert label.twins == tuple(Twin(twin.tag, twin.uuid) for twin in twins)


@QUICK
@given(identities, st.lists(identities, max_size=3), block_sizes)
def test_r2_a_label_is_one_block(volume: Identity, twins: list[Identity], block_size: int) -> None:
    label = compose_label(volume, twins, block_size, NOW)
    assert len(label.content) == block_size == label.tape_file.size
    assert [member.name for member in label.members] == [b"README.txt", b"volume.json"]


def test_r2_stock_tar_gets_the_readme(tmp_path: Path) -> None:
    (tmp_path / "0000.tar").write_bytes(compose_label(VOLUME, [TWIN], 1 << 20, NOW).content)
    command = ["tar", "-b", "2048", "-xOf", tmp_path / "0000.tar", "README.txt"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert text.startswith("This is the tape volume PAPR1001, copy 1 ")
    assert "Its twins, the same from the second tape file on: PAPR2001." in text


@QUICK
@given(block_sizes)
def test_r2_the_readme_names_the_volumes_own_numbers(block_size: int) -> None:
    label = Label("papertape", 1, "u", "PAPR1001", 1, (), block_size, NOW, "papertape 0")
    text = explain_volume(label)
    commands = [line for line in text.splitlines() if line.startswith("  tar ")]
    assert len(commands) == 3
    assert all(f"tar -b {block_size // 512} -" in line for line in commands)
    assert f"bs={block_size} " in text
    assert "twins, the same from the second tape file on: none." in text
    assert "{" not in text.replace("$((R + 1))", "")
    assert max(map(len, text.splitlines())) <= 120


def test_r2_papertape_knows_its_own_plain_words() -> None:
    label = Label("papertape", 1, "u", "PAPR1001", 1, (), 1 << 20, NOW, "papertape 0")
    assert parse_label(document(block_size=1 << 20), "PAPR1001").block_size == label.block_size


@pytest.mark.parametrize("version", [2, 3, 10**18, 2.0])
def test_r9_a_newer_label_is_refused_by_name(version: float) -> None:
    with pytest.raises(FormatError, match=r"PAPR1001: it has format version .*use a newer one"):
        parse_label(document(format_version=version, twins=None, news="unheard of"), "PAPR1001")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "tapepaper"},
        {"format": None},
        {"format_version": None},
        {"format_version": 0},
        {"format_version": -1},
        {"format_version": "1"},
        {"block_size": 0},
        {"block_size": 1000},
        {"block_size": -BLOCK},
        {"block_size": 1 << 60},
        {"block_size": "1"},
        {"volume_tag": 1},
        {"twins": [1]},
        {"created": "yesterday"},
        {"volume_uuid": None},
    ],
)
def test_r9_a_label_with_nonsense_in_it_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match=r"volume PAPR1001: its volume\.json"):
        parse_label(document(**changes), "PAPR1001")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"\xff",
        b'{"format": "\xff"}',
        b'{"a": ' + b"[" * 100_000,
        b'{"format_version": ' + b"9" * 5000 + b"}",
    ],
)
def test_r9_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match=r"its volume\.json cannot be read"):
        parse_label(content, "PAPR1001")


@THOROUGH
@given(st.data())
def test_r9_a_mutated_document_is_a_label_or_refused(data: st.DataObject) -> None:
    content = bytearray(document())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        label = parse_label(bytes(content), "PAPR1001")
    except FormatError:
        return
    assert check_block_size(label.block_size)


@QUICK
@given(st.binary(max_size=3000))
def test_r9_foreign_bytes_are_no_label(content: bytes) -> None:
    with pytest.raises(FormatError, match="PAPR1001"):
        read_label(content, "PAPR1001")


@pytest.mark.parametrize("form", ["ustar", "gnu", "pax"])
def test_r9_a_foreign_tar_is_no_label(tmp_path: Path, form: str) -> None:
    (tmp_path / "paper").write_bytes(b"x")
    subprocess.run(["tar", f"--format={form}", "-cf", "a.tar", "paper"], cwd=tmp_path, check=True)
    with pytest.raises(FormatError, match="PAPR1001"):
        read_label((tmp_path / "a.tar").read_bytes(), "PAPR1001")


def test_r9_a_label_cut_short_is_refused() -> None:
    content = compose_label(VOLUME, [TWIN], BLOCK, NOW).content
    used = len(content.rstrip(b"\0"))
    for length in (0, 100, 512, 1000, 3072, 3584, used - 1):
        with pytest.raises(FormatError):
            read_label(content[:length], "PAPR1001")


@QUICK
@given(st.integers(0, 5000), st.integers(0, 7))
def test_r9_a_flipped_bit_in_a_label_raises_nothing_but_format_errors(at: int, bit: int) -> None:
    content = bytearray(compose_label(VOLUME, [TWIN], BLOCK, NOW).content)
    content[at] ^= 1 << bit
    with contextlib.suppress(FormatError):
        read_label(bytes(content), "PAPR1001")


def test_r9_a_label_with_data_that_never_ends_is_refused() -> None:
    endless = build_header(b"volume.json", 2**62, Attributes("file", 0o644, 0)) + bytes(BLOCK)
    with pytest.raises(FormatError):
        read_label(endless, "PAPR1001")


def test_r9_two_documents_are_no_label() -> None:
    content = compose("label", [(b"volume.json", document()), (b"volume.json", document())], NOW, BLOCK).content
    with pytest.raises(FormatError):
        read_label(content, "PAPR1001")


def test_r3_twins_differ_in_tape_file_0() -> None:
    one, other = compose_label(VOLUME, [TWIN], BLOCK, NOW), compose_label(TWIN, [VOLUME], BLOCK, NOW)
    assert one.content != other.content
