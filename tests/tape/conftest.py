from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from papertape.tape.drive import Drive

from .rigs import LibraryRig, VirtualRig, drive_at, slot


@pytest.fixture(params=[VirtualRig])
def library_rig(request: pytest.FixtureRequest, tmp_path: Path) -> LibraryRig:
    rig: LibraryRig = request.param(tmp_path / "library")
    return rig


@pytest.fixture
def drive(library_rig: LibraryRig) -> Iterator[Drive]:
    """Drive 0 with the blank volume AAA001, ready, at BOT."""
    library_rig.changer.move(slot(1), drive_at(0))
    drive = library_rig.drives[0].open("AAA001")
    drive.load()
    yield drive
    drive.close()
