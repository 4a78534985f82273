"""Two tape hosts with one ledger, and the lab's other dumper beside them, all at the same time on one table."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import NamedTuple

import pytest

from bridges.labdatabase import LabDatabase
from servers import MariaDB, PostgreSQL

from .operatorlab import PYTHON, Lab, Ran, add_bridge, make_lab, make_sources, read_back

EACH = 100
"""Data sets a host."""
PROCESSES = 4
"""Dumps at once on each."""
HEAP, HEAPS = 6, 5
"""What the other dumper takes at a time, and how often."""
OURS = re.compile(r"[0-9]{8}\[([A-Z0-9]{7,8}),([A-Z0-9]{7,8})\]-([0-9]+):[0-9]+")
PREFIXES = {"hosta": ("PAPR1", "PAPR2"), "hostb": ("H0C1", "H0C2")}
ENDED = {0, 3, 4}
"""Exit codes of a dump: done, nothing to do, some data sets rejected (somebody else has their rows)."""


class Labs(NamedTuple):
    """The hosts by name, and what they share."""

    hosts: dict[str, Lab]
    database: LabDatabase
    server: MariaDB


@pytest.fixture
def labs(postgresql: PostgreSQL, lab_server: MariaDB, database: LabDatabase, tmp_path: Path) -> Iterator[Labs]:
    with postgresql.database() as url:
        hosts = {host: make_host(tmp_path / host, host, url, database) for host in PREFIXES}
        yield Labs(hosts, database, lab_server)


def make_host(folder: Path, host: str, url: str, database: LabDatabase) -> Lab:
    """A host whose volumes hold a fifth of its data sets each."""
    prefixes = PREFIXES[host]
    lab = make_lab(folder, slots=16, capacity="13MB", prefixes=prefixes)
    lab.configure(ledger=f'"{url}"', host=f'"{host}"')
    add_bridge(lab, database, {f"{name}:/data": f"{folder}/night" if name == host else "" for name in PREFIXES})
    for path in make_sources(lab, EACH, 300_000, seed=len(prefixes[0])):
        database.add_row(f"{host}:/data/{Path(path).name}", filesize=0.3)
    tags = sorted(path.name for path in (lab.library / "cartridges").iterdir())
    for tag in tags:
        database.do("INSERT INTO ids (label, capacity) VALUES (:tag, 13)", {"tag": tag})
    return lab


class Ours:
    """Dump after dump, each a process of its own; ``writing`` is released whenever one of them begins to write."""

    def __init__(self) -> None:
        self.writing = Semaphore(0)

    def dump_until_done(self, lab: Lab) -> list[Ran]:
        """Dump until no data set of this host waits."""
        runs: list[Ran] = []
        while not runs or "no data set" not in runs[-1].err:
            runs.append(self._dump(lab))
            assert runs[-1].code in ENDED, runs[-1]
        return runs

    def _dump(self, lab: Lab) -> Ran:
        process = lab.start("dump")
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("writing"):
                self.writing.release()
        out, _ = process.communicate(timeout=120)
        return Ran(process.returncode, out, "".join(said))


class Theirs:
    """The other dumper; it has chosen its first heap by now."""

    def __init__(self, labs: Labs) -> None:
        program, database = Path(__file__).with_name("otherdumper.py"), labs.database.engine.url.database
        arguments = [str(program), f"{labs.server.folder}/socket", str(database), str(HEAP), str(HEAPS)]
        self._process = subprocess.Popen(
            [*PYTHON, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._await()

    def _await(self) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline().startswith("chosen")

    def mark_beside(self, ours: Ours) -> set[str]:
        """Mark each heap when one more dump of ours has taken its rows; return all that was marked."""
        assert self._process.stdin
        for number in range(HEAPS):
            assert ours.writing.acquire(timeout=120)
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            if number < HEAPS - 1:
                self._await()
        rest, _ = self._process.communicate(timeout=120)
        assert self._process.returncode == 0
        return set(rest.split())


def test_two_hosts_and_the_labs_other_dumper_share_one_table(labs: Labs, tell_figure: Callable[[str], None]) -> None:
    for host, lab in labs.hosts.items():
        assert lab.json("bridge", "pull")["registered"] == EACH, host
    other, ours = Theirs(labs), Ours()
    with ThreadPoolExecutor(2 * PROCESSES) as pool:
        futures = [pool.submit(ours.dump_until_done, lab) for lab in labs.hosts.values() for _ in range(PROCESSES)]
        theirs = other.mark_beside(ours)
        runs = [run for future in futures for run in future.result()]
    for lab in labs.hosts.values():
        lab.ok("bridge", "push")
    foreign = {row["row"] for row in check_status(labs)}
    assert foreign
    assert foreign <= theirs
    archived = check_ledger(labs, theirs)
    check_rows(labs, theirs, archived)
    for lab in labs.hosts.values():
        assert foreign.isdisjoint(row_of(item["source"]) for item in lab.json("status", "--deletable"))
        check_tapes(lab)
    done = sum("is archived" in run.out for run in runs)
    tell_figure(f"two hosts: {done} dumps, {len(theirs)} rows theirs, {len(foreign)} of them marked over ours")


def row_of(source: str) -> str:
    """The lab's name of a data set."""
    host, _, path = source.partition(":")
    return f"{host}:/data/{path.rpartition('/')[2]}"


