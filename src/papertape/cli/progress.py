"""What a running job says: bars on a terminal, plain lines elsewhere; all of it on standard error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from papertape.cli.output import discard
from papertape.events import Reporter
from papertape.words import enumerate_names, show_seconds, show_size, show_text

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
        """Print one line; the job goes on where nobody can read it any more."""
        try:
            print(show_text(line), file=self._file, flush=True)
        except OSError:
            discard(self._file)

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """See ``Reporter.phase``."""
        now = time.monotonic()
        with self._lock:
            self._phase = name
            self._moves = {volume: _Move(total, now, now) for volume in volumes}
        if not volumes:
            return
        each = " each" if len(volumes) > 1 else ""
        self.say(f"{' '.join(filter(None, [name, enumerate_names(volumes)]))}: {show_size(total)}{each}")

    def began(self, volume: str, drive: int, total: int) -> None:
        """See ``Reporter.began``."""
        now = time.monotonic()
        with self._lock:
            self._moves[volume] = _Move(total, now, now)
        self.say(f"{self._phase} from {volume} in drive {drive}: {show_size(total)}")

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
            rate = move.moved / max(now - move.began, 1e-3)
            self.say(f"{self._phase} {volume} in drive {drive}: {_show_way(move.moved, move.total, rate)}")

    def finished(self, volume: str, drive: int) -> None:
        """See ``Reporter.finished``."""
        with self._lock:
            move, now = self._moves[volume], time.monotonic()
            move.ended = True
        rate = show_size(move.moved / max(now - move.began, 1e-3))
        took = show_seconds(now - move.began)
        self.say(f"{self._phase} {volume} in drive {drive}: {show_size(move.moved)} in {took}, {rate}/s")

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


def _show_way(moved: float, total: float, rate: float | None) -> str:
    """Say how far it is: 88 MB of 139 MB, 15 MB/s, 4 s to go."""
    way = f"{show_size(moved)} of {show_size(total)}"
    if not rate:
        return way
    return f"{way}, {show_size(rate)}/s, {show_seconds(max(total - moved, 0) / rate)} to go"


class _Way(ProgressColumn):
    """The numbers behind a bar."""

    def render(self, task: Task) -> Text:
        """Return them."""
        return Text(_show_way(task.completed, task.total or 0, task.finished_speed or task.speed))


class Bars(Lines):
    """A bar with rate and time to go for each volume, as long as bytes move; the lines above them.

    A bar is drawn anew every so many seconds, ``every``.
    """

    def __init__(self, console: Console, every: float = BAR_EVERY) -> None:
        super().__init__(console.file)
        self._every = every
        self._console = console
        self._drawing = threading.RLock()  # one thread at a time may take bars away and draw others
        self._bars: tuple[Progress, dict[str, TaskID]] | None = None

    def __exit__(self, *_: object) -> None:
        with self._drawing:
            self._stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        with self._unread():
            self._console.print(Text(show_text(line)), soft_wrap=True)

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """See ``Reporter.phase``."""
        with self._drawing:
            self._stop()
            super().phase(name, volumes, total)
            if volumes:
                self._start([f"{name} {volume}" for volume in volumes], volumes, [total] * len(volumes))

    def began(self, volume: str, drive: int, total: int) -> None:
        """See ``Reporter.began``; the bars of all volumes under way are drawn anew."""
        with self._drawing:
            self._stop()
            super().began(volume, drive, total)
            with self._lock:
                moves = {name: move for name, move in self._moves.items() if not move.ended}
            texts = [f"{self._phase} {name}" for name in moves]
            self._start(texts, tuple(moves), [move.total for move in moves.values()])

    def moved(self, volume: str, drive: int, count: int) -> None:
        """See ``Reporter.moved``."""
        now = time.monotonic()
        with self._lock:
            move = self._moves[volume]
            move.moved += count
            due = now - move.told >= self._every
            if due:
                move.told = now
        bars = self._bars
        if due and bars:
            progress, tasks = bars
            text = f"{self._phase} {volume} in drive {drive}"
            progress.update(tasks[volume], completed=move.moved, description=text)

    def finished(self, volume: str, drive: int) -> None:
        """See ``Reporter.finished``; the bars go with the last one, since the lines say it all."""
        with self._drawing:
            super().finished(volume, drive)
            with self._lock:
                over = all(move.ended for move in self._moves.values())
            if over:
                self._stop()

    def _start(self, texts: list[str], volumes: tuple[str, ...], totals: list[int]) -> None:
        whole = Column(no_wrap=True, min_width=27)
        text = TextColumn("{task.description}", markup=False, table_column=whole)
        columns = (text, BarColumn(bar_width=None), _Way(Column(no_wrap=True, min_width=47)))
        # Standard output is not rich's to redirect: what is printed there is the result.
        progress = Progress(
            *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False, expand=True
        )
        tasks = {
            volume: progress.add_task(label, total=total)
            for volume, label, total in zip(volumes, texts, totals, strict=True)
        }
        with self._unread():
            progress.start()
        self._bars = progress, tasks

    def _stop(self) -> None:
        bars, self._bars = self._bars, None
        if bars:
            with self._unread():
                bars[0].stop()

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        """Do without the terminal if it is gone."""
        try:
            yield
        except OSError:
            discard(self._console.file)


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
