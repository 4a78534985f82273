"""What is on tape already by the word of the lab's table: read from there, judged row by row, and remembered.

A row that says where its file lies is ``YYYYMMDD[LABEL1,LABEL2]-archive:item``. One that a dump has bears ``1`` and the
dump's job number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from papertape.bridges import OnTape
from papertape.bridges.bridge import Bridge
from papertape.bridges.claims import chunks
from papertape.jobs.lab.pull import MEGABYTE, TOGETHER, check_md5
from papertape.ledger import Heard, Ledger, Listed, Listing, match_sources
from papertape.volume.names import quote
from papertape.volume.predecessor.catalog import is_plain

_CLAIM = re.compile("1[0-9]{4,20}")
_LABEL = "[A-Z0-9]{1,8}"
_PLACE = re.compile(rf"([0-9]{{8}})\[({_LABEL}(?:,{_LABEL})*)\]-([0-9]{{1,9}}):([0-9]{{1,9}})")
_SOURCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,254}):(/[^\n]+)")
_LONGEST = 86
"""Characters of labels that fit into a ``tape_index`` with the rest of it."""


class Outcome(StrEnum):
    """What became of a row that was not entered and is not known already."""

    CLAIMED = "claimed"  # a dump has it, or left it so
    REFUSED = "refused"


class Remembered(NamedTuple):
    """What became of one row: ``trouble`` is a clause on what is not well with it, "" if nothing is."""

    name: str
    result: Listing | Outcome
    labels: tuple[str, ...]
    trouble: str

    @property
    def is_refused(self) -> bool:
        """Whether nothing was entered though the row says that something is on tape."""
        return self.result in {Outcome.REFUSED, Listing.DISPUTED}


class _Read(NamedTuple):
    """What a row says; ``trouble`` as in ``Remembered``."""

    listed: Listed
    trouble: str


def import_history(ledger: Ledger, bridge: Bridge, pattern: str, *, dry_run: bool = False) -> Iterator[Remembered]:
    """Remember where the lab's table of files says that they lie, and yield what became of each row.

    ``pattern`` is one of ``find``, over the lab's sources. With ``dry_run`` nothing is remembered. A row that says
    nothing that can be understood does not keep the others from it. Raises UserError, HostError.
    """
    matches = match_sources(pattern)
    enter = ledger.history.judge if dry_run else ledger.history.note
    with bridge.open_files() as files:
        rows = (row for row in files.on_tape() if matches(_show(row.source)))
        for chunk in chunks(_without_twins(rows), TOGETHER):
            yield from _remember([_read(row) if isinstance(row, OnTape) else row for row in chunk], enter)


def _remember(
    read: Sequence[_Read | Remembered], enter: Callable[[Sequence[Listed]], list[Heard]]
) -> Iterator[Remembered]:
    rows = [item for item in read if isinstance(item, _Read)]
    heard = iter(enter([row.listed for row in rows]) if rows else ())
    for item in read:
        if isinstance(item, _Read):
            listing, reason = next(heard)
            yield Remembered(item.listed.source, listing, item.listed.labels, reason or item.trouble)
        else:
            yield item


def _show(source: str) -> str:
    return quote(source.encode("utf-8", "surrogatepass"))


def _without_twins(rows: Iterable[OnTape]) -> Iterator[OnTape | Remembered]:
    """Yield the rows, which are ordered by source, but for the later ones with a source that was there before."""
    before = None
    for row in rows:
        yield _refuse(row, "another row has the same source; mend one") if row.source == before else row
        before = row.source


def _read(row: OnTape) -> _Read | Remembered:
    """Return what a row says."""
    place = row.place.strip()
    if _CLAIM.fullmatch(place):
        return Remembered(_show(row.source), Outcome.CLAIMED, (), "")
    match = _PLACE.fullmatch(place)
    if match is None or len(match[2]) > _LONGEST:
        return _refuse(row, f"its tape_index {_show(place)[:110]!r} names no place on tapes")
    source = _SOURCE.fullmatch(row.source)
    if source is None or not is_plain(source[2].encode("utf-8", "surrogatepass")):
        return _refuse(row, "its source is not host:/path, with no empty parts and no dots")
    version, labels, archive, item = match.groups()
    each = tuple(dict.fromkeys(labels.split(",")))
    size = None if row.megabytes is None or row.megabytes < 0 else int(row.megabytes * MEGABYTE)
    md5, trouble = _read_md5(row.md5)
    return _Read(Listed(_show(row.source), version, each, int(archive), int(item), md5, size), trouble)


def _read_md5(declared: str | None) -> tuple[str | None, str]:
    """Return a declared MD5, and what is wrong with it: where a file lies counts without."""
    try:
        return check_md5(declared), ""
    except ValueError as error:
        return None, str(error)


def _refuse(row: OnTape, reason: str) -> Remembered:
    return Remembered(_show(row.source), Outcome.REFUSED, (), reason)


def find_blank(ledger: Ledger, labels: Iterable[str]) -> Sequence[str]:
    """Return which of ``labels``, which hold data by the lab's word, are blank volumes by that of the ledger."""
    blank = {volume.tag for volume in ledger.volumes.all() if volume.state == "blank"}
    return sorted(blank.intersection(labels))
