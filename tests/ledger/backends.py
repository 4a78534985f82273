"""The databases that a ledger may lie on, and what makes a test one of a single database."""

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
    """Have an empty database of that kind, and give its url."""
    if backend == SQLITE:
        yield f"sqlite:///{folder}/ledger.sqlite"
    else:
        with request.getfixturevalue(backend).database() as url:
            yield url
