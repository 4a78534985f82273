"""The database is gone: volumes say what lies on them, and the ledger is what it was before."""

from __future__ import annotations

import shutil
from itertools import permutations
from pathlib import Path

import pytest

from papertape.errors import DriveError, NothingToDo, VolumeError
from papertape.events import tell_all
from papertape.jobs.imports import choose_all
from papertape.ledger import open_ledger
from papertape.tape.drive import Mark
from papertape.tape.virtual.faults import Faults
from stories import BLOCK, HOST, Lab, check_all_archived, snapshot

from .conftest import MakeLab
from .damage import cut, operate, record, remove
from .tables import tables

PAIR = ("PAPR1001", "PAPR2001")


@pytest.fixture
def pair(lab: Lab) -> Lab:
    """A lab with one dump, of which one data set was rejected."""
    path = lab.folder.parent / "night" / "zen.3.uvh5"
    path.write_bytes(b"another")
    outcome = lab.dump()
    assert outcome.state == "archived"
    assert len(outcome.rejected) == 1
    return lab


def unknown(lab: Lab) -> list[str]:
    return choose_all(lab.ledger, lab.library(tell_all(), Faults()))


def check_unverified(lab: Lab) -> None:
    """What was imported is archived, and nothing of it is deletable before it was read back."""
    assert list(lab.ledger.search.deletable()) == []
    assert all(copy.verified_at is None for dump in lab.ledger.dumps.all() for copy in dump.copies)


def test_the_ledger_is_what_it_was(pair: Lab, tell_figure: object) -> None:
    before = tables(pair)
    deletable = list(pair.ledger.search.deletable())
    assert deletable
    tapes = {tag: snapshot(pair.cartridge(tag)) for tag in PAIR}
    pair.lose_ledger()
    results = pair.bring_in(*unknown(pair))
    assert [(r.kind, r.error) for r in results.values()].count(("blank", None)) == 4
    assert tables(pair) == before
    assert pair.volumes() == dict.fromkeys(PAIR, "archived")
    assert {tag: snapshot(pair.cartridge(tag)) for tag in PAIR} == tapes
    assert not pair.stranded()
    assert list(pair.settings.spool.iterdir()) == []
    for tag in PAIR:
        size = sum(path.stat().st_size for path in pair.tape_files(tag))
        assert callable(tell_figure)
        tell_figure(f"import: {results[tag].bytes} bytes of {size} were read")
        assert results[tag].bytes == BLOCK + pair.tape_files(tag)[-1].stat().st_size
    check_unverified(pair)
    assert all(verification.ok for verification in pair.verify(*PAIR))
    assert list(pair.ledger.search.deletable()) == deletable


@pytest.mark.parametrize("order", list(permutations(["PAPR1001", "PAPR2001", "PAPR1002", "PAPR2002"]))[::5])
def test_in_any_order_and_one_at_a_time(lab: Lab, night: list[Path], order: tuple[str, ...]) -> None:
    lab.dump()
    night[0].write_bytes(b"another")
    lab.add(night[0])
    lab.dump()
    before = tables(lab)
    lab.lose_ledger()
    for tag in order:
        assert lab.bring_in(tag)[tag].error is None
    assert tables(lab) == before


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
def test_versions_and_rejections_of_the_same_sources_in_any_order(
    lab: Lab, night: list[Path], order: tuple[int, ...]
) -> None:
    lab.dump()
    for number, path in enumerate(night[:3]):
        path.write_bytes(b"second %d" % number)
    lab.add(*night[:3])
    night[0].write_bytes(b"changed while it waited")
    assert len(lab.dump().rejected) == 1
    lab.add(night[0])
    night[1].write_bytes(b"third")
    lab.add(night[1])
    night[1].write_bytes(b"changed while it waited, too")
    assert len(lab.dump().rejected) == 1
    before = tables(lab)
    assert [len(rows) for rows in (before["rejections"], before["dumps"], before["datasets"])] == [2, 3, 10]
    lab.lose_ledger()
    for number in order:
        lab.bring_in(f"PAPR1{number:03}", f"PAPR2{number:03}")
    assert tables(lab) == before


def test_twice_changes_nothing(pair: Lab) -> None:
    pair.lose_ledger()
    pair.bring_in(*PAIR)
    tabled = tables(pair)
    again = pair.bring_in(*PAIR)
    assert [(r.error, r.imported and r.imported.changed) for r in again.values()] == [(None, False)] * 2
    assert tables(pair) == tabled
    pair.bring_in(*unknown(pair))
    assert tables(pair) == tabled


def test_a_ledger_that_was_there_is_not_changed(pair: Lab) -> None:
    before = tables(pair)
    deletable = list(pair.ledger.search.deletable())
    results = pair.bring_in(*PAIR)
    assert [(r.error, r.imported and r.imported.changed) for r in results.values()] == [(None, False)] * 2
    assert tables(pair) == before
    assert list(pair.ledger.search.deletable()) == deletable


