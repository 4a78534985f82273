"""What is done by hand inside the guest, past papertape or with a part of it; ``Machine.call`` calls it by name."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import sqlite3
from pathlib import Path

from papertape.errors import PapertapeError
from papertape.events import tell_all
from papertape.tape.scsi.blocklimits import SG_IO, _Header
from papertape.tape.scsi.hostfacts import find_generic
from papertape.tape.scsi.stdevice import Patience, ScsiDrive, StDevice, find_user
from papertape.tape.st import TapeOp

LEDGER = "/srv/ledger.sqlite"
BLOCK = 64 * 1024
NOTHING_MOVES = -1
PREVENT, ALLOW = bytes((0x1E, 0, 0, 0, 1, 0)), bytes((0x1E, 0, 0, 0, 0, 0))
UNLOAD = bytes((0x1B, 0, 0, 0, 0, 0))
IMPATIENT = Patience(busy=1, empty=1, loading=5)


def ask_ledger(query: str) -> list[list[object]]:
    """Return what the ledger file itself says."""
    with contextlib.closing(sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True)) as connection:
        return [list(row) for row in connection.execute(query)]


def send(node: str, command: bytes) -> int:
    """Send a SCSI command that moves no data past st, which thus knows nothing of it; return the drive's status."""
    generic = find_generic(Path(node))
    assert generic, node
    words, sense = ctypes.create_string_buffer(command, len(command)), ctypes.create_string_buffer(32)
    header = _Header(
        interface_id=ord("S"),
        dxfer_direction=NOTHING_MOVES,
        cmd_len=len(command),
        mx_sb_len=len(sense),
        cmdp=ctypes.addressof(words),
        sbp=ctypes.addressof(sense),
        timeout=10_000,
    )
    descriptor = os.open(generic, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, SG_IO, header)
    finally:
        os.close(descriptor)
    return int(header.status)


def lock_door(node: str) -> int:
    """Lock the drive's door behind the back of st; the first command may only tell that the tape is a new one."""
    return send(node, PREVENT) and send(node, PREVENT)


def unlock_door(node: str) -> int:
    """Unlock it in the same way."""
    return send(node, ALLOW) and send(node, ALLOW)


def tear(node: str, tape_file: int, blocks: int) -> None:
    """Let the tape end behind so many blocks of a tape file, with no filemark, as if the power had failed there.

    What lies before stays as it was: the last of these blocks is written once more.
    """
    device = StDevice(0, Path(node), tell_all(), Patience())
    buffer = memoryview(bytearray(BLOCK))
    _read_blocks(device, tape_file, blocks, buffer)
    last = bytes(buffer)
    _read_blocks(device, tape_file, blocks - 1, buffer)
    device.write(memoryview(last))
    device._disarm()
    device.close()


def _read_blocks(device: StDevice, tape_file: int, count: int, buffer: memoryview) -> None:
    device.operate(TapeOp.REWIND, 1)
    if tape_file:
        device.operate(TapeOp.SPACE_FORWARD, tape_file)
    for _ in range(count):
        assert device.read(buffer) == len(buffer)


def load_impatiently(number: int, node: str) -> str:
    """Load what should be in a drive, without the patience that a robot needs, and return what is said against it."""
    drive = ScsiDrive(number, Path(node), tell_all(), IMPATIENT).open("PAPR1001")
    try:
        drive.load()
    except PapertapeError as error:
        return f"{error.exit_code}: {error}"
    finally:
        drive.close()
    return "loaded"


def is_open(node: str) -> bool:
    """Tell whether a process has the device open."""
    return bool(find_user(Path(node)))
