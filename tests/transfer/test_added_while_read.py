"""A name added to a directory while it is read is noticed, though every file that was read is unchanged."""

import os
from pathlib import Path

import pytest

from papertape.transfer.source import find_change, scan, walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "night" / "deep").mkdir(parents=True)
    (tmp_path / "night" / "deep" / "file").write_bytes(b"1")
    return tmp_path / "night"


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("change", ["nothing", "added", "removed", "gone"])
def test_a_directory_that_changes_while_it_is_read_is_noticed(folder: Path, remembers: bool, change: str) -> None:
    path = os.fsencode(folder)
    dataset = scan("pot1", path)
    directories = [entry for entry in walk(path) if entry.attributes.kind == "dir"]
    os.utime(folder / "deep", ns=(0, directories[-1].attributes.mtime))
    if change == "added":
        (folder / "deep" / "late").write_bytes(b"2")
    elif change == "removed":
        (folder / "deep" / "file").unlink()
    elif change == "gone":
        folder.rename(folder.with_name("moved"))
    error = find_change(dataset, directories if remembers else None)
    assert (error is None) == (change == "nothing")
    assert error is None or "changed while it was read" in str(error)
