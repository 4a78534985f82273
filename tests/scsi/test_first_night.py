"""A lab's first night on the kernel's driver, and everything back with nothing but stock tools."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import pytest

from rig.guest import Guest
from rig.library import TapeLibrary

pytestmark = pytest.mark.rig

HERE = Path(__file__).parent
PAPERTAPE = Path(sys.executable).parent / "papertape"


@pytest.fixture
def sources(observations: list[Path], tmp_path: Path) -> list[Path]:
    """A night's observations, and a larger data set with a link and an empty file in it."""
    chance = random.Random(1)
    uv = tmp_path / "zen.2457000.12345.uv"
    uv.mkdir()
    for name, size in (("visdata", 3_000_000), ("header", 5_000), ("vartable", 300), ("history", 0)):
        (uv / name).write_bytes(chance.randbytes(size))
    (uv / "link").symlink_to("visdata")
    return [uv, *observations]


@pytest.mark.timeout(600)
def test_a_night_is_archived_and_comes_back_by_hand(sources: list[Path], tmp_path: Path) -> None:
    with TapeLibrary(cartridges={"PAPR1001": 64, "PAPR2001": 64}) as library:
        guest = Guest(library, disk=tmp_path / "disk", env={"PYTHONDONTWRITEBYTECODE": "1"})
        done = guest.run([str(HERE / "first_night.sh"), str(PAPERTAPE), *map(str, sources)], 500)
    said = done.stdout + done.stderr
    print(said)
    assert done.returncode == 0, said
    night, by_hand = done.stdout.split("== by hand")
    assert f"dump 1 is archived on PAPR1001 and PAPR2001: {len(sources)} data sets" in night
    assert "verified on drive 1" in night
    assert re.search(r"Data Transfer Element 0:Empty\s+Data Transfer Element 1:Empty", night)
    assert "FAILED" not in by_hand
    assert by_hand.count(": OK") > len(sources)
    assert int(by_hand.rpartition("equal tape files: ")[2]) >= 4
