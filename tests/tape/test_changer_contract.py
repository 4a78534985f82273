"""What papertape asks of any changer: the docstrings of ``Changer``."""

from __future__ import annotations

import pytest

from papertape.errors import ChangerError
from papertape.tape.changer import Element, ElementKind
from papertape.tape.drive import Drive

from .rigs import LibraryRig, drive_at, mail, read, slot, write


def where(rig: LibraryRig) -> dict[str | None, str]:
    return {status.volume_tag: str(status.element) for status in rig.changer.inventory().elements if status.full}


def test_the_inventory_lists_every_element_in_order(library_rig: LibraryRig) -> None:
    inventory = library_rig.changer.inventory()
    assert [status.element for status in inventory.of(ElementKind.DRIVE)] == [drive_at(0), drive_at(1)]
    assert [status.element for status in inventory.of(ElementKind.STORAGE)] == [slot(n) for n in range(1, 7)]
    assert [status.element for status in inventory.of(ElementKind.IMPORT_EXPORT)] == [mail(7)]
    assert where(library_rig) == {"AAA001": "slot 1", "AAA002": "slot 2"}
    assert [status.element for status in inventory.find("AAA002")] == [slot(2)]
    assert inventory.at(slot(99)) is None


def test_moves_between_all_kinds_of_elements(library_rig: LibraryRig) -> None:
    library_rig.changer.move(slot(1), slot(5))
    library_rig.changer.move(slot(5), mail(7))
    library_rig.changer.move(mail(7), drive_at(1))
    library_rig.changer.move(slot(2), drive_at(0))
    assert where(library_rig) == {"AAA001": "drive 1", "AAA002": "drive 0"}


def test_a_cartridge_in_a_drive_knows_its_home(library_rig: LibraryRig) -> None:
    library_rig.changer.move(slot(2), drive_at(0))
    status = library_rig.changer.inventory().at(drive_at(0))
    assert status is not None
    assert status.home == slot(2)


def test_a_move_takes_the_recording_along(library_rig: LibraryRig) -> None:
    library_rig.changer.move(slot(2), drive_at(0))
    drive = library_rig.drives[0].open()
    drive.load()
    write(drive, b"data")
    drive.unload()
    drive.close()
    library_rig.changer.move(drive_at(0), slot(3))
    library_rig.changer.move(slot(3), drive_at(1))
    drive = library_rig.drives[1].open()
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
    library_rig: LibraryRig, source: Element, destination: Element, reason: str
) -> None:
    with pytest.raises(ChangerError) as caught:
        library_rig.changer.move(source, destination)
    assert str(caught.value).startswith(f"moving a cartridge from {source} to {destination}: ")
    assert reason in caught.value.reason
    assert where(library_rig) == {"AAA001": "slot 1", "AAA002": "slot 2"}


def test_a_cartridge_that_is_in_use_is_not_taken_out(library_rig: LibraryRig, drive: Drive) -> None:
    with pytest.raises(ChangerError, match="drive 0 has not been unloaded"):
        library_rig.changer.move(drive_at(0), slot(1))
    assert where(library_rig)["AAA001"] == "drive 0"
    drive.unload()
    library_rig.changer.move(drive_at(0), slot(1))
    assert where(library_rig)["AAA001"] == "slot 1"
