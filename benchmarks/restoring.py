"""Getting data sets back out of a full volume, beside reading the whole tape: see README.md here.

``make bench-restore``, or ``python benchmarks/restoring.py --help``. The times are those of a modelled drive and robot.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import machine
from bench import memory_folder

from papertape.events import tell_all
from papertape.jobs.context import Context, NoLab
from papertape.jobs.dump import dump
from papertape.jobs.register import register
from papertape.jobs.restore import Wish, restore
from papertape.ledger import Ledger, Owner, open_ledger
from papertape.settings import Settings
from papertape.tape.drive import Mark
from papertape.tape.generations import GENERATIONS, Generation
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.tape.virtual.timing import DriveTiming, SimulatedClock
from papertape.transfer import blockahead
from papertape.transfer.stop import Stop

TAG = "PAPR1001"
HOST = "bench"
BLOCK = 64 * 1024
SINGLES = 5
"""At so many places of the tape a single data set is fetched."""
TWENTY = 20
NOBODY = Owner(HOST, 2**22 + 1, "before the boot")


class Model(NamedTuple):
    """An LTO generation, each of whose bytes is one of ``scale`` bytes of the real one."""

    real: Generation
    scale: int
    sets: int

    @property
    def scaled(self) -> Generation:
        """The generation that a small volume is given: with it, all takes as long as on the real one."""
        real, scale = self.real, self.scale
        speeds = real.native_speed / scale, real.slowest_speed / scale
        return replace(real, native_speed=speeds[0], slowest_speed=speeds[1], capacity=real.capacity // scale)

    @property
    def set_size(self) -> int:
        """The bytes of a data set on the small volume: together they fill it but for a tenth."""
        return int(self.scaled.capacity * 0.9 / self.sets)


class Row(NamedTuple):
    """What one way took: modelled seconds, the drive's work, GB of 10^9 real bytes read; measured seconds."""

    name: str
    seconds: float
    locates: int
    gb_read: float
    host_seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a volume, fetch from it, and print a table or JSON."""
    options = parse(arguments)
    model = Model(GENERATIONS[options.generation], options.scale, options.sets)
    blockahead.READ_ON //= model.scale  # it is chosen for the real generation's speed
    place = memory_folder(2 * model.scaled.capacity)
    with tempfile.TemporaryDirectory(prefix="papertape-bench-", dir=place) as folder:
        paths = fill(Path(folder), model)
        rows = measure(Path(folder), model, paths)
    report = {"machine": machine.describe(), "options": vars(options), "rows": [row._asdict() for row in rows]}
    print(json.dumps(report, indent=1)) if options.json else print_report(report, model, rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Fetch data sets from a full volume, beside reading it whole.")
    parser.add_argument("--generation", choices=list(GENERATIONS), default="LTO-6", help="the drive that is modelled")
    parser.add_argument("--sets", type=int, default=500, help="data sets on the volume")
    parser.add_argument("--scale", type=int, default=2000, help="real bytes for each byte that is moved")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def fill(folder: Path, model: Model) -> list[Path]:
    """Dump ``model.sets`` data sets, which take no room on disk, to a volume; no time is modelled for it."""
    paths = [folder / "night" / f"zen.{number:05}" for number in range(model.sets)]
    paths[0].parent.mkdir()
    for path in paths:
        path.touch()
        os.truncate(path, model.set_size)
    capacity = model.scaled.capacity
    create_library(folder / "library", drives=1, slots=1, capacity=capacity, volume_tags=[TAG])
    with opened(folder) as ledger:
        ledger.volumes.add([(TAG, 1, capacity)])
        list(register(ledger, HOST, [os.fsencode(path) for path in paths], {}))
        (outcome,) = dump(make_context(folder, ledger, model, None))
        assert outcome.error is None, outcome.error
        assert outcome.datasets == model.sets, outcome
    return paths


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """Have the ledger open in the block."""
    ledger = open_ledger(f"sqlite:///{folder}/ledger.sqlite", NOBODY)
    try:
        yield ledger
    finally:
        ledger.close()


def open_library(folder: Path, model: Model, clock: SimulatedClock | None) -> Library:
    """Return the library; with a clock, its drive and robot take their time."""
    virtual = VirtualLibrary(folder / "library", clock=clock)
    for drive in virtual.drives if clock else ():
        drive.timing = DriveTiming(model.scaled, clock, buffer=DriveTiming.buffer // model.scale)
    return Library(virtual.changer, virtual.drives, folder / "library" / "locks", tell_all())


def make_context(folder: Path, ledger: Ledger, model: Model, clock: SimulatedClock | None) -> Context:
    """Return what a job works with."""
    archive_size = 50 * 10**9 // model.scale
    settings = Settings(1, max(archive_size, model.set_size), BLOCK, 64 * BLOCK, folder / "spool", "in-place")
    library = open_library(folder, model, clock)
    return Context(ledger, lambda: library, settings, tell_all(), Stop(), NoLab(ledger))


def measure(folder: Path, model: Model, paths: Sequence[Path]) -> list[Row]:
    """Fetch single data sets, then twenty at once, then read the whole tape."""
    first, step = model.sets // (2 * SINGLES), model.sets // SINGLES
    singles = [fetch(folder, model, [path]) for path in paths[first::step][:SINGLES]]
    mean = Row(
        f"one data set (mean of {len(singles)} places)",
        *(statistics.mean(values) for values in list(zip(*singles, strict=True))[1:]),
    )
    twenty = fetch(folder, model, paths[:: max(1, model.sets // TWENTY)][:TWENTY])
    return [mean, twenty, read_whole(folder, model)]


def fetch(folder: Path, model: Model, paths: Sequence[Path]) -> Row:
    """Restore data sets with `papertape restore`'s own job."""
    clock, began = SimulatedClock(), time.perf_counter()
    with opened(folder) as ledger, tempfile.TemporaryDirectory(dir=folder) as to:
        wish = Wish(tuple(f"{HOST}:{path}" for path in paths))
        done = restore(make_context(folder, ledger, model, clock), wish, Path(to), lambda _: None)
        assert (done.error, done.sets, done.mounts) == (None, len(paths), 1), done
    seconds = time.perf_counter() - began
    return Row(f"{len(paths)} data sets", clock.now(), done.locates, done.read * model.scale / 1e9, seconds)


