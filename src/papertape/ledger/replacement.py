"""A copy made again: a blank volume takes the place of one that is sick, lost or was never whole."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from papertape.errors import ClaimLost, UserError
from papertape.evidence import Written
from papertape.ledger import dumps, volumes
from papertape.ledger import written as evidence
from papertape.ledger.records import DumpRecord, Owner
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, VOLUMES
from papertape.plan import Volume
from papertape.states import DataSetState, DumpState, VolumeState
from papertape.volume.members import VolumeRecord

UNFINISHED = "was not written to its end"
"""The error of a copy that is being made again; it stays if the process that makes it dies."""

_SICK = (VolumeState.ASIDE, VolumeState.RETIRED)


def find_lacking(connection: Connection, tag: str) -> DumpRecord:
    """Return the dump whose copy on ``tag`` is not good; raises UserError if there is nothing to make again."""
    volume = volumes.one(connection, tag)
    dump = dumps.of_volume(connection, tag)
    if dump is None or not (dump.is_incomplete or dump.state == DumpState.ARCHIVED):
        raise UserError(f"volume {tag} is {volume.state} and holds no copy of a dump that could be made again")
    if volume.state not in _SICK:
        remedy = f"if it is lost or torn, say so first (`papertape volumes retire {tag} --reason lost`)"
        raise UserError(f"volume {tag} is {volume.state} and not known to be bad; {remedy}")
    return dump


def begin(connection: Connection, old: str, new: Volume, owner: Owner, now: datetime) -> None:
    """Give the blank volume ``new`` to the dump in the place of ``old``.

    Nothing of the dump counts as archived until it is proven again. Raises UserError, ClaimLost.
    """
    dump = find_lacking(connection, old)
    taken = connection.execute(
        update(DUMPS)
        .where(DUMPS.c.id == dump.id, DUMPS.c.state == dump.state)
        .values(state=DumpState.VERIFYING, heartbeat_at=now, **dumps.owner_values(owner))
    )
    if taken.rowcount != 1:
        raise ClaimLost(f"dump {dump.id}", "another process has taken it up already")
    if new.tag != old:
        _release(connection, dump.id, old, new.tag)
    _claim(connection, dump.id, new)


def dump_of(connection: Connection, volume: Volume) -> int:
    """Return the id of the dump that has ``volume``."""
    its = VOLUMES.c.tag == volume.tag
    return int(connection.execute(select(VOLUMES.c.dump_id).where(its)).scalar_one())


def _release(connection: Connection, dump: int, old: str, new: str) -> None:
    """Take ``old`` out of the dump; it stays out of use, and says by what it was replaced."""
    the_id, reason = connection.execute(select(VOLUMES.c.id, VOLUMES.c.reason).where(VOLUMES.c.tag == old)).one()
    connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump, COPIES.c.volume_id == the_id))
    connection.execute(
        update(VOLUMES).where(VOLUMES.c.id == the_id).values(dump_id=None, reason=f"replaced by {new}: {reason}")
    )


def _claim(connection: Connection, dump: int, new: Volume) -> None:
    its = (DATASETS.c.dump_id == dump) & (DATASETS.c.state == DataSetState.ARCHIVED)
    connection.execute(update(DATASETS).where(its).values(state=DataSetState.CLAIMED))
    good = (VOLUMES.c.dump_id == dump) & (VOLUMES.c.state == VolumeState.ARCHIVED)
    connection.execute(update(VOLUMES).where(good).values(state=VolumeState.CLAIMED))
    own = (VOLUMES.c.tag == new.tag) & (VOLUMES.c.dump_id == dump) & (VOLUMES.c.uuid == new.uuid)
    connection.execute(update(VOLUMES).where(own).values(state=VolumeState.CLAIMED, reason=""))
    volumes.claim(connection, [new], dump)
    the_id = connection.scalar(select(VOLUMES.c.id).where(VOLUMES.c.tag == new.tag))
    connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump, COPIES.c.volume_id == the_id))
    row = {"dump_id": dump, "volume_id": the_id, "copy": new.copy, "touched": True, "error": UNFINISHED}
    connection.execute(insert(COPIES).values(row))


def written(
    connection: Connection, dump: int, mine: Owner | None, record: VolumeRecord, copy: Written, now: datetime
) -> None:
    """Enter how the new copy was written; raises WrongState, ClaimLost."""
    verifying = (DumpState.VERIFYING,)
    dumps.move(connection, dump, mine, verifying, DumpState.VERIFYING, heartbeat_at=now)
    evidence.enter_copy(connection, dump, record, copy, now)
