"""Asked to stop: once, the dump comes to an end in order; twice, it ends at once and is begun anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.errors import ChangerError, Interrupted
from papertape.events import Event, Moved, Phase
from papertape.jobs.verify import verify
from papertape.settings import IN_PLACE
from papertape.tape.virtual.faults import Faults
from papertape.transfer.stop import Stop
from stories import BLOCK, At, Lab, check_all_archived, check_archived

from .conftest import MakeLab


def stop_at(lab: Lab, phase: str, blocks: int, *, times: int) -> tuple[At, Stop]:
    stop = Stop()
    return At(phase, lambda: [stop.ask() for _ in range(times)], blocks=blocks), stop


def test_once_before_the_first_archive_holds_the_dump(lab: Lab) -> None:
    at, stop = stop_at(lab, "writing", 0, times=1)
    outcome = lab.dump(at, stop)
    assert isinstance(outcome.error, Interrupted)
    assert outcome.state == "planned"
    assert set(lab.states().values()) == {"waiting"}
    assert lab.dump().volumes == ("PAPR1001", "PAPR2001")
    check_all_archived(lab)


def test_once_during_an_archive_archives_up_to_its_end(new_lab: MakeLab, night: list[Path]) -> None:
    lab = new_lab(ring=4 * BLOCK)  # so that the reader side is never far ahead
    lab.add(*night)
    at, stop = stop_at(lab, "writing", 6, times=1)
    outcome = lab.dump(at, stop)
    assert (outcome.state, outcome.error) == ("archived", None)
    states = list(lab.states().values())
    assert 0 < states.count("archived") < 6
    assert set(states) == {"archived", "waiting"}
    check_archived(lab)
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)


@pytest.mark.parametrize("blocks", [0, 1, 12])
def test_once_while_verifying_changes_nothing(lab: Lab, blocks: int) -> None:
    at, stop = stop_at(lab, "verifying", blocks, times=1)
    assert lab.dump(at, stop).state == "archived"
    check_all_archived(lab)


@pytest.mark.parametrize("blocks", range(0, 24, 2))
def test_twice_while_writing_archives_nothing_and_the_next_dump_everything(lab: Lab, blocks: int) -> None:
    at, stop = stop_at(lab, "writing", blocks, times=2)
    outcome = lab.dump(at, stop)
    assert at.done
    assert isinstance(outcome.error, Interrupted)
    # where all was in the ring already, it is written to its end, and stopped before the reading
    assert (outcome.state, *set(lab.states().values())) in {("planned", "waiting"), ("verifying", "claimed")}
    assert not lab.stranded()
    check_archived(lab)
    lab.finish()
    assert lab.archived_volumes() == ["PAPR1001", "PAPR2001"]
    check_all_archived(lab)


@pytest.mark.parametrize("blocks", range(0, 30, 4))
def test_twice_while_verifying_leaves_it_to_recover(lab: Lab, blocks: int) -> None:
    at, stop = stop_at(lab, "verifying", blocks, times=2)
    outcome = lab.dump(at, stop)
    assert at.done
    assert isinstance(outcome.error, Interrupted)
    assert (outcome.state, set(lab.states().values())) == ("verifying", {"claimed"})
    assert not lab.stranded()
    check_archived(lab)
    (recovered,) = lab.recover()
    assert (recovered.state, recovered.error) == ("archived", None)
    check_all_archived(lab)


def test_twice_while_verifying_in_place_empties_the_drives_too(new_lab: MakeLab, lab: Lab) -> None:
    other = new_lab(mount=IN_PLACE)
    other.ledger.datasets.register_many(lab.ledger.datasets.pending())
    at, stop = stop_at(other, "verifying", 3, times=2)
    assert isinstance(other.dump(at, stop).error, Interrupted)
    assert not other.stranded()
    other.finish()
    check_all_archived(other)


@pytest.mark.parametrize("phase", ["writing", "verifying"])
def test_a_bug_ends_the_dump_and_leaves_it_to_recover(lab: Lab, phase: str) -> None:
    """A bug is no PapertapeError: it comes through, threads and drives are in order even so."""

    def broken(event: Event) -> None:
        if isinstance(event, Phase) and event.name == phase:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lab.dump(broken)
    assert not lab.stranded()
    check_archived(lab)
    lab.finish()
    check_all_archived(lab)


def test_a_bug_in_a_writing_thread_comes_through_and_leaves_nothing_claimed_for_good(lab: Lab) -> None:
    def broken(event: Event) -> None:
        if isinstance(event, Moved) and event.volume == "PAPR2001":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lab.dump(broken)
    assert not lab.stranded()
    lab.finish()
    check_all_archived(lab)


def test_verify_ends_at_once_and_changes_nothing(lab: Lab) -> None:
    lab.dump()
    at, stop = stop_at(lab, "verifying", 3, times=2)
    with pytest.raises(Interrupted):
        list(verify(lab.context(at, stop), ["PAPR1001", "PAPR2001"]))
    check_all_archived(lab)


def test_a_failure_in_putting_the_cartridges_away_is_reported_and_takes_nothing_back(lab: Lab) -> None:
    """Call by call: the dump stays archived where it was, and the error names the volume that is still in a drive."""
    clean = Faults()
    assert lab.dump(faults=clean).state == "archived"
    moves = [call.method for call in clean.log].count("move")
    (lab.folder / "later").write_bytes(b"one data set more")
    lab.add(lab.folder / "later")
    with Faults().fail("move", at=moves, lasting=True) as faults:
        outcome = lab.dump(faults=faults)
    assert isinstance(outcome.error, ChangerError)
    (stranded,) = lab.stranded()
    assert stranded in str(outcome.error)
    lab.finish()
    check_archived(lab)
    assert not lab.stranded()
