"""``papertape init``: a config and a ledger in a folder, for a virtual library there or for a real one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.output import print_json, say
from papertape.config import FILE_NAME, Config, parse_config, parse_size
from papertape.errors import UserError
from papertape.events import tell_all
from papertape.jobs.opening import open_config_ledger, open_library
from papertape.tape.changer import TAG_PATTERN
from papertape.tape.generations import GENERATIONS
from papertape.tape.virtual.library import create_library
from papertape.words import count, show_size, show_text

PREFIXES = ("PAPR1", "PAPR2")
LEDGER = "sqlite:///ledger.sqlite"
_CONFIG = """\
# papertape's config. Sizes: 5GB is 5,000,000,000 bytes, 1MiB is 1,048,576. Relative paths are relative to this folder.

ledger = {ledger}   # what is registered, claimed, written and proven
spool = "spool"                      # the catalog while it is written: some 300 bytes a file
prefixes = {prefixes}        # the volume tags of copy 1, of copy 2: a copy for each
archive_size = "5GB"                 # data sets are gathered into tape files of this size
block_size = "1MiB"                  # tape blocks: a multiple of 512 bytes, 64KiB to 4MiB
ring = "{ring}"                        # memory for blocks between disk and drives
mount = "crossed"                    # verify on the other drive; or "reload", or "in-place"
# host = "pot1"                      # the name under which paths are registered; this host's, if left out

[library]
"""
_VIRTUAL = """\
kind = "virtual"                     # a library in a folder
path = "library"
# timing = 1.0                       # take as long as the real thing, times this factor
"""
_SCSI = """\
kind = "scsi"                        # st drives and a changer that mtx moves; `papertape doctor` proves it right
changer = {changer}
drives = {drives}  # in the changer's element order
patience = 60                        # seconds to wait for a drive that another program has open
"""


class SizeType(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """A size like 2.5TB, in bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = SizeType()


@command(
    "init",
    short="Make a config and a ledger, and a virtual library.",
    examples="""
papertape init /srv/papertape
papertape init --slots 24 --generation LTO-8 --capacity 12TB
papertape init /srv/papertape --changer /dev/sg3 --drive /dev/nst0 --drive /dev/nst1
papertape init --changer /dev/sg3 --drive /dev/nst0 --drive /dev/nst1 --prefix H0C1 --prefix H0C2
papertape init --ledger postgresql+psycopg://papertape@dbhost/papertape
""",
)
@click.argument("folder", metavar="[DIR]", default=".")
@click.option(
    "--drives", default=2, show_default=True, type=click.IntRange(1, 64), metavar="N", help="Drives, 1 to 64."
)
@click.option(
    "--slots", default=12, show_default=True, type=click.IntRange(2, 998), metavar="N", help="Slots, 2 to 998."
)
@click.option("--capacity", type=SIZE, metavar="SIZE", help="A cartridge's capacity.  [default: the generation's]")
@click.option(
    "--generation", default="LTO-6", show_default=True, type=click.Choice(list(GENERATIONS)), help="Of the drives."
)
@click.option("--ring", default="1GiB", show_default=True, metavar="SIZE", help="Memory between disk and drives.")
@click.option("--changer", metavar="DEVICE", help="The changer of a real library: no virtual one is made.")
@click.option("--drive", "nodes", multiple=True, metavar="DEVICE", help="Its drives, in element order; once for each.")
@click.option(
    "--prefix", "prefixes", multiple=True, default=PREFIXES, show_default=True, metavar="TAG", help="Of each copy."
)
@click.option(
    "--ledger", default=LEDGER, metavar="URL", help="A ledger on a server, which hosts can share.  [default: a file]"
)
def init(
    app: App,
    folder: str,
    drives: int,
    slots: int,
    capacity: int | None,
    generation: str,
    ring: str,
    changer: str | None,
    nodes: tuple[str, ...],
    prefixes: tuple[str, ...],
    ledger: str,
) -> None:
    """Make a config, a ledger and a virtual library in DIR (default: here), with blank volumes, half of them PAPR1001
    and so on, half of them PAPR2001 and so on, in its slots.

    With --changer and --drive, the library is a real one: the cartridges in it whose tags begin with a prefix are
    registered as blank. Whether they are is looked up on the tape before anything is written.
    """
    capacity = capacity or GENERATIONS[generation].capacity
    if changer or nodes:
        config, tags = build_scsi(Path(folder), changer or "", nodes, prefixes, capacity, ring, ledger)
        what = f"the library at {changer} with {count(len(nodes), 'drive')}"
    else:
        config = build(Path(folder), drives, slots, capacity, generation, ring, prefixes, ledger)
        tags = volume_tags(slots, prefixes)
        what = f"a virtual library with {count(drives, 'drive')} and {count(slots, 'slot')}"
    if app.json:
        print_json({"config": show_text(str(config.folder / FILE_NAME)), "volumes": tags, "capacity": capacity})
        return
    volumes = f"{count(len(tags), 'blank volume')} of {show_size(capacity)}"
    range_ = f" ({tags[0]} to {tags[-1]})" if tags else ""
    say(
        f"{config.folder}: {what}, {volumes}{range_}, and a ledger",
        f"Next: cd {config.folder} && papertape add PATH... && papertape dump",
    )


