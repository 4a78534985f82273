"""Getting it back on the kernel's driver: by LOCATE, from the twin where a tape is torn, and a copy made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .invariants import digest_files
from .machine import Lab, Machine

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

TAGS = ["PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002"]
WHOLE, TORN = 3, 12
"""The tape file in which the tape is torn, and the blocks of it that are left."""


def check_back(folder: Path, paths: list[str]) -> None:
    """The data sets are there, and equal."""
    for path, digest in digest_files(paths).items():
        (host,) = folder.iterdir()
        assert digest_files([f"{host}{path}"]) == {f"{host}{path}": digest}


def restore(machine: Machine, name: str, *words: str) -> tuple[Path, dict[str, int], str]:
    """Restore into a folder of the host's; return it, what was done and what was said."""
    folder = machine.folder / name
    ran = machine.papertape("restore", *words, "--to", folder, "--json")
    assert ran.code == 0, ran
    return folder, json.loads(ran.out), ran.err


def tear(machine: Machine, slot: int) -> None:
    machine.mtx("load", slot, 0)
    machine.call("guest_actions.tear", "/dev/nst0", WHOLE, TORN)
    machine.sh("mt -f /dev/nst0 offline")
    machine.mtx("unload", slot, 0)


def test_a_night_comes_back_and_a_torn_copy_is_made_again(tmp_path: Path) -> None:
    with TapeLibrary(cartridges=dict.fromkeys(TAGS, 64)) as library:
        lab = Lab(tmp_path, library)
        paths = lab.make_night("night", 8)
        with lab.boot() as machine:
            machine.ok("volumes", "add", *TAGS, "--capacity", "64MiB")
            machine.ok("add", *paths)
            machine.ok("dump")
            folder, done, _ = restore(machine, "one", paths[2])
            assert (done["restored"], done["mounts"], done["locates"]) == (1, 1, 1)
            assert done["bytes_read"] <= 1.2 * done["bytes"]
            check_back(folder, paths[2:3])
            tear(machine, 1)
            good = lab.digest("PAPR2001")
            folder, done, said = restore(machine, "all", "*")
            assert (done["restored"], done["mounts"], len(done["sick"])) == (len(paths), 2, 1)
            assert "papertape recopy PAPR1001" in said
            check_back(folder, paths)
            assert machine.volumes()["PAPR1001"] == "aside"
            machine.ok("recopy", "PAPR1001", timeout=300)
            assert machine.volumes()["PAPR1002"] == "archived"
            check_all_but_one(machine)
            assert lab.digest("PAPR2001") == good


def check_all_but_one(machine: Machine) -> None:
    """All is archived but the volume that is aside."""
    assert machine.volumes() == {
        "PAPR1001": "aside",
        "PAPR1002": "archived",
        "PAPR2001": "archived",
        "PAPR2002": "blank",
    }
    assert set(machine.states("datasets")) == {"archived"}
    assert machine.in_drives() == []
    assert "PAPR1002  verified" in machine.ok("verify", "PAPR1002", "PAPR2001")
