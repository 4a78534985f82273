"""The command line: one file per command. A command parses options, calls a job, and prints what it returns."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the program and leave with the documented exit code, even if Ctrl-C comes while modules are loaded."""
    before = signal.getsignal(signal.SIGINT)
    _hear(_leave, *([signal.SIGINT] if before is signal.default_int_handler else []))  # a shell's background ignores it
    from papertape.cli.commands import run  # noqa: PLC0415  this takes a while, and can be interrupted

    try:
        signal.signal(signal.SIGINT, before)
        _hear(_interrupt)
        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the result is out: nothing is left to interrupt
        _hear(signal.SIG_IGN)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _hear(handler: Callable[[int, FrameType | None], None] | signal.Handlers, *more: signal.Signals) -> None:
    """Handle SIGTERM, ``more``, and SIGHUP unless it is ignored: under nohup, a lost terminal must change nothing."""
    for number in (signal.SIGTERM, *more):
        signal.signal(number, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once. While modules are loaded no work has started, and an exception in an import may be swallowed."""
    os._exit(INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
