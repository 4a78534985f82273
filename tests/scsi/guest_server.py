"""The hands inside the guest: they do what files of a shared folder ask, each order in a process of its own.

papertape is imported once, which takes ten seconds in there, and a fork of that is a new process all the same.
``machine.py`` is the other side. Who gives orders from within the guest rings the bell with SIGCHLD.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from papertape.cli.commands import run

NAP = 0.1
LONGEST_NAP = 2.0
"""Seconds: an emulated machine that looks for orders all the time has little left for doing them."""
UNEXPECTED = 99


class Words(io.TextIOWrapper):
    """Standard error that can hold its writer up: at the first line with ``pause`` in it, until the file ``go`` is."""

    def __init__(self, folder: Path, number: str, pause: str) -> None:
        super().__init__(os.fdopen(2, "wb", closefd=False), encoding="utf-8", line_buffering=True)
        self._pause = pause
        self._paused, self._go = folder / f"{number}.paused", folder / f"{number}.go"

    def write(self, text: str) -> int:
        count = super().write(text)
        if self._pause and self._pause in text:
            self._pause = ""
            self.flush()
            self._paused.touch()
            while not self._go.exists():
                time.sleep(NAP)
        return count


class Bell:
    """Rings when there is an order, and when a process has ended."""

    def __init__(self, device: str) -> None:
        self._orders = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._ended, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def wait(self) -> None:
        """Return when it rings, or after ``LONGEST_NAP``."""
        for descriptor in select.select([self._orders, self._ended], [], [], LONGEST_NAP)[0]:
            if not os.read(descriptor, 4096):
                time.sleep(NAP)


def serve(folder: Path) -> None:
    """Do orders as they come, as many at once as there are, until one says that it is the end."""
    running: dict[int, str] = {}
    bell = Bell(os.environ["RIG_WAKE"])
    (folder / "ready").touch()
    while True:
        for path in sorted(folder.glob("*.order")):
            order = json.loads(path.read_text())
            path.unlink()
            if order["kind"] == "end":
                return
            running[_start(folder, path.stem, order)] = path.stem
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _tell(folder / f"{running.pop(pid)}.status", os.waitstatus_to_exitcode(status))
        bell.wait()


def _start(folder: Path, number: str, order: dict[str, Any]) -> int:
    pid = os.fork()
    if not pid:
        _become(folder, number, order)
    _tell(folder / f"{number}.pid", pid)
    return pid


def _tell(path: Path, value: int) -> None:
    new = path.with_suffix(f"{path.suffix}.new")
    new.write_text(str(value))
    new.rename(path)


def _become(folder: Path, number: str, order: dict[str, Any]) -> None:
    """Do one order in this process, a fork, and end it."""
    code = UNEXPECTED
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{number}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
        faulthandler.enable(sys.stdout)
        sys.stderr = Words(folder, number, order.get("pause", ""))
        code = _do(order["kind"], order["words"])
    except BaseException:  # noqa: BLE001  whatever it is must not go on in the fork as if it were the server
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _do(kind: str, words: list[Any]) -> int:
    if kind == "program":
        os.execvp(words[0], words)
    if kind == "signal":
        with contextlib.suppress(ProcessLookupError):  # it came to its end before
            os.kill(words[0], getattr(signal, words[1]))
        return 0
    if kind == "call":
        module, _, name = words[0].partition(".")
        print(json.dumps(getattr(importlib.import_module(module), name)(*words[1:])))
        return 0
    codes = [run(command) for command in words]
    return codes[-1]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
