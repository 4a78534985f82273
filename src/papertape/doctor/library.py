"""Checks of the library: its changer and what lies where, its volumes, and each drive as it stands there empty."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from papertape.doctor.findings import SetUp
from papertape.errors import DriveBusy, DriveError, HostError, PapertapeError
from papertape.ids import VolumeTag
from papertape.states import VolumeState
from papertape.tape.changer import CLEANING_PREFIX, ElementKind, ElementStatus, Inventory
from papertape.tape.checks import SET_UP, Check, ok, problem, skipped, warning
from papertape.tape.kind import Parts
from papertape.tape.reservation import is_reserved, owner
from papertape.words import be, count, enumerate_names

LISTED = 6
"""Names that are written out in one sentence; more are only counted."""


def check_changer(setup: SetUp, devices: Parts) -> Iterator[Check]:
    """Ask the changer what lies where; it must answer, and have the drives that the config names."""
    missing = setup.kind.missing_programs()
    if missing:
        yield skipped("changer", f"not asked: {enumerate_names(missing)} is missing")
        return
    inventory = devices.changer.inventory()
    counts = {kind: sum(1 for _ in inventory.of(kind)) for kind in ElementKind}
    full = sum(status.full for status in inventory.elements)
    elements = ", ".join(count(number, kind.value) for kind, number in counts.items())
    yield ok("changer", f"it answers: {elements}, {count(full, 'cartridge')}")
    there, copies = counts[ElementKind.DRIVE], setup.settings.copies
    named = count(len(devices.drives), "drive")
    if len(devices.drives) > there:
        yield problem("changer", f"the config names {named}, the changer has {there}", "correct `drives`")
    elif len(devices.drives) < there:
        yield warning("changer", f"the config names {named}, the changer has {there}", "name all in `drives`")
    if len(devices.drives) < copies:
        sentence = f"{copies} copies are written at once, and the config names {named}"
        yield problem("changer", sentence, "name more `drives`, or fewer `prefixes`")
    yield from _check_labels(inventory)


def _check_labels(inventory: Inventory) -> Iterator[Check]:
    full = [status for status in inventory.elements if status.full]
    unread = [status for status in full if status.volume_tag is None]
    if unread:
        sentence = f"cartridges without a readable label lie in {_places(unread)}: papertape never loads them"
        yield warning("changer", sentence, "put barcode labels on them, or take them out")
    for tag, times in Counter(status.volume_tag for status in full if status.volume_tag).items():
        if times > 1:
            places = _places([status for status in full if status.volume_tag == tag])
            yield warning("changer", f"{tag} is there more than once, in {places}", "take the wrong one out")
    loaded = [status for status in inventory.of(ElementKind.DRIVE) if status.full]
    if loaded:
        tags = _listed([status.volume_tag or "a cartridge without a readable label" for status in loaded])
        remedy = "`papertape library unload` brings it home, unless another program has it"
        yield warning("changer", f"{tags} lies in {_places(loaded)}", remedy)


def _places(statuses: Sequence[ElementStatus]) -> str:
    return _listed([str(status.element) for status in statuses])


def _listed(names: Sequence[str]) -> str:
    return enumerate_names(names, most=LISTED)


def check_volumes(setup: SetUp, devices: Parts) -> Iterator[Check]:
    """Compare the cartridges in the library with the ledger: there must be a blank volume for each copy."""
    inventory = None
    with suppress(PapertapeError):  # that the changer does not answer is a finding of ``check_changer``
        inventory = devices.changer.inventory()
    if setup.ledger is None or inventory is None:
        yield skipped("volumes", f"not looked at: the {'changer' if setup.ledger else 'ledger'} does not answer")
        return
    loadable = [status for status in inventory.elements if status.element.kind is not ElementKind.IMPORT_EXPORT]
    tags = {VolumeTag(tag) for status in loadable if (tag := status.volume_tag) and not tag.startswith(CLEANING_PREFIX)}
    known = {volume.tag: volume for volume in setup.ledger.volumes.all()}
    blank = [known[tag].copy for tag in tags if tag in known and known[tag].state == VolumeState.BLANK]
    new = sorted(tag for tag in tags if tag not in known and tag.startswith(setup.prefixes))
    if new:
        remedy = f"register those that are blank: `papertape volumes add {' '.join(new[:LISTED])}`"
        yield warning("volumes", f"{_listed(new)} {be(len(new))} not registered", remedy)
    without = [f"{copy} ({prefix})" for copy, prefix in enumerate(setup.prefixes, 1) if copy not in blank]
    if without:
        remedy = "put one into a slot, and register it with `papertape volumes add`"
        yield warning("volumes", f"no registered blank volume for copy {_listed(without)} is in the library", remedy)
    else:
        each = ", ".join(f"{blank.count(copy)} for copy {copy}" for copy in range(1, len(setup.prefixes) + 1))
        yield ok("volumes", f"registered blank volumes in the library: {each}")


def check_drives(setup: SetUp, devices: Parts) -> Iterator[Check]:
    """Open each drive, and have its kind check how it is set up; nothing moves."""
    yield from setup.kind.check_devices()
    try:
        devices.locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(str(devices.locks), f"cannot be made: {error.strerror or error}") from error
    for drive in devices.drives:
        name = f"drive {drive.number}"
        if is_reserved(devices.locks, drive.number):
            yield skipped(name, f"not looked at: it is in use by {owner(devices.locks, drive.number)}")
            continue
        try:
            opened = drive.open()
        except DriveError as error:
            yield problem(name, error.reason, code=_code(error))
            continue
        serial = opened.serial
        opened.close()  # the kind opens the device by itself
        yield from setup.kind.check_drive(drive.number, serial, setup.settings.block_size)


def _code(error: DriveError) -> int:
    """Return the exit code: a device that this user may not open, or that is no tape drive, is the set-up's problem.

    Errors without a cause are papertape's own judgement of the path in the config.
    """
    if isinstance(error, DriveBusy):
        return error.exit_code
    cause = error.__cause__
    refused = isinstance(cause, OSError) and cause.errno in {errno.EACCES, errno.EPERM}
    return SET_UP if refused or cause is None else error.exit_code
