"""Figures that tests have measured, told at the end of the run; the database servers, each started once; ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ledgers import KIND, KINDS, SQLITE, ledgers_on, passing_ledgers
from servers import MariaDB, PostgreSQL, run_server

FIGURE = "figure"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.stats.get("passed", [])
    figures = {text for report in passed for name, text in report.user_properties if name == FIGURE}
    if figures:
        terminalreporter.section("figures")
        for text in sorted(figures):
            terminalreporter.line(text)


@pytest.fixture
def tell_figure(record_property: Any) -> Any:
    """Say a figure in the run's summary, and with ``-s`` at once."""

    def tell(text: str) -> None:
        print(text)
        record_property(FIGURE, text)

    return tell


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server of this worker's own; skips where it is not installed. A test that kills it starts it again."""
    with run_server(MariaDB) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The same with PostgreSQL."""
    with run_server(PostgreSQL) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def place_of_ledgers() -> Iterator[None]:
    """Have the labs' ledgers where ``make test LEDGER=...`` wants them: on a server that no test kills."""
    if KIND == SQLITE:
        yield
        return
    with run_server(KINDS[KIND]) as server, ledgers_on(server):
        yield


@pytest.fixture(autouse=True)
def ledgers_of_the_test(place_of_ledgers: None) -> Iterator[None]:
    with passing_ledgers():
        yield
