"""``papertape explain``: how data come back by hand."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, open_ledger
from papertape.cli.output import print_json, write
from papertape.ids import VolumeTag
from papertape.jobs.explain import explain as explain_volume
from papertape.jobs.explain import find_origin


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
def explain(app: App, volume: VolumeTag, pattern: str | None) -> None:
    """Print a shell script that gets data back from a volume without papertape, with mt, dd, tar and sha256sum.

    It gets back everything, or the data sets that match PATTERN (as in `papertape find`), checks every digest, and
    ends at the first thing that is wrong. Run it in an empty folder.
    """
    config = app.config()
    with open_ledger(config) as ledger:
        origin = find_origin(config.library, volume)
        script = "".join(explain_volume(ledger, volume, pattern, origin))
    if app.json:
        print_json({"volume": volume, "script": script})
    else:
        write(script)
