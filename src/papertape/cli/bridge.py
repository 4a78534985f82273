"""``papertape bridge``: the lab's own databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import click
import msgspec

from papertape.bridges.bridge import Bridge
from papertape.cli.app import App, command, open_ledger
from papertape.cli.options import json_option
from papertape.cli.output import note, print_json, say, write
from papertape.config import Config
from papertape.errors import ConfigError, HostError, PapertapeError, SourceError
from papertape.events import tell_all
from papertape.jobs.lab.databases import LabDatabases, Settled
from papertape.jobs.lab.databases import check as check_bridge
from papertape.jobs.lab.history import Outcome, Remembered, find_blank, import_history
from papertape.jobs.lab.pull import Pulled, pull_labels
from papertape.jobs.lab.pull import pull as pull_files
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
    """Take work from the lab's databases of files and tapes, and report back to them ([bridge] in the config)."""
    app = context.find_object(App) or App()
    app.json = app.json or as_json


def _bridge(config: Config) -> Bridge:
    if config.bridge is None:
        raise ConfigError("the config has no [bridge]; see docs/lab-databases.md for one")
    return config.bridge


@command("check", short="See whether the lab's databases will do.", examples="papertape bridge check")
def check(app: App) -> None:
    """See whether the option files can be read, the servers answer, and the tables are as expected. Changes nothing."""
    warnings: list[str] = []
    try:
        warnings.extend(check_bridge(_bridge(app.config())))
    except PapertapeError:
        note(*(f"warning: {warning}" for warning in warnings))  # one of them may be why
        raise
    if app.json:
        print_json({"ok": True, "warnings": warnings})
        return
    for warning in warnings:
        say(f"warning: {warning}")
    say("the lab's databases will do")


@command(
    "pull", short="Register what the lab wants on tape.", examples="papertape bridge pull\npapertape bridge pull --json"
)
def pull(app: App) -> int:
    """Register the rows that the lab wants on tape and nobody has as data sets, and its free tapes as volumes.

    A row that cannot be registered is named, with the reason; the others are registered.
    """
    config = app.config()
    chosen = _bridge(config)
    told = _Told(app)
    with open_ledger(config) as ledger:
        labels = pull_labels(ledger, chosen)
        for item in chain(labels.troubles, pull_files(ledger, chosen, config.host)):
            told.tell(item)
    told.end(labels.added)
    return SourceError.exit_code if told.refused else 0


class _Told:
    """What came of a pull: each trouble is told at once, for there may be a million; the sum comes in the end."""

    def __init__(self, app: App) -> None:
        self._json = app.json
        self._troubles = self._registered = self._known = self._size = 0
        self.refused = 0

    def tell(self, item: Pulled) -> None:
        """Count one row, and say what is not well with it."""
        if item.trouble:
            self._tell_trouble(item)
        self.refused += item.result is None
        self._known += item.result in {Registration.KNOWN, Registration.CLAIMED}
        if item.result in _ENTERED:
            self._registered, self._size = self._registered + 1, self._size + item.size

    def _tell_trouble(self, item: Pulled) -> None:
        if self._json:
            row = {"row": item.name, "trouble": item.trouble, "registered": item.result is not None}
            write((",\n " if self._troubles else '{"troubles": [') + msgspec.json.encode(row).decode())
        else:
            note(f"papertape: {item.name}: {item.trouble}")
        self._troubles += 1

    def end(self, labels: tuple[str, ...]) -> None:
        """Print the sum."""
        if self._json:
            sums = {"registered": self._registered, "known": self._known, "refused": self.refused, "bytes": self._size}
            rest = msgspec.json.encode({**sums, "volumes": labels}).decode().removeprefix("{")
            say(("], " if self._troubles else '{"troubles": [], ') + rest)
            return
        if labels:
            say(f"{count(len(labels), 'volume')} registered")
        more = f"; {self._known:,} known already" if self._known else ""
        refused = f"; {count(self.refused, 'row')} left out" if self.refused else ""
        say(f"{count(self._registered, 'data set')} registered, {show_size(self._size)}{more}{refused}")


@command(
    "push", short="Report to the lab what is on tape.", examples="papertape bridge push\npapertape bridge push --json"
)
def push(app: App) -> int:
    """Write into the lab's databases where archived data sets lie, and let go of what no dump has any more.

    Every dump does so at its end; this is for what could not be done then. A row that somebody else has changed is
    named, and left alone.
    """
    config = app.config()
    with open_ledger(config) as ledger:
        done = LabDatabases(ledger, _bridge(config), tell_all()).settle()
    if app.json:
        print_json(_describe(done))
    else:
        pending = f", {done.pending:,} pending" if done.pending else ""
        say(f"{count(done.pushed, 'row')} written, {done.released:,} let go{pending}")
    for name in done.foreign:
        note(f"papertape: {name}: somebody else has changed this row; it was left alone, so mend it by hand")
    for trouble in done.troubles:
        note(f"papertape: {trouble}")
    return HostError.exit_code if done.foreign or done.troubles else 0


