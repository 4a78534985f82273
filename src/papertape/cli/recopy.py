"""``papertape recopy``: write a copy again that failed, was lost or is set aside."""

from __future__ import annotations

import click

from papertape.cli.app import App, command
from papertape.cli.dump import exit_code, tell
from papertape.cli.stopping import DUMPING
from papertape.errors import Interrupted
from papertape.ids import VolumeTag


@command(
    "recopy",
    short="Write a copy again that failed, was lost or is set aside.",
    examples="""
papertape recopy PAPR2003
papertape recopy PAPR2003 --from-disk
papertape recopy PAPR2003 --json
""",
)
@click.argument("volume")
@click.option("--from-disk", is_flag=True, help="Write the data sets from disk again; the good twin is not read.")
def recopy(app: App, volume: VolumeTag, from_disk: bool) -> int:
    """Write the copy on VOLUME again, onto a blank volume, and verify it. After that the dump is archived.

    The blocks are copied from the good twin, from drive to drive, and every byte is checked against its digest. With
    --from-disk the data sets are written from disk again, with one drive: the twin is not needed, and the copy counts
    only if every byte is the same as on the twin.

    VOLUME must be set aside, or retired (a lost volume: run `papertape volumes retire` first). It need not be in the
    library, and its state does not change. If recopy was interrupted, run `papertape recover`, then the command
    that `papertape status` prints.
    """
    with app.running(DUMPING) as archive:
        outcome = archive.recopy(volume, from_disk=from_disk)
        tell(outcome, as_json=app.json)
        code = exit_code(outcome)
        return Interrupted.exit_code if archive.stop.soon and not code else code
