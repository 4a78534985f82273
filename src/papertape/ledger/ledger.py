"""The ledger: small objects over one database, each for one subject."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Table, func, select

from papertape.clock import Clock, utc_now
from papertape.ids import DumpId
from papertape.ledger.contents import Contents
from papertape.ledger.database import Database, open_database
from papertape.ledger.datasets import DataSets
from papertape.ledger.dumps import Dumps
from papertape.ledger.history import History
from papertape.ledger.imports import Imports
from papertape.ledger.lab import Lab
from papertape.ledger.owner import identify_process
from papertape.ledger.patience import Patience
from papertape.ledger.records import Owner, Status
from papertape.ledger.retrieval import Retrieval
from papertape.ledger.schema import DATASETS, DUMPS, VOLUMES
from papertape.ledger.search import Search
from papertape.ledger.volumes import Volumes
from papertape.states import DataSetState, DumpState, VolumeState


def open_ledger(url: str, owner: Owner | None = None, clock: Clock = utc_now) -> Ledger:
    """Open the ledger at a database url (``sqlite:////folder/ledger.sqlite``); makes or updates its tables.

    ``owner`` owns all that is claimed through it; the default is this process. Raises UserError for a wrong url, and
    for a ledger that a newer papertape made; HostError for troubles of the database.
    """
    return Ledger(open_database(url), owner or identify_process(), clock)


class Ledger:
    """All that is registered, claimed, written and proven.

    Every method of its parts is one transaction and raises HostError for troubles of the database. The iterators
    stream, in one read transaction: use them up, or drop them. Threads may share a ledger. A ledger remembers which
    dumps it has claimed for its ``owner``; a dump takes a step only if it still belongs to that owner.
    """

    def __init__(self, database: Database, owner: Owner, clock: Clock, claimed: set[DumpId] | None = None) -> None:
        self._database = database
        # The patient ledger and the plain one share the set: a dump that one has claimed is the other's too.
        self._claimed: set[DumpId] = set() if claimed is None else claimed
        self.owner = owner
        self.clock = clock
        self.datasets = DataSets(database, clock)
        self.volumes = Volumes(database, clock)
        self.dumps = Dumps(database, owner, clock, self._claimed)
        self.contents = Contents(database)
        self.search = Search(database)
        self.retrieval = Retrieval(database)
        self.imports = Imports(database, clock)
        self.lab = Lab(database)
        self.history = History(database)

    def patient(self, patience: Patience) -> Ledger:
        """Return the same ledger, but one that waits for a server that is away, and then makes the transaction once.

        Heartbeats and iterators over data sets do not wait.
        """
        return Ledger(self._database.patient(patience), self.owner, self.clock, self._claimed)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger is not usable any more."""
        self._database.close()

    def status(self) -> Status:
        """Count everything by state."""

        def count(connection: Connection) -> Status:
            totals = select(DATASETS.c.state, func.count(), func.sum(DATASETS.c.size)).group_by(DATASETS.c.state)
            sizes = {state: (number, int(size)) for state, number, size in connection.execute(totals)}
            volumes = _count_states(connection, VOLUMES)
            dumps = _count_states(connection, DUMPS)
            return Status(
                datasets={state: sizes.get(state, (0, 0))[0] for state in DataSetState},
                bytes={state: sizes.get(state, (0, 0))[1] for state in DataSetState},
                volumes={state: volumes.get(state, 0) for state in VolumeState},
                dumps={state: dumps.get(state, 0) for state in DumpState},
            )

        return self._database.read(count)


def _count_states(connection: Connection, table: Table) -> dict[Any, int]:
    rows = connection.execute(select(table.c.state, func.count().label("number")).group_by(table.c.state))
    return {row.state: row.number for row in rows}
