"""``papertape library``: what lies where, and moving it by hand."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, open_shelf
from papertape.cli.options import json_option
from papertape.cli.output import print_json, say
from papertape.ids import VolumeTag
from papertape.tape.changer import Element, ElementKind, ElementStatus
from papertape.words import show_table


@click.group("library", short_help="Show what lies where, and move it.", invoke_without_command=True)
@json_option
@click.pass_context
def library(context: click.Context, as_json: bool) -> int | None:
    """Show the library's elements, and move cartridges; without a command: show them."""
    app = context.find_object(App) or App()
    app.json = app.json or as_json
    return context.invoke(status, as_json=as_json) if context.invoked_subcommand is None else None


@command("status", short="Print what lies where.", examples="papertape library status\npapertape library status --json")
def status(app: App) -> None:
    """Show what lies in which drive, slot and mail slot, as the changer reports it now."""
    with open_shelf(app.config()) as shelf:
        elements = shelf.inventory().elements
    if app.json:
        print_json([_describe(item) for item in elements])
        return
    rows = [(str(item.element), _name(item), f"from {item.home}" if item.home else "") for item in elements]
    say(*show_table([("element", "volume", ""), *rows]))


def _name(item: ElementStatus) -> str:
    return (item.volume_tag or "(no barcode)") if item.full else "-"


def _describe(item: ElementStatus) -> dict[str, object]:
    return {
        "kind": item.element.kind.value,
        "number": item.element.number,
        "full": item.full,
        "volume": item.volume_tag,
        "home": str(item.home) if item.home else None,
    }


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
    with open_shelf(app.config()) as shelf, shelf.reserve(numbers=[drive]) as session:
        session.load(volume, drive)
    if app.json:
        print_json({"loaded": volume, "drive": drive})
    else:
        say(f"{volume} is in drive {drive}")


@command(
    "unload",
    short="Bring the cartridges in drives home.",
    examples="papertape library unload\npapertape library unload 1",
)
@click.argument("drives", nargs=-1, type=click.IntRange(0), metavar="[DRIVE...]")
def unload(app: App, drives: tuple[int, ...]) -> None:
    """Unload drives (default: all that are not empty) and bring their cartridges home."""
    with open_shelf(app.config()) as shelf:
        full = [item.element.number for item in shelf.inventory().of(ElementKind.DRIVE) if item.full]
        numbers = list(drives or full)
        if numbers:
            with shelf.reserve(numbers=numbers) as session:
                for number in numbers:
                    session.unload(number)
    if app.json:
        print_json({"unloaded": numbers})
    else:
        say(f"unloaded: {', '.join(f'drive {number}' for number in numbers)}" if numbers else "all drives are empty")


@command("move", short="Move a volume to another slot.", examples="papertape library move PAPR1001 12")
@click.argument("volume")
@click.argument("slot", type=click.IntRange(1), metavar="SLOT")
def move(app: App, volume: VolumeTag, slot: int) -> None:
    """Move a volume to a slot or a mail slot, by the numbers that `library status` prints."""
    with open_shelf(app.config()) as shelf:
        place = shelf.move(volume, slot)
    _tell_moves(app, [(volume, place)])


@command("import", short="Take in what lies in the mail slots.", examples="papertape library import")
def import_(app: App) -> None:
    """Move every cartridge in the mail slots to a free slot; `volumes add` registers new ones."""
    with open_shelf(app.config()) as shelf:
        moved = list(shelf.bring_in())
    _tell_moves(app, moved)


@command("export", short="Put volumes into the mail slots.", examples="papertape library export PAPR2001 PAPR2002")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
def export(app: App, volumes: tuple[VolumeTag, ...]) -> None:
    """Put volumes into free mail slots, from where they can be taken out of the library."""
    with open_shelf(app.config()) as shelf:
        moved = [(volume, shelf.send_out(volume)) for volume in volumes]
    _tell_moves(app, moved)


def _tell_moves(app: App, moved: list[tuple[VolumeTag, Element]]) -> None:
    if app.json:
        print_json([{"volume": volume, "kind": place.kind.value, "number": place.number} for volume, place in moved])
    else:
        say(*[f"{volume} is in {place}" for volume, place in moved] or ["the mail slots are empty"])


for _subcommand in (status, load, unload, move, import_, export):
    library.add_command(_subcommand)
