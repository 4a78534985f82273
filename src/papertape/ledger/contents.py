"""What lies on a dump's tapes, as the ledger knows it: what a reading of them is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from papertape.errors import HostError
from papertape.ledger.records import Extent, Rejected
from papertape.ledger.schema import COPIES, MEMBERS, REJECTIONS, TAPE_FILES, VOLUMES
from papertape.volume.members import Member, TapeFile, VolumeRecord
from papertape.volume.names import unquote

PAGE = 5000
"""How many members are asked for at a time."""


def page_of_members(connection: Connection, dump: int, start: int) -> list[Member]:
    """Return the members from the one numbered ``start`` on, at most ``PAGE``, in tape order."""
    rows = connection.execute(
        select(*(MEMBERS.c[name] for name in Member._fields))
        .where(MEMBERS.c.dump_id == dump, MEMBERS.c.seq >= start)
        .order_by(MEMBERS.c.seq)
        .limit(PAGE)
    )
    return [read_member(Member._make(row)) for row in rows]


def own_members(connection: Connection, dump: int) -> list[Member]:
    """Return the members that papertape added, from tape file 1 on, in tape order."""
    columns = [MEMBERS.c[name] for name in Member._fields]
    own = (MEMBERS.c.dump_id == dump) & MEMBERS.c.dataset.is_(None)
    rows = connection.execute(select(*columns).where(own).order_by(MEMBERS.c.seq))
    return [read_member(Member._make(row)) for row in rows]


def extents(connection: Connection, dump: int) -> list[Extent]:
    """Return where each data set lies, and papertape's own members of each tape file, in tape order.

    Each ends where the next one begins: between members there is nothing.
    """
    sizes = {tape_file.number: tape_file.size for tape_file in tape_files(connection, dump)}
    place = (MEMBERS.c.tape_file, MEMBERS.c.dataset)
    rows = connection.execute(
        select(*place, func.min(MEMBERS.c.offset), func.count())
        .where(MEMBERS.c.dump_id == dump)
        .group_by(*place)
        .order_by(func.min(MEMBERS.c.seq))
    )
    found: list[Extent] = []
    for tape_file, number, begin, members in rows:
        if found and found[-1].tape_file == tape_file:
            found[-1] = found[-1]._replace(end=begin)
        found.append(Extent(-1 if number is None else number, tape_file, begin, sizes[tape_file], members))
    return found


def read_member(row: Any) -> Member:
    """Return the member that a row of the ledger says; raises HostError for a name that is none."""
    try:
        name = unquote(row.name)
    except ValueError as error:
        remedy = "its database is damaged; bring back a backup of it"
        raise HostError(
            "the ledger", f"a member in it has a name that papertape never writes ({error}): {remedy}"
        ) from error
    member: Member = row._replace(name=name, dataset=-1 if row.dataset is None else row.dataset)
    return member


def rejections(connection: Connection, dump: int) -> dict[int, Rejected]:
    """Return what was rejected while the dump was written, by number in the dump."""
    columns = (REJECTIONS.c.number, REJECTIONS.c.source, REJECTIONS.c.reason)
    rows = connection.execute(select(*columns).where(REJECTIONS.c.dump_id == dump).order_by(REJECTIONS.c.number))
    return {number: Rejected(source, reason) for number, source, reason in rows}


def tape_files(connection: Connection, dump: int) -> tuple[TapeFile, ...]:
    """Return a dump's tape files from 1 on."""
    columns = [TAPE_FILES.c[name] for name in TapeFile._fields]
    query = select(*columns).where(TAPE_FILES.c.dump_id == dump).order_by(TAPE_FILES.c.number)
    return tuple(TapeFile(*row) for row in connection.execute(query))


def volume_records(connection: Connection, dump: int) -> tuple[VolumeRecord, ...]:
    """Return the twins of a dump, labels included, by copy number."""
    rows = connection.execute(
        select(VOLUMES.c.tag, VOLUMES.c.uuid, COPIES.c.copy, COPIES.c.label)
        .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
        .where(COPIES.c.dump_id == dump, COPIES.c.label.is_not(None))
        .order_by(COPIES.c.copy)
    )
    return tuple(_volume_record(*row) for row in rows)


def _volume_record(tag: str, uuid: str, copy: int, label: Mapping[str, Any]) -> VolumeRecord:
    own = tuple(Member(unquote(name), *rest) for name, *rest in label["members"])
    return VolumeRecord(
        tag=tag,
        uuid=uuid,
        copy=copy,
        drive_serial=label["drive_serial"],
        label=TapeFile(*label["label"]),
        label_members=own,
    )
