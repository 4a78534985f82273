"""Volumes that are not what they say: told in one sentence, and the ledger stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalogs import Files, edit_json, edit_row, pack, unpack
from papertape.errors import ChangerError, FormatError, Interrupted, VolumeError
from papertape.jobs.imports import BLANK
from papertape.tape.virtual.faults import Faults
from papertape.transfer.stop import Stop
from stories import BLOCK, Lab

from .damage import cut, flip, set_runs
from .tables import tables

PAIR = ("PAPR1001", "PAPR2001")


@pytest.fixture
def pair(lab: Lab) -> Lab:
    assert lab.dump().state == "archived"
    return lab


def rewrite(lab: Lab, tag: str, change: Callable[[Files], Files | None]) -> None:
    """Change the catalog on a volume, so that its sums fit."""
    path = lab.tape_files(tag)[-1]
    files = unpack(path.read_bytes())
    path.write_bytes(pack(change(files) or files))
    set_runs(path.parent, int(path.stem), (BLOCK, path.stat().st_size // BLOCK))


def check_refused(lab: Lab, tag: str, sentence: str) -> None:
    before = tables(lab)
    error = lab.bring_in(tag)[tag].error
    assert isinstance(error, VolumeError)
    assert sentence in str(error)
    assert tables(lab) == before
    assert list(lab.settings.spool.iterdir()) == []
    assert not lab.stranded()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edit_json(format_version=2), "format version 2"),
        (edit_json(datasets=7), "contradicts itself"),
        (edit_row("files.csv", 5, "member", "data/../../etc/passwd"), "not a member name"),
        (edit_row("files.csv", 5, "offset", "512"), "contradicts itself"),
    ],
)
def test_a_catalog_that_contradicts_itself_is_refused(
    pair: Lab, change: Callable[[Files], Files | None], sentence: str
) -> None:
    rewrite(pair, "PAPR1001", change)
    pair.lose_ledger()
    check_refused(pair, "PAPR1001", sentence)
    assert pair.bring_in("PAPR2001")["PAPR2001"].error is None


def test_a_data_set_that_is_there_twice(pair: Lab) -> None:
    def change(files: Files) -> None:
        for name in ("files.csv", "datasets.csv"):
            files[name] = files[name].replace(b"zen.1.uvh5", b"zen.0.uvh5")

    rewrite(pair, "PAPR1001", change)
    pair.lose_ledger()
    check_refused(pair, "PAPR1001", "twice")


def test_twins_with_different_catalogs(pair: Lab) -> None:
    rewrite(pair, "PAPR2001", edit_row("files.csv", 5, "md5", "a" * 32))
    pair.lose_ledger()
    pair.bring_in("PAPR1001")
    check_refused(pair, "PAPR2001", "its catalog is not the one that the ledger has")


def test_a_twin_whose_label_was_changed(pair: Lab) -> None:
    path = pair.tape_files("PAPR2001")[0]
    flip(path, path.read_bytes().index(b"WHAT IS ON IT"))
    pair.lose_ledger()
    check_refused(pair, "PAPR2001", "its label is not the one that its catalog has")


def test_a_retired_volume_stays_retired(pair: Lab) -> None:
    pair.lose_ledger()
    pair.add_blank("PAPR2001")
    pair.ledger.volumes.retire("PAPR2001", "torn leader")
    pair.bring_in(*PAIR)
    assert pair.volumes() == {"PAPR1001": "claimed", "PAPR2001": "retired"}
    assert [dump.state for dump in pair.ledger.dumps.all()] == ["incomplete"]
    pair.add_blank("PAPR2002")
    assert pair.recopy("PAPR2001").state == "archived"


def test_a_dump_that_is_not_over_is_left_alone(lab: Lab) -> None:
    with Faults().fail("write_block", at=9, drive=0).fail("write_block", at=9, drive=1) as faults:
        lab.dump(faults=faults)
    before = tables(lab)
    lab.bring_in(*PAIR)
    assert tables(lab) == before


def test_after_the_robot_failed_no_other_volume_is_started(pair: Lab) -> None:
    pair.lose_ledger()
    with Faults().fail("move", at=3) as faults:
        results = pair.bring_in(*PAIR, "PAPR1002", "PAPR2002", "PAPR1003", faults=faults)
    assert any(isinstance(result.error, ChangerError) for result in results.values())
    assert len(results) < 5
    assert all(result.imported or result.error or result.kind == BLANK for result in results.values())
    pair.bring_in(*PAIR)
    assert pair.volumes() == dict.fromkeys(PAIR, "archived")


def test_asked_to_stop_it_ends_with_what_is_in_the_drives(pair: Lab) -> None:
    pair.lose_ledger()
    stop = Stop()
    stop.ask()
    assert pair.bring_in(*PAIR, stop=stop) == {}
    stop.ask()
    assert not pair.stranded()


def test_asked_to_stop_at_once_while_reading(pair: Lab) -> None:
    pair.lose_ledger()
    stop = Stop()

    stop.now = True
    with pytest.raises(Interrupted):
        pair.bring_in(*PAIR, stop=stop)
    assert not pair.stranded()
    assert list(pair.settings.spool.iterdir()) == []


def test_a_catalog_without_its_last_block(pair: Lab) -> None:
    def widen(files: Files) -> None:
        files["catalog.json"] = files["catalog.json"].rstrip() + b" " * 2 * BLOCK

    rewrite(pair, "PAPR1001", widen)
    cut(pair.tape_files("PAPR1001")[-1])
    pair.lose_ledger()
    error = pair.bring_in("PAPR1001")["PAPR1001"].error
    assert isinstance(error, VolumeError)
    assert "ends without a catalog" in str(error)


def test_a_block_of_the_catalog_that_cannot_be_read(pair: Lab) -> None:
    path = pair.tape_files("PAPR1001")[-1]
    with path.open("r+b") as file:
        file.truncate(1000)
    pair.lose_ledger()
    result = pair.bring_in("PAPR1001")["PAPR1001"]
    assert result.error is not None
    assert result.error.exit_code == 6
    assert not isinstance(result.error, FormatError)
    assert pair.volumes() == {}
