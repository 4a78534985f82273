"""Ctrl-C: once, come to an end in good order; twice, stop at once."""

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


class Wishes(NamedTuple):
    """What is said to who asks to stop: once, and at once."""

    gently: bytes
    at_once: bytes


DUMPING = Wishes(
    b"stopping in good order: the archive under way is finished, and what is on tape by then is verified and "
    b"recorded; Ctrl-C again stops at once",
    b"stopping at once; `papertape recover` sees to what is left over",
)
VERIFYING = Wishes(b"stopping when the volumes in the drives are read; Ctrl-C again stops at once", b"stopping at once")
RESTORING = Wishes(
    b"stopping behind the data set under way; the same command again goes on; Ctrl-C again stops at once",
    b"stopping at once; the same command again goes on",
)
MOVING = Wishes(
    b"the cartridges are brought where they belong first", b"the cartridges are brought where they belong first"
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable(stop: Stop, tally: Tally, wishes: Wishes) -> Iterator[None]:
    """Let SIGINT ask ``stop`` in the block: once gently, twice at once. SIGTERM asks at once, SIGHUP gently.

    While the job only waits for drives, each ends it on the spot with Interrupted. Under nohup SIGHUP stays ignored.
    """

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.soon = stop.soon or number == signal.SIGTERM
        stop.ask()
        if tally.waits:
            raise Interrupted("interrupted while it was waiting for a drive; nothing was written")
        with contextlib.suppress(OSError):
            os.write(2, b"\npapertape: " + (wishes.at_once if stop.now else wishes.gently) + b"\n")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if number != signal.SIGHUP or before[number] is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, ask)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
