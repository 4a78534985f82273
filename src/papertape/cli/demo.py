"""``papertape demo``: the whole story on a virtual library."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.dump import exit_code, tell
from papertape.cli.output import note, say, tell_error
from papertape.cli.progress import open_progress
from papertape.cli.status import show_deletable
from papertape.cli.stopping import DUMPING
from papertape.jobs.register import read_md5sums
from papertape.jobs.setup import set_up_virtual
from papertape.trial.demo import RING, check_room, choose_capacity, choose_folder, list_datasets, measure
from papertape.trial.testdata import MD5SUMS, Sizes, build_testdata
from papertape.words import count, show_size

NIGHT = "night"
"""The folder of the test data, in the folder of the demo."""


@command(
    "demo",
    short="Run the whole story on a virtual library.",
    examples="papertape demo\npapertape demo /scratch/demo --source /data/2459000",
)
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--source", metavar="DIR", help="Archive this folder instead of test data; each entry is a data set.")
def demo(app: App, folder: str | None, source: str | None) -> int:
    """Run the whole story in DIR (default: papertape-demo in the current folder).

    The demo builds test data and a virtual library, registers the data, writes a pair of volumes, verifies both at the
    same time, each on the other drive, and prints what may be deleted. All files stay in DIR.
    """
    target = Path(folder) if folder else choose_folder()
    show = note if app.json else say
    if source:
        paths, md5s = list_datasets(Path(source)), {}
        check_room(target, measure(paths))
    else:
        with open_progress() as progress:
            built = build_testdata(target / NIGHT, Sizes(), 1, progress)
        paths, md5s = [os.fsencode(item.path.absolute()) for item in built], read_md5sums(target / NIGHT / MD5SUMS)
        size = show_size(sum(item.bytes for item in built))
        show(f"{target / NIGHT}: test data, {count(len(built), 'data set')}, {size}")
    capacity = choose_capacity(measure(paths))
    config, _ = set_up_virtual(target, drives=2, slots=12, capacity=capacity, generation="LTO-6", ring=RING)
    show(f"{target}: a virtual library with 2 drives and 12 blank volumes of {show_size(capacity)}")
    results: Counter[str] = Counter()
    with app.archive(config) as archive:
        for item in archive.add(paths, md5s=md5s):
            results[item.result or "refused"] += 1
            if item.error:
                tell_error(item.error)
    show(f"registered: {count(results['new'], 'data set')}, {count(len(md5s), 'declared MD5')}")
    with app.running(DUMPING, config) as running:
        (outcome,) = running.dump()
    tell(outcome, as_json=app.json)
    if not app.json:
        with app.archive(config) as archive:
            show_deletable(archive.deletable())
        program = "papertape" if shutil.which("papertape") else Path(sys.argv[0]).absolute()
        say(f"Look around: cd {target} && {program} status; tar tvf library/cartridges/PAPR1001/0002.tar")
    return exit_code(outcome)
