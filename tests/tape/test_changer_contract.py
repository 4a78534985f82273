"""What papertape asks of any changer: the docstrings of ``Changer``."""

from __future__ import annotations

import pytest

from papertape.errors import ChangerError
from papertape.tape.changer import Element, ElementKind
from papertape.tape.drive import Drive

from .devices import DevicesUnderTest, drive_at, mail, read, slot, write


def where(devices: DevicesUnderTest) -> dict[str | None, str]:
    return {status.volume_tag: str(status.element) for status in devices.changer.inventory().elements if status.full}


def test_the_inventory_lists_every_element_in_order(devices: DevicesUnderTest) -> None:
    inventory = devices.changer.inventory()
    assert [status.element for status in inventory.of(ElementKind.DRIVE)] == [drive_at(0), drive_at(1)]
    assert [status.element for status in inventory.of(ElementKind.STORAGE)] == [slot(n) for n in range(1, 7)]
    assert [status.element for status in inventory.of(ElementKind.IMPORT_EXPORT)] == [mail(7)]
    assert where(devices) == {"AAA001": "slot 1", "AAA002": "slot 2"}
    assert [status.element for status in inventory.find("AAA002")] == [slot(2)]
    assert inventory.at(slot(99)) is None


def test_moves_between_all_kinds_of_elements(devices: DevicesUnderTest) -> None:
    devices.changer.move(slot(1), slot(5))
    devices.changer.move(slot(5), mail(7))
    devices.changer.move(mail(7), drive_at(1))
    devices.changer.move(slot(2), drive_at(0))
    assert where(devices) == {"AAA001": "drive 1", "AAA002": "drive 0"}


def test_a_cartridge_in_a_drive_knows_its_home(devices: DevicesUnderTest) -> None:
    devices.changer.move(slot(2), drive_at(0))
    status = devices.changer.inventory().at(drive_at(0))
    assert status is not None
    assert status.home == slot(2)


def test_a_move_takes_the_recording_along(devices: DevicesUnderTest) -> None:
    devices.changer.move(slot(2), drive_at(0))
    drive = devices.drives[0].open()
    drive.load()
    write(drive, b"data")
    drive.unload()
    drive.close()
    devices.changer.move(drive_at(0), slot(3))
    devices.changer.move(slot(3), drive_at(1))
    drive = devices.drives[1].open()
    drive.load()
    assert read(drive) == b"data"
    drive.close()


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (slot(3), drive_at(0), "slot 3 is empty"),
        (drive_at(0), slot(3), "drive 0 is empty"),
        (slot(1), slot(2), "slot 2 is full"),
        (slot(1), slot(1), "slot 1 is full"),
        (slot(1), slot(7), "the library has no slot 7"),
        (slot(0), drive_at(0), "the library has no slot 0"),
        (slot(1), drive_at(2), "the library has no drive 2"),
        (slot(1), mail(1), "the library has no mail slot 1"),
    ],
)
def test_a_move_that_cannot_be_made_is_refused(
    devices: DevicesUnderTest, source: Element, destination: Element, reason: str
) -> None:
    with pytest.raises(ChangerError) as caught:
        devices.changer.move(source, destination)
    assert str(caught.value).startswith(f"moving a cartridge from {source} to {destination}: ")
    assert reason in caught.value.reason
    assert where(devices) == {"AAA001": "slot 1", "AAA002": "slot 2"}


def test_a_cartridge_that_is_in_use_is_not_taken_out(devices: DevicesUnderTest, drive: Drive) -> None:
    with pytest.raises(ChangerError, match="drive 0 has not been unloaded"):
        devices.changer.move(drive_at(0), slot(1))
    assert where(devices)["AAA001"] == "drive 0"
    drive.unload()
    devices.changer.move(drive_at(0), slot(1))
    assert where(devices)["AAA001"] == "slot 1"
