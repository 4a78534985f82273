"""``papertape bridge pull`` from a table of a million files on a real server: see README.md here.

``make bench-bridge``, or ``python benchmarks/bridging.py --help``. MariaDB has to be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import machine
from bench import memory_folder
from sqlalchemy import create_engine, text

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bridges.labdatabase import FILE, IDS
from servers import MariaDB

PASSWORD = "bench"
NIGHT = 1000
"""Files in a folder."""
ADD = """INSERT INTO File (host, base_path, filename, filetype, source, obsnum, filesize, md5sum, tape_index,
    is_tapeable, is_deletable, timestamp, init_host)
SELECT 'pot1', folder, name, 'uv', concat('pot1:', folder, '/', name), seq, 0.0, md5(seq),
    if(seq > :waiting, concat('20150103[PAPR1001,PAPR2001]-', seq div 100, ':', seq mod 100 + 1), NULL), 1,
    seq > :waiting, 1420000000 + seq, 'pot1'
FROM (SELECT seq, concat(:root, '/', lpad((seq - 1) div :night, 5, '0')) AS folder,
    concat('zen.', lpad(seq, 8, '0'), '.uvh5') AS name FROM seq_1_to_{rows}) AS made"""
ROOM = 2000
"""Bytes of memory that an empty file takes at the most."""


class Row(NamedTuple):
    """One pull: what it had to do, its exit code, seconds by the clock and of its process, and its largest memory."""

    name: str
    registered: int
    known: int
    refused: int
    exit: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


class Case(NamedTuple):
    """How many of the rows wait for a tape, whether their files are there, and how often they are pulled."""

    name: str
    waiting: int
    there: bool
    times: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the table for each case, pull, and print a table or JSON."""
    options = parse(arguments)
    cases = [
        Case("1 of 100 waits, the rest is on tape", options.rows // 100, there=True, times=2),
        Case("all wait, no file is there", options.rows, there=False, times=1),
        Case("all wait, small files", options.rows, there=True, times=2),
    ]
    missing = MariaDB.missing()
    if missing:
        sys.exit(missing)
    report: dict[str, Any] = {"machine": machine.describe(), "options": vars(options)}
    rows: list[Row] = []
    temporary = tempfile.TemporaryDirectory(prefix="papertape-", ignore_cleanup_errors=True)
    with temporary as folder, MariaDB(Path(folder)) as server:
        server.create_user("obs", PASSWORD)
        for case in cases:
            rows += measure(server, case, options.rows)
    report["rows"] = [row._asdict() for row in rows]
    print(json.dumps(report, indent=1)) if options.json else print_report(report, rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Pull what waits from the lab's table of files.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in the table")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def measure(server: MariaDB, case: Case, rows: int) -> list[Row]:
    """Pull one case, each time in a process of its own."""
    place = memory_folder(rows * ROOM)
    with tempfile.TemporaryDirectory(prefix="papertape-bench-", dir=place) as made, server.database() as url:
        folder = Path(made)
        fill(url, folder / "night", case.waiting, rows)
        if case.there:
            make_files(folder / "night", case.waiting)
        write_config(folder, url, server)
        return [pull(folder, f"{case.name}{' (once more)' * bool(again)}") for again in range(case.times)]


def fill(url: str, root: Path, waiting: int, rows: int) -> None:
    """Make both tables, and the rows of the one."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in (FILE, IDS, "SET SESSION max_statement_time = 0"):
            connection.execute(text(statement))
        values = {"root": str(root), "night": NIGHT, "waiting": waiting}
        connection.execute(text(ADD.format(rows=rows)), values)
        connection.execute(text("ANALYZE TABLE File"))
    engine.dispose()


def make_files(root: Path, count: int) -> None:
    """Make the files of the rows that wait; they take no room."""
    for number in range(1, count + 1):
        folder = f"{root}/{(number - 1) // NIGHT:05}"
        if (number - 1) % NIGHT == 0:
            Path(folder).mkdir(parents=True)
        path = f"{folder}/zen.{number:08}.uvh5"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def write_config(folder: Path, url: str, server: MariaDB) -> None:
    """Make a folder as `papertape init` does, with the section [bridge]."""
    run(folder, "init", "--slots", "2")
    options = folder / "lab.cnf"
    database = url.rpartition("/")[2].partition("?")[0]
    lines = ("[client]", "user=obs", f"password={PASSWORD}", "host=localhost", f"database={database}")
    options.write_text("\n".join([*lines, f"socket={server.folder}/socket", ""]))
    options.chmod(0o600)
    config = folder / "papertape.toml"
    rule = f'"pot1:{folder}/night" = "{folder}/night"'
    config.write_text(f'{config.read_text()}\n[bridge]\nfiles = "{options}"\n[bridge.paths]\n{rule}\n')


def run(folder: Path, *arguments: str) -> tuple[int, str, float, float]:
    """Run papertape to its end; return its exit code, what it printed, its CPU seconds and largest memory (MiB)."""
    command = [sys.executable, "-m", "papertape", "--config", str(folder / "papertape.toml"), *arguments]
    if arguments[0] == "init":
        command = [sys.executable, "-m", "papertape", *arguments, str(folder)]
    with (folder / "out").open("w+") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return process.returncode, out.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def pull(folder: Path, name: str) -> Row:
    """Pull once; what it says of each row goes to a file, as in a night's log."""
    began = time.perf_counter()
    code, said, cpu, peak = run(folder, "bridge", "pull")
    seconds = time.perf_counter() - began
    registered, known, refused = (count(said, word) for word in ("registered", "known already", "left out"))
    return Row(name, registered, known, refused, code, seconds, cpu, peak)


def count(said: str, word: str) -> int:
    """Return the number in the part of the sum that has ``word`` in it."""
    part = next((part for part in said.replace(", ", "; ").split("; ") if word in part), "0")
    return int(part.split()[0].replace(",", ""))


def print_report(report: dict[str, Any], rows: Sequence[Row]) -> None:
    """Print the machine and a table."""
    print("{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, load {load}".format(**report["machine"]))
    print(f"papertape bridge pull, {report['options']['rows']:,} rows in the table, MariaDB on a socket")
    print(f"  {'':48} {'registered':>11} {'known':>10} {'refused':>10} {'seconds':>8} {'CPU':>8} {'MiB':>6}")
    for row in rows:
        counts = f"{row.registered:11,} {row.known:10,} {row.refused:10,}"
        print(f"  {row.name:48} {counts} {row.seconds:8.1f} {row.cpu_seconds:8.1f} {row.peak_mib:6.0f}")


if __name__ == "__main__":
    main()
