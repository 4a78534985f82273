"""The story of a dump, whole: from the data sets that wait to the data sets that are archived.

``dump`` names its eight steps, and they follow here in that order. ``recover`` is the first of them, and also a command
of its own.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from uuid import uuid4

from papertape.errors import (
    AllRejected,
    BlockRefused,
    ClaimLost,
    HostDiskFull,
    Interrupted,
    NothingToDo,
    PapertapeError,
    VerificationFailed,
    VolumeError,
    VolumeMissing,
)
from papertape.events import Note
from papertape.evidence import Verification
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.blank import check_writable
from papertape.jobs.context import TAKEN, Context, Outcome, be_patient, ending
from papertape.jobs.heartbeat import heartbeat
from papertape.ledger import UNFINISHED, CopyRecord, DumpRecord, Ledger, is_alive
from papertape.plan import Batch, plan_batch
from papertape.settings import CROSSED, IN_PLACE, Settings
from papertape.states import DumpState
from papertape.tape.drive import Drive
from papertape.tape.library import Library, Session
from papertape.transfer.verify import verify_volumes
from papertape.transfer.write import write_volumes
from papertape.volume.layout import MINIMUM_BLOCK
from papertape.words import enumerate_names

ATTEMPTS = 5
"""How many plans are made before a dump gives way to other processes that claim the same data sets."""
UNWRITTEN = (DumpState.PLANNED, DumpState.WRITING)
UNPROVEN = (DumpState.WRITTEN, DumpState.VERIFYING)


def dump(context: Context) -> list[Outcome]:
    """Write the waiting data sets to one volume per copy, from one read of the disk, and verify every copy.

    Returns what became of each dump that was recovered first, oldest first, and then of this one. Raises, before
    anything is claimed, NothingToDo (unless something was recovered), VolumeError (no blank volume), DriveError (not
    enough drives) and what the ledger or the lab's database reports. Later errors are in the outcome.
    """
    run = Run(context)
    with run.ending("dump") as outcomes:
        outcomes.extend(recover_all(context))  # 1. Recover.
        with run.drives(count_drives(context)) as session:  # 2. Reserve.
            claimed = claim_next(context, run)  # 3. Plan. 4. Claim.
            if claimed:
                with run.failures():
                    with releasing(run, claimed), session.mounted(claimed.tags, keep=claimed.stays) as drives:
                        write(run, claimed, drives)  # 5. Write. 6. Unload, when this block ends.
                    prove(run, session)  # 7. Verify. 8. Record.
    return outcomes


class Run:
    """One dump on its way, with the results of its steps. ``dump`` is None until everything is claimed.

    ``errors`` are those of copies that could not be written, by volume tag; ``rejected`` are sources with reasons.
    """

    def __init__(self, context: Context, dump: DumpId | None = None) -> None:
        # Tapes are under way: from the claim on, a ledger that is away is waited for.
        self.context = be_patient(context)
        self.dump = dump
        self.rejected: tuple[tuple[str, str], ...] = ()
        self.errors: dict[VolumeTag, PapertapeError] = {}
        self.verifications: list[Verification] = []
        self.error: PapertapeError | None = None

    @property
    def claimed_dump(self) -> DumpId:
        """The id of the dump, for the steps after the claim."""
        if self.dump is None:
            raise RuntimeError("this step comes after the claim")
        return self.dump

    @contextlib.contextmanager
    def ending(self, job: str) -> Iterator[list[Outcome]]:
        """Give a list of outcomes, add this run's at the end of the block, and tell how ``job`` ended, however it ends.

        NothingToDo is raised only if the list has no outcome of something that was recovered. The lab's database is
        brought up to date in any case.
        """
        outcomes: list[Outcome] = []
        with ending(job, self.context.tell) as end:
            try:
                yield outcomes
                outcomes.append(self.outcome())
            except NothingToDo:
                if not outcomes:
                    raise
            finally:
                self.context.lab.settle()
                for outcome in outcomes:
                    end.add(outcome)

    @contextlib.contextmanager
    def drives(self, count: int) -> Iterator[Session]:
        """Reserve ``count`` drives for the block; at its end their cartridges are home.

        An error before the claim, or while drives are reserved, is raised. A later error ends up in the outcome: the
        ledger says how far the dump is, and a cartridge that cannot be put away does not change that.
        """
        is_reserved = False
        try:
            with self.context.library.reserve(count) as session:
                is_reserved = True
                yield session
            if self.dump is not None:
                # Only now: while volumes are in drives, the dump has an owner.
                self.context.ledger.dumps.dismiss(self.dump)
        except PapertapeError as error:
            if self.dump is None or not is_reserved:
                raise
            self.fail(error)

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Keep an error that ends the block as the reason why the dump is not archived."""
        try:
            yield
        except PapertapeError as error:
            self.fail(error)

    def fail(self, error: PapertapeError) -> None:
        """Keep ``error``; the first one counts, later ones are notes on it."""
        if self.error is None:
            self.error = error
            return
        for line in (str(error), *getattr(error, "__notes__", ())):
            self.error.add_note(f"then, in putting the cartridges away: {line}")

    def outcome(self) -> Outcome:
        """Return the dump's state in the ledger, with the results of this run."""
        if self.dump is None:
            return Outcome(dump=DumpId(0), uuid="", state=DumpState.ABANDONED, volumes=(), rejected=self.rejected)
        record = self.context.ledger.dumps.one(self.dump)
        return Outcome(
            dump=record.id,
            uuid=record.uuid,
            state=record.state,
            volumes=tuple(copy.volume for copy in record.copies),
            datasets=record.datasets,
            files=record.files,
            size=record.size,
            rejected=self.rejected,
            verifications=tuple(self.verifications),
            error=self.error,
            lacking=record.lacking,
        )


