"""Rows that more than one of ours, or more than one path, could have: each is one's alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bridges.labdatabase import BridgedLab
from papertape.bridges import Claim
from papertape.errors import UserError, VolumeError
from papertape.jobs.lab.pull import pull
from papertape.ledger import Registration
from papertape.states import LabState
from stories import At, Telling


def claims(bridged: BridgedLab) -> dict[str, Claim]:
    """What the ledger says that the lab's rows bear."""
    marked = bridged.lab.ledger.lab.marked()
    return {item.row.name.rpartition("/")[2]: Claim(item.row.job) for item in marked if item.row.job}


def test_a_late_release_does_not_release_a_newer_claim(bridged: BridgedLab, night: list[Path]) -> None:
    """One process ends, its dump is held; before it has let go of its rows another takes that very dump up."""
    bridged.database.add(*night)
    bridged.pull()
    ledger, bridge = bridged.lab.ledger, bridged.bridge
    batch = bridged.lab.plan()
    dump = ledger.dumps.begin(batch)
    assert bridged.ours.claim(dump) == ((), ())
    ledger.dumps.hold(dump, "test")
    seen_by_the_first = [item.row for item in ledger.lab.marked() if item.row.kind == "file"]
    again = bridged.lab.plan()
    assert again.dump == batch.dump
    assert ledger.dumps.begin(again) == dump
    assert bridged.ours.claim(dump) == ((), ())
    with bridge.open_files() as files:
        files.release({row.name: Claim(row.job) for row in seen_by_the_first if row.job})
    ledger.lab.unmark(seen_by_the_first, LabState.KNOWN)
    now = claims(bridged)
    assert {path.name for path in night} <= set(now)
    assert bridged.database.files() == {path.name: (now[path.name].mark, 0) for path in night}


def test_a_row_that_another_host_has_registered_is_that_hosts(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    ledger = bridged.lab.ledger
    again = list(pull(ledger, bridged.bridge, "another"))
    assert {item.result for item in again} == {None}
    assert all("it is registered as correlator:" in item.trouble for item in again)
    assert {item.source.host for item in ledger.datasets.pending()} == {"correlator"}


def test_a_row_whose_folder_went_elsewhere_follows_it_once_the_old_path_is_rejected(
    bridged: BridgedLab, night: list[Path], tmp_path: Path
) -> None:
    bridged.database.add(*night)
    bridged.pull()
    shutil.move(tmp_path / "night", tmp_path / "moved")
    rules = ((bridged.bridge.paths[0][0], str(tmp_path / "moved")),)
    object.__setattr__(bridged.bridge, "paths", rules)
    assert {item.result for item in bridged.pull().values()} == {None}
    outcome = bridged.lab.dump()
    assert len(outcome.rejected) == len(night)
    assert {item.result for item in bridged.pull().values()} == {Registration.NEW}
    assert bridged.lab.dump().error is None
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}


def test_a_copy_that_is_made_again_takes_its_tape_at_the_lab_as_well(bridged: BridgedLab, night: list[Path]) -> None:
    """The lab's other program writes to what has no date, without a look: to the only good twin, too."""
    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump().error is None
    bridged.lab.ledger.volumes.retire("PAPR1001", "lost")
    seen: dict[str, tuple[str | None, int | None]] = {}
    look = Telling(lambda phase, moved: seen.update(bridged.database.labels()) if moved else None)
    assert bridged.lab.recopy("PAPR1001", look).error is None
    assert seen["PAPR1002"][1] is not None
    date, status = bridged.database.labels()["PAPR1002"]
    assert (bool(date), status) == (True, None)
    assert claims(bridged) == {}


@pytest.mark.parametrize("change", ["date = '20150103-1200'", "status = 77"])
def test_no_copy_is_made_onto_a_tape_that_the_lab_says_is_taken(
    bridged: BridgedLab, night: list[Path], change: str
) -> None:
    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump().error is None
    bridged.lab.ledger.volumes.retire("PAPR1001", "lost")
    bridged.database.do(f"UPDATE ids SET {change} WHERE label = 'PAPR1002'")
    with pytest.raises(VolumeError, match="PAPR1002: the lab's database says"):
        raise bridged.lab.recopy("PAPR1001").error or AssertionError
    assert bridged.lab.volumes()["PAPR1002"] == "aside"
    assert not bridged.lab.tape_files("PAPR1002")
    assert bridged.lab.recopy("PAPR1001").error is None
    assert bridged.lab.volumes()["PAPR1003"] == "archived"


def test_no_copy_is_made_while_the_lab_cannot_be_asked(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump().error is None
    bridged.lab.ledger.volumes.retire("PAPR1001", "lost")
    options = bridged.database.options
    good = options.read_bytes()
    options.write_bytes(good.replace(b"/socket", b"/nowhere"))
    with pytest.raises(UserError, match="no server answers"):
        raise bridged.lab.recopy("PAPR1001").error or AssertionError
    assert bridged.lab.volumes()["PAPR1002"] == "blank"
    options.write_bytes(good)
    assert bridged.lab.recopy("PAPR1001").error is None


def test_a_copy_that_was_cut_off_is_made_again_with_its_tape_still_taken(
    bridged: BridgedLab, night: list[Path]
) -> None:
    class Dead(BaseException):
        pass

    def die() -> None:
        raise Dead

    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump().error is None
    bridged.lab.ledger.volumes.retire("PAPR1001", "lost")
    with pytest.raises(Dead):
        bridged.lab.recopy("PAPR1001", At("copying", die, blocks=1))
    assert bridged.database.labels()["PAPR1002"][1] is not None
    assert bridged.lab.finish()
    date, status = bridged.database.labels()["PAPR1002"]
    assert (bool(date), status) == (True, None)


def test_without_a_table_of_tapes_a_copy_is_made_without_asking(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    object.__setattr__(bridged.bridge, "labels", None)
    bridged.pull()
    assert bridged.lab.dump().error is None
    bridged.lab.ledger.volumes.retire("PAPR1001", "lost")
    assert bridged.lab.recopy("PAPR1001").error is None
    assert not any(date for date, _ in bridged.database.labels().values())
