from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from papertape.tape.drive import Drive

from .rigs import LibraryRig, drive_at, make_rig, slot


@pytest.fixture
def library_rig(tmp_path: Path) -> Iterator[LibraryRig]:
    rig = make_rig(tmp_path / "library")
    yield rig
    rig.close()


@pytest.fixture
def drive(library_rig: LibraryRig) -> Iterator[Drive]:
    """Drive 0 with the blank volume AAA001, ready, at BOT."""
    library_rig.changer.move(slot(1), drive_at(0))
    drive = library_rig.drives[0].open("AAA001")
    drive.load()
    yield drive
    drive.close()
