from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, inspect, text

from ledger.backends import POSTGRESQL, on_sqlite
from ledger.samples import (
    LATER,
    ME,
    UUID,
    StillClock,
    archive,
    at,
    begin,
    catalog,
    copies,
    fill,
    named,
    plan,
    verifications,
    write,
)
from papertape.errors import HostError, UserError
from papertape.ledger import Ledger, open_ledger
from papertape.ledger.schema import METADATA
from papertape.sql.dialect import BUSY_SECONDS

LATER_TABLES = {"0001": ["history", "lab_rows"], "0002": ["history", "lab_rows"], "0003": ["history"]}
LATER_COLUMNS = {"0001": [("volumes", "location"), ("dumps", "format")], "0002": [], "0003": []}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def change(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_an_empty_database_becomes_a_ledger(ledger: Ledger, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    engine.dispose()


def test_entered_data_are_there_after_opening_again(url: str) -> None:
    with open_ledger(url, ME, StillClock()) as ledger:
        fill(ledger)
        dump, _ = archive(ledger)
        before = (ledger.status(), ledger.dumps.one(dump), list(ledger.contents.members(dump)))
    with open_ledger(url) as ledger:
        assert (ledger.status(), ledger.dumps.one(dump), list(ledger.contents.members(dump))) == before


@on_sqlite
def test_the_ledger_is_safe_and_lets_others_read(ledger: Ledger, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with ledger._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == BUSY_SECONDS * 1000


def test_a_ledger_of_a_newer_program_is_refused(url: str) -> None:
    open_ledger(url).close()
    change(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match=r"a newer papertape made it \(revision 9999\)"):
        open_ledger(url)


def test_a_database_of_something_else_is_refused(url: str) -> None:
    change(url, "CREATE TABLE orders (id INTEGER)")
    with pytest.raises(UserError, match="belongs to something else"):
        open_ledger(url)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("ledger.sqlite", "no database url"),
        ("nosuch:///x", "no database url"),
        ("oracle+oracledb://host/db", "no database url of SQLite, PostgreSQL, MariaDB or MySQL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////nowhere/at/all/ledger.sqlite", "folder /nowhere/at/all does not exist"),
        ("sqlite:////tmp", "this is a folder"),
    ],
)
def test_a_wrong_url_is_an_error_of_the_user(bad: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        open_ledger(bad)


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(UserError, match=r"needs the Python package .*; install it") as caught:
        open_ledger("mysql+mysqldb://user:geheim@host/db")
    assert "geheim" not in str(caught.value)


@on_sqlite
def test_a_file_that_is_no_database_is_reported(url: str, path: Path) -> None:
    path.write_bytes(os.urandom(100_000))
    with pytest.raises(HostError, match="no SQLite database"):
        open_ledger(url)


@on_sqlite
def test_a_damaged_ledger_is_reported(url: str, path: Path) -> None:
    with open_ledger(url) as ledger:
        ledger.datasets.register_many(named(2000))
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with pytest.raises(HostError, match=r"damaged"), open_ledger(url) as ledger:
        list(ledger.datasets.pending())


@on_sqlite
def test_a_locked_ledger_is_reported(url: str, path: Path) -> None:
    open_ledger(url).close()
    with closing(sqlite3.connect(path)) as other, open_ledger(f"{url}?timeout=0.01") as ledger:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HostError, match=f"{path}.*: another process has kept it locked"):
            fill(ledger)
        assert list(ledger.datasets.pending()) == []  # reading still works


@on_sqlite
def test_opening_does_not_wait_for_a_writer(url: str, path: Path) -> None:
    open_ledger(url).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        open_ledger(f"{url}?timeout=0.01").close()


@on_sqlite
def test_a_full_disk_is_reported_and_changes_nothing(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin(ledger, batch)
    ledger.dumps.start_writing(dump)
    before = ledger.status()
    engine = ledger._database._engine
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1"))
    engine.dispose()
    with pytest.raises(HostError, match="its disk is full; make room"):
        ledger.datasets.register_many(named(5000, "host:/more"))
    assert ledger.status() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o500)
    with pytest.raises(HostError, match="cannot be written"):
        open_ledger(f"sqlite:///{folder}/ledger.sqlite")


@on_sqlite
def test_a_ledger_that_became_read_only_is_reported(ledger: Ledger) -> None:
    engine = ledger._database._engine
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    engine.dispose()
    with pytest.raises(HostError, match="cannot be written"):
        fill(ledger)


def test_a_crash_in_the_middle_of_a_commit_leaves_nothing(url: str) -> None:
    with open_ledger(url) as ledger:
        fill(ledger)
        batch = plan(ledger)
        dump = write(ledger, batch)
    program = f"""
import os
from sqlalchemy import event
from ledger.samples import *
from papertape.ledger import open_ledger
ledger = open_ledger({url!r}, OTHER)
ledger.dumps.take_over(ledger.dumps.one({dump}))
ledger.dumps.start_verifying({dump})
event.listen(ledger._database._engine, "commit", lambda connection: os._exit(9))
ledger.dumps.commit({dump}, [verification("PAPR1001", 3), verification("PAPR2001", 3)])
"""
    assert subprocess.run([sys.executable, "-c", program], cwd="tests", check=False).returncode == 9
    with open_ledger(url) as ledger:
        assert ledger.status().datasets["claimed"] == 3
        assert (ledger.dumps.one(dump).state, ledger.volumes.one("PAPR1001").state) == ("verifying", "claimed")
        ledger.dumps.take_over(ledger.dumps.one(dump))
        ledger.dumps.commit(dump, verifications(batch, 3))
        assert ledger.status().datasets["archived"] == 3


def test_only_one_line_of_code_says_archived() -> None:
    folder = Path(sys.modules["papertape.ledger"].__file__ or "").parent
    lines = [line for file in folder.glob("*.py") for line in file.read_text().splitlines()]
    assert len([line for line in lines if "state=_ARCHIVED" in line]) == 1
    assert [line.strip() for line in lines if "ARCHIVED" in line and ("values(" in line or '"state":' in line)] == [
        "connection.execute(update(table).where(its).values(state=_ARCHIVED[table]))  # the one line that says so"
    ]


def query_plan(ledger: Ledger, statement: str) -> str:
    with ledger._database.reading() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
    return "; ".join(row[3] for row in rows)


def statements(ledger: Ledger) -> list[tuple[str, object]]:
    heard: list[tuple[str, object]] = []
    engine = ledger._database._engine
    event.listen(engine, "before_cursor_execute", lambda c, cu, text, values, co, many: heard.append((text, values)))
    return heard


def plans(ledger: Ledger, heard: list[tuple[str, object]]) -> list[str]:
    said = []
    with ledger._database.reading() as connection:
        for text, values in list(heard):
            if text.startswith(("SELECT", "UPDATE", "DELETE")) and "papertape_staged\n" not in text:
                one = values[0] if isinstance(values, list) else values
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", one).all()
                said += [f"{row[3]} <- {' '.join(text.split())}" for row in rows]
    return said


@on_sqlite
def test_no_step_of_a_dump_reads_a_whole_large_table(ledger: Ledger) -> None:
    fill(ledger, 50)
    heard = statements(ledger)
    ledger.datasets.register_many(named(60))
    batch = plan(ledger)
    dump = write(ledger, batch)
    at(ledger, LATER).dumps.commit(dump, verifications(batch, 60))
    list(ledger.contents.members(dump))
    list(ledger.search.files(next(ledger.search.find("host:/data/zen.00000*"))))
    held = begin(ledger, plan(ledger, dump="two"))
    at(ledger, LATER).dumps.fail(held, "why")
    said = plans(ledger, heard)
    assert len(said) > 30
    assert [
        line for line in said if line.startswith(("SCAN datasets", "SCAN members")) and "USING INDEX" not in line
    ] == []
    asked_by_key = [line for line in said if "datasets.id IN" in line or "datasets.source_key IN" in line]
    assert [line for line in asked_by_key if "PRIMARY KEY" not in line and "(source_key=?)" not in line] == []
    assert len(asked_by_key) >= 4
    assert [line for line in said if "TEMP B-TREE FOR ORDER" in line and "datasets" in line] == []


@pytest.mark.parametrize("backend", [POSTGRESQL])
def test_a_server_without_statistics_uses_its_indexes(ledger: Ledger) -> None:
    ledger.datasets.register_many(named(2000))
    heard = statements(ledger)
    ledger.datasets.register_many(named(3000))
    looks = [each for each in heard if "datasets.source <" in each[0]]
    with ledger._database.reading() as connection:
        said = [row[0] for look in looks for row in connection.exec_driver_sql(f"EXPLAIN {look[0]}", look[1])]
    assert looks
    assert [line for line in said if "Seq Scan on datasets" in line] == []


def test_a_dump_may_have_a_hundred_thousand_data_sets(ledger: Ledger) -> None:
    count = 100_000
    ledger.datasets.register_many(iter(named(count)))
    ledger.volumes.add([("A1", 1, 10**12), ("B1", 2, 10**12)])
    batch = plan(ledger)
    dump = begin(ledger, batch)
    ledger.dumps.start_writing(dump)
    ledger.dumps.written(dump, catalog(batch), copies(batch))
    assert ledger.dumps.one(dump).datasets == count
    at(ledger, LATER).dumps.fail(dump, "to see them wait again")
    assert ledger.status().datasets["waiting"] == count


def test_waiting_data_sets_are_streamed(ledger: Ledger) -> None:
    ledger.datasets.register_many(iter(named(20_000)))
    sum(1 for _ in ledger.datasets.pending())
    tracemalloc.start()
    count = sum(1 for _ in ledger.datasets.pending())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 4_000_000


def test_a_reader_continues_while_others_write(ledger: Ledger) -> None:
    ledger.datasets.register_many(named(5000))
    waiting = ledger.datasets.pending()
    first = next(waiting)
    ledger.datasets.reject([(first, "why")])
    assert sum(1 for _ in waiting) == 4999


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_a_ledger_of_an_earlier_form_is_brought_up_to_date(ledger: Ledger, url: str, revision: str) -> None:
    """All later tables and columns are removed first, as if they had never existed; the other contents stay."""
    fill(ledger)
    write(ledger, plan(ledger))
    before = ledger.status()
    ledger.close()
    for table in LATER_TABLES[revision]:
        change(url, f"DROP TABLE {table}")
    for table, column in LATER_COLUMNS[revision]:
        change(url, f"ALTER TABLE {table} DROP COLUMN {column}")
    change(url, f"UPDATE alembic_version SET version_num = '{revision}'")
    with open_ledger(url) as again:
        assert again.status() == before
        assert [volume.location for volume in again.volumes.all()] == [""] * len(again.volumes.all())
        assert again.history.count() == (0, frozenset())
    test_an_empty_database_becomes_a_ledger(again, url)


def test_the_uuid_of_a_dump_is_kept(ledger: Ledger) -> None:
    fill(ledger)
    assert ledger.dumps.one(begin(ledger, plan(ledger))).uuid == UUID
