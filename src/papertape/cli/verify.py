"""``papertape verify``: read volumes back."""

from __future__ import annotations

import click

from papertape.cli.app import App, command
from papertape.cli.output import print_json, say
from papertape.cli.stopping import VERIFYING
from papertape.errors import Interrupted, VerificationFailed
from papertape.evidence import Verification
from papertape.ids import VolumeTag
from papertape.words import count, show_rate, show_seconds, show_size

SHOWN = 20


@command("verify", short="Read volumes back whole.", examples="papertape verify PAPR1001 PAPR2001")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
def verify(app: App, volumes: tuple[VolumeTag, ...]) -> None:
    """Read volumes back whole, as many at once as there are drives, and compare every byte with what was written.

    A volume that is not good is set aside, and data sets on it may no longer be deleted from disk.
    """
    with app.running(VERIFYING) as archive:
        results = archive.verify(*volumes)
    if app.json:
        print_json({"verifications": [describe(result) for result in results]})
    else:
        for result in results:
            show(result)
    if not all(result.ok for result in results):
        raise VerificationFailed(results)
    wanted = len(set(volumes))
    if len(results) < wanted:
        raise Interrupted(f"interrupted: {len(results)} of {wanted} volumes were read")


def describe(item: Verification) -> dict[str, object]:
    """Return a verification as ``--json`` prints it."""
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
    """Print a verification, with its first ``SHOWN`` findings."""
    rate = show_rate(item.bytes / max(item.seconds, 1e-3))
    what = f"{count(item.files, 'file')}, {show_size(item.bytes)} in {show_seconds(item.seconds)}, {rate}"
    word = "verified" if item.ok else f"NOT GOOD, {count(len(item.findings), 'finding')}"
    say(f"{item.volume}  {word} on drive {item.drive}: {what}")
    for finding in item.findings[:SHOWN]:
        say(f"  {finding.kind}: {finding.sentence()}")
    if len(item.findings) > SHOWN:
        say(f"  and {len(item.findings) - SHOWN} more; --json lists them all")
