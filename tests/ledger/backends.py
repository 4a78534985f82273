"""The databases that a ledger may be in, and the marks for a test that runs on only one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SQLITE, POSTGRESQL, MARIADB = BACKENDS = ("sqlite", "postgresql", "mariadb")

on_sqlite = pytest.mark.parametrize("backend", [SQLITE])
on_servers = pytest.mark.parametrize("backend", [POSTGRESQL, MARIADB])


@contextmanager
def new_ledger_url(backend: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Make an empty database of that kind, and return its url."""
    if backend == SQLITE:
        yield f"sqlite:///{folder}/ledger.sqlite"
    else:
        with request.getfixturevalue(backend).database() as url:
            yield url
