"""Facts that the host knows without moving a tape: the kernel's of a tape device, and the programs installed.

Bits and defaults of ``st`` are those of ``<linux/mtio.h>`` (``MT_ST_*``), as sysfs shows them; what they do is in
``man 4 st``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from papertape.tape.generations import GENERATIONS, Generation
from papertape.tape.scsi.mtx import SBIN

SYSFS = Path("/sys/class/scsi_tape")
ANSWER_SECONDS = 10.0

TWO_FM, NO_BLKLIMS, NOWAIT, NOWAIT_EOF = 0x10, 0x200, 0x2000, 0x8000
OPTIONS = {
    0x1: "buffer-writes",
    0x2: "async-writes",
    0x4: "read-ahead",
    0x8: "debug",
    TWO_FM: "two-fms",
    0x20: "fast-eod",
    0x40: "auto-lock",
    0x80: "def-writes",
    0x100: "can-bsr",
    NO_BLKLIMS: "no-blklimits",
    0x400: "can-partitions",
    0x800: "scsi2logical",
    0x1000: "sysv",
    NOWAIT: "no-wait",
    0x4000: "sili",
    NOWAIT_EOF: "no-wait-eof",
}
"""The driver's options by the names that ``mt stsetoptions`` has for them, where it has one."""

_GENERATION = re.compile(r"(?:TD|HH|ULTRIUM|LTO)[ -]?([0-9]{1,2})\b", re.IGNORECASE | re.ASCII)


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for where administrators' programs lie too; None if it is not there."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")


def ask_version(program: str) -> str:
    """Return the first line that ``program --version`` prints, on whichever output; "" if it says nothing."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=ANSWER_SECONDS,
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
        lines = (done.stdout + done.stderr).decode("ascii", "replace").split("\n")
        return next((line.strip() for line in lines if line.strip()), "")
    return ""


def read_options(node: Path) -> int | None:
    """Return the options of the driver for a tape device, as bits; None if the kernel does not say."""
    text = _read(node, "options")
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", text) else None


def name_options(bits: int) -> list[str]:
    """Return the names of options that are set."""
    return [name for bit, name in OPTIONS.items() if bits & bit]


def read_default_block_size(node: Path) -> int:
    """Return the fixed block size, in bytes, in which the driver opens a device; 0 for variable blocks, its default."""
    text = _read(node, "default_blksize")
    return int(text) if text.isdigit() else 0


def read_product(node: Path) -> str:
    """Return vendor and product of a drive (INQUIRY), as the kernel has them; "" if it has not."""
    return " ".join(filter(None, (_read(node, "device/vendor"), _read(node, "device/model"))))


def find_generation(product: str) -> Generation | None:
    """Return the LTO generation that a product such as "IBM ULT3580-TD6" or "HP Ultrium 6-SCSI" is of, if it says."""
    found = _GENERATION.search(product)
    return GENERATIONS.get(f"LTO-{found[1]}") if found else None


def find_generic(node: Path) -> Path | None:
    """Return the drive's generic SCSI device (``/dev/sg0``); None if it has none."""
    with suppress(OSError):
        names = os.listdir(SYSFS / node.resolve().name / "device" / "scsi_generic")
        return Path("/dev") / names[0] if names else None
    return None


def _read(node: Path, name: str) -> str:
    with suppress(OSError):
        return (SYSFS / node.resolve().name / name).read_text(encoding="ascii", errors="replace").strip("\0 \n")
    return ""
