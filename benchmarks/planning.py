"""Planning a dump from a ledger in which very many data sets wait: see README.md here.

``make bench-ledger``, or ``PYTHONPATH=tests python benchmarks/planning.py --help``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import machine
from sqlalchemy import create_engine, insert, text

from papertape.jobs.context import CROSSED, Settings
from papertape.jobs.dump import plan_next
from papertape.ledger import open_ledger
from papertape.ledger.schema import DATASETS, DataSetState, source_key
from papertape.report import Reporter
from papertape.tape.library import Library
from papertape.tape.timing import GENERATIONS
from papertape.tape.virtual import VirtualLibrary, create_library
from servers import MariaDB, PostgreSQL, Server, run_server

MIB = 1024 * 1024
SERVERS: dict[str, type[Server]] = {"mariadb": MariaDB, "postgresql": PostgreSQL}
DATABASES = ("sqlite", *SERVERS)
CAPACITY = GENERATIONS["LTO-6"].capacity
TAGS = ("PAPR1001", "PAPR2001")
SIZES = {"4.5 GB": 4_500_000_000, "2.4 MB": 2_400_000}
"""Of some of these a volume takes five hundred, of the others a million."""
STEP = 10_007
"""Data sets are registered in no order: every one is so many after the last, all around."""


class Row(NamedTuple):
    """Planning one dump: median seconds, the highest growth of memory in MiB, and how many data sets it takes."""

    database: str
    size: str
    seconds: float
    peak_mib: float
    taken: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill ledgers, plan from them, and print a table or JSON."""
    options = parse(arguments)
    if options.plan:
        print(json.dumps(plan(*options.plan)))
        return
    report: dict[str, Any] = {"machine": machine.describe(), "options": vars(options), "filling": {}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="papertape-bench-", dir=options.folder) as folder:
        create_library(Path(folder) / "library", drives=2, slots=2, capacity=CAPACITY, volume_tags=TAGS)
        for database in options.database or DATABASES:
            measure(report, database, Path(folder), options)
    print(json.dumps(report, indent=1)) if options.json else print_report(report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Plan a dump from a ledger in which very many data sets wait.")
    parser.add_argument("--sets", type=int, default=1_000_000, help="data sets that wait")
    parser.add_argument("--database", action="append", choices=DATABASES, help="where the ledger is; all if left out")
    parser.add_argument("--runs", type=int, default=3, help="measured rounds")
    parser.add_argument("--folder", help="where there is room: some 700 bytes for each data set")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plan", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(report: dict[str, Any], database: str, folder: Path, options: argparse.Namespace) -> None:
    """Fill one ledger, and plan from it with data sets of each size."""
    with new_ledger(database, folder) as url:
        began = time.perf_counter()
        fill(url, options.sets)
        report["filling"][database] = time.perf_counter() - began
        for name, size in SIZES.items():
            resize(url, size)
            runs = [run_plan(url, folder) for _ in range(options.runs + 1)][1:]
            seconds, peaks, taken = zip(*runs, strict=True)
            report["rows"].append(Row(database, name, statistics.median(seconds), max(peaks), taken[0])._asdict())


@contextmanager
def new_ledger(database: str, folder: Path) -> Iterator[str]:
    """Have a new ledger with a blank volume for each copy, and give its url."""
    if database in SERVERS:
        with run_server(SERVERS[database]) as server, server.database() as url:
            add_volumes(url)
            yield url
    else:
        url = f"sqlite:///{folder}/ledger.sqlite"
        add_volumes(url)
        yield url


def add_volumes(url: str) -> None:
    """Register the volumes, which makes the tables."""
    with open_ledger(url) as ledger:
        ledger.add_volumes([(tag, copy, CAPACITY) for copy, tag in enumerate(TAGS, 1)], datetime.now(UTC))


def fill(url: str, sets: int) -> None:
    """Enter data sets that wait, in one transaction: what `papertape add` does, without looking at any file."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for first in range(0, sets, 50_000):
            numbers = range(first, min(first + 50_000, sets))
            connection.execute(insert(DATASETS), [make_row(number * STEP % sets) for number in numbers])
    engine.dispose()


def make_row(number: int) -> dict[str, Any]:
    """Return a data set that waits, with a name as long as they are."""
    source = f"pot1:/data/2458{number // 2000:04}/zen.2458{number // 2000:04}.{number:08}.xx.HH.uv"
    sizes = {"files": 4, "size": 0, "tape_bytes": 0, "catalog_bytes": 1200}
    row = {"source": source, "source_key": source_key(source), "version": 1, "kind": "directory", **sizes}
    row |= {"fingerprint": "f" * 64, "md5": f"{number:032x}", "state": DataSetState.WAITING, "reason": ""}
    return {**row, "registered_at": datetime.now(UTC)}


def resize(url: str, size: int) -> None:
    """Have all data sets so large, and have the server know its tables."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(DATASETS.update().values(size=size, tape_bytes=size))
        connection.execute(text("ANALYZE TABLE datasets" if "mysql" in url else "ANALYZE datasets"))
    engine.dispose()


def run_plan(url: str, folder: Path) -> tuple[float, float, int]:
    """Plan in a process of its own, which has nothing in its memory yet."""
    command = [sys.executable, __file__, "--plan", url, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, taken = json.loads(done.stdout)
    return seconds, peak, taken


def plan(url: str, folder: str) -> tuple[float, float, int]:
    """Plan the next dump; return its seconds, the MiB that memory grew by, and how many data sets are in it."""
    library = VirtualLibrary(Path(folder) / "library")
    robot = Library(library.changer, library.drives, Path(folder) / "locks", Reporter())
    settings = Settings(len(TAGS), 5 * 10**9, MIB, 2**30, Path(folder) / "spool", CROSSED)
    with open_ledger(url) as ledger:
        before, began = memory("VmRSS"), time.perf_counter()
        batch, _ = plan_next(ledger, robot, settings)
        seconds = time.perf_counter() - began
    return seconds, (memory("VmHWM") - before) / MIB, sum(map(len, batch.archives))


def memory(key: str) -> int:
    """Return what the kernel says of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def print_report(report: dict[str, Any]) -> None:
    """Print the machine and a table."""
    print("{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, load {load}".format(**report["machine"]))
    sets = report["options"]["sets"]
    print(f"planning a dump onto volumes of {CAPACITY / 1e12:.1f} TB; {sets:,} data sets wait")
    print(f"  {'ledger on':12} {'filled in s':>12} {'data sets of':>13} {'taken':>10} {'seconds':>8} {'MiB':>7}")
    for row in (Row(**row) for row in report["rows"]):
        filled = report["filling"][row.database]
        what = f"{row.database:12} {filled:12.0f} {row.size:>13} {row.taken:10,}"
        print(f"  {what} {row.seconds:8.2f} {row.peak_mib:7.0f}")


if __name__ == "__main__":
    main()
