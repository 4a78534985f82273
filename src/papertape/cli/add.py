"""``papertape add``: register data sets."""

from __future__ import annotations

from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.output import say, tell_error
from papertape.errors import SourceError
from papertape.jobs.register import Registered, read_md5sums
from papertape.ledger import Registration
from papertape.words import count, show_size

_REPORTED = {
    Registration.UPDATED: "changed since it was registered; registered as it is now",
    Registration.CHANGED: "changed since it was archived; waits to be archived as a new version",
    Registration.AGAIN: "was rejected before; waits again",
    Registration.CLAIMED: "is being dumped now; nothing was changed",
}


@command(
    "add",
    short="Register data sets: files, or directories with all in them.",
    examples="""
papertape add /data/2459000/zen.*.uvh5
papertape add --md5sums md5sums.txt /data/2459000/*
""",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option(
    "--md5sums", type=click.Path(dir_okay=False), metavar="FILE", help="A file with declared MD5s, as md5sum writes it."
)
@click.option("--host", metavar="NAME", help="Register the paths under this host name.  [default: the config's]")
def add(app: App, paths: tuple[str, ...], md5sums: str | None, host: str | None) -> int:
    """Register data sets. Each PATH is one data set: a file, or a directory with all that is in it (MIRIAD uv data).

    A declared MD5 belongs to a file, or to the visdata file of a directory. A data set whose MD5 differs when it is
    written to tape is rejected, and does not count as archived.
    """
    md5s = read_md5sums(Path(md5sums)) if md5sums else {}
    described: list[dict[str, object]] = []

    def report(result: Registered) -> None:
        if result.error:
            tell_error(result.error)
            described.append({"source": result.error.path, "result": "refused", "reason": result.error.reason})
        elif result.dataset:
            size = result.dataset.size
            described.append({"source": str(result.dataset.source), "result": str(result.result), "bytes": size})
            if result.result in _REPORTED and not app.json:
                say(f"{result.dataset.source}: {_REPORTED[result.result]}")

    with app.archive() as archive:
        results = archive.add(paths, md5s=md5s, host=host, show=report)
    new = [result.dataset for result in results if result.dataset and result.result is Registration.NEW]
    known = sum(result.result is Registration.KNOWN for result in results)
    declared = sum(1 for result in results if result.dataset and result.dataset.md5)
    with_md5 = f", {declared} of {len(results)} with a declared MD5" if md5s else ""
    unchanged = f"; {known:,} known and unchanged" if known else ""
    sets = f"{count(len(new), 'data set')} registered, {show_size(sum(dataset.size for dataset in new))}"
    app.show(described, f"{sets}{with_md5}{unchanged}")
    return SourceError.exit_code if any(result.error for result in results) else 0
