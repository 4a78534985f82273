from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.labdatabase import PASSWORD, USER, LabDatabase, lab_database
from servers import MariaDB

from .operatorlab import Lab, copy_lab, make_lab, make_sources


@pytest.fixture(scope="session")
def blank_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with nothing registered, to be copied."""
    return make_lab(tmp_path_factory.mktemp("blank") / "lab")


@pytest.fixture(scope="session")
def full_lab(tmp_path_factory: pytest.TempPathFactory, blank_lab: Lab) -> Lab:
    """A lab in which six data sets of 3 MB wait, to be copied."""
    lab = copy_lab(blank_lab, tmp_path_factory.mktemp("full") / "lab")
    lab.ok("add", *make_sources(lab, 6, 3_000_000))
    return lab


@pytest.fixture(scope="session")
def done_lab(tmp_path_factory: pytest.TempPathFactory, full_lab: Lab) -> Lab:
    """A lab in which all is archived on PAPR1001 and PAPR2001, to be copied."""
    lab = copy_lab(full_lab, tmp_path_factory.mktemp("done") / "lab")
    lab.ok("dump")
    return lab


@pytest.fixture
def blank(blank_lab: Lab, tmp_path: Path) -> Lab:
    return copy_lab(blank_lab, tmp_path / "lab")


@pytest.fixture
def waiting(full_lab: Lab, tmp_path: Path) -> Lab:
    return copy_lab(full_lab, tmp_path / "lab")


@pytest.fixture
def done(done_lab: Lab, tmp_path: Path) -> Lab:
    return copy_lab(done_lab, tmp_path / "lab")


@pytest.fixture(scope="session")
def lab_server(mariadb: MariaDB) -> MariaDB:
    """The server of the lab's own databases."""
    mariadb.create_user(USER, PASSWORD)
    return mariadb


@pytest.fixture
def database(lab_server: MariaDB, tmp_path: Path) -> Iterator[LabDatabase]:
    with lab_database(lab_server, tmp_path / "database") as made:
        yield made
