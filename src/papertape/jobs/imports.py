"""The ledger from the tapes: what volumes say of themselves, each recorded as soon as it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from papertape.errors import NothingToDo, PapertapeError, VolumeError
from papertape.ids import VolumeTag
from papertape.jobs.context import Context, ending
from papertape.ledger import Imported, Ledger, Registered
from papertape.tape.library import Library
from papertape.transfer.inspect import Inspected, inspect_volumes
from papertape.transfer.stop import Stop
from papertape.volume.recorded import Blank, Foreign, PredecessorVolume, Torn, Whole

BLANK, FOREIGN, DUMP, TORN, PREDECESSOR = "blank", "foreign", "dump", "torn", "predecessor"
"""What a volume can be."""


class Result(NamedTuple):
    """What became of one volume: its ``kind`` ("" where that could not be told), and the bytes that were read from it.

    ``imported`` is what the ledger says of it now, None where it was told nothing. ``error`` is None for a volume that
    counts, is blank, or was known.
    """

    volume: VolumeTag
    kind: str
    bytes: int
    imported: Imported | None
    error: PapertapeError | None


def choose_all(ledger: Ledger, library: Library) -> list[VolumeTag]:
    """Return the volumes in the library of which the ledger does not know what lies on them; raises NothingToDo."""
    tags = sorted(library.loadable() - ledger.imports.seen())
    if not tags:
        raise NothingToDo("the ledger knows what lies on every volume in the library; put the others into slots")
    return tags


def import_volumes(
    context: Context, tags: Sequence[VolumeTag], capacity: int, copy_of: Callable[[VolumeTag], int | None]
) -> Iterator[Result]:
    """Read label and catalog of each volume, on all drives at once, enter them, and yield what came of it.

    ``capacity`` in bytes is that of volumes which are new to the ledger; ``copy_of`` says which copy a tag is for, None
    if it does not tell. An error with one volume does not keep the others from their turn. Raises DriveError,
    ChangerError and HostError where nothing can be read at all, Interrupted.
    """
    with ending("import", context.tell) as end:
        for inspected in inspect(context.library, tags, context.settings.spool, context.stop):
            registered = Registered(capacity, context.settings.copies, copy_of(inspected.volume))
            result = _enter(context.ledger, inspected, registered)
            end.fail(result.error)
            yield result


def inspect(library: Library, tags: Sequence[VolumeTag], spool: Path, stop: Stop) -> Iterator[Inspected]:
    """Look at volumes, and yield what lies on each; no ledger is needed. Raises like ``inspect_volumes``."""
    wanted = list(dict.fromkeys(tags))
    with library.reserve(max(min(len(wanted), len(library.drives)), 1)) as session:
        yield from inspect_volumes(session, wanted, spool, stop)


def name_kind(inspected: Inspected) -> str:
    """Return what a volume is, in one word; "" where that could not be told."""
    kinds = {Blank: BLANK, Foreign: FOREIGN, Whole: DUMP, Torn: TORN, PredecessorVolume: PREDECESSOR}
    return kinds[type(inspected.recorded)] if inspected.recorded else ""


def _enter(ledger: Ledger, inspected: Inspected, registered: Registered) -> Result:
    tag, found = inspected.volume, inspected.recorded
    imported: Imported | None = None
    error = inspected.error
    try:
        if isinstance(found, Whole | Torn | PredecessorVolume):
            imported = ledger.imports.enter(tag, found, registered)
            error = error or _blame(tag, imported)
        elif isinstance(found, Blank | Foreign):
            error = error or _look(ledger, tag, found)
    except VolumeError as contradiction:
        error = contradiction
    return Result(tag, name_kind(inspected), inspected.bytes, imported, error)


def _blame(tag: VolumeTag, imported: Imported) -> VolumeError | None:
    """Return why a volume does not count; None if it does, or if that was known before."""
    return VolumeError(tag, imported.reason) if imported.reason and imported.changed else None


def _look(ledger: Ledger, tag: VolumeTag, found: Blank | Foreign) -> VolumeError | None:
    """Return what is wrong with a volume on which nothing of papertape's is."""
    if tag in ledger.imports.seen():
        what = "it is blank" if isinstance(found, Blank) else f"it holds {found.found}"
        return VolumeError(
            tag, f"the ledger says that a dump is on it, but {what}; look which cartridge bears this label"
        )
    return VolumeError(tag, f"holds {found.found}; nothing was entered") if isinstance(found, Foreign) else None
