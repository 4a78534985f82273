"""Volumes: register, claim and release them, or set them aside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, insert, or_, select, update

from papertape.clock import Clock
from papertape.errors import ClaimLost, NoBlankVolume, UserError
from papertape.ids import DumpId, VolumeTag, VolumeUuid
from papertape.ledger.claims import unknown_volume
from papertape.ledger.database import Database
from papertape.ledger.records import VolumeStatus
from papertape.ledger.schema import COPIES, DUMPS, VOLUMES
from papertape.plan import Volume
from papertape.states import DumpState, VolumeState


class Volumes:
    """The volumes of a ledger; every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, added: Iterable[tuple[VolumeTag, int, int]]) -> None:
        """Register blank volumes ``(tag, copy from 1, capacity in bytes)``; raises UserError for a known tag.

        A volume that is set aside and holds no finished dump becomes blank again: its label is read before writing.
        """
        every = list(added)  # an iterator would be empty when the transaction is made again

        def enter(connection: Connection) -> None:
            known = set(connection.scalars(select(VOLUMES.c.tag)))
            rows: list[dict[str, Any]] = []
            for tag, copy, capacity in every:
                if tag in known and _bring_back(connection, tag, copy, capacity):
                    continue
                if tag in known:
                    raise UserError(f"volume {tag} is registered already; see `papertape volumes show {tag}`")
                if not tag or copy < 1 or capacity < 1:
                    raise UserError(f"volume {tag!r}: needs a tag, a copy number from 1 on and a capacity in bytes")
                known.add(tag)
                rows.append({"tag": tag, "copy": copy, "capacity": capacity, "state": VolumeState.BLANK})
            if rows:
                connection.execute(insert(VOLUMES).values(registered_at=self._clock()), rows)

        self._database.write(enter)

    def retire(self, tag: VolumeTag, reason: str) -> None:
        """Take a volume out of service for good; raises UserError if it is unknown or a dump has it."""

        def retire(connection: Connection) -> None:
            free = (VOLUMES.c.tag == tag) & (VOLUMES.c.state != VolumeState.CLAIMED)
            change = update(VOLUMES).where(free).values(state=VolumeState.RETIRED, reason=reason)
            if connection.execute(change).rowcount != 1:
                dump = one(connection, tag).dump
                raise UserError(
                    f"volume {tag} belongs to dump {dump}, which is not over; run `papertape recover` first"
                )

        self._database.write(retire)

    def one(self, tag: VolumeTag) -> VolumeStatus:
        """Return one volume; raises UserError if it is unknown."""
        return self._database.read(one, tag)

    def all(self) -> tuple[VolumeStatus, ...]:
        """Return every volume, ordered by tag."""
        return self._database.read(lambda connection: tuple(show(connection)))

    def free(self, copies: int, loadable: Collection[VolumeTag]) -> tuple[Volume, ...]:
        """Return the lowest blank tag of each copy that is among the ``loadable`` ones, with a fresh uuid.

        Raises NoBlankVolume if a copy has no blank volume, or none that is loadable.
        """
        return self._database.read(
            lambda connection: tuple(free_one(connection, copy, loadable) for copy in range(1, copies + 1))
        )

    def free_one(self, copy: int, loadable: Collection[VolumeTag]) -> Volume:
        """Return the lowest blank tag of one copy that is among the ``loadable`` ones; raises as ``free`` does."""
        return self._database.read(free_one, copy, loadable)

    def set_aside(self, tag: VolumeTag, reason: str) -> None:
        """Set a volume aside and note why; one that a dump has, or that is retired, stays unchanged."""
        idle = (VOLUMES.c.tag == tag) & VOLUMES.c.state.in_((VolumeState.BLANK, VolumeState.ASIDE))
        change = update(VOLUMES).where(idle).values(state=VolumeState.ASIDE, reason=reason)
        self._database.write(lambda connection: connection.execute(change).rowcount)

    def place(self, tag: VolumeTag, location: str) -> None:
        """Note the place of a volume outside the library; raises UserError if the volume is unknown."""

        def place(connection: Connection) -> None:
            one(connection, tag)
            connection.execute(update(VOLUMES).where(VOLUMES.c.tag == tag).values(location=location))

        self._database.write(place)


