"""Getting data sets back: from whichever copy has them, all drives at once, and only what is proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
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
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.context import Context, be_patient, ending
from papertape.jobs.restoreplan import Plan, Portion, Wish, make_extract, plan_restore
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
    Extraction,
    check_label,
    lay_out,
    restore_extracts,
)
from papertape.words import count

__all__ = ["Portion", "Plan", "Restored", "Wish", "plan_only", "restore"]

_FEWEST_DRIVES = 2
"""Drives that are taken where there are so many, even for one volume: only another drive tells a sick one from that."""


@dataclass
class Restored:
    """The result of a restore; sizes in bytes. ``sick`` says what is wrong with which volume, ``failed`` what is lost.

    ``missing`` says why a volume that only the lab's table knows could not be imported.

    ``sets``, ``files`` and ``size`` are what was written, ``mounts``, ``locates`` and ``read`` what the drives did.
    """

    plan: Plan
    sets: int = 0
    files: int = 0
    size: int = 0
    mounts: int = 0
    locates: int = 0
    read: int = 0
    sick: dict[VolumeTag, str] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    missing: PapertapeError | None = None

    @property
    def error(self) -> PapertapeError | None:
        """The worst error, None if there is none."""
        if self.failed:
            return RestoreFailed(self.failed)
        if self.obstacles:
            more = f" (and {len(self.obstacles) - 1} more)" if len(self.obstacles) > 1 else ""
            return UserError(f"{self.obstacles[0]}{more}")
        if not self.plan.absent:
            return self.missing
        portion = self.plan.absent[0]
        places = "; ".join(f"{copy.volume}: {self.plan.places[copy.volume]}" for copy in portion.copies)
        needed = f"needed for {count(sum(len(each.sets) for each in self.plan.absent), 'data set')}"
        reason = f"{needed}, and not where a drive can get it ({places}); put it into a slot"
        return CopiesMissing([copy.volume for copy in portion.copies], reason)


def restore(
    context: Context,
    wish: Wish,
    folder: Path,
    show_plan: Callable[[Plan], None],
    *,
    overwrite: bool = False,
    missing: PapertapeError | None = None,
) -> Restored:
    """Restore the data sets of ``wish`` into ``folder``; ``show_plan`` gets the plan before anything moves.

    ``missing`` says why a volume that only the lab's table knows could not be imported before.

    A block that cannot be read, or a wrong digest, is taken from the twin at once, and the volume is set aside. Raises
    like ``plan_restore``; HostError if the folder cannot be written, ChangerError, DriveError if no drive is left,
    Interrupted when asked to stop. Whatever it raises, the same call continues where it stopped.
    """
    with ending("restore", context.tell) as end, Destination(folder, overwrite=overwrite) as destination:
        plan = plan_restore(context, wish, destination)  # 1. Plan: which data sets, and which copies have them.
        show_plan(plan)
        restored = Restored(plan, missing=missing)
        if plan.portions:
            needed = min(max(len(plan.portions), _FEWEST_DRIVES), len(context.library.drives))
            with context.library.reserve(needed) as session:  # 2. Reserve drives, and empty them.
                drives = _empty(context, session)
                context.tell(Phase(name="restoring"))
                # 3. Each drive takes a copy, reads what is wanted and names what is proven. 4. The twin has the rest.
                _Fetching(be_patient(context), session, destination, restored).run(drives)
        end.fail(restored.error)
        return restored


def plan_only(context: Context, wish: Wish, folder: Path, *, overwrite: bool = False) -> Plan:
    """Return the plan of ``restore``; changes nothing, and makes no folder."""
    with Destination(folder, overwrite=overwrite) if folder.is_dir() else nullcontext() as destination:
        return plan_restore(context, wish, destination)


def _empty(context: Context, session: Session) -> list[int]:
    """Unload all drives, since a volume in one may be wanted in another; return the drives that can be used."""
    drives, errors = [], []
    for number in session.drives:
        try:
            session.unload(number)
        except DriveError as error:
            errors.append(error)
            context.tell(Note(sentence=f"{error}; that drive is left out"))
        else:
            drives.append(number)
    if not drives:
        raise errors[0]
    return drives


@dataclass(frozen=True)
class _Task:
    """Data sets of one dump that must come from the first of ``copies``, or else from the next one.

    ``failed_once`` says that a drive has failed with this copy already: a second drive decides that the copy is bad.
    ``trusts_digests`` says that the label of one copy cannot be read and that copy was put last: from now on only the
    digests decide, as they do for the data anyway.
    """

    dump: DumpId
    is_predecessor: bool
    extracts: tuple[Extractable, ...]
    copies: tuple[KeptCopy, ...]
    failed_once: bool = False
    trusts_digests: bool = False


class _Fetching:
    """Fetches all portions of a plan with all drives; its methods run on the drives' threads, several at once."""

    def __init__(self, context: Context, session: Session, destination: Destination, restored: Restored) -> None:
        self._context, self._ledger = context, context.ledger
        self._session = session
        self._restored = restored
        self._lock = threading.Lock()  # guards ``restored``, which all drives count in
        self._pool = DrivePool([self._begin(destination, portion) for portion in restored.plan.portions], self._fetch)

    def run(self, drives: Sequence[int]) -> None:
        """Fetch everything that some copy has; raises the last drive's error if no drive is left."""
        self._pool.run(drives)

    def _begin(self, destination: Destination, portion: Portion) -> _Task:
        extracts = tuple(make_extract(self._ledger, destination, item) for item in portion.sets)
        return _Task(portion.dump, portion.sets[0].format == Format.PREDECESSOR, extracts, portion.copies)

    def _fetch(self, task: _Task, drive: int) -> Sequence[_Task]:
        """Read the first copy; return tasks for everything that must come from the others."""
        volume, extraction = task.copies[0].volume, None
        try:
            with self._session.mounted([volume], [drive]) as (device,):
                extraction = self._read(task, device)
        except Interrupted:
            raise Interrupted("stopped; the same command again continues where this one stopped") from None
        except (VolumeError, DriveError) as error:
            if extraction is not None:  # only putting the cartridge away failed
                raise OutOfService(error, self._keep(task, extraction)) from error
            if isinstance(error, DriveError) and not task.failed_once and not self._pool.is_alone:
                self._context.tell(Note(sentence=f"{error}; that drive is left out"))
                raise OutOfService(error, [replace(task, failed_once=True)]) from error
            self._context.tell(Note(sentence=str(error)))
            return self._turn_to_twin(task, [(extract, str(error)) for extract in task.extracts])
        return self._keep(task, extraction)

    def _read(self, task: _Task, device: Drive) -> Extraction:
        """Read the task's data sets from the copy in the drive; set the volume aside if anything on it is wrong."""
        tell, volume, started = self._context.tell, task.copies[0].volume, self._ledger.clock()
        with self._lock:
            self._restored.mounts += 1
        size = sum(item.stop - item.begin for item in task.extracts if isinstance(item, Extract))
        tell(Began(volume=volume, drive=device.number, total=size))
        try:
            extraction = self._extract(task, task.copies[0], device)
        finally:
            tell(Finished(volume=volume, drive=device.number))
        findings = extraction.findings
        if extraction.is_blind and not task.failed_once and not self._pool.is_alone:
            raise DriveError(device.number, f"reads nothing of {volume} ({findings[-1].sentence()})")
        for finding in findings:
            tell(Found(volume=volume, sentence=finding.sentence()))
        with self._lock:
            self._restored.locates += extraction.locates
            self._restored.read += extraction.bytes
            if findings:
                self._restored.sick.setdefault(volume, findings[0].sentence())
        if findings:
            ended = self._ledger.clock()
            verification = Verification(
                volume=volume,
                drive=device.number,
                drive_serial=device.serial,
                files=sum(extracted.files for extracted in extraction.extracted),
                bytes=extraction.bytes,
                seconds=(ended - started).total_seconds(),
                started=started,
                ended=ended,
                findings=tuple(findings),
            )
            self._ledger.dumps.record_verification(verification)
        return extraction

    def _extract(self, task: _Task, copy: KeptCopy, device: Drive) -> Extraction:
        """Take the task's data sets from the tape in the drive, which is rewound; label first, if it has one."""
        context = self._context
        if task.is_predecessor:
            wanted = [item for item in task.extracts if isinstance(item, PredecessorExtract)]
            catalog = self._ledger.dumps.one(task.dump).uuid
            return restore_predecessor(copy.volume, catalog, wanted, device, tell=context.tell, stop=context.stop)
        extracts = [item for item in task.extracts if isinstance(item, Extract)]
        wrong = check_label(device, copy.volume, copy.uuid)
        is_postponed = isinstance(wrong, HeaderDamaged) and len(task.copies) > 1 and not task.trusts_digests
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

    def _keep(self, task: _Task, extraction: Extraction) -> Sequence[_Task]:
        """Give proven data sets their names; return the task that reads the rest from the twin."""
        if not extraction.extracted:  # nothing was read: a wrong volume, or a label that cannot be read
            if extraction.is_postponed:
                task = replace(task, copies=(*task.copies, task.copies[0]), trusts_digests=True)
            reason = extraction.findings[-1].sentence()
            return self._turn_to_twin(task, [(extract, reason) for extract in task.extracts])
        missing: list[tuple[Extractable, str]] = []
        for extracted in extraction.extracted:
            obstacle, lost = extracted.obstacle, extracted.lost
            if lost and not obstacle:
                # On the last copy there is no second try: the whole data set is named as lost, not its lost members.
                again = lost.again() if len(task.copies) > 1 else extracted.extract
                missing.append((again, lost.finding.sentence()))
            elif not obstacle:
                try:
                    extracted.extract.end()
                except Obstacle as error:
                    obstacle = error
            with self._lock:
                self._restored.files += extracted.files
                self._restored.size += extracted.size
                self._restored.sets += not lost and not obstacle
                if obstacle:
                    self._restored.obstacles.append(obstacle)
        return self._turn_to_twin(task, missing) if missing else ()

    def _turn_to_twin(self, task: _Task, missing: Sequence[tuple[Extractable, str]]) -> Sequence[_Task]:
        """Return the task for the next copy; without one, the ``missing`` data sets are lost, each with its reason."""
        others = task.copies[1:]
        if others:
            self._context.tell(Note(sentence=f"{task.copies[0].volume} is not good: turning to {others[0].volume}"))
            extracts = tuple(extract for extract, _ in missing)
            return [replace(task, extracts=extracts, copies=others, failed_once=False)]
        with self._lock:
            for extract, reason in missing:
                part = f"; what could be read of it is in {extract.part}" if extract.part else ""
                self._restored.failed.append((extract.source, reason + part))
        return ()
