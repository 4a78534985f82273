"""Tapes that end too early, go on too long, or are not the ones that they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.errors import UserError
from papertape.evidence import Finding, Verification
from stories import BLOCK, Lab

from .damage import append, cut, lengthen, operate, remove, set_runs, swap

TAGS = ("PAPR1001", "PAPR2001")


@pytest.fixture
def pair(lab: Lab) -> Lab:
    assert lab.dump().state == "archived"
    return lab


def read_back(lab: Lab) -> tuple[Finding, ...]:
    """Verify both; the second is good, what is wrong with the first is returned."""
    bad, good = lab.verify(*TAGS)
    assert good.ok
    assert not bad.ok
    assert all(finding.volume == "PAPR1001" for finding in bad.findings)
    assert lab.volumes()["PAPR1001"] == "aside"
    return bad.findings


def files(lab: Lab) -> list[Path]:
    return lab.tape_files("PAPR1001")


@pytest.mark.parametrize("number", [2, 3, -1])
def test_a_tape_file_that_lacks_its_end(pair: Lab, number: int) -> None:
    path = files(pair)[number]
    cut(path)
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("TruncatedVolume", int(path.stem))
    assert finding.expected == f"{path.stat().st_size + BLOCK} bytes"


def test_a_tape_file_with_a_block_too_many(pair: Lab) -> None:
    lengthen(files(pair)[2])
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("UnexpectedData", 2)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_tape_file_that_is_missing_in_the_middle(pair: Lab, number: int) -> None:
    remove(files(pair)[number])
    assert read_back(pair)[0].tape_file == number


def test_the_catalog_is_missing(pair: Lab) -> None:
    last = len(files(pair)) - 1
    remove(files(pair)[last])
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("TruncatedVolume", last)


def test_a_tape_file_too_many(pair: Lab) -> None:
    count = len(files(pair))
    append(files(pair)[2])
    (finding,) = read_back(pair)
    assert (finding.kind, finding.tape_file) == ("UnexpectedData", count)


def test_two_tape_files_in_the_wrong_order(pair: Lab) -> None:
    swap(files(pair)[2], files(pair)[3])
    findings = read_back(pair)
    assert findings[0].tape_file == 2
    assert {finding.kind for finding in findings} & {"UnexpectedFile", "FileMissing", "HeaderDamaged"}


def test_the_cartridge_of_the_twin_under_this_label(pair: Lab) -> None:
    for own, other in zip(files(pair), pair.tape_files("PAPR2001"), strict=True):
        own.write_bytes(other.read_bytes())
    findings = read_back(pair)
    assert findings[-1].kind == "WrongVolume"
    assert "PAPR2001" in str(findings[-1].found)
    assert {finding.tape_file for finding in findings} == {0}


def test_a_blank_cartridge_under_this_label(pair: Lab) -> None:
    for path in files(pair):
        path.unlink()
    operate(pair.cartridge("PAPR1001"), lambda record: record.update(tape_files=[]))
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("ReadFailed", 0)
    assert "at object 0" in str(finding.found)


@pytest.mark.parametrize("size", [512, BLOCK // 2, 2 * BLOCK])
def test_blocks_of_another_length(pair: Lab, size: int) -> None:
    path = files(pair)[2]
    set_runs(path.parent, 2, (size, path.stat().st_size // size))
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file, finding.offset) == ("BlockSizeMismatch", 2, 0)


def test_a_block_longer_than_any_that_is_written(pair: Lab) -> None:
    path = files(pair)[2]
    with path.open("ab") as file:
        file.truncate(8 * 1024 * 1024)
    set_runs(path.parent, 2, (8 * 1024 * 1024, 1))
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("ReadFailed", 2)


def test_a_block_that_cannot_be_read(pair: Lab) -> None:
    path = files(pair)[3]
    with path.open("r+b") as file:
        file.truncate(BLOCK)
    finding = read_back(pair)[0]
    assert (finding.kind, finding.tape_file) == ("ReadFailed", 3)
    assert "drive 0" in str(finding.found)


def test_more_volumes_than_drives_are_verified_in_turn(pair: Lab, night: list[Path]) -> None:
    night[0].write_bytes(b"another")
    pair.add(night[0])
    pair.dump()
    tags = pair.archived_volumes()
    assert [(v.volume, v.ok) for v in pair.verify(*tags)] == [(tag, True) for tag in tags]
    assert len(tags) == 4


def test_volumes_with_nothing_to_compare_them_with_are_reported_before_anything_moves(pair: Lab) -> None:
    for tag in ("PAPR1002", "NOSUCH01"):
        with pytest.raises(UserError, match=tag):
            pair.verify("PAPR1001", tag)


def test_bytes_that_were_read_after_the_finding_are_counted(pair: Lab) -> None:
    cut(files(pair)[3])
    bad: Verification = pair.verify("PAPR1001")[0]
    assert bad.bytes == sum(path.stat().st_size for path in files(pair)[:4])
