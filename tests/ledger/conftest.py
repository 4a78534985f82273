"""An empty ledger in a SQLite file and on each database server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.backends import BACKENDS, new_ledger_url
from ledger.samples import ME, StillClock
from papertape.ledger import Ledger, open_ledger


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The database of the test: a test runs on each database unless it says otherwise."""
    name: str = request.param
    return name


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with new_ledger_url(backend, request, tmp_path) as found:
        yield found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url, ME, StillClock()) as opened:
        yield opened
