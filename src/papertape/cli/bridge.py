"""``papertape bridge``: work from the lab's own databases, and reports to them."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import click
import msgspec

from papertape.cli.app import App, command, find_app
from papertape.cli.options import json_option
from papertape.cli.output import note, print_json, say, write
from papertape.errors import HostError, PapertapeError, SourceError
from papertape.jobs.lab.databases import check as check_bridge
from papertape.jobs.lab.history import NotEntered, find_blank
from papertape.jobs.lab.pull import Pulled
from papertape.ledger import Ledger, Listing, Registration, Standing
from papertape.states import LabKind, LabState
from papertape.words import count, show_size

_ENTERED = (Registration.NEW, Registration.UPDATED, Registration.CHANGED, Registration.AGAIN)


@click.group(
    "bridge",
    short_help="Work with the lab's own databases.",
    epilog="\b\nEvery night:\n  papertape bridge pull\n  papertape dump --until-done\n  papertape bridge status",
)
@json_option
@click.pass_context
def bridge(context: click.Context, as_json: bool) -> None:
    """Take work from the lab's databases of files and tapes, and report to them ([bridge] in the config)."""
    find_app(context, as_json=as_json)


@command("check", short="Check the lab's databases.", examples="papertape bridge check")
def check(app: App) -> None:
    """Check that the option files can be read, the servers answer, and the tables have the right columns.

    Nothing is changed.
    """
    warnings: list[str] = []
    try:
        warnings.extend(check_bridge(app.config().needed_bridge()))
    except PapertapeError:
        note(*(f"warning: {warning}" for warning in warnings))  # one of them may be the cause
        raise
    lines = [*(f"warning: {warning}" for warning in warnings), "the lab's databases are as expected"]
    app.show({"ok": True, "warnings": warnings}, *lines)


@command(
    "pull", short="Register what the lab wants on tape.", examples="papertape bridge pull\npapertape bridge pull --json"
)
def pull(app: App) -> int:
    """Register the lab's rows that are marked for tape as data sets, and its free tapes as volumes.

    A row that is claimed or on tape already is skipped. A row that cannot be registered is printed with the reason; the
    others are registered.
    """
    registered = known = refused = size = troubles = 0
    with app.archive() as archive:
        labels, files = archive.pull()
        for item in chain(labels.troubles, files):
            if item.trouble:  # printed at once: there may be a million
                _show_trouble(app, item, is_first=not troubles)
                troubles += 1
            refused += item.result is None
            known += item.result in {Registration.KNOWN, Registration.CLAIMED}
            if item.result in _ENTERED:
                registered, size = registered + 1, size + item.size
    if app.json:
        sums = {"registered": registered, "known": known, "refused": refused, "bytes": size, "volumes": labels.added}
        say(("], " if troubles else '{"troubles": [], ') + msgspec.json.encode(sums).decode().removeprefix("{"))
    else:
        if labels.added:
            say(f"{count(len(labels.added), 'volume')} registered")
        already = f"; {known:,} known already" if known else ""
        left = f"; {count(refused, 'row')} left out" if refused else ""
        say(f"{count(registered, 'data set')} registered, {show_size(size)}{already}{left}")
    return SourceError.exit_code if refused else 0


def _show_trouble(app: App, item: Pulled, *, is_first: bool) -> None:
    if app.json:
        row = {"row": item.name, "trouble": item.trouble, "registered": item.result is not None}
        write(('{"troubles": [' if is_first else ",\n ") + msgspec.json.encode(row).decode())
    else:
        note(f"papertape: {item.name}: {item.trouble}")


@command(
    "push",
    short="Report to the lab what is on tape.",
    examples="papertape bridge push\npapertape bridge push --json",
)
def push(app: App) -> int:
    """Write the places of archived data sets to the lab's databases, and release rows that no dump claims any more.

    Every dump does this at its end; this command repeats what failed then. A row that somebody else has changed is
    printed and not changed.
    """
    with app.archive() as archive:
        done = archive.push()
    described = {
        "pushed": done.pushed,
        "released": done.released,
        "pending": done.pending,
        "foreign": list(done.foreign),
        "troubles": list(done.troubles),
    }
    pending = f", {done.pending:,} pending" if done.pending else ""
    app.show(described, f"{count(done.pushed, 'row')} written, {done.released:,} released{pending}")
    for name in done.foreign:
        note(f"papertape: {name}: somebody else has changed this row; it was not changed, so correct it by hand")
    for trouble in done.troubles:
        note(f"papertape: {trouble}")
    return HostError.exit_code if done.foreign or done.troubles else 0


