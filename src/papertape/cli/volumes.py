"""``papertape volumes``: the volumes that the ledger knows."""

from __future__ import annotations

import dataclasses

import click

from papertape.cli.app import App, command, open_ledger
from papertape.cli.options import capacity_option, json_option
from papertape.cli.output import print_json, say
from papertape.cli.volumesimport import import_
from papertape.cli.volumesshow import show_tape
from papertape.errors import UserError
from papertape.ids import VolumeTag
from papertape.jobs.setup import register_volumes
from papertape.ledger import CopyRecord, DumpRecord, VolumeStatus
from papertape.words import count, show_size, show_table

LONGEST_PLACE = 255
"""Characters of the place where a volume lies."""


@click.group("volumes", short_help="Show, add, import, place and retire volumes.", invoke_without_command=True)
@json_option
@click.pass_context
def volumes(context: click.Context, as_json: bool) -> int | None:
    """Show, add, import, place and retire volumes; without a command: show them all."""
    app = context.find_object(App) or App()
    app.json = app.json or as_json
    return context.invoke(show, as_json=as_json) if context.invoked_subcommand is None else None


@command(
    "show",
    short="Print every volume, or all that is known of one.",
    examples="papertape volumes show\npapertape volumes show PAPR1001\npapertape volumes show PAPR1001 --from-tape",
)
@click.argument("volume", required=False)
@click.option("--from-tape", is_flag=True, help="Say what the tape itself says; no ledger is needed.")
def show(app: App, volume: VolumeTag | None = None, from_tape: bool = False) -> int | None:
    """Show every volume, or one with all that is known of its copy.

    With --from-tape the volume is mounted, and its label and its catalog are read and printed: what lies on it, and
    where. The ledger is not asked, and not changed.
    """
    if from_tape:
        if volume is None:
            raise UserError("--from-tape looks at one volume: name it")
        return show_tape(app, volume)
    _show_known(app, volume)
    return None


def _show_known(app: App, volume: VolumeTag | None) -> None:
    with open_ledger(app.config()) as ledger:
        found = [ledger.volumes.one(volume)] if volume else list(ledger.volumes.all())
        dump = ledger.dumps.of_volume(volume) if volume else None
    if app.json:
        print_json([_describe(item, dump) for item in found])
        return
    head = ("volume", "copy", "state", "capacity", "dump", "place", "reason")
    rows = [(v.tag, v.copy, v.state, show_size(v.capacity), (v.dump or "")[:8], v.location, v.reason) for v in found]
    say(*show_table([head, *rows]))
    for copy in dump.copies if dump else ():
        if copy.volume == volume:
            _show_copy(copy)


def _describe(item: VolumeStatus, dump: DumpRecord | None) -> dict[str, object]:
    known = dataclasses.asdict(item)
    if dump:
        known["evidence"] = [dataclasses.asdict(copy) for copy in dump.copies if copy.volume == item.tag]
    return known


def _show_copy(copy: CopyRecord) -> None:
    moments = (("written", copy.written_at), ("flushed", copy.flushed_at), ("verified", copy.verified_at))
    drives = {"written": (copy.write_drive, copy.write_serial), "verified": (copy.verify_drive, copy.verify_serial)}
    for name, at in moments:
        where = drives.get(name)
        on = f" on drive {where[0]} ({where[1]})" if at and where and where[0] is not None else ""
        say(f"  {name}: {f'{at:%Y-%m-%d %H:%M:%S} UTC' if at else 'no'}{on}")
    if copy.bytes is not None:
        say(f"  {show_size(copy.bytes)}, {count(copy.files or 0, 'file')}, by papertape {copy.version}")
    if copy.error:
        say(f"  error: {copy.error}")


@command(
    "add",
    short="Register blank volumes.",
    examples="papertape volumes add PAPR1007 PAPR2007\npapertape volumes add --cartridge PAPR1007 PAPR2007",
)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@capacity_option
@click.option("--cartridge", is_flag=True, help="Lay new blank cartridges into slots too (virtual library only).")
def add(app: App, tags: tuple[VolumeTag, ...], capacity: int, cartridge: bool) -> None:
    """Register blank volumes; the prefix of a tag says for which copy it is.

    That a volume is blank is looked up on the tape itself before anything is written to it. One that was set aside and
    holds no finished dump comes back so: a tab that was moved, a cartridge that was not in the library.
    """
    config = app.config()
    register_volumes(config, tags, capacity)
    if cartridge:
        for tag in tags:
            config.library.add_cartridge(tag, capacity)
    if app.json:
        print_json({"added": list(tags)})
    else:
        say(f"{' '.join(tags)} registered as blank")


@command(
    "place",
    short="Note where volumes lie outside the library.",
    examples="papertape volumes place PAPR2001 PAPR2002 --at 'vault, shelf 3'",
)
@click.argument("tags", nargs=-1, required=True, metavar="VOLUME...")
@click.option("--at", "location", required=True, metavar="PLACE", help="Where, in your own words; '' for nowhere else.")
def place(app: App, tags: tuple[VolumeTag, ...], location: str) -> None:
    """Note where volumes lie outside the library; `papertape volumes show` says it."""
    if len(location) > LONGEST_PLACE or not location.isprintable():
        raise UserError(f"--at: a place is one line of at most {LONGEST_PLACE} characters")
    with open_ledger(app.config()) as ledger:
        for tag in tags:
            ledger.volumes.one(tag)  # all or none
        for tag in tags:
            ledger.volumes.place(tag, location)
    if app.json:
        print_json({"placed": list(tags), "at": location})
    else:
        say(f"{' '.join(tags)}: noted as lying {f'at {location}' if location else 'nowhere else than in the library'}")


@command(
    "retire",
    short="Take a volume out of service for good.",
    examples="papertape volumes retire PAPR1001 --reason 'torn leader'",
)
@click.argument("volume")
@click.option("--reason", default="retired by hand", show_default=True, help="Why, for the ledger.")
def retire(app: App, volume: VolumeTag, reason: str) -> None:
    """Take a volume out of service for good; what has a copy on it may not be deleted from disk any more."""
    with open_ledger(app.config()) as ledger:
        ledger.volumes.retire(volume, reason)
    if app.json:
        print_json({"retired": volume})
    else:
        say(f"{volume} is retired: nothing is written to it, and what has a copy on it may not be deleted from disk")


for _subcommand in (show, add, import_, place, retire):
    volumes.add_command(_subcommand)
