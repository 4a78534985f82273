"""Figures that tests have measured, told at the end of the run; the database servers, each started once; ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgers import KIND, KINDS, SQLITE, ledgers_on, passing_ledgers
from observations import ORIGINS, find_night
from predecessor import WRITERS, OldVolume, write_old_volume
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


@pytest.fixture(params=ORIGINS)
def observations(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """A night's data sets in the form of HERA's: built ones, and real ones where they are."""
    return find_night(request.param, tmp_path / "night")


@pytest.fixture(scope="session", params=WRITERS)
def old_volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OldVolume:
    """A volume in the predecessor's form: a made one, and where it is, one that the predecessor's own program wrote."""
    return write_old_volume(request.param, tmp_path_factory.mktemp("old"))


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
