"""The contracts that the virtual library keeps, put to the kernel's driver and to mtx: the very same tests."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rig.guest import Guest
from rig.library import TapeLibrary

pytestmark = pytest.mark.rig

HERE = Path(__file__).parent
ENVIRONMENT = {
    "PAPERTAPE_SCSI_CHANGER": "/dev/changer",
    "PAPERTAPE_SCSI_DRIVES": "/dev/nst0 /dev/nst1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
PYTEST = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0"]


def run_in_guest(folder: Path, *tests: str, **variables: str) -> int:
    """Run tests of the tape folder in a guest, show what they say, and return how many passed."""
    images = folder / "images"
    with TapeLibrary(images, slots=6, cartridges={"AAA001": 8, "AAA002": 8}) as library:
        env = {**ENVIRONMENT, **variables, "PAPERTAPE_SCSI_IMAGES": str(images)}
        paths = [str(HERE.parent / "tape" / test) for test in tests]
        done = Guest(library, shares=[images], env=env).run([*PYTEST, *paths], 500)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found
    assert "skipped" not in found.string.splitlines()[-1]
    return int(found[1])


@pytest.mark.timeout(600)
def test_the_contracts_of_drive_and_changer_and_the_model_of_a_tape_hold(tmp_path: Path) -> None:
    suites = ("test_drive_contract.py", "test_changer_contract.py", "test_tape_model.py")
    assert run_in_guest(tmp_path, *suites, PAPERTAPE_EXAMPLES="10") > 41
