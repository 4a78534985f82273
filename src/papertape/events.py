"""Events of a running job, and how subscribers hear of them.

A job tells each event to one callable, its ``tell``. A subscriber is a callable that takes an event, too: bars, plain
lines, a log, a notification. ``tell_all`` makes one ``tell`` of several subscribers.

Rules for a subscriber:

- It is called on the thread on which the event happens, and several threads can call it at the same time: it guards
  its own state. ``Phase``, ``Rejected`` and ``Ended`` come from the thread that runs the job; ``Moved``, ``Finished``
  and ``Found`` from the thread of the drive; ``Began``, ``RobotMoves``, ``Waiting`` and ``Note`` from either, and
  ``Note`` from the thread of the heartbeat as well.
- It returns at once. A drive's thread that waits for a subscriber does not write, and the tape stops. At ``Ended`` no
  drive waits any more: there a subscriber may take some seconds, to send a mail for example.
- It does not raise. If it does, ``tell_all`` leaves it out from then on and the job goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from papertape.errors import Interrupted
from papertape.ids import DumpId
from papertape.states import DumpState


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A phase (``writing``, ``verifying`` …) begins; it will move ``total`` bytes on each of ``volumes``."""

    name: str
    volumes: tuple[str, ...] = ()
    total: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Began:
    """One more volume joins the current phase, and will move ``total`` bytes."""

    volume: str
    drive: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """``count`` more bytes were written to, or read from, ``volume`` in ``drive``."""

    volume: str
    drive: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """No more bytes will move on ``volume`` in this phase."""

    volume: str
    drive: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotMoves:
    """The changer starts to move ``volume``; the places are words for people (``slot 3``)."""

    volume: str
    source: str
    destination: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The job cannot go on; ``reason`` is a clause ("drives 0 and 1 are in use by process 77")."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """The data set ``source`` was dropped from the current dump."""

    source: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Something is wrong on ``volume``: a finding (``evidence.Finding``), as a sentence."""

    volume: str
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A sentence that the operator may want to read later."""

    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A job ended: dump, recover, recopy, verify, restore or import. It is the last event of the job.

    ``job`` is the name of the command. ``dumps`` are the dumps that it worked on, each with its state at the end.
    ``errors`` is empty if the job succeeded or had nothing to do; a job that was asked to stop has an Interrupted.
    ``rejected`` counts the data sets that were rejected. An error before the ledger is open has no event.
    """

    job: str
    dumps: tuple[tuple[DumpId, DumpState], ...] = ()
    errors: tuple[BaseException, ...] = ()
    rejected: int = 0


Event = Phase | Began | Moved | Finished | RobotMoves | Waiting | Rejected | Found | Note | Ended

Tell = Callable[[Event], None]


def tell_all(*subscribers: Tell) -> Tell:
    """Return a ``tell`` that passes each event to every subscriber, in order; with no subscriber, nobody hears it.

    A subscriber that raises gets no more events; the others get a ``Note`` that says so. A faulty bar or log must not
    stop tapes. ``Interrupted`` passes: it comes from a signal handler (Ctrl-C) that ran inside the subscriber.
    """
    failed: set[int] = set()
    lock = threading.Lock()

    def tell(event: Event) -> None:
        for number, subscriber in enumerate(subscribers):
            if number in failed:
                continue
            try:
                subscriber(event)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the tapes go on
                with lock:  # several threads can fail in it at once: one note is enough
                    is_first = number not in failed
                    failed.add(number)
                if is_first:
                    name = getattr(subscriber, "__name__", type(subscriber).__name__)
                    tell(Note(sentence=f"{name} failed ({type(error).__name__}: {error}) and gets no more events"))

    return tell
