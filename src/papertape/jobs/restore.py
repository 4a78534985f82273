"""Getting data sets back: from whichever copy has them, all drives at once, and only what is proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from papertape.errors import (
    DriveError,
    Interrupted,
    NothingToDo,
    PapertapeError,
    RestoreFailed,
    UserError,
    VolumeError,
    VolumeMissing,
)
from papertape.jobs.context import Context
from papertape.ledger import Kept, KeptCopy, Ledger, VolumeState
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.crew import Crew, OutOfService
from papertape.transfer.destination import Destination, Obstacle, Restoration, Wanted
from papertape.transfer.restore import (
    Extract,
    Passage,
    check_label,
    lay_out,
    relative_name,
    restore_extracts,
)
from papertape.volume.evidence import HeaderDamaged, Verification, WrongVolume
from papertape.volume.header import FILE
from papertape.volume.names import unquote

_GOOD = (VolumeState.CLAIMED, VolumeState.ARCHIVED)
_FEWEST_DRIVES = 2
"""Drives that are taken where there are so many, even for one volume: only another drive tells a sick one from that."""


class Wish(NamedTuple):
    """What is to be restored: data sets that match one of ``patterns``, each in its newest version.

    ``volume`` is the one to read from where it has them, ``at`` passes over what was written later, ``dump`` over what
    is not in that dump.
    """

    patterns: tuple[str, ...]
    volume: str | None = None
    at: datetime | None = None
    dump: int | None = None


@dataclass(frozen=True)
class Errand:
    """The data sets of one dump that are to be fetched, and the copies to take them from, the best one first."""

    dump: int
    sets: tuple[Kept, ...]
    copies: tuple[KeptCopy, ...]

    @property
    def size(self) -> int:
        """The bytes of the files in the data sets."""
        return sum(item.size for item in self.sets)


@dataclass(frozen=True)
class Plan:
    """What restoring would do; ``present`` are the data sets that are there already.

    ``places`` says where each volume is, ``absent`` are the errands of which no copy is in the library.
    """

    errands: tuple[Errand, ...]
    absent: tuple[Errand, ...]
    present: tuple[Kept, ...]
    places: dict[str, str]


@dataclass
class Restored:
    """What became of it; sizes in bytes. ``sick`` says what was wrong with which volume, ``failed`` what is lost.

    ``sets``, ``files`` and ``size`` are what was written, ``mounts``, ``locates`` and ``read`` what the drives did.
    """

    plan: Plan
    sets: int = 0
    files: int = 0
    size: int = 0
    mounts: int = 0
    locates: int = 0
    read: int = 0
    sick: dict[str, str] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)

    @property
    def error(self) -> PapertapeError | None:
        """The worst of what went wrong."""
        if self.failed:
            return RestoreFailed(self.failed)
        if self.obstacles:
            more = f" (and {len(self.obstacles) - 1} more)" if len(self.obstacles) > 1 else ""
            return UserError(f"{self.obstacles[0]}{more}")
        if self.plan.absent:
            return _tell_absent(self.plan)
        return None


def _tell_absent(plan: Plan) -> VolumeMissing:
    errand = plan.absent[0]
    names = " or ".join(copy.volume for copy in errand.copies) or f"of dump {errand.dump}"
    places = "; ".join(f"{copy.volume}: {plan.places[copy.volume]}" for copy in errand.copies)
    sets = sum(len(each.sets) for each in plan.absent)
    needed = f"needed for {sets} data set{'' if sets == 1 else 's'}"
    return VolumeMissing(names, f"{needed}, and not where a drive can get it ({places}); put it into a slot")


def plan_restore(context: Context, wish: Wish, destination: Destination | None) -> Plan:
    """Return what restoring ``wish`` would do; ``destination`` None is a folder that is not there yet.

    Raises NothingToDo if nothing matches or nothing of it is on tape, UserError if something that is not the same is
    in the way in the destination.
    """
    present: list[Kept] = []
    needed: dict[int, list[Kept]] = {}
    obstacles: list[Obstacle] = []
    for item in _find(context.ledger, wish):
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
    return _choose_copies(context, wish, needed, tuple(present))


def _find(ledger: Ledger, wish: Wish) -> Iterator[Kept]:
    """Yield what is wished for, each once; raises NothingToDo for a pattern that nothing on tape matches."""
    seen: set[str] = set()
    for pattern in wish.patterns:
        found = 0
        for item in ledger.find_kept(pattern, wish.at, wish.dump):
            found += 1
            if item.source not in seen:
                seen.add(item.source)
                yield item
        if not found:
            raise NothingToDo(f"nothing that is on tape matches '{pattern}'; `papertape find '{pattern}'` says why")


def is_present(ledger: Ledger, destination: Destination, item: Kept) -> bool:
    """Tell whether a data set is in the destination already, whole; raises Obstacle if something else is there."""
    restoration = begin_restoration(destination, item)
    if restoration.is_staged:
        return False
    prefix = member_prefix(item)
    held = True
    for member in ledger.dataset_members(item.dump, item.number):
        wanted = Wanted("sha256", member.sha256, member.size) if member.kind == FILE else None
        held &= restoration.holds(relative_name(item.source, member.name, prefix), member.kind, wanted)
    return held


def begin_restoration(destination: Destination, item: Kept) -> Restoration:
    """Return the way back of a data set into ``destination``."""
    host, _, path = item.source.partition(":")
    try:
        return destination.begin(item.source, host, unquote(path), item.kind)
    except ValueError as error:
        raise Obstacle(item.source, "the ledger has no name there that papertape writes") from error


def member_prefix(item: Kept) -> bytes:
    """Return the member name of a data set's own path (R5)."""
    host, _, path = item.source.partition(":")
    return b"data/%b%b" % (host.encode(), unquote(path))