def _bring_back(connection: Connection, tag: VolumeTag, copy: int, capacity: int) -> bool:
    """Make a volume blank again if it is set aside and holds no finished dump; return whether it is."""
    finished = (DumpState.WRITTEN, DumpState.VERIFYING, DumpState.INCOMPLETE, DumpState.ARCHIVED)
    dumped = select(COPIES.c.volume_id).join(DUMPS, COPIES.c.dump_id == DUMPS.c.id).where(DUMPS.c.state.in_(finished))
    done = connection.execute(
        update(VOLUMES)
        .where(VOLUMES.c.tag == tag, VOLUMES.c.copy == copy, VOLUMES.c.id.not_in(dumped))
        .where(VOLUMES.c.state == VolumeState.ASIDE)
        .values(state=VolumeState.BLANK, reason="", uuid=None, dump_id=None, capacity=capacity)
    )
    return done.rowcount == 1


def show(connection: Connection, tag: VolumeTag | None = None) -> Iterator[VolumeStatus]:
    """Yield all volumes ordered by tag, or the one with ``tag``."""
    joined = VOLUMES.outerjoin(DUMPS, VOLUMES.c.dump_id == DUMPS.c.id)
    query = select(VOLUMES, DUMPS.c.uuid.label("dump")).select_from(joined).order_by(VOLUMES.c.tag)
    for row in connection.execute(query if tag is None else query.where(VOLUMES.c.tag == tag)):
        yield VolumeStatus(
            tag=row.tag,
            uuid=row.uuid,
            copy=row.copy,
            capacity=row.capacity,
            state=row.state,
            reason=row.reason,
            dump=row.dump,
            registered_at=row.registered_at,
            location=row.location,
        )


def one(connection: Connection, tag: VolumeTag) -> VolumeStatus:
    """Return the volume with ``tag``; raises UserError if there is none."""
    found = next(show(connection, tag), None)
    if found is None:
        raise unknown_volume(tag)
    return found


def claim(connection: Connection, volumes: Iterable[Volume], dump: DumpId) -> None:
    """Give ``dump`` volumes that are blank or that it holds already; raises ClaimLost if one is neither."""
    for volume in volumes:
        held = (VOLUMES.c.state == VolumeState.CLAIMED) & (VOLUMES.c.dump_id == dump) & (VOLUMES.c.uuid == volume.uuid)
        # The conditions are in the UPDATE itself: of two dumps that planned the same blank volume, one gets it.
        taken = connection.execute(
            update(VOLUMES)
            .where(VOLUMES.c.tag == volume.tag, VOLUMES.c.copy == volume.copy)
            .where(or_(VOLUMES.c.state == VolumeState.BLANK, held))
            .values(state=VolumeState.CLAIMED, reason="", uuid=volume.uuid, dump_id=dump)
        )
        if taken.rowcount != 1:
            raise ClaimLost(f"volume {volume.tag}", "not blank any more; plan again")


def is_claimed(connection: Connection, volume: Volume) -> bool:
    """Whether a dump has claimed ``volume`` with this uuid."""
    its = (VOLUMES.c.tag == volume.tag) & (VOLUMES.c.uuid == volume.uuid) & (VOLUMES.c.state == VolumeState.CLAIMED)
    return connection.execute(select(VOLUMES.c.id).where(its)).first() is not None


def of_dump(connection: Connection, dump: DumpId) -> list[Row[Any]]:
    """Return the volumes that ``dump`` has claimed, by copy number."""
    mine = (VOLUMES.c.dump_id == dump) & (VOLUMES.c.state == VolumeState.CLAIMED)
    return list(connection.execute(select(VOLUMES).where(mine).order_by(VOLUMES.c.copy)))


def set_aside(connection: Connection, volume: int, reason: str) -> None:
    """Set the volume with this id aside, and note why."""
    connection.execute(update(VOLUMES).where(VOLUMES.c.id == volume).values(state=VolumeState.ASIDE, reason=reason))


def release(
    connection: Connection, dump: DumpId, reason: str, aside: Mapping[VolumeTag, str], touched: Collection[VolumeTag]
) -> None:
    """Set aside the volumes of ``dump`` that are ``touched`` or in ``aside`` (tag: reason); make the others blank."""
    for volume in of_dump(connection, dump):
        if volume.tag in aside or volume.tag in touched:
            set_aside(connection, volume.id, aside.get(volume.tag, reason))
        else:
            blank = {"state": VolumeState.BLANK, "uuid": None, "dump_id": None}
            connection.execute(update(VOLUMES).where(VOLUMES.c.id == volume.id).values(**blank))
            connection.execute(COPIES.delete().where(COPIES.c.dump_id == dump, COPIES.c.volume_id == volume.id))


def free_one(connection: Connection, copy: int, loadable: Collection[VolumeTag]) -> Volume:
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
    return Volume(row.tag, VolumeUuid(str(uuid4())), copy, row.capacity)
