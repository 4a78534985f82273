"""Which disk copies may be deleted: archived, good on all volumes, and unchanged since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from papertape.errors import SourceError
from papertape.ledger import Ledger
from papertape.transfer.source import read_fingerprint
from papertape.volume.names import Source


class OnDisk(StrEnum):
    """The state of a data set's path now."""

    SAME = "same"  # as it was archived: it may be deleted
    CHANGED = "changed"  # it differs from what is on tape: it must stay
    GONE = "gone"


class Candidate(NamedTuple):
    """An archived data set; ``size`` is in bytes."""

    source: Source
    size: int
    on_disk: OnDisk


def find_deletable(ledger: Ledger, host: str) -> Iterator[Candidate]:
    """Yield this host's data sets that are good on every copy, each with the state of its disk copy now."""
    for item in ledger.search.deletable():
        source = Source.parse(item.source)
        if source.host == host:
            try:
                on_disk = OnDisk.SAME if read_fingerprint(source.path) == item.fingerprint else OnDisk.CHANGED
            except SourceError:
                on_disk = OnDisk.CHANGED if os.path.lexists(source.path) else OnDisk.GONE
            yield Candidate(source, item.size, on_disk)