def count_drives(context: Context) -> int:
    """Return how many drives a dump takes: one per copy, and for a single copy another one to read it back."""
    copies = context.settings.copies
    crosses_alone = copies == 1 and context.settings.mount == CROSSED and len(context.library.drives) > 1
    return 2 if crosses_alone else copies


# 1. Recover.


def recover(context: Context, *, undo: bool = False) -> list[Outcome]:
    """Finish or undo every dump whose process is dead, oldest first; return their outcomes.

    A dump that was still being written is undone: its data sets wait again, and its volumes stay with it for the next
    dump, which starts it again. A dump that was written is read back and committed; with ``undo`` it is given up
    instead, and its volumes are set aside. If a copy was being made again, the good copies are kept and that one is
    still missing. A dump that had ended before its volumes were home is returned only if a cartridge had to be brought
    home. An error with one dump does not stop the others.

    First the volumes of such a dump are brought home from drives that nobody has reserved, even if an operator loaded
    one there since. Other cartridges in drives stay. At the end the lab's database is brought up to date.
    """
    with ending("recover", context.tell) as end:
        try:
            return [end.add(outcome) for outcome in recover_all(context, undo=undo)]
        finally:
            context.lab.settle()


def recover_all(context: Context, *, undo: bool = False) -> list[Outcome]:
    """Recover as the first step of another job; that job tells how it ended."""
    outcomes = []
    left = context.ledger.dumps.orphans(is_alive) + context.ledger.dumps.undismissed(is_alive)
    for record in sorted(left, key=lambda record: record.id):
        run, brought_home = Run(context, DumpId(record.id)), False
        try:
            run.context.ledger.dumps.take_over(record)
        except ClaimLost as error:
            context.tell(Note(sentence=str(error)))
            continue
        with run.failures():
            brought_home = _recover_one(run, record, undo=undo)
        if run.error or brought_home or record.state in {*UNWRITTEN, *UNPROVEN}:
            outcomes.append(run.outcome())
    return outcomes