def test_with_one_twin_alone_the_dump_is_incomplete(pair: Lab) -> None:
    before = tables(pair)
    pair.lose_ledger()
    result = pair.bring_in("PAPR1001")["PAPR1001"]
    assert result.error is None
    assert result.imported
    assert (result.imported.dump_state, result.imported.volume_state) == ("incomplete", "claimed")
    assert pair.volumes() == {"PAPR1001": "claimed", "PAPR2001": "aside"}
    assert "not seen yet" in pair.ledger.volumes.one("PAPR2001").reason
    assert sorted(set(pair.states().values())) == ["claimed", "rejected"]
    found = next(iter(pair.ledger.search.find("zen.0")))
    assert found.tape_file == 2
    assert "PAPR2001" in unknown(pair)
    assert pair.bring_in("PAPR2001")["PAPR2001"].error is None
    assert tables(pair) == before


def test_one_twin_is_enough_to_restore_from(pair: Lab, night: list[Path], tmp_path: Path) -> None:
    pair.lose_ledger()
    pair.bring_in("PAPR2001")
    assert pair.restore("*", to=tmp_path / "back").error is None
    for path in (night[0], night[5] / "visdata"):
        assert (tmp_path / "back" / HOST / str(path).lstrip("/")).read_bytes() == path.read_bytes()
    assert set(pair.volumes().values()) == {"claimed", "aside"}


def test_a_twin_that_is_lost_is_made_again(pair: Lab) -> None:
    pair.lose_ledger()
    pair.bring_in("PAPR1001")
    pair.add_blank("PAPR2002")
    assert pair.lacking() == ["PAPR2001"]
    outcome = pair.recopy("PAPR2001")
    assert (outcome.state, outcome.error) == ("archived", None)
    assert set(outcome.volumes) == {"PAPR1001", "PAPR2002"}
    assert list(pair.ledger.search.deletable())


@pytest.mark.parametrize("order", list(permutations(["PAPR1001", "PAPR2001", "PAPR2002"])))
def test_a_copy_that_was_made_again(lab: Lab, order: tuple[str, ...]) -> None:
    with Faults().fail("write_block", at=7, drive=1) as faults:
        assert lab.dump(faults=faults).state == "incomplete"
    assert lab.recopy("PAPR2001").state == "archived"
    before = tables(lab, "write_serial", "label", "reason")
    lab.lose_ledger()
    for tag in order:
        lab.bring_in(tag)
    after = tables(lab, "write_serial", "label", "reason")
    assert after == before
    assert "replaced by PAPR2002" in lab.ledger.volumes.one("PAPR2001").reason
    check_unverified(lab)
    assert all(verification.ok for verification in lab.verify("PAPR1001", "PAPR2002"))
    assert len(list(lab.ledger.search.deletable())) == 6


def test_a_good_copy_that_was_made_again_gives_way_in_any_order(lab: Lab) -> None:
    lab.dump()
    lab.ledger.volumes.retire("PAPR2001", "lost")
    assert lab.recopy("PAPR2001").state == "archived"
    tabled = []
    for order in (["PAPR1001", "PAPR2001", "PAPR2002"], ["PAPR2002", "PAPR2001", "PAPR1001"]):
        lab.lose_ledger()
        for tag in order:
            assert lab.bring_in(tag)[tag].imported
        tabled.append(tables(lab))
        assert lab.volumes() == {"PAPR1001": "archived", "PAPR2001": "aside", "PAPR2002": "archived"}
    assert tabled[0] == tabled[1]


def test_a_volume_that_was_replaced_stays_so(lab: Lab) -> None:
    lab.dump()
    lab.ledger.volumes.retire("PAPR2001", "lost")
    with Faults().fail("write_block", at=5, drive=1) as faults:
        assert lab.recopy("PAPR2001", faults=faults).error
    before = tables(lab)
    results = lab.bring_in("PAPR2001", "PAPR1001")
    assert [result.imported and result.imported.changed for result in results.values()] == [False, False]
    assert tables(lab) == before


def tear(lab: Lab, tag: str) -> None:
    """Cut the recording off in its last archive: neither end nor catalog is there."""
    remove(lab.tape_files(tag)[-1])
    cut(lab.tape_files(tag)[-1])


@pytest.mark.parametrize("order", [PAIR, PAIR[::-1]])
def test_a_torn_twin_is_the_bad_copy_of_its_dump(pair: Lab, order: tuple[str, str]) -> None:
    tear(pair, "PAPR2001")
    pair.lose_ledger()
    results: dict[str, object] = {}
    for tag in order:
        results |= pair.bring_in(tag)
    error = results["PAPR2001"].error  # type: ignore[attr-defined]
    assert isinstance(error, VolumeError)
    assert "ends without a catalog" in str(error)
    (dump,) = pair.ledger.dumps.all()
    assert dump.is_incomplete
    assert pair.volumes() == {"PAPR1001": "claimed", "PAPR2001": "aside"}
    assert [bool(copy.error) for copy in dump.copies] == [False, True]
    assert sorted(set(pair.states().values())) == ["claimed", "rejected"]
    pair.add_blank("PAPR2002")
    assert pair.recopy("PAPR2001").state == "archived"


