"""``papertape volumes import``: the ledger from the tapes."""

from __future__ import annotations

import click

from papertape.cli.app import App, command
from papertape.cli.options import capacity_option
from papertape.cli.output import print_json, say, tell_error
from papertape.cli.stopping import VERIFYING
from papertape.errors import Interrupted, UserError
from papertape.ids import VolumeTag
from papertape.jobs.imports import BLANK, FOREIGN, Result, choose_all
from papertape.ledger import Ledger
from papertape.states import Format
from papertape.words import count, show_size


@command(
    "import",
    short="Enter volumes in the ledger from their catalogs.",
    examples="papertape volumes import --all\npapertape volumes import H0C10001 H0C20001",
)
@click.argument("tags", nargs=-1, metavar="VOLUME...")
@click.option("--all", "every", is_flag=True, help="Import all volumes in the library that have no dump in the ledger.")
@capacity_option
def import_(app: App, tags: tuple[VolumeTag, ...], every: bool, capacity: int) -> int:
    """Enter volumes in the ledger from their labels and catalogs. A few blocks of each are read, on all drives at once.

    A dump is archived when all its twins were imported. Nothing on them may be deleted from disk before
    `papertape verify` has read them. Volumes of the predecessor are entered too; blank volumes are not.
    """
    if every == bool(tags):
        raise UserError("name the volumes to import, or use --all for all that have no dump in the ledger")
    results = []
    with app.running(VERIFYING) as archive:
        wanted = choose_all(archive.ledger, archive.library) if every else list(dict.fromkeys(tags))
        for result in archive.import_volumes(*wanted, capacity=capacity):
            results.append(result)
            if result.error:
                tell_error(result.error)
            if result.kind and not app.json:
                found = _say_found(archive.ledger, result)
                say(f"{result.volume}  {found} ({show_size(result.bytes)} read)")
    if app.json:
        described = []
        for result in results:
            imported = result.imported
            described.append(
                {
                    "volume": result.volume,
                    "kind": result.kind or None,
                    "bytes": result.bytes,
                    "dump": imported.dump if imported else None,
                    "dump_state": imported.dump_state if imported else None,
                    "state": imported.volume_state if imported else None,
                    "changed": imported.changed if imported else False,
                    "error": str(result.error) if result.error else None,
                }
            )
        print_json(described)
    elif any(result.imported and result.imported.changed for result in results):
        say("Nothing on these may be deleted from disk before `papertape verify VOLUME...` has read every copy.")
    codes = [result.error.exit_code for result in results if result.error]
    if len(results) < len(wanted) and not codes:
        tell_error(Interrupted(f"interrupted: {len(results)} of {len(wanted)} volumes were read"))
        return Interrupted.exit_code
    return max(codes, default=0)


def _say_found(ledger: Ledger, result: Result) -> str:
    """Return a clause with the content of a volume and its state in the ledger."""
    imported = result.imported
    if imported is None:
        return {BLANK: "blank", FOREIGN: "someone else's"}.get(result.kind, f"{result.kind}, not entered")
    dump = ledger.dumps.of_volume(result.volume)
    if dump is None:
        return f"{imported.volume_state}: {imported.reason}"
    what = f"dump {dump.uuid[:8]} of {dump.created_at or dump.started_at:%Y-%m-%d %H:%M} UTC"
    what = f"{what} by the predecessor" if dump.format is Format.PREDECESSOR else what
    state = f"{count(dump.datasets, 'data set')}, {dump.state}"
    if imported.reason:
        return f"{what}, {state}; this volume is {imported.volume_state}"
    unverified = any(copy.volume == result.volume and copy.verified_at is None for copy in dump.copies)
    known = "" if imported.changed else ", known already"
    return f"{what}, {state}{', not verified yet' if unverified else ''}{known}"
