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

from papertape.events import tell_all
from papertape.jobs.dump import plan_next
from papertape.ledger import open_ledger
from papertape.ledger.schema import DATASETS, VOLUMES, source_key
from papertape.settings import CROSSED, Settings
from papertape.states import DataSetState
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library
from servers import MariaDB, PostgreSQL, Server, run_server

MIB = 1024 * 1024
SERVERS: dict[str, type[Server]] = {"mariadb": MariaDB, "postgresql": PostgreSQL}
DATABASES = ("sqlite", *SERVERS)
TAGS = ("PAPR1001", "PAPR2001")
SIZE = 2_400_000
"""Of such data sets an LTO-6 volume takes a million."""
ROOM = (500, 20_000, 1_000_000)
"""So many data sets, or a little more, go onto a volume: 4.5 GB each on LTO-6, or 120 MB, or 2.4 MB."""
CHUNK = 50_000
STEP = 10_007
"""Registered in no order, each data set is so many after the last, all around."""


class Row(NamedTuple):
    """Planning a dump of ``taken`` data sets: medians of seconds and of CPU seconds; the highest growth of memory, MiB.

    CPU seconds and memory are those of papertape's process; a server has its own.
    """

    database: str
    taken: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill ledgers, plan from them, and print a table or JSON."""
    options = parse(arguments)
    if options.plan:
        print(json.dumps(plan(*options.plan)))
        return
    report: dict[str, Any] = {"machine": machine.describe(), "options": vars(options), "filling": {}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="papertape-bench-", dir=options.folder) as folder:
        create_library(Path(folder) / "library", drives=2, slots=2, capacity=SIZE, volume_tags=TAGS)
        for database in options.database or DATABASES:
            measure(report, database, Path(folder), options)
    print(json.dumps(report, indent=1)) if options.json else print_report(report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Plan a dump from a ledger in which very many data sets wait.")
    parser.add_argument("--sets", type=int, default=1_000_000, help="data sets that wait")
    parser.add_argument("--database", action="append", choices=DATABASES, help="where the ledger is; all if left out")
    parser.add_argument("--scattered", action="store_true", help="they were registered in no order")
    parser.add_argument("--runs", type=int, default=3, help="measured rounds")
    parser.add_argument("--folder", help="where there is room: some 700 bytes for each data set")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plan", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(report: dict[str, Any], database: str, folder: Path, options: argparse.Namespace) -> None:
    """Fill one ledger, and plan from it with data sets of each size."""
    with new_ledger(database, folder) as url:
        began = time.perf_counter()
        fill(url, options.sets, STEP if options.scattered else 1)
        report["filling"][database] = time.perf_counter() - began
        for room in ROOM:
            set_capacity(url, room * SIZE * 102 // 100)
            taken, *runs = zip(*(run_plan(url, folder) for _ in range(options.runs)), strict=True)
            seconds, cpu, peak = runs
            row = Row(database, taken[0], statistics.median(seconds), statistics.median(cpu), max(peak))
            report["rows"].append(row._asdict())


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
        ledger.volumes.add([(tag, copy, SIZE) for copy, tag in enumerate(TAGS, 1)])


def fill(url: str, sets: int, step: int) -> None:
    """Enter data sets that wait, in one transaction: what `papertape add` does, without looking at any file."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for first in range(0, sets, CHUNK):
            numbers = range(first, min(first + CHUNK, sets))
            connection.execute(insert(DATASETS), [make_row(number * step % sets) for number in numbers])
        # Each knows by and by how large its tables are; this is not waited for.
        connection.execute(text("ANALYZE TABLE datasets" if "mysql" in url else "ANALYZE datasets"))
    engine.dispose()


def make_row(number: int) -> dict[str, Any]:
    """Return a data set that waits, with a name as long as they are."""
    source = f"pot1:/data/2458{number // 2000:04}/zen.2458{number // 2000:04}.{number:08}.xx.HH.uv"
    sizes = {"files": 4, "size": SIZE, "tape_bytes": SIZE, "catalog_bytes": 1200}
    row = {"source": source, "source_key": source_key(source), "version": 1, "kind": "directory", **sizes}
    row |= {"fingerprint": "f" * 64, "md5": f"{number:032x}", "state": DataSetState.WAITING, "reason": ""}
    return {**row, "registered_at": datetime.now(UTC)}


def set_capacity(url: str, capacity: int) -> None:
    """Have volumes of so many bytes."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(VOLUMES.update().values(capacity=capacity))
    engine.dispose()


def run_plan(url: str, folder: Path) -> tuple[int, float, float, float]:
    """Plan in a process of its own, which has nothing in its memory yet; see ``plan``."""
    command = [sys.executable, __file__, "--plan", url, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    taken, seconds, cpu, peak = json.loads(done.stdout)
    return taken, seconds, cpu, peak


def plan(url: str, folder: str) -> tuple[int, float, float, float]:
    """Plan the next dump; return how many data sets it takes, seconds, CPU seconds, the growth of memory in MiB."""
    library = VirtualLibrary(Path(folder) / "library")
    robot = Library(library.changer, library.drives, Path(folder) / "locks", tell_all())
    settings = Settings(len(TAGS), 5 * 10**9, MIB, 2**30, Path(folder) / "spool", CROSSED)
    with open_ledger(url) as ledger:
        before, began, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
        batch, _ = plan_next(ledger, robot, settings)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return sum(map(len, batch.archives)), seconds, cpu, (memory("VmHWM") - before) / MIB


def memory(key: str) -> int:
    """Return what the kernel says of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def print_report(report: dict[str, Any]) -> None:
    """Print the machine and a table."""
    print("{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, load {load}".format(**report["machine"]))
    order = "no order" if report["options"]["scattered"] else "their order"
    print(f"{report['options']['sets']:,} data sets wait, registered in {order}; planning a dump of")
    print(f"  {'data sets':>10} {'ledger on':>12} {'seconds':>8} {'CPU s':>6} {'MiB':>5}")
    for row in (Row(**row) for row in report["rows"]):
        figures = f"{row.seconds:8.2f} {row.cpu_seconds:6.2f} {row.peak_mib:5.0f}"
        print(f"  {row.taken:10,} {row.database:>12} {figures}")
    filled = ", ".join(f"{seconds:.0f} s on {database}" for database, seconds in report["filling"].items())
    print(f"filling the ledgers took {filled}")


if __name__ == "__main__":
    main()
