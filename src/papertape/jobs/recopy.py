"""A copy made again: from the good twin onto a blank volume, then proven as any other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from papertape.errors import (
    Interrupted,
    PapertapeError,
    UserError,
    VerificationFailed,
    VolumeError,
    VolumeMissing,
    VolumeNotBlank,
    WriteProtected,
)
from papertape.jobs.blank import check_writable
from papertape.jobs.context import CROSSED, Context, Outcome, add_notes, conclude, run_in_session
from papertape.jobs.heartbeat import Heartbeat
from papertape.jobs.prove import judge
from papertape.ledger import UNFINISHED, CopyRecord, DumpRecord, Format, Ledger, VolumeState
from papertape.plan import Volume
from papertape.report import Reporters
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.duplicate import Duplicate, duplicate_volume
from papertape.transfer.verify import verify_volumes
from papertape.volume.evidence import Verification
from papertape.volume.label import Identity

_GOOD = (VolumeState.CLAIMED, VolumeState.ARCHIVED)


@dataclass(frozen=True)
class Recopy:
    """What is to be done: the copy on ``old`` is made again on ``new``, from ``source``.

    ``resumed`` says that ``new`` is ``old``, which an earlier attempt did not write to its end.
    """

    dump: DumpRecord
    old: str
    new: Volume
    source: CopyRecord
    resumed: bool


def plan_recopy(ledger: Ledger, loadable: Collection[str], tag: str) -> Recopy:
    """Return what making the copy on the volume ``tag`` again would be.

    Raises UserError where there is nothing to make again, VolumeError where no good twin or no blank volume is there.
    """
    dump = ledger.lacking(tag)
    if dump.format == Format.PREDECESSOR:
        raise UserError(f"volume {tag} is the predecessor's: restore what is on its twin, and `papertape add` that")
    old = next(copy for copy in dump.copies if copy.volume == tag)
    source = _choose_source(ledger, dump, loadable, tag)
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
        names = " or ".join(copy.volume for copy in good)
        raise VolumeMissing(names, "the good twin, is not in the library; put it into a slot")
    return chosen


def run_recopy(context: Context, tag: str) -> Outcome:
    """Make the copy on the volume ``tag`` again, verify it, and archive the dump if all its copies are good then.

    Raises, before anything is claimed, UserError, VolumeError and DriveError; later errors are in the outcome.
    """
    if len(context.library.drives) < 2:
        raise UserError("a copy is made from one drive to another, and this library has but one")
    return run_in_session(context, partial(_recopy, context, tag), 2)


def _recopy(context: Context, tag: str, session: Session) -> Outcome:
    task = plan_recopy(context.ledger, context.library.loadable(), tag)
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
        self._report = Reporters(context.report, Heartbeat(context.ledger, task.dump.id, context.report, context.stop))

    def run(self) -> PapertapeError | None:
        """Copy, read back, and judge; return what is not good."""
        drives = self._session.drives[:2]
        with self._session.mounted([self._task.source.volume, self._task.new.tag], drives) as mounted:
            copied = self._copy(mounted[0], mounted[1])
        error = self._enter(copied)
        if error is None:
            self._read_back(drives)
            error = self._judge()
        return error

    def _copy(self, source: Drive, target: Drive) -> Duplicate:
        task = self._task
        self._context.stop.check()
        try:
            check_writable(target, task.new, resumed=task.resumed)
        except (VolumeNotBlank, WriteProtected) as error:
            self._ledger.set_aside(task.new.tag, error.reason)
            raise
        self._ledger.replace(task.old, task.new, self._context.owner, datetime.now(UTC))
        expected = self._ledger.expected(self._dump)
        record = next(item for item in expected.volumes if item.tag == task.source.volume)
        identity = Identity(task.new.tag, task.new.uuid, task.new.copy)
        settings, stop = self._context.settings, self._context.stop
        try:
            return duplicate_volume(
                expected, record, identity, (source, target), settings.ring, datetime.now(UTC), self._report, stop
            )
        except BaseException as error:
            reason = str(error) or type(error).__name__
            self._ledger.leave_incomplete(self._dump, reason, {task.new.tag: reason})
            raise

    def _enter(self, copied: Duplicate) -> PapertapeError | None:
        """Record how it was written; return why it is not whole."""
        now = datetime.now(UTC)
        if copied.written.error:
            self._ledger.replaced(self._dump, copied.record, copied.written, now)
        elif copied.source and copied.source.ok:
            self._verifications.append(copied.source)
            self._ledger.replaced(self._dump, copied.record, copied.written, now)
            return None
        error = copied.written.error or self._blame_source(copied)
        self._ledger.leave_incomplete(self._dump, str(error), {copied.record.tag: f"could not be written: {error}"})
        if copied.source and not copied.source.ok:
            self._ledger.record(copied.source, now)
        return error

    def _blame_source(self, copied: Duplicate) -> PapertapeError:
        if copied.source is None:
            return Interrupted("stopped while copying")
        self._verifications.append(copied.source)
        return VerificationFailed([copied.source])

    def _read_back(self, drives: tuple[int, ...]) -> None:
        """Read the new copy, on the drive that did not write it where the config wants that."""
        number = drives[0] if self._context.settings.mount == CROSSED else drives[1]
        tag = self._task.new.tag
        with self._session.mounted([tag], [number]) as mounted:
            expected = self._ledger.expected(self._dump)
            self._verifications += verify_volumes(expected, [tag], mounted, self._report, self._context.stop)

    def _judge(self) -> PapertapeError | None:
        return judge(self._context, self._dump, self._ledger.dump(self._dump).copies, self._verifications, {})
