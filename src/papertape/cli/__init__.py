"""The command line: one file a command, and each only calls jobs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the program and leave with the documented exit code, whenever Ctrl-C comes."""
    try:
        _hear(_interrupt)
        from papertape.cli.commands import run  # noqa: PLC0415  what takes a while is inside the try

        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the result is out: nothing is left to interrupt
        _hear(signal.SIG_IGN)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _hear(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Handle what ends a process as Ctrl-C does; under nohup a lost terminal stays of no account."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
