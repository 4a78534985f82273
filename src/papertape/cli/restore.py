"""``papertape restore``: get data sets back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from papertape.cli.app import App, command, open_context
from papertape.cli.options import DEFAULT_CAPACITY
from papertape.cli.output import note, print_json, say, tell_error
from papertape.cli.stopping import RESTORING
from papertape.config import Config
from papertape.errors import NothingToDo, PapertapeError
from papertape.ids import VolumeTag
from papertape.jobs import restore as job
from papertape.jobs.context import Context
from papertape.jobs.lab.unimported import Unread, find_unread, import_unread, wants_unknown
from papertape.jobs.restore import Errand, Plan, Restored, Wish, plan_only
from papertape.words import count, enumerate_names, show_size


@command(
    "restore",
    short="Get data sets back from tape.",
    examples="""
papertape restore zen.2459000.4 --to /data/back
papertape restore '/data/2459000/*' --to /data/back --dry-run
papertape restore '*' --volume PAPR1001 --to /data/back
papertape restore zen.2459000.4 --at 2026-03-01 --to /data/back
""",
)
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to; made if it is missing.",
)
@click.option("--volume", metavar="VOLUME", help="Read from this volume first, and only what is on it.")
@click.option("--at", type=click.DateTime(), metavar="DATE", help="The version that was the newest then (UTC).")
@click.option("--dump", type=int, metavar="N", help="The version in this dump.")
@click.option("--overwrite", is_flag=True, help="Replace files in DIR that are not the same.")
@click.option("--dry-run", is_flag=True, help="Say what would be read from where, and do nothing.")
def restore(
    app: App,
    patterns: tuple[str, ...],
    folder: Path,
    volume: VolumeTag | None,
    at: datetime | None,
    dump: int | None,
    overwrite: bool,
    dry_run: bool,
) -> int:
    """Get the data sets that match PATTERN (as in `papertape find`) back, each as DIR/HOST/PATH, in its newest version.

    All drives are used at once; only what is needed is read, and every file is held against its SHA-256 before it gets
    its name. A block that cannot be read, or a file that is not right, is taken from the twin, and the sick volume is
    set aside. What is there already and the same is not read again: cut off, the same command goes on. What is there
    and not the same is never replaced, but with --overwrite. Volumes that only the lab's table of files tells of
    (`papertape bridge history`) are imported first.
    """
    wish = Wish(patterns, volume, at.replace(tzinfo=UTC) if at else None, dump)
    config = app.config()
    with open_context(config, RESTORING) as context:
        if dry_run:
            unread = find_unread(context.ledger, wish)
            _show_plan(app, _plan(context, wish, folder, overwrite, unread), unread)
            return 0
        left = _import_unread(context, wish, config)
        if left and wants_unknown(context.ledger, wish):
            raise left
        try:
            done = job.restore(context, wish, folder, lambda plan: note(*_describe_plan(plan)), overwrite=overwrite)
        except NothingToDo as nothing:
            raise left or nothing from None
    return _tell(app, done, left)


def _tell(app: App, done: Restored, left: PapertapeError | None) -> int:
    """Say what was done, and return the exit code; ``left`` is what was wrong before anything was restored."""
    if app.json:
        print_json(_describe(done))
    else:
        _show(done)
    for name in done.sick:
        note(f"papertape: warning: {name} is not good; `papertape recopy {name}` makes that copy again")
    for source, reason in done.failed[1:]:
        note(f"papertape: lost: {source}: {reason}")
    error = done.error or left
    if error:
        tell_error(error)
        return error.exit_code
    return 0


def _plan(context: Context, wish: Wish, folder: Path, overwrite: bool, unread: list[Unread]) -> Plan:
    nothing = Plan((), (), (), {})
    if unread and wants_unknown(context.ledger, wish):
        return nothing
    try:
        return plan_only(context, wish, folder, overwrite=overwrite)
    except NothingToDo:
        if unread:
            return nothing
        raise


def _import_unread(context: Context, wish: Wish, config: Config) -> PapertapeError | None:
    """Import what only the lab's table knows of, say so, and return what is wrong if that is not all."""
    results, left = import_unread(context, wish, DEFAULT_CAPACITY, config.copy_of)
    for result in results:
        note(f"papertape: {result.error}" if result.error else f"imported: {result.volume}, which nobody had read")
    return left


def _show_plan(app: App, plan: Plan, unread: list[Unread]) -> None:
    if app.json:
        errands = [_describe_errand(plan, errand) for errand in (*plan.errands, *plan.absent)]
        more = {"unread": [{"volumes": item.labels, "datasets": item.sets} for item in unread]} if unread else {}
        print_json({"present": len(plan.present), "volumes": errands, **more})
    else:
        say(*_describe_plan(plan))
        for group in unread:
            sets = count(group.sets, "data set")
            say(f"to be imported first: {enumerate_names(group.labels, 'or')}, with {sets} by the lab's table")
        for errand in plan.errands:
            for item in errand.sets:
                say(f"  {item.source}  {show_size(item.size)}, tape file {item.tape_file}, offset {item.begin}")


def _describe_plan(plan: Plan) -> list[str]:
    """Return which volumes are needed and where they are, as lines."""
    lines = [_tell_errand(plan, errand) for errand in plan.errands]
    for errand in plan.absent:
        places = enumerate_names(f"{copy.volume} ({plan.places[copy.volume]})" for copy in errand.copies)
        lines.append(f"not in the library: {places}, with {_count(errand)}")
    if plan.present:
        lines.append(f"{count(len(plan.present), 'data set')} there already, and the same")
    return lines


def _tell_errand(plan: Plan, errand: Errand) -> str:
    first, *others = (f"{copy.volume} ({plan.places[copy.volume]})" for copy in errand.copies)
    twin = f", else {enumerate_names(others)}" if others else ""
    return f"needed: {first}{twin}, with {_count(errand)}"


def _count(errand: Errand) -> str:
    return f"{count(len(errand.sets), 'data set')}, {show_size(errand.size)}"


def _describe_errand(plan: Plan, errand: Errand) -> dict[str, object]:
    return {
        "volumes": [{"volume": copy.volume, "place": plan.places[copy.volume]} for copy in errand.copies],
        "loadable": errand in plan.errands,
        "bytes": errand.size,
        "datasets": [{"source": i.source, "bytes": i.size, "tape_file": i.tape_file} for i in errand.sets],
    }


def _describe(done: Restored) -> dict[str, object]:
    return {
        "restored": done.sets,
        "present": len(done.plan.present),
        "files": done.files,
        "bytes": done.size,
        "mounts": done.mounts,
        "locates": done.locates,
        "bytes_read": done.read,
        "sick": [{"volume": volume, "reason": reason} for volume, reason in done.sick.items()],
        "failed": [{"source": source, "reason": reason} for source, reason in done.failed],
        "in_the_way": [{"source": item.source, "reason": item.reason} for item in done.obstacles],
        "away": [_describe_errand(done.plan, errand) for errand in done.plan.absent],
    }


def _show(done: Restored) -> None:
    also = f"; {count(len(done.plan.present), 'data set')} there already" if done.plan.present else ""
    what = f"{count(done.sets, 'data set')}, {count(done.files, 'file')}, {show_size(done.size)}"
    say(f"restored: {what}{also}")
    if done.mounts:
        work = f"{count(done.mounts, 'mount')}, {count(done.locates, 'LOCATE')}, {show_size(done.read)} read"
        say(f"  {work} from tape")
