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
from papertape.events import (
    Began,
    Event,
    Finished,
    Found,
    Moved,
    Note,
    Phase,
    Rejected,
    RobotMoves,
    Waiting,
)
from papertape.words import enumerate_names, show_seconds, show_size, show_text

LINE_EVERY = 60.0
"""Seconds between two progress lines of a volume where there is no terminal."""
BAR_EVERY = 0.1


@dataclass
class _Move:
    """How far the moving of bytes on one volume has come."""

    total: int
    began: float
    shown: float
    moved: int = 0
    ended: bool = False


class Lines:
    """Prints one plain line for each event, and one a minute for each volume on which bytes move."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()  # guards the two below: drives' threads count, the job's thread begins phases
        self._moves: dict[str, _Move] = {}
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Show one event; how the job ended is said by the command, with its exit code."""
        match event:
            case Phase():
                self.begin_phase(event)
            case Began():
                self.begin(event)
            case Moved():
                self.move(event)
            case Finished():
                self.finish(event)
            case RobotMoves():
                self.say(f"moving {event.volume} from {event.source} to {event.destination}")
            case Waiting():
                self.say(f"waiting: {event.reason}")
            case Rejected():
                self.say(f"rejected: {event.source}: {event.reason}")
            case Found():
                self.say(f"found: {event.volume}: {event.sentence}")
            case Note():
                self.say(f"note: {event.sentence}")

    def say(self, line: str) -> None:
        """Print one line; if nobody can read it (a closed pipe), the job goes on without."""
        try:
            print(show_text(line), file=self._file, flush=True)
        except OSError:
            discard(self._file)

    def begin_phase(self, phase: Phase) -> None:
        """Forget the moves of the last phase, and say what this one will do."""
        now = time.monotonic()
        with self._lock:
            self._phase = phase.name
            self._moves = {volume: _Move(phase.total, now, now) for volume in phase.volumes}
        if phase.volumes:
            each = " each" if len(phase.volumes) > 1 else ""
            self.say(f"{phase.name} {enumerate_names(phase.volumes)}: {show_size(phase.total)}{each}")

    def begin(self, began: Began) -> None:
        """Add a volume to the phase."""
        now = time.monotonic()
        with self._lock:
            self._moves[began.volume] = _Move(began.total, now, now)
        self.say(f"{self._phase} from {began.volume} in drive {began.drive}: {show_size(began.total)}")

    def count(self, moved: Moved, every: float) -> _Move | None:
        """Add bytes to a volume's move; return the move if it is ``every`` seconds since it was last shown."""
        now = time.monotonic()
        with self._lock:
            move = self._moves[moved.volume]
            move.moved += moved.count
            if now - move.shown < every:
                return None
            move.shown = now
            return move

    def move(self, moved: Moved) -> None:
        """Count bytes, and say from time to time how far it is."""
        if move := self.count(moved, LINE_EVERY):
            rate = move.moved / max(move.shown - move.began, 1e-3)
            way = _show_way(move.moved, move.total, rate)
            self.say(f"{self._phase} {moved.volume} in drive {moved.drive}: {way}")

    def finish(self, finished: Finished) -> None:
        """Say how much was moved on a volume, how long it took, and the mean rate."""
        with self._lock:
            move, now = self._moves[finished.volume], time.monotonic()
            move.ended = True
        seconds = now - move.began
        rate = show_size(move.moved / max(seconds, 1e-3))
        way = f"{show_size(move.moved)} in {show_seconds(seconds)}, {rate}/s"
        self.say(f"{self._phase} {finished.volume} in drive {finished.drive}: {way}")


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

    def begin_phase(self, phase: Phase) -> None:
        """Replace all bars by those of the phase."""
        with self._drawing:
            self._stop()
            super().begin_phase(phase)
            if phase.volumes:
                self._start(
                    [f"{phase.name} {volume}" for volume in phase.volumes],
                    phase.volumes,
                    [phase.total] * len(phase.volumes),
                )

    def begin(self, began: Began) -> None:
        """Add a bar; the bars of all volumes on which bytes move are drawn again."""
        with self._drawing:
            self._stop()
            super().begin(began)
            with self._lock:
                moves = {name: move for name, move in self._moves.items() if not move.ended}
            texts = [f"{self._phase} {name}" for name in moves]
            self._start(texts, tuple(moves), [move.total for move in moves.values()])

    def move(self, moved: Moved) -> None:
        """Count bytes, and move the bar from time to time."""
        move = self.count(moved, self._every)
        bars = self._bars  # read once: another thread may take the bars away at any moment
        if move and bars:
            progress, tasks = bars
            text = f"{self._phase} {moved.volume} in drive {moved.drive}"
            progress.update(tasks[moved.volume], completed=move.moved, description=text)

    def finish(self, finished: Finished) -> None:
        """Say how it went; the bars go when nothing moves any more, since the lines say it all."""
        with self._drawing:
            super().finish(finished)
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


class Tally:
    """Knows whether the job waits for something; if so, Ctrl-C may end it on the spot.

    One attribute is assigned, and a signal handler reads it: no lock is needed.
    """

    def __init__(self) -> None:
        self.waits = False

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Waiting():
                self.waits = True
            case RobotMoves() | Phase():
                self.waits = False


def open_progress() -> Lines:
    """Return the subscriber that fits standard error: bars on a terminal, else lines."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console.file)
