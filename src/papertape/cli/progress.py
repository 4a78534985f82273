"""Subscribers to a job's events: bars on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
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
"""Seconds between two progress lines of a volume if there is no terminal."""
BAR_EVERY = 0.1
"""Seconds between two updates of a bar."""


@dataclass
class _Move:
    """The progress of one volume: bytes, and when they began to move and were last shown (monotonic seconds)."""

    total: int
    began: float
    shown: float
    moved: int = 0
    ended: bool = False


class Lines:
    """Prints one plain line for each event, and one a minute for each volume on which bytes move."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        # Guards the moves and the phase: the drives' threads count in them while the job's thread begins a phase.
        self._lock = threading.Lock()
        self._moves: dict[str, _Move] = {}
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Show one event, but not how the job ended: the command shows that, with its exit code."""
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
        """Print one line; if nobody can read it (a closed pipe), the job continues without."""
        try:
            print(show_text(line), file=self._file, flush=True)
        except OSError:
            discard(self._file)

    def begin_phase(self, phase: Phase) -> None:
        """Replace the moves of the last phase, and say what this phase will do."""
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
        """Count bytes, and print a progress line once a minute."""
        # Printed outside the lock: a terminal that is slow must not keep the other drives waiting.
        if move := self.count(moved, LINE_EVERY):
            rate = move.moved / max(move.shown - move.began, 1e-3)
            progress = _show_progress(move.moved, move.total, rate)
            self.say(f"{self._phase} {moved.volume} in drive {moved.drive}: {progress}")

    def finish(self, finished: Finished) -> None:
        """Say how many bytes were moved on a volume, how long it took, and the mean rate."""
        with self._lock:
            move, now = self._moves[finished.volume], time.monotonic()
            move.ended = True
        seconds = now - move.began
        rate = show_size(move.moved / max(seconds, 1e-3))
        way = f"{show_size(move.moved)} in {show_seconds(seconds)}, {rate}/s"
        self.say(f"{self._phase} {finished.volume} in drive {finished.drive}: {way}")


def _show_progress(moved: float, total: float, rate: float | None) -> str:
    """Return "88 MB of 139 MB, 15 MB/s, 4 s to go"; bytes, and bytes per second."""
    part = f"{show_size(moved)} of {show_size(total)}"
    if not rate:
        return part
    return f"{part}, {show_size(rate)}/s, {show_seconds(max(total - moved, 0) / rate)} to go"


class _Numbers(ProgressColumn):
    """The column after a bar: size, rate and time to go."""

    def render(self, task: Task) -> Text:
        """Return the column's text for one bar (``rich.progress.ProgressColumn``)."""
        return Text(_show_progress(task.completed, task.total or 0, task.finished_speed or task.speed))


class Bars(Lines):
    """Draws a bar with rate and time to go for each volume while bytes move, and prints the lines above the bars.

    A bar is updated at most every ``every`` seconds.
    """

    def __init__(self, console: Console, every: float = BAR_EVERY) -> None:
        super().__init__(console.file)
        self._every = every
        self._console = console
        # Held while bars are replaced, always taken before ``_lock``. A drive's thread that counts bytes never takes
        # it: it updates the bars that it finds, even if another thread is just replacing them.
        self._drawing = threading.RLock()
        self._bars: tuple[Progress, dict[str, TaskID]] | None = None

    def __exit__(self, *_: object) -> None:
        with self._drawing:
            self._stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        with self._without_terminal():
            self._console.print(Text(show_text(line)), soft_wrap=True)

    def begin_phase(self, phase: Phase) -> None:
        """Replace all bars with those of the phase."""
        with self._drawing:
            self._stop()
            super().begin_phase(phase)
            if phase.volumes:
                self._start(dict.fromkeys(phase.volumes, phase.total))

    def begin(self, began: Began) -> None:
        """Add a bar; the bars of all volumes on which bytes move are drawn again."""
        with self._drawing:
            self._stop()
            super().begin(began)
            with self._lock:
                totals = {volume: move.total for volume, move in self._moves.items() if not move.ended}
            self._start(totals)

    def move(self, moved: Moved) -> None:
        """Count bytes, and update the bar if that is due."""
        move = self.count(moved, self._every)
        bars = self._bars  # read once: another thread may replace the bars at any moment
        if move and bars:
            progress, tasks = bars
            text = f"{self._phase} {moved.volume} in drive {moved.drive}"
            progress.update(tasks[moved.volume], completed=move.moved, description=text)

    def finish(self, finished: Finished) -> None:
        """Say how it went, and remove the bars when all volumes are finished: the lines say everything by then."""
        with self._drawing:
            super().finish(finished)
            with self._lock:
                over = all(move.ended for move in self._moves.values())
            if over:
                self._stop()

    def _start(self, totals: Mapping[str, int]) -> None:
        """Draw a bar for each volume, with its total in bytes; ``_drawing`` is held."""
        progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, min_width=27)),
            BarColumn(bar_width=None),
            _Numbers(Column(no_wrap=True, min_width=47)),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # the result is printed there, and must not be changed
            redirect_stderr=False,
            expand=True,
        )
        tasks = {volume: progress.add_task(f"{self._phase} {volume}", total=total) for volume, total in totals.items()}
        with self._without_terminal():
            progress.start()
        self._bars = progress, tasks

    def _stop(self) -> None:
        """Remove the bars, if there are any; ``_drawing`` is held."""
        bars, self._bars = self._bars, None
        if bars:
            with self._without_terminal():
                bars[0].stop()

    @contextlib.contextmanager
    def _without_terminal(self) -> Iterator[None]:
        """Continue without output if the terminal is gone."""
        try:
            yield
        except OSError:
            discard(self._console.file)


class Tally:
    """Knows whether the job waits for drives; if it does, Ctrl-C ends it on the spot.

    A signal handler reads ``waits`` on the main thread. It needs no lock, and must not have one: the handler could
    interrupt the thread that holds it.
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
