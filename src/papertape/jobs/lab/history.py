"""``papertape bridge history``: the lab's table says where files lie that went to tape earlier; the ledger keeps that.

The ``tape_index`` of such a row is ``YYYYMMDD[LABEL1,LABEL2]-archive:item``. A dump that has claimed a row writes ``1``
and its job number there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from papertape.bridges import OnTape
from papertape.bridges.bridge import Bridge
from papertape.bridges.claims import chunks
from papertape.jobs.lab.pull import MEGABYTE, TOGETHER, check_md5
from papertape.ledger import Ledger, Listed, Listing, match_sources
from papertape.states import VolumeState
from papertape.volume.names import quote
from papertape.volume.predecessor.catalog import is_plain

_CLAIM = re.compile("1[0-9]{4,20}")
_LABEL = "[A-Z0-9]{1,8}"
_PLACE = re.compile(rf"([0-9]{{8}})\[({_LABEL}(?:,{_LABEL})*)\]-([0-9]{{1,9}}):([0-9]{{1,9}})")
_SOURCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,254}):(/[^\n]+)")
_LONGEST = 86
"""Characters of labels that fit into a ``tape_index`` with the rest of it."""


class NotEntered(StrEnum):
    """Why a row is not entered in the ledger."""

    CLAIMED = "claimed"  # a dump has it, or ended without releasing it
    REFUSED = "refused"


class Remembered(NamedTuple):
    """How one row was entered, or why not; ``trouble`` is a clause on what is wrong with it, "" if nothing is."""

    name: str
    result: Listing | NotEntered
    labels: tuple[str, ...]
    trouble: str

    @property
    def is_refused(self) -> bool:
        """Whether nothing was entered though the row says that something is on tape."""
        return self.result in {NotEntered.REFUSED, Listing.DISPUTED}


class _Readable(NamedTuple):
    """A row that can be entered; ``trouble`` as in ``Remembered``."""

    listed: Listed
    trouble: str


def import_history(ledger: Ledger, bridge: Bridge, pattern: str, *, dry_run: bool = False) -> Iterator[Remembered]:
    """Enter where files lie by the lab's table, and yield the result for each row.

    ``pattern`` is one of ``find``, over the lab's sources. With ``dry_run`` nothing is entered. A row that cannot be
    understood does not stop the others. Raises UserError, HostError.
    """
    matches = match_sources(pattern)
    enter = ledger.history.judge if dry_run else ledger.history.note
    before = None
    with bridge.open_files() as files:
        rows = (row for row in files.on_tape() if matches(_show(row.source)))
        for chunk in chunks(rows, TOGETHER):
            read: list[_Readable | Remembered] = []
            for row in chunk:  # ordered by source, so twins follow each other
                is_twin = row.source == before
                read.append(_refuse(row, "another row has the same source; correct one") if is_twin else _read(row))
                before = row.source
            listed = [item.listed for item in read if isinstance(item, _Readable)]
            heard = iter(enter(listed) if listed else ())
            for item in read:
                if isinstance(item, Remembered):
                    yield item
                else:
                    listing, reason = next(heard)
                    yield Remembered(item.listed.source, listing, item.listed.labels, reason or item.trouble)


def _show(source: str) -> str:
    return quote(source.encode("utf-8", "surrogatepass"))


def _read(row: OnTape) -> _Readable | Remembered:
    """Return the content of a row, or the reason why it is not entered."""
    place = row.place.strip()
    if _CLAIM.fullmatch(place):
        return Remembered(_show(row.source), NotEntered.CLAIMED, (), "")
    match = _PLACE.fullmatch(place)
    if match is None or len(match[2]) > _LONGEST:
        return _refuse(row, f"its tape_index {_show(place)[:110]!r} names no place on tapes")
    source = _SOURCE.fullmatch(row.source)
    if source is None or not is_plain(source[2].encode("utf-8", "surrogatepass")):
        return _refuse(row, "its source is not host:/path, with no empty parts and no dots")
    version, labels, archive, item = match.groups()
    each = tuple(dict.fromkeys(labels.split(",")))
    size = None if row.megabytes is None or row.megabytes < 0 else int(row.megabytes * MEGABYTE)
    try:
        md5, trouble = check_md5(row.md5), ""
    except ValueError as error:  # the place of a file counts without its MD5
        md5, trouble = None, str(error)
    return _Readable(Listed(_show(row.source), version, each, int(archive), int(item), md5, size), trouble)


def _refuse(row: OnTape, reason: str) -> Remembered:
    return Remembered(_show(row.source), NotEntered.REFUSED, (), reason)


def find_blank(ledger: Ledger, labels: Iterable[str]) -> Sequence[str]:
    """Return those of ``labels`` that are blank volumes for the ledger, though they hold data for the lab."""
    blank = {volume.tag for volume in ledger.volumes.all() if volume.state is VolumeState.BLANK}
    return sorted(blank.intersection(labels))
