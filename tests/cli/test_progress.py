"""Bars of several drives that are not in step: whatever one thread begins or ends, the others' numbers go on."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from papertape.cli.progress import BAR_EVERY, Bars, Lines
from papertape.events import Began, Finished, Moved, Phase

THREADS = 4
ROUNDS = 60


def work(tell: Lines, drive: int, failures: list[BaseException]) -> None:
    """What a drive says that fetches from one volume after the other."""
    try:
        for number in range(ROUNDS):
            volume = f"PAPR{drive}{number:03}"
            tell(Began(volume=volume, drive=drive, total=10_000))
            for _ in range(20):
                tell(Moved(volume=volume, drive=drive, count=500))
            tell(Finished(volume=volume, drive=drive))
    except BaseException as error:  # the thread's own end would be silent
        failures.append(error)
        raise


@pytest.fixture(autouse=True)
def restless_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run(tell: Lines) -> list[BaseException]:
    failures: list[BaseException] = []
    with tell:
        tell(Phase(name="restoring"))
        threads = [threading.Thread(target=work, args=(tell, drive, failures)) for drive in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return failures


def test_bars_of_several_drives_at_once() -> None:
    screen = io.StringIO()
    tell = Bars(Console(file=screen, force_terminal=True, width=120))
    assert run(tell) == []
    assert "restoring PAPR3059 in drive 3: 10 kB" in screen.getvalue()


def test_bars_move_while_others_begin() -> None:
    """Every move is drawn here, so that each meets bars that are being drawn anew."""
    tell = Bars(Console(file=io.StringIO(), force_terminal=True, width=120), every=0)
    assert BAR_EVERY > 0
    assert run(tell) == []


def test_lines_of_several_drives_at_once() -> None:
    file = io.StringIO()
    assert run(Lines(file)) == []
    lines = file.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("restoring from")]) == THREADS * ROUNDS
