"""The times of an LTO drive, on a clock that nobody waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.events import tell_all
from papertape.tape.generations import GENERATIONS
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.tape.virtual.timing import Clock, DriveTiming, RealClock, SimulatedClock

LTO6 = GENERATIONS["LTO-6"]


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=str)
def test_a_full_tape_takes_its_generations_hours(generation: object) -> None:
    hours = {"LTO-4": 1.9, "LTO-5": 3.0, "LTO-6": 4.3, "LTO-7": 5.6, "LTO-8": 9.3, "LTO-9": 12.5, "LTO-10": 20.8}
    lto = GENERATIONS[str(getattr(generation, "name", ""))]
    clock = SimulatedClock()
    timing = DriveTiming(lto, clock)
    for _ in range(1000):
        timing.transfer(lto.capacity // 1000)
    assert clock.now() / 3600 == pytest.approx(hours[lto.name], abs=0.06)
    assert timing.underruns == 0


@pytest.mark.parametrize(("speed", "underruns"), [(400e6, 0), (100e6, 0), (51e6, 0), (40e6, True)])
def test_a_host_slower_than_the_slowest_speed_makes_the_drive_reposition(speed: float, underruns: int) -> None:
    clock = SimulatedClock()
    timing = DriveTiming(LTO6, clock)
    for _ in range(5000):
        clock.sleep(1e6 / speed)
        timing.transfer(10**6)
    assert bool(timing.underruns) == bool(underruns)
    assert clock.now() >= 5000 * max(1e6 / speed, 1e6 / 160e6) * 0.6


def test_a_pause_longer_than_the_drives_buffer_lasts_is_an_underrun() -> None:
    clock = SimulatedClock()
    timing = DriveTiming(LTO6, clock)
    timing.transfer(10**6)
    clock.sleep(60)
    timing.transfer(10**6)
    assert timing.underruns == 1
    assert clock.now() == pytest.approx(63)
    timing.flush()
    clock.sleep(60)
    timing.transfer(10**6)
    assert timing.underruns == 1  # it had stopped for the filemark anyway


def test_a_mount_takes_what_robot_and_drive_take(tmp_path: Path) -> None:
    create_library(tmp_path / "library", volume_tags=["A1"], capacity=10**6)
    clock = SimulatedClock()
    virtual = VirtualLibrary(tmp_path / "library", clock=clock)
    library = Library(virtual.changer, virtual.drives, tmp_path / "locks", tell_all())
    with library.reserve(1) as session, session.mounted(["A1"]) as (drive,):
        assert clock.now() == pytest.approx(15 + 15)
        drive.write_block(memoryview(bytes(500_000)))
        drive.write_filemark(flush=True)
        assert clock.now() == pytest.approx(15 + 15 + 3, abs=0.1)
        drive.rewind()
        assert clock.now() == pytest.approx(15 + 15 + 3 + 75 / 2, abs=0.1)
        drive.locate(1)
        assert clock.now() == pytest.approx(15 + 15 + 3 + 75, abs=0.1)
        drive.write_filemark(flush=False)
    assert clock.now() == pytest.approx(15 + 15 + 3 + 75 + 75 / 2 + 20 + 15, abs=0.1)


def test_a_scaled_real_clock_passes_faster() -> None:
    clock: Clock = RealClock(scale=1e-6)
    before = clock.now()
    clock.sleep(100)
    assert clock.now() - before >= 100
