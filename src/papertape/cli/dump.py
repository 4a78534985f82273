"""``papertape plan``, ``dump`` and ``recover``: the main job, what it would do, and what is left of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import click
import msgspec

from papertape.cli.app import App, command, open_context, open_ledger
from papertape.cli.output import print_json, say, tell_error
from papertape.cli.verify import describe as describe_verification
from papertape.cli.verify import show as show_verification
from papertape.config import Config
from papertape.errors import Interrupted, NothingToDo, SourceError
from papertape.events import tell_all
from papertape.jobs import dump as job
from papertape.jobs.context import Context, Outcome
from papertape.jobs.dump import plan_next
from papertape.jobs.opening import open_library
from papertape.plan import Batch
from papertape.settings import MOUNTS
from papertape.states import DumpState
from papertape.words import count, enumerate_names, show_size


@command(
    "plan", short="Print what the next dump would do.", examples="papertape plan\npapertape plan --json | jq .archives"
)
def plan(app: App) -> None:
    """Print what the next dump would do: which data sets, in which archives, onto which volumes. Changes nothing."""
    _show_plan(app, app.config())


def _show_plan(app: App, config: Config) -> None:
    with open_ledger(config) as ledger:
        batch, resumed = plan_next(ledger, open_library(config, tell_all()), config.settings)
    if app.json:
        print_json(_describe_plan(batch))
        return
    again = " (again: it was interrupted while it was written)" if resumed else ""
    names = enumerate_names(volume.tag for volume in batch.volumes)
    sets = sum(len(archive) for archive in batch.archives)
    archives = count(len(batch.archives), "archive")
    say(f"dump onto {names}{again}: {count(sets, 'data set')} in {archives}, {show_size(batch.tape_bytes)} a volume")
    for number, archive in enumerate(batch.archives, 2):
        size = show_size(sum(dataset.size for dataset in archive))
        span = f"{archive[0].source} ... {archive[-1].source}" if len(archive) > 1 else archive[0].source
        say(f"  tape file {number}: {count(len(archive), 'data set')}, {size}: {span}")
    for dataset, reason in batch.refused:
        say(f"  refused: {dataset.source}: {reason}")


def _describe_plan(batch: Batch) -> dict[str, object]:
    return {
        "dump": batch.dump,
        "volumes": [volume.tag for volume in batch.volumes],
        "tape_bytes": batch.tape_bytes,
        "archives": [
            {
                "tape_file": number,
                "datasets": [{"source": item.source, "files": item.files, "bytes": item.size} for item in archive],
            }
            for number, archive in enumerate(batch.archives, 2)
        ],
        "refused": [{"source": dataset.source, "reason": reason} for dataset, reason in batch.refused],
    }


@command(
    "dump",
    short="Write a pair, verify the pair, record it.",
    examples="papertape dump\npapertape dump --until-done --mount reload\npapertape dump --json",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@click.option("--mount", type=click.Choice(MOUNTS), help="How the verifying mount is made.  [default: the config's]")
@click.option("--until-done", is_flag=True, help="Dump after dump, until no data set waits.")
def dump(app: App, dry_run: bool, mount: str | None, until_done: bool) -> int:
    """Fill a pair of volumes with what waits, from one read of the disk; unload them; read both back whole, each on
    the other drive, at the same time; and if every byte is right, record that the data sets are archived.

    What a dead process left over is seen to first, as by `papertape recover`. Ctrl-C once: the dump ends at the next
    archive, and what is on tape by then is verified and recorded. Twice: at once.
    """
    config = app.config()
    if mount:
        config = msgspec.structs.replace(config, settings=dataclasses.replace(config.settings, mount=mount))
    if dry_run:
        _show_plan(app, config)
        return 0
    code = 0
    with open_context(config) as context:
        for outcome in _run_all(context, until_done=until_done):
            tell(outcome, as_json=app.json)
            code = _worse(code, outcome)
        return _stopped(context, code)


def _run_all(context: Context, *, until_done: bool) -> Iterator[Outcome]:
    """Dump once, or until nothing waits; raises NothingToDo if there was nothing to do at all."""
    done = False
    while not context.stop.soon:
        try:
            outcomes = job.dump(context)
        except NothingToDo:
            if done:
                return
            raise
        yield from outcomes
        done = True
        if outcomes[-1].error or not until_done:
            return


def _worse(code: int, outcome: Outcome) -> int:
    """Return the exit code after one more outcome: an error's before that of rejected sources before none."""
    return code if code not in {0, SourceError.exit_code} else exit_code(outcome) or code