def volume_tags(slots: int, prefixes: Sequence[str] = PREFIXES) -> list[str]:
    """Return the tags of the volumes in a new library, a set for each copy."""
    return [f"{prefix}{number:03}" for prefix in prefixes for number in range(1, slots // len(prefixes) + 1)]


def build_scsi(
    folder: Path,
    changer: str,
    nodes: Sequence[str],
    prefixes: Sequence[str],
    capacity: int,
    ring: str,
    ledger: str = LEDGER,
) -> tuple[Config, list[str]]:
    """Make a config and a ledger for a real library; return the config and the volumes that were registered.

    Raises UserError where they cannot be made, ChangerError if the changer does not say what it holds.
    """
    if not changer or not nodes:
        raise UserError("a real library has a changer and drives: name both, with --changer and --drive")
    path = folder / FILE_NAME
    library = _SCSI.format(changer=json.dumps(changer), drives=json.dumps(list(nodes)))
    content = _write_config(ledger, prefixes, ring) + library
    config = parse_config(path, content.encode())
    found = open_library(config, tell_all()).loadable()
    tags = sorted(tag for tag in found if tag.startswith(tuple(prefixes)) and re.fullmatch(TAG_PATTERN, tag))
    made = _new_files(folder, ledger)
    with _undone(folder, [place for place in made if not os.path.lexists(place)]):
        folder.mkdir(parents=True, exist_ok=True)
        register_volumes(config, tags, capacity)
        path.write_text(content)
    return config, tags


def _write_config(ledger: str, prefixes: Sequence[str], ring: str) -> str:
    return _CONFIG.format(ledger=json.dumps(ledger), ring=ring, prefixes=json.dumps(list(prefixes)))


def _new_files(folder: Path, ledger: str) -> list[Path]:
    """Return what ``init`` makes in any folder; raises UserError if some of it is there."""
    path = folder / FILE_NAME
    database = [folder / f"ledger.sqlite{end}" for end in ("", "-wal", "-shm")] if ledger == LEDGER else []
    for place in (path, *database[:1]):
        if os.path.lexists(place):
            raise UserError(f"{place} is there already: nothing was changed; choose another folder")
    return [*database, path]


def build(
    folder: Path,
    drives: int,
    slots: int,
    capacity: int,
    generation: str,
    ring: str,
    prefixes: Sequence[str] = PREFIXES,
    ledger: str = LEDGER,
) -> Config:
    """Make everything that ``papertape init`` makes, or nothing; raises UserError where it cannot be made."""
    path = folder / FILE_NAME
    content = _write_config(ledger, prefixes, ring) + _VIRTUAL
    config = parse_config(path, content.encode())
    tags = volume_tags(slots, prefixes)
    made = [folder / "library", *_new_files(folder, ledger)]
    with _undone(folder, [place for place in made if not os.path.lexists(place)]):
        folder.mkdir(parents=True, exist_ok=True)
        create_library(
            folder / "library", drives=drives, slots=slots, capacity=capacity, generation=generation, volume_tags=tags
        )
        register_volumes(config, tags, capacity)
        path.write_text(content)  # last: what has a config is whole
    return config


@contextlib.contextmanager
def _undone(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """Remove what was ``made`` in the block if it fails; what the disk says against it becomes one sentence."""
    new = not folder.exists()
    try:
        yield
    except BaseException as error:
        for place in made:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    place.unlink()
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            why = "it is not a folder" if folder.exists() and not folder.is_dir() else error.strerror
            raise UserError(f"{folder}: cannot be made a library ({why}); choose another folder") from error
        raise


def register_volumes(config: Config, tags: Sequence[str], capacity: int) -> None:
    """Register blank volumes; raises UserError for a tag that no prefix of the config fits, or that is known."""
    added = [(tag, find_copy(config, tag), capacity) for tag in tags]
    with open_config_ledger(config) as ledger:
        ledger.volumes.add(added)


def find_copy(config: Config, tag: str) -> int:
    """Return which copy a volume is for, from 1; raises UserError if its tag is none, or has none of the prefixes."""
    if not re.fullmatch(TAG_PATTERN, tag):
        raise UserError(f"'{tag}' cannot be a volume tag: letters, digits, '-' and '_', at most 32")
    for copy, prefix in enumerate(config.prefixes, 1):
        if tag.startswith(prefix):
            return copy
    raise UserError(f"{tag} begins with none of the prefixes in the config ({', '.join(config.prefixes)})")
