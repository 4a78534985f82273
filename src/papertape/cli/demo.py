"""``papertape testdata`` and ``papertape demo``: data to try things on, and the whole story on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path

import click

from papertape.cli.app import App, command, open_context, open_ledger
from papertape.cli.dump import exit_code, tell
from papertape.cli.init import SIZE, build
from papertape.cli.output import note, print_json, say, tell_error
from papertape.cli.paperdata import fill_or_clean
from papertape.cli.progress import open_progress
from papertape.cli.status import show_deletable
from papertape.config import Config
from papertape.errors import SourceError, UserError
from papertape.jobs.deletable import find_deletable
from papertape.jobs.dump import dump
from papertape.jobs.register import read_md5sums, register
from papertape.transfer.source import scan
from papertape.trial.testdata import DATA, MD5SUMS, Built, Sizes, build_testdata
from papertape.volume.names import quote
from papertape.words import count, show_size

DEMO_FOLDER = "papertape-demo"
NIGHT = "night"
SMALLEST_CAPACITY = 256 * 10**6
DEMO_RING = "128MiB"


@command(
    "testdata",
    short="Build test data.",
    examples="""
papertape testdata /scratch/night
papertape testdata /scratch/night --seed 7 --large 20 --large-bytes 1GB --small 20000
papertape testdata /scratch/night --paperdata --option-file ~/.papertape/test.cnf
papertape testdata /scratch/night --paperdata --option-file ~/.papertape/test.cnf --clean
""",
)
@click.argument("folder", metavar="DIR")
@click.option("--seed", default=1, show_default=True, metavar="N", help="The same seed and sizes give the same data.")
@click.option("--large", default=Sizes.large, show_default=True, metavar="N", help="Large incompressible files.")
@click.option(
    "--large-bytes",
    default=Sizes.large_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"Size of each.  [default: {show_size(Sizes.large_bytes)}]",
)
@click.option(
    "--small", default=Sizes.small, show_default=True, metavar="N", help="Small compressible files, in directories."
)
@click.option(
    "--small-bytes",
    default=Sizes.small_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"Size of the largest.  [default: {show_size(Sizes.small_bytes)}]",
)
@click.option("--uv", default=Sizes.uv, show_default=True, metavar="N", help="MIRIAD uv directories.")
@click.option(
    "--uv-bytes",
    default=Sizes.uv_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"Size of each visdata.  [default: {show_size(Sizes.uv_bytes)}]",
)
@click.option("--uvh5", default=Sizes.uvh5, show_default=True, metavar="N", help="uvh5 files.")
@click.option(
    "--uvh5-bytes",
    default=Sizes.uvh5_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"Size of each.  [default: {show_size(Sizes.uvh5_bytes)}]",
)
@click.option("--empty", default=Sizes.empty, show_default=True, metavar="N", help="Empty files.")
@click.option("--links", default=Sizes.links, show_default=True, metavar="N", help="Symbolic links.")
@click.option("--odd", default=Sizes.odd, show_default=True, metavar="N", help="Files with odd names.")
@click.option("--paperdata", is_flag=True, help="Put rows for it into the lab's tables, in a test database.")
@click.option(
    "--option-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --paperdata: leads to the test database.  [default: those in [bridge]]",
)
@click.option(
    "--pairs", default=6, show_default=True, type=click.IntRange(0, 499), metavar="N", help="Free tapes of each prefix."
)
@click.option("--clean", is_flag=True, help="With --paperdata: take these rows out again.")
def testdata(
    app: App,
    folder: str,
    seed: int,
    paperdata: bool,
    option_file: Path | None,
    pairs: int,
    clean: bool,
    **numbers: int,
) -> None:
    """Build test data in DIR, the same for the same seed and sizes, with an md5sums.txt for `papertape add`.

    With --paperdata there are also rows for it, and free tapes, in a test database of the lab's tables, which are made
    there if they are missing: for `papertape bridge pull`. The database's name must end in `test`. Test data that is
    in DIR already is taken as it is, and rows that are there already stay. --clean takes out what was put in for DIR,
    and nothing else; DIR itself stays.
    """
    if not paperdata and (clean or option_file):
        raise UserError("--clean and --option-file are for --paperdata; add it")
    sizes = Sizes(**{field.name: numbers[field.name] for field in fields(Sizes)})
    if paperdata:
        fill_or_clean(app, Path(folder), option_file, pairs, None if clean else partial(_build, sizes, seed))
        return
    built = _build(sizes, seed, Path(folder))
    total = sum(item.bytes for item in built)
    if app.json:
        print_json(
            [
                {
                    "path": quote(os.fsencode(item.path)),
                    "bytes": item.bytes,
                    "files": item.files,
                    "md5": item.md5,
                }
                for item in built
            ]
        )
        return
    say(
        f"{folder}: {count(len(built), 'data set')}, {show_size(total)}",
        f"Next: papertape add --md5sums {Path(folder) / MD5SUMS} {Path(folder) / DATA}/*",
    )


def _build(sizes: Sizes, seed: int, folder: Path) -> list[Built]:
    with open_progress() as progress:
        return build_testdata(folder, sizes, seed, progress)


@command(
    "demo",
    short="Run the whole story on a virtual library.",
    examples="papertape demo\npapertape demo /scratch/demo --source /data/2459000",
)
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--source", metavar="DIR", help="Archive what lies in this folder, each entry a data set.")
def demo(app: App, folder: str | None, source: str | None) -> int:
    """Run the whole story in DIR (default: papertape-demo, here): test data, a virtual library, register, dump to a
    pair, verify both at once on the other drive, and say what may be deleted. Everything stays there to be looked at.
    """
    target = Path(folder) if folder else _free_folder()
    paths = _list_source(Path(source)) if source else []
    needed = sum(_size(path) for path in paths)
    _check_room(target, needed)
    if not source:
        paths = _build_night(app, target / NIGHT)
        needed = sum(_size(path) for path in paths)
    capacity = max(SMALLEST_CAPACITY, needed * 3 // 2)
    config = build(target, 2, 12, capacity, "LTO-6", DEMO_RING)
    _say(app, f"{target}: a virtual library with 2 drives and 12 blank volumes of {show_size(capacity)}")
    md5s = {} if source else read_md5sums(target / NIGHT / MD5SUMS)
    _register(app, config, paths, md5s)
    with open_context(config) as context:
        (outcome,) = dump(context)
    tell(outcome, as_json=app.json)
    if not app.json:
        with open_ledger(config) as ledger:
            show_deletable(find_deletable(ledger, config.host))
        program = "papertape" if shutil.which("papertape") else Path(sys.argv[0]).absolute()
        say(f"Look around: cd {target} && {program} status; tar tvf library/cartridges/PAPR1001/0002.tar")
    return exit_code(outcome)


def _say(app: App, sentence: str) -> None:
    (note if app.json else say)(sentence)


def _free_folder() -> Path:
    """Return a folder that is not there yet: a second demo leaves the first one alone."""
    number = 1
    while (folder := Path(DEMO_FOLDER if number == 1 else f"{DEMO_FOLDER}-{number}")).exists():
        number += 1
    return folder


def _list_source(source: Path) -> list[bytes]:
    try:
        names = sorted(os.listdir(os.fsencode(source)))
    except OSError as error:
        raise UserError(f"{source}: cannot be listed ({error.strerror})") from error
    if not names:
        raise UserError(f"{source}: there is nothing in it to archive")
    return [os.path.join(os.fsencode(source.absolute()), name) for name in names]


def _size(path: bytes) -> int:
    try:
        return scan("demo", path).tape_bytes
    except SourceError:
        return 0  # said when it is registered


def _check_room(target: Path, size: int) -> None:
    """Raise UserError unless the disk has room for two copies and a little more."""
    parent = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
    needed, free = size * 22 // 10, shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"{target}: two copies need {show_size(needed)}, the disk has {show_size(free)}: choose another"
        )


def _build_night(app: App, night: Path) -> list[bytes]:
    with open_progress() as progress:
        built = build_testdata(night, Sizes(), 1, progress)
    _say(app, f"{night}: test data, {count(len(built), 'data set')}, {show_size(sum(item.bytes for item in built))}")
    return [os.fsencode(item.path.absolute()) for item in built]


def _register(app: App, config: Config, paths: Iterable[bytes], md5s: dict[bytes, str]) -> None:
    results: Counter[str] = Counter()
    with open_ledger(config) as ledger:
        for item in register(ledger, config.host, paths, md5s):
            results[item.result or "refused"] += 1
            if item.error:
                tell_error(item.error)
    _say(app, f"registered: {count(results['new'], 'data set')}, {count(len(md5s), 'declared MD5')}")
