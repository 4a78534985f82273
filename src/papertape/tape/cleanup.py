"""Cleaning up: every step is done, after a failure too, and no error is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

Step = Callable[[], None]


def one_by_one(steps: Sequence[Step]) -> list[BaseException]:
    """Do all ``steps`` in order, whatever happens in one; return the failures."""
    failures: list[BaseException] = []
    for step in steps:
        try:
            step()
        except BaseException as error:  # noqa: BLE001  # a Ctrl-C in one step must not keep the others from being done
            failures.append(error)
    return failures


def at_once(steps: Sequence[Step]) -> list[BaseException]:
    """Do all ``steps`` at the same time, whatever happens in one; return the failures when all are done."""
    if len(steps) < 2:  # in the caller's thread, where a signal's handler runs as well
        return one_by_one(steps)
    with ThreadPoolExecutor(len(steps)) as threads:
        futures = [threads.submit(step) for step in steps]
        interrupts = _wait_for_all(futures)
    # A drive's error raised by ``result`` would hide those of the other drives; ``exception`` only hands it over.
    return interrupts + [error for future in futures if (error := future.exception()) is not None]


def _wait_for_all(futures: Sequence[Future[None]]) -> list[BaseException]:
    """Wait until all are done; return the signals that came meanwhile: a drive half unloaded helps nobody."""
    interrupts: list[BaseException] = []
    while not all(future.done() for future in futures):
        try:
            wait(futures)
        except BaseException as error:  # noqa: BLE001  # KeyboardInterrupt, or what a signal's handler raises
            interrupts.append(error)
    return interrupts


def raise_first(failures: Sequence[BaseException]) -> None:
    """Raise the first of ``failures``, if there is one, with the others as notes on it."""
    if failures:
        _add_notes(failures[0], failures[1:], "at the same time")
        raise failures[0]


@contextmanager
def afterwards(clean_up: Callable[[], list[BaseException]]) -> Iterator[None]:
    """Do ``clean_up`` at the end, whatever happens in the body.

    The exception of the body is raised, with the failures of ``clean_up`` as notes; without one, the first of those.
    """
    try:
        yield
    except BaseException as error:
        _add_notes(error, clean_up(), "then, in cleaning up")
        raise
    raise_first(clean_up())


def _add_notes(error: BaseException, failures: Sequence[BaseException], when: str) -> None:
    for failure in failures:
        error.add_note(f"{when}: {str(failure) or type(failure).__name__}")
        for note in getattr(failure, "__notes__", ()):
            error.add_note(note)