@command(
    "history",
    short="Enter the places in the lab's table in the ledger.",
    examples="""
papertape bridge history --dry-run
papertape bridge history
papertape bridge history '*/zen.2457*'
""",
)
@click.argument("pattern", default="*")
@click.option("--dry-run", is_flag=True, help="Print what would be entered, and do nothing.")
def history(app: App, pattern: str, dry_run: bool) -> int:
    """Enter in the ledger the places of files that went to tape before papertape: rows whose tape_index is a place.

    `papertape find` then prints these places, and `papertape restore` imports the volumes that it needs. These places
    are not verified, so they make nothing deletable. Entries that the ledger has from a tape are not changed. A row
    that cannot be understood, or that contradicts a tape, is printed. PATTERN matches the lab's host:/path, as in
    `papertape find`.
    """
    results: Counter[str] = Counter()
    troubles: list[dict[str, object]] = []
    labels: set[str] = set()
    with app.archive() as archive:
        for row in archive.import_history(pattern, dry_run=dry_run):
            results[row.result] += 1
            labels.update(row.labels)
            if row.trouble and app.json:
                troubles.append({"row": row.name, "trouble": row.trouble, "remembered": not row.is_refused})
            elif row.trouble:
                note(f"papertape: {row.name}: {row.trouble}")
        blank = find_blank(archive.ledger, labels)
    entered = results[Listing.NEW] + results[Listing.MOVED]
    refused = results[NotEntered.REFUSED] + results[Listing.DISPUTED]
    if app.json:
        counts = {kind.replace(" ", "_"): results[kind] for kind in (*Listing, *NotEntered)}
        print_json({"dry_run": dry_run, "remembered": entered, **counts, "blank": blank, "troubles": troubles})
    else:
        others = {
            "known already": results[Listing.KNOWN],
            "known from the tapes": results[Listing.ON_TAPE],
            "claimed by a dump": results[NotEntered.CLAIMED],
        }
        more = "".join(f"; {number:,} {what}" for what, number in others.items() if number)
        left = f"; {count(refused, 'row')} left out" if refused else ""
        say(f"{count(entered, 'place')} {'would be entered' if dry_run else 'entered'}{more}{left}")
        for tag in blank:
            found = "blank in the ledger, but the lab's table has data on it"
            note(f"papertape: {tag}: {found}; run `papertape volumes import {tag}` to see which is right")
    return SourceError.exit_code if refused else 0


@command(
    "status",
    short="Print what is still to write to the lab's databases.",
    examples="papertape bridge status\npapertape bridge status --json",
)
def status(app: App) -> None:
    """Print how many of the lab's rows are known, claimed, written back and pending, and which ones others changed.

    Only the ledger is read.
    """
    with app.archive() as archive:
        archive.config.needed_bridge()
        ledger = archive.ledger
        counts, foreign = ledger.lab.count(), ledger.lab.foreign()
        pending, listed = count_pending(ledger), ledger.history.count()
    if app.json:
        by_kind = {kind.value: {state.value: counts.get((kind, state), 0) for state in LabState} for kind in LabKind}
        rows = [{"kind": item.kind, "row": item.name, "reason": item.reason} for item in foreign]
        history = {"listed": listed[0], "volumes": sorted(listed[1])}
        print_json({**by_kind, "pending": pending, "foreign": rows, "history": history})
        return
    for kind in LabKind:
        states = ", ".join(f"{counts[kind, state]:,} {state}" for state in LabState if (kind, state) in counts)
        say(f"{kind}s: {states or 'none'}")
    if listed[0]:
        where = count(len(listed[1]), "volume")
        say(f"history: {count(listed[0], 'data set')} known only from the lab's table, on {where}")
    if pending:
        say(f"pending: {count(pending, 'row')}; run `papertape bridge push`")
    for item in foreign:
        say(f"  {item.name}: {item.reason}")


def count_pending(ledger: Ledger) -> int:
    """Return how many of the lab's rows must still be written or released."""
    return sum(item.standing is not Standing.HELD for item in ledger.lab.marked())


for _subcommand in (check, pull, push, status, history):
    bridge.add_command(_subcommand)
