"""Volumes that a restore needs and nobody has read: the lab's table says what lies there, and only they can prove it.

They are imported first, as by ``papertape volumes import``: from then on the ledger knows what lies on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from papertape.errors import CopiesMissing, PapertapeError, RestoreFailed
from papertape.ids import VolumeTag
from papertape.jobs.context import Context
from papertape.jobs.imports import Result, import_volumes
from papertape.jobs.restoreplan import Wish
from papertape.ledger import Ledger, Listed, match_sources
from papertape.words import count, enumerate_names


class Unread(NamedTuple):
    """So many data sets that are wished for lie on these volumes, each on all of them, by the lab's word alone."""

    labels: tuple[VolumeTag, ...]
    sets: int


def find_unread(ledger: Ledger, wish: Wish) -> list[Unread]:
    """Return what ``wish`` names and no tape has told of."""
    counts: dict[tuple[VolumeTag, ...], int] = {}
    for item in _find(ledger, wish):
        counts[item.labels] = counts.get(item.labels, 0) + 1
    return [Unread(labels, sets) for labels, sets in sorted(counts.items())]


def _find(ledger: Ledger, wish: Wish) -> Iterator[Listed]:
    """Yield what is listed, each once: what may be a newer version than the ledger has, too."""
    if wish.dump is not None:
        return
    for number, pattern in enumerate(wish.patterns):
        earlier = [match_sources(other) for other in wish.patterns[:number]]
        for item in ledger.history.find(pattern):
            if (not wish.volume or wish.volume in item.labels) and not any(match(item.source) for match in earlier):
                yield item


def choose_unread(context: Context, unread: Sequence[Unread]) -> list[VolumeTag]:
    """Return which of the volumes can be read now."""
    needed = {label for group in unread for label in group.labels} - context.ledger.imports.seen()
    return sorted(needed & context.library.loadable())


def wants_unknown(ledger: Ledger, wish: Wish) -> bool:
    """Whether ``wish`` names a volume of which the ledger knows nothing: by the lab's word alone there may be one."""
    return wish.volume is not None and wish.volume not in {volume.tag for volume in ledger.volumes.all()}


def import_unread(
    context: Context, wish: Wish, capacity: int, copy_of: Callable[[VolumeTag], int | None]
) -> tuple[list[Result], PapertapeError | None]:
    """Import the volumes that ``wish`` needs; return what came of it, and what is wrong if they do not have it all.

    Raises like ``import_volumes``.
    """
    tags = choose_unread(context, find_unread(context.ledger, wish))
    results = list(import_volumes(context, tags, capacity, copy_of)) if tags else []
    errors = {result.volume: result.error for result in results if result.error}
    return results, _judge_rest(context.ledger, wish, errors)


def _judge_rest(ledger: Ledger, wish: Wish, errors: Mapping[VolumeTag, PapertapeError]) -> PapertapeError | None:
    left = find_unread(ledger, wish)
    if not left:
        return None
    known = ledger.imports.seen()
    away = [group for group in left if not known.issuperset(group.labels)]
    if not away:
        reason = "the lab's table says that it is on {}, and it is not there"
        failed = [(item.source, reason.format(enumerate_names(item.labels))) for item in _find(ledger, wish)]
        return RestoreFailed(failed)
    unknown = [label for label in away[0].labels if label not in known]
    error = next((errors[label] for label in unknown if label in errors), None)
    return error or _tell_away(unknown, away[0].sets, sum(group.sets for group in away[1:]))


def _tell_away(labels: Sequence[VolumeTag], sets: int, others: int) -> CopiesMissing:
    more = f" (and others for {others} more)" if others else ""
    needed = f"by the lab's table needed for {count(sets, 'data set')}{more}"
    return CopiesMissing(labels, f"{needed}, never read, and not where a drive can get it; put it into a slot")