def _choose_copies(context: Context, wish: Wish, needed: dict[int, list[Kept]], present: tuple[Kept, ...]) -> Plan:
    inventory, loadable = context.library.inventory(), context.library.loadable()
    places = {status.volume_tag: str(status.element) for status in inventory.elements if status.volume_tag}
    errands: list[Errand] = []
    absent: list[Errand] = []
    known: dict[str, str] = {}
    for dump, sets in needed.items():
        begun = {record.tag for record in context.ledger.volume_records(dump)}  # another has nothing on it yet
        kept = [copy for copy in context.ledger.kept_copies(dump) if copy.volume in begun]
        copies = sorted(kept, key=partial(_rank, wish.volume, loadable))
        known |= {copy.volume: places.get(copy.volume) or _outside(copy) for copy in copies}
        here = tuple(copy for copy in copies if copy.volume in loadable)
        ordered = tuple(sorted(sets, key=lambda item: (item.tape_file, item.begin, item.number)))
        if wish.volume and wish.volume not in {copy.volume for copy in copies}:
            raise UserError(f"{ordered[0].source} is not on volume {wish.volume}; `papertape find` says where it is")
        (errands if here else absent).append(Errand(dump, ordered, here or tuple(copies)))
    return Plan(tuple(errands), tuple(absent), present, known)


def _outside(copy: KeptCopy) -> str:
    return f"out of the library, {copy.location}" if copy.location else "out of the library"


def _rank(wanted: str | None, loadable: frozenset[str], copy: KeptCopy) -> tuple[bool, ...]:
    """Good copies in the library come first, and among these those that were read back."""
    return (
        copy.volume != wanted,
        copy.volume not in loadable,
        copy.state not in _GOOD or bool(copy.error),
        not copy.verified,
    )


def run_restore(
    context: Context, wish: Wish, folder: Path, tell: Callable[[Plan], None], *, overwrite: bool = False
) -> Restored:
    """Restore what ``wish`` names into ``folder``; ``tell`` hears of the plan before anything moves.

    A block that cannot be read, or a digest that is wrong, is taken from the twin at once, and the volume is set aside.
    Raises like ``plan_restore``; HostError if the folder cannot be written, ChangerError, DriveError if no drive is
    left, Interrupted when asked to stop. Whatever it raises, the same call goes on where it stopped.
    """
    with Destination(folder, overwrite=overwrite) as destination:
        plan = plan_restore(context, wish, destination)
        tell(plan)
        restored = Restored(plan)
        if plan.errands:
            _Fetching(context, destination, restored).run()
        return restored


