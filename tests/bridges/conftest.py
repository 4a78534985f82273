from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.labdatabase import PASSWORD, USER, BridgedLab, LabDatabase, lab_database
from servers import MariaDB
from stories import make_lab, make_night


@pytest.fixture(scope="session")
def server(mariadb: MariaDB) -> MariaDB:
    mariadb.create_user(USER, PASSWORD)
    return mariadb


@pytest.fixture
def database(server: MariaDB, tmp_path: Path) -> Iterator[LabDatabase]:
    with lab_database(server, tmp_path / "database") as made:
        yield made


@pytest.fixture
def night(tmp_path: Path) -> list[Path]:
    return make_night(tmp_path / "night")


@pytest.fixture
def bridged(database: LabDatabase, tmp_path: Path) -> Iterator[BridgedLab]:
    """A lab of ours, with the tapes of both in the lab's table."""
    lab = make_lab(tmp_path / "lab", spare=2)
    database.add_labels(volume.tag for volume in lab.ledger.volumes.all())
    yield BridgedLab(lab, database, tmp_path / "night")
    lab.ledger.close()