def _recover_one(run: Run, record: DumpRecord, *, undo: bool) -> bool:
    """Put one dead process's dump in order; return whether cartridges had to be brought home."""
    ledger, process = run.context.ledger, f"process {record.owner.pid}" if record.owner else "a process"
    unfinished = {copy.volume: copy.error for copy in record.copies if copy.error == UNFINISHED}
    cut_off_in_recopy = record.state in UNPROVEN and bool(unfinished)
    try:
        home = run.context.library.bring_home([copy.volume for copy in record.copies])
        if home:
            run.context.tell(Note(sentence=f"brought home what {process} had left in drives: {enumerate_names(home)}"))
    finally:  # the ledger is put in order even if the robot is stuck
        if cut_off_in_recopy:
            ledger.dumps.leave_incomplete(record.id, f"{process} died while it copied", unfinished)
        elif record.state in UNWRITTEN:
            ledger.dumps.hold(record.id, f"{process} died while it wrote")
        elif record.state in UNPROVEN and undo and not record.ended_at:
            # A dump that was archived before (`ended_at`) is never given up: its tapes may be all that there is of it.
            touched = [copy.volume for copy in record.copies]
            ledger.dumps.fail(record.id, "given up before it was verified", touched=touched)
    if ledger.dumps.one(record.id).state in UNPROVEN and not cut_off_in_recopy:
        with run.drives(count_drives(run.context)) as session, run.failures():
            prove(run, session)
    else:
        ledger.dumps.dismiss(record.id)
    return bool(home)


# 3. Plan. 4. Claim.


@dataclass
class Claimed:
    """The batch that a dump has claimed, and how far the dump is with it.

    ``resumed`` says that an earlier process began to write this very dump to these volumes.
    """

    batch: Batch
    resumed: bool
    stays: bool
    is_touched: bool = False
    is_written: bool = False

    @property
    def tags(self) -> list[VolumeTag]:
        """The tags of its volumes, by copy number."""
        return [volume.tag for volume in self.batch.volumes]


def plan_next(ledger: Ledger, library: Library, settings: Settings) -> tuple[Batch, bool]:
    """Return the plan of the next dump, and whether that continues one that was interrupted while it was written.

    Raises NothingToDo if no data set of this host waits, VolumeError if there is no blank volume for a copy, or none in
    the library.
    """
    with contextlib.closing(ledger.datasets.pending(settings.host)) as waiting:
        first = next(waiting, None)
        if first is None:
            raise _nothing_waits(ledger, settings.host)
        loadable = library.loadable()
        # A held dump whose volumes are not in the library keeps them, and this becomes another dump.
        held = next(
            (it for it in ledger.dumps.held() if loadable.issuperset(volume.tag for volume in it.volumes)), None
        )
        batch = plan_batch(
            held.uuid if held else str(uuid4()),
            chain([first], waiting),
            held.volumes if held else ledger.volumes.free(settings.copies, loadable),
            archive_size=settings.archive_size,
            block_size=settings.block_size,
        )
    return batch, held is not None


def _nothing_waits(ledger: Ledger, host: str) -> NothingToDo:
    with contextlib.closing(ledger.datasets.pending()) as elsewhere:
        other = next(elsewhere, None)
    if other is None:
        return NothingToDo("no data set is waiting; register some with `papertape add`")
    return NothingToDo(f"no data set of host {host} is waiting; data sets of other hosts are, such as {other.source}")


def claim_next(context: Context, run: Run) -> Claimed | None:
    """Plan and claim in the ledger and at the lab; None if every data set that waits is refused.

    Claims are conditional updates in one transaction: if another process was faster, nothing is claimed, and this plans
    again. Raises NothingToDo if that happens too often.
    """
    for _ in range(ATTEMPTS):
        batch, resumed = plan_next(context.ledger, context.library, context.settings)
        run.rejected = tuple((str(dataset.source), reason) for dataset, reason in batch.refused)
        if not batch.archives:
            context.ledger.datasets.reject(batch.refused)
            return None
        try:
            run.dump = _claim(run.context, batch, resumed=resumed)
        except ClaimLost as error:
            context.tell(Note(sentence=f"planning again: {error}"))
        else:
            return Claimed(batch, resumed, context.settings.mount == IN_PLACE, is_touched=resumed)
    raise NothingToDo("other processes claim what waits as fast as it is planned; run this again later")


