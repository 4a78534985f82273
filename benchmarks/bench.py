"""Writing two copies and verifying two copies, beside the stock tools: see README.md here.

``make bench``, or ``python benchmarks/bench.py --help``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import machine

HERE = Path(__file__).parent
KIB, MIB = 1024, 1024 * 1024
LARGE_FILES = 32
SMALL_FILE = 32 * KIB
SUBSET = 1000
COPIES = ("copy1.tar", "copy2.tar")
TEE = "tar | tee"
OURS, OURS_MD5 = "papertape, SHA-256", "papertape, SHA-256 + MD5"


class Result(NamedTuple):
    """One measurement: seconds, CPU seconds, and the peak memory in MiB of the largest process."""

    seconds: float
    cpu: float
    peak: float


class Step(NamedTuple):
    """Something to measure; ``ready`` is done before it and not measured. ``bytes`` and ``files`` are what it does."""

    phase: str
    name: str
    bytes: int
    files: int
    run: Callable[[], Result]
    ready: Callable[[], None] = lambda: None


class Row(NamedTuple):
    """The medians of one step: MB of 10^6 bytes, and files, a second; CPU seconds; MiB."""

    phase: str
    name: str
    mb_per_second: float
    files_per_second: float
    seconds: float
    cpu_seconds: float
    peak_mib: float


class Data(NamedTuple):
    """A set of equal files; ``subset`` of them are enough for a peer that is slow on many files."""

    name: str
    files: int
    size: int
    subset: int

    @property
    def bytes(self) -> int:
        """The bytes of all of them."""
        return self.files * self.size


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table, or one JSON object, or both."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that gigabytes of memory are given back
    large = Data("large files", LARGE_FILES, options.size * MIB // LARGE_FILES, LARGE_FILES)
    small = Data("small files", options.files, SMALL_FILE, min(options.files, SUBSET))
    report: dict[str, Any] = {"machine": machine.describe(), "options": vars(options), "sets": {}}
    rates: list[dict[str, float]] = []
    place = memory_folder(5 * max(large.bytes, small.bytes) + 600 * MIB)
    with tempfile.TemporaryDirectory(prefix="papertape-bench-", dir=place) as folder:
        for data in (large, small):
            rows = measure(Path(folder) / data.name.split()[0], data, options, rates)
            report["sets"][data.name] = {"files": data.files, "bytes": data.bytes, "rows": rows}
    report["rates"] = {name: statistics.median(rate[name] for rate in rates) for name in ("sha256", "md5")}
    if options.json != "-":
        print_report(report)
    if options.json:
        write_json(report, options.json)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Write and verify two copies, beside the stock tools.")
    parser.add_argument(
        "--size", type=int, default=2048, metavar="MIB", help=f"the {LARGE_FILES} large files, together"
    )
    parser.add_argument("--files", type=int, default=20_000, help="the number of small files, of 32 KiB each")
    parser.add_argument("--runs", type=int, default=3, help="measured runs, after one that is not measured")
    parser.add_argument("--ring", type=int, default=64, metavar="MIB", help="papertape's buffer")
    parser.add_argument("--virtual", action="store_true", help="use a virtual library's drives (see README.md)")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="print JSON, or write it beside the table")
    return parser.parse_args(arguments)


def memory_folder(needed: int) -> str | None:
    """Return a RAM-backed folder with ``needed`` bytes free; else None, after a warning."""
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= needed:
        return str(shm)
    warning = f"no RAM-backed folder has {needed / 1e9:.1f} GB free: this measures the disk of {tempfile.gettempdir()}"
    print(f"WARNING: {warning}", file=sys.stderr)
    return None


def measure(folder: Path, data: Data, options: argparse.Namespace, rates: list[dict[str, float]]) -> list[Row]:
    """Do every step in turn, once unmeasured and then as often as asked for; return the medians."""
    folder.mkdir()
    child("stock.py", "prepare", folder, files=data.files, size=data.size, subset=data.subset)
    steps = plan_steps(folder, data, options)
    results: dict[str, list[Result]] = {step.phase + step.name: [] for step in steps}
    for run in range(options.runs + 1):
        rates.append(child("stock.py", "rates", folder, size=min(512 * MIB, data.bytes)))
        for step in steps:
            tell(f"{data.name}, run {run} of {options.runs}: {step.phase}, {step.name}")
            step.ready()
            result = step.run()
            if run:
                results[step.phase + step.name].append(result)
    tell("")
    shutil.rmtree(folder)
    return [summarize(step, results[step.phase + step.name]) for step in steps]


def tell(what: str) -> None:
    """Say on a terminal what is under way."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def summarize(step: Step, results: list[Result]) -> Row:
    """Return the row of one step."""
    seconds = statistics.median(result.seconds for result in results)
    cpu = statistics.median(result.cpu for result in results)
    peak = max(result.peak for result in results)
    return Row(step.phase, step.name, step.bytes / seconds / 1e6, step.files / seconds, seconds, cpu, peak)


def plan_steps(folder: Path, data: Data, options: argparse.Namespace) -> list[Step]:
    """Return what is measured on one set, in the order in which each round does it."""
    both = (2 * data.bytes, 2 * data.files)
    some = (2 * data.subset * data.size, 2 * data.subset)
    of = "" if data.subset == data.files else f" ({data.subset} files)"
    ring, virtual = options.ring * MIB, int(options.virtual)

    def write(md5: int) -> Result:
        return Result(**child("ours.py", "write", folder, md5=md5, ring=ring, virtual=virtual))

    return [
        Step("writing", OURS, data.bytes, data.files, lambda: write(0)),
        Step("writing", OURS_MD5, data.bytes, data.files, lambda: write(1)),
        Step("writing", TEE, data.bytes, data.files, lambda: tee(folder), lambda: reserve(folder, data)),
        Step("verifying", OURS, *both, lambda: Result(**child("ours.py", "verify", folder, virtual=virtual))),
        Step("verifying", f"tar --to-command=sha256sum{of}", *some, lambda: to_command(folder), lambda: cut(folder)),
        Step("verifying", "Python tarfile + hashlib", *both, lambda: python_tarfile(folder)),
    ]


