"""Volumes: registering, claiming, setting aside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, insert, or_, select, update

from papertape.errors import ClaimLost, NoBlankVolume, UserError
from papertape.ledger.records import VolumeStatus
from papertape.ledger.schema import COPIES, DUMPS, VOLUMES
from papertape.plan import Volume
from papertape.states import DumpState, VolumeState


def add(connection: Connection, volumes: Iterable[tuple[str, int, int]], now: datetime) -> None:
    """Enter blank volumes, each ``(tag, copy, capacity in bytes)``; raises UserError for a tag that is known.

    One that is set aside and holds no finished dump may come back: before writing, the tape itself is asked.
    """
    known = set(connection.scalars(select(VOLUMES.c.tag)))
    rows = []
    for tag, copy, capacity in volumes:
        if tag in known and _bring_back(connection, tag, copy, capacity):
            continue
        if tag in known:
            raise UserError(f"volume {tag} is registered already; see `papertape volumes show {tag}`")
        if not tag or copy < 1 or capacity < 1:
            raise UserError(f"volume {tag!r}: needs a tag, a copy number from 1 on and a capacity in bytes")
        known.add(tag)
        rows.append({"tag": tag, "copy": copy, "capacity": capacity, "state": VolumeState.BLANK, "registered_at": now})
    if rows:
        connection.execute(insert(VOLUMES), rows)


def _bring_back(connection: Connection, tag: str, copy: int, capacity: int) -> bool:
    """Make a volume blank again that is set aside and holds no finished dump; return whether it is one."""
    finished = (DumpState.WRITTEN, DumpState.VERIFYING, DumpState.INCOMPLETE, DumpState.ARCHIVED)
    dumped = select(COPIES.c.volume_id).join(DUMPS, COPIES.c.dump_id == DUMPS.c.id).where(DUMPS.c.state.in_(finished))
    done = connection.execute(
        update(VOLUMES)
        .where(VOLUMES.c.tag == tag, VOLUMES.c.copy == copy, VOLUMES.c.id.not_in(dumped))
        .where(VOLUMES.c.state == VolumeState.ASIDE)
        .values(state=VolumeState.BLANK, reason="", uuid=None, dump_id=None, capacity=capacity)
    )
    return done.rowcount == 1


def show(connection: Connection, tag: str | None = None) -> Iterator[VolumeStatus]:
    """Yield all volumes ordered by tag, or the one with ``tag``."""
    joined = VOLUMES.outerjoin(DUMPS, VOLUMES.c.dump_id == DUMPS.c.id)
    query = select(VOLUMES, DUMPS.c.uuid.label("dump")).select_from(joined).order_by(VOLUMES.c.tag)
    for row in connection.execute(query if tag is None else query.where(VOLUMES.c.tag == tag)):
        yield VolumeStatus(
            row.tag,
            row.uuid,
            row.copy,
            row.capacity,
            row.state,
            row.reason,
            row.dump,
            row.registered_at,
            row.location,
        )


def one(connection: Connection, tag: str) -> VolumeStatus:
    """Return the volume with ``tag``; raises UserError if there is none."""
    found = next(show(connection, tag), None)
    if found is None:
        raise UserError(f"volume {tag} is not registered; see `papertape volumes show`")
    return found


def retire(connection: Connection, tag: str, reason: str) -> None:
    """Take a volume out of service for good; raises UserError if a dump has it, or there is none."""
    free = VOLUMES.c.state != VolumeState.CLAIMED
    done = connection.execute(
        update(VOLUMES).where(VOLUMES.c.tag == tag, free).values(state=VolumeState.RETIRED, reason=reason)
    )
    if done.rowcount != 1:
        dump = one(connection, tag).dump
        raise UserError(f"volume {tag} belongs to dump {dump}, which is not over; run `papertape recover` first")


def free(connection: Connection, copies: int, loadable: Collection[str]) -> tuple[Volume, ...]:
    """Return the lowest blank and ``loadable`` volume of each copy, with a fresh uuid; raises like ``free_one``."""
    return tuple(free_one(connection, copy, loadable) for copy in range(1, copies + 1))


def free_one(connection: Connection, copy: int, loadable: Collection[str]) -> Volume:
    """Return the lowest blank and ``loadable`` volume of one copy, with a fresh uuid.

    Raises NoBlankVolume if the copy has no blank one, or none that is loadable.
    """
    blank = connection.execute(
        select(VOLUMES.c.tag, VOLUMES.c.capacity)
        .where(VOLUMES.c.state == VolumeState.BLANK, VOLUMES.c.copy == copy)
        .order_by(VOLUMES.c.tag)
    ).all()
    if not blank:
        raise NoBlankVolume(copy, "register one with `papertape volumes add`")
    row = next((row for row in blank if row.tag in loadable), None)
    if row is None:
        more = " or another blank one" if len(blank) > 1 else ""
        raise NoBlankVolume(copy, f"none is in the library; put {blank[0].tag}{more} into a slot")
    return Volume(row.tag, str(uuid4()), copy, row.capacity)


def claim(connection: Connection, volumes: Iterable[Volume], dump: int) -> None:
    """Give blank volumes, or those that ``dump`` holds already, to it; raises ClaimLost if one is neither."""
    for volume in volumes:
        held = (VOLUMES.c.state == VolumeState.CLAIMED) & (VOLUMES.c.dump_id == dump) & (VOLUMES.c.uuid == volume.uuid)
        taken = connection.execute(
            update(VOLUMES)
            .where(VOLUMES.c.tag == volume.tag, VOLUMES.c.copy == volume.copy)
            .where(or_(VOLUMES.c.state == VolumeState.BLANK, held))
            .values(state=VolumeState.CLAIMED, reason="", uuid=volume.uuid, dump_id=dump)
        )
        if taken.rowcount != 1:
            raise ClaimLost(f"volume {volume.tag}", "not blank any more; plan again")


def is_claimed(connection: Connection, volume: Volume) -> bool:
    """Whether a dump has ``volume`` under this very uuid."""
    its = (VOLUMES.c.tag == volume.tag) & (VOLUMES.c.uuid == volume.uuid) & (VOLUMES.c.state == VolumeState.CLAIMED)
    return connection.execute(select(VOLUMES.c.id).where(its)).first() is not None


def of_dump(connection: Connection, dump: int) -> list[Row[Any]]:
    """Return the volumes that ``dump`` has claimed, by copy number."""
    mine = (VOLUMES.c.dump_id == dump) & (VOLUMES.c.state == VolumeState.CLAIMED)
    return list(connection.execute(select(VOLUMES).where(mine).order_by(VOLUMES.c.copy)))


def set_aside(connection: Connection, volume: int, reason: str) -> None:
    """Say that the volume with this id is not to be used, and why."""
    connection.execute(update(VOLUMES).where(VOLUMES.c.id == volume).values(state=VolumeState.ASIDE, reason=reason))


def set_aside_blank(connection: Connection, tag: str, reason: str) -> None:
    """Say that a volume that no dump has is not to be used, and why."""
    idle = VOLUMES.c.state.in_((VolumeState.BLANK, VolumeState.ASIDE))
    change = {"state": VolumeState.ASIDE, "reason": reason}
    connection.execute(update(VOLUMES).where(VOLUMES.c.tag == tag, idle).values(**change))


def place(connection: Connection, tag: str, location: str) -> None:
    """Note where a volume lies outside the library; raises UserError if it is unknown."""
    one(connection, tag)
    connection.execute(update(VOLUMES).where(VOLUMES.c.tag == tag).values(location=location))


def release(connection: Connection, dump: int, reason: str, aside: Mapping[str, str], touched: set[str]) -> None:
    """Set aside what ``dump`` wrote to, or what ``aside`` names with a reason of its own; the rest is blank again."""
    for volume in of_dump(connection, dump):
        if volume.tag in aside or volume.tag in touched:
            set_aside(connection, volume.id, aside.get(volume.tag, reason))
        else:
            blank = {"state": VolumeState.BLANK, "uuid": None, "dump_id": None}
            connection.execute(update(VOLUMES).where(VOLUMES.c.id == volume.id).values(**blank))
            connection.execute(COPIES.delete().where(COPIES.c.dump_id == dump, COPIES.c.volume_id == volume.id))
