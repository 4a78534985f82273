"""Retrieval: the version of a data set to restore, its place, and the volumes that have it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, func, select

from papertape.ids import DumpId, VolumeUuid
from papertape.ledger import search
from papertape.ledger.database import Database
from papertape.ledger.records import Found, Kept, KeptCopy
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, MEMBERS, VOLUMES
from papertape.states import Format


class Retrieval:
    """The data sets that can be restored from the tapes of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, pattern: str, at: datetime | None = None, dump: DumpId | None = None) -> Iterator[Kept]:
        """Yield the newest version of each data set that matches as in ``Search.find`` and is on tape, by source.

        ``at`` leaves out dumps that were created later, ``dump`` all other dumps. Streams, in one read transaction: use
        it up, or drop it.
        """
        # The first connection still streams rows, so each place is looked up on a second one.
        with self._database.reading() as connection, self._database.reading() as lookup:
            dumps = connection.execute(select(DUMPS.c.id, DUMPS.c.created_at, DUMPS.c.format))
            written = {row.id: row for row in dumps}

            def fits(found: Found) -> bool:
                if found.number is None or found.dump is None or dump not in {None, found.dump}:
                    return False
                created = written[found.dump].created_at
                return at is None or (created is not None and created <= at)

            for _, versions in groupby(search.find(connection, pattern), attrgetter("source")):
                chosen = None
                for version in filter(fits, versions):
                    chosen = version
                if chosen is not None and chosen.dump is not None:
                    yield from _place(lookup, chosen, written[chosen.dump].format)

    def copies(self, dump: DumpId) -> tuple[KeptCopy, ...]:
        """Return the volumes with copies of a dump by copy number, good and bad ones."""
        columns = (VOLUMES.c.tag, VOLUMES.c.uuid, VOLUMES.c.state, VOLUMES.c.location)
        query = (
            select(*columns, COPIES.c.error, COPIES.c.verified_at)
            .join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id)
            .where(COPIES.c.dump_id == dump)
            .order_by(COPIES.c.copy)
        )
        return self._database.read(
            lambda connection: tuple(
                KeptCopy(
                    volume=row.tag,
                    uuid=row.uuid or VolumeUuid(""),
                    state=row.state,
                    location=row.location,
                    error=row.error or "",
                    verified=row.verified_at is not None,
                )
                for row in connection.execute(query)
            )
        )


def _place(connection: Connection, found: Found, form: Format) -> Iterator[Kept]:
    """Yield the place of a data set, or nothing if its dump failed a moment ago."""
    row = connection.execute(
        select(DATASETS.c.files, DATASETS.c.md5)
        .where(DATASETS.c.dump_id == found.dump, DATASETS.c.number == found.number)
        .limit(1)
    ).first()
    if row is None:
        return
    # It ends where the member after its last one begins: there is nothing between members.
    its = (MEMBERS.c.dump_id == found.dump) & (MEMBERS.c.dataset == found.number)
    last = select(func.max(MEMBERS.c.seq)).where(its).scalar_subquery()
    after = (MEMBERS.c.dump_id == found.dump) & (MEMBERS.c.seq == last + 1)
    yield Kept(
        source=found.source,
        kind=found.kind,
        format=form,
        dump=found.dump or DumpId(0),
        number=found.number or 0,
        tape_file=found.tape_file or 0,
        begin=found.offset or 0,
        end=int(connection.scalar(select(MEMBERS.c.offset).where(after)) or 0),
        files=row.files,
        size=found.size,
        md5=row.md5 or "",
    )
