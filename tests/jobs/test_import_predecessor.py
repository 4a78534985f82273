"""The predecessor's volumes in the ledger: imported, found in its own words, verified, and never deletable."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.errors import UserError
from papertape.states import Format
from papertape.tape.virtual.library import add_cartridge
from predecessor import TAGS, OldVolume, compose_tape, lay_out, make_sources
from stories import CAPACITY, Lab

from .conftest import MakeLab
from .damage import flip, record, remove
from .tables import tables


def lay(lab: Lab, tape_files: list[bytes], *tags: str) -> None:
    """Put volumes with this recording into the library."""
    for tag in tags:
        if not lab.cartridge(tag).exists():
            add_cartridge(lab.folder / "library", tag, capacity=10 * CAPACITY)
        record(lab, tag, *lay_out(tape_files))


@pytest.fixture
def lab(new_lab: MakeLab, night: list[Path]) -> Lab:
    """A lab with room for two volumes more, and a night that waits."""
    made = new_lab(spare=2)
    made.add(*night)
    return made


@pytest.fixture
def tape(tmp_path: Path) -> list[bytes]:
    sources = make_sources(tmp_path / "sources", 5)
    return compose_tape(tmp_path / "work", [sources[:2], sources[2:4], sources[4:]])


def test_a_pair_is_archived_found_and_verified_and_never_deletable(lab: Lab, tape: list[bytes]) -> None:
    lay(lab, tape, *TAGS)
    results = lab.bring_in(*TAGS)
    assert [(r.kind, r.error, r.bytes) for r in results.values()] == [("predecessor", None, len(tape[0]))] * 2
    (dump,) = lab.ledger.dumps.all()
    assert (dump.format, dump.state, dump.datasets, dump.version) == (Format.PREDECESSOR, "archived", 5, "20170221")
    assert f"{dump.created_at:%Y%m%d-%H%M}" == "20171003-0412"
    assert [(copy.volume, copy.copy, copy.verified_at) for copy in dump.copies] == [
        (TAGS[0], 1, None),
        (TAGS[1], 2, None),
    ]
    found = list(lab.ledger.search.find("pot1:*"))
    assert [(item.tape_file, item.location) for item in found] == [
        (1, "20170221[H0C10001,H0C20001]-0:1"),
        (1, "20170221[H0C10001,H0C20001]-0:2"),
        (2, "20170221[H0C10001,H0C20001]-1:1"),
        (2, "20170221[H0C10001,H0C20001]-1:2"),
        (3, "20170221[H0C10001,H0C20001]-2:1"),
    ]
    assert all(item.state == "archived" for item in found)
    assert all(verification.ok for verification in lab.verify(*TAGS))
    assert all(copy.verified_at for copy in lab.ledger.dumps.all()[0].copies)
    assert list(lab.ledger.search.deletable()) == []
    before = tables(lab)
    lab.bring_in(*TAGS)
    assert tables(lab) == before


@pytest.mark.parametrize("order", [TAGS, TAGS[::-1]])
def test_one_of_a_pair_is_incomplete_until_the_other_is_seen(
    lab: Lab, tape: list[bytes], order: tuple[str, str]
) -> None:
    lay(lab, tape, *TAGS)
    assert lab.bring_in(order[0])[order[0]].error is None
    assert [dump.state for dump in lab.ledger.dumps.all()] == ["incomplete"]
    assert {item.state for item in lab.ledger.search.find("pot1:*")} == {"claimed"}
    lab.bring_in(order[1])
    (dump,) = lab.ledger.dumps.all()
    assert dump.state == "archived"
    assert [(copy.volume, copy.copy) for copy in dump.copies] == [(TAGS[0], 1), (TAGS[1], 2)]


def test_a_volume_with_another_dump_is_not_the_one_that_was_imported(
    lab: Lab, tape: list[bytes], tmp_path: Path
) -> None:
    lay(lab, tape, *TAGS)
    lab.bring_in(*TAGS)
    other = compose_tape(tmp_path / "other", [make_sources(tmp_path / "more", 3)])
    lay(lab, other, TAGS[0])
    bad, good = lab.verify(*TAGS)
    assert good.ok
    assert [finding.kind for finding in bad.findings] == ["WrongVolume"]
    assert lab.volumes()[TAGS[0]] == "aside"
    assert "holds another recording" in str(lab.bring_in(TAGS[0])[TAGS[0]].error)


def test_a_flipped_byte_is_found_by_the_catalogs_md5(lab: Lab, tape: list[bytes]) -> None:
    lay(lab, tape, *TAGS)
    lab.bring_in(*TAGS)
    path = lab.tape_files(TAGS[1])[2]
    content = path.read_bytes()
    flip(path, content.rindex(b"visdata") + 512)
    good, bad = lab.verify(*TAGS)
    assert good.ok
    assert not bad.ok


def test_a_volume_that_lacks_archives_is_set_aside(lab: Lab, tape: list[bytes]) -> None:
    lay(lab, tape, *TAGS)
    remove(lab.tape_files(TAGS[0])[-1])
    results = lab.bring_in(*TAGS)
    assert "3 archives, and 2 tape files" in str(results[TAGS[0]].error)
    assert lab.volumes()[TAGS[0]] == "aside"
    assert [dump.state for dump in lab.ledger.dumps.all()] == ["incomplete"]
    with pytest.raises(UserError, match="predecessor"):
        lab.recopy(TAGS[0])


def test_a_later_dump_of_ours_is_a_newer_version(lab: Lab, tmp_path: Path) -> None:
    sources = make_sources(tmp_path / "sources", 2)
    tape = compose_tape(tmp_path / "work", [sources])
    lay(lab, tape, *TAGS)
    lab.bring_in(*TAGS)
    lab.dump()
    before = [(found.source, found.version, found.state) for found in lab.ledger.search.find("*")]
    lab.lose_ledger()
    lab.bring_in("PAPR1001", "PAPR2001", *TAGS)
    assert [(found.source, found.version, found.state) for found in lab.ledger.search.find("*")] == before


def test_one_of_a_pair_is_enough_to_restore_from(lab: Lab, tape: list[bytes], tmp_path: Path) -> None:
    lay(lab, tape, *TAGS)
    lab.bring_in(TAGS[1])
    assert lab.restore("pot1:*", to=tmp_path / "back").error is None
    sources = make_sources(tmp_path / "again", 5)
    for source in sources:
        host, _, path = source.name.decode().partition(":/")
        assert (tmp_path / "back" / host / path / "visdata").read_bytes() == (source.path / "visdata").read_bytes()


def test_a_volume_of_600_data_sets(lab: Lab, old_volume: OldVolume, tell_figure: object) -> None:
    tape = old_volume.tape_files
    lay(lab, tape, *TAGS)
    results = lab.bring_in(*TAGS)
    assert all(result.error is None for result in results.values())
    (dump,) = lab.ledger.dumps.all()
    assert dump.state == "archived"
    assert results[TAGS[0]].bytes == len(tape[0])
    assert callable(tell_figure)
    tell_figure(f"import of a predecessor's volume: {len(tape[0])} bytes of {sum(map(len, tape))} were read")
    assert all(verification.ok for verification in lab.verify(*TAGS))
