"""``papertape verify``: read volumes back."""

from __future__ import annotations

from collections.abc import Sequence

import click

from papertape.cli.app import App, command, open_context
from papertape.cli.output import print_json, say, tell_error
from papertape.cli.stopping import VERIFYING
from papertape.errors import Interrupted, PapertapeError, VerificationFailed
from papertape.evidence import Verification
from papertape.ids import VolumeTag
from papertape.jobs.verify import verify as verify_volumes
from papertape.words import count, show_seconds, show_size


@command("verify", short="Read volumes back whole.", examples="papertape verify PAPR1001 PAPR2001")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
def verify(app: App, volumes: tuple[VolumeTag, ...]) -> int:
    """Read volumes back whole, as many at once as there are drives, and hold every byte against what was written.

    A volume that is not good is set aside, and what lies on it may not be deleted from disk any more.
    """
    with open_context(app.config(), VERIFYING) as context:
        results = list(verify_volumes(context, volumes))
    if app.json:
        print_json({"verifications": [describe(result) for result in results]})
    else:
        for result in results:
            show(result)
    error = _judge(results, len(set(volumes)))
    if error is None:
        return 0
    tell_error(error)
    return error.exit_code


def _judge(results: Sequence[Verification], wanted: int) -> PapertapeError | None:
    if not all(result.ok for result in results):
        return VerificationFailed(results)
    if len(results) < wanted:
        return Interrupted(f"interrupted: {len(results)} of {wanted} volumes were read")
    return None


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
    say(f"{item.volume}  {word} on drive {item.drive}: {what}")
    for finding in item.findings[:20]:
        say(f"  {finding.kind}: {finding.sentence()}")
    if len(item.findings) > 20:
        say(f"  and {len(item.findings) - 20} more: --json lists them all")
