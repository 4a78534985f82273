"""Rows of the lab's tables that are taken, and let go, on condition that they are as we think they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice
from secrets import randbelow
from typing import NamedTuple, TypeVar

T = TypeVar("T")

CHUNK = 500
"""How many rows one statement names."""
_JOBS = 10**8, 9 * 10**8


class Claim(NamedTuple):
    """What a dump writes into what it takes: a job number of nine digits, as the predecessor's are.

    ``mark`` is what the predecessor writes into ``tape_index``, ``job`` what it writes into ``status``.
    """

    job: int

    @property
    def mark(self) -> str:
        """The number behind a 1."""
        return f"1{self.job}"

    @classmethod
    def draw(cls) -> Claim:
        """Return a claim that nobody else has: who lets go of an earlier one, however late, does not let go of it."""
        first, many = _JOBS
        return cls(first + randbelow(many))


class Left(StrEnum):
    """How a row was found that was to be changed."""

    DONE = "done"  # it is now as it should be, or was already
    FOREIGN = "foreign"  # somebody else has changed it, and it was left alone


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``size``."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