def child(program: str, step: str, folder: Path, **numbers: int) -> dict[str, Any]:
    """Do a step of one of the programs beside this one in a process of its own and return its answer."""
    options = [f"{name}={value}" for name, value in numbers.items()]
    command = [sys.executable, str(HERE / program), step, str(folder), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"failed: {shlex.join(command)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def shell(command: str) -> Result:
    """Run a command line and measure it with all its processes; the peak is that of the largest of them.

    The kernel starts a process's peak at its parent's, so that a peer's is never seen below this program's own.
    """
    began = time.perf_counter()
    process = subprocess.Popen(["bash", "-c", f"set -euo pipefail; {command}"])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {command}")
    return Result(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def reserve(folder: Path, data: Data) -> None:
    """Empty the peer's two files, but have memory allocated for them, so that tee rewrites what is there."""
    size = data.bytes + 2 * KIB * data.files + MIB
    for copy in COPIES:
        (folder / copy).write_bytes(b"")
        subprocess.run(["fallocate", "--keep-size", "--length", str(size), folder / copy], check=False)


def tee(folder: Path) -> Result:
    """Write two copies with tar and tee; appending keeps the memory that ``reserve`` allocated."""
    first, second = (shlex.quote(str(folder / copy)) for copy in COPIES)
    return shell(f"tar -cf - -C {shlex.quote(str(folder / 'source'))} . | tee -a {first} >> {second}")


def cut(folder: Path) -> None:
    """Make two archives of the subset, for the peer that starts a process a file."""
    for copy in COPIES:
        target = folder / f"subset-{copy}"
        if not target.exists():
            subset = ("-C", folder / "source", "--files-from", folder / "subset.txt")
            subprocess.run(("tar", "-cf", target, *subset), check=True)


def to_command(folder: Path) -> Result:
    """Hash every file of two archives with GNU tar and sha256sum, both archives at once."""
    command = "tar --to-command=sha256sum -xf {} >/dev/null"
    return in_parallel([command.format(shlex.quote(str(folder / f"subset-{copy}"))) for copy in COPIES])


def python_tarfile(folder: Path) -> Result:
    """Hash every file of two archives with Python's tarfile, in two processes at once."""
    work = [sys.executable, str(HERE / "stock.py"), "tarfile"]
    return in_parallel([f"{shlex.join([*work, str(folder / copy)])} >/dev/null" for copy in COPIES])


def in_parallel(commands: Sequence[str]) -> Result:
    """Run two command lines at once; both must succeed."""
    first, second = commands
    return shell(f"{first} & one=$!; {second} & two=$!; wait $one; wait $two")


def write_json(report: dict[str, Any], where: str) -> None:
    """Write the report to the file ``where``, or print it (``-``)."""
    for each in report["sets"].values():
        each["rows"] = [row._asdict() for row in each["rows"]]
    text = json.dumps(report, indent=1)
    if where == "-":
        print(text)
    else:
        Path(where).write_text(text + "\n", encoding="utf-8")


def print_report(report: dict[str, Any]) -> None:
    """Print the machine, a table a set, and what it comes to."""
    print("{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, load {load}".format(**report["machine"]))
    rates = report["rates"]
    print(f"one thread of hashlib: SHA-256 {rates['sha256']:,.0f} MB/s, MD5 {rates['md5']:,.0f} MB/s")
    for name, each in report["sets"].items():
        print(f"\n{name}: {each['files']:,} files, {each['bytes'] / 1e6:,.0f} MB")
        print_rows(each["rows"])
        print_ratios(each["rows"], rates["sha256"])


def print_rows(rows: Sequence[Row]) -> None:
    """Print the medians; a peak that could be this program's own is given as a bound."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {'':52} {'MB/s':>7} {'files/s':>9} {'seconds':>8} {'CPU s':>7} {'peak MiB':>9}")
    for row in rows:
        peak = f"{'< ' if row.peak_mib <= 1.1 * own else ''}{row.peak_mib:,.0f}"
        what = f"{'writing two copies' if row.phase == 'writing' else 'verifying both'}: {row.name}"
        print(
            f"  {what:52} {row.mb_per_second:7,.0f} {row.files_per_second:9,.0f} {row.seconds:8.2f}"
            f" {row.cpu_seconds:7.2f} {peak:>9}"
        )


def print_ratios(rows: Sequence[Row], sha256: float) -> None:
    """Print how many times as fast papertape is as each peer, by bytes (and so by files)."""
    peers = [row for row in rows if not row.name.startswith("papertape")]
    for row in (row for row in rows if row.name.startswith("papertape")):
        for peer in peers:
            if peer.phase == row.phase:
                ratio = row.mb_per_second / peer.mb_per_second
                print(f"  {row.phase}, {row.name}: {ratio:.2f} times {peer.name}")
        if row.phase == "verifying":
            print(f"  verifying, {row.name}: {row.mb_per_second / (2 * sha256):.0%} of two threads of SHA-256")


if __name__ == "__main__":
    main()
