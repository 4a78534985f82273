"""Checks of the library: its changer and what lies where, its volumes, and each drive as it stands there empty."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from papertape.doctor.findings import (
    SET_UP,
    Check,
    Devices,
    SetUp,
    ok,
    problem,
    skipped,
    warning,
)
from papertape.errors import DriveBusy, DriveError, HostError, PapertapeError
from papertape.states import VolumeState
from papertape.tape.changer import CLEANING_PREFIX, ElementKind, ElementStatus, Inventory
from papertape.tape.library import DriveSource
from papertape.tape.reservation import is_reserved, owner
from papertape.tape.scsi.blocklimits import ask_adapter_limit, ask_drive_limit
from papertape.tape.scsi.hostfacts import (
    NO_BLKLIMS,
    NOWAIT,
    NOWAIT_EOF,
    TWO_FM,
    find_program,
    name_options,
    read_default_block_size,
    read_options,
    read_product,
)
from papertape.words import be, count, enumerate_names, show_block

DRIVE, STORAGE, IMPORT_EXPORT = ElementKind.DRIVE, ElementKind.STORAGE, ElementKind.IMPORT_EXPORT
LISTED = 6
HINDRANCES = {
    TWO_FM: ("behind what was written it leaves two filemarks, which papertape's tapes do not have", "two-fms"),
    NO_BLKLIMS: (
        "a block that is too long is only refused by the drive itself, as an error of the medium",
        "no-blklimits",
    ),
    NOWAIT: ("unloading ends before the drive lets go, and the robot comes too early", "no-wait"),
}
"""Options of the driver that hinder papertape: what they do, and their name for mt."""


def check_changer(setup: SetUp, devices: Devices) -> Iterator[Check]:
    """Ask the changer what lies where; it must be one, and have the drives that the config names."""
    if devices.nodes and find_program("mtx") is None:
        yield skipped("changer", "not asked: mtx is missing")
        return
    inventory = devices.changer.inventory()
    counts = {kind: sum(1 for _ in inventory.of(kind)) for kind in ElementKind}
    full = sum(status.full for status in inventory.elements)
    elements = ", ".join(count(number, kind.value) for kind, number in counts.items())
    yield ok("changer", f"it answers: {elements}, {count(full, 'cartridge')}")
    yield from _check_count(len(devices.drives), counts[DRIVE], setup.settings.copies)
    yield from _check_labels(inventory)


def _check_count(named: int, there: int, copies: int) -> Iterator[Check]:
    if named > there:
        yield problem("changer", f"the config names {count(named, 'drive')}, the changer has {there}", "mend `drives`")
    elif named < there:
        yield warning(
            "changer", f"the config names {count(named, 'drive')}, the changer has {there}", "name all in `drives`"
        )
    if named < copies:
        sentence = f"{copies} copies are written at once, and the config names {count(named, 'drive')}"
        yield problem("changer", sentence, "name more `drives`, or fewer `prefixes`")


def _check_labels(inventory: Inventory) -> Iterator[Check]:
    full = [status for status in inventory.elements if status.full]
    unread = [status for status in full if status.volume_tag is None]
    if unread:
        sentence = f"cartridges without a readable label lie in {_places(unread)}: papertape never loads them"
        yield warning("changer", sentence, "put barcode labels on them, or take them out")
    tags = Counter(status.volume_tag for status in full if status.volume_tag)
    for tag, times in tags.items():
        if times > 1:
            places = _places([status for status in full if status.volume_tag == tag])
            yield warning("changer", f"{tag} is there more than once, in {places}", "take the wrong one out")
    loaded = [status for status in inventory.of(DRIVE) if status.full]
    if loaded:
        remedy = "`papertape library unload` brings it home, unless another program has it"
        yield warning("changer", f"{_tags(loaded)} lies in {_places(loaded)}", remedy)


def _places(statuses: Sequence[ElementStatus]) -> str:
    return _listed([str(status.element) for status in statuses])


def _tags(statuses: Sequence[ElementStatus]) -> str:
    return _listed([status.volume_tag or "a cartridge without a readable label" for status in statuses])


def _listed(names: Sequence[str]) -> str:
    return enumerate_names(names, most=LISTED)


def check_volumes(setup: SetUp, devices: Devices) -> Iterator[Check]:
    """Hold what is in the library against what the ledger knows of it: there must be a blank volume for each copy."""
    inventory = _try_inventory(devices)
    if setup.ledger is None or inventory is None:
        yield skipped("volumes", f"not looked at: the {'changer' if setup.ledger else 'ledger'} does not answer")
        return
    within = [status for status in inventory.elements if status.volume_tag and status.element.kind is not IMPORT_EXPORT]
    tags = {status.volume_tag for status in within if not str(status.volume_tag).startswith(CLEANING_PREFIX)}
    known = {volume.tag: volume for volume in setup.ledger.volumes.all()}
    blank = [known[tag].copy for tag in tags if tag in known and known[tag].state == VolumeState.BLANK]
    new = sorted(tag for tag in tags if tag and tag not in known and tag.startswith(setup.prefixes))
    if new:
        remedy = f"register those that are blank: `papertape volumes add {' '.join(new[:LISTED])}`"
        yield warning("volumes", f"{_listed(new)} {be(len(new))} not registered", remedy)
    lacking = [f"{copy} ({prefix})" for copy, prefix in enumerate(setup.prefixes, 1) if copy not in blank]
    if lacking:
        remedy = "put one into a slot, and register it with `papertape volumes add`"
        yield warning("volumes", f"no registered blank volume for copy {_listed(lacking)} is in the library", remedy)
    else:
        each = ", ".join(f"{blank.count(copy)} for copy {copy}" for copy in range(1, len(setup.prefixes) + 1))
        yield ok("volumes", f"registered blank volumes in the library: {each}")


def _try_inventory(devices: Devices) -> Inventory | None:
    with suppress(PapertapeError):  # that it does not answer is a finding of another check
        return devices.changer.inventory()
    return None


def check_drives(setup: SetUp, devices: Devices) -> Iterator[Check]:
    """Open each drive, and ask the kernel how it treats it; nothing moves."""
    yield from _check_twins(devices)
    try:
        devices.locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(str(devices.locks), f"cannot be made: {error.strerror or error}") from error
    for drive in devices.drives:
        yield from _check_drive(drive, devices, setup.settings.block_size)


def _check_twins(devices: Devices) -> Iterator[Check]:
    numbers: dict[int, int] = {}
    for number, node in enumerate(devices.nodes):
        with suppress(OSError):
            twin = numbers.setdefault(node.stat().st_rdev, number)
            if twin != number:
                sentence = f"{node} and {devices.nodes[twin]} are the same device, which the config calls two drives"
                yield problem("drives", sentence, "name each drive once in `drives`")


def _check_drive(drive: DriveSource, devices: Devices, block_size: int) -> Iterator[Check]:
    name = f"drive {drive.number}"
    if is_reserved(devices.locks, drive.number):
        yield skipped(name, f"not looked at: it is in use by {owner(devices.locks, drive.number)}")
        return
    try:
        opened = drive.open()
    except DriveError as error:
        yield problem(name, error.reason, code=_code(error, devices))
        return
    serial = opened.serial
    opened.close()
    if not devices.nodes:
        yield ok(name, f"opens, serial number {serial}")
        return
    yield _describe(drive.number, devices.nodes[drive.number], serial)
    yield from _check_driver(name, devices.nodes[drive.number])
    yield from _check_blocks(name, devices.nodes[drive.number], block_size)


def _code(error: DriveError, devices: Devices) -> int:
    """Return the exit code: a device that is not usable for lack of rights, or not a tape at all, is the set-up's."""
    cause = error.__cause__
    if not devices.nodes or isinstance(error, DriveBusy):
        return error.exit_code
    refused = isinstance(cause, OSError) and cause.errno in {errno.EACCES, errno.EPERM}
    return SET_UP if refused or cause is None else error.exit_code


