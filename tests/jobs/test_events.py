"""Every job tells how it ended, once and last; a subscriber that fails stops no tape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from papertape.errors import Interrupted, NothingToDo, RestoreFailed, UserError, VerificationFailed
from papertape.events import Ended, Event, Moved, Note, tell_all
from papertape.jobs.dump import recover
from papertape.jobs.imports import import_volumes
from papertape.jobs.verify import verify
from papertape.states import DumpState
from papertape.transfer.stop import Stop
from stories import CAPACITY, Lab, check_all_archived, find_copy

from .damage import flip

TAGS = ("PAPR1001", "PAPR2001")


@pytest.fixture
def dumped(lab: Lab) -> Lab:
    assert lab.dump().error is None
    return lab


def ended(events: list[Event]) -> Ended:
    """How the job that told these events ended: the last of them says it, and no other."""
    assert [type(event) for event in events].count(Ended) == 1
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def test_a_dump_tells_that_it_archived(lab: Lab) -> None:
    events: list[Event] = []
    outcome = lab.dump(events.append)
    assert ended(events) == Ended(job="dump", dumps=((outcome.dump, DumpState.ARCHIVED),))


def test_a_dump_tells_its_error(lab: Lab) -> None:
    events: list[Event] = []
    stop = Stop()
    stop.ask()
    outcome = lab.dump(events.append, stop)
    end = ended(events)
    assert (end.dumps, end.errors) == (((outcome.dump, DumpState.PLANNED),), (outcome.error,))


def recover_nothing(lab: Lab, tell: Callable[[Event], None], _to: Path) -> None:
    assert recover(lab.context(tell)) == []


def import_pair(lab: Lab, tell: Callable[[Event], None], _to: Path) -> None:
    assert len(list(import_volumes(lab.context(tell), TAGS, CAPACITY, find_copy))) == 2


def verify_pair(lab: Lab, tell: Callable[[Event], None], _to: Path) -> None:
    assert len(list(verify(lab.context(tell), TAGS))) == 2


def restore_all(lab: Lab, tell: Callable[[Event], None], to: Path) -> None:
    assert lab.restore("*", to=to, tell=tell).error is None


JOBS = {"recover": recover_nothing, "import": import_pair, "verify": verify_pair, "restore": restore_all}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_tells_that_it_succeeded(dumped: Lab, tmp_path: Path, job: str) -> None:
    events: list[Event] = []
    JOBS[job](dumped, events.append, tmp_path / "restored")
    assert ended(events) == Ended(job=job)


def test_a_verification_tells_what_is_not_good(dumped: Lab) -> None:
    flip(dumped.tape_files("PAPR1001")[2], 2000)
    events: list[Event] = []
    list(verify(dumped.context(events.append), TAGS))
    (error,) = ended(events).errors
    assert isinstance(error, VerificationFailed)
    assert "PAPR1001" in str(error)


def test_a_verification_that_is_not_read_to_its_end_tells_so(dumped: Lab) -> None:
    events: list[Event] = []
    verifications = verify(dumped.context(events.append), TAGS)
    assert next(verifications).ok
    verifications.close()  # type: ignore[attr-defined]  an iterator for its callers, a generator in fact
    (error,) = ended(events).errors
    assert isinstance(error, Interrupted)


def test_a_restore_tells_what_is_lost(dumped: Lab, tmp_path: Path) -> None:
    for tag in TAGS:
        flip(dumped.tape_files(tag)[2], 2000)
    events: list[Event] = []
    result = dumped.restore("*", to=tmp_path / "restored", tell=events.append)
    (error,) = ended(events).errors
    assert (type(error), str(error)) == (RestoreFailed, str(result.error))


def test_a_job_tells_what_it_raises(dumped: Lab) -> None:
    events: list[Event] = []
    with pytest.raises(UserError) as caught:
        dumped.recopy("PAPR1001", events.append)
    assert ended(events) == Ended(job="recopy", errors=(caught.value,))


def test_a_recopy_tells_that_the_dump_is_whole_again(dumped: Lab) -> None:
    dumped.ledger.volumes.retire("PAPR1001", "lost")
    events: list[Event] = []
    outcome = dumped.recopy("PAPR1001", events.append)
    assert ended(events) == Ended(job="recopy", dumps=((outcome.dump, DumpState.ARCHIVED),))


def test_a_subscriber_that_fails_stops_no_tape(lab: Lab) -> None:
    """It fails on the drives' threads; the others hear of it once, and get all that happens."""
    events: list[Event] = []

    def broken(event: Event) -> None:
        if isinstance(event, Moved):
            raise ZeroDivisionError("a bug")

    assert lab.dump(tell_all(broken, events.append)).error is None
    notes = [event.sentence for event in events if isinstance(event, Note)]
    assert notes == ["broken failed (ZeroDivisionError: a bug) and gets no more events"]
    assert {event.volume for event in events if isinstance(event, Moved)} == set(TAGS)
    check_all_archived(lab)


def test_ctrl_c_goes_through_a_subscriber() -> None:
    """A signal handler raises wherever the main thread is, in a subscriber, too."""

    def interrupted(_event: Event) -> None:
        raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        tell_all(interrupted)(Note(sentence="a note"))


def test_a_night_without_data_ends_without_an_error(lab: Lab) -> None:
    assert lab.dump().error is None
    events: list[Event] = []
    with pytest.raises(NothingToDo):
        lab.dump(events.append)
    assert [event.errors for event in events if isinstance(event, Ended)] == [()]
