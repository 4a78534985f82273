"""The command line: one file a command, and each only calls jobs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the program and leave with the documented exit code, whenever Ctrl-C comes."""
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
    """Handle what ends a process as Ctrl-C does; under nohup a lost terminal stays of no account."""
    for number in (signal.SIGTERM, *more):
        signal.signal(number, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once while modules are loaded: nothing has begun, and where Python imports, an exception can get lost."""
    os._exit(INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
