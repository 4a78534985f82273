"""``papertape plan``, ``dump`` and ``recover``: the main job, what it would do, and what it left after a crash."""

from __future__ import annotations

from collections.abc import Sequence

import click

from papertape.api import Archive
from papertape.cli.app import App, command
from papertape.cli.output import print_json, say, tell_error
from papertape.cli.stopping import DUMPING
from papertape.cli.verify import describe as describe_verification
from papertape.cli.verify import show as show_verification
from papertape.errors import Interrupted, NothingToDo, SourceError
from papertape.jobs.context import Outcome
from papertape.settings import MOUNTS
from papertape.states import DumpState
from papertape.words import count, enumerate_names, show_size


@command(
    "plan", short="Print what the next dump would do.", examples="papertape plan\npapertape plan --json | jq .archives"
)
def plan(app: App) -> None:
    """Print what the next dump would write: which data sets, in which archives, onto which volumes.

    Nothing is changed.
    """
    show_plan(app)


def show_plan(app: App) -> None:
    """Print the plan of the next dump; nothing is changed."""
    with app.archive() as opened:
        batch, resumed = opened.plan()
    archives = []
    again = " (again: it was interrupted while it was written)" if resumed else ""
    names = enumerate_names(volume.tag for volume in batch.volumes)
    sets = count(sum(len(archive) for archive in batch.archives), "data set")
    held = f"{sets} in {count(len(batch.archives), 'archive')}, {show_size(batch.tape_bytes)} per volume"
    lines = [f"dump onto {names}{again}: {held}"]
    for number, archive in enumerate(batch.archives, 2):  # tape file 0 is the label, 1 the plan
        items = [{"source": str(item.source), "files": item.files, "bytes": item.size} for item in archive]
        archives.append({"tape_file": number, "datasets": items})
        size = show_size(sum(item.size for item in archive))
        span = f"{archive[0].source} ... {archive[-1].source}" if len(archive) > 1 else archive[0].source
        lines.append(f"  tape file {number}: {count(len(archive), 'data set')}, {size}: {span}")
    lines += [f"  refused: {dataset.source}: {reason}" for dataset, reason in batch.refused]
    described = {
        "dump": batch.dump,
        "volumes": [volume.tag for volume in batch.volumes],
        "tape_bytes": batch.tape_bytes,
        "archives": archives,
        "refused": [{"source": str(dataset.source), "reason": reason} for dataset, reason in batch.refused],
    }
    app.show(described, *lines)


@command(
    "dump",
    short="Write a pair of volumes, verify both, record it.",
    examples="papertape dump\npapertape dump --until-done --mount reload\npapertape dump --json",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@click.option(
    "--mount", type=click.Choice(MOUNTS), help="How volumes are mounted to be verified.  [default: the config's]"
)
@click.option("--until-done", is_flag=True, help="Repeat until no data set waits.")
def dump(app: App, dry_run: bool, mount: str | None, until_done: bool) -> int:
    """Write the waiting data sets to a pair of blank volumes, reading the disk once, and unload both. Then verify both
    at the same time, each on the other drive. If every byte is right, record that the data sets are archived.

    First, the dumps of dead processes are finished or undone, as by `papertape recover`.

    Press Ctrl-C once to stop after the current archive: everything that is on tape by then is verified and recorded.
    Press it twice to stop at once.
    """
    if dry_run:
        show_plan(app)
        return 0
    with app.running(DUMPING, mount=mount) as archive:
        # The dump recovers first, too; this is for the report, which is printed even if the dump cannot begin.
        recovered = archive.recover()
        code = _report(app, recovered, 0)
        try:
            if not archive.stop.soon:
                for outcomes in archive.dump_all() if until_done else [archive.dump()]:
                    code = _report(app, outcomes, code)
        except NothingToDo:
            if not recovered:
                raise
        return _stopped_code(archive, code)


def _report(app: App, outcomes: Sequence[Outcome], code: int) -> int:
    """Print outcomes, and return the exit code for these and for what had ``code``."""
    for outcome in outcomes:
        tell(outcome, as_json=app.json)
        code = _choose_code(code, exit_code(outcome))
    return code


def _choose_code(code: int, other: int) -> int:
    """Return the exit code for two outcomes: the first error, else that of rejected sources, else 0."""
    return code if code not in {0, SourceError.exit_code} else other or code


def _stopped_code(archive: Archive, code: int) -> int:
    """Return the exit code of a run that the operator may have stopped; an error is more important than that."""
    return Interrupted.exit_code if archive.stop.soon and code in {0, SourceError.exit_code} else code


def exit_code(outcome: Outcome) -> int:
    """Return the exit code for one dump."""
    if outcome.error:
        return outcome.error.exit_code
    return SourceError.exit_code if outcome.rejected else 0


@command(
    "recover", short="Finish or undo what dead processes left.", examples="papertape recover\npapertape recover --undo"
)
@click.option(
    "--undo", is_flag=True, help="Also undo dumps that are written but not verified; their volumes are set aside."
)
def recover(app: App, undo: bool) -> int:
    """Finish or undo the dumps of dead processes.

    A dump that was written is verified and recorded. A dump that was still being written is undone; the next dump
    starts it again on the same volumes. Cartridges that a dead process left in drives are returned to their slots.
    """
    code = 0
    with app.running(DUMPING) as archive:
        outcomes = archive.recover(undo=undo)
    for outcome in outcomes:
        code = _choose_code(code, exit_code(outcome))
        if not app.json:
            tell(outcome, as_json=False)
        elif outcome.error:
            tell_error(outcome.error)
    if app.json:
        print_json([describe(outcome) for outcome in outcomes])
    if not outcomes:
        raise NothingToDo("no dead process has left anything to recover")
    return _stopped_code(archive, code)


def describe(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as ``dump --json`` prints it."""
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
    """Print an outcome, and its error on standard error."""
    if as_json:
        print_json(describe(outcome))
    else:
        for verification in outcome.verifications:
            show_verification(verification)
        if outcome.dump:
            say(_say_state(outcome))
        if outcome.rejected:
            sets = count(len(outcome.rejected), "data set")
            say(f"{sets} rejected; correct the cause and run `papertape add` for them again:")
            say(*(f"  {source}: {reason}" for source, reason in outcome.rejected))
    if outcome.error:
        tell_error(outcome.error)


def _say_state(outcome: Outcome) -> str:
    """Return a sentence on the state that a dump is in now, with the command to run."""
    dump, names = f"dump {outcome.dump}", enumerate_names(outcome.volumes)
    match outcome.state:
        case DumpState.ARCHIVED:
            sizes = f"{count(outcome.datasets, 'data set')}, {count(outcome.files, 'file')}, {show_size(outcome.size)}"
            return f"{dump} is archived on {names}: {sizes}"
        case DumpState.PLANNED:
            return f"{dump} is not archived; the next dump starts it again on {names}"
    if outcome.lacking:
        bad = enumerate_names(outcome.lacking)
        good = enumerate_names(volume for volume in outcome.volumes if volume not in outcome.lacking) or "no volume"
        remedy = f"run `papertape recopy {outcome.lacking[0]}`"
        return f"{dump} is not archived: it is good on {good} and not good on {bad}; {remedy}"
    if outcome.state in {DumpState.WRITTEN, DumpState.VERIFYING}:
        return f"{dump} is written to {names} and not verified yet: run `papertape recover`"
    word = "was abandoned" if outcome.state == DumpState.ABANDONED else outcome.state
    return f"{dump} {word}: nothing of it is archived, and its data sets wait again"
