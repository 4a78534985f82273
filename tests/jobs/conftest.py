from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stories import Lab, make_lab, make_night

MakeLab = Callable[..., Lab]


def descriptors() -> dict[str, str]:
    """What this process has open, but for pipes and the like that pytest plays with."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found[name] = target
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """No thread outlives its caller, no descriptor stays open, whatever the test did."""
    threads, opened = set(threading.enumerate()), descriptors()
    yield
    assert set(threading.enumerate()) <= threads
    gc.collect()
    assert descriptors().items() <= opened.items()


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[MakeLab]:
    """Makes labs, in ``lab-0``, ``lab-1`` … of the test's folder, from the arguments of ``make_lab``."""
    made: list[Lab] = []

    def make(**settings: Any) -> Lab:
        made.append(make_lab(tmp_path / f"lab-{len(made)}", **settings))
        return made[-1]

    yield make
    for lab in made:
        lab.ledger.close()


@pytest.fixture
def night(tmp_path: Path) -> list[Path]:
    return make_night(tmp_path / "night")


@pytest.fixture
def lab(new_lab: MakeLab, night: list[Path]) -> Lab:
    """A lab with two drives, three pairs of volumes, and a night of six data sets that wait."""
    made = new_lab()
    made.add(*night)
    return made
