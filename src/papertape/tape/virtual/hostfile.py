"""The virtual library's own files on the host: JSON that is never half written, and the host's errors by name."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from papertape.errors import DriveError, HostDiskFull, UserError

T = TypeVar("T")

SPARE_BYTES = 256 * 1024
"""Kept aside in the library's folder, so that a full host disk cannot keep cartridges from being put away."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_is_full(error: OSError) -> bool:
    """Tell whether ``error`` says that the host's disk, quota or file size limit is used up."""
    return error.errno in _FULL


def drive_error(drive: int, error: OSError) -> DriveError:
    """Return what the host's ``error`` means to who uses ``drive`` of a virtual library."""
    where = os.fsdecode(error.filename) if error.filename else "the virtual library's folder"
    if disk_is_full(error):
        return HostDiskFull(drive, f"the host's disk below {where} is full: make room on it; the cartridge is not full")
    return DriveError(drive, f"the virtual library's files cannot be used: {where}: {error.strerror or error}")


def encode(value: object) -> bytes:
    """Return ``value`` as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def read_json(path: Path, decoder: msgspec.json.Decoder[T]) -> T:
    """Return what ``path`` holds. Raises OSError, and UserError if it is not what ``decoder`` wants.

    That one is made when its module is imported: where two threads are the first to use a type, msgspec crashes.
    """
    try:
        return decoder.decode(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}: not what a virtual library keeps there ({error}); restore it or leave it out"
        ) from error


def write_json(path: Path, value: object, *, sync: bool = False) -> None:
    """Replace ``path`` by ``value`` in one step; with ``sync`` it is on the disk on return. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            file.write(encode(value))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)  # rename(2): whoever opens ``path`` finds the old file or the new one
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    if sync:  # the new name lies in the folder, which has to be on the disk as well
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on the disk. Raises OSError."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Put the bytes of ``path`` on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json_with_spare(path: Path, value: object, spare: Path, *, sync: bool = False) -> None:
    """Replace ``path`` by ``value`` even on a full disk, by giving up ``spare`` for it. Raises OSError."""
    try:
        write_json(path, value, sync=sync)
    except OSError as error:
        if not disk_is_full(error) or not spare.exists():
            raise
        # Where a cartridge lies must be recorded: without that it could not be put away until the disk has room.
        spare.unlink(missing_ok=True)
        write_json(path, value, sync=sync)
        return
    if not spare.exists():
        with contextlib.suppress(OSError):
            keep_spare(spare)


def keep_spare(spare: Path) -> None:
    """Take room on the disk for ``spare``. Raises OSError; then there is none."""
    try:
        with spare.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SPARE_BYTES)
    except OSError:
        spare.unlink(missing_ok=True)
        raise
