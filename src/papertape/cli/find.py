"""``papertape find``: where a data set lies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import click
import msgspec

from papertape.cli.app import App, command, open_ledger
from papertape.cli.output import say, write
from papertape.errors import NothingToDo
from papertape.ledger import Found, Ledger, Listed
from papertape.words import show_size

LISTED = "listed"
"""The state of what is known by the word of the lab's table alone."""


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
    with a slash). What is known by the word of the lab's table alone (`papertape bridge history`) is `listed`, and
    comes last.
    """
    found = 0
    with open_ledger(app.config()) as ledger:
        seen = ledger.imports.seen()
        items: Iterator[Found | Listed] = chain(ledger.search.find(pattern), ledger.history.find(pattern))
        for item in items:
            found += 1
            if app.json:
                known = describe(ledger, item) if isinstance(item, Found) else _describe_listed(item)
                write(("[" if found == 1 else ",\n ") + msgspec.json.encode(known).decode())
            elif isinstance(item, Found):
                _show(ledger, item)
            else:
                _show_listed(item, seen)
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
    files = [{"member": file.member, "bytes": file.size, "sha256": file.sha256} for file in ledger.search.files(item)]
    known = {"source": item.source, "state": item.state, "bytes": item.size, "copies": copies, "files": files}
    return {**known, "location": item.location} if item.location else known


def _describe_listed(item: Listed) -> dict[str, object]:
    where = {"tape_file": item.tape_file, "offset": None, "verified": False}
    copies = [{"volume": label, **where} for label in item.labels]
    known = {"source": item.source, "state": LISTED, "bytes": item.size, "copies": copies, "files": []}
    return {**known, "md5": item.md5, "location": item.location}


def _show_listed(item: Listed, seen: frozenset[str]) -> None:
    size = "" if item.size is None else f", {show_size(item.size)}"
    say(f"{item.source}  {LISTED}{size}: known from the lab's table alone, and proven by nothing")
    say(f"  {item.location}, as the lab's table has it")
    for label in item.labels:
        state = "in the ledger, and this is not there" if label in seen else "not read by papertape yet"
        say(f"  on {label}, tape file {item.tape_file}: {state}")


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
    for file in ledger.search.files(item):
        if file.sha256:
            say(f"  {file.sha256}  {file.member}")
