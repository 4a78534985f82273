"""Dumps: the owner of each, and every step from planned to archived, failed or abandoned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from papertape.clock import Clock
from papertape.errors import ClaimLost, EvidenceMissing, UserError
from papertape.evidence import Verification, Written
from papertape.ids import DumpId, VolumeTag
from papertape.ledger import datasets, proof, volumes
from papertape.ledger.claims import NOBODY, dump_on, move, not_mine, owned_by, owner_values, read_dump, record, stands
from papertape.ledger.database import Database
from papertape.ledger.records import DumpRecord, Held, Owner
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, VOLUMES
from papertape.ledger.written import enter_copy, enter_members, place_datasets, refuse_other_catalog
from papertape.plan import Batch, Volume
from papertape.states import DataSetState, DumpState, VolumeState
from papertape.version import __version__
from papertape.volume.catalog import Catalog
from papertape.volume.members import VolumeRecord
from papertape.words import enumerate_names

UNFINISHED = "was not written to its end"
"""The error of a copy that is being made again; it stays if the process that makes it dies."""

_OPEN = (DumpState.PLANNED, DumpState.WRITING, DumpState.WRITTEN, DumpState.VERIFYING)
_OVER = (DumpState.ARCHIVED, DumpState.INCOMPLETE, DumpState.FAILED, DumpState.ABANDONED)
_UNWRITTEN = (DumpState.PLANNED, DumpState.WRITING)
_WHOLE = (DumpState.WRITTEN, DumpState.VERIFYING)
_SICK = (VolumeState.ASIDE, VolumeState.RETIRED)


class Dumps:
    """The dumps of a ledger.

    Every method is one transaction. A dump takes a step only if it belongs to this ledger, which has claimed it by
    ``begin``, ``start_verifying``, ``replace`` or ``take_over``, or if it belongs to no process. A step raises
    ClaimLost if the dump belongs to another process, WrongState if its state does not allow the step.
    """

    def __init__(self, database: Database, owner: Owner, clock: Clock, claimed: set[DumpId]) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._claimed = claimed

    def begin(self, batch: Batch) -> DumpId:
        """Claim the volumes and data sets of ``batch``, reject those that it refuses, and return the dump's id.

        A batch with the uuid of a held dump continues that dump. Raises ClaimLost, and claims nothing, if anything was
        taken or changed since the batch was planned: plan again.
        """
        its_uuid = DUMPS.c.uuid == batch.dump

        def is_begun(connection: Connection) -> bool:
            mine = its_uuid & (DUMPS.c.state == DumpState.PLANNED) & owned_by(self._owner)
            return connection.execute(select(DUMPS.c.id).where(mine)).first() is not None

        def claim(connection: Connection) -> None:
            dump = self._claim_dump(connection, batch)
            volumes.claim(connection, batch.volumes, dump)
            claimed = volumes.of_dump(connection, dump)
            left_out = {volume.tag for volume in claimed} - {volume.tag for volume in batch.volumes}
            if left_out:
                names = enumerate_names(sorted(left_out))
                raise ClaimLost(f"dump {dump}", f"holds {names} too; plan with the volumes it holds")
            # A dump that was held has copies already, from its first attempt.
            connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump))
            rows = [{"dump_id": dump, "volume_id": volume.id, "copy": volume.copy} for volume in claimed]
            if rows:
                connection.execute(insert(COPIES), rows)
            datasets.claim(connection, chain.from_iterable(batch.archives), dump)
            datasets.reject(connection, batch.refused)

        self._database.step(is_begun, claim)
        dump = DumpId(
            self._database.read(lambda connection: connection.scalars(select(DUMPS.c.id).where(its_uuid)).one())
        )
        self._claimed.add(dump)
        return dump

    def _claim_dump(self, connection: Connection, batch: Batch) -> DumpId:
        """Enter a new dump, or claim the held one with this uuid; return its id."""
        sets = [dataset for archive in batch.archives for dataset in archive]
        now = self._clock()
        values = {
            "datasets": len(sets),
            "files": sum(dataset.files for dataset in sets),
            "size": sum(dataset.size for dataset in sets),
            "block_size": batch.block_size,
            "version": __version__,
            "heartbeat_at": now,
            **owner_values(self._owner),
        }
        its_id = select(DUMPS.c.id, DUMPS.c.state).where(DUMPS.c.uuid == batch.dump)
        found = connection.execute(its_id).first()
        if found is None:
            row = {**values, "uuid": batch.dump, "state": DumpState.PLANNED, "started_at": now}
            connection.execute(insert(DUMPS).values(row))
            return DumpId(connection.execute(its_id).one().id)
        held = (DUMPS.c.id == found.id) & (DUMPS.c.state == DumpState.PLANNED) & owned_by(None)
        taken = connection.execute(update(DUMPS).where(held).values(reason="", **values))
        if taken.rowcount != 1:
            raise ClaimLost(f"dump {batch.dump}", f"is {found.state} and not held; plan again")
        return DumpId(found.id)

    def heartbeat(self, dump: DumpId) -> None:
        """Note that the dump's process is alive; raises ClaimLost if the dump is not its any more: stop writing.

        Raises HostError if others keep the ledger locked for more than ``BRIEF_SECONDS``, LedgerAway (a HostError) if
        its server is away, whatever the patience of this ledger.
        """

        def beat(connection: Connection) -> None:
            mine = (DUMPS.c.id == dump) & owned_by(self._mine(dump))
            done = connection.execute(update(DUMPS).where(mine).values(heartbeat_at=self._clock()))
            if done.rowcount != 1:
                raise not_mine(read_dump(connection, dump))

        # On a separate connection: the heartbeat runs in another thread, and must not wait for a long transaction.
        self._database.brief().write(beat)

    def start_writing(self, dump: DumpId) -> None:
        """Note that from now on the volumes are written to; raises WrongState, ClaimLost."""
        self._step(
            dump,
            DumpState.WRITING,
            lambda connection: self._move(connection, dump, (DumpState.PLANNED,), DumpState.WRITING),
        )

    def hold(self, dump: DumpId, reason: str) -> None:
        """Interrupt a dump: its data sets wait, its volumes stay with it, and any process may continue it.

        Raises WrongState, ClaimLost.
        """

        def hold(connection: Connection) -> None:
            self._move(connection, dump, _UNWRITTEN, DumpState.PLANNED, reason=reason, **NOBODY)
            datasets.release(connection, dump)

        self._database.step(partial(stands, dump=dump, state=DumpState.PLANNED, owner=None), hold)
        self._claimed.discard(dump)

    def held(self) -> tuple[Held, ...]:
        """Return the dumps that are held, oldest first."""

        def look(connection: Connection) -> tuple[Held, ...]:
            held = (DUMPS.c.state == DumpState.PLANNED) & owned_by(None)
            rows = connection.execute(select(DUMPS).where(held).order_by(DUMPS.c.id)).all()
            return tuple(
                Held(
                    dump=row.id,
                    uuid=row.uuid,
                    reason=row.reason,
                    volumes=tuple(
                        Volume(v.tag, v.uuid, v.copy, v.capacity) for v in volumes.of_dump(connection, row.id)
                    ),
                )
                for row in rows
            )

        return self._database.read(look)

    def written(self, dump: DumpId, catalog: Catalog, copies: Sequence[Written]) -> None:
        """Enter the written members, places and copies of a dump. Rejected data sets leave the dump.

        Its data sets that are not in the catalog wait again. Raises EvidenceMissing if the catalog is not the one of
        this dump, its volumes and its data sets; WrongState, ClaimLost.
        """

        def enter(connection: Connection) -> None:
            now = self._clock()
            values = {"created_at": catalog.created, "block_size": catalog.block_size, "heartbeat_at": now}
            counts = {"datasets": catalog.datasets, "files": catalog.files, "size": catalog.size}
            self._move(connection, dump, (DumpState.WRITING,), DumpState.WRITTEN, **values, **counts)
            refuse_other_catalog(connection, dump, catalog, copies)
            records = {volume.tag: volume for volume in catalog.volumes}
            for copy in copies:
                enter_copy(connection, dump, records[copy.volume], copy, now)
            enter_members(connection, dump, catalog)
            chunks = datasets.chunks(catalog.dataset_records())
            whole = sum(place_datasets(connection, dump, chunk) for chunk in chunks)
            if whole != catalog.datasets:
                raise EvidenceMissing(dump, f"the catalog says {catalog.datasets} whole data sets and lists {whole}")
            # Last: a data set without a place by now is one that the writer did not reach.
            datasets.release(connection, dump, unwritten_only=True)

        self._step(dump, DumpState.WRITTEN, enter)

    def start_verifying(self, dump: DumpId) -> None:
        """Note that this ledger's owner reads a written dump back, again if an earlier reading was cut short.

        Raises WrongState, ClaimLost.
        """

        def start(connection: Connection) -> None:
            values = {"heartbeat_at": self._clock(), **owner_values(self._owner)}
            self._move(connection, dump, _WHOLE, DumpState.VERIFYING, **values)

        self._database.step(partial(stands, dump=dump, state=DumpState.VERIFYING, owner=self._owner), start)
        self._claimed.add(dump)

    def commit(self, dump: DumpId, verifications: Sequence[Verification]) -> None:
        """Call a dump archived: its data sets, its volumes and itself, or nothing at all.

        Raises EvidenceMissing unless every copy was written and flushed without error and read back whole and equal,
        now or before: as many bytes as its label and tape files have, as many files as its catalog has. Raises
        WrongState, ClaimLost.
        """
        self._step(
            dump,
            DumpState.ARCHIVED,
            lambda connection: proof.commit(connection, dump, self._mine(dump), verifications, self._clock()),
        )

    def fail(
        self,
        dump: DumpId,
        reason: str,
        *,
        aside: Mapping[VolumeTag, str] | None = None,
        touched: Collection[VolumeTag] = (),
    ) -> None:
        """End a dump that failed: its data sets wait again.

        Set aside are its volumes in ``aside`` (tag: reason), those ``touched``, and those that ``written`` reported as
        touched; the others are blank again. Raises WrongState, ClaimLost.
        """

        def fail(connection: Connection) -> None:
            self._move(connection, dump, _OPEN, DumpState.FAILED, reason=reason, ended_at=self._clock())
            wrote = select(VOLUMES.c.tag).join(COPIES, COPIES.c.volume_id == VOLUMES.c.id)
            known = connection.scalars(wrote.where(COPIES.c.dump_id == dump, COPIES.c.touched))
            volumes.release(connection, dump, reason, aside or {}, {*touched, *known})
            datasets.release(connection, dump)

        self._step(dump, DumpState.FAILED, fail)

    def leave_incomplete(self, dump: DumpId, reason: str, aside: Mapping[VolumeTag, str]) -> None:
        """Call a dump incomplete: the copies on ``aside`` (tag: reason) are bad; raises WrongState, ClaimLost.

        Its data sets stay with it: `papertape recopy` makes the missing copies.
        """

        def leave(connection: Connection) -> None:
            self._move(connection, dump, _WHOLE, DumpState.INCOMPLETE, reason=reason)
            for volume in volumes.of_dump(connection, dump):
                if volume.tag in aside:
                    volumes.set_aside(connection, volume.id, aside[volume.tag])

        self._step(dump, DumpState.INCOMPLETE, leave)

    def abandon(self, dump: DumpId, reason: str) -> None:
        """End a dump that never touched a tape: all that it had claimed is free again; raises WrongState, ClaimLost."""

        def abandon(connection: Connection) -> None:
            self._move(connection, dump, _UNWRITTEN, DumpState.ABANDONED, reason=reason, ended_at=self._clock())
            volumes.release(connection, dump, reason, {}, set())
            datasets.release(connection, dump)

        self._step(dump, DumpState.ABANDONED, abandon)

    def lacking(self, tag: VolumeTag) -> DumpRecord:
        """Return the dump whose copy on the volume must be made again; raises UserError if there is none."""
        return self._database.read(_find_lacking, tag)

    def replace(self, old: VolumeTag, new: Volume) -> DumpId:
        """Give the blank volume ``new`` to a dump in the place of ``old``, and return the dump's id.

        The dump is as if written and not verified yet, and this ledger's owner has it: nothing of it counts as
        archived until it is proven again. Raises UserError, ClaimLost.
        """

        def replace(connection: Connection) -> None:
            dump = _find_lacking(connection, old)
            values = {"state": DumpState.VERIFYING, "heartbeat_at": self._clock(), **owner_values(self._owner)}
            as_found = (DUMPS.c.id == dump.id) & (DUMPS.c.state == dump.state)
            if connection.execute(update(DUMPS).where(as_found).values(**values)).rowcount != 1:
                raise ClaimLost(f"dump {dump.id}", "another process has taken it up already")
            if new.tag != old:  # the old one stays out of use, and its reason names the new one
                its_id = select(VOLUMES.c.id, VOLUMES.c.reason).where(VOLUMES.c.tag == old)
                the_id, reason = connection.execute(its_id).one()
                connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump.id, COPIES.c.volume_id == the_id))
                left = {"dump_id": None, "reason": f"replaced by {new.tag}: {reason}"}
                connection.execute(update(VOLUMES).where(VOLUMES.c.id == the_id).values(**left))
            # The dump claims its data sets and its good volumes again, as before its commit.
            for table, archived, claimed in (
                (DATASETS, DataSetState.ARCHIVED, DataSetState.CLAIMED),
                (VOLUMES, VolumeState.ARCHIVED, VolumeState.CLAIMED),
            ):
                its = (table.c.dump_id == dump.id) & (table.c.state == archived)
                connection.execute(update(table).where(its).values(state=claimed))
            # If ``new`` is ``old``, an earlier attempt left it set aside.
            own = (VOLUMES.c.tag == new.tag) & (VOLUMES.c.dump_id == dump.id) & (VOLUMES.c.uuid == new.uuid)
            connection.execute(update(VOLUMES).where(own).values(state=VolumeState.CLAIMED, reason=""))
            volumes.claim(connection, [new], dump.id)
            the_id = connection.scalar(select(VOLUMES.c.id).where(VOLUMES.c.tag == new.tag))
            connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump.id, COPIES.c.volume_id == the_id))
            row = {"dump_id": dump.id, "volume_id": the_id, "copy": new.copy, "touched": True, "error": UNFINISHED}
            connection.execute(insert(COPIES).values(row))

        self._database.step(partial(volumes.is_claimed, volume=new), replace)
        its = select(VOLUMES.c.dump_id).where(VOLUMES.c.tag == new.tag)
        dump = DumpId(self._database.read(lambda connection: connection.scalars(its).one()))
        self._claimed.add(dump)
        return dump

    def replaced(self, dump: DumpId, volume: VolumeRecord, copy: Written) -> None:
        """Enter how the copy that was made again was written; raises WrongState, ClaimLost."""

        def enter(connection: Connection) -> None:
            now = self._clock()
            self._move(connection, dump, (DumpState.VERIFYING,), DumpState.VERIFYING, heartbeat_at=now)
            enter_copy(connection, dump, volume, copy, now)

        self._database.write(enter)

    def record_verification(self, verification: Verification) -> bool:
        """Enter a verification outside a dump, and return whether it proves its volume.

        If not, the volume is set aside, and the data sets on it are not deletable any more. Raises UserError for an
        unknown volume.
        """
        now = self._clock()  # outside the transaction, so that one that is made again is recognized by it
        return self._database.write(proof.record, verification, now)

    def dismiss(self, dump: DumpId) -> None:
        """Release a dump that is over: nothing is left to do for it, and it belongs to nobody.

        A dump that is not over, or belongs to another process, stays unchanged.
        """

        def dismiss(connection: Connection) -> None:
            mine = (DUMPS.c.id == dump) & DUMPS.c.state.in_(_OVER) & owned_by(self._mine(dump))
            connection.execute(update(DUMPS).where(mine).values(**NOBODY))

        self._database.write(dismiss)

    def orphans(self, alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        """Return the dumps that are not over and whose owner is not ``alive``, oldest first."""
        return self._ownerless(_OPEN, alive)

    def undismissed(self, alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        """Return the dumps that are over and were never dismissed, and whose owner is not ``alive``, oldest first."""
        return self._ownerless(_OVER, alive)

    def _ownerless(self, states: Collection[DumpState], alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        """Return the dumps in one of ``states`` whose owner is not ``alive``, oldest first."""
        query = select(DUMPS).where(DUMPS.c.state.in_(states), DUMPS.c.owner_host.is_not(None)).order_by(DUMPS.c.id)

        def look(connection: Connection) -> list[DumpRecord]:
            return [record(connection, row) for row in connection.execute(query).all()]

        # Whether a process is alive is looked up after the transaction: that may take a while.
        return [dump for dump in self._database.read(look) if dump.owner is not None and not alive(dump.owner)]

    def take_over(self, dump: DumpRecord) -> None:
        """Make this ledger's owner the owner of an orphan; raises ClaimLost if it changed since ``dump`` was read."""

        def take(connection: Connection) -> None:
            # Two processes may find the same orphan: the second one finds another owner here.
            as_found = (DUMPS.c.id == dump.id) & (DUMPS.c.state == dump.state) & owned_by(dump.owner)
            values = {"heartbeat_at": self._clock(), **owner_values(self._owner)}
            if connection.execute(update(DUMPS).where(as_found).values(**values)).rowcount != 1:
                raise ClaimLost(f"dump {dump.id}", "another process has taken it up already")

        self._database.step(partial(stands, dump=dump.id, state=dump.state, owner=self._owner), take)
        self._claimed.add(dump.id)

    def one(self, dump: DumpId) -> DumpRecord:
        """Return one dump; raises UserError if it is unknown."""
        return self._database.read(read_dump, dump)

    def all(self) -> tuple[DumpRecord, ...]:
        """Return every dump, newest first."""

        def look(connection: Connection) -> tuple[DumpRecord, ...]:
            rows = connection.execute(select(DUMPS).order_by(DUMPS.c.id.desc())).all()
            return tuple(record(connection, row) for row in rows)

        return self._database.read(look)

    def incomplete(self) -> list[DumpRecord]:
        """Return the incomplete dumps, which have a good copy and miss another, oldest first."""

        def look(connection: Connection) -> list[DumpRecord]:
            its = select(DUMPS).where(DUMPS.c.state == DumpState.INCOMPLETE).order_by(DUMPS.c.id)
            return [record(connection, row) for row in connection.execute(its).all()]

        return self._database.read(look)

    def of_volume(self, tag: VolumeTag) -> DumpRecord | None:
        """Return the dump on a volume, None for one that has none; raises UserError for an unknown volume."""
        return self._database.read(dump_on, tag)

    def _mine(self, dump: DumpId) -> Owner | None:
        """Return who must own ``dump`` for a step of this ledger: its owner if it has claimed it, else nobody."""
        return self._owner if dump in self._claimed else None

    def _step(self, dump: DumpId, to: DumpState, work: Callable[[Connection], object]) -> None:
        """Do ``work``, which brings a dump to the state ``to``, once, however often the server goes away."""
        self._database.step(partial(stands, dump=dump, state=to, owner=self._mine(dump)), work)

    def _move(
        self, connection: Connection, dump: DumpId, sources: Collection[DumpState], to: DumpState, **values: Any
    ) -> None:
        move(connection, dump, self._mine(dump), sources, to, **values)


def _find_lacking(connection: Connection, tag: VolumeTag) -> DumpRecord:
    """Return the dump whose copy on ``tag`` is not good; raises UserError if there is nothing to make again."""
    volume = volumes.one(connection, tag)
    dump = dump_on(connection, tag)
    if dump is None or not (dump.is_incomplete or dump.state == DumpState.ARCHIVED):
        raise UserError(f"volume {tag} is {volume.state} and holds no copy of a dump that could be made again")
    if volume.state not in _SICK:
        remedy = f"if it is lost or torn, say so first (`papertape volumes retire {tag} --reason lost`)"
        raise UserError(f"volume {tag} is {volume.state} and not known to be bad; {remedy}")
    return dump
