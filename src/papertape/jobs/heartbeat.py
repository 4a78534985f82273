"""Tells the ledger, while bytes move, that the dump's process is alive."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from papertape.errors import ClaimLost, HostError
from papertape.events import Reporter
from papertape.ledger import Ledger
from papertape.transfer.stop import Stop

INTERVAL = 30.0
"""Seconds between two heartbeats."""


class Heartbeat(Reporter):
    """A subscriber that keeps the claim of a dump fresh, and stops the transfer at once if the claim was lost."""

    def __init__(self, ledger: Ledger, dump: int, report: Reporter, stop: Stop) -> None:
        self._ledger = ledger
        self._dump = dump
        self._report = report
        self._stop = stop
        self._last = time.monotonic()

    def pulse(self) -> None:
        """See ``Reporter.pulse``."""
        if time.monotonic() - self._last < INTERVAL:
            return
        self._last = time.monotonic()
        try:
            self._ledger.heartbeat(self._dump, datetime.now(UTC))
        except ClaimLost as error:
            self._report.note(f"{error}; stopping at once")
            self._stop.soon = self._stop.now = True
        except HostError as error:
            self._report.note(f"no heartbeat this time: {error}")
