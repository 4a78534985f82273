"""A thread that tells the ledger, while bytes move, that the dump's process is alive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from papertape.errors import ClaimLost, PapertapeError
from papertape.events import Note, Tell
from papertape.ids import DumpId
from papertape.ledger import Ledger
from papertape.transfer.stop import Stop

INTERVAL = 30.0
"""Seconds between two heartbeats."""


@contextmanager
def heartbeat(ledger: Ledger, dump: DumpId, tell: Tell, stop: Stop) -> Iterator[None]:
    """Keep the claim of ``dump`` fresh in the block; if the claim was lost, stop the transfer at once.

    A heartbeat that fails is noted, and the next one is due as usual. The thread ends with the block.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(INTERVAL):
            try:
                ledger.dumps.heartbeat(dump)
            except ClaimLost as error:
                tell(Note(sentence=f"{error}; stopping at once"))
                stop.soon = stop.now = True  # the transfer's threads look at it block by block
                return
            except (
                PapertapeError
            ) as error:  # the ledger is locked or away, or refuses new connections: no reason to stop
                tell(Note(sentence=f"no heartbeat this time, the dump continues: {error}"))

    # A thread of its own: a database that keeps it waiting must not keep the reader side or a drive waiting.
    with ThreadPoolExecutor(1, thread_name_prefix="heartbeat") as threads:
        beating = threads.submit(beat)
        try:
            yield
        finally:
            over.set()
    beating.result()  # raises what was no trouble of the database: a bug
