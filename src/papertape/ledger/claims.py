"""Claims on dumps: a step changes a dump only if it is in the right state and belongs to the owner that takes it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select, update

from papertape.errors import ClaimLost, UserError, WrongState
from papertape.ids import DumpId, VolumeTag
from papertape.ledger.records import CopyRecord, DumpRecord, Owner
from papertape.ledger.schema import COPIES, DUMPS, VOLUMES
from papertape.states import DumpState

NOBODY: dict[str, Any] = {"owner_host": None, "owner_pid": None, "owner_started": None}


def owner_values(owner: Owner) -> dict[str, Any]:
    """Return the columns of a dump's row that name its owner."""
    return {"owner_host": owner.host, "owner_pid": owner.pid, "owner_started": owner.started}


def owned_by(owner: Owner | None) -> ColumnElement[bool]:
    """Return the condition that a dump is ``owner``'s (None: nobody's)."""
    if owner is None:
        return DUMPS.c.owner_host.is_(None)
    return and_(*(DUMPS.c[name] == value for name, value in owner_values(owner).items()))


def move(
    connection: Connection,
    dump: DumpId,
    mine: Owner | None,
    sources: Collection[DumpState],
    to: DumpState,
    **values: Any,
) -> None:
    """Bring ``dump`` from one of ``sources`` to the state ``to`` if it is ``mine`` (None: nobody's).

    Raises WrongState if it is in another state, ClaimLost if it belongs to another process.
    """
    # Condition and change are one statement: two processes that both saw the old state cannot both take the step.
    moved = connection.execute(
        update(DUMPS).where(DUMPS.c.id == dump, DUMPS.c.state.in_(sources), owned_by(mine)).values(state=to, **values)
    )
    if moved.rowcount == 1:
        return
    found = read_dump(connection, dump)
    if found.state not in sources:
        raise WrongState(dump, found.state, to)
    raise not_mine(found)


def stands(connection: Connection, dump: DumpId, state: DumpState, owner: Owner | None) -> bool:
    """Whether ``dump`` is in ``state`` and belongs to ``owner`` (None: to nobody)."""
    its = (DUMPS.c.id == dump) & (DUMPS.c.state == state) & owned_by(owner)
    return connection.execute(select(DUMPS.c.id).where(its)).first() is not None


def not_mine(dump: DumpRecord) -> ClaimLost:
    """Return the error for a step of a dump that belongs to another process, or to none."""
    if dump.owner is None:
        return ClaimLost(f"dump {dump.id}", "belongs to no process any more; run it again")
    return ClaimLost(f"dump {dump.id}", f"belongs to process {dump.owner.pid} on {dump.owner.host}")


def read_dump(connection: Connection, dump: DumpId) -> DumpRecord:
    """Return the dump with this id; raises UserError if there is none."""
    row = connection.execute(select(DUMPS).where(DUMPS.c.id == dump)).first()
    if row is None:
        raise UserError(f"dump {dump} is not in the ledger; see `papertape status`")
    return record(connection, row)


def record(connection: Connection, row: Row[Any]) -> DumpRecord:
    """Return the dump of a row of the table of dumps, with its copies by copy number."""
    its_volume = (
        VOLUMES.c.tag.label("volume"),
        VOLUMES.c.uuid,
        VOLUMES.c.state.label("volume_state"),
        VOLUMES.c.reason.label("volume_reason"),
    )
    # The label stays in the table: only a reading of the tape is compared with it.
    columns = [column for column in COPIES.c if column.name not in ("dump_id", "volume_id", "label")]
    copies = connection.execute(
        select(*its_volume, *columns)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .where(COPIES.c.dump_id == row.id)
        .order_by(COPIES.c.copy)
    )
    known = row._asdict()
    host = known.pop("owner_host")
    pid, started = known.pop("owner_pid"), known.pop("owner_started")
    owner = None if host is None else Owner(host, pid, started)
    return DumpRecord(owner=owner, copies=tuple(CopyRecord(**copy._asdict()) for copy in copies), **known)


def unknown_volume(tag: VolumeTag) -> UserError:
    """Return the error for a volume that is not in the ledger."""
    return UserError(f"volume {tag} is not registered; see `papertape volumes show`")


def dump_on(connection: Connection, tag: VolumeTag) -> DumpRecord | None:
    """Return the dump that is on a volume or has claimed it, None for a blank one; raises UserError if unknown."""
    row = connection.execute(select(VOLUMES.c.id, VOLUMES.c.dump_id).where(VOLUMES.c.tag == tag)).first()
    if row is None:
        raise unknown_volume(tag)
    return None if row.dump_id is None else read_dump(connection, row.dump_id)
