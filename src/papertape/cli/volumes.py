"""``papertape volumes``: the volumes in the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import click

from papertape.cli.app import App, command, find_app
from papertape.cli.importvolumes import import_
from papertape.cli.options import capacity_option, json_option
from papertape.cli.showtape import show_tape
from papertape.errors import UserError
from papertape.ids import VolumeTag
from papertape.jobs.setup import register_volumes
from papertape.ledger import CopyRecord
from papertape.words import count, enumerate_names, show_size, show_table

LONGEST_PLACE = 255
"""The most characters of a place, as the ledger's column has them."""


@click.group("volumes", short_help="Show, add, import, place and retire volumes.", invoke_without_command=True)
@json_option
@click.pass_context
def volumes(context: click.Context, as_json: bool) -> int | None:
    """Show, add, import, place and retire volumes; without a command: show all volumes."""
    find_app(context, as_json=as_json)
    return context.invoke(show, as_json=as_json) if context.invoked_subcommand is None else None


@command(
    "show",
    short="Print all volumes, or one with all that is known of it.",
    examples="papertape volumes show\npapertape volumes show PAPR1001\npapertape volumes show PAPR1001 --from-tape",
)
@click.argument("volume", required=False)
@click.option("--from-tape", is_flag=True, help="Print what the tape says; no ledger is needed.")
def show(app: App, volume: VolumeTag | None = None, from_tape: bool = False) -> int | None:
    """Print all volumes, or one with all that is known of its copy.

    With --from-tape the volume is mounted, and its label and catalog are read and printed: which data sets are on it,
    and where. The ledger is neither read nor changed.
    """
    if from_tape:
        if volume is None:
            raise UserError("--from-tape reads one volume: name it")
        return show_tape(app, volume)
    with app.archive() as archive:
        ledger = archive.ledger
        found = [ledger.volumes.one(volume)] if volume else list(ledger.volumes.all())
        dump = ledger.dumps.of_volume(volume) if volume else None
    copies = [copy for copy in dump.copies if copy.volume == volume] if dump else []
    evidence = {"evidence": [dataclasses.asdict(copy) for copy in copies]} if dump else {}
    head = ("volume", "copy", "state", "capacity", "dump", "place", "reason")
    rows = [(v.tag, v.copy, v.state, show_size(v.capacity), (v.dump or "")[:8], v.location, v.reason) for v in found]
    lines = show_table([head, *rows])
    for copy in copies:
        lines += _list_evidence(copy)
    app.show([{**dataclasses.asdict(item), **evidence} for item in found], *lines)
    return None


def _list_evidence(copy: CopyRecord) -> Iterator[str]:
    """Yield, as lines, when and in which drives a copy was written and verified."""
    moments = (("written", copy.written_at), ("flushed", copy.flushed_at), ("verified", copy.verified_at))
    drives = {"written": (copy.write_drive, copy.write_serial), "verified": (copy.verify_drive, copy.verify_serial)}
    for name, at in moments:
        where = drives.get(name)
        on = f" on drive {where[0]} ({where[1]})" if at and where and where[0] is not None else ""
        yield f"  {name}: {f'{at:%Y-%m-%d %H:%M:%S} UTC' if at else 'no'}{on}"
    if copy.bytes is not None:
        yield f"  {show_size(copy.bytes)}, {count(copy.files or 0, 'file')}, by papertape {copy.version}"
    if copy.error:
        yield f"  error: {copy.error}"


@command(
    "add",
    short="Register blank volumes.",
    examples="papertape volumes add PAPR1007 PAPR2007\npapertape volumes add --cartridge PAPR1007 PAPR2007",
)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@capacity_option
@click.option("--cartridge", is_flag=True, help="Also put new blank cartridges into slots (virtual library only).")
def add(app: App, tags: tuple[VolumeTag, ...], capacity: int, cartridge: bool) -> None:
    """Register blank volumes. The prefix of a tag says which copy the volume is for.

    Before papertape writes to a volume, it reads the tape to make sure that it is blank. If a volume was set aside and
    is good (for example, only its write-protect tab was set), this command registers it as blank again, unless it holds
    a finished dump.
    """
    config = app.config()
    register_volumes(config, tags, capacity)
    if cartridge:
        for tag in tags:
            config.library.add_cartridge(tag, capacity)
    app.show({"added": list(tags)}, f"{enumerate_names(tags)} registered as blank")


@command(
    "place",
    short="Note where volumes are outside the library.",
    examples="papertape volumes place PAPR2001 PAPR2002 --at 'vault, shelf 3'",
)
@click.argument("tags", nargs=-1, required=True, metavar="VOLUME...")
@click.option("--at", "location", required=True, metavar="PLACE", help="The place, in your own words; '' deletes it.")
def place(app: App, tags: tuple[VolumeTag, ...], location: str) -> None:
    """Note where volumes are outside the library. `papertape volumes show` prints it."""
    if len(location) > LONGEST_PLACE or not location.isprintable():
        raise UserError(f"--at: a place is one line of at most {LONGEST_PLACE} characters")
    with app.archive() as archive:
        archive.place_volumes(*tags, place=location)
    noted = f"noted: {location}" if location else "no place outside the library"
    app.show({"placed": list(tags), "at": location}, f"{enumerate_names(tags)}: {noted}")


@command(
    "retire",
    short="Take a volume out of service for good.",
    examples="papertape volumes retire PAPR1001 --reason 'torn leader'",
)
@click.argument("volume")
@click.option("--reason", default="retired by hand", show_default=True, help="The reason, for the ledger.")
def retire(app: App, volume: VolumeTag, reason: str) -> None:
    """Take a volume out of service for good. Data sets on it may no longer be deleted from disk."""
    with app.archive() as archive:
        archive.retire_volume(volume, reason)
    sentence = f"{volume} is retired: it is not written to, and data sets on it may not be deleted from disk"
    app.show({"retired": volume}, sentence)


for _subcommand in (show, add, import_, place, retire):
    volumes.add_command(_subcommand)
