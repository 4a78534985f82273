"""A night of 300 rows by way of the lab's own tables, and the tapes held against what the tables say in the end."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridges.labdatabase import LabDatabase, md5

from .operatorlab import Lab, add_bridge, check_archived, copy_lab, make_lab, make_sources

PLACE = re.compile(r"[0-9]{8}\[(PAPR1[0-9]{3}),(PAPR2[0-9]{3})\]-([0-9]+):([0-9]+)")
COUNTS = {"good": 250, "wrong": 6, "missing": 6, "not tapeable": 12, "another type": 12, "on tape": 14}
SIZE = 100_000


class Row(NamedTuple):
    """A row of the lab's table: its source there, the path here, and what it is there for."""

    source: str
    path: Path
    kind: str


@pytest.fixture
def lab(tmp_path: Path, database: LabDatabase) -> Lab:
    """A lab whose volumes hold two thirds of the night, and whose second folder has another name at the lab."""
    made = copy_lab(make_lab(tmp_path / "blank", slots=10, capacity="30MB"), tmp_path / "lab")
    add_bridge(made, database, {"pot1:/data": f"{made.folder}/night", "pot6:/data2/old": f"{made.folder}/mapped"})
    database.add_labels(row["tag"] for row in made.json("volumes", "show"))
    return made