def test_two_torn_twins_name_the_data_sets_to_archive_again(pair: Lab, night: list[Path]) -> None:
    for tag in PAIR:
        tear(pair, tag)
    last = len(pair.tape_files("PAPR1001")) - 1
    pair.lose_ledger()
    pair.bring_in(*PAIR)
    (dump,) = pair.ledger.dumps.all()
    assert dump.state == "failed"
    assert set(pair.volumes().values()) == {"aside"}
    assert set(pair.states().values()) == {"rejected"}
    reasons = pair.reasons()
    assert "tape file 2" in reasons["zen.0.uvh5"]
    assert "whole by its end" in reasons["zen.0.uvh5"]
    assert f"tape file {last} of" in reasons["zen.9.uv"]
    assert "not written to its end" in reasons["zen.9.uv"]
    tabled = tables(pair)
    pair.bring_in(*PAIR)
    assert tables(pair) == tabled
    pair.add_blank("PAPR1002", "PAPR2002")
    pair.add(*night)
    assert pair.dump().state == "archived"
    assert set(pair.states().values()) == {"archived"}


def test_a_source_registered_meanwhile_is_the_same_data_set_or_a_newer_version(lab: Lab, night: list[Path]) -> None:
    lab.dump()
    lab.lose_ledger()
    night[0].write_bytes(b"changed since")
    lab.add(*night)
    lab.bring_in(*PAIR)
    found = [(item.source.rpartition("/")[2], item.version, item.state) for item in lab.ledger.search.find("zen.0")]
    assert found == [("zen.0.uvh5", 1, "archived"), ("zen.0.uvh5", 2, "waiting")]
    assert sorted(lab.states().values()) == ["archived"] * 5 + ["waiting"]
    lab.add_blank("PAPR1002", "PAPR2002")
    lab.verify(*PAIR)
    assert lab.dump().state == "archived"
    check_all_archived(lab)


def test_volumes_registered_as_blank_that_hold_a_dump(pair: Lab) -> None:
    before = tables(pair)
    pair.lose_ledger()
    pair.add_blank(*PAIR)
    pair.bring_in(*unknown(pair))
    assert tables(pair) == before


def test_a_single_copy_is_complete_by_itself(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(copies=1)
    lab.add(*night)
    assert lab.dump().state == "archived"
    before = tables(lab)
    lab.lose_ledger()
    lab.bring_in("PAPR1001")
    assert tables(lab) == before


def test_an_error_with_one_volume_does_not_keep_the_others_from_their_turn(pair: Lab) -> None:
    pair.lose_ledger()
    with Faults().fail("read_block", at=1, drive=0, error=DriveError(0, "dirty")) as faults:
        results = pair.bring_in("PAPR1001", "PAPR2001", "PAPR1002", "PAPR2002", faults=faults)
    assert len(results) == 4
    assert sum(result.error is not None for result in results.values()) == 1
    missing = pair.bring_in("NOSUCH01", "PAPR2001")
    assert isinstance(missing["NOSUCH01"].error, VolumeError)
    assert missing["PAPR2001"].imported
    assert not pair.stranded()


def test_tapes_that_are_not_ours_are_named_and_not_entered(lab: Lab) -> None:
    record(lab, "PAPR1001", b"x" * 512, Mark.FILEMARK)
    record(lab, "PAPR1002", Mark.FILEMARK)
    results = lab.bring_in("PAPR1001", "PAPR1002", "PAPR1003")
    assert [(tag, r.kind, bool(r.error)) for tag, r in sorted(results.items())] == [
        ("PAPR1001", "foreign", True),
        ("PAPR1002", "foreign", True),
        ("PAPR1003", "blank", False),
    ]
    assert lab.volumes()["PAPR1001"] == "blank"


def test_another_cartridge_under_this_label(pair: Lab) -> None:
    before = tables(pair)
    operate(pair.cartridge("PAPR1001"), lambda record: record.update(barcode="PAPR2001"))
    operate(pair.cartridge("PAPR2001"), lambda record: record.update(barcode="PAPR1001"))
    results = pair.bring_in(*PAIR)
    assert all("its label is that of volume" in str(result.error) for result in results.values())
    assert tables(pair) == before


def test_the_ledger_knows_another_dump_on_it(lab: Lab) -> None:
    other = lab.copy(lab.folder.parent / "other")
    lab.ledger = open_ledger(lab.url)
    lab.dump()
    other.dump()
    for tag in PAIR:
        shutil.rmtree(other.cartridge(tag))
        shutil.copytree(lab.cartridge(tag), other.cartridge(tag))
    before = tables(other)
    results = other.bring_in(*PAIR)
    assert all("holds another recording" in str(result.error) for result in results.values())
    assert tables(other) == before
    other.ledger.close()


def test_nothing_to_import(pair: Lab) -> None:
    for tag in unknown(pair):
        operate(pair.cartridge(tag), lambda record: record.update(barcode=None))
    with pytest.raises(NothingToDo):
        unknown(pair)
