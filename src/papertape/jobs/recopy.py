"""A copy made again: from the good twin onto a blank volume, then proven as any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter

from papertape.errors import (
    CopiesMissing,
    Interrupted,
    PapertapeError,
    UserError,
    VerificationFailed,
    VolumeError,
    VolumeNotBlank,
    WriteProtected,
)
from papertape.evidence import Verification
from papertape.jobs.blank import check_writable
from papertape.jobs.context import Context, Outcome, add_notes, be_patient, conclude, ending, run_in_session
from papertape.jobs.heartbeat import heartbeat
from papertape.jobs.prove import judge
from papertape.ledger import UNFINISHED, CopyRecord, DumpRecord, Ledger
from papertape.plan import Batch, DataSet, Volume
from papertape.settings import CROSSED
from papertape.states import Format, VolumeState
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.recopy import (
    Recopied,
    check_reproducible,
    check_sources,
    recopy_from_disk,
    recopy_from_twin,
)
from papertape.transfer.verify import verify_volumes
from papertape.volume.label import Identity
from papertape.volume.members import Expected

_GOOD = (VolumeState.CLAIMED, VolumeState.ARCHIVED)


@dataclass(frozen=True)
class Recopy:
    """What is to be done: the copy on ``old`` is made again on ``new``, from ``source``, or from disk if that is None.

    ``resumed`` says that ``new`` is ``old``, which an earlier attempt did not write to its end.
    """

    dump: DumpRecord
    old: str
    new: Volume
    source: CopyRecord | None
    resumed: bool


def plan_recopy(ledger: Ledger, loadable: Collection[str], tag: str, *, from_disk: bool = False) -> Recopy:
    """Return what making the copy on the volume ``tag`` again would be.

    Raises UserError where there is nothing to make again, VolumeError where no good twin or no blank volume is there.
    """
    dump = ledger.lacking(tag)
    if dump.format == Format.PREDECESSOR:
        raise UserError(f"volume {tag} is the predecessor's: restore what is on its twin, and `papertape add` that")
    old = next(copy for copy in dump.copies if copy.volume == tag)
    source = None if from_disk else _choose_source(ledger, dump, loadable, tag)
    resumed = old.error == UNFINISHED and tag in loadable
    if resumed:
        new = Volume(tag, old.uuid, old.copy, ledger.volume(tag).capacity)
    else:
        new = ledger.free_volume(old.copy, loadable)
    needed = sum(item.size for item in ledger.tape_files(dump.id)) + dump.block_size
    if new.capacity < needed:
        raise VolumeError(new.tag, f"holds {new.capacity} bytes, and the copy takes {needed}; name a larger one blank")
    return Recopy(dump, tag, new, source, resumed)


def _choose_source(ledger: Ledger, dump: DumpRecord, loadable: Collection[str], tag: str) -> CopyRecord:
    good = [
        copy
        for copy in dump.copies
        if copy.volume != tag and not copy.error and ledger.volume(copy.volume).state in _GOOD
    ]
    if not good:
        raise VolumeError(tag, "has no good twin: its data sets can be restored one by one (`papertape restore`)")
    good.sort(key=lambda copy: copy.verified_at is None)
    chosen = next((copy for copy in good if copy.volume in loadable), None)
    if chosen is None:
        tags = [copy.volume for copy in good]
        raise CopiesMissing(tags, "holds the good copy, but is not in the library; put it into a slot")
    return chosen


def run_recopy(context: Context, tag: str, *, from_disk: bool = False) -> Outcome:
    """Make the copy on the volume ``tag`` again, verify it, and archive the dump if all its copies are good then.

    Raises, before anything is claimed, UserError, VolumeError and DriveError; later errors are in the outcome.
    """
    with ending("recopy", context.tell) as end:
        drives = len(context.library.drives)
        if drives < 2 and not from_disk:
            remedy = "where its data sets are still on disk, --from-disk needs no other drive"
            raise UserError(f"a copy is made from one drive to another, and this library has but one; {remedy}")
        try:
            return end.add(run_in_session(context, partial(_recopy, context, tag, from_disk), min(drives, 2)))
        finally:
            context.lab.settle()


def _recopy(context: Context, tag: str, from_disk: bool, session: Session) -> Outcome:
    context = be_patient(context)
    task = plan_recopy(context.ledger, context.library.loadable(), tag, from_disk=from_disk)
    verifications: list[Verification] = []
    error: PapertapeError | None = None
    try:
        error = _Making(context, session, task, verifications).run()
    except PapertapeError as hindrance:
        error = add_notes(error, hindrance)
    return conclude(context.ledger, task.dump.id, (), tuple(verifications), error)


class _Making:
    """One copy on its way; ``verifications`` collects what was read."""

    def __init__(self, context: Context, session: Session, task: Recopy, verifications: list[Verification]) -> None:
        self._context, self._ledger = context, context.ledger
        self._session = session
        self._task = task
        self._dump = task.dump.id
        self._verifications = verifications
        self._tell = context.tell

    def run(self) -> PapertapeError | None:
        """Copy, read back, and judge; return what is not good."""
        drives, task = self._session.drives, self._task
        if task.source:
            with self._session.mounted([task.source.volume, task.new.tag], drives) as (source, target):
                copied = self._write(target, partial(self._duplicate, source, target))
        else:
            rewrite = self._prepare_rewrite()
            with self._session.mounted([task.new.tag], drives[-1:]) as (target,):
                copied = self._write(target, partial(rewrite, target))
        error = self._enter(copied)
        if error is None:
            self._read_back(drives)
            error = self._judge()
        return error

    def _write(self, target: Drive, write: Callable[[], Recopied]) -> Recopied:
        """Claim the new volume, which must itself be blank, here and at the lab, and write it."""
        task = self._task
        self._context.stop.check()
        self._check_blank(target)
        self._ledger.replace(task.old, task.new, self._context.owner, datetime.now(UTC))
        try:
            self._context.lab.claim_label(self._dump, task.new.tag)
            with heartbeat(self._ledger, self._dump, self._tell, self._context.stop):
                return write()
        except BaseException as error:
            reason = str(error) or type(error).__name__
            self._ledger.leave_incomplete(self._dump, reason, {task.new.tag: reason})
            raise

    def _check_blank(self, target: Drive) -> None:
        """Raise what keeps the new volume from being written to; if that is the volume's own fault, it is set aside."""
        task, context = self._task, self._context
        try:
            check_writable(target, task.new, resumed=task.resumed)
        except (VolumeNotBlank, WriteProtected) as error:
            self._ledger.set_aside(task.new.tag, error.reason)
            raise
        if task.resumed:
            return
        try:
            context.lab.check_label(task.new.tag)
        except VolumeError as error:
            self._ledger.set_aside(task.new.tag, error.reason)
            raise

    @property
    def _identity(self) -> Identity:
        return Identity(self._task.new.tag, self._task.new.uuid, self._task.new.copy)

    def _duplicate(self, source: Drive, target: Drive) -> Recopied:
        """Copy the good twin."""
        expected, tag = self._ledger.expected(self._dump), self._task.source.volume if self._task.source else ""
        record = next(item for item in expected.volumes if item.tag == tag)
        return recopy_from_twin(
            expected,
            (source, target),
            source=record,
            identity=self._identity,
            ring=self._context.settings.ring,
            created=datetime.now(UTC),
            tell=self._tell,
            stop=self._context.stop,
        )

    def _prepare_rewrite(self) -> Callable[[Drive], Recopied]:
        """Look whether the same bytes can be had from disk; return what writes them."""
        dump, expected = self._task.dump, self._ledger.expected(self._dump)
        if dump.created_at is None or expected.rejected:
            raise UserError(f"dump {dump.id} has data sets that were rejected: take the copy from the twin")
        placed = self._ledger.datasets_of(self._dump)
        numbers = {dataset.source: number for _, number, dataset in placed}
        batch = _rebuild_batch(dump, expected, placed)
        check_reproducible(
            batch, expected, created=dump.created_at, datasets=dump.datasets, files=dump.files, size=dump.size
        )
        check_sources(batch, lambda dataset: self._ledger.dataset_members(self._dump, numbers[dataset.source]))
        return partial(self._rewrite, batch, expected, dump.created_at)

    def _rewrite(self, batch: Batch, expected: Expected, created: datetime, target: Drive) -> Recopied:
        """Write the data sets from disk once more."""
        settings, stop = self._context.settings, self._context.stop
        spool = settings.spool / batch.dump
        try:
            return recopy_from_disk(
                batch,
                expected,
                target,
                identity=self._identity,
                spool=spool,
                ring=settings.ring,
                created=created,
                tell=self._tell,
                stop=stop,
            )
        finally:
            shutil.rmtree(spool, ignore_errors=True)

    def _enter(self, copied: Recopied) -> PapertapeError | None:
        """Record how it was written; return why it is not whole."""
        now = datetime.now(UTC)
        if copied.written.error:
            self._ledger.replaced(self._dump, copied.record, copied.written, now)
        elif self._task.source is None or (copied.source and copied.source.ok):
            self._verifications += [copied.source] if copied.source else []
            self._ledger.replaced(self._dump, copied.record, copied.written, now)
            return None
        error = copied.written.error or self._blame_source(copied)
        self._ledger.leave_incomplete(self._dump, str(error), {copied.record.tag: f"could not be written: {error}"})
        if copied.source and not copied.source.ok:
            self._ledger.record(copied.source, now)
        return error

    def _blame_source(self, copied: Recopied) -> PapertapeError:
        if copied.source is None:
            return Interrupted("stopped while copying")
        self._verifications.append(copied.source)
        return VerificationFailed([copied.source])

    def _read_back(self, drives: tuple[int, ...]) -> None:
        """Read the new copy, on the drive that did not write it where the config wants that."""
        number = drives[0] if self._context.settings.mount == CROSSED else drives[-1]
        tag = self._task.new.tag
        with self._session.mounted([tag], [number]) as mounted:
            expected = self._ledger.expected(self._dump)
            with heartbeat(self._ledger, self._dump, self._tell, self._context.stop):
                self._verifications += verify_volumes(expected, [tag], mounted, self._tell, self._context.stop)

    def _judge(self) -> PapertapeError | None:
        return judge(self._context, self._dump, self._ledger.dump(self._dump).copies, self._verifications, {})


def _rebuild_batch(dump: DumpRecord, expected: Expected, placed: Sequence[tuple[int, int, DataSet]]) -> Batch:
    """Return the batch that was written."""
    archives = tuple(tuple(dataset for _, _, dataset in archive) for _, archive in groupby(placed, key=itemgetter(0)))
    volumes = tuple(Volume(item.tag, item.uuid, item.copy, 0) for item in expected.volumes)
    size = sum(item.size for item in expected.tape_files) + dump.block_size
    return Batch(dump.uuid, volumes, dump.block_size, archives, (), size)
