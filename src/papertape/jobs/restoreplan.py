"""The plan of a restore: which data sets, from which copies, and where these are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from papertape.errors import NothingToDo, Obstacle, UserError
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.context import Context
from papertape.ledger import Kept, KeptCopy, Ledger
from papertape.states import Format, VolumeState
from papertape.transfer.destination import Destination, Restoration, Wanted
from papertape.transfer.predecessor.restore import PredecessorExtract, holds_predecessor
from papertape.transfer.restore import Extract, relative_name
from papertape.volume.header import FILE
from papertape.volume.names import Source

_GOOD = (VolumeState.CLAIMED, VolumeState.ARCHIVED)


class Wish(NamedTuple):
    """The operator's wish: the data sets that match one of ``patterns``, each in its newest version.

    ``volume`` restricts them to those on that volume, which is read first; ``at`` leaves out what was written later,
    ``dump`` what is not in that dump.
    """

    patterns: tuple[str, ...]
    volume: VolumeTag | None = None
    at: datetime | None = None
    dump: DumpId | None = None


@dataclass(frozen=True)
class Portion:
    """The data sets of one dump that are restored together, and the copies to read, the best one first."""

    dump: DumpId
    sets: tuple[Kept, ...]
    copies: tuple[KeptCopy, ...]

    @property
    def size(self) -> int:
        """The bytes of the files in the data sets."""
        return sum(item.size for item in self.sets)


@dataclass(frozen=True)
class Plan:
    """The plan of a restore: ``portions`` are read from tape, ``present`` data sets are in the destination already.

    ``places`` says where each volume is; ``absent`` are the portions without a copy in the library.
    """

    portions: tuple[Portion, ...]
    absent: tuple[Portion, ...]
    present: tuple[Kept, ...]
    places: dict[str, str]


def plan_restore(context: Context, wish: Wish, destination: Destination | None) -> Plan:
    """Return the plan for ``wish``; ``destination`` is None if the folder does not exist yet.

    Raises NothingToDo if nothing matches or nothing of it is on tape, UserError if something that is not the same is
    in the way in the destination.
    """
    present: list[Kept] = []
    needed: dict[DumpId, list[Kept]] = {}
    obstacles: list[Obstacle] = []
    on_volume = context.ledger.dumps.of_volume(wish.volume) if wish.volume else None
    for item in _find(context.ledger, wish):
        if wish.volume and (on_volume is None or item.dump != on_volume.id):
            continue
        try:
            there = destination is not None and is_present(context.ledger, destination, item)
        except Obstacle as error:
            obstacles.append(error)
            continue
        if there:
            present.append(item)
        else:
            needed.setdefault(item.dump, []).append(item)
    if obstacles:
        raise UserError(f"{obstacles[0]}{f' (and {len(obstacles) - 1} more)' if len(obstacles) > 1 else ''}")
    if not needed and not present:
        raise NothingToDo(f"nothing of that is on volume {wish.volume}; `papertape find` says where it is")
    return _choose_copies(context, wish, needed, tuple(present))


def _find(ledger: Ledger, wish: Wish) -> Iterator[Kept]:
    """Yield the data sets of ``wish``, each once; raises NothingToDo for a pattern that nothing on tape matches."""
    seen: set[str] = set()
    for pattern in wish.patterns:
        # A list, since comparing with the disk takes long and no query may stay open for it.
        found = list(ledger.retrieval.find(pattern, wish.at, wish.dump))
        yield from (item for item in found if item.source not in seen)
        seen.update(item.source for item in found)
        if not found:
            raise NothingToDo(f"nothing that is on tape matches '{pattern}'; `papertape find '{pattern}'` says why")


def is_present(ledger: Ledger, destination: Destination, item: Kept) -> bool:
    """Tell whether a data set is in the destination already, whole; raises Obstacle if something else is there."""
    if item.format == Format.PREDECESSOR:
        return holds_predecessor(make_predecessor_extract(destination, item))
    restoration = begin_restoration(destination, item)
    if restoration.is_staged:
        return False
    prefix = read_source(item).member
    held = True
    for member in ledger.contents.dataset_members(item.dump, item.number):
        wanted = Wanted("sha256", member.sha256, member.size) if member.kind == FILE else None
        held &= restoration.holds(relative_name(item.source, member.name, prefix), member.kind, wanted)
    return held


def begin_restoration(destination: Destination, item: Kept) -> Restoration:
    """Return the way back of a data set into ``destination``."""
    source = read_source(item)
    return destination.begin(item.source, source.host, source.path, item.kind)


def read_source(item: Kept) -> Source:
    """Return the source of ``item``; raises Obstacle if the ledger holds a text that papertape never writes."""
    try:
        return Source.parse(item.source)
    except ValueError as error:
        raise Obstacle(item.source, "the ledger has no name there that papertape writes") from error


def make_extract(ledger: Ledger, destination: Destination, item: Kept) -> Extract | PredecessorExtract:
    """Return the part of a volume that a restore of ``item`` into ``destination`` reads."""
    if item.format == Format.PREDECESSOR:
        return make_predecessor_extract(destination, item)
    members = partial(ledger.contents.dataset_members, item.dump, item.number)
    return Extract(
        source=item.source,
        tape_file=item.tape_file,
        begin=item.begin,
        stop=item.end,
        prefix=read_source(item).member,
        members=members,
        restoration=begin_restoration(destination, item),
    )


def make_predecessor_extract(destination: Destination, item: Kept) -> PredecessorExtract:
    """Return the same for a data set on the predecessor's volumes; only the tape knows whether it is a file."""
    source = read_source(item)
    begin = partial(destination.begin, item.source, source.host, source.path)
    return PredecessorExtract(source=item.source, tape_file=item.tape_file, name=source.raw, md5=item.md5, begin=begin)


def _choose_copies(context: Context, wish: Wish, needed: dict[DumpId, list[Kept]], present: tuple[Kept, ...]) -> Plan:
    """Return the plan: for each dump its data sets in tape order, and its copies, the best one first."""
    ledger, inventory, loadable = context.ledger, context.library.inventory(), context.library.loadable()
    elements = {status.volume_tag: str(status.element) for status in inventory.elements if status.volume_tag}

    def rank(copy: KeptCopy) -> tuple[bool, ...]:
        """Good copies in the library come first, and among these those that were read back."""
        is_good = copy.state in _GOOD and not copy.error
        return (copy.volume != wish.volume, copy.volume not in loadable, not is_good, not copy.verified)

    portions: list[Portion] = []
    absent: list[Portion] = []
    places: dict[str, str] = {}
    for dump, sets in needed.items():
        # A copy that nothing was written to has no label in the ledger; the predecessor's volumes never have one.
        written = {record.tag for record in ledger.contents.volume_records(dump)}
        is_predecessor = sets[0].format == Format.PREDECESSOR
        copies = [copy for copy in ledger.retrieval.copies(dump) if is_predecessor or copy.volume in written]
        copies.sort(key=rank)
        for copy in copies:
            outside = f"out of the library, {copy.location}" if copy.location else "out of the library"
            places[copy.volume] = elements.get(copy.volume, outside)
        here = tuple(copy for copy in copies if copy.volume in loadable)
        ordered = tuple(sorted(sets, key=lambda item: (item.tape_file, item.begin, item.number)))
        (portions if here else absent).append(Portion(dump, ordered, here or tuple(copies)))
    return Plan(tuple(portions), tuple(absent), present, places)
