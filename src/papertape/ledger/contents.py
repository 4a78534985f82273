"""The contents of a dump's tapes, as the ledger knows them: a reading of the tapes is compared with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from papertape.errors import HostError
from papertape.ids import DumpId, VolumeTag, VolumeUuid
from papertape.ledger.claims import read_dump
from papertape.ledger.database import Database
from papertape.ledger.records import Extent, Rejected
from papertape.ledger.schema import COPIES, MEMBERS, REJECTIONS, TAPE_FILES, VOLUMES
from papertape.volume.members import Expected, Member, TapeFile, VolumeRecord
from papertape.volume.names import unquote

PAGE = 5000
"""How many members are asked for at a time."""


class Contents:
    """The contents of the dumps of a ledger; every method is one transaction, if it does not say otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expected(self, dump: DumpId) -> Expected:
        """Return what a volume of a written dump must hold; raises UserError if the dump is unknown."""
        found = self._database.read(read_dump, dump)
        return Expected(
            dump=found.uuid,
            block_size=found.block_size,
            volumes=self.volume_records(dump),
            tape_files=self.tape_files(dump),
            members=partial(self.members, dump),
            rejected=frozenset(self.rejections(dump)),
        )

    def members(self, dump: DumpId) -> Iterator[Member]:
        """Yield every member of a dump from tape file 1 on in tape order, the catalog's own last.

        No transaction stays open between two pages: a tape takes hours to read, and what was written never changes.
        """
        start = 0
        while page := self._database.read(_page, MEMBERS.c.dump_id == dump, start):
            for seq, member in page:
                yield member
                start = seq + 1

    def dataset_members(self, dump: DumpId, number: int) -> Iterator[Member]:
        """Yield the members of one data set of a dump in tape order, page by page as ``members`` does."""
        start, its = 0, (MEMBERS.c.dump_id == dump) & (MEMBERS.c.dataset == number)
        while page := self._database.read(_page, its, start):
            for seq, member in page:
                yield member
                start = seq + 1

    def own_members(self, dump: DumpId) -> list[Member]:
        """Return the members that papertape added to a dump's tape files from 1 on, in tape order."""
        own = (MEMBERS.c.dump_id == dump) & MEMBERS.c.dataset.is_(None)
        query = select(*_MEMBER).where(own).order_by(MEMBERS.c.seq)
        return self._database.read(
            lambda connection: [_read_member(Member._make(row)) for row in connection.execute(query)]
        )

    def extents(self, dump: DumpId) -> list[Extent]:
        """Return where a dump's data sets lie, rejected ones included, and papertape's own members; in tape order.

        Each ends where the next one begins: between members there is nothing.
        """
        place = (MEMBERS.c.tape_file, MEMBERS.c.dataset)
        query = (
            select(*place, func.min(MEMBERS.c.offset), func.count())
            .where(MEMBERS.c.dump_id == dump)
            .group_by(*place)
            .order_by(func.min(MEMBERS.c.seq))
        )

        def look(connection: Connection) -> list[Extent]:
            sizes = {tape_file.number: tape_file.size for tape_file in tape_files(connection, dump)}
            found: list[Extent] = []
            for tape_file, number, begin, members in connection.execute(query):
                if found and found[-1].tape_file == tape_file:
                    found[-1] = replace(found[-1], end=begin)
                its = -1 if number is None else number
                end = sizes[tape_file]
                found.append(Extent(number=its, tape_file=tape_file, begin=begin, end=end, members=members))
            return found

        return self._database.read(look)

    def rejections(self, dump: DumpId) -> dict[int, Rejected]:
        """Return the data sets that were rejected while a dump was written, by their number in the dump."""
        columns = (REJECTIONS.c.number, REJECTIONS.c.source, REJECTIONS.c.reason)
        query = select(*columns).where(REJECTIONS.c.dump_id == dump).order_by(REJECTIONS.c.number)
        return self._database.read(
            lambda connection: {
                number: Rejected(source, reason) for number, source, reason in connection.execute(query)
            }
        )

    def tape_files(self, dump: DumpId) -> tuple[TapeFile, ...]:
        """Return a dump's tape files from 1 on."""
        return self._database.read(tape_files, dump)

    def volume_records(self, dump: DumpId) -> tuple[VolumeRecord, ...]:
        """Return the twins of a written dump with their labels, by copy number."""
        query = (
            select(VOLUMES.c.tag, VOLUMES.c.uuid, COPIES.c.copy, COPIES.c.label)
            .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
            .where(COPIES.c.dump_id == dump, COPIES.c.label.is_not(None))
            .order_by(COPIES.c.copy)
        )
        return self._database.read(lambda connection: tuple(_volume_record(*row) for row in connection.execute(query)))


_MEMBER = [MEMBERS.c[name] for name in Member._fields]


def _page(connection: Connection, its: ColumnElement[bool], start: int) -> list[tuple[int, Member]]:
    """Return at most ``PAGE`` members from the place ``start`` in the dump on, in tape order, with their places."""
    query = select(MEMBERS.c.seq, *_MEMBER).where(its, MEMBERS.c.seq >= start).order_by(MEMBERS.c.seq).limit(PAGE)
    return [(seq, _read_member(Member._make(values))) for seq, *values in connection.execute(query)]


def _read_member(row: Any) -> Member:
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


def tape_files(connection: Connection, dump: DumpId) -> tuple[TapeFile, ...]:
    """Return a dump's tape files from 1 on."""
    columns = [TAPE_FILES.c[name] for name in TapeFile._fields]
    query = select(*columns).where(TAPE_FILES.c.dump_id == dump).order_by(TAPE_FILES.c.number)
    return tuple(TapeFile(*row) for row in connection.execute(query))


def _volume_record(tag: VolumeTag, uuid: VolumeUuid, copy: int, label: Mapping[str, Any]) -> VolumeRecord:
    own = tuple(Member(unquote(name), *rest) for name, *rest in label["members"])
    return VolumeRecord(
        tag=tag,
        uuid=uuid,
        copy=copy,
        drive_serial=label["drive_serial"],
        label=TapeFile(*label["label"]),
        label_members=own,
    )
