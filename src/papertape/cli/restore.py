"""``papertape restore``: get data sets back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.output import note, tell_error
from papertape.cli.stopping import RESTORING
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.lab.unimported import Unimported
from papertape.jobs.restore import Plan, Portion, Restored
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
    help="The folder to restore into (required); it is made if it does not exist.",
)
@click.option("--volume", metavar="VOLUME", help="Restore only what is on this volume, and read it first.")
@click.option("--at", type=click.DateTime(), metavar="DATE", help="Restore the newest version before this time (UTC).")
@click.option("--dump", type=int, metavar="N", help="Restore the version in this dump.")
@click.option("--overwrite", is_flag=True, help="Replace files in DIR that differ.")
@click.option("--dry-run", is_flag=True, help="Print what would be read from which volume, and do nothing.")
def restore(
    app: App,
    patterns: tuple[str, ...],
    folder: Path,
    volume: VolumeTag | None,
    at: datetime | None,
    dump: DumpId | None,
    overwrite: bool,
    dry_run: bool,
) -> int:
    """Restore the data sets that match PATTERN (as in `papertape find`) as DIR/HOST/PATH, each in its newest version.

    papertape uses all drives at once, and reads only the parts of the tapes that are needed. A file gets its name only
    after its SHA-256 was compared. If a block cannot be read, or a file is not right, the twin is read instead and the
    bad volume is set aside.

    Identical files in DIR are skipped, so an interrupted restore is resumed with the same command. Files in DIR that
    differ are replaced only with --overwrite. Volumes that are known only from the lab's table (`papertape bridge
    history`) are imported first.
    """
    with app.running(RESTORING) as archive:
        if dry_run:
            plan, unread = archive.plan_restore(
                *patterns, to=folder, volume=volume, at=at, dump=dump, overwrite=overwrite
            )
            _show_plan(app, plan, unread)
            return 0
        done = archive.restore(
            *patterns,
            to=folder,
            volume=volume,
            at=at,
            dump=dump,
            overwrite=overwrite,
            show_plan=lambda plan: note(*_list_needed(plan)),
        )
    sets = count(done.sets, "data set")
    present = f"; {count(len(done.plan.present), 'data set')} there already" if done.plan.present else ""
    lines = [f"restored: {sets}, {count(done.files, 'file')}, {show_size(done.size)}{present}"]
    if done.mounts:
        work = f"{count(done.mounts, 'mount')}, {count(done.locates, 'LOCATE')}"
        lines.append(f"  {work}, {show_size(done.read)} read from tape")
    app.show(_describe(done), *lines)
    for name in done.sick:
        note(f"papertape: warning: {name} is not good; run `papertape recopy {name}`")
    for source, reason in done.failed[1:]:
        note(f"papertape: lost: {source}: {reason}")
    if done.error:
        tell_error(done.error)
        return done.error.exit_code
    return 0


def _show_plan(app: App, plan: Plan, unread: Sequence[Unimported]) -> None:
    portions = [_describe_portion(plan, portion) for portion in (*plan.portions, *plan.absent)]
    described: dict[str, object] = {"present": len(plan.present), "volumes": portions}
    lines = _list_needed(plan)
    if unread:
        described["unread"] = [{"volumes": item.labels, "datasets": item.datasets} for item in unread]
        for group in unread:
            sets = count(group.datasets, "data set")
            lines.append(f"to be imported first: {enumerate_names(group.labels, 'or')}, {sets} in the lab's table")
    for portion in plan.portions:
        for item in portion.sets:
            lines.append(f"  {item.source}  {show_size(item.size)}, tape file {item.tape_file}, offset {item.begin}")
    app.show(described, *lines)


def _list_needed(plan: Plan) -> list[str]:
    """Return, as lines, which volumes are needed, and where they are."""
    lines = []
    for portion in (*plan.portions, *plan.absent):
        names = [f"{copy.volume} ({plan.places[copy.volume]})" for copy in portion.copies]
        sets = f"{count(len(portion.sets), 'data set')}, {show_size(portion.size)}"
        if portion in plan.absent:
            lines.append(f"not in the library: {enumerate_names(names)}: {sets}")
        else:
            twin = f", or else {enumerate_names(names[1:])}" if names[1:] else ""
            lines.append(f"needed: {names[0]}{twin}: {sets}")
    if plan.present:
        lines.append(f"{count(len(plan.present), 'data set')} there already, and identical")
    return lines


def _describe_portion(plan: Plan, portion: Portion) -> dict[str, object]:
    return {
        "volumes": [{"volume": copy.volume, "place": plan.places[copy.volume]} for copy in portion.copies],
        "loadable": portion in plan.portions,
        "bytes": portion.size,
        "datasets": [{"source": i.source, "bytes": i.size, "tape_file": i.tape_file} for i in portion.sets],
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
        "away": [_describe_portion(done.plan, portion) for portion in done.plan.absent],
    }
