"""The check-up of a set-up before its first night: everything that papertape takes for granted, looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from papertape.doctor.driveorder import check_stop, prove_drives, tell_unproven
from papertape.doctor.findings import Check, Devices, SetUp, guarded
from papertape.doctor.host import check_ledger, check_memory, check_programs, check_spool
from papertape.doctor.library import check_changer, check_drives, check_volumes
from papertape.doctor.scratch import check_free, measure_drive
from papertape.doctor.sources import check_source


@dataclass(frozen=True)
class Wishes:
    """What the operator offers: a volume to load, one to write ``scratch_size`` bytes to, a folder to read."""

    load: str | None = None
    scratch: str | None = None
    scratch_size: int = 2 * 10**9
    source: Path | None = None


def examine(setup: SetUp, wishes: Wishes) -> Iterator[Check]:
    """Yield what is found, check by check; one that fails never hides another. Raises Interrupted.

    Nothing is written to a tape but to ``wishes.scratch``, nothing is loaded but that and ``wishes.load``.
    """
    looks = {
        "programs": partial(check_programs, setup),
        "memory": partial(check_memory, setup),
        "spool": partial(check_spool, setup),
        "ledger": partial(check_ledger, setup),
        "source": partial(check_source, setup, wishes.source),
    }
    if setup.devices is not None:
        looks |= {
            "changer": partial(check_changer, setup, setup.devices),
            "volumes": partial(check_volumes, setup, setup.devices),
            "drives": partial(check_drives, setup, setup.devices),
            "which drive": partial(_load, setup, setup.devices, wishes),
            "scratch": partial(_measure, setup, setup.devices, wishes),
        }
    for name, look in looks.items():
        check_stop(setup.stop)
        yield from guarded(name, look)


def _load(setup: SetUp, devices: Devices, wishes: Wishes) -> Iterator[Check]:
    """Prove the drives with the volume that may be loaded; one that is written to proves them as well."""
    if wishes.load and wishes.load != wishes.scratch:
        yield from prove_drives(setup, devices, wishes.load)
    elif not wishes.scratch:
        yield tell_unproven(devices)


def _measure(setup: SetUp, devices: Devices, wishes: Wishes) -> Iterator[Check]:
    if wishes.scratch:
        check_free(setup, wishes.scratch)
        work = partial(measure_drive, setup, devices, wishes.scratch, wishes.scratch_size)
        yield from prove_drives(setup, devices, wishes.scratch, work)