def check_status(labs: Labs) -> list[dict[str, str]]:
    """Nobody has a claim, and nothing is pending; return the rows that others changed."""
    status = labs.hosts["hosta"].json("bridge", "status")
    assert status["pending"] == status["file"]["claimed"] == status["label"]["claimed"] == 0
    assert not any(status for _, status in labs.database.labels().values())
    found: list[dict[str, str]] = status["foreign"]
    return found


def check_ledger(labs: Labs, theirs: set[str]) -> dict[str, tuple[list[str], int]]:
    """Every data set is archived once, on its own host's tapes, or theirs; return where the archived ones lie."""
    found = labs.hosts["hostb"].json("find", "*")
    rows = [row_of(item["source"]) for item in found]
    assert len(rows) == len(set(rows)) == 2 * EACH
    archived = {}
    for row, item in zip(rows, found, strict=True):
        assert item["state"] == "archived" or (item["state"] == "rejected" and row in theirs), item
        if item["state"] == "archived":
            volumes = [copy["volume"] for copy in item["copies"]]
            assert tuple(volume[:-3] for volume in volumes) == PREFIXES[row.partition(":")[0]]
            assert all(copy["verified"] for copy in item["copies"])
            archived[row] = volumes, item["copies"][0]["tape_file"]
    return archived


def check_rows(labs: Labs, theirs: set[str], archived: dict[str, tuple[list[str], int]]) -> None:
    """No row that was theirs says that it is ours, and all others say where they lie."""
    rows = {row[0]: row[1:] for row in labs.database.ask("SELECT source, tape_index, is_deletable FROM File")}
    ours = {source: row for source, row in rows.items() if source not in theirs}
    assert all("[OLD10001,OLD20001]" in rows[source][0] for source in theirs)
    assert len({place for place, _ in ours.values()}) == len(ours)
    for source, (place, deletable) in ours.items():
        match = OURS.fullmatch(place)
        assert match, (source, place)
        assert ([match[1], match[2]], int(match[3])) == archived[source]
        assert deletable == 1
    used = {volume for volumes, _ in archived.values() for volume in volumes}
    assert {tag for tag, (date, _) in labs.database.labels().items() if date} == used


def check_tapes(lab: Lab) -> None:
    """No file lies on two tapes of one copy."""
    tags = [path.name for path in (lab.library / "cartridges").iterdir()]
    first = min(tags)[:-3]
    written = Counter(name for tag in tags if tag.startswith(first) for _, name in read_back(lab, tag))
    assert written
    assert set(written.values()) == {1}
