"""Setting up: a config, a ledger with blank volumes, and a virtual library, all of it or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from papertape.config import FILE_NAME, Config, parse_config
from papertape.errors import UserError
from papertape.events import tell_all
from papertape.ids import VolumeTag
from papertape.jobs.opening import open_config_ledger, open_library
from papertape.tape.changer import TAG_PATTERN
from papertape.tape.virtual.library import create_library

PREFIXES = ("PAPR1", "PAPR2")
LEDGER = "sqlite:///ledger.sqlite"
RING = "1GiB"
_CONFIG = """\
# papertape's config. Sizes: 5GB is 5,000,000,000 bytes, 1MiB is 1,048,576. Relative paths are relative to this folder.

ledger = {ledger}   # what is registered, claimed, written and verified
spool = "spool"                      # the catalog while it is written: about 300 bytes per file
prefixes = {prefixes}        # how the volume tags of copy 1 and of copy 2 begin: one prefix per copy
archive_size = "5GB"                 # data sets are collected into tape files of this size
block_size = "1MiB"                  # tape blocks: a multiple of 512 bytes, 64KiB to 4MiB
ring = "{ring}"                        # memory for blocks between disk and drives
mount = "crossed"                    # verify on the other drive; or "reload", or "in-place"
# host = "pot1"                      # the name under which paths are registered; default: this host's name

[library]
"""
_VIRTUAL = """\
kind = "virtual"                     # a library in a folder
path = "library"
# timing = 1.0                       # take as long as a real library, times this factor
"""
_SCSI = """\
kind = "scsi"                        # st drives, and a changer that mtx controls; `papertape doctor` checks it
changer = {changer}
drives = {drives}  # in the changer's element order
patience = 60                        # seconds to wait for a drive that another program has open
"""


class Installation(NamedTuple):
    """A config that was written, and the tags of the blank volumes that were registered."""

    config: Config
    tags: list[VolumeTag]


def set_up_virtual(
    folder: Path,
    *,
    drives: int,
    slots: int,
    capacity: int,
    generation: str,
    ring: str = RING,
    prefixes: Sequence[str] = PREFIXES,
    ledger: str = LEDGER,
) -> Installation:
    """Make a config, a ledger and a virtual library with cartridges of ``capacity`` bytes in ``folder``, or nothing.

    Raises UserError if something is in the way, or cannot be made; HostError if the ledger's server fails.
    """
    content = _write_config(_VIRTUAL, ledger=ledger, prefixes=prefixes, ring=ring)
    config = parse_config(folder / FILE_NAME, content.encode())
    tags = list_tags(slots, prefixes)
    library = folder / "library"
    with _undoing(folder, _check_new_files(folder, ledger), library):
        create_library(library, drives=drives, slots=slots, capacity=capacity, generation=generation, volume_tags=tags)
        register_volumes(config, tags, capacity)
        (folder / FILE_NAME).write_text(content)  # last: a folder with a config is complete
    return Installation(config, tags)


def set_up_scsi(
    folder: Path,
    *,
    changer: str,
    drives: Sequence[str],
    capacity: int,
    ring: str = RING,
    prefixes: Sequence[str] = PREFIXES,
    ledger: str = LEDGER,
) -> Installation:
    """Make a config and a ledger for a real library; ``changer`` and ``drives`` are device nodes.

    The cartridges in the library whose tags have one of the prefixes are registered as blank, with ``capacity`` bytes.
    Raises UserError if something is in the way, or cannot be made; ChangerError if the changer does not report what it
    holds; HostError if the ledger's server fails.
    """
    if not changer or not drives:
        raise UserError("a real library has a changer and drives: name both, with --changer and --drive")
    library = _SCSI.format(changer=json.dumps(changer), drives=json.dumps(list(drives)))
    content = _write_config(library, ledger=ledger, prefixes=prefixes, ring=ring)
    config = parse_config(folder / FILE_NAME, content.encode())
    found = open_library(config, tell_all()).loadable()
    tags = sorted(tag for tag in found if tag.startswith(tuple(prefixes)) and re.fullmatch(TAG_PATTERN, tag))
    with _undoing(folder, _check_new_files(folder, ledger)):
        register_volumes(config, tags, capacity)
        (folder / FILE_NAME).write_text(content)
    return Installation(config, tags)


def list_tags(count: int, prefixes: Sequence[str] = PREFIXES) -> list[VolumeTag]:
    """Return up to ``count`` volume tags, the same number for each prefix: PAPR1001 ..., PAPR2001 ..."""
    return [VolumeTag(f"{prefix}{number:03}") for prefix in prefixes for number in range(1, count // len(prefixes) + 1)]


def register_volumes(config: Config, tags: Sequence[VolumeTag], capacity: int) -> None:
    """Register blank volumes of ``capacity`` bytes, all of them or none.

    Raises UserError for a tag that is none, that has none of the config's prefixes, or that is known already.
    """
    added = []
    for tag in tags:
        if not re.fullmatch(TAG_PATTERN, tag):
            raise UserError(f"'{tag}' cannot be a volume tag: letters, digits, '-' and '_', at most 32")
        copy = config.copy_of(tag)
        if copy is None:
            raise UserError(f"{tag} begins with none of the prefixes in the config ({', '.join(config.prefixes)})")
        added.append((tag, copy, capacity))
    with open_config_ledger(config) as ledger:
        ledger.volumes.add(added)


def _write_config(library: str, *, ledger: str, prefixes: Sequence[str], ring: str) -> str:
    return _CONFIG.format(ledger=json.dumps(ledger), ring=ring, prefixes=json.dumps(list(prefixes))) + library


def _check_new_files(folder: Path, ledger: str) -> list[Path]:
    """Return the files that every set-up makes; raises UserError if the config or the ledger is there already."""
    path = folder / FILE_NAME
    database = [folder / f"ledger.sqlite{end}" for end in ("", "-wal", "-shm")] if ledger == LEDGER else []
    for place in (path, *database[:1]):
        if os.path.lexists(place):
            raise UserError(f"{place} is there already: nothing was changed; choose another folder")
    return [*database, path]


@contextlib.contextmanager
def _undoing(folder: Path, files: Sequence[Path], *folders: Path) -> Iterator[None]:
    """Make ``folder``; if the block fails, remove it again, or what is new in it, and turn OSError into UserError."""
    made = [place for place in (*folders, *files) if not os.path.lexists(place)]  # nothing else may be removed
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for place in made:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    place.unlink()
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            why = "it is not a folder" if folder.exists() and not folder.is_dir() else error.strerror
            raise UserError(f"{folder}: cannot be made a library ({why}); choose another folder") from error
        raise
