"""``papertape add``: register data sets."""

from __future__ import annotations

import os
from pathlib import Path

import click

from papertape.cli.app import App, command, open_ledger
from papertape.cli.output import print_json, say, tell_error
from papertape.config import check_host
from papertape.errors import SourceError, UserError
from papertape.jobs.register import Registered, read_md5sums, register
from papertape.ledger import Registration
from papertape.words import count, show_size

_WORDS = {
    Registration.UPDATED: "changed since it was registered: registered as it is now",
    Registration.CHANGED: "changed since it was archived: waits to be archived again, as a new version",
    Registration.AGAIN: "was rejected before: waits again",
    Registration.CLAIMED: "a dump has it just now: left alone",
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
    "--md5sums", type=click.Path(dir_okay=False), metavar="FILE", help="Declared MD5s, as md5sum writes them."
)
@click.option("--host", metavar="NAME", help="The host to register the paths under.  [default: the config's]")
def add(app: App, paths: tuple[str, ...], md5sums: str | None, host: str | None) -> int:
    """Register data sets: each PATH is one, a file or a directory with all that it holds (a MIRIAD uv data set).

    A declared MD5 is that of the file, or of the directory's visdata; what does not have it when it is written to
    tape is rejected, and does not count as archived.
    """
    config = app.config()
    try:
        name = check_host(host) if host else config.host
    except ValueError as error:
        raise UserError(f"--host: {error}") from error
    md5s = read_md5sums(Path(md5sums)) if md5sums else {}
    results = []
    with open_ledger(config) as ledger:
        for result in register(ledger, name, map(os.fsencode, paths), md5s):
            results.append(result)
            if result.error or not app.json:
                _tell(result)
    if app.json:
        print_json([_describe(result) for result in results])
    else:
        _sum_up(results, md5s)
    return SourceError.exit_code if any(result.error for result in results) else 0


def _tell(result: Registered) -> None:
    if result.error:
        tell_error(result.error)
    elif result.dataset and result.result in _WORDS:
        say(f"{result.dataset.source}: {_WORDS[result.result]}")


def _describe(result: Registered) -> dict[str, object]:
    if result.dataset is None or result.error:
        error = result.error
        return {"source": error.path if error else "", "result": "refused", "reason": error.reason if error else ""}
    return {"source": result.dataset.source, "result": str(result.result), "bytes": result.dataset.size}


def _sum_up(results: list[Registered], md5s: dict[bytes, str]) -> None:
    sets = [result.dataset for result in results if result.dataset and result.result is Registration.NEW]
    known = sum(result.result is Registration.KNOWN for result in results)
    size = sum(dataset.size for dataset in sets)
    declared = sum(1 for result in results if result.dataset and result.dataset.md5)
    with_md5 = f", {declared} of {len(results)} with a declared MD5" if md5s else ""
    also = f"; {known:,} known and unchanged" if known else ""
    say(f"{count(len(sets), 'data set')} registered, {show_size(size)}{with_md5}{also}")
