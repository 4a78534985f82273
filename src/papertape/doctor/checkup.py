"""The check-up of a set-up before its first night: everything that papertape takes for granted is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from papertape.doctor.driveorder import check_order
from papertape.doctor.findings import SetUp, check_stop, guarded
from papertape.doctor.host import check_ledger, check_memory, check_spool
from papertape.doctor.library import check_changer, check_drives, check_volumes
from papertape.doctor.scratch import check_scratch
from papertape.doctor.sources import check_source
from papertape.ids import VolumeTag
from papertape.tape.checks import Check


@dataclass(frozen=True)
class Wishes:
    """The operator's options: a volume to load, one to write ``scratch_size`` bytes to, a folder to read."""

    load: VolumeTag | None = None
    scratch: VolumeTag | None = None
    scratch_size: int = 2 * 10**9
    source: Path | None = None


def examine(setup: SetUp, wishes: Wishes) -> Iterator[Check]:
    """Yield the findings, check by check; one that fails never hides another. Raises Interrupted.

    Nothing is written to a tape except ``wishes.scratch``, nothing is loaded except that and ``wishes.load``.
    """
    looks: dict[str, Callable[[], Iterable[Check]]] = {
        "programs": setup.kind.check_programs,
        "memory": partial(check_memory, setup),
        "spool": partial(check_spool, setup),
        "ledger": partial(check_ledger, setup),
        "source": partial(check_source, setup, wishes.source),
    }
    if setup.devices is not None:
        # A volume that is written to in each drive proves the order of the drives as well as one that is only loaded.
        load = None if wishes.load == wishes.scratch else wishes.load
        looks |= {
            "changer": partial(check_changer, setup, setup.devices),
            "volumes": partial(check_volumes, setup, setup.devices),
            "drives": partial(check_drives, setup, setup.devices),
            "which drive": partial(check_order, setup, setup.devices, load, is_proven=bool(wishes.scratch)),
            "scratch": partial(check_scratch, setup, setup.devices, wishes.scratch, wishes.scratch_size),
        }
    for name, look in looks.items():
        check_stop(setup.stop)
        yield from guarded(name, look)
