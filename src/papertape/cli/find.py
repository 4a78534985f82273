"""``papertape find``: where a data set lies."""

from __future__ import annotations

import click
import msgspec

from papertape.cli.app import App, command, open_ledger
from papertape.cli.output import say, write
from papertape.cli.text import show_size
from papertape.errors import NothingToDo
from papertape.ledger import Found, Ledger


@command(
    "find",
    short="Print where a data set lies.",
    examples="""
papertape find zen.2459000.4
papertape find '*/zen.*.uvh5' --json
""",
)
@click.argument("pattern")
def find(app: App, pattern: str) -> None:
    """Say where data sets lie: state, volumes, tape file, offset in it, and the digest of each file.

    PATTERN is a part of host:/path, or, with * ? or [ in it, a glob over all of it (over the path, if it begins
    with a slash).
    """
    found = 0
    with open_ledger(app.config()) as ledger:
        for item in ledger.find(pattern):
            found += 1
            if app.json:
                write(("[" if found == 1 else ",\n ") + msgspec.json.encode(describe(ledger, item)).decode())
            else:
                _show(ledger, item)
    if app.json:
        say("]" if found else "[]")
    if not found:
        raise NothingToDo(f"no data set matches '{pattern}'; what is registered, `papertape find '*'` lists")


def describe(ledger: Ledger, item: Found) -> dict[str, object]:
    """Return a data set in the form of ``find --json``."""
    copies = [
        {"volume": copy.volume, "tape_file": item.tape_file, "offset": item.offset, "verified": copy.verified}
        for copy in item.copies
    ]
    files = [{"member": file.member, "bytes": file.size, "sha256": file.sha256} for file in ledger.files(item)]
    known = {"source": item.source, "state": item.state, "bytes": item.size, "copies": copies, "files": files}
    return {**known, "location": item.location} if item.location else known


def _show(ledger: Ledger, item: Found) -> None:
    version = f", version {item.version}" if item.version > 1 else ""
    reason = f": {item.reason}" if item.reason else ""
    size = "" if item.location else f", {show_size(item.size)}"
    say(f"{item.source}  {item.state}{version}{size}{reason}")
    if item.location:
        say(f"  {item.location}, as the predecessor has it; its archive tells how large it is")
    for copy in item.copies:
        verified = "verified" if copy.verified else "NOT verified"
        say(f"  on {copy.volume}, tape file {item.tape_file}, offset {item.offset}, {verified}")
    for file in ledger.files(item):
        if file.sha256:
            say(f"  {file.sha256}  {file.member}")
