"""The lab's two databases on a real server, with its column types, and a lab of ours that works with them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text

from papertape.bridges import read_option_file
from papertape.bridges.bridge import Bridge
from papertape.events import tell_all
from papertape.jobs.context import Context
from papertape.jobs.lab.databases import LabDatabases, Settled, open_lab
from papertape.jobs.lab.pull import Pulled, pull, pull_labels
from servers import MariaDB
from stories import HOST, Lab

FILE = """CREATE TABLE File (
    host varchar(100), base_path varchar(100), filename varchar(100), filetype varchar(20),
    source varchar(200) NOT NULL PRIMARY KEY, obsnum bigint, filesize decimal(7,2), md5sum varchar(32),
    tape_index varchar(100), is_tapeable tinyint(1), is_deletable tinyint(1), timestamp bigint, init_host varchar(100)
) ENGINE=InnoDB CHARACTER SET utf8mb4"""
IDS = """CREATE TABLE ids (
    id mediumint NOT NULL AUTO_INCREMENT PRIMARY KEY, label char(8), description text, date tinytext, status int,
    capacity int, tape_location varchar(64)
) ENGINE=InnoDB"""
USER, PASSWORD = "obs", "50% of #1's \"x\\y"


class LabDatabase:
    """Both tables in one database, and the option file that leads there."""

    def __init__(self, url: str, socket: Path, folder: Path) -> None:
        self.engine: Engine = create_engine(url)
        self.options = folder / "lab.cnf"
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        name = make_url(url).database
        lines = ["[client]", f"user={USER}", f'password="{quoted}"', "host=localhost"]
        self.options.write_text("\n".join([*lines, f"database={name}", f"socket={socket}", ""]))
        self.options.chmod(0o600)
        self.do(FILE)
        self.do(IDS)

    def do(self, statement: str, rows: Any = None) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), rows)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def add(self, *paths: Path, host: str = "pot1", **values: Any) -> None:
        for path in paths:
            self.add_row(f"{host}:{path}", md5sum=md5(path), filesize=round(size(path) / 1e6, 2), **values)

    def add_row(self, source: str, **values: Any) -> None:
        name = source.rpartition("/")[2][-100:]
        row = {"filename": name, "filetype": "uv", "is_tapeable": 1, "is_deletable": 0, "md5sum": None}
        row |= {"filesize": None, "tape_index": None, "source": source, **values}
        names = ", ".join(row)
        self.do(f"INSERT INTO File ({names}) VALUES (:{', :'.join(row)})", row)

    def add_labels(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self.do("INSERT INTO ids (label, capacity) VALUES (:tag, 16)", {"tag": tag})

    def files(self) -> dict[str, tuple[str | None, int]]:
        """What the table says of each file by the last part of its name: where it is, and whether it may go."""
        rows = self.ask("SELECT source, tape_index, is_deletable FROM File")
        return {source.rpartition("/")[2]: (place, deletable) for source, place, deletable in rows}

    def labels(self) -> dict[str, tuple[str | None, int | None]]:
        return {label: (date, status) for label, date, status in self.ask("SELECT label, date, status FROM ids")}


@contextmanager
def lab_database(server: MariaDB, folder: Path) -> Iterator[LabDatabase]:
    folder.mkdir(parents=True, exist_ok=True)
    with server.database() as url:
        made = LabDatabase(url, server.folder / "socket", folder)
        yield made
        made.engine.dispose()


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) or path.stat().st_size


def md5(path: Path) -> str:
    file = path / "visdata" if path.is_dir() else path
    return hashlib.md5(file.read_bytes()).hexdigest()


class BridgedLab:
    """A lab of ours whose contexts know the lab's databases."""

    def __init__(self, lab: Lab, database: LabDatabase, root: Path, *, labels: bool = True) -> None:
        self.lab, self.database = lab, database
        options = database.options
        rules = ((f"pot1:{root}", str(root)),)
        prefixes = ("PAPR1", "PAPR2")
        self.bridge = Bridge(options, options if labels else None, "uv%", rules, prefixes, True, True)
        make, bridge = lab.context, self.bridge

        def context(*arguments: Any, **named: Any) -> Context:
            made = make(*arguments, **named)
            return dataclasses.replace(made, lab=open_lab(made.ledger, bridge, made.tell))

        lab.context = context  # type: ignore[method-assign]

    @property
    def ours(self) -> LabDatabases:
        """What papertape's jobs know of the lab's databases."""
        return LabDatabases(self.lab.ledger, self.bridge, tell_all())

    def pull(self) -> dict[str, Pulled]:
        pull_labels(self.lab.ledger, self.bridge)
        return {item.name.rpartition("/")[2]: item for item in pull(self.lab.ledger, self.bridge, HOST)}

    def push(self) -> Settled:
        return self.ours.settle()


def read(path: Path, content: str | bytes, *, mode: int = 0o600, strict: bool = False) -> Any:
    """Write an option file and read it with ours."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return read_option_file(path, strict=strict)
