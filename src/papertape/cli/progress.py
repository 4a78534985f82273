"""What a running job says: bars on a terminal, plain lines elsewhere; all of it on standard error."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import IO, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from papertape.cli.text import show_seconds, show_size
from papertape.report import Reporter

LINE_EVERY = 60.0
"""Seconds between two progress lines of a volume where there is no terminal."""
BAR_EVERY = 0.1


@dataclass
class _Move:
    """How far the moving of bytes on one volume has come."""

    total: int
    began: float
    told: float
    moved: int = 0
    ended: bool = False


class Lines(Reporter):
    """One plain line for each thing that happens, and one a minute for each volume under way."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._moves: dict[str, _Move] = {}
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print one line."""
        print(line, file=self._file, flush=True)

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """See ``Reporter.phase``."""
        now = time.monotonic()
        with self._lock:
            self._phase = name
            self._moves = {volume: _Move(total, now, now) for volume in volumes}
        self.say(f"{name} {' and '.join(volumes)}, {show_size(total)} each")

    def moved(self, volume: str, drive: int, count: int) -> None:
        """See ``Reporter.moved``."""
        now = time.monotonic()
        with self._lock:
            move = self._moves[volume]
            move.moved += count
            due = now - move.told >= LINE_EVERY
            if due:
                move.told = now
        if due:
            self.say(f"{self._phase} {volume} in drive {drive}: {_show_rate(move, now)}")

    def finished(self, volume: str, drive: int) -> None:
        """See ``Reporter.finished``."""
        move, now = self._moves[volume], time.monotonic()
        rate = show_size(move.moved / max(now - move.began, 1e-3))
        took = show_seconds(now - move.began)
        self.say(f"{self._phase} {volume} in drive {drive}: done, {show_size(move.moved)} in {took}, {rate}/s")

    def robot(self, volume: str, source: str, destination: str) -> None:
        """See ``Reporter.robot``."""
        self.say(f"moving {volume} from {source} to {destination}")

    def waiting(self, what: str) -> None:
        """See ``Reporter.waiting``."""
        self.say(f"waiting: {what}")

    def rejected(self, source: str, reason: str) -> None:
        """See ``Reporter.rejected``."""
        self.say(f"rejected: {source}: {reason}")

    def finding(self, sentence: str) -> None:
        """See ``Reporter.finding``."""
        self.say(f"found: {sentence}")

    def note(self, sentence: str) -> None:
        """See ``Reporter.note``."""
        self.say(f"note: {sentence}")


def _show_rate(move: _Move, now: float) -> str:
    rate = move.moved / max(now - move.began, 1e-3)
    left = max(move.total - move.moved, 0) / rate if rate else 0
    return f"{show_size(move.moved)} of {show_size(move.total)}, {show_size(rate)}/s, {show_seconds(left)} to go"


class Bars(Lines):
    """A bar with rate and time to go for each volume under way, and the lines above them."""

    def __init__(self, console: Console) -> None:
        super().__init__(console.file)
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self._console.print(escape(line), highlight=False, soft_wrap=True)

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """See ``Reporter.phase``."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        super().phase(name, volumes, total)
        self._tasks = {volume: self._progress.add_task(f"{name} {volume}", total=total) for volume in volumes}

    def moved(self, volume: str, drive: int, count: int) -> None:
        """See ``Reporter.moved``."""
        now = time.monotonic()
        with self._lock:
            move = self._moves[volume]
            move.moved += count
            due = now - move.told >= BAR_EVERY
            if due:
                move.told = now
        if due:
            text = f"{self._phase} {volume} in drive {drive}"
            self._progress.update(self._tasks[volume], completed=move.moved, description=text)

    def finished(self, volume: str, drive: int) -> None:
        """See ``Reporter.finished``."""
        moved = self._moves[volume].moved
        self._progress.update(self._tasks[volume], completed=moved, total=moved)
        super().finished(volume, drive)


class Tally(Reporter):
    """Knows whether the job is waiting for something, so that Ctrl-C need not be gentle."""

    def __init__(self) -> None:
        self.waits = False

    def waiting(self, what: str) -> None:  # noqa: ARG002
        """See ``Reporter.waiting``."""
        self.waits = True

    def robot(self, volume: str, source: str, destination: str) -> None:  # noqa: ARG002
        """See ``Reporter.robot``."""
        self.waits = False

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:  # noqa: ARG002
        """See ``Reporter.phase``."""
        self.waits = False


def open_progress() -> Lines:
    """Return the reporter that fits standard error."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console.file)
