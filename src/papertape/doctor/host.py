"""Checks of the host: programs, memory, room for the spool, and the ledger."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from papertape.doctor.findings import Check, SetUp, ok, problem, skipped, warning
from papertape.errors import HostError, PapertapeError
from papertape.tape.scsi.hostfacts import ask_version, find_available_memory, find_program
from papertape.words import count, show_block, show_size

MEMORY_BESIDE = 256 * 1024 * 1024
"""What papertape takes besides the ring, and what others should still find, in bytes."""
SPOOL_ROOM = 10**9
"""Below this the catalog of a large dump may not fit: it takes some 300 bytes a file."""
HOST = PapertapeError.exit_code


def check_programs(setup: SetUp) -> Iterator[Check]:
    """Look for mtx, without which nothing moves, and for mt, with which tapes are read by hand."""
    if setup.devices is not None and not setup.devices.nodes:
        yield skipped("programs", "a library in a folder needs neither mtx nor mt")
        return
    mtx, mt = find_program("mtx"), find_program("mt")
    if mtx is None:
        yield problem("programs", "mtx is not installed: without it no cartridge is moved", "install the package mtx")
    else:
        yield ok("programs", f"{mtx} is {ask_version(mtx) or 'of an unknown version'}")
    yield _check_mt(mt)


def _check_mt(mt: str | None) -> Check:
    hand = "to get data back by hand"
    if mt is None:
        return warning("programs", f"mt is not installed: it is needed {hand}", "install the package mt-st")
    version = ask_version(mt)
    if "mt-st" not in version:
        said = f"says {version!r}" if version else "does not tell its version"
        sentence = f"{mt} {said} and is not that of mt-st, which is needed {hand} (setblk, eod, seek)"
        return warning("programs", sentence, "install the package mt-st")
    return ok("programs", f"{mt} is {version}")


def check_memory(setup: SetUp) -> Iterator[Check]:
    """Hold the memory that is free against the ring."""
    ring, free = setup.settings.ring, find_available_memory()
    if free is None:
        yield skipped("memory", "the kernel does not say how much memory is free")
        return
    sentence = f"{show_size(free)} are free, and `ring` is {show_block(ring)}"
    if free < ring:
        remedy = f"set `ring` in the config to {show_block(_half(free))} or less, or end other programs"
        yield problem("memory", sentence, remedy)
    elif free < ring + MEMORY_BESIDE:
        yield warning("memory", f"{sentence}, which leaves little for the rest", "make `ring` in the config smaller")
    else:
        yield ok("memory", sentence)


def _half(size: int) -> int:
    """Return half the size in whole MiB, or at least one."""
    return max(size // 2 >> 20, 1) << 20


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
        yield problem("spool", sentence, "mend its permissions, or name another `spool` in the config", HOST)
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
    sets, volumes = known.datasets.get("waiting", 0), sum(known.volumes.values())
    where = str(setup.ledger_file or "the database")
    yield ok("ledger", f"{where} answers: {count(sets, 'waiting data set')}, {count(volumes, 'registered volume')}")
    if setup.ledger_file is not None:
        yield from _check_journal(setup.ledger_file)


def _check_journal(path: Path) -> Iterator[Check]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    except sqlite3.Error as error:
        raise HostError(f"ledger {path}", str(error)) from error
    if mode != "wal":
        sentence = (
            f"{path} has no write-ahead log (its journal mode is {mode}): a reader and a writer wait for each other"
        )
        yield warning("ledger", sentence, "keep it on a local disk, not on a network's")
