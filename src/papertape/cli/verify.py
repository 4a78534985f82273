"""``papertape verify``: read volumes back."""

from __future__ import annotations

import click

from papertape.cli.app import App, command, open_context, print_json, tell_error
from papertape.cli.text import count, show_seconds, show_size
from papertape.errors import VerificationFailed
from papertape.jobs.verify import verify as verify_volumes
from papertape.volume.evidence import Verification


@command("verify", examples="papertape verify PAPR1001 PAPR2001")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
def verify(app: App, volumes: tuple[str, ...]) -> int:
    """Read volumes back whole, as many at once as there are drives, and hold every byte against what was written.

    A volume that is not good is set aside, and what lies on it may not be deleted from disk any more.
    """
    with open_context(app.config()) as context:
        results = list(verify_volumes(context, volumes))
    if app.json:
        print_json({"verifications": [describe(result) for result in results]})
    else:
        for result in results:
            show(result)
    if all(result.ok for result in results):
        return 0
    error = VerificationFailed(results)
    tell_error(error)
    return error.exit_code


def describe(item: Verification) -> dict[str, object]:
    """Return a verification in the form of ``--json``."""
    return {
        "volume": item.volume,
        "drive": item.drive,
        "ok": item.ok,
        "files": item.files,
        "bytes": item.bytes,
        "seconds": round(item.seconds, 3),
        "findings": [
            {
                "kind": finding.kind,
                "volume": finding.volume,
                "tape_file": finding.tape_file,
                "offset": finding.offset,
                "member": finding.member,
                "expected": finding.expected,
                "found": finding.found,
            }
            for finding in item.findings
        ],
    }


def show(item: Verification) -> None:
    """Print a verification for people."""
    rate = show_size(item.bytes / max(item.seconds, 1e-3))
    what = f"{count(item.files, 'file')}, {show_size(item.bytes)} in {show_seconds(item.seconds)}, {rate}/s"
    word = "verified" if item.ok else f"NOT GOOD, {count(len(item.findings), 'finding')}"
    click.echo(f"{item.volume}  {word} on drive {item.drive}: {what}")
    for finding in item.findings[:20]:
        click.echo(f"  {finding.kind}: {finding.sentence()}")
    if len(item.findings) > 20:
        click.echo(f"  and {len(item.findings) - 20} more: --json lists them all")
