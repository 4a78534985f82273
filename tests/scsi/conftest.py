"""The stories on real drivers: they need the rig, and say so in one line where it cannot run."""

from __future__ import annotations

import os

import pytest

from rig import cache


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
