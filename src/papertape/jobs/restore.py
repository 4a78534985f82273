"""Getting data sets back: from whichever copy has them, all drives at once, and only what is proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from papertape.errors import (
    CopiesMissing,
    DriveError,
    Interrupted,
    Obstacle,
    PapertapeError,
    RestoreFailed,
    UserError,
    VolumeError,
)
from papertape.events import Began, Finished, Found, Note, Phase
from papertape.evidence import HeaderDamaged, Verification, WrongVolume
from papertape.jobs.context import Context, be_patient, ending
from papertape.jobs.restoreplan import Errand, Plan, Wish, make_extract, plan_restore
from papertape.ledger import KeptCopy
from papertape.states import Format
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.destination import Destination
from papertape.transfer.drivepool import DrivePool, OutOfService
from papertape.transfer.predecessor.restore import PredecessorExtract, restore_predecessor
from papertape.transfer.restore import (
    Extract,
    Extractable,
    Extracted,
    Extraction,
    check_label,
    lay_out,
    restore_extracts,
)
from papertape.words import count

__all__ = ["Errand", "Plan", "Restored", "Wish", "plan_only", "run_restore"]

_FEWEST_DRIVES = 2
"""Drives that are taken where there are so many, even for one volume: only another drive tells a sick one from that."""


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


def _tell_absent(plan: Plan) -> CopiesMissing:
    errand = plan.absent[0]
    tags = [copy.volume for copy in errand.copies]
    places = "; ".join(f"{copy.volume}: {plan.places[copy.volume]}" for copy in errand.copies)
    sets = sum(len(each.sets) for each in plan.absent)
    needed = f"needed for {count(sets, 'data set')}"
    return CopiesMissing(tags, f"{needed}, and not where a drive can get it ({places}); put it into a slot")


def run_restore(
    context: Context, wish: Wish, folder: Path, show_plan: Callable[[Plan], None], *, overwrite: bool = False
) -> Restored:
    """Restore what ``wish`` names into ``folder``; ``show_plan`` gets the plan before anything moves.

    A block that cannot be read, or a digest that is wrong, is taken from the twin at once, and the volume is set aside.
    Raises like ``plan_restore``; HostError if the folder cannot be written, ChangerError, DriveError if no drive is
    left, Interrupted when asked to stop. Whatever it raises, the same call goes on where it stopped.
    """
    with ending("restore", context.tell) as end, Destination(folder, overwrite=overwrite) as destination:
        plan = plan_restore(context, wish, destination)
        show_plan(plan)
        restored = Restored(plan)
        if plan.errands:
            _Fetching(be_patient(context), destination, restored).run()
        end.fail(restored.error)
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
    is_predecessor: bool
    extracts: tuple[Extractable, ...]
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
            self._context.tell(Phase(name="restoring"))
            self._pool = DrivePool(tasks, partial(self._work, session))
            self._pool.run(drives)

    def _empty(self, session: Session) -> list[int]:
        """Unload all drives, since what lies in one may be wanted in another; return those that can be worked with."""
        drives, errors = [], []
        for number in session.drives:
            try:
                session.unload(number)
            except DriveError as error:
                errors.append(error)
                self._context.tell(Note(sentence=f"{error}; that drive is left out"))
            else:
                drives.append(number)
        if not drives:
            raise errors[0]
        return drives

    def _begin(self, errand: Errand) -> _Task:
        extracts = tuple(make_extract(self._ledger, self._destination, item) for item in errand.sets)
        return _Task(errand.dump, errand.sets[0].format == Format.PREDECESSOR, extracts, errand.copies)

    def _work(self, session: Session, task: _Task, drive: int) -> Sequence[_Task]:
        """Take what can be had from the first copy; return what is left to be had from the others."""
        extractions: list[Extraction] = []
        try:
            with session.mounted([task.copies[0].volume], [drive]) as (device,):
                extractions.append(self._read(task, device))
        except Interrupted:
            raise Interrupted("stopped; the same command again goes on where this one stopped") from None
        except (VolumeError, DriveError) as error:
            if not extractions:
                return self._do_without(task, error)
            raise OutOfService(error, self._settle(task, extractions[0])) from error
        return self._settle(task, extractions[0])

    def _do_without(self, task: _Task, error: VolumeError | DriveError) -> Sequence[_Task]:
        """The copy did not come before the drive: try it on another one, or take the other copy."""
        if isinstance(error, DriveError) and not task.struck and not self._pool.is_alone:
            self._context.tell(Note(sentence=f"{error}; that drive is left out"))
            raise OutOfService(error, [replace(task, struck=True)])
        self._context.tell(Note(sentence=str(error)))
        return self._turn_to_twin(task, task.extracts, {extract.source: str(error) for extract in task.extracts})

    def _read(self, task: _Task, device: Drive) -> Extraction:
        """Read what is wanted from the copy in the drive, and record what is wrong with it."""
        tell, volume, started = self._context.tell, task.copies[0].volume, datetime.now(UTC)
        with self._lock:
            self._restored.mounts += 1
        size = sum(item.stop - item.begin for item in task.extracts if isinstance(item, Extract))
        tell(Began(volume=volume, drive=device.number, total=size))
        try:
            extraction = self._pass(task, task.copies[0], device)
        finally:
            tell(Finished(volume=volume, drive=device.number))
        if extraction.is_blind and not task.struck and not self._pool.is_alone:
            raise DriveError(device.number, f"reads nothing of {volume} ({extraction.findings[-1].sentence()})")
        self._record(volume, device, extraction, started)
        return extraction

    def _pass(self, task: _Task, copy: KeptCopy, device: Drive) -> Extraction:
        context = self._context
        if task.is_predecessor:
            wanted = [item for item in task.extracts if isinstance(item, PredecessorExtract)]
            return restore_predecessor(
                copy.volume,
                self._ledger.dumps.one(task.dump).uuid,
                wanted,
                device,
                tell=context.tell,
                stop=context.stop,
            )
        extracts = [item for item in task.extracts if isinstance(item, Extract)]
        wrong = check_label(device, copy.volume, copy.uuid)
        is_postponed = isinstance(wrong, HeaderDamaged) and len(task.copies) > 1 and not task.is_desperate
        if is_postponed or isinstance(wrong, WrongVolume):
            return Extraction([], [wrong] if wrong else [], is_postponed=is_postponed)
        expected = self._ledger.contents.expected(task.dump)
        record = next((item for item in expected.volumes if item.tag == copy.volume), None)
        if record is None:
            raise VolumeError(copy.volume, "is not known well enough; `papertape volumes import` reads its label")
        layout = lay_out(copy.volume, expected.block_size, record.label, expected.tape_files)
        memory = context.settings.ring // len(context.library.drives)
        extraction = restore_extracts(layout, extracts, device, memory=memory, tell=context.tell, stop=context.stop)
        extraction.findings[:0] = [wrong] if wrong else []
        extraction.bytes += 0 if extraction.is_blind else record.label.size
        return extraction

    def _record(self, volume: str, device: Drive, extraction: Extraction, started: datetime) -> None:
        """Set a volume aside on which something was wrong."""
        with self._lock:
            self._restored.locates += extraction.locates
            self._restored.read += extraction.bytes
        if not extraction.findings:
            return
        for finding in extraction.findings:
            self._context.tell(Found(volume=volume, sentence=finding.sentence()))
        ended = datetime.now(UTC)
        files = sum(extracted.files for extracted in extraction.extracted)
        seconds = (ended - started).total_seconds()
        found = tuple(extraction.findings)
        self._ledger.dumps.record_verification(
            Verification(volume, device.number, device.serial, files, extraction.bytes, seconds, started, ended, found),
        )
        self._note_sick(volume, extraction.findings[0].sentence())

    def _note_sick(self, volume: str, sentence: str) -> None:
        with self._lock:
            self._restored.sick.setdefault(volume, sentence)

    def _settle(self, task: _Task, extraction: Extraction) -> Sequence[_Task]:
        """Give what is whole its name; return what has to come from the twin."""
        if not extraction.extracted:
            why = dict.fromkeys((extract.source for extract in task.extracts), extraction.findings[-1].sentence())
            behind = task.copies[:1] if extraction.is_postponed else ()
            task = replace(task, copies=task.copies + behind, is_desperate=task.is_desperate or extraction.is_postponed)
            return self._turn_to_twin(task, task.extracts, why)
        left, why = [], {}
        for extracted in extraction.extracted:
            extract = extracted.extract
            with self._lock:
                self._restored.files += extracted.files
                self._restored.size += extracted.size
            try:
                if extracted.obstacle:
                    raise extracted.obstacle
                if extracted.lost:
                    left.append(extracted)
                    why[extract.source] = extracted.lost.finding.sentence()
                    continue
                extract.end()
            except Obstacle as error:
                with self._lock:
                    self._restored.obstacles.append(error)
            else:
                with self._lock:
                    self._restored.sets += 1
        return self._go_on(task, left, why) if left else ()

    def _go_on(self, task: _Task, left: Sequence[Extracted], why: dict[str, str]) -> Sequence[_Task]:
        """Have from the twin what this copy did not have."""
        if len(task.copies) > 1:
            again = [item.lost.again() if item.lost else item.extract for item in left]
            return self._turn_to_twin(task, again, why)
        return self._turn_to_twin(task, [item.extract for item in left], why)

    def _turn_to_twin(self, task: _Task, extracts: Iterable[Extractable], why: dict[str, str]) -> Sequence[_Task]:
        others = task.copies[1:]
        if others:
            self._context.tell(Note(sentence=f"{task.copies[0].volume} is not good: turning to {others[0].volume}"))
            return [replace(task, extracts=tuple(extracts), copies=others, struck=False)]
        lost = [(extract.source, why[extract.source] + _tell_part(extract)) for extract in extracts]
        with self._lock:
            self._restored.failed += lost
        return ()


def _tell_part(extract: Extractable) -> str:
    part = extract.part
    return f"; what could be had of it is in {part}" if part else ""
