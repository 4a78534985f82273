"""What a running job tells the world; whoever wants to know subscribes.

Bars, log lines and the ledger's heartbeat are all subscribers. Every method is a no-op here, so that a subscriber
writes only the ones it wants. Methods are called from the transfer's threads as well as from the main one: a
subscriber that keeps state guards it itself. A method must not raise and must return at once.
"""

from __future__ import annotations


class Reporter:
    """Hears of everything and says nothing."""

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """Begin a phase (``writing``, ``verifying`` …) that will move ``total`` bytes on each of ``volumes``."""

    def began(self, volume: str, drive: int, total: int) -> None:
        """One more volume joins the phase under way, and will move ``total`` bytes."""

    def moved(self, volume: str, drive: int, count: int) -> None:
        """``count`` more bytes were written to, or read from, ``volume`` in ``drive``."""

    def finished(self, volume: str, drive: int) -> None:
        """Nothing more will move on ``volume`` in this phase."""

    def robot(self, volume: str, source: str, destination: str) -> None:
        """The changer starts to move ``volume``."""

    def waiting(self, what: str) -> None:
        """The job can't go on before ``what`` (a clause: "drives 0 and 1 are in use by process 77")."""

    def rejected(self, source: str, reason: str) -> None:
        """A data set was dropped from the dump under way."""

    def finding(self, sentence: str) -> None:
        """A verification found something wrong."""

    def note(self, sentence: str) -> None:
        """Something the operator would want to read later."""

    def pulse(self) -> None:
        """Called about twice a second from the main thread while threads move bytes."""


class Reporters(Reporter):
    """Passes everything on to several subscribers, in order."""

    def __init__(self, *subscribers: Reporter) -> None:
        self._subscribers = subscribers

    def phase(self, name: str, volumes: tuple[str, ...] = (), total: int = 0) -> None:
        """See ``Reporter.phase``."""
        for subscriber in self._subscribers:
            subscriber.phase(name, volumes, total)

    def began(self, volume: str, drive: int, total: int) -> None:
        """See ``Reporter.began``."""
        for subscriber in self._subscribers:
            subscriber.began(volume, drive, total)

    def moved(self, volume: str, drive: int, count: int) -> None:
        """See ``Reporter.moved``."""
        for subscriber in self._subscribers:
            subscriber.moved(volume, drive, count)

    def finished(self, volume: str, drive: int) -> None:
        """See ``Reporter.finished``."""
        for subscriber in self._subscribers:
            subscriber.finished(volume, drive)

    def robot(self, volume: str, source: str, destination: str) -> None:
        """See ``Reporter.robot``."""
        for subscriber in self._subscribers:
            subscriber.robot(volume, source, destination)

    def waiting(self, what: str) -> None:
        """See ``Reporter.waiting``."""
        for subscriber in self._subscribers:
            subscriber.waiting(what)

    def rejected(self, source: str, reason: str) -> None:
        """See ``Reporter.rejected``."""
        for subscriber in self._subscribers:
            subscriber.rejected(source, reason)

    def finding(self, sentence: str) -> None:
        """See ``Reporter.finding``."""
        for subscriber in self._subscribers:
            subscriber.finding(sentence)

    def note(self, sentence: str) -> None:
        """See ``Reporter.note``."""
        for subscriber in self._subscribers:
            subscriber.note(sentence)

    def pulse(self) -> None:
        """See ``Reporter.pulse``."""
        for subscriber in self._subscribers:
            subscriber.pulse()