@pytest.fixture
def rows(lab: Lab, database: LabDatabase) -> list[Row]:
    """Every fifth on another host and under another folder; every third a directory."""
    kinds = [kind for kind, count in COUNTS.items() for _ in range(count)]
    near = [Path(path) for path in make_sources(lab, 240, SIZE)]
    far = [Path(path) for path in make_sources(lab, 60, SIZE, seed=2, name="mapped")]
    paths = [far[number // 5] if number % 5 == 0 else near[number - number // 5 - 1] for number in range(300)]
    return [_add(database, path, kind) for path, kind in zip(paths, kinds, strict=True)]


def _add(database: LabDatabase, path: Path, kind: str) -> Row:
    root = {"night": "pot1:/data", "mapped": "pot6:/data2/old"}[path.parent.name]
    row = Row(f"{root}/{path.name}", path, kind)
    values: dict[str, Any] = {"md5sum": md5(path), "filesize": 0.1}
    if kind == "wrong":
        values["md5sum"] = "0" * 32
    elif kind == "missing":
        path.rename(path.with_name(f"{path.name}.gone"))
    elif kind == "not tapeable":
        values["is_tapeable"] = 0
    elif kind == "another type":
        values["filetype"] = "npz"
    elif kind == "on tape":
        values |= {"tape_index": "20150103[PAPR1901,PAPR2901]-0:1", "is_deletable": 1}
    database.add_row(row.source, **values)
    return row


def sources(rows: list[Row], *kinds: str) -> set[str]:
    return {row.source for row in rows if row.kind in kinds}


def table(database: LabDatabase) -> dict[str, tuple[str | None, int]]:
    """What the lab's table says of each row: where it lies, and whether it may go."""
    return {row[0]: row[1:] for row in database.ask("SELECT source, tape_index, is_deletable FROM File")}


def everything(database: LabDatabase, lab: Lab) -> object:
    """Both tables row by row, and what the ledger counts."""
    tables = [database.ask(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4, 5") for name in ("File", "ids")]
    counts = {
        name: lab.rows(f"SELECT state, count(*) FROM {name} GROUP BY state ORDER BY state")
        for name in ("datasets", "volumes", "dumps", "lab_rows")
    }
    held = [lab.rows(f"SELECT count(*) FROM {name}") for name in ("copies", "verifications", "members")]
    return tables, counts, held, lab.rows("SELECT name, source_key, state, job, reason FROM lab_rows ORDER BY id")


def test_three_hundred_rows_go_to_tape_and_are_marked(lab: Lab, database: LabDatabase, rows: list[Row]) -> None:
    before = table(database)
    pulled = lab.run("bridge", "pull")
    assert pulled.code == 4
    assert named(pulled.err) == sources(rows, "missing")
    assert "256 data sets registered" in pulled.out
    dumped = lab.run("dump", "--until-done")
    assert dumped.code == 4
    for row in rows:
        assert (f":{row.path}: " in dumped.out) == (row.kind == "wrong"), row
    assert check_archived(lab) == COUNTS["good"]
    pushed = lab.json("bridge", "push")
    assert pushed == {"pushed": 0, "released": 0, "pending": 0, "foreign": [], "troubles": []}
    after = table(database)
    assert {name for name in after if after[name] != before[name]} == sources(rows, "good")
    tapes = Tapes(lab)
    for row in rows:
        if row.kind == "good":
            check_place(tapes, row, *after[row.source])
    assert all(len(on) > 1 for on in (lab.states("dumps"), {after[row.source][0] for row in rows}))
    check_labels(lab, database)
    check_again(lab, database, rows)


def named(said: str) -> set[str]:
    """The rows that messages name."""
    return {":".join(line.removeprefix("papertape: ").split(":")[:2]) for line in said.splitlines()}


class Tapes:
    """What `papertape find` says of all data sets by path, and what lies on the cartridges, read without papertape."""

    def __init__(self, lab: Lab) -> None:
        self.found = {item["source"].partition(":")[2]: item for item in lab.json("find", "*")}
        self._lab = lab
        self.catalog = cache(self._catalog)
        self.contents = cache(self._contents)

    def _catalog(self, volume: str) -> dict[int, dict[str, str]]:
        """The rows of datasets.csv, in the last tape file, by number."""
        with tarfile.open(max(self._lab.cartridge(volume).glob("*.tar"))) as tar:
            (member,) = (member for member in tar if member.name.endswith("datasets.csv"))
            file = tar.extractfile(member)
            assert file
            return {int(row["dataset"]): row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))}

    def _contents(self, volume: str, tape_file: int) -> dict[str, str]:
        """The digests of the files in an archive by path."""
        found = {}
        (path,) = self._lab.cartridge(volume).glob(f"*{tape_file:04}*.tar")
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file and member.name.startswith("data/"):
                    below = member.name.removeprefix("data/").partition("/")[2]
                    found[f"/{below}"] = hashlib.file_digest(file, "sha256").hexdigest()
        return found


def check_place(tapes: Tapes, row: Row, place: str | None, deletable: int) -> None:
    """The row says where `find` has it, and there it lies on both tapes, byte for byte."""
    match = PLACE.fullmatch(place or "")
    assert match, place
    *volumes, tape_file, number = match.groups()
    found = tapes.found[str(row.path)]
    assert [copy["volume"] for copy in found["copies"]] == volumes
    assert {copy["tape_file"] for copy in found["copies"]} == {int(tape_file)}
    assert deletable == 1
    for volume in volumes:
        listed = tapes.catalog(volume)[int(number)]
        assert listed["source"] == found["source"]
        assert (listed["tape_file"], listed["rejected"]) == (tape_file, "")
        on_tape = tapes.contents(volume, int(tape_file))
        assert on_disk(row.path).items() <= on_tape.items()


def on_disk(path: Path) -> dict[str, str]:
    """The digests of a data set's files by path."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check_labels(lab: Lab, database: LabDatabase) -> None:
    """The tapes that were used have a date, and nobody has any."""
    used = {tag for (tag,) in lab.rows("SELECT tag FROM volumes WHERE state = 'archived'")}
    labels = database.labels()
    assert {tag for tag, (date, _) in labels.items() if date} == used
    assert not any(status for _, status in labels.values())


def check_again(lab: Lab, database: LabDatabase, rows: list[Row]) -> None:
    """The same night once more changes nothing, and says what is wrong once more."""
    before = everything(database, lab)
    pulled = lab.run("bridge", "pull")
    assert (pulled.code, named(pulled.err)) == (4, sources(rows, "missing", "wrong"))
    assert "0 data sets registered" in pulled.out
    assert lab.run("dump", "--until-done").code == 3
    assert lab.ok("bridge", "push") == "0 rows written, 0 released\n"
    assert everything(database, lab) == before
