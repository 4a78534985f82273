"""Getting data back by hand: what the ledger knows of a volume, as a shell script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

from papertape.errors import NothingToDo, PapertapeError, UserError
from papertape.events import tell_all
from papertape.ids import VolumeTag
from papertape.ledger import DumpRecord, Extent, Found, Ledger
from papertape.states import Format, VolumeState
from papertape.tape.changer import ElementKind, Inventory
from papertape.tape.kind import HostFiles, LibraryKind
from papertape.volume.layout import ARCHIVE, PLAN
from papertape.volume.names import Source, unquote
from papertape.volume.predecessor.recipe import PredecessorSet, PredecessorStep, write_predecessor_recipe
from papertape.volume.recipe import Digest, DriveOrigin, FolderOrigin, Origin, Piece, Step, Subject, write_recipe
from papertape.words import enumerate_names


def explain(ledger: Ledger, tag: VolumeTag, pattern: str | None, origin: Origin) -> Iterator[str]:
    """Yield the script that gets the data sets back from a volume: all of them, or those that match ``pattern``.

    Raises UserError for a volume that the ledger does not know or that holds no finished dump, NothingToDo if no data
    set on it matches.
    """
    dump = _look_up(ledger, tag)
    subject = Subject(tag, _describe(ledger, dump, tag), origin)
    if dump.format == Format.PREDECESSOR:
        return write_predecessor_recipe(subject, _explain_predecessor(ledger, dump, tag, pattern))
    record = next((item for item in ledger.contents.volume_records(dump.id) if item.tag == tag), None)
    if record is None:
        raise _unfinished(ledger, tag)
    if pattern is None:
        steps = _explain_archives(ledger, dump)
    else:
        steps = _explain_datasets(ledger, dump, _find(ledger, dump, tag, pattern))
    digests = [Digest(member.sha256, member.name) for member in record.label_members]
    notes = (f"Tape file 0, the label: is this {tag}? README.txt says what is on it.",)
    label = Step(notes, (Piece(0, 0, record.label.size, len(digests)),), digests)
    return write_recipe(subject, dump.block_size, chain([label], steps))


def find_origin(kind: LibraryKind, tag: VolumeTag) -> Origin:
    """Return where the script gets the tape from; if the changer does not answer, a person must load the drive."""
    reach = kind.by_hand(tag)
    if isinstance(reach, HostFiles):
        return FolderOrigin(os.fsencode(reach.folder))
    try:
        inventory = kind.open(tell_all()).changer.inventory()
    except PapertapeError as error:
        return ask_operator(reach.changer, reach.drives, f"The changer did not report where the volume is ({error}).")
    return choose_drive(inventory, tag, reach.changer, reach.drives)


def choose_drive(inventory: Inventory, tag: VolumeTag, changer: str, drives: Sequence[str]) -> DriveOrigin:
    """Return how the volume gets into a drive from where it is now; ``drives`` are device nodes, by number."""
    places = [status.element for status in inventory.find(tag)]
    full = {status.element.number for status in inventory.of(ElementKind.DRIVE) if status.full}
    free = next((number for number in range(len(drives)) if number not in full), None)
    place = places[0] if len(places) == 1 else None
    if place and place.kind is ElementKind.DRIVE and place.number < len(drives):
        return DriveOrigin(changer, drives[place.number], place.number, None, f"The volume is in {place} already.")
    if place and place.kind is ElementKind.STORAGE and free is not None:
        return DriveOrigin(changer, drives[free], free, place.number)
    if place is None:
        reason = "The volume was not in the library, or its tag was there twice."
    elif place.kind is ElementKind.STORAGE:
        reason = f"The volume lay in {place}, and every drive was full."
    else:
        reason = f"The volume lay in {place}."
    return ask_operator(changer, drives, reason)


def ask_operator(changer: str, drives: Sequence[str], reason: str) -> DriveOrigin:
    """Return that somebody must put the volume into the first drive, with the ``reason`` why the robot does not."""
    return DriveOrigin(changer, drives[0], 0, None, f"{reason} First of all: mtx -f $CHANGER load SLOT 0")


def _look_up(ledger: Ledger, tag: VolumeTag) -> DumpRecord:
    if tag not in {volume.tag for volume in ledger.volumes.all()}:
        raise UserError(
            f"volume {tag} is not in the ledger; `papertape volumes import {tag}` enters it, "
            f"`papertape volumes show {tag} --from-tape` says what is on it"
        )
    dump = ledger.dumps.of_volume(tag)
    if dump is None:
        raise _unfinished(ledger, tag)
    return dump


def _describe(ledger: Ledger, dump: DumpRecord, tag: VolumeTag) -> tuple[str, ...]:
    """Return notes on a volume: where else its data are, and whether it is good."""
    volume, *others = (ledger.volumes.one(name) for name in (tag, *(copy.volume for copy in dump.copies)))
    twins = [other.tag for other in others if other.tag != tag and other.state == VolumeState.ARCHIVED]
    notes = [f"The same data are on {enumerate_names(twins)}."] if twins else []
    if volume.state != VolumeState.ARCHIVED:
        notes.append(f"The ledger says that {tag} is {volume.state}{': ' if volume.reason else ''}{volume.reason}.")
    return tuple(notes)


def _unfinished(ledger: Ledger, tag: VolumeTag) -> UserError:
    state = ledger.volumes.one(tag).state
    what = "nothing to get back" if state == VolumeState.BLANK else "the ledger knows nothing on it"
    return UserError(f"volume {tag} is {state} and holds no finished dump: {what}; see `papertape volumes show {tag}`")


def _find(ledger: Ledger, dump: DumpRecord, tag: VolumeTag, pattern: str) -> dict[int, Found]:
    """Return the data sets of a dump that match, by number; raises NothingToDo if there is none."""
    found = {
        item.number: item for item in ledger.search.find(pattern) if item.dump == dump.id and item.number is not None
    }
    if not found:
        raise NothingToDo(f"no data set on {tag} matches '{pattern}'; `papertape find '{pattern}'` prints where it is")
    return found


def _explain_archives(ledger: Ledger, dump: DumpRecord) -> Iterator[Step]:
    """Yield a step for each archive, and one for the catalog."""
    kinds = {item.number: item.kind for item in ledger.contents.tape_files(dump.id)}
    digests: dict[int, list[Digest]] = {}
    for member in ledger.contents.own_members(dump.id):
        digests.setdefault(member.tape_file, []).append(Digest(member.sha256, member.name))
    rejected = {number: f"{item.source}: {item.reason}" for number, item in ledger.contents.rejections(dump.id).items()}
    for number, group in groupby(ledger.contents.extents(dump.id), lambda extent: extent.tape_file):
        if kinds[number] != PLAN:
            extents = list(group)
            left_out = [rejected[extent.number] for extent in extents if extent.number in rejected]
            pieces = tuple(_join(run) for run in _runs(item for item in extents if item.number not in rejected))
            sets = sum(extent.number >= 0 for extent in extents) - len(left_out)  # the others are papertape's members
            if sets or left_out:
                rest = f"; {len(left_out)} that were rejected when they were written are left out" if left_out else ""
                title = f"Tape file {number}, an archive: data sets: {sets}{rest}."
            else:
                title = f"Tape file {number}, the catalog: datasets.csv and files.csv list all that was written."
            notes = (title, *(f"Rejected: {reason}" for reason in left_out))
            yield Step(notes, pieces, digests[number], listed=kinds[number] == ARCHIVE)


def _explain_datasets(ledger: Ledger, dump: DumpRecord, wanted: dict[int, Found]) -> Iterator[Step]:
    """Yield a step for each run of adjacent data sets."""
    for run in _runs(extent for extent in ledger.contents.extents(dump.id) if extent.number in wanted):
        found = [wanted[extent.number] for extent in run]
        notes = (f"From tape file {run[0].tape_file}:", *(item.source for item in found))
        digests = (
            Digest(file.sha256, unquote(file.member))
            for item in found
            for file in ledger.search.files(item)
            if file.sha256
        )
        yield Step(notes, (_join(run),), digests)


def _runs(extents: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Yield extents, which are in tape order, in lists of those that touch."""
    run: list[Extent] = []
    for extent in extents:
        if run and (run[-1].tape_file, run[-1].end) != (extent.tape_file, extent.begin):
            yield run
            run = []
        run.append(extent)
    if run:
        yield run


def _join(run: Sequence[Extent]) -> Piece:
    return Piece(run[0].tape_file, run[0].begin, run[-1].end, sum(extent.members for extent in run))


def _explain_predecessor(
    ledger: Ledger, dump: DumpRecord, tag: VolumeTag, pattern: str | None
) -> Iterator[PredecessorStep]:
    """Yield a step for each archive of the predecessor's that has a data set that is wanted."""
    found = _find(ledger, dump, tag, "*" if pattern is None else pattern)
    items = sorted(found.values(), key=lambda item: (item.tape_file or 0, item.number or 0))
    for number, group in groupby(items, lambda item: item.tape_file or 0):
        members = list(group)
        sets = tuple(PredecessorSet(Source.parse(item.source).raw, item.md5) for item in members)
        if pattern is None:
            notes: tuple[str, ...] = (f"Tape file {number}, an archive, whole: data sets: {len(sets)}.",)
        else:
            notes = (f"From tape file {number}:", *(item.source for item in members))
        yield PredecessorStep(notes, number, sets, pattern is None)
