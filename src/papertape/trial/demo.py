"""The preparations of ``papertape demo``: a folder of its own, data sets, and room for two copies of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from papertape.errors import SourceError, UserError
from papertape.transfer.source import scan
from papertape.words import show_size

FOLDER = "papertape-demo"
SMALLEST_CAPACITY = 256 * 10**6
RING = "128MiB"


def choose_folder() -> Path:
    """Return a folder that does not exist yet: papertape-demo, papertape-demo-2 ..."""
    folder, number = Path(FOLDER), 1
    while folder.exists():
        number += 1
        folder = Path(f"{FOLDER}-{number}")
    return folder


def list_datasets(source: Path) -> list[bytes]:
    """Return the absolute paths of all that lies in ``source``; raises UserError if that is nothing."""
    try:
        names = sorted(os.listdir(os.fsencode(source)))
    except OSError as error:
        raise UserError(f"{source}: cannot be listed ({error.strerror})") from error
    if not names:
        raise UserError(f"{source}: there is nothing in it to archive")
    return [os.path.join(os.fsencode(source.absolute()), name) for name in names]


def measure(paths: Iterable[bytes]) -> int:
    """Return how many bytes the data sets at ``paths`` take on tape, without those that cannot be read."""
    size = 0
    for path in paths:
        try:
            size += scan("demo", path).tape_bytes
        except SourceError:
            continue  # reported when it is registered
    return size


def check_room(folder: Path, size: int) -> None:
    """Raise UserError unless the disk of ``folder`` has room for two copies of ``size`` bytes and a tenth more."""
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    needed, free = size * 22 // 10, shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"{folder}: two copies need {show_size(needed)}, and {show_size(free)} are free; choose another folder"
        )


def choose_capacity(size: int) -> int:
    """Return a capacity for the cartridges, in bytes, with half as much room again as data sets of ``size`` take."""
    return max(SMALLEST_CAPACITY, size * 3 // 2)
