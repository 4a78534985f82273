"""What `papertape explain` prints for real drives, run as it stands on the kernel's driver."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .invariants import digest_files
from .machine import Lab, Machine

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]


def restore(machine: Machine, folder: str, *words: str) -> dict[str, str]:
    """Run the script in an empty folder of the guest; return the digest of each file that came back, by its name."""
    path = machine.folder / f"{folder}.sh"
    path.write_text(machine.ok("explain", *words))
    said = machine.sh(f"mkdir /srv/{folder}; cd /srv/{folder}; sh {path}")
    assert said.endswith(f"{words[0]}: everything came out and was checked; it is in data/\n")
    lines = machine.sh(f"cd /srv/{folder}; find data -type f -exec sha256sum {{}} +").splitlines()
    return {line[66:]: line[:64] for line in lines}


def check(restored: dict[str, str], paths: list[str]) -> None:
    """These data sets came back, and nothing else."""
    expected = digest_files(paths)
    assert len(restored) == len(expected)
    for path, digest in expected.items():
        assert [found for name, found in restored.items() if name.endswith(path)] == [digest], path


def test_the_script_gets_data_back_from_a_real_drive(tmp_path: Path) -> None:
    with TapeLibrary(cartridges={"PAPR1001": 64, "PAPR2001": 64}) as library:
        lab = Lab(tmp_path, library)
        night, tiny = lab.make_night("night", 6), make_tiny(tmp_path / "tiny")
        with lab.boot() as machine:
            machine.ok("volumes", "add", "PAPR1001", "PAPR2001", "--capacity", "64MiB")
            machine.ok("add", *night, *tiny)
            machine.ok("dump")
            before = machine.where()
            check(restore(machine, "all", "PAPR2001"), [*night, *tiny])
            check(restore(machine, "one", "PAPR1001", "zen.1.uvh5"), [night[1]])
            check(restore(machine, "two", "PAPR1001", "*/zen.[09].*"), [night[0], night[3]])
            # Of one archive, and not one behind the other: blocks are passed over, and one is read twice.
            check(restore(machine, "some", "PAPR1001", "*/tiny.[026]"), [tiny[0], tiny[2], tiny[6]])
            assert machine.where() == before
            slot = find_slot(before, "PAPR1001")
            machine.mtx("load", slot, 0)
            check(restore(machine, "loaded", "PAPR1001", "zen.9.uv"), [night[3]])
            machine.mtx("unload", slot, 0)


def make_tiny(folder: Path) -> list[str]:
    """Make files of less than half a block, which come into one archive."""
    folder.mkdir()
    paths = [folder / f"tiny.{number}" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_bytes(random.Random(number).randbytes(20_000))
    return [str(path) for path in paths]


def find_slot(where: dict[str, str], tag: str) -> str:
    """Return the number of the slot that the volume lies in."""
    return next(element for element, volume in where.items() if volume == tag).split()[1]
