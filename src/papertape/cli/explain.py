"""``papertape explain``: how to get data back by hand."""

from __future__ import annotations

import click

from papertape.cli.app import App, command
from papertape.cli.output import print_json, write
from papertape.ids import VolumeTag


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
    """Print a shell script that gets data back from VOLUME without papertape, with mt, dd, tar and sha256sum.

    The script extracts all data sets, or those that match PATTERN (as in `papertape find`), and checks every digest. It
    stops at the first error. Run it in an empty folder.
    """
    with app.archive() as archive:
        script = archive.explain(volume, pattern)
    if app.json:
        print_json({"volume": volume, "script": script})
    else:
        write(script)  # unescaped: a shell reads it
