"""The command line: one file a command, and each only calls jobs."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the program and leave with the documented exit code, whenever Ctrl-C comes."""
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        from papertape.cli.commands import run  # noqa: PLC0415  what takes a while is inside the try

        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the result is out: nothing is left to interrupt
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
