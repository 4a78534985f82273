"""Waiting for a server that is away, while more is at stake than a command that can be run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from papertape.errors import LedgerAway

T = TypeVar("T")

PATIENCE = 3600.0
"""Seconds that a server may be away while a dump runs: a reboot, an upgrade, somebody who must get up."""
STEP = 1.0
"""Seconds between two attempts."""


class Patience:
    """The time to wait for a server; once it is used up, no call waits until one succeeds.

    ``tell`` gets a sentence when the waiting begins and when it ends; ``pause`` waits some seconds, or raises an error
    that ends the waiting.
    """

    def __init__(
        self, tell: Callable[[str], None], pause: Callable[[float], None] = time.sleep, seconds: float = PATIENCE
    ) -> None:
        self._tell = tell
        self._pause = pause
        self._seconds = seconds
        self._since: float | None = None

    def insist(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, calling it again while the server is away; raises LedgerAway in the end."""
        while True:
            try:
                result = work()
            except LedgerAway as error:
                now = time.monotonic()
                if self._since is None:  # the time counts for all calls together, until one succeeds
                    self._since = now
                    self._tell(f"waiting for the ledger, for {self._seconds / 60:.0f} minutes at the most: {error}")
                if now - self._since >= self._seconds:
                    raise
                self._pause(STEP)
            else:
                if self._since is not None:
                    self._since = None
                    self._tell("the ledger is back")
                return result
