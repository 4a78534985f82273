"""How long an LTO drive and a robot take: the times that make a virtual library behave like the real thing.

Speeds and capacities are the LTO generations' published native figures; load, unload, rewind and move times are typical
of what drives and libraries state or users report. Bytes are counted in powers of ten, times in seconds.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from papertape.tape.generations import Generation

LOAD_SECONDS = 15.0
UNLOAD_SECONDS = 20.0
FULL_REWIND_SECONDS = 75.0
ROBOT_MOVE_SECONDS = 15.0
FLUSH_SECONDS = 3.0
REPOSITION_SECONDS = 3.0


class Clock(Protocol):
    """Something that knows the time and can let it pass; in seconds."""

    def now(self) -> float:
        """Return the time since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class RealClock:
    """The host's clock; with ``scale`` 0.01 a modelled second lasts 10 ms."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def now(self) -> float:
        """See ``Clock.now``."""
        return time.monotonic() / self._scale

    def sleep(self, seconds: float) -> None:
        """See ``Clock.sleep``."""
        time.sleep(seconds * self._scale)


class SimulatedClock:
    """Adds up the seconds, and never waits. All who share it wait in turn: two drives' times add up, too."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._guard = threading.Lock()

    def now(self) -> float:
        """See ``Clock.now``."""
        return self._seconds

    def sleep(self, seconds: float) -> None:
        """See ``Clock.sleep``."""
        with self._guard:
            self._seconds += seconds


@dataclass
class DriveTiming:
    """The times of one drive; ``underruns`` counts how often it had to stop and reposition.

    The drive has a buffer. It works at any speed between its slowest and its native one: ``_full_speed``
    is when it would be through with all it has at the native speed, ``_slow_speed`` at the slowest. A host that comes
    later than the latter left the drive without data: it stops and repositions.
    """

    generation: Generation
    clock: Clock
    buffer: int = 256 * 1024 * 1024
    underruns: int = 0
    _full_speed: float = 0.0
    _slow_speed: float = 0.0
    _streaming: bool = field(default=False)

    def load(self) -> None:
        """A cartridge is threaded."""
        self._stop(LOAD_SECONDS)

    def unload(self) -> None:
        """The tape, rewound before, leaves the drive."""
        self._stop(UNLOAD_SECONDS)

    def travel(self, share: float) -> None:
        """The tape winds over ``share`` (0 to 1) of its capacity: for a rewind, a locate and a space."""
        self._stop(FULL_REWIND_SECONDS * min(abs(share), 1.0))

    def flush(self) -> None:
        """The drive empties its buffer and stops, as it does for a filemark that is waited for."""
        self._stop(FLUSH_SECONDS)

    def transfer(self, count: int) -> None:
        """``count`` bytes go through the drive, at a speed that it can keep."""
        now = self.clock.now()
        if self._streaming and now > self._slow_speed:
            self.underruns += 1
            self.clock.sleep(REPOSITION_SECONDS)
            now += REPOSITION_SECONDS
        self._streaming = True
        speed, slowest = self.generation.native_speed, self.generation.slowest_speed
        self._full_speed = max(self._full_speed, now) + count / speed
        self._slow_speed = min(max(self._slow_speed, now) + count / slowest, now + max(self.buffer, count) / slowest)
        # The drive takes what fits into its buffer at once, and keeps the host waiting for the rest.
        ahead = self._full_speed - now - self.buffer / speed
        if ahead > 0:
            self.clock.sleep(ahead)

    def _stop(self, seconds: float) -> None:
        left = max(self._full_speed - self.clock.now(), 0.0) if self._streaming else 0.0
        self._streaming = False
        if left + seconds > 0:
            self.clock.sleep(left + seconds)
