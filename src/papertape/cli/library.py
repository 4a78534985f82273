"""``papertape library``: the library's elements, and moving cartridges by hand."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, find_app
from papertape.cli.options import json_option
from papertape.ids import VolumeTag
from papertape.tape.changer import Element, ElementKind
from papertape.words import enumerate_names, show_table


@click.group("library", short_help="Show the library's elements, and move cartridges.", invoke_without_command=True)
@json_option
@click.pass_context
def library(context: click.Context, as_json: bool) -> int | None:
    """Show the library's elements, and move cartridges; without a command: show the elements."""
    find_app(context, as_json=as_json)
    return context.invoke(status, as_json=as_json) if context.invoked_subcommand is None else None


@command(
    "status",
    short="Print what each element holds.",
    examples="papertape library status\npapertape library status --json",
)
def status(app: App) -> None:
    """Print what is in each drive, slot and mail slot, as the changer reports it now."""
    with app.library() as shelf:
        elements = shelf.inventory().elements
    rows = []
    for item in elements:
        tag = (item.volume_tag or "(no barcode)") if item.full else "-"
        rows.append((str(item.element), tag, f"from {item.home}" if item.home else ""))
    described = [
        {
            "kind": item.element.kind.value,
            "number": item.element.number,
            "full": item.full,
            "volume": item.volume_tag,
            "home": str(item.home) if item.home else None,
        }
        for item in elements
    ]
    app.show(described, *show_table([("element", "volume", ""), *rows]))


@command(
    "load",
    short="Put a volume into a drive, and leave it there.",
    examples="papertape library load PAPR1001\npapertape library load PAPR1001 --drive 1",
)
@click.argument("volume")
@click.option(
    "--drive", default=0, show_default=True, type=click.IntRange(0), metavar="N", help="The drive's element number."
)
def load(app: App, volume: VolumeTag, drive: int) -> None:
    """Put a volume into a drive, ready and rewound, and leave it there."""
    with app.library() as shelf, shelf.reserve(numbers=[drive]) as session:
        session.load(volume, drive)
    app.show({"loaded": volume, "drive": drive}, f"{volume} is in drive {drive}")


@command(
    "unload",
    short="Return the cartridges in drives to their slots.",
    examples="papertape library unload\npapertape library unload 1",
)
@click.argument("drives", nargs=-1, type=click.IntRange(0), metavar="[DRIVE...]")
def unload(app: App, drives: tuple[int, ...]) -> None:
    """Unload drives (default: all that are not empty), and return their cartridges to the slots they came from."""
    with app.library() as shelf:
        full = [item.element.number for item in shelf.inventory().of(ElementKind.DRIVE) if item.full]
        numbers = list(drives or full)
        if numbers:
            with shelf.reserve(numbers=numbers) as session:
                for number in numbers:
                    session.unload(number)
    drives_said = enumerate_names(f"drive {number}" for number in numbers)
    app.show({"unloaded": numbers}, f"unloaded: {drives_said}" if numbers else "all drives are empty")


@command("move", short="Move a volume to another slot.", examples="papertape library move PAPR1001 12")
@click.argument("volume")
@click.argument("slot", type=click.IntRange(1), metavar="SLOT")
def move(app: App, volume: VolumeTag, slot: int) -> None:
    """Move a volume to a slot or a mail slot, by the numbers that `papertape library status` prints."""
    with app.library() as shelf:
        place = shelf.move(volume, slot)
    _show_moves(app, [(volume, place)])


@command("import", short="Move cartridges from the mail slots to free slots.", examples="papertape library import")
def import_(app: App) -> None:
    """Move every cartridge in the mail slots to a free slot. `papertape volumes add` registers new volumes."""
    with app.library() as shelf:
        moved = list(shelf.bring_in())
    _show_moves(app, moved)


@command("export", short="Put volumes into the mail slots.", examples="papertape library export PAPR2001 PAPR2002")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
def export(app: App, volumes: tuple[VolumeTag, ...]) -> None:
    """Put volumes into free mail slots, where they can be taken out of the library."""
    with app.library() as shelf:
        moved = [(volume, shelf.send_out(volume)) for volume in volumes]
    _show_moves(app, moved)


def _show_moves(app: App, moved: list[tuple[VolumeTag, Element]]) -> None:
    places = [{"volume": volume, "kind": place.kind.value, "number": place.number} for volume, place in moved]
    app.show(places, *[f"{volume} is in {place}" for volume, place in moved] or ["the mail slots are empty"])


for _subcommand in (status, load, unload, move, import_, export):
    library.add_command(_subcommand)