def _claim(context: Context, batch: Batch, *, resumed: bool) -> DumpId:
    """Claim a batch in the ledger, then at the lab; if the lab refuses, nothing stays claimed. Raises ClaimLost."""
    ledger = context.ledger
    dump = ledger.dumps.begin(batch)

    def undo(reason: str) -> None:
        if resumed:  # an earlier process wrote to its volumes: they are not blank
            ledger.dumps.hold(dump, reason)
        else:
            ledger.dumps.abandon(dump, reason)

    try:
        lost = context.lab.claim(dump)
    except BaseException as error:
        undo(str(error) or type(error).__name__)
        raise
    if not lost.sources and not lost.volumes:
        return dump
    # The lab has given some of it to others: they must not be in the next plan.
    if lost.volumes and resumed:
        tags = [volume.tag for volume in batch.volumes]
        ledger.dumps.fail(dump, TAKEN, aside=dict.fromkeys(lost.volumes, TAKEN), touched=tags)
    else:
        undo(TAKEN)
        for tag in lost.volumes:
            ledger.volumes.set_aside(tag, TAKEN)
        taken = frozenset(lost.sources)
        sets = chain.from_iterable(batch.archives)
        ledger.datasets.reject([(item, TAKEN) for item in sets if str(item.source) in taken])
    what = enumerate_names(lost.volumes) or enumerate_names(lost.sources, most=1)
    raise ClaimLost(what, "the lab's database has given it to somebody else")


# 5. Write.


def write(run: Run, claimed: Claimed, drives: Sequence[Drive]) -> None:
    """Write every copy at once to the volumes in ``drives``, and record catalog and evidence: ``written``.

    Raises VolumeNotBlank and WriteProtected before anything is written; an error if no copy is left to be verified.
    """
    context, dump = run.context, run.claimed_dump
    for drive, volume in zip(drives, claimed.batch.volumes, strict=True):
        check_writable(drive, volume, resumed=claimed.resumed)
    context.stop.check()
    context.ledger.dumps.start_writing(dump)
    claimed.is_touched = True
    writing = None
    with heartbeat(context.ledger, dump, context.tell, context.stop):
        while writing is None:
            try:
                writing = write_volumes(
                    claimed.batch,
                    drives,
                    spool=context.settings.spool / claimed.batch.dump,
                    ring=context.settings.ring,
                    created=context.ledger.clock(),
                    tell=context.tell,
                    stop=context.stop,
                )
            except BlockRefused as error:  # nothing was written; shorter blocks need no more room
                shorter = 1 << (claimed.batch.block_size - 1).bit_length() - 1
                if shorter < MINIMUM_BLOCK:
                    raise
                remedy = f"writing blocks of {shorter} bytes; set block_size to that in the config"
                context.tell(Note(sentence=f"{error}: {remedy}"))
                claimed.batch = replace(claimed.batch, block_size=shorter)
                for drive in drives:
                    drive.rewind()
    run.rejected += writing.rejected
    run.errors = {copy.volume: copy.error for copy in writing.copies if copy.error}
    if len(run.errors) == len(writing.copies):
        raise next(iter(run.errors.values()))
    if writing.catalog is None:
        if context.stop.soon:
            raise Interrupted("stopped before the first archive; `papertape dump` begins it again")
        raise AllRejected(dump)
    context.ledger.dumps.written(dump, writing.catalog, writing.copies)
    claimed.is_written = True


