"""The ledger from the tapes: labels and catalogs are entered, each volume as soon as it was read."""

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
"""The kinds of volumes."""


class Result(NamedTuple):
    """The result for one volume: its ``kind`` ("" if it is not known), and the ``bytes`` that were read from it.

    ``imported`` is what the ledger says of it now; None if nothing was entered. ``error`` is None for a volume that
    holds a good copy, is blank, or was known before.
    """

    volume: VolumeTag
    kind: str
    bytes: int
    imported: Imported | None
    error: PapertapeError | None


def choose_all(ledger: Ledger, library: Library) -> list[VolumeTag]:
    """Return the volumes in the library whose contents the ledger does not know; raises NothingToDo."""
    tags = sorted(library.loadable() - ledger.imports.seen())
    if not tags:
        raise NothingToDo("the ledger knows the contents of every volume in the library; put other volumes into slots")
    return tags


def import_volumes(
    context: Context, tags: Sequence[VolumeTag], capacity: int, copy_of: Callable[[VolumeTag], int | None]
) -> Iterator[Result]:
    """Read label and catalog of each volume, on all drives at once, enter them in the ledger, and yield the results.

    ``capacity``, in bytes, is for volumes that are new to the ledger; ``copy_of`` returns which copy a tag is for, None
    if that is not known. An error with one volume does not stop the others. Raises DriveError, ChangerError and
    HostError if no volume can be read, and Interrupted.
    """
    with ending("import", context.tell) as end:
        for inspected in inspect(context.library, tags, context.settings.spool, context.stop):
            registered = Registered(capacity, context.settings.copies, copy_of(inspected.volume))
            result = _enter(context.ledger, inspected, registered)
            end.fail(result.error)
            yield result


def inspect(library: Library, tags: Sequence[VolumeTag], spool: Path, stop: Stop) -> Iterator[Inspected]:
    """Read label and catalog of volumes; no ledger is needed. Raises like ``inspect_volumes``."""
    wanted = list(dict.fromkeys(tags))
    with library.reserve(max(min(len(wanted), len(library.drives)), 1)) as session:
        yield from inspect_volumes(session, wanted, spool, stop)


def name_kind(inspected: Inspected) -> str:
    """Return the kind of a volume in one word; "" if it is not known."""
    kinds = {Blank: BLANK, Foreign: FOREIGN, Whole: DUMP, Torn: TORN, PredecessorVolume: PREDECESSOR}
    return kinds[type(inspected.recorded)] if inspected.recorded else ""


def _enter(ledger: Ledger, inspected: Inspected, registered: Registered) -> Result:
    """Enter one volume in the ledger, and return the result."""
    tag, found = inspected.volume, inspected.recorded
    imported: Imported | None = None
    error = inspected.error
    try:
        if isinstance(found, Whole | Torn | PredecessorVolume):
            imported = ledger.imports.enter(tag, found, registered)
            if imported.reason and imported.changed:  # otherwise it was known to be bad before
                error = error or VolumeError(tag, imported.reason)
        elif isinstance(found, Blank | Foreign) and tag in ledger.imports.seen():
            now = "it is blank" if isinstance(found, Blank) else f"it holds {found.found}"
            remedy = "find out which cartridge has this barcode"
            error = error or VolumeError(tag, f"the ledger says that a dump is on it, but {now}; {remedy}")
        elif isinstance(found, Foreign):
            error = error or VolumeError(tag, f"holds {found.found}; nothing was entered")
    except VolumeError as contradiction:
        error = contradiction
    return Result(tag, name_kind(inspected), inspected.bytes, imported, error)
