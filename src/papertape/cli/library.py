"""``papertape library``: what lies where, and moving it by hand."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, open_context, print_json
from papertape.cli.text import show_table
from papertape.tape.changer import ElementKind, ElementStatus


@click.group("library", invoke_without_command=True)
@click.pass_context
def library(context: click.Context) -> None:
    """Show the library's elements, load and unload drives; without a command: show them."""
    if context.invoked_subcommand is None:
        context.invoke(status)


@command("status", examples="papertape library status\npapertape library status --json")
def status(app: App) -> None:
    """Show what lies in which drive, slot and mail slot, as the changer reports it now."""
    with open_context(app.config()) as context:
        elements = context.library.inventory().elements
    if app.json:
        print_json([_describe(item) for item in elements])
        return
    rows = [(str(item.element), _name(item), f"from {item.home}" if item.home else "") for item in elements]
    click.echo(show_table([("element", "volume", ""), *rows]))


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


@command("load", examples="papertape library load PAPR1001\npapertape library load PAPR1001 --drive 1")
@click.argument("volume")
@click.option("--drive", default=0, show_default=True, type=click.IntRange(0), help="The drive's element number.")
def load(app: App, volume: str, drive: int) -> None:
    """Put a volume into a drive, ready and rewound, and leave it there."""
    with open_context(app.config()) as context, context.library.reserve(numbers=[drive]) as session:
        session.load(volume, drive)
    if app.json:
        print_json({"loaded": volume, "drive": drive})
    else:
        click.echo(f"{volume} is in drive {drive}")


@command("unload", examples="papertape library unload\npapertape library unload 1")
@click.argument("drives", nargs=-1, type=click.IntRange(0), metavar="[DRIVE...]")
def unload(app: App, drives: tuple[int, ...]) -> None:
    """Unload drives (default: all that are not empty) and bring their cartridges home."""
    with open_context(app.config()) as context:
        full = [item.element.number for item in context.library.inventory().of(ElementKind.DRIVE) if item.full]
        numbers = list(drives or full)
        if numbers:
            with context.library.reserve(numbers=numbers) as session:
                for number in numbers:
                    session.unload(number)
    if app.json:
        print_json({"unloaded": numbers})
    else:
        click.echo(
            f"unloaded: {', '.join(f'drive {number}' for number in numbers)}" if numbers else "all drives are empty"
        )


for _subcommand in (status, load, unload):
    library.add_command(_subcommand)
