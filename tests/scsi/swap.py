"""A cartridge is exchanged under papertape's open descriptor, inside the guest: how the swap is made, and met."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from guest_actions import (  # beside this file, where guest_server.py has its modules
    ALLOW,
    BLOCK,
    IMPATIENT,
    UNLOAD,
    send,
)

from papertape.errors import PapertapeError
from papertape.events import tell_all
from papertape.tape.drive import Drive, Mark
from papertape.tape.scsi.stdevice import ScsiDrive

NODE = "/dev/nst0"
WRITTEN = bytes(BLOCK)


def write_block(drive: Drive) -> object:
    return drive.write_block(memoryview(WRITTEN))


def read_block(drive: Drive) -> object:
    return drive.read_block(memoryview(bytearray(BLOCK)))


ACTIONS: dict[str, Callable[[Drive], object]] = {
    "block": write_block,
    "filemark": lambda drive: drive.write_filemark(flush=True),
    "filemark at once": lambda drive: drive.write_filemark(flush=False),
    "read": read_block,
    "rewind": lambda drive: drive.rewind(),
    "locate": lambda drive: drive.locate(1),
    "space forward": lambda drive: drive.space(1),
    "space back": lambda drive: drive.space(-1),
    "space to the end": lambda drive: drive.space(Mark.END_OF_DATA),
    "position": lambda drive: drive.position(),
    "status": lambda drive: drive.status(),
    "unload": lambda drive: drive.unload(),
    "close": lambda drive: drive.close(),
}


def swap(old: int, new: int) -> None:
    """Exchange the cartridge in the drive for another one, as the robot's own panel does, past st."""
    assert send(NODE, ALLOW) == 0
    assert send(NODE, UNLOAD) == 0
    for words in (("unload", old, 0), ("load", new, 0)):
        subprocess.run(["mtx", "-f", "/dev/changer", *map(str, words)], check=True, capture_output=True)


def meet_swap(before: list[str], after: list[str], old: int, new: int) -> list[str]:
    """Do ``before`` on one tape, exchange it, do ``after``; return what was said to each, ``done`` if nothing.

    With no ``close`` in it the process dies with the device open: the kernel closes it.
    """
    drive = ScsiDrive(0, Path(NODE), tell_all(), IMPATIENT).open("PAPR1001")
    drive.load()
    for name in before:
        ACTIONS[name](drive)
    swap(old, new)
    return [_try(name, drive) for name in after]


def _try(name: str, drive: Drive) -> str:
    try:
        ACTIONS[name](drive)
    except PapertapeError as error:
        return f"{error.exit_code}: {error}"
    return "done"


def find_end(number: int) -> int:
    """Return at which object the data of the tape in the drive end, told by a descriptor of its own; 0 if blank."""
    drive = ScsiDrive(number, Path(NODE), tell_all(), IMPATIENT).open()
    try:
        drive.load()
        drive.space(Mark.END_OF_DATA)
        return drive.position()
    finally:
        drive.unload()
        drive.close()
        os.sync()
