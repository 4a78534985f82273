"""``papertape testdata --paperdata``: the lab's test set-up, and the whole way on it with test credentials."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from servers import MariaDB

from .operatorlab import Lab, check_archived

SMALL = ("--large", "1", "--large-bytes", "1MB", "--small", "4", "--uv", "2", "--uv-bytes", "100kB", "--uvh5", "1")
NAMES = count(1)
ALL_FILES = "SELECT * FROM File ORDER BY source"
ALL_IDS = "SELECT * FROM ids ORDER BY label"


class TestBase:
    """A database, a user who has rights in it alone, and the option file."""

    __test__ = False

    def __init__(self, server: MariaDB, folder: Path, name: str) -> None:
        user = f"user{next(NAMES)}"
        server.execute(
            f"CREATE DATABASE {name}",
            f"CREATE USER {user}@localhost IDENTIFIED BY 'secret'",
            f"GRANT ALL ON {name}.* TO {user}@localhost",
        )
        self.engine = create_engine(server.url(name))
        self.options = folder / f"{name}.cnf"
        lines = f"[client]\nuser={user}\npassword=secret\nhost=localhost\ndatabase={name}\n"
        self.options.write_text(f"{lines}socket={server.folder}/socket\n")
        self.options.chmod(0o600)

    def ask(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def tables(self) -> list[str]:
        return [name for (name,) in self.ask("SHOW TABLES")]


@pytest.fixture
def base(mariadb: MariaDB, tmp_path: Path) -> Iterator[TestBase]:
    name = f"paper{next(NAMES)}_test"
    made = TestBase(mariadb, tmp_path, name)
    yield made
    made.engine.dispose()
    mariadb.execute(f"DROP DATABASE {name}")


@pytest.fixture
def lab(blank: Lab, base: TestBase) -> Lab:
    """A lab whose config has what testdata says that it needs."""
    config = blank.folder / "papertape.toml"
    place = blank.folder / "night" / "data"
    section = f'[bridge]\nfiles = "{base.options}"\nlabels = "{base.options}"\nstrict = true\n'
    config.write_text(f'{config.read_text()}\n{section}[bridge.paths]\n"testhost:{place}" = "{place}"\n')
    return blank


def test_test_data_is_pulled_dumped_and_reported(lab: Lab, base: TestBase) -> None:
    said = lab.ok("testdata", "night", "--paperdata", *SMALL)
    section = (
        lab.folder.joinpath("papertape.toml").read_text().partition("[bridge]\n")[2].replace("strict = true\n", "")
    )
    assert all(line in said for line in section.splitlines())
    assert "as expected" in lab.ok("bridge", "check")
    assert lab.json("bridge", "pull")["registered"] == 3
    lab.ok("dump")
    assert check_archived(lab) == 3
    assert lab.json("bridge", "push")["pending"] == 0
    rows = base.ask("SELECT filename, filetype, tape_index, is_deletable FROM File WHERE tape_index IS NOT NULL")
    assert {name.rpartition(".")[2] for name, *_ in rows} == {"uvcA", "uvh5"}
    for name, _, place, deletable in rows:
        (found,) = lab.json("find", f"*/{name}")
        copies = found["copies"]
        assert f"[{','.join(copy['volume'] for copy in copies)}]-{copies[0]['tape_file']}:" in place
        assert deletable == 1
    assert lab.json("bridge", "history")["on_tape"] == 3
    assert [date is not None for (date,) in base.ask("SELECT date FROM ids ORDER BY label")].count(True) == 2
    assert "deleted" in lab.ok("testdata", "night", "--paperdata", "--clean")
    assert base.tables() == []


def test_rows_are_inserted_once_and_the_data_stay(lab: Lab, base: TestBase) -> None:
    first = lab.json("testdata", "night", "--paperdata", *SMALL)
    assert first["files"]["added"] > 3
    assert (first["labels"]["added"], first["foreign"]) == (12, [])
    too_long, not_text = first["left_out"]
    assert too_long.startswith(f"{lab.folder}/night/data/200-bytes-")
    assert not_text == f"{lab.folder}/night/data/not utf-8 \\xe9\\xff"
    before = base.ask(ALL_FILES), base.ask(ALL_IDS)
    again = lab.json("testdata", "night", "--paperdata")
    assert (again["files"], again["labels"]) == (
        {"added": 0, "there": first["files"]["added"]},
        {"added": 0, "there": 12},
    )
    assert (base.ask(ALL_FILES), base.ask(ALL_IDS)) == before
    assert lab.json("testdata", "night", "--paperdata", "--clean") == {"files": first["files"]["added"], "labels": 12}
    assert lab.json("testdata", "night", "--paperdata", "--clean") == {"files": 0, "labels": 0}
    assert (lab.folder / "night" / "md5sums.txt").exists()


def test_rows_of_others_stay(lab: Lab, base: TestBase) -> None:
    lab.ok("testdata", "night", "--paperdata", *SMALL)
    ((theirs,),) = base.ask("SELECT source FROM File WHERE filetype = 'uvh5'")
    base.ask("UPDATE File SET init_host = 'pot1' WHERE source = :source", source=theirs)
    base.ask("UPDATE ids SET tape_location = 'shelf' WHERE label = 'PAPR1001'")
    base.ask("INSERT INTO File (source, init_host) VALUES ('pot1:/data/x', 'papertape testdata')")
    base.ask("INSERT INTO ids (label) VALUES ('OTHER001')")
    ran = lab.run("testdata", "night", "--paperdata")
    assert ran.code == 0
    assert f"{theirs}: a row with this name exists" in ran.err
    assert "PAPR1001: a row with this name exists" in ran.err
    lab.ok("testdata", "other", "--paperdata", "--option-file", str(base.options), *SMALL)
    lab.ok("testdata", "night", "--paperdata", "--clean")
    left = {source for (source,) in base.ask("SELECT source FROM File WHERE source NOT LIKE '%/other/%'")}
    assert left == {theirs, "pot1:/data/x"}
    assert base.ask("SELECT count(*) FROM File WHERE source LIKE '%/other/%'")[0][0] > 3
    lab.ok("testdata", "other", "--paperdata", "--clean")
    assert {source for (source,) in base.ask("SELECT source FROM File")} == left
    assert {label for (label,) in base.ask("SELECT label FROM ids")} == {"PAPR1001", "OTHER001"}


def test_tables_that_were_there_stay(lab: Lab, base: TestBase) -> None:
    lab.ok("testdata", "night", "--paperdata", *SMALL)
    base.ask("ALTER TABLE File COMMENT 'the lab'")
    lab.ok("testdata", "night", "--paperdata", "--clean")
    assert base.tables() == ["File"]


@pytest.mark.parametrize("name", ["paperdata", "test_paperdata", "papertests"])
@pytest.mark.parametrize("clean", [(), ("--clean",)])
def test_a_database_in_use_is_refused(
    blank: Lab, mariadb: MariaDB, tmp_path: Path, name: str, clean: tuple[str, ...]
) -> None:
    base = TestBase(mariadb, tmp_path, name)
    ran = blank.run("testdata", "night", "--paperdata", "--option-file", str(base.options), *clean)
    assert ran.code == 2
    assert ran.error.startswith(f"{base.options}: the name of database {name} does not end in `test`")
    assert base.tables() == []
    assert not (blank.folder / "night").exists()
    base.engine.dispose()
    mariadb.execute(f"DROP DATABASE {name}")


def test_one_database_in_use_of_two_is_enough(lab: Lab, base: TestBase) -> None:
    config = lab.folder / "papertape.toml"
    other = lab.folder / "mtx.cnf"
    other.write_bytes(base.options.read_bytes().replace(b"_test", b""))
    other.chmod(0o600)
    config.write_text(config.read_text().replace(f'labels = "{base.options}"', f'labels = "{other}"'))
    ran = lab.run("testdata", "night", "--paperdata")
    assert ran.code == 2
    assert "does not end in `test`" in ran.error
    assert base.tables() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--clean",), "--clean and --option-file are for --paperdata"),
        (("--option-file", "x"), "--clean and --option-file are for --paperdata"),
        (("--paperdata", "--option-file", "nowhere.cnf"), "nowhere.cnf"),
        (("--paperdata",), "no [bridge]"),
    ],
)
def test_missing_parts_are_named(blank: Lab, arguments: tuple[str, ...], says: str) -> None:
    ran = blank.run("testdata", "night", *arguments)
    assert (ran.code, says in ran.error) == (2, True), ran
    assert not (blank.folder / "night").exists()


def test_a_table_of_another_kind_is_left_alone(lab: Lab, base: TestBase) -> None:
    base.ask("CREATE TABLE File (source varchar(10) PRIMARY KEY)")
    ran = lab.run("testdata", "night", "--paperdata")
    assert ran.code == 2
    assert "table File lacks" in ran.error
    assert base.tables() == ["File"]
