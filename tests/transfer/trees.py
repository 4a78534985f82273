"""Data sets on disk for the tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from papertape.transfer.readahead import SMALL_FILE

LARGE = SMALL_FILE + 1
parts = st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"/", b"-").replace(b"\0", b"0"))
ways = st.lists(parts.filter(lambda part: part not in {b".", b".."}), min_size=1, max_size=4).map(tuple)


def raw(path: Path) -> bytes:
    return os.fsencode(path)


def make_uv(folder: Path) -> Path:
    """Make a data set of three files, a folder and a link in the new ``folder``."""
    (folder / "sub").mkdir(parents=True)
    (folder / "header").write_bytes(b"h" * 10)
    (folder / "visdata").write_bytes(b"v" * LARGE)
    (folder / "sub" / "empty").touch()
    (folder / "link").symlink_to("sub/empty")
    for path in (folder / "header", folder / "visdata", folder / "sub" / "empty"):
        os.utime(path, ns=(10**18, 10**18))
    return folder


def many_large(folder: Path, count: int = 600) -> Path:
    """Make ``count`` files that are too large to be read ahead, and take no room."""
    for number in range(count):
        (folder / f"{number:04}").touch()
        os.truncate(folder / f"{number:04}", LARGE)
    return folder


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def rewrite(path: Path, data: bytes, mtime: int) -> None:
    path.write_bytes(data)
    os.utime(path, ns=(mtime, mtime))


def descriptors() -> set[str]:
    """Return the open descriptors of this process."""
    return {number for number in os.listdir("/proc/self/fd") if Path("/proc/self/fd", number).exists()}
