"""The operator's wish to stop, as a running transfer sees it."""

from __future__ import annotations

from papertape.errors import Interrupted


class Stop:
    """Asked once: come to an end at the next archive. Asked twice: stop at once.

    Set from a signal handler, read by every thread: two plain flags need no lock.
    """

    def __init__(self) -> None:
        self.soon = False
        self.now = False

    def ask(self) -> None:
        """Ask once more."""
        self.now = self.soon
        self.soon = True

    def check(self) -> None:
        """Raise Interrupted if the stop is to be at once."""
        if self.now:
            raise Interrupted("stopped at once; `papertape recover` finishes or undoes what was under way")
