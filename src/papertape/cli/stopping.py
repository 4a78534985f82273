"""Ctrl-C: once, the job ends in good order; twice, it stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from papertape.cli.progress import Tally
from papertape.errors import Interrupted
from papertape.transfer.stop import Stop


class Replies(NamedTuple):
    """The sentences that the operator reads after asking to stop: for the first time, and when the job stops at once.

    They are bytes, since a signal handler writes them.
    """

    gently: bytes
    at_once: bytes


DUMPING = Replies(
    b"stopping in good order: the current archive is finished, and all that is on tape by then is verified and "
    b"recorded; Ctrl-C again stops at once",
    b"stopping at once; `papertape recover` finishes or undoes the rest",
)
VERIFYING = Replies(
    b"stopping after the volumes in the drives are read; Ctrl-C again stops at once", b"stopping at once"
)
RESTORING = Replies(
    b"stopping after the current data set; the same command continues later; Ctrl-C again stops at once",
    b"stopping at once; the same command continues later",
)
MOVING = Replies(
    b"stopping after the cartridges are where they belong", b"stopping after the cartridges are where they belong"
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable(stop: Stop, tally: Tally, replies: Replies) -> Iterator[None]:
    """Turn signals into a wish to stop in the block; the former handlers are back after it.

    SIGINT and SIGHUP ask ``stop`` gently, and a second one at once; SIGTERM asks at once. While the job waits for
    drives (``tally``), each of them raises Interrupted. Under nohup SIGHUP stays ignored. For the main thread alone.
    """

    def ask(number: int, _frame: FrameType | None) -> None:
        # Runs on the main thread between any two instructions, maybe inside a print or with a lock held: so it sets
        # flags and writes with os.write alone.
        stop.soon = stop.soon or number == signal.SIGTERM
        stop.ask()
        if tally.waits:
            raise Interrupted("interrupted while it was waiting for a drive; nothing was written")
        with contextlib.suppress(OSError):
            os.write(2, b"\npapertape: " + (replies.at_once if stop.now else replies.gently) + b"\n")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if number != signal.SIGHUP or before[number] is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, ask)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