def _stopped(context: Context, code: int) -> int:
    """Return the exit code of a run that the operator may have cut short; what is sick comes before that."""
    return Interrupted.exit_code if context.stop.soon and code in {0, SourceError.exit_code} else code


def exit_code(outcome: Outcome) -> int:
    """Return the exit code that says what became of a dump."""
    if outcome.error:
        return outcome.error.exit_code
    return SourceError.exit_code if outcome.rejected else 0


@command(
    "recover", short="Finish or undo what dead processes left.", examples="papertape recover\npapertape recover --undo"
)
@click.option("--undo", is_flag=True, help="Give up what was written and not verified; its volumes are set aside.")
def recover(app: App, undo: bool) -> int:
    """Finish or undo what dead processes left: a dump that was written is verified and recorded; one that was still
    being written is undone, and the next dump begins it anew on the same volumes. What they left in drives is brought
    home.
    """
    code = 0
    with open_context(app.config()) as context:
        outcomes = job.recover(context, undo=undo)
    for outcome in outcomes:
        code = _worse(code, outcome)
        if not app.json:
            tell(outcome, as_json=False)
        elif outcome.error:
            tell_error(outcome.error)
    code = _stopped(context, code)
    if app.json:
        print_json([describe(outcome) for outcome in outcomes])
    if not outcomes:
        raise NothingToDo("no process has died and left anything behind")
    return code


def describe(outcome: Outcome) -> dict[str, object]:
    """Return what became of a dump in the form of ``dump --json``."""
    return {
        "dump": outcome.dump,
        "state": outcome.state,
        "volumes": list(outcome.volumes),
        "datasets": outcome.datasets,
        "files": outcome.files,
        "bytes": outcome.size,
        "lacking": list(outcome.lacking),
        "rejected": [{"source": source, "reason": reason} for source, reason in outcome.rejected],
        "verifications": [describe_verification(item) for item in outcome.verifications],
    }


def tell(outcome: Outcome, *, as_json: bool) -> None:
    """Print what became of a dump, its error on standard error."""
    if as_json:
        print_json(describe(outcome))
    else:
        _show(outcome)
    if outcome.error:
        tell_error(outcome.error)


def _show(outcome: Outcome) -> None:
    for verification in outcome.verifications:
        show_verification(verification)
    names = enumerate_names(outcome.volumes)
    what = f"{count(outcome.datasets, 'data set')}, {count(outcome.files, 'file')}, {show_size(outcome.size)}"
    if outcome.state == DumpState.ARCHIVED:
        say(f"dump {outcome.dump} is archived on {names}: {what}")
    elif outcome.state == DumpState.PLANNED:
        say(f"dump {outcome.dump} is not archived; the next dump begins it anew on {names}")
    elif outcome.lacking:
        _show_lacking(outcome)
    elif outcome.state in {DumpState.WRITTEN, DumpState.VERIFYING}:
        say(f"dump {outcome.dump} is written to {names} and not verified yet: `papertape recover` goes on with it")
    elif outcome.dump:
        word = "was abandoned" if outcome.state == DumpState.ABANDONED else outcome.state
        say(f"dump {outcome.dump} {word}: nothing of it is archived, its data sets wait again")
    _show_rejected(outcome)


def _show_lacking(outcome: Outcome) -> None:
    bad = enumerate_names(outcome.lacking)
    good = enumerate_names(volume for volume in outcome.volumes if volume not in outcome.lacking) or "no volume"
    remedy = f"`papertape recopy {outcome.lacking[0]}` makes that copy again"
    say(f"dump {outcome.dump} is not archived: it is good on {good} and not on {bad}; {remedy}")


def _show_rejected(outcome: Outcome) -> None:
    if outcome.rejected:
        say(f"{count(len(outcome.rejected), 'data set')} rejected; mend what is wrong and `papertape add` again:")
        for source, reason in outcome.rejected:
            say(f"  {source}: {reason}")
