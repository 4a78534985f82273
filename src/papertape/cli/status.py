"""``papertape status``: the state of data sets, volumes and dumps, and what may be deleted."""

from __future__ import annotations

from collections.abc import Iterator

import click

from papertape.cli.app import App, command
from papertape.cli.bridge import count_pending
from papertape.cli.output import print_json, say
from papertape.jobs.deletable import Candidate, OnDisk
from papertape.ledger import Ledger, is_alive
from papertape.states import VolumeState
from papertape.volume.names import quote
from papertape.words import count, enumerate_names, show_size, show_table

SHOWN = 10
"""How many entries of a list are printed."""


@command(
    "status",
    short="Print the state of everything, and what may be deleted.",
    examples="papertape status\npapertape status --deletable\npapertape status --json",
)
@click.option("--deletable", is_flag=True, help="Print the paths of the disk copies that may be deleted, one per line.")
def status(app: App, deletable: bool) -> None:
    """Print how many data sets, volumes and dumps are in which state, what was rejected, and what may be deleted.

    A disk copy may be deleted if its data set is archived, all its volumes are good, and the copy on disk has not
    changed since. papertape checks the disk copies now, and deletes nothing.
    """
    with app.archive() as archive:
        ledger = archive.ledger
        if deletable:
            may = [item for item in archive.deletable() if item.on_disk is OnDisk.SAME]
            if app.json:
                print_json([{"source": str(item.source), "bytes": item.size} for item in may])
            else:
                for item in may:
                    say(quote(item.source.path))
        elif app.json:
            known = archive.status()
            print_json({"datasets": known.datasets, "volumes": known.volumes, "dumps": known.dumps})
        else:
            known = archive.status()
            rows = [(state, number, show_size(known.bytes[state])) for state, number in known.datasets.items()]
            say(*show_table([("data sets", "", "bytes"), *rows]))
            for name, counts in (("volumes", known.volumes), ("dumps", known.dumps)):
                states = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none"
                say(f"{name}: {states}")
            _show_work(ledger)
            show_deletable(archive.deletable())


def _show_work(ledger: Ledger) -> None:
    """Print what the operator must look at, each with the command to run."""
    for orphan in ledger.dumps.orphans(is_alive):
        say(f"dump {orphan.id} is {orphan.state}, and its process is dead: run `papertape recover`")
    for held in ledger.dumps.held():
        names = enumerate_names(volume.tag for volume in held.volumes)
        say(f"dump {held.dump} was interrupted while it was written; the next dump starts it again on {names}")
    for dump in ledger.dumps.incomplete():
        bad = dump.lacking
        remedy = f"; run `papertape recopy {bad[0]}`" if bad else ""
        say(f"dump {dump.id} is not archived: no good copy on {enumerate_names(bad)}{remedy}")
    pending = count_pending(ledger)
    if pending:
        say(f"{count(pending, 'row')} to write to the lab's databases: run `papertape bridge push`")
    _show_first("changed by others in the lab's databases", [item.name for item in ledger.lab.foreign()])
    _show_first("rejected", [f"{item.source}: {item.reason}" for item in ledger.datasets.rejected()])
    aside = []
    for item in ledger.volumes.all():
        if item.state == VolumeState.ASIDE:
            remedy = f" (`papertape recopy {item.tag}` writes that copy again)" if item.dump else ""
            aside.append(f"{item.tag}: {item.reason}{remedy}")
    _show_first("set aside", aside)


def _show_first(title: str, lines: list[str]) -> None:
    if lines:
        say(f"{title}:", *(f"  {line}" for line in lines[:SHOWN]))
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN} more")


def show_deletable(candidates: Iterator[Candidate]) -> None:
    """Print which disk copies may be deleted: how many, how large, and the first ones by name."""
    may = size = 0
    changed: list[str] = []
    names: list[str] = []
    for item in candidates:  # there may be a million: only what is printed is kept
        if item.on_disk is OnDisk.SAME:
            may, size = may + 1, size + item.size
            if len(names) < SHOWN:
                names.append(str(item.source))
        elif item.on_disk is OnDisk.CHANGED:
            changed.append(f"{item.source}: run `papertape add` for it again")
    say(f"may be deleted from disk: {count(may, 'data set')}, {show_size(size)}", *(f"  {name}" for name in names))
    if may > len(names):
        say(f"  and {may - len(names)} more; `papertape status --deletable` lists them all")
    _show_first("changed since they were archived, so they must not be deleted", changed)
