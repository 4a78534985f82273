"""The end of the tape: a plan that is right never meets it, and one that is wrong ends in good order before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .invariants import check_all_archived, check_nothing_unproven
from .machine import MIB, Lab, Machine

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]

READ_TWINS = """
for drive in 0 1; do (
    mt -f /dev/nst$drive rewind
    while dd if=/dev/nst$drive of=/tmp/file$drive bs=64k 2>/tmp/said$drive && [ -s /tmp/file$drive ]; do
        sha256sum </tmp/file$drive
    done >/tmp/twin$drive
    mt -f /dev/nst$drive offline
) & done
wait
cat /tmp/twin0; echo; cat /tmp/twin1
"""


def make_data(folder: Path, count: int) -> list[str]:
    """Make so many data sets of two megabytes, no two alike."""
    data = folder / "data"
    data.mkdir()
    for number in range(count):
        (data / f"zen.{number:02}.uvh5").write_bytes(f"{number:08}".encode() * 250_000)
    return [str(path) for path in sorted(data.iterdir())]


def read_twins(machine: Machine, first: int, second: int) -> tuple[list[str], list[str]]:
    """Return the digests of the tape files of the volumes in two slots, as dd reads them."""
    machine.sh(f"mtx -f $CHANGER load {first} 0; mtx -f $CHANGER load {second} 1")
    twins = machine.sh(READ_TWINS).split("\n\n")
    machine.sh(f"mtx -f $CHANGER unload {first} 0; mtx -f $CHANGER unload {second} 1")
    return twins[0].split("\n"), twins[1].strip().split("\n")


def check_twins(machine: Machine, first: int, second: int, archives: int) -> None:
    """Twins differ in their labels, and in nothing else; label, plan and catalog are around the archives."""
    one, other = read_twins(machine, first, second)
    assert len(one) == len(other) == archives + 3
    assert one[0] != other[0]
    assert one[1:] == other[1:]


def dump(machine: Machine, *words: str) -> list[dict[str, object]]:
    """Run a dump that must succeed, and return what became of each pair."""
    return [json.loads(line) for line in machine.ok("dump", "--json", *words, timeout=400).splitlines()]


def count_archives(machine: Machine, volume: str) -> int:
    query = (
        "SELECT count(DISTINCT m.tape_file) FROM members m JOIN copies c ON c.dump_id = m.dump_id"
        f" JOIN volumes v ON v.id = c.volume_id WHERE v.tag = '{volume}' AND m.dataset IS NOT NULL"
    )
    return int(machine.rows(query)[0][0])


def test_a_plan_that_fits_never_meets_the_early_warning(tmp_path: Path) -> None:
    cartridges = dict.fromkeys(["PAPR1001", "PAPR1002", "PAPR2001", "PAPR2002"], 24)
    with TapeLibrary(cartridges=cartridges) as library:
        lab = Lab(tmp_path, library, archive_size="4MB")
        data = make_data(tmp_path, 16)
        with lab.boot() as machine:
            machine.ok("volumes", "add", *cartridges, "--capacity", "24MiB")
            machine.ok("add", *data)
            plan = json.loads(machine.ok("plan", "--json"))
            planned = sum(len(archive["datasets"]) for archive in plan["archives"])
            assert 10 <= planned < len(data)
            (done,) = dump(machine)
            assert (done["state"], done["datasets"]) == ("archived", planned)
            assert machine.states("datasets").count("waiting") == len(data) - planned
            for tag in ("PAPR1001", "PAPR2001"):
                assert 20 * MIB < lab.library.image(tag).stat().st_size < 24 * MIB
            check_twins(machine, 1, 3, len(plan["archives"]))
            (rest,) = dump(machine)
            assert (rest["state"], rest["volumes"]) == ("archived", ["PAPR1002", "PAPR2002"])
            check_all_archived(machine)


def test_early_warning_ends_the_dump_after_a_whole_archive(tmp_path: Path, tell_figure: Callable[[str], None]) -> None:
    cartridges = {"PAPR1001": 16, "PAPR1002": 32, "PAPR2001": 40, "PAPR2002": 32}
    with TapeLibrary(cartridges=cartridges) as library:
        lab = Lab(tmp_path, library, archive_size="2MB")
        data = make_data(tmp_path, 14)
        with lab.boot() as machine:
            machine.ok("volumes", "add", *cartridges, "--capacity", "128MiB")
            machine.ok("add", *data)
            plan = json.loads(machine.ok("plan", "--json"))
            assert len(plan["archives"]) == len(data)
            (short,) = dump(machine)
            assert (short["state"], short["volumes"]) == ("archived", ["PAPR1001", "PAPR2001"])
            fitted = int(str(short["datasets"]))
            assert 7 <= fitted < len(data)
            assert 16 * MIB < lab.library.image("PAPR1001").stat().st_size < 24 * MIB
            assert machine.states("datasets").count("waiting") == len(data) - fitted
            assert check_nothing_unproven(machine) == {"PAPR1001", "PAPR2001"}
            check_twins(machine, 1, 3, fitted)
            tell_figure(f"early warning at 16 MiB: {fitted} of {len(data)} archives of 2 MB were written")
            (rest,) = dump(machine, "--until-done")
            assert (rest["state"], rest["volumes"]) == ("archived", ["PAPR1002", "PAPR2002"])
            assert rest["datasets"] == len(data) - fitted
            check_twins(machine, 2, 4, len(data) - fitted)
            check_all_archived(machine)
