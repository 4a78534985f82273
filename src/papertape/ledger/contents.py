"""The contents of a dump's tapes as the ledger has them; a reading of the tapes is compared with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from papertape.errors import HostError
from papertape.ids import DumpId
from papertape.ledger.claims import read_dump
from papertape.ledger.database import Database
from papertape.ledger.records import Extent, Rejected
from papertape.ledger.schema import COPIES, MEMBERS, REJECTIONS, TAPE_FILES, VOLUMES
from papertape.volume.members import Expected, Member, TapeFile, VolumeRecord
from papertape.volume.names import unquote

PAGE = 5000
"""Members in one query."""


class Contents:
    """The contents of the dumps of a ledger; a method is one transaction unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expected(self, dump: DumpId) -> Expected:
        """Return all that a volume of a written dump must hold; raises UserError if the dump is unknown."""
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

        No transaction stays open between two pages: a tape takes hours to read, and the rows of a written dump never
        change.
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
        """Return the places of a dump's data sets and of papertape's own members, in tape order.

        Rejected data sets are included. Each ends where the next one begins: there is nothing between members.
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
                # The end is known when the next one comes; until then it is the end of the tape file.
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

        def look(connection: Connection) -> tuple[VolumeRecord, ...]:
            return tuple(
                VolumeRecord(
                    tag=row.tag,
                    uuid=row.uuid,
                    copy=row.copy,
                    drive_serial=row.label["drive_serial"],
                    label=TapeFile(*row.label["label"]),
                    label_members=tuple(Member(unquote(name), *rest) for name, *rest in row.label["members"]),
                )
                for row in connection.execute(query)
            )

        return self._database.read(look)


_MEMBER = [MEMBERS.c[name] for name in Member._fields]


def _page(connection: Connection, its: ColumnElement[bool], start: int) -> list[tuple[int, Member]]:
    """Return at most ``PAGE`` members that meet ``its``, each with its ``seq``, in tape order from ``start`` on."""
    # By seq and not with OFFSET: the database finds the first row in the index, however many come before it.
    query = select(MEMBERS.c.seq, *_MEMBER).where(its, MEMBERS.c.seq >= start).order_by(MEMBERS.c.seq).limit(PAGE)
    return [(seq, _read_member(Member._make(values))) for seq, *values in connection.execute(query)]


def _read_member(row: Any) -> Member:
    """Return the member of a row; raises HostError for a name that papertape never writes."""
    try:
        name = unquote(row.name)
    except ValueError as error:
        remedy = "its database is damaged; restore a backup of it"
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
