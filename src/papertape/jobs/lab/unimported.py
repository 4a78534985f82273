"""Volumes that a restore needs and that only the lab's table knows: they are imported first.

The lab's table says what lies on them; only the volume itself can prove it. After the import, as by ``papertape
volumes import``, the ledger knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from papertape.errors import CopiesMissing, PapertapeError, RestoreFailed
from papertape.ids import VolumeTag
from papertape.jobs.context import Context
from papertape.jobs.imports import Result, import_volumes
from papertape.jobs.restoreplan import Wish
from papertape.ledger import Ledger, Listed, match_sources
from papertape.words import count, enumerate_names


class Unimported(NamedTuple):
    """A group of volumes that each hold all of ``datasets`` wanted data sets, by the lab's table alone."""

    labels: tuple[VolumeTag, ...]
    datasets: int


def find_unimported(ledger: Ledger, wish: Wish) -> list[Unimported]:
    """Return the volumes that hold what ``wish`` names, and that the ledger has not read."""
    counts = Counter(item.labels for item in _find_listed(ledger, wish))
    return [Unimported(labels, number) for labels, number in sorted(counts.items())]


def _find_listed(ledger: Ledger, wish: Wish) -> Iterator[Listed]:
    """Yield what the lab's table lists, each once; it may be a newer version than the ledger has."""
    if wish.dump is not None:
        return
    for number, pattern in enumerate(wish.patterns):
        earlier = [match_sources(other) for other in wish.patterns[:number]]
        for item in ledger.history.find(pattern):
            if (not wish.volume or wish.volume in item.labels) and not any(match(item.source) for match in earlier):
                yield item


def names_unknown_volume(ledger: Ledger, wish: Wish) -> bool:
    """Whether ``wish`` names a volume that the ledger does not know; the lab's table may."""
    return wish.volume is not None and wish.volume not in {volume.tag for volume in ledger.volumes.all()}


def import_unimported(
    context: Context, wish: Wish, capacity: int, copy_of: Callable[[VolumeTag], int | None]
) -> tuple[list[Result], PapertapeError | None]:
    """Import the volumes that ``wish`` needs and a drive can load now.

    Return the results, and an error if something that was wanted was still not found. ``capacity`` in bytes. Raises
    like ``import_volumes``.
    """
    ledger = context.ledger
    needed = {label for group in find_unimported(ledger, wish) for label in group.labels} - ledger.imports.seen()
    tags = sorted(needed & context.library.loadable())
    results = list(import_volumes(context, tags, capacity, copy_of)) if tags else []
    left = find_unimported(ledger, wish)
    if not left:
        return results, None
    known = ledger.imports.seen()
    away = [group for group in left if not known.issuperset(group.labels)]
    if not away:
        return results, RestoreFailed(
            [
                (item.source, f"the lab's table says that it is on {enumerate_names(item.labels)}, and it is not there")
                for item in _find_listed(ledger, wish)
            ]
        )
    unknown = [label for label in away[0].labels if label not in known]
    errors = {result.volume: result.error for result in results if result.error}
    error = next((errors[label] for label in unknown if label in errors), None)
    others = sum(group.datasets for group in away[1:])
    more = f" (and others for {others} more)" if others else ""
    needs = f"by the lab's table needed for {count(away[0].datasets, 'data set')}{more}"
    missing = f"{needs}, never read, and not where a drive can get it; put it into a slot"
    return results, error or CopiesMissing(unknown, missing)
