"""Claims: the marks by which papertape knows its rows in the lab's tables."""

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
    """The job number, of nine digits as the predecessor's, that a dump writes into the rows that it claims.

    As the predecessor does, ``job`` goes into ``status`` of the table of tapes, ``mark`` into ``tape_index`` of files.
    """

    job: int

    @property
    def mark(self) -> str:
        """The digit 1 and the job number."""
        return f"1{self.job}"

    @classmethod
    def draw(cls) -> Claim:
        """Return a new, unique claim, so that a late release of an earlier claim cannot release this one."""
        first, many = _JOBS
        return cls(first + randbelow(many))


class Left(StrEnum):
    """How a row was found that had to be changed."""

    DONE = "done"  # it is now as it should be, or was already
    FOREIGN = "foreign"  # somebody else has changed it, and it was not touched


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``size``."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
