"""The LTO generations: native speeds, the slowest speed at which a drive streams, and native capacities.

The figures are those that the LTO programme and the drive vendors publish. Bytes are counted in powers of ten.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Generation:
    """One LTO generation; speeds in bytes a second, the capacity in bytes."""

    name: str
    native_speed: float
    slowest_speed: float
    capacity: int


GENERATIONS = {
    generation.name: generation
    for generation in (
        Generation("LTO-4", 120e6, 30e6, 800 * 10**9),
        Generation("LTO-5", 140e6, 40e6, 1500 * 10**9),
        Generation("LTO-6", 160e6, 50e6, 2500 * 10**9),
        Generation("LTO-7", 300e6, 101e6, 6000 * 10**9),
        Generation("LTO-8", 360e6, 112e6, 12000 * 10**9),
        Generation("LTO-9", 400e6, 177e6, 18000 * 10**9),
        Generation("LTO-10", 400e6, 157e6, 30000 * 10**9),
    )
}
