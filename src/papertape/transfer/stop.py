"""The operator's wish to stop, as a running transfer sees it."""

from __future__ import annotations

from papertape.errors import Interrupted


class Stop:
    """``soon`` after the first request: end at the next archive. ``now`` after the second one: stop at once.

    A signal handler sets them and every thread reads them: two flags that only become true need no lock.
    """

    def __init__(self) -> None:
        self.soon = False
        self.now = False

    def ask(self) -> None:
        """Request to stop, once more."""
        self.now = self.soon
        self.soon = True

    def check(self) -> None:
        """Raise Interrupted if the transfer must stop at once."""
        if self.now:
            raise Interrupted("stopped at once; `papertape recover` finishes or undoes the job")
