"""The ring bounds the memory of a dump, and of a restore, whatever the input is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledgers import new_ledger
from stories import KIB

MIB = KIB * KIB
RING = 8 * MIB
BESIDE = 64 * MIB
"""What a dump may take beside its ring: what is read ahead, one buffer a drive, some thousand rows; see readahead."""

DUMP = """
import sys
from pathlib import Path
from stories import BLOCK, make_lab

def now(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

folder, ring = Path(sys.argv[1]), int(sys.argv[2])
lab = make_lab(folder / "lab", capacity=10**9, archive_size=10**9, ring=ring, url=sys.argv[3])
(folder / "first").write_bytes(bytes(BLOCK))
lab.add(folder / "first")
lab.dump()
lab.add(folder / "input")
before = now("VmRSS")
assert lab.dump().state == "archived"
print(now("VmHWM") - before)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = now("VmRSS")
assert lab.restore("*", to=folder / "back").sets == 2
print(now("VmHWM") - before)
lab.ledger.close()
"""


def measure(folder: Path) -> list[int]:
    """Dump and restore ``folder/input`` in a process of its own; return by how many bytes its memory grew in each."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", DUMP, str(folder), str(RING), new_ledger(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.splitlines()]


def make_large_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(300 * MIB)


def make_many_files(path: Path) -> None:
    path.mkdir()
    for number in range(20_000):
        (path / f"empty-{number:05}").touch()


@pytest.mark.parametrize("make", [make_large_file, make_many_files])
def test_a_dump_and_a_restore_take_the_ring_and_a_bounded_rest(
    tmp_path: Path, make: object, tell_figure: object
) -> None:
    assert callable(make)
    assert callable(tell_figure)
    make(tmp_path / "input")
    name = make.__name__[5:].replace("_", " ")
    for job, grown in zip(("a dump", "a restore"), measure(tmp_path), strict=True):
        tell_figure(f"memory: {job} of {name} took {grown / MIB:.0f} MiB with a ring of 8 MiB")
        assert grown < RING + BESIDE