def read_whole(folder: Path, model: Model) -> Row:
    """Read every tape file to its end, as ``tar`` does on each archive in turn where nothing says what lies where."""
    clock, began, size = SimulatedClock(), time.perf_counter(), 0
    buffer = memoryview(bytearray(BLOCK))
    with open_library(folder, model, clock).reserve() as session, session.mounted([TAG]) as (drive,):
        while (found := drive.read_block(buffer)) is not Mark.END_OF_DATA:
            size += found if isinstance(found, int) else 0
    seconds = time.perf_counter() - began
    return Row("the whole tape, archive by archive", clock.now(), 0, size * model.scale / 1e9, seconds)


def print_report(report: dict[str, Any], model: Model, rows: Sequence[Row]) -> None:
    """Print the machine, a table, and what it comes to."""
    print("{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, Python {python}, load {load}".format(**report["machine"]))
    size = model.set_size * model.scale / 1e9
    what = f"{model.real.name}, {model.sets} data sets of {size:.3g} GB"
    print(f"{what}; modelled times, each byte moved stands for {model.scale:,}")
    print(f"  {'':40} {'minutes':>8} {'LOCATEs':>8} {'GB read':>9} {'measured s':>11}")
    for row in rows:
        print(
            f"  {row.name:40} {row.seconds / 60:8.1f} {row.locates:8.0f} {row.gb_read:9,.1f} {row.host_seconds:11.2f}"
        )
    whole = rows[-1]
    for row in rows[:-1]:
        print(f"  {row.name}: {whole.seconds / row.seconds:.0f} times as fast as the whole tape")


if __name__ == "__main__":
    main()