def plan_only(context: Context, wish: Wish, folder: Path, *, overwrite: bool = False) -> Plan:
    """Return what ``run_restore`` would do; changes nothing, and makes no folder."""
    with Destination(folder, overwrite=overwrite) if folder.is_dir() else nullcontext() as destination:
        return plan_restore(context, wish, destination)


@dataclass(frozen=True)
class _Task:
    """What is to be taken from the first of ``copies``; ``struck`` if a drive has failed with that one already.

    ``is_desperate`` says that one of the copies waits behind the others since its label cannot be read: from now on the
    digests alone have to tell what is right, as they do of the data in any case.
    """

    dump: int
    extracts: tuple[Extract, ...]
    copies: tuple[KeptCopy, ...]
    struck: bool = False
    is_desperate: bool = False


class _Fetching:
    """The fetching of all errands, on all drives."""

    def __init__(self, context: Context, destination: Destination, restored: Restored) -> None:
        self._context, self._ledger = context, context.ledger
        self._destination = destination
        self._restored = restored
        self._lock = threading.Lock()

    def run(self) -> None:
        """Fetch everything that can be had."""
        plan, library = self._restored.plan, self._context.library
        tasks = [self._begin(errand) for errand in plan.errands]
        count = min(max(len(tasks), _FEWEST_DRIVES), len(library.drives))
        with library.reserve(count) as session:
            drives = self._empty(session)
            self._context.report.phase("restoring")
            self._crew = Crew(tasks, partial(self._work, session))
            self._crew.run(drives, self._context.report.pulse)

    def _empty(self, session: Session) -> list[int]:
        """Unload all drives, since what lies in one may be wanted in another; return those that can be worked with."""
        drives, errors = [], []
        for number in session.drives:
            try:
                session.unload(number)
            except DriveError as error:
                errors.append(error)
                self._context.report.note(f"{error}; that drive is left out")
            else:
                drives.append(number)
        if not drives:
            raise errors[0]
        return drives

    def _begin(self, errand: Errand) -> _Task:
        return _Task(errand.dump, tuple(map(self._extract, errand.sets)), errand.copies)

    def _extract(self, item: Kept) -> Extract:
        members = partial(self._ledger.dataset_members, item.dump, item.number)
        restoration = begin_restoration(self._destination, item)
        return Extract(item.source, item.tape_file, item.begin, item.end, member_prefix(item), members, restoration)

    def _work(self, session: Session, task: _Task, drive: int) -> Sequence[_Task]:
        """Take what can be had from the first copy; return what is left to be had from the others."""
        passages: list[Passage] = []
        try:
            with session.mounted([task.copies[0].volume], [drive]) as (device,):
                passages.append(self._read(task, device))
        except Interrupted:
            raise Interrupted("stopped; the same command again goes on where this one stopped") from None
        except (VolumeError, DriveError) as error:
            if not passages:
                return self._do_without(task, error)
            raise OutOfService(error, self._settle(task, passages[0])) from error
        return self._settle(task, passages[0])

    def _do_without(self, task: _Task, error: VolumeError | DriveError) -> Sequence[_Task]:
        """The copy did not come before the drive: try it on another one, or take the other copy."""
        if isinstance(error, DriveError) and not task.struck and not self._crew.is_alone:
            self._context.report.note(f"{error}; that drive is left out")
            raise OutOfService(error, [replace(task, struck=True)])
        if not isinstance(error, VolumeMissing):
            self._note_sick(task.copies[0].volume, str(error))
        return self._turn_to_twin(task, task.extracts, {extract.source: str(error) for extract in task.extracts})

    def _read(self, task: _Task, device: Drive) -> Passage:
        """Read what is wanted from the copy in the drive, and record what is wrong with it."""
        report, volume, started = self._context.report, task.copies[0].volume, datetime.now(UTC)
        with self._lock:
            self._restored.mounts += 1
        report.began(volume, device.number, sum(extract.end - extract.begin for extract in task.extracts))
        try:
            passage = self._pass(task, task.copies[0], device)
        finally:
            report.finished(volume, device.number)
        if passage.is_blind and not task.struck and not self._crew.is_alone:
            raise DriveError(device.number, f"reads nothing of {volume} ({passage.findings[-1].sentence()})")
        self._record(volume, device, passage, started)
        return passage

    def _pass(self, task: _Task, copy: KeptCopy, device: Drive) -> Passage:
        wrong = check_label(device, copy.volume, copy.uuid)
        is_postponed = isinstance(wrong, HeaderDamaged) and len(task.copies) > 1 and not task.is_desperate
        if is_postponed or isinstance(wrong, WrongVolume):
            return Passage([], [wrong] if wrong else [], is_postponed=is_postponed)
        expected = self._ledger.expected(task.dump)
        record = next(item for item in expected.volumes if item.tag == copy.volume)
        layout = lay_out(copy.volume, expected.block_size, record.label, expected.tape_files)
        memory = self._context.settings.ring // len(self._context.library.drives)
        passage = restore_extracts(layout, task.extracts, device, memory, self._context.report, self._context.stop)
        passage.findings[:0] = [wrong] if wrong else []
        passage.bytes += 0 if passage.is_blind else record.label.size
        return passage

    def _record(self, volume: str, device: Drive, passage: Passage, started: datetime) -> None:
        """Set a volume aside on which something was wrong."""
        with self._lock:
            self._restored.locates += passage.locates
            self._restored.read += passage.bytes
        if not passage.findings:
            return
        for finding in passage.findings:
            self._context.report.finding(f"{volume}: {finding.sentence()}")
        ended = datetime.now(UTC)
        files = sum(extracted.files for extracted in passage.extracted)
        seconds = (ended - started).total_seconds()
        found = tuple(passage.findings)
        self._ledger.record(
            Verification(volume, device.number, device.serial, files, passage.bytes, seconds, started, ended, found),
            ended,
        )
        self._note_sick(volume, passage.findings[0].sentence())

    def _note_sick(self, volume: str, sentence: str) -> None:
        with self._lock:
            self._restored.sick.setdefault(volume, sentence)

    def _settle(self, task: _Task, passage: Passage) -> Sequence[_Task]:
        """Give what is whole its name; return what has to come from the twin."""
        if not passage.extracted:
            why = dict.fromkeys((extract.source for extract in task.extracts), passage.findings[-1].sentence())
            behind = task.copies[:1] if passage.is_postponed else ()
            task = replace(task, copies=task.copies + behind, is_desperate=task.is_desperate or passage.is_postponed)
            return self._turn_to_twin(task, task.extracts, why)
        left, why = [], {}
        for extracted in passage.extracted:
            extract = extracted.extract
            with self._lock:
                self._restored.files += extracted.files
                self._restored.size += extracted.size
            try:
                if extracted.obstacle:
                    raise extracted.obstacle
                if extracted.lost:
                    left.append(extract.again(extracted.lost))
                    why[extract.source] = passage.findings[-1].sentence()
                    continue
                extract.restoration.end()
            except Obstacle as error:
                with self._lock:
                    self._restored.obstacles.append(error)
            else:
                with self._lock:
                    self._restored.sets += 1
        return self._turn_to_twin(task, left, why) if left else ()

    def _turn_to_twin(self, task: _Task, extracts: Iterable[Extract], why: dict[str, str]) -> Sequence[_Task]:
        others = task.copies[1:]
        if others:
            self._context.report.note(f"{task.copies[0].volume} is not good: turning to {others[0].volume}")
            return [replace(task, extracts=tuple(extracts), copies=others, struck=False)]
        with self._lock:
            self._restored.failed += [
                (extract.source, why[extract.source] + _tell_part(extract)) for extract in extracts
            ]
        return ()


def _tell_part(extract: Extract) -> str:
    part = extract.restoration.part
    return f"; what could be had of it is in {part}" if part else ""
