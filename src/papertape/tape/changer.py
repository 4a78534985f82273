"""A medium changer: what is where, and one move. Everything else is policy, and lives in ``library``."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from papertape.errors import VolumeError, VolumeMissing
from papertape.ids import VolumeTag
from papertape.words import enumerate_names

TAG_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
CLEANING_PREFIX = "CLN"
"""How the volume tags of cleaning cartridges begin (LTO barcode label specification)."""
PUT_BACK = "put it into a slot, or name another volume"


class ElementKind(enum.Enum):
    """The element types of SMC that hold cartridges."""

    DRIVE = "drive"
    STORAGE = "slot"
    IMPORT_EXPORT = "mail slot"


@dataclass(frozen=True)
class Element:
    """An address in the library: drives count from 0, slots and mail slots from 1, as ``mtx`` prints them."""

    kind: ElementKind
    number: int

    def __str__(self) -> str:
        return f"{self.kind.value} {self.number}"


@dataclass(frozen=True)
class ElementStatus:
    """One element as the changer reports it.

    ``volume_tag`` is None for an empty element and for a cartridge whose barcode cannot be read. ``home`` is the
    element that a cartridge in a drive came from, where the changer knows.
    """

    element: Element
    full: bool
    volume_tag: VolumeTag | None = None
    home: Element | None = None


@dataclass(frozen=True)
class Inventory:
    """All elements of a library at one moment, in element order."""

    elements: tuple[ElementStatus, ...]

    def of(self, kind: ElementKind) -> Iterator[ElementStatus]:
        """Yield the elements of one kind."""
        return (status for status in self.elements if status.element.kind is kind)

    def at(self, element: Element) -> ElementStatus | None:
        """Return what the changer says of ``element``; None if the library has no such element."""
        return next((status for status in self.elements if status.element == element), None)

    def find(self, volume_tag: VolumeTag) -> tuple[ElementStatus, ...]:
        """Return every element that holds a cartridge with this volume tag: none, one, or, with a wrong label, more."""
        return tuple(status for status in self.elements if status.volume_tag == volume_tag)


def find_volume(inventory: Inventory, volume_tag: VolumeTag) -> ElementStatus:
    """Return the one element in which the volume lies, of whatever kind.

    Raises VolumeMissing if it lies in none, or in more than one, and VolumeError for a cleaning cartridge.
    """
    if volume_tag.startswith(CLEANING_PREFIX):
        raise VolumeError(volume_tag, "a cleaning cartridge, which is never loaded: name a data cartridge")
    found = inventory.find(volume_tag)
    if not found:
        unread = [str(status.element) for status in inventory.elements if status.full and not status.volume_tag]
        hint = f" (in {enumerate_names(unread)} lies a cartridge without a readable label)" if unread else ""
        raise VolumeMissing(volume_tag, f"not in the library{hint}; {PUT_BACK}")
    if len(found) > 1:
        places = enumerate_names(str(status.element) for status in found)
        raise VolumeMissing(volume_tag, f"in the library more than once, in {places}; take the wrong one out")
    return found[0]


class Changer(Protocol):
    """A robot with storage elements and drives."""

    def inventory(self) -> Inventory:
        """Return what lies where, as the changer reports it now. Raises InventoryUnknown."""

    def move(self, source: Element, destination: Element) -> None:
        """Move the cartridge in ``source`` to the empty ``destination``.

        Raises SourceEmpty if there was none before anything moved, and MoveFailed; then nothing is known.
        """
