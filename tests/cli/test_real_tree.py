"""A real tree, with all that real trees have in them, and a night of observations."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from .operatorlab import check_archived, check_at_rest, make_lab

LIMIT = 40_000_000
FILES = 4000


def some_of(folder: Path) -> list[str]:
    """Return folders and files below ``folder``, not more than the test can bear."""
    size = files = 0
    taken = []
    for entry in sorted(folder.iterdir()):
        inside = [path for path in entry.rglob("*") if path.is_file()] if entry.is_dir() else [entry]
        weight = sum(path.lstat().st_size for path in inside if not path.is_symlink())
        if entry.is_symlink() or size + weight > LIMIT or files + len(inside) > FILES:
            continue
        size, files = size + weight, files + len(inside)
        taken.append(str(entry))
    return taken


def test_a_real_tree_is_archived_and_verified_crossed(observations: list[Path], tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", slots=4, capacity="400MB", archive_size="20MB")
    slots = lab.homes()[1]
    paths = [*some_of(Path(sysconfig.get_path("stdlib"))), *map(str, observations)]
    if len(paths) < 20:
        pytest.skip("the Python library is not in files here")
    odd = tmp_path / "odd"
    odd.mkdir()
    for name in (b"\xff not utf-8", b"new\nline", b" blank ", b"-rf", b"empty", "ünïcode 望遠鏡".encode()):
        Path(os.fsdecode(bytes(odd) + b"/" + name)).write_bytes(name[:3])
    (odd / "dangling").symlink_to("nowhere")
    lab.ok("add", *paths, str(odd))
    dumped = lab.json("dump")
    assert dumped["state"] == "archived"
    assert dumped["datasets"] == len(paths) + 1
    assert not dumped["rejected"]
    drives = dict(lab.rows("SELECT write_drive, verify_drive FROM copies"))
    assert drives == {0: 1, 1: 0}
    check_at_rest(lab, slots)
    assert set(lab.states("datasets")) == {"archived"}
    assert check_archived(lab) == len(paths) + 1
    assert f"{len(paths) + 1} data sets" in lab.ok("status")
