"""``papertape find``: where data sets lie."""

from __future__ import annotations

import click
import msgspec

from papertape.cli.app import App, command
from papertape.cli.output import say, write
from papertape.errors import NothingToDo
from papertape.ledger import Found, Ledger, Listed
from papertape.words import show_size

LISTED = "listed"
"""The state of a data set that is known only from the lab's table."""


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
    """Print where data sets lie: their state, volumes, tape file, offset in it, and the digest of each file.

    PATTERN is a part of host:/path. A PATTERN with * ? or [ is a glob: it must match the whole of host:/path, or the
    whole path if it begins with a slash. Data sets that are known only from the lab's table (`papertape bridge
    history`) have the state `listed`, and are printed last.
    """
    found = 0
    with app.archive() as archive:
        ledger, seen = archive.ledger, archive.ledger.imports.seen()
        for item in archive.find(pattern):
            found += 1
            if app.json:  # row by row: there may be a million
                row = describe(ledger, item) if isinstance(item, Found) else describe_listed(item)
                write(("[" if found == 1 else ",\n ") + msgspec.json.encode(row).decode())
            elif isinstance(item, Found):
                show(ledger, item)
            else:
                show_listed(item, seen)
    if app.json:
        say("]" if found else "[]")
    if not found:
        raise NothingToDo(f"no data set matches '{pattern}'; `papertape find '*'` lists all that are registered")


def describe(ledger: Ledger, item: Found) -> dict[str, object]:
    """Return a data set as ``find --json`` prints it."""
    copies = [
        {"volume": copy.volume, "tape_file": item.tape_file, "offset": item.offset, "verified": copy.verified}
        for copy in item.copies
    ]
    files = [{"member": file.member, "bytes": file.size, "sha256": file.sha256} for file in ledger.search.files(item)]
    known = {"source": item.source, "state": item.state, "bytes": item.size, "copies": copies, "files": files}
    return {**known, "location": item.location} if item.location else known


def describe_listed(item: Listed) -> dict[str, object]:
    """Return a data set of the lab's table as ``find --json`` prints it."""
    where = {"tape_file": item.tape_file, "offset": None, "verified": False}
    copies = [{"volume": label, **where} for label in item.labels]
    known = {"source": item.source, "state": LISTED, "bytes": item.size, "copies": copies, "files": []}
    return {**known, "md5": item.md5, "location": item.location}


def show_listed(item: Listed, seen: frozenset[str]) -> None:
    """Print a data set of the lab's table; ``seen`` are the volumes whose contents the ledger knows from the tape."""
    size = "" if item.size is None else f", {show_size(item.size)}"
    say(f"{item.source}  {LISTED}{size}: known only from the lab's table, not from a tape")
    say(f"  {item.location} in the lab's table")
    for label in item.labels:
        state = "the ledger knows this volume, and the data set is not on it" if label in seen else "not imported yet"
        say(f"  on {label}, tape file {item.tape_file}: {state}")


def show(ledger: Ledger, item: Found) -> None:
    """Print a data set with its copies and the digests of its files."""
    version = f", version {item.version}" if item.version > 1 else ""
    reason = f": {item.reason}" if item.reason else ""
    size = "" if item.location else f", {show_size(item.size)}"
    say(f"{item.source}  {item.state}{version}{size}{reason}")
    if item.location:
        say(f"  {item.location} in the predecessor's catalog, which does not say how large it is")
    for copy in item.copies:
        verified = "verified" if copy.verified else "NOT verified"
        say(f"  on {copy.volume}, tape file {item.tape_file}, offset {item.offset}, {verified}")
    for file in ledger.search.files(item):
        if file.sha256:
            say(f"  {file.sha256}  {file.member}")
