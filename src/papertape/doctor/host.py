"""Checks of the host: memory, room for the spool, and the ledger."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from papertape.doctor.findings import SetUp
from papertape.errors import HostError, PapertapeError
from papertape.states import DataSetState
from papertape.tape.checks import Check, ok, problem, skipped, warning
from papertape.words import count, show_block, show_size

MEMORY = Path("/proc/meminfo")
MEMORY_BESIDE = 256 * 1024 * 1024
"""Memory for papertape besides the ring, and for other programs, in bytes."""
SPOOL_ROOM = 10**9
"""Below this the catalog of a large dump may not fit: it takes some 300 bytes a file."""
HOST = PapertapeError.exit_code


def check_memory(setup: SetUp) -> Iterator[Check]:
    """Compare the memory that is free with the ring."""
    ring, free = setup.settings.ring, None
    with suppress(OSError):
        found = re.search(r"^MemAvailable: +([0-9]+) kB$", MEMORY.read_text(), re.MULTILINE)  # man 5 proc
        free = int(found[1]) * 1024 if found else None
    if free is None:
        yield skipped("memory", "the kernel does not say how much memory is free")
        return
    sentence = f"{show_size(free)} are free, and `ring` is {show_block(ring)}"
    if free < ring:
        remedy = f"set `ring` in the config to {max(free // 2 >> 20, 1)}MiB or less, or end other programs"
        yield problem("memory", sentence, remedy)
    elif free < ring + MEMORY_BESIDE:
        yield warning("memory", f"{sentence}, which leaves little for the rest", "make `ring` in the config smaller")
    else:
        yield ok("memory", sentence)


def check_spool(setup: SetUp) -> Iterator[Check]:
    """Write to the folder of the spool, and look how much room its disk has."""
    spool = setup.settings.spool
    try:
        spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool) as file:
            file.write(b"papertape doctor")
        room = shutil.disk_usage(spool).free
    except OSError as error:
        sentence = f"{spool} cannot be written to ({error.strerror or error})"
        yield problem("spool", sentence, "correct its permissions, or name another `spool` in the config", HOST)
        return
    sentence = f"{spool} can be written to, {show_size(room)} are free"
    if room < SPOOL_ROOM:
        yield warning("spool", f"{sentence}, and a million files take some {show_size(300e6)}", "make room there")
    else:
        yield ok("spool", sentence)


def check_ledger(setup: SetUp) -> Iterator[Check]:
    """Ask the ledger, which was opened and so brought to this version's form."""
    if setup.ledger is None:
        return
    known = setup.ledger.status()
    sets, volumes = known.datasets[DataSetState.WAITING], sum(known.volumes.values())
    where = str(setup.ledger_file or "the database")
    yield ok("ledger", f"{where} answers: {count(sets, 'waiting data set')}, {count(volumes, 'registered volume')}")
    if setup.ledger_file is None:
        return
    path = setup.ledger_file
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    except sqlite3.Error as error:
        raise HostError(f"ledger {path}", str(error)) from error
    if mode != "wal":
        sentence = (
            f"{path} has no write-ahead log (its journal mode is {mode}): readers and writers wait for each other"
        )
        yield warning("ledger", sentence, "keep it on a local disk, not on a network's")
