"""``papertape status``: how things stand, and what may be deleted."""

from __future__ import annotations

from collections.abc import Iterator

import click

from papertape.cli.app import App, command, open_ledger
from papertape.cli.bridge import count_pending
from papertape.cli.output import print_json, say
from papertape.jobs.context import find_lacking
from papertape.jobs.deletable import Candidate, OnDisk, find_deletable
from papertape.ledger import Ledger, VolumeStatus, is_alive
from papertape.states import VolumeState
from papertape.words import count, enumerate_names, show_size, show_table

SHOWN = 10


@command(
    "status",
    short="Print how things stand, and what may be deleted.",
    examples="papertape status\npapertape status --deletable\npapertape status --json",
)
@click.option("--deletable", is_flag=True, help="Print the paths of disk copies that may be deleted, one a line.")
def status(app: App, deletable: bool) -> None:
    """Say how many data sets, volumes and dumps are in which state, what was rejected, and what may be deleted.

    What may be deleted is archived, in doubt on no volume, and on disk still what was archived: that is looked up now.
    """
    config = app.config()
    with open_ledger(config) as ledger:
        if deletable:
            _list_deletable(app, find_deletable(ledger, config.host))
        elif app.json:
            known = ledger.status()
            print_json({"datasets": known.datasets, "volumes": known.volumes, "dumps": known.dumps})
        else:
            _show(ledger)
            show_deletable(find_deletable(ledger, config.host))


def _list_deletable(app: App, candidates: Iterator[Candidate]) -> None:
    rows = [item for item in candidates if item.on_disk is OnDisk.SAME]
    if app.json:
        print_json([{"source": item.source, "bytes": item.size} for item in rows])
        return
    for item in rows:
        say(item.source.partition(":")[2])


def _show(ledger: Ledger) -> None:
    known = ledger.status()
    rows = [
        ("data sets", "", "bytes"),
        *((state, number, show_size(known.bytes[state])) for state, number in known.datasets.items()),
    ]
    say(*show_table(rows))
    for name, counts in (("volumes", known.volumes), ("dumps", known.dumps)):
        said = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none"
        say(f"{name}: {said}")
    for orphan in ledger.dumps.orphans(is_alive):
        say(f"dump {orphan.id} was left {orphan.state} by a dead process: `papertape recover` sees to it")
    for held in ledger.dumps.held():
        names = enumerate_names(volume.tag for volume in held.volumes)
        say(f"dump {held.dump} was interrupted while it was written; the next dump begins it anew on {names}")
    for dump in ledger.dumps.incomplete():
        bad = find_lacking(ledger, dump)
        remedy = f"; `papertape recopy {bad[0]}` makes it again" if bad else ""
        say(f"dump {dump.id} is not archived, for want of a good copy on {enumerate_names(bad)}{remedy}")
    pending = count_pending(ledger)
    if pending:
        say(f"{count(pending, 'row')} of the lab's databases pending: `papertape bridge push` sees to it")
    _show_first("changed by others in the lab's databases", [f"{item.name}" for item in ledger.lab.foreign()])
    _show_first("rejected", [f"{item.source}: {item.reason}" for item in ledger.datasets.rejected()])
    _show_first("set aside", [_tell_aside(item) for item in ledger.volumes.all() if item.state == VolumeState.ASIDE])


def _tell_aside(item: VolumeStatus) -> str:
    remedy = f" (`papertape recopy {item.tag}` makes that copy again)" if item.dump else ""
    return f"{item.tag}: {item.reason}{remedy}"


def _show_first(title: str, lines: list[str]) -> None:
    if lines:
        say(f"{title}:")
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN} more")


def show_deletable(candidates: Iterator[Candidate]) -> None:
    """Print which disk copies may be deleted: how many, how large, and the first ones by name."""
    may = size = 0
    changed: list[str] = []
    names: list[str] = []
    for item in candidates:
        if item.on_disk is OnDisk.SAME:
            may, size = may + 1, size + item.size
            if len(names) < SHOWN:
                names.append(item.source)
        elif item.on_disk is OnDisk.CHANGED:
            changed.append(f"{item.source}: `papertape add` it again")
    say(f"may be deleted from disk: {count(may, 'data set')}, {show_size(size)}")
    for name in names:
        say(f"  {name}")
    if may > len(names):
        say(f"  and {may - len(names)} more: `papertape status --deletable` lists them all")
    _show_first("changed since they were archived, and so not to be deleted", changed)
