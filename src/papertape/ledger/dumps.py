"""Dumps: who has which, and every step from planned to its end but the last."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from papertape import __version__
from papertape.errors import ClaimLost, UserError, WrongState
from papertape.ledger import datasets, volumes
from papertape.ledger.records import CopyRecord, DumpRecord, Held, Owner
from papertape.ledger.schema import COPIES, DUMPS, VOLUMES
from papertape.plan import Batch, Volume
from papertape.states import DumpState
from papertape.words import enumerate_names

OPEN = (DumpState.PLANNED, DumpState.WRITING, DumpState.WRITTEN, DumpState.VERIFYING)
OVER = (DumpState.ARCHIVED, DumpState.INCOMPLETE, DumpState.FAILED, DumpState.ABANDONED)
WHOLE = (DumpState.WRITTEN, DumpState.VERIFYING)
_NOBODY: dict[str, Any] = {"owner_host": None, "owner_pid": None, "owner_started": None}


def owner_values(owner: Owner) -> dict[str, Any]:
    """Return what a dump's row says of its owner."""
    return {"owner_host": owner.host, "owner_pid": owner.pid, "owner_started": owner.started}


def _owned_by(owner: Owner | None) -> ColumnElement[bool]:
    if owner is None:
        return DUMPS.c.owner_host.is_(None)
    return and_(*(DUMPS.c[name] == value for name, value in owner_values(owner).items()))


def move(
    connection: Connection, dump: int, mine: Owner | None, sources: Collection[str], to: str, **values: Any
) -> None:
    """Bring ``dump`` from one of ``sources`` to the state ``to``, on condition that it is ``mine`` (None: nobody's).

    Raises WrongState if it is in another state, ClaimLost if it belongs to another process.
    """
    moved = connection.execute(
        update(DUMPS).where(DUMPS.c.id == dump, DUMPS.c.state.in_(sources), _owned_by(mine)).values(state=to, **values)
    )
    if moved.rowcount == 1:
        return
    found = one(connection, dump)
    if found.state not in sources:
        raise WrongState(dump, found.state, to)
    raise _not_mine(found)


def stands(connection: Connection, dump: int, state: str, owner: Owner | None) -> bool:
    """Whether ``dump`` is in that state and ``owner``'s (None: nobody's)."""
    its = (DUMPS.c.id == dump) & (DUMPS.c.state == state) & _owned_by(owner)
    return connection.execute(select(DUMPS.c.id).where(its)).first() is not None


def is_begun(connection: Connection, uuid: str, owner: Owner) -> bool:
    """Whether ``owner`` has claimed the dump with this uuid."""
    its = (DUMPS.c.uuid == uuid) & (DUMPS.c.state == DumpState.PLANNED) & _owned_by(owner)
    return connection.execute(select(DUMPS.c.id).where(its)).first() is not None


def number_of(connection: Connection, uuid: str) -> int:
    """Return the id of the dump with this uuid, which is there."""
    return int(connection.execute(select(DUMPS.c.id).where(DUMPS.c.uuid == uuid)).scalar_one())


def _not_mine(dump: DumpRecord) -> ClaimLost:
    if dump.owner is None:
        return ClaimLost(f"dump {dump.id}", "belongs to no process any more; run it again")
    return ClaimLost(f"dump {dump.id}", f"belongs to process {dump.owner.pid} on {dump.owner.host}")


def begin(connection: Connection, batch: Batch, owner: Owner, now: datetime) -> None:
    """Claim all that ``batch`` names for a new dump, or for the held one of this uuid; raises ClaimLost."""
    sets = [dataset for archive in batch.archives for dataset in archive]
    counts = {
        "datasets": len(sets),
        "files": sum(dataset.files for dataset in sets),
        "size": sum(dataset.size for dataset in sets),
        "block_size": batch.block_size,
        "version": __version__,
    }
    dump = _claim_dump(connection, batch.dump, {**counts, **owner_values(owner), "heartbeat_at": now}, now)
    _claim_volumes(connection, batch.volumes, dump)
    datasets.claim(connection, chain.from_iterable(batch.archives), dump)
    datasets.reject(connection, batch.refused)


