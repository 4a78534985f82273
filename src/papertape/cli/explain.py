"""``papertape explain``: how data come back by hand."""

from __future__ import annotations

import os

import click

from papertape.cli.app import App, command, open_ledger
from papertape.cli.output import print_json, write
from papertape.config import Config, VirtualConfig
from papertape.errors import PapertapeError
from papertape.events import tell_all
from papertape.jobs.explain import ask_operator, choose_drive
from papertape.jobs.explain import explain as explain_volume
from papertape.jobs.opening import open_library
from papertape.tape.virtual.shelf import Shelf
from papertape.volume.recipe import FolderOrigin, Origin


@command(
    "explain",
    short="Print the commands that get data back by hand.",
    examples="""
papertape explain PAPR1001 >restore.sh
papertape explain PAPR1001 zen.2459000.4 | sh
""",
)
@click.argument("volume")
@click.argument("pattern", required=False)
def explain(app: App, volume: str, pattern: str | None) -> None:
    """Print a shell script that gets data back from a volume without papertape, with mt, dd, tar and sha256sum.

    It gets back everything, or the data sets that match PATTERN (as in `papertape find`), checks every digest, and
    ends at the first thing that is wrong. Run it in an empty folder.
    """
    config = app.config()
    with open_ledger(config) as ledger:
        script = "".join(explain_volume(ledger, volume, pattern, _find_origin(config, volume)))
    if app.json:
        print_json({"volume": volume, "script": script})
    else:
        write(script)


def _find_origin(config: Config, tag: str) -> Origin:
    """Return where the script has the tape from; a robot that does not answer is no reason not to have the rest."""
    chosen = config.library
    if isinstance(chosen, VirtualConfig):
        return FolderOrigin(os.fsencode(Shelf(config.folder / chosen.path).cartridge(tag)))
    try:
        inventory = open_library(config, tell_all()).inventory()
    except PapertapeError as error:
        return ask_operator(chosen.changer, chosen.drives, f"Where the volume lay was not to be had ({error}).")
    return choose_drive(inventory, tag, chosen.changer, chosen.drives)
