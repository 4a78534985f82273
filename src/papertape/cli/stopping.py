"""Ctrl-C: once, come to an end in good order; twice, stop at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from papertape.cli.progress import Tally
from papertape.errors import Interrupted
from papertape.transfer.stop import Stop

GENTLE = (
    b"\npapertape: stopping at the end of this archive; what is on tape by then is verified and recorded. "
    b"Ctrl-C again stops at once.\n"
)
AT_ONCE = b"\npapertape: stopping at once; `papertape recover` sees to what is left over.\n"


@contextlib.contextmanager
def stoppable(stop: Stop, tally: Tally) -> Iterator[None]:
    """Let SIGINT ask ``stop`` in the block: once gently, twice at once; SIGTERM asks at once.

    While the job only waits for drives, either ends it on the spot with Interrupted.
    """

    def ask(number: int, _frame: FrameType | None) -> None:
        if tally.waits:
            raise Interrupted("interrupted while waiting; nothing was claimed")
        if number == signal.SIGTERM:
            stop.soon = True
        stop.ask()
        os.write(2, AT_ONCE if stop.now else GENTLE)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
