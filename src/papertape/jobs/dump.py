"""The story: plan, write a pair at once, unload, verify both at once, record."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from uuid import uuid4

from papertape.errors import (
    AllRejected,
    BlockRefused,
    ClaimLost,
    HostDiskFull,
    Interrupted,
    NothingToDo,
    PapertapeError,
    VolumeError,
    VolumeMissing,
)
from papertape.events import Note
from papertape.jobs.blank import check_writable
from papertape.jobs.context import TAKEN, Context, Lost, Outcome, be_patient, conclude, ending, run_in_session
from papertape.jobs.heartbeat import heartbeat
from papertape.jobs.prove import prove
from papertape.ledger import Ledger
from papertape.plan import Batch, DataSet, plan_batch
from papertape.settings import IN_PLACE, Settings
from papertape.tape.drive import Drive
from papertape.tape.library import Library, Session
from papertape.transfer.write import Writing, write_volumes
from papertape.volume.layout import MINIMUM_BLOCK

ATTEMPTS = 5
"""How often a plan is made anew because another process was faster with its claims."""


def plan_next(ledger: Ledger, library: Library, settings: Settings) -> tuple[Batch, bool]:
    """Return what the next dump would do, and whether it takes up one that was interrupted while writing.

    Raises NothingToDo if no data set of this host waits, VolumeError if there is no blank volume for a copy, or none in
    the library.
    """
    with contextlib.closing(ledger.pending(settings.host)) as waiting:
        first = next(waiting, None)
        if first is not None:
            return _plan(ledger, library, settings, chain([first], waiting))
    with contextlib.closing(ledger.pending()) as elsewhere:
        other = next(elsewhere, None)
    if other is None:
        raise NothingToDo("no data set is waiting; register some with `papertape add`")
    raise NothingToDo(
        f"no data set of host {settings.host} is waiting, others are: {other.source}; they are that host's"
    )


def _plan(ledger: Ledger, library: Library, settings: Settings, waiting: Iterable[DataSet]) -> tuple[Batch, bool]:
    loadable = library.loadable()
    # one whose volumes are away keeps them, and this will be another dump
    held = next((it for it in ledger.held() if loadable.issuperset(volume.tag for volume in it.volumes)), None)
    batch = plan_batch(
        held.uuid if held else str(uuid4()),
        waiting,
        held.volumes if held else ledger.free_volumes(settings.copies, loadable),
        archive_size=settings.archive_size,
        block_size=settings.block_size,
    )
    return batch, held is not None


def run_dump(context: Context) -> Outcome:
    """Fill one set of twins with what waits, and prove it; the outcome tells what became of it.

    Raises, before anything is claimed, NothingToDo, VolumeError (no blank volume), DriveError (not enough drives) and
    what the ledger, or the lab's database, has against it; later errors are in the outcome. However it ends, the lab's
    database is told.
    """
    with ending("dump", context.tell) as end:
        try:
            return end.add(run_in_session(context, partial(_plan_and_run, context)))
        finally:
            context.lab.settle()


def _plan_and_run(context: Context, session: Session) -> Outcome:
    for _ in range(ATTEMPTS):
        batch, resumed = plan_next(context.ledger, context.library, context.settings)
        try:
            return _claim(context, session, batch, resumed=resumed)
        except ClaimLost as error:
            context.tell(Note(sentence=f"planning again: {error}"))
    raise NothingToDo("other processes take what waits as fast as it is planned; run again later")


def _claim(context: Context, session: Session, batch: Batch, *, resumed: bool) -> Outcome:
    if not batch.archives:
        context.ledger.reject(batch.refused)
        return Outcome(0, "", "abandoned", (), 0, 0, 0, _refusals(batch), ())
    context = be_patient(context)
    dump = context.ledger.begin(batch, context.owner, datetime.now(UTC))
    _claim_at_the_lab(context, dump, batch, resumed=resumed)
    return Dump(context, session, dump, batch, resumed=resumed).run()


def _claim_at_the_lab(context: Context, dump: int, batch: Batch, *, resumed: bool) -> None:
    """Take the lab's rows as well; if that cannot be, nothing stays claimed. Raises ClaimLost if others have some."""
    try:
        lost = context.lab.claim(dump)
    except BaseException as error:
        _undo(context, dump, str(error) or type(error).__name__, resumed=resumed)
        raise
    if lost.sources or lost.volumes:
        _drop(context, dump, batch, lost, resumed=resumed)
        more = f" and {len(lost.sources) - 1} more" if len(lost.sources) > 1 else ""
        what = " and ".join(lost.volumes) or f"{lost.sources[0]}{more}"
        raise ClaimLost(what, "not to be had in the lab's database")


def _undo(context: Context, dump: int, reason: str, *, resumed: bool) -> None:
    """Let go of all; a dump that was begun before keeps its volumes, which are not blank."""
    if resumed:
        context.ledger.hold(dump, reason)
    else:
        context.ledger.abandon(dump, reason, datetime.now(UTC))


