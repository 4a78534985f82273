"""What papertape does to PyMySQL without a public way: each has its effect with the release that is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, exc, make_url, text

from papertape.sql.dialect import BUSY_SECONDS
from papertape.sql.mysql import MySQL
from papertape.sql.rows import stream
from servers import MariaDB


@pytest.fixture
def engine(mariadb: MariaDB) -> Iterator[Engine]:
    with mariadb.database() as url:
        made = MySQL().open(make_url(url))
        yield made
        made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as opened:
        yield opened


def test_a_connection_waits_longer_for_an_answer_than_for_the_greeting(connection: Connection) -> None:
    assert connection.connection.driver_connection._read_timeout == 2 * BUSY_SECONDS  # type: ignore[union-attr]


def test_the_driver_obeys_the_timeout_that_is_set_after_connecting(connection: Connection) -> None:
    connection.connection.driver_connection._read_timeout = 1  # type: ignore[union-attr]
    began = time.monotonic()
    with pytest.raises(exc.OperationalError) as caught:
        connection.execute(text("SELECT SLEEP(20)"))
    assert time.monotonic() - began < 10
    assert caught.value.orig is not None
    assert caught.value.orig.args[0] == 2013


def test_a_result_that_is_dropped_is_not_read_to_its_end(connection: Connection) -> None:
    """The server would send for years: reading on, in closing the cursor or in forgetting the result, would not end."""
    query: Any = text("SELECT seq FROM seq_1_to_1000000000000")
    rows: Any = stream(connection, query)
    assert next(rows)[0] == 1
    began = time.monotonic()
    rows.close()
    assert time.monotonic() - began < 10
    assert connection.invalidated
