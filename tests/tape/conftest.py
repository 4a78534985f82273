from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from papertape.tape.drive import Drive

from .devices import DevicesUnderTest, drive_at, make_devices, slot


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[DevicesUnderTest]:
    devices = make_devices(tmp_path / "library")
    yield devices
    devices.close()


@pytest.fixture
def drive(devices: DevicesUnderTest) -> Iterator[Drive]:
    """Drive 0 with the blank volume AAA001, ready, at BOT."""
    devices.changer.move(slot(1), drive_at(0))
    drive = devices.drives[0].open("AAA001")
    drive.load()
    yield drive
    drive.close()
