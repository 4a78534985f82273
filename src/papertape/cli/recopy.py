"""``papertape recopy``: make a copy again that failed, was lost or sits aside."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, open_context
from papertape.cli.dump import exit_code, tell
from papertape.errors import Interrupted
from papertape.jobs.recopy import run_recopy


@command(
    "recopy",
    short="Make a copy again that failed, was lost or sits aside.",
    examples="""
papertape recopy PAPR2003
papertape recopy PAPR2003 --json
""",
)
@click.argument("volume")
def recopy(app: App, volume: str) -> int:
    """Make the copy on VOLUME again on a blank volume: block for block from the good twin, drive to drive, every byte
    held against its digest on the way; then read the new copy back whole. Only then does the dump count as archived.
    With --from-disk the good twin is not needed: the data sets are written once more, and the copy counts only if
    every byte is as on the twin.

    VOLUME must be set aside, or retired (`papertape volumes retire`, for one that is lost). It stays so, and is not
    needed. If this was cut off, the same command with the name of the volume that it wrote to begins anew on that one.
    """
    with open_context(app.config()) as context:
        outcome = run_recopy(context, volume)
        tell(outcome, as_json=app.json)
        code = exit_code(outcome)
        return Interrupted.exit_code if context.stop.soon and not code else code
