"""What `papertape explain` prints for real drives, run as it stands on the kernel's driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .machine import Lab, Machine
from .promises import digest_files

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
        night = lab.make_night("night", 6)
        with lab.boot() as machine:
            machine.ok("volumes", "add", "PAPR1001", "PAPR2001", "--capacity", "64MiB")
            machine.ok("add", *night)
            machine.ok("dump")
            before = machine.where()
            check(restore(machine, "all", "PAPR2001"), night)
            check(restore(machine, "one", "PAPR1001", "zen.1.uvh5"), [night[1]])
            # Not one behind the other: the tape is wound on, over filemarks and blocks, and never back to its begin.
            check(restore(machine, "two", "PAPR1001", "*/zen.[09].*"), [night[0], night[3]])
            assert machine.where() == before
            slot = find_slot(before, "PAPR1001")
            machine.mtx("load", slot, 0)
            check(restore(machine, "loaded", "PAPR1001", "zen.9.uv"), [night[3]])
            machine.mtx("unload", slot, 0)


def find_slot(where: dict[str, str], tag: str) -> str:
    """Return the number of the slot that the volume lies in."""
    return next(element for element, volume in where.items() if volume == tag).split()[1]
