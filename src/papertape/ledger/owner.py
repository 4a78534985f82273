"""The process that runs a dump, distinguished from any later process with the same number."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from papertape.ledger.records import Owner

_PROC = Path("/proc")


def identify_process() -> Owner:
    """Return this process as an owner."""
    return Owner(socket.gethostname(), os.getpid(), _started(os.getpid()))


def is_alive(owner: Owner) -> bool:
    """Whether the owner may still be at work; a process on another host counts as alive, since it cannot be seen."""
    if owner.host != socket.gethostname():
        return True
    return _started(owner.pid) == owner.started


def _started(pid: int) -> str:
    """Return the boot and the start time in it, which distinguish a process from others with the same number.

    The start time is field 22 of ``/proc/PID/stat``, in clock ticks since boot (``man 5 proc``); the second field may
    hold blanks and brackets. Empty if there is no such process.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    dead = fields[0] in {"Z", "X"}  # a zombie holds nothing any more, and will never run again
    return "" if dead else f"{boot}:{fields[19]}"