def _drop(context: Context, dump: int, batch: Batch, lost: Lost, *, resumed: bool) -> None:
    """Let go of all, and keep what the lab gives to others out of the next plan."""
    if lost.volumes and resumed:
        tags = [volume.tag for volume in batch.volumes]
        now = datetime.now(UTC)
        context.ledger.fail(dump, TAKEN, now, aside=dict.fromkeys(lost.volumes, TAKEN), touched=tags)
        return
    _undo(context, dump, TAKEN, resumed=resumed)
    for tag in lost.volumes:
        context.ledger.set_aside(tag, TAKEN)
    datasets = chain.from_iterable(batch.archives)
    context.ledger.reject([(item, TAKEN) for item in datasets if item.source in frozenset(lost.sources)])


def _refusals(batch: Batch) -> tuple[tuple[str, str], ...]:
    return tuple((dataset.source, reason) for dataset, reason in batch.refused)


class Dump:
    """One dump from its claim to its end; whatever goes wrong, the ledger says so, nothing stays claimed in vain."""

    def __init__(self, context: Context, session: Session, dump: int, batch: Batch, *, resumed: bool) -> None:
        self._context = context
        self._ledger, self._settings, self._stop = context.ledger, context.settings, context.stop
        self._session = session
        self._dump = dump
        self._batch = batch
        self._tags = [volume.tag for volume in batch.volumes]
        self._resumed = resumed
        self._touched = resumed
        self._written = False
        self._errors: dict[str, PapertapeError] = {}
        self._rejected = _refusals(batch)

    def run(self) -> Outcome:
        """Write, prove, and tell what became of it."""
        try:
            self._write()
        except PapertapeError as error:
            return conclude(self._ledger, self._dump, self._rejected, error=error)
        return prove(self._context, self._session, self._dump, self._rejected, self._errors)

    def _write(self) -> None:
        """Write all copies at once; the drives are left as the reading wants them, the ledger in any case in order."""
        spool = self._settings.spool / self._batch.dump
        try:
            with self._session.mounted(self._tags, keep=self._settings.mount == IN_PLACE) as drives:
                for drive, volume in zip(drives, self._batch.volumes, strict=True):
                    check_writable(drive, volume, resumed=self._resumed)
                self._record(self._transfer(drives, spool))
        except BaseException as error:
            if not self._written:
                self._give_up(error)
            raise
        finally:
            shutil.rmtree(spool, ignore_errors=True)

    def _transfer(self, drives: Sequence[Drive], spool: Path) -> Writing:
        self._stop.check()
        self._ledger.start_writing(self._dump)
        self._touched = True
        tell, stop = self._context.tell, self._stop
        with heartbeat(self._ledger, self._dump, tell, stop):
            while True:
                try:
                    return write_volumes(
                        self._batch,
                        drives,
                        spool=spool,
                        ring=self._settings.ring,
                        created=datetime.now(UTC),
                        tell=tell,
                        stop=stop,
                    )
                except BlockRefused as error:
                    self._shorten_blocks(error)
                    for drive in drives:
                        drive.rewind()

    def _shorten_blocks(self, error: BlockRefused) -> None:
        """Plan with the next smaller power of two, which needs no more room; raises ``error`` if there is none."""
        smaller = 1 << (self._batch.block_size - 1).bit_length() - 1
        if smaller < MINIMUM_BLOCK:
            raise error
        self._context.tell(
            Note(sentence=f"{error}: writing blocks of {smaller} bytes; set block_size to that in the config")
        )
        self._batch = replace(self._batch, block_size=smaller)

    def _record(self, writing: Writing) -> None:
        """Enter what was written; raise what is in the way if there is nothing to be proven."""
        self._rejected += writing.rejected
        self._errors = {copy.volume: copy.error for copy in writing.copies if copy.error}
        if writing.catalog is None or len(self._errors) == len(writing.copies):
            raise self._why_nothing()
        self._ledger.written(self._dump, writing.catalog, writing.copies, datetime.now(UTC))
        self._written = True

    def _why_nothing(self) -> PapertapeError:
        if len(self._errors) == len(self._tags):
            return next(iter(self._errors.values()))
        if self._stop.soon:
            return Interrupted("stopped before the first archive; `papertape dump` begins it again")
        return AllRejected(self._dump)

    def _give_up(self, error: BaseException) -> None:
        """Free what was claimed: sick volumes go aside, volumes that were written to stay with this very dump."""
        now, reason = datetime.now(UTC), str(error) or type(error).__name__
        aside = {
            tag: f"writing failed: {why}" for tag, why in self._errors.items() if not isinstance(why, HostDiskFull)
        }
        if isinstance(error, VolumeError) and not isinstance(error, VolumeMissing) and error.volume_tag in self._tags:
            aside.setdefault(error.volume_tag, error.reason)
        if aside:
            touched = self._tags if self._touched else ()
            self._ledger.fail(self._dump, reason, now, aside=aside, touched=touched)
        elif self._touched:
            self._ledger.hold(self._dump, reason)
        else:
            self._ledger.abandon(self._dump, reason, now)
        self._reject()

    def _reject(self) -> None:
        """Keep out of the next dump what this one found wrong; `written` does it where there is a catalog."""
        reasons = dict(self._rejected)
        datasets = (dataset for archive in self._batch.archives for dataset in archive)
        self._ledger.reject([(item, reasons[item.source]) for item in datasets if item.source in reasons])
