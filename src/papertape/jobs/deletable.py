"""Which disk copies may go: archived, in doubt on no volume, and still what was archived."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from papertape.errors import SourceError
from papertape.ledger import Ledger
from papertape.transfer.source import read_fingerprint
from papertape.volume.names import unquote


class OnDisk(StrEnum):
    """What is at a data set's path now."""

    SAME = "same"  # as it was archived: it may go
    CHANGED = "changed"  # it is not what is on tape: it must stay
    GONE = "gone"


class Candidate(NamedTuple):
    """An archived data set; ``size`` is in bytes."""

    source: str
    size: int
    on_disk: OnDisk


def find_deletable(ledger: Ledger, host: str) -> Iterator[Candidate]:
    """Yield this host's data sets that are safe on every copy, and say of each what is on disk now."""
    for item in ledger.search.deletable():
        at, _, path = item.source.partition(":")
        if at == host:
            yield Candidate(item.source, item.size, _look(unquote(path), item.fingerprint))


def _look(path: bytes, fingerprint: str) -> OnDisk:
    try:
        return OnDisk.SAME if read_fingerprint(path) == fingerprint else OnDisk.CHANGED
    except SourceError:
        return OnDisk.CHANGED if os.path.lexists(path) else OnDisk.GONE