def _describe(done: Settled) -> dict[str, object]:
    return {
        "pushed": done.pushed,
        "released": done.released,
        "pending": done.pending,
        "foreign": list(done.foreign),
        "troubles": list(done.troubles),
    }


@command(
    "history",
    short="Remember what the lab says is on tape.",
    examples="""
papertape bridge history --dry-run
papertape bridge history
papertape bridge history '*/zen.2457*'
""",
)
@click.argument("pattern", default="*")
@click.option("--dry-run", is_flag=True, help="Say what would be remembered, and do nothing.")
def history(app: App, pattern: str, dry_run: bool) -> int:
    """Remember where files lie that went to tape before papertape did: the rows whose tape_index names a place.

    `papertape find` then knows them, and `papertape restore` reads the volumes that it needs. Nothing of it is proven,
    nor ever deletable. What the ledger knows from a tape itself stays as it is. A row that cannot be understood, or
    that a tape contradicts, is named. PATTERN is one of `papertape find`, over the lab's host:/path.
    """
    config = app.config()
    chosen = _bridge(config)
    results: Counter[str] = Counter()
    troubles: list[Remembered] = []
    labels: set[str] = set()
    with open_ledger(config) as ledger:
        for row in import_history(ledger, chosen, pattern, dry_run=dry_run):
            results[row.result] += 1
            labels.update(row.labels)
            if row.trouble and app.json:
                troubles.append(row)
            elif row.trouble:
                note(f"papertape: {row.name}: {row.trouble}")
        blank = find_blank(ledger, labels)
    _tell_history(app, results, troubles, blank, dry_run)
    return SourceError.exit_code if results[Outcome.REFUSED] or results[Listing.DISPUTED] else 0


def _tell_history(
    app: App, results: Counter[str], troubles: list[Remembered], blank: Sequence[str], dry_run: bool
) -> None:
    entered = results[Listing.NEW] + results[Listing.MOVED]
    refused = results[Outcome.REFUSED] + results[Listing.DISPUTED]
    if app.json:
        rows = [{"row": item.name, "trouble": item.trouble, "remembered": not item.is_refused} for item in troubles]
        counts = {kind.replace(" ", "_"): results[kind] for kind in (*Listing, *Outcome)}
        print_json({"dry_run": dry_run, "remembered": entered, **counts, "blank": blank, "troubles": rows})
        return
    more = [
        f"; {number:,} {what}"
        for number, what in (
            (results[Listing.KNOWN], "known already"),
            (results[Listing.ON_TAPE], "known from the tapes themselves"),
            (results[Outcome.CLAIMED], "claimed by a dump"),
        )
        if number
    ]
    left = f"; {count(refused, 'row')} left out" if refused else ""
    verb = "would be remembered" if dry_run else "remembered"
    say(f"{count(entered, 'place')} {verb}{''.join(more)}{left}")
    for tag in blank:
        what = "blank in the ledger, and the lab's table has data on it"
        note(f"papertape: {tag}: {what}; `papertape volumes import {tag}` looks which is right")


@command(
    "status",
    short="Print what the lab's databases are owed.",
    examples="papertape bridge status\npapertape bridge status --json",
)
def status(app: App) -> None:
    """Say how many of the lab's rows are known, claimed and written back, what is pending, and which others changed.

    Asks the ledger alone.
    """
    config = app.config()
    _bridge(config)
    with open_ledger(config) as ledger:
        counts, foreign = ledger.lab.count(), ledger.lab.foreign()
        pending, listed = count_pending(ledger), ledger.history.count()
    if app.json:
        by_kind = {kind.value: {state.value: counts.get((kind, state), 0) for state in LabState} for kind in LabKind}
        rows = [{"kind": item.kind, "row": item.name, "reason": item.reason} for item in foreign]
        history = {"listed": listed[0], "volumes": sorted(listed[1])}
        print_json({**by_kind, "pending": pending, "foreign": rows, "history": history})
        return
    for kind in LabKind:
        said = ", ".join(f"{counts[kind, state]:,} {state}" for state in LabState if (kind, state) in counts)
        say(f"{kind}s: {said or 'none'}")
    if listed[0]:
        where = count(len(listed[1]), "volume")
        say(f"history: {count(listed[0], 'data set')} known from the lab's table alone, on {where}")
    if pending:
        say(f"pending: {count(pending, 'row')}; `papertape bridge push` sees to it")
    for item in foreign:
        say(f"  {item.name}: {item.reason}")


def count_pending(ledger: Ledger) -> int:
    """Return how many of the lab's rows are to be written, or let go, and have not been yet."""
    return sum(item.standing is not Standing.HELD for item in ledger.lab.marked())


for _subcommand in (check, pull, push, status, history):
    bridge.add_command(_subcommand)
