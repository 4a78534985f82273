"""Checks of a real library that only its own devices and the kernel can answer; nothing here moves a cartridge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from papertape.tape.checks import Check, ok, problem, skipped, warning
from papertape.tape.scsi.blocklimits import ask_adapter_limit, ask_drive_limit, takes_block
from papertape.tape.scsi.hostfacts import (
    NO_BLKLIMS,
    NOWAIT,
    NOWAIT_EOF,
    TWO_FM,
    ask_version,
    find_program,
    name_options,
    read_default_block_size,
    read_options,
    read_product,
)
from papertape.words import show_block

HINDRANCES = {
    TWO_FM: ("it writes two filemarks after the last block, and papertape's tapes have one there", "two-fms"),
    NO_BLKLIMS: (
        "a block that is too long is only refused by the drive itself, as an error of the medium",
        "no-blklimits",
    ),
    NOWAIT: ("unloading ends before the drive releases the cartridge, and the robot comes too early", "no-wait"),
}
"""Options of the driver that hinder papertape: their effect, and their name for mt."""
SMALLEST_TRIED = 64 * 1024
"""The shortest block that is tried, in bytes: no volume has shorter ones."""


def check_programs() -> Iterator[Check]:
    """Look for mtx, without which nothing moves, and for the mt of mt-st, with which tapes are read by hand."""
    mtx, mt = find_program("mtx"), find_program("mt")
    if mtx is None:
        yield problem("programs", "mtx is not installed: without it no cartridge is moved", "install the package mtx")
    else:
        yield ok("programs", f"{mtx} is {ask_version(mtx) or 'of an unknown version'}")
    hand = "to get data back by hand"
    if mt is None:
        yield warning("programs", f"mt is not installed: it is needed {hand}", "install the package mt-st")
        return
    version = ask_version(mt)
    if "mt-st" in version:
        yield ok("programs", f"{mt} is {version}")
        return
    said = f"says {version!r}" if version else "does not tell its version"
    sentence = f"{mt} {said} and is not that of mt-st, which is needed {hand} (setblk, eod, seek)"
    yield warning("programs", sentence, "install the package mt-st")


def check_twice_named(drives: Sequence[str]) -> Iterator[Check]:
    """Look for a drive that the config names twice, by two names of one device (major and minor number)."""
    numbers: dict[int, int] = {}
    for number, node in enumerate(drives):
        with suppress(OSError):  # a missing device is a finding of its own drive's check
            twin = numbers.setdefault(Path(node).stat().st_rdev, number)
            if twin != number:
                sentence = f"{node} and {drives[twin]} are the same device, which the config calls two drives"
                yield problem("drives", sentence, "name each drive once in `drives`")


def check_drive(number: int, node: Path, serial: str, block_size: int) -> Iterator[Check]:
    """Ask kernel, drive and adapter how they treat the drive; ``block_size`` is the config's, in bytes.

    The options of ``st`` are those of ``man 4 st``; they last until the driver is loaded again.
    """
    name, bits = f"drive {number}", read_options(node)
    options = f"st options {' '.join(name_options(bits)) or 'none'}" if bits is not None else "st options unknown"
    link = f" ({node.resolve()})" if node.is_symlink() else ""
    yield ok(name, f"{node}{link} opens: {read_product(node)}, serial number {serial}, {options}")
    lasting = "and leave it out of /etc/stinit.def"
    if (bits or 0) & NOWAIT_EOF:
        sentence = f"{node} has the st option no-wait-eof: a filemark that papertape waits for is not waited for"
        yield problem(name, sentence, f"`mt -f {node} stclearoptions {NOWAIT_EOF:#x}`, {lasting}")
    for bit, (effect, option) in HINDRANCES.items():
        if (bits or 0) & bit:
            remedy = f"`mt -f {node} stclearoptions {option}`, {lasting}"
            yield warning(name, f"{node} has the st option {option}: {effect}", remedy)
    size = read_default_block_size(node)
    if size:
        sentence = f"{node} comes up with fixed blocks of {size} bytes, which keeps tar and dd from reading by hand"
        yield warning(name, sentence, f"`mt -f {node} defblksize 0`, {lasting}")
    yield _check_limits(name, node, block_size)


def _check_limits(name: str, node: Path, block_size: int) -> Check:
    """Compare ``block_size`` with the longest block of the drive and of the adapter, all in bytes."""
    limit, adapter = ask_drive_limit(node), ask_adapter_limit(node)
    least = min(filter(None, (limit, adapter)), default=block_size)
    remedy = f"set `block_size` in the config to {show_block(1 << (least.bit_length() - 1))} or less"
    if limit is not None and limit < block_size:
        sentence = f"{node} takes blocks of up to {show_block(limit)}, and `block_size` is {show_block(block_size)}"
        return problem(name, sentence, remedy)
    if adapter is not None and adapter < block_size:
        sentence = f"the adapter of {node} moves {show_block(adapter)} at once, and `block_size` is more"
        return warning(name, sentence, remedy)
    if limit is None:
        return skipped(name, f"this user may not ask {node} for its longest block: --load or --scratch tells")
    # READ BLOCK LIMITS has three bytes for the length: LTO drives answer one byte less than 16 MiB, or about that.
    longest = show_block(limit) if limit < 16 * 2**20 - 2**19 else "16MiB"
    return ok(name, f"it takes blocks of up to {longest}; `block_size` is {show_block(block_size)}")


def check_block(number: int, node: Path, size: int) -> Iterator[Check]:
    """Read once into a buffer of ``size`` bytes, which shows whether drive and adapter take such blocks."""
    name = f"drive {number}"
    if (ask_drive_limit(node) or size) < size:  # reported by ``check_drive`` already
        return
    taken = takes_block(node, size)
    if taken:
        yield ok(name, f"{node} reads with blocks of {show_block(size)}")
    elif taken is False:
        smaller = 1 << (size - 1).bit_length() - 1
        while smaller >= SMALLEST_TRIED and not takes_block(node, smaller):
            smaller //= 2
        fits = smaller >= SMALLEST_TRIED
        remedy = f"set `block_size` in the config to {show_block(smaller)}" if fits else "make `block_size` smaller"
        yield problem(name, f"{node} refuses blocks of {show_block(size)}, the `block_size`", remedy)
