"""The heartbeat: a ledger that is locked stops no tape, a claim that is lost stops them at once, no thread is left."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, make_url, text

from papertape.errors import ClaimLost, Interrupted, UserError
from papertape.events import Event, Finished, Moved, Note, Phase, tell_all
from papertape.jobs import heartbeat as module
from papertape.jobs.dump import recover
from papertape.jobs.heartbeat import heartbeat
from papertape.sql import dialect
from papertape.transfer.stop import Stop
from stories import BLOCK, Lab, check_all_archived

from .conftest import MakeLab

SECONDS = 60.0
"""How long a test waits for what must happen, on a machine that is busy."""
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""
LOCKS = {
    "mysql": ("LOCK TABLES dumps WRITE", "UNLOCK TABLES"),
    "postgresql": ("LOCK TABLE dumps IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
}


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else, another process or another session of the server, keeps the ledger locked in the block."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        command = [sys.executable, "-c", LOCK, str(parsed.database)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            yield
        return
    lock, unlock = LOCKS[parsed.get_backend_name()]
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text(lock))
            yield
            connection.execute(text(unlock))
    finally:
        engine.dispose()


@pytest.fixture(autouse=True)
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is nearly always due, and soon has waited for long enough."""
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(dialect, "BRIEF_SECONDS", 1)


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def lab(new_lab: MakeLab, night: list[Path], request: pytest.FixtureRequest) -> Lab:
    """A lab whose ring holds much less than what is written."""
    url: dict[str, str] = {}
    if request.param != "sqlite":
        made = request.getfixturevalue(request.param).database()
        url["url"] = made.__enter__()
        request.addfinalizer(lambda: made.__exit__(None, None, None))  # noqa: PT021  after the lab is closed
    lab = new_lab(ring=4 * BLOCK, **url)
    lab.add(*night)
    return lab


class Locking:
    """Locks the ledger at the first block of a phase until all volumes of the phase are finished.

    The drive that moved that block goes on when a heartbeat has failed: from then on the next one waits, too.
    """

    def __init__(self, phase: str, url: str) -> None:
        self.failed: list[str] = []
        self.finished_while_locked = 0
        self._phase, self._url = phase, url
        self._current = ""
        self._turn = threading.Lock()
        self._held = locked(url)
        self._is_locked = False
        self._has_failed = threading.Event()

    def __call__(self, event: Event) -> None:
        match event:
            case Phase():
                self._current = event.name
            case Note() if event.sentence.startswith("no heartbeat this time"):
                self.failed.append(event.sentence)
                self._has_failed.set()
            case Moved() if self._current == self._phase:
                with self._turn:  # the other drive waits, too, so that no byte moves before
                    if not self._is_locked:
                        self._held.__enter__()
                        self._is_locked = True
                        assert self._has_failed.wait(SECONDS)
            case Finished() if self._current == self._phase:
                with self._turn:
                    self.finished_while_locked += 1
                    if self.finished_while_locked == 2:
                        self._held.__exit__(None, None, None)


@pytest.mark.parametrize("phase", ["writing", "verifying"])
def test_bytes_go_on_moving_while_the_ledger_is_locked(lab: Lab, phase: str) -> None:
    """The lock goes when the last byte was written, or read: a transfer that waits for it never ends."""
    locking = Locking(phase, lab.url)
    outcome = lab.dump(locking)
    assert locking.finished_while_locked == 2
    assert "locked" in locking.failed[0]
    assert (outcome.error, outcome.state) == (None, "archived")
    check_all_archived(lab)


def test_a_lost_claim_stops_the_writing_at_once(lab: Lab) -> None:
    """Another process took this one for dead: not one block more than the drives have in hand is written."""
    other = Lab(lab.folder, lab.settings, lab.url)
    stopped = threading.Event()
    turn = threading.Lock()
    moved: list[Moved] = []

    def take_over(event: Event) -> None:
        if isinstance(event, Note) and event.sentence.endswith("stopping at once"):
            stopped.set()
        if isinstance(event, Moved):
            with turn:
                if not moved:
                    recover(other.context())
                    assert stopped.wait(SECONDS)
                moved.append(event)

    outcome = lab.dump(take_over)
    other.ledger.close()
    assert isinstance(outcome.error, Interrupted | ClaimLost)
    assert sum(event.count for event in moved) < 24 * BLOCK
    lab.finish()
    check_all_archived(lab)


class Dying:
    """A ledger whose heartbeat has a bug."""

    def __init__(self) -> None:
        self.dumps = self
        self.dumps = self
        self.asked = threading.Event()

    def heartbeat(self, *_: object) -> NoReturn:
        self.asked.set()
        raise ZeroDivisionError


class Refusing:
    """A ledger that lets nobody in any more: its password was changed."""

    def __init__(self) -> None:
        self.dumps = self

    def heartbeat(self, *_: object) -> NoReturn:
        raise UserError("the server refuses this user or the password")


class Silent:
    """A ledger that takes every heartbeat."""

    def __init__(self) -> None:
        self.dumps = self
        self.dumps = self
        self.beats = threading.Semaphore(0)

    def heartbeat(self, *_: object) -> None:
        self.beats.release()


def test_a_bug_in_the_heartbeat_comes_through() -> None:
    ledger = Dying()
    with pytest.raises(ZeroDivisionError), heartbeat(ledger, 1, tell_all(), Stop()):  # type: ignore[arg-type]
        assert ledger.asked.wait(SECONDS)


def test_a_ledger_that_refuses_the_heartbeat_stops_nothing() -> None:
    refused = threading.Semaphore(0)
    stop = Stop()

    def tell(event: Event) -> None:
        assert isinstance(event, Note)
        assert event.sentence.startswith("no heartbeat this time, the dump continues: the server refuses")
        refused.release()

    with heartbeat(Refusing(), 1, tell, stop):  # type: ignore[arg-type]
        for _ in range(3):  # it is tried again each time
            assert refused.acquire(timeout=SECONDS)
    assert not stop.soon


def leave_well() -> None:
    return


def leave_with_error() -> None:
    raise KeyError


@pytest.mark.parametrize("leave", [leave_well, leave_with_error])
def test_the_thread_ends_with_its_block(leave: Callable[[], None]) -> None:
    ledger = Silent()
    before = set(threading.enumerate())
    try:
        with heartbeat(ledger, 1, tell_all(), Stop()):  # type: ignore[arg-type]  of the ledger it needs that alone
            assert ledger.beats.acquire(timeout=SECONDS)
            assert set(threading.enumerate()) > before
            leave()
    except KeyError:
        assert leave is leave_with_error
    assert set(threading.enumerate()) == before