def _describe(number: int, node: Path, serial: str) -> Check:
    bits = read_options(node)
    options = f"st options {' '.join(name_options(bits)) or 'none'}" if bits is not None else "st options unknown"
    link = f" ({node.resolve()})" if node.is_symlink() else ""
    return ok(f"drive {number}", f"{node}{link} opens: {read_product(node)}, serial number {serial}, {options}")


def _check_driver(name: str, node: Path) -> Iterator[Check]:
    """Say which of the driver's settings hinder papertape; they last until the driver is loaded again."""
    bits = read_options(node) or 0
    lasting = "and leave it out of /etc/stinit.def"
    if bits & NOWAIT_EOF:
        sentence = f"{node} has the st option no-wait-eof: a filemark that papertape waits for is not waited for"
        yield problem(name, sentence, f"`mt -f {node} stclearoptions {NOWAIT_EOF:#x}`, {lasting}")
    for bit, (what, option) in HINDRANCES.items():
        if bits & bit:
            remedy = f"`mt -f {node} stclearoptions {option}`, {lasting}"
            yield warning(name, f"{node} has the st option {option}: {what}", remedy)
    size = read_default_block_size(node)
    if size:
        sentence = f"{node} comes up with fixed blocks of {size} bytes, which keeps tar and dd from reading by hand"
        yield warning(name, sentence, f"`mt -f {node} defblksize 0`, {lasting}")


def _check_blocks(name: str, node: Path, block_size: int) -> Iterator[Check]:
    limit, adapter = ask_drive_limit(node), ask_adapter_limit(node)
    if limit is not None and limit < block_size:
        sentence = f"{node} takes blocks of up to {show_block(limit)}, and `block_size` is {show_block(block_size)}"
        yield problem(name, sentence, f"set `block_size` in the config to {show_block(_fit(limit))} or less")
    elif adapter is not None and adapter < block_size:
        sentence = f"the adapter of {node} moves {show_block(adapter)} at once, and `block_size` is more"
        yield warning(name, sentence, f"set `block_size` in the config to {show_block(_fit(adapter))} or less")
    elif limit is None:
        yield skipped(name, f"this user may not ask {node} for its longest block: --load or --scratch tells")
    else:
        yield ok(name, f"it takes blocks of up to {_show_limit(limit)}; `block_size` is {show_block(block_size)}")


def _show_limit(limit: int) -> str:
    return show_block(limit) if limit < 16 * 2**20 - 2**19 else "16MiB"


def _fit(limit: int) -> int:
    """Return the largest power of two that is not above ``limit``: the form that block sizes have."""
    return int(1 << (limit.bit_length() - 1))