def _claim_dump(connection: Connection, uuid: str, values: Mapping[str, Any], now: datetime) -> int:
    found = connection.execute(select(DUMPS.c.id, DUMPS.c.state).where(DUMPS.c.uuid == uuid)).first()
    if found is None:
        row = {**values, "uuid": uuid, "state": DumpState.PLANNED, "started_at": now}
        connection.execute(insert(DUMPS).values(row))
        return number_of(connection, uuid)
    taken = connection.execute(
        update(DUMPS)
        .where(DUMPS.c.id == found.id, DUMPS.c.state == DumpState.PLANNED, _owned_by(None))
        .values(reason="", **values)
    )
    if taken.rowcount != 1:
        raise ClaimLost(f"dump {uuid}", f"is {found.state} and not held; plan again")
    return int(found.id)


def _claim_volumes(connection: Connection, batch: Sequence[Volume], dump: int) -> None:
    volumes.claim(connection, batch, dump)
    claimed = volumes.of_dump(connection, dump)
    left_out = {volume.tag for volume in claimed} - {volume.tag for volume in batch}
    if left_out:
        raise ClaimLost(
            f"dump {dump}", f"holds {enumerate_names(sorted(left_out))} too; plan with the volumes it holds"
        )
    connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump))
    rows = [{"dump_id": dump, "volume_id": volume.id, "copy": volume.copy} for volume in claimed]
    if rows:
        connection.execute(insert(COPIES), rows)


def heartbeat(connection: Connection, dump: int, mine: Owner | None, now: datetime) -> None:
    """Say that the dump's process is alive; raises ClaimLost if the dump is not its any more."""
    done = connection.execute(update(DUMPS).where(DUMPS.c.id == dump, _owned_by(mine)).values(heartbeat_at=now))
    if done.rowcount != 1:
        raise _not_mine(one(connection, dump))


def hold(connection: Connection, dump: int, mine: Owner | None, reason: str) -> None:
    """Keep the volumes for this very dump, let its data sets wait, and let any process take it up."""
    move(connection, dump, mine, (DumpState.PLANNED, DumpState.WRITING), DumpState.PLANNED, reason=reason, **_NOBODY)
    datasets.release(connection, dump)


def held(connection: Connection) -> tuple[Held, ...]:
    """Return the dumps that are held, oldest first."""
    rows = connection.execute(
        select(DUMPS).where(DUMPS.c.state == DumpState.PLANNED, _owned_by(None)).order_by(DUMPS.c.id)
    ).all()
    return tuple(Held(row.id, row.uuid, row.reason, _volumes_of(connection, row.id)) for row in rows)


def _volumes_of(connection: Connection, dump: int) -> tuple[Volume, ...]:
    return tuple(Volume(row.tag, row.uuid, row.copy, row.capacity) for row in volumes.of_dump(connection, dump))


def fail(
    connection: Connection,
    dump: int,
    mine: Owner | None,
    reason: str,
    now: datetime,
    *,
    aside: Mapping[str, str],
    touched: Collection[str],
) -> None:
    """End a dump that came to nothing: its data sets wait again, its volumes are aside, or blank if never touched."""
    move(connection, dump, mine, OPEN, DumpState.FAILED, reason=reason, ended_at=now)
    wrote = select(VOLUMES.c.tag).join(COPIES, COPIES.c.volume_id == VOLUMES.c.id)
    known = connection.scalars(wrote.where(COPIES.c.dump_id == dump, COPIES.c.touched))
    volumes.release(connection, dump, reason, aside, {*touched, *known})
    datasets.release(connection, dump)


def leave_incomplete(
    connection: Connection, dump: int, mine: Owner | None, reason: str, aside: Mapping[str, str]
) -> None:
    """Say that a dump has good copies and lacks those on ``aside`` (tag: reason), which can be made again from them."""
    move(connection, dump, mine, WHOLE, DumpState.INCOMPLETE, reason=reason)
    for volume in volumes.of_dump(connection, dump):
        if volume.tag in aside:
            volumes.set_aside(connection, volume.id, aside[volume.tag])


def incomplete(connection: Connection) -> list[DumpRecord]:
    """Return the dumps that lack a good copy and have one, oldest first."""
    its = select(DUMPS).where(DUMPS.c.state == DumpState.INCOMPLETE)
    rows = connection.execute(its.order_by(DUMPS.c.id)).all()
    return [_record(connection, row) for row in rows]


