"""The stories on real drivers: they need the rig, and say so in one line where it cannot run."""

from __future__ import annotations

import os

import pytest

from rig import cache

LONGEST_FIRST = ("test_power_cut", "test_hostile_library", "test_killed_process", "test_end_of_tape")
"""With a file for each of two workers at a time, whatever takes longest must not come last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that take longest first."""
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session", autouse=True)
def rig_at_hand() -> None:
    """Skip where the rig cannot run; fail if PAPERTAPE_RIG=required."""
    lacking = cache.missing()
    if not lacking:
        return
    reason = f"no tape rig here: {'; '.join(lacking)}"
    if os.environ.get("PAPERTAPE_RIG") == "required":
        pytest.fail(f"{reason}; and PAPERTAPE_RIG=required", pytrace=False)
    pytest.skip(reason)
