"""A copy made again: from the good twin onto a blank volume, then proven as any other."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from papertape.errors import (
    CopiesMissing,
    Interrupted,
    UserError,
    VerificationFailed,
    VolumeError,
    VolumeNotBlank,
    WriteProtected,
)
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.blank import check_writable
from papertape.jobs.context import Context, Outcome
from papertape.jobs.dump import Run, judge
from papertape.jobs.heartbeat import heartbeat
from papertape.ledger import UNFINISHED, CopyRecord, DumpRecord, Ledger
from papertape.plan import Batch, DataSet, Volume
from papertape.settings import CROSSED
from papertape.states import Format, VolumeState
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.recopy import Recopied, check_reproducible, check_sources, recopy_from_disk, recopy_from_twin
from papertape.transfer.verify import verify_volumes
from papertape.volume.label import Identity
from papertape.volume.members import Expected

_GOOD = (VolumeState.CLAIMED, VolumeState.ARCHIVED)


@dataclass(frozen=True)
class Recopy:
    """The copy on ``old`` is made again on ``new``, from the volume ``source``, or from disk if that is None.

    ``resumed`` says that ``new`` is ``old``, which an earlier attempt did not write to its end.
    """

    dump: DumpRecord
    old: VolumeTag
    new: Volume
    source: CopyRecord | None
    resumed: bool


def plan_recopy(ledger: Ledger, loadable: Collection[VolumeTag], tag: VolumeTag, *, from_disk: bool = False) -> Recopy:
    """Return the plan for making the copy on the volume ``tag`` again.

    Raises UserError where there is nothing to make again, VolumeError where no good twin or no blank volume is there.
    """
    dump = ledger.dumps.lacking(tag)
    if dump.format == Format.PREDECESSOR:
        raise UserError(f"volume {tag} is the predecessor's: restore what is on its twin, and `papertape add` that")
    old = next(copy for copy in dump.copies if copy.volume == tag)
    source = None if from_disk else _choose_source(dump, loadable, tag)
    resumed = old.error == UNFINISHED and tag in loadable
    if resumed:
        new = Volume(tag, old.uuid, old.copy, ledger.volumes.one(tag).capacity)
    else:
        new = ledger.volumes.free_one(old.copy, loadable)
    needed = sum(item.size for item in ledger.contents.tape_files(dump.id)) + dump.block_size
    if new.capacity < needed:
        raise VolumeError(new.tag, f"holds {new.capacity} bytes, and the copy takes {needed}; name a larger one blank")
    return Recopy(dump, tag, new, source, resumed)


def _choose_source(dump: DumpRecord, loadable: Collection[VolumeTag], tag: VolumeTag) -> CopyRecord:
    good = [copy for copy in dump.copies if copy.volume != tag and not copy.error and copy.volume_state in _GOOD]
    if not good:
        raise VolumeError(tag, "has no good twin: its data sets can be restored one by one (`papertape restore`)")
    good.sort(key=lambda copy: copy.verified_at is None)
    chosen = next((copy for copy in good if copy.volume in loadable), None)
    if chosen is None:
        tags = [copy.volume for copy in good]
        raise CopiesMissing(tags, "holds the good copy, but is not in the library; put it into a slot")
    return chosen


def recopy(context: Context, tag: VolumeTag, *, from_disk: bool = False) -> Outcome:
    """Make the copy on the volume ``tag`` again, verify it, and archive the dump if all its copies are good then.

    Raises, before anything is claimed, UserError, VolumeError and DriveError; later errors are in the outcome.
    """
    run, count = Run(context), len(context.library.drives)
    with run.ending("recopy") as outcomes:
        if count < 2 and not from_disk:
            remedy = "where its data sets are still on disk, --from-disk needs no other drive"
            raise UserError(f"a copy is made from one drive to another, and this library has only one; {remedy}")
        with run.drives(min(count, 2)) as session:  # 1. Reserve.
            task = plan_recopy(run.context.ledger, context.library.loadable(), tag, from_disk=from_disk)  # 2. Plan.
            run.dump = DumpId(task.dump.id)
            with run.failures():
                # 3. Claim. 4. Copy.
                copied = (
                    _duplicate(run, task, task.source.volume, session) if task.source else _rewrite(run, task, session)
                )
                if _record_written(run, task, copied):  # 5. Record how it was written.
                    _read_back(run, task, session)  # 6. Verify.
                    judge(run)  # 7. Record.
    return outcomes[0]


@contextlib.contextmanager
def _claimed(run: Run, task: Recopy, target: Drive) -> Iterator[None]:
    """Claim the new volume, here and at the lab, for the block that writes to it; it must itself be blank.

    If the block fails, the dump keeps its good copies and lacks this one.
    """
    context, ledger, tag = run.context, run.context.ledger, task.new.tag
    context.stop.check()
    try:
        check_writable(target, task.new, resumed=task.resumed)
    except (VolumeNotBlank, WriteProtected) as error:
        ledger.volumes.set_aside(tag, error.reason)
        raise
    if not task.resumed:
        try:
            context.lab.check_label(tag)
        except VolumeError as error:
            ledger.volumes.set_aside(tag, error.reason)
            raise
    ledger.dumps.replace(task.old, task.new)
    try:
        context.lab.claim_label(task.dump.id, tag)
        with heartbeat(ledger, task.dump.id, context.tell, context.stop):
            yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        ledger.dumps.leave_incomplete(task.dump.id, reason, {tag: reason})
        raise


def _duplicate(run: Run, task: Recopy, source: VolumeTag, session: Session) -> Recopied:
    """Copy the good twin ``source``, block for block from tape file 1 on."""
    context, expected = run.context, run.context.ledger.contents.expected(task.dump.id)
    record = next(item for item in expected.volumes if item.tag == source)
    with (
        session.mounted([source, task.new.tag], session.drives) as (reader, target),
        _claimed(run, task, target),
    ):
        return recopy_from_twin(
            expected,
            (reader, target),
            source=record,
            identity=Identity(task.new.tag, task.new.uuid, task.new.copy),
            ring=context.settings.ring,
            created=context.ledger.clock(),
            tell=context.tell,
            stop=context.stop,
        )


def _rewrite(run: Run, task: Recopy, session: Session) -> Recopied:
    """Write the data sets from disk once more, if the same bytes can be had there."""
    context, dump, expected = run.context, task.dump, run.context.ledger.contents.expected(task.dump.id)
    if dump.created_at is None or expected.rejected:
        raise UserError(f"dump {dump.id} has data sets that were rejected: take the copy from the twin")
    placed = context.ledger.datasets.of_dump(dump.id)
    numbers = {dataset.source: number for _, number, dataset in placed}
    batch = _rebuild_batch(dump, expected, placed)
    check_reproducible(
        batch, expected, created=dump.created_at, datasets=dump.datasets, files=dump.files, size=dump.size
    )
    check_sources(batch, lambda dataset: context.ledger.contents.dataset_members(dump.id, numbers[dataset.source]))
    spool = context.settings.spool / batch.dump
    with session.mounted([task.new.tag], session.drives[-1:]) as (target,), _claimed(run, task, target):
        try:
            return recopy_from_disk(
                batch,
                expected,
                target,
                identity=Identity(task.new.tag, task.new.uuid, task.new.copy),
                spool=spool,
                ring=context.settings.ring,
                created=dump.created_at,
                tell=context.tell,
                stop=context.stop,
            )
        finally:
            shutil.rmtree(spool, ignore_errors=True)


def _record_written(run: Run, task: Recopy, copied: Recopied) -> bool:
    """Record how the copy was written; return whether it is whole, and keep in ``run.error`` why it is not."""
    ledger = run.context.ledger
    if copied.source:
        run.verifications.append(copied.source)
    if copied.written.error:
        ledger.dumps.replaced(task.dump.id, copied.record, copied.written)
        run.error = copied.written.error
    elif task.source is None or (copied.source and copied.source.ok):
        ledger.dumps.replaced(task.dump.id, copied.record, copied.written)
        return True
    elif copied.source is None:
        run.error = Interrupted("stopped while copying")
    else:
        run.error = VerificationFailed([copied.source])
    reason = f"could not be written: {run.error}"
    ledger.dumps.leave_incomplete(task.dump.id, str(run.error), {copied.record.tag: reason})
    if copied.source and not copied.source.ok:
        ledger.dumps.record_verification(copied.source)
    return False


def _read_back(run: Run, task: Recopy, session: Session) -> None:
    """Read the new copy back, on the drive that did not write it if the config asks for that."""
    context, ledger, tag = run.context, run.context.ledger, task.new.tag
    number = session.drives[0 if context.settings.mount == CROSSED else -1]
    with (
        session.mounted([tag], [number]) as drives,
        heartbeat(ledger, task.dump.id, context.tell, context.stop),
    ):
        run.verifications += verify_volumes(
            ledger.contents.expected(task.dump.id), [tag], drives, context.tell, context.stop
        )


def _rebuild_batch(dump: DumpRecord, expected: Expected, placed: Sequence[tuple[int, int, DataSet]]) -> Batch:
    """Return the batch that was written."""
    archives = tuple(tuple(dataset for _, _, dataset in archive) for _, archive in groupby(placed, key=itemgetter(0)))
    volumes = tuple(Volume(item.tag, item.uuid, item.copy, 0) for item in expected.volumes)
    size = sum(item.size for item in expected.tape_files) + dump.block_size
    return Batch(
        dump=dump.uuid,
        volumes=volumes,
        block_size=dump.block_size,
        archives=archives,
        refused=(),
        tape_bytes=size,
    )
