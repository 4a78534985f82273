"""Where a volume lies, and in which words it is missed."""

from __future__ import annotations

from papertape.errors import VolumeError, VolumeMissing
from papertape.tape.cartridge import CLEANING_PREFIX
from papertape.tape.changer import ElementStatus, Inventory

PUT_BACK = "put it into a slot, or name another volume"


def find_volume(inventory: Inventory, volume_tag: str) -> ElementStatus:
    """Return the one element in which the volume lies, of whatever kind.

    Raises VolumeMissing if it lies in none, or in more than one, and VolumeError for a cleaning cartridge.
    """
    if volume_tag.startswith(CLEANING_PREFIX):
        raise VolumeError(volume_tag, "a cleaning cartridge, which is never loaded: name a data cartridge")
    found = inventory.find(volume_tag)
    if not found:
        raise VolumeMissing(volume_tag, f"not in the library{_hint(inventory)}; {PUT_BACK}")
    if len(found) > 1:
        places = " and ".join(str(status.element) for status in found)
        raise VolumeMissing(volume_tag, f"in the library more than once, in {places}; take the wrong one out")
    return found[0]


def _hint(inventory: Inventory) -> str:
    """Say where it may be all the same: in an element whose cartridge cannot be told."""
    unread = [str(status.element) for status in inventory.elements if status.full and not status.volume_tag]
    return f" (in {' and '.join(unread)} lies a cartridge without a readable label)" if unread else ""