@contextlib.contextmanager
def releasing(run: Run, claimed: Claimed) -> Iterator[None]:
    """Release the claims if the block ends before the dump is written.

    Sick volumes go aside, and volumes that were written to stay with this very dump.
    """
    ledger, dump = run.context.ledger, run.claimed_dump
    try:
        yield
    except BaseException as error:
        if not claimed.is_written:
            reason = str(error) or type(error).__name__
            aside = {
                tag: f"writing failed: {why}" for tag, why in run.errors.items() if not isinstance(why, HostDiskFull)
            }
            if isinstance(error, VolumeError) and not isinstance(error, VolumeMissing):
                aside |= {tag: error.reason for tag in claimed.tags if tag == error.volume_tag and tag not in aside}
            if aside:
                ledger.dumps.fail(dump, reason, aside=aside, touched=claimed.tags if claimed.is_touched else ())
            elif claimed.is_touched:
                ledger.dumps.hold(dump, reason)
            else:
                ledger.dumps.abandon(dump, reason)
            # Rejected data sets must not be in the next dump; `written` does this if there is a catalog.
            reasons = dict(run.rejected)
            sets = chain.from_iterable(claimed.batch.archives)
            ledger.datasets.reject([(item, reasons[str(item.source)]) for item in sets if str(item.source) in reasons])
        raise
    finally:
        shutil.rmtree(run.context.settings.spool / claimed.batch.dump, ignore_errors=True)


# 7. Verify. 8. Record.


def prove(run: Run, session: Session) -> None:
    """Read every whole copy of a written dump back, all at once, and record the results.

    An error that keeps the copies from being read (a robot that is stuck, an interruption) leaves the dump to
    ``recover``.
    """
    context, dump = run.context, run.claimed_dump
    context.ledger.dumps.start_verifying(dump)
    record = context.ledger.dumps.one(dump)
    sick = record.sick
    whole = [copy for copy in record.copies if copy.volume not in sick]
    tags = [copy.volume for copy in whole]
    with session.mounted(tags, choose_drives(session.drives, whole, context.settings.mount)) as drives:
        with heartbeat(context.ledger, dump, context.tell, context.stop):
            expected = context.ledger.contents.expected(dump)
            run.verifications += verify_volumes(expected, tags, drives, context.tell, context.stop)
        judge(run)  # before the cartridges move: a robot that is stuck later takes nothing back


def choose_drives(drives: Sequence[int], copies: Sequence[CopyRecord], mount: str) -> list[int]:
    """Return the drive on which each copy is read: another than wrote it for a crossed mount, else the same.

    Where that is impossible, as with one drive, any drive will do.
    """
    wrote = [copy.write_drive for copy in copies]
    for shift in range(len(drives)):
        turned = [*drives[shift:], *drives[:shift]][: len(copies)]
        if all((drive != other) is (mount == CROSSED) for drive, other in zip(turned, wrote, strict=True)):
            return turned
    return list(drives[: len(copies)])


def judge(run: Run) -> None:
    """Commit the dump if every copy is good; else set the bad volumes aside, and keep the reason in ``run.error``.

    With a good copy the dump keeps it, and its data sets, and is incomplete: the other copies are made again. Without
    one the data sets wait for another dump, unless the dump was archived before: then only tapes may still hold them.
    """
    ledger, dump = run.context.ledger, run.claimed_dump
    record = ledger.dumps.one(dump)
    bad = record.sick
    for item in run.verifications:
        if not item.ok:
            bad[item.volume] = f"verification failed: {item.findings[0].sentence()}"
    if not bad:
        ledger.dumps.commit(dump, run.verifications)
        return
    tag, reason = next(iter(bad.items()))
    if all(item.ok for item in run.verifications):
        run.error = run.errors.get(tag) or VolumeError(tag, reason)
    else:
        run.error = VerificationFailed(run.verifications)
    if record.ended_at or any(item.ok for item in run.verifications):
        ledger.dumps.leave_incomplete(dump, str(run.error), bad)
    else:
        ledger.dumps.fail(dump, str(run.error), aside=bad)
    for item in run.verifications:  # after the dump is over: a process that dies here leaves nothing half judged
        ledger.dumps.record_verification(item)