def abandon(connection: Connection, dump: int, mine: Owner | None, reason: str, now: datetime) -> None:
    """End a dump that never touched a tape: its data sets wait again, its volumes are blank again."""
    begun = (DumpState.PLANNED, DumpState.WRITING)
    move(connection, dump, mine, begun, DumpState.ABANDONED, reason=reason, ended_at=now)
    volumes.release(connection, dump, reason, {}, set())
    datasets.release(connection, dump)


def owned(connection: Connection, states: Collection[str]) -> list[DumpRecord]:
    """Return the dumps in ``states`` that belong to a process, oldest first."""
    rows = connection.execute(
        select(DUMPS).where(DUMPS.c.state.in_(states), DUMPS.c.owner_host.is_not(None)).order_by(DUMPS.c.id)
    )
    return [_record(connection, row) for row in rows.all()]


def dismiss(connection: Connection, dump: int, mine: Owner | None) -> None:
    """Let a dump of one's own that is over belong to nobody; one that is not over stays as it is."""
    connection.execute(
        update(DUMPS).where(DUMPS.c.id == dump, DUMPS.c.state.in_(OVER), _owned_by(mine)).values(**_NOBODY)
    )


def take_over(connection: Connection, dump: DumpRecord, owner: Owner, now: datetime) -> None:
    """Make ``owner`` the owner of a dump found as ``dump`` says; raises ClaimLost if that is not so any more."""
    taken = connection.execute(
        update(DUMPS)
        .where(DUMPS.c.id == dump.id, DUMPS.c.state == dump.state, _owned_by(dump.owner))
        .values(heartbeat_at=now, **owner_values(owner))
    )
    if taken.rowcount != 1:
        raise ClaimLost(f"dump {dump.id}", "another process has taken it up already")


def start_verifying(connection: Connection, dump: int, mine: Owner | None, owner: Owner, now: datetime) -> None:
    """Say that the dump's copies are being read back by ``owner``; once more, if a reading was cut short."""
    move(connection, dump, mine, WHOLE, DumpState.VERIFYING, heartbeat_at=now, **owner_values(owner))


def one(connection: Connection, dump: int) -> DumpRecord:
    """Return the dump with this id; raises UserError if there is none."""
    row = connection.execute(select(DUMPS).where(DUMPS.c.id == dump)).first()
    if row is None:
        raise UserError(f"dump {dump} is not in the ledger; see `papertape status`")
    return _record(connection, row)


def by_uuid(connection: Connection, uuid: str) -> DumpRecord | None:
    """Return the dump with this uuid, None if there is none."""
    row = connection.execute(select(DUMPS).where(DUMPS.c.uuid == uuid)).first()
    return None if row is None else _record(connection, row)


def of_volume(connection: Connection, tag: str) -> DumpRecord | None:
    """Return the dump that lies on a volume or has claimed it, None for a blank one; raises UserError if unknown."""
    uuid = volumes.one(connection, tag).dump
    return None if uuid is None else by_uuid(connection, uuid)


def every(connection: Connection) -> Iterator[DumpRecord]:
    """Yield every dump, newest first."""
    for row in connection.execute(select(DUMPS).order_by(DUMPS.c.id.desc())).all():
        yield _record(connection, row)


def _record(connection: Connection, row: Row[Any]) -> DumpRecord:
    known = row._asdict()
    host = known.pop("owner_host")
    pid, started = known.pop("owner_pid"), known.pop("owner_started")
    owner = None if host is None else Owner(host, pid, started)
    return DumpRecord(owner=owner, copies=_copies(connection, row.id), **known)


def _copies(connection: Connection, dump: int) -> tuple[CopyRecord, ...]:
    columns = [column for column in COPIES.c if column.name not in ("dump_id", "volume_id", "label")]
    rows = connection.execute(
        select(VOLUMES.c.tag.label("volume"), VOLUMES.c.uuid, *columns)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .where(COPIES.c.dump_id == dump)
        .order_by(COPIES.c.copy)
    )
    return tuple(CopyRecord(**row._asdict()) for row in rows)
