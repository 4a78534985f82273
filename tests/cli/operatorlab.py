"""A lab as its operator has it: a folder, the command line in real processes, and what can be seen from outside."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ledgers
from bridges.labdatabase import LabDatabase
from papertape.volume.names import unquote

PYTHON = (sys.executable, "-W", "error")
COMMAND = (*PYTHON, "-m", "papertape")
RECOVERED = {0, 3}


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence that says what is wrong."""
        told = [line for line in self.err.splitlines() if line.startswith("papertape: ")]
        assert len(told) == 1, self
        return told[0].removeprefix("papertape: ")


class Lab:
    """An initialised folder with a virtual library, and processes that work in it."""

    def __init__(self, folder: Path, url: str = "", **environment: str) -> None:
        self.folder = folder
        self.library = folder / "library"
        self.ledger = folder / "ledger.sqlite"  # where there is no server for it
        self.url = url or f"sqlite:///{self.ledger}"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **environment}

    def start(self, *arguments: str | bytes) -> subprocess.Popen[str]:
        """Start a command; its output is text, bytes that are no UTF-8 come as surrogates."""
        return self.start_python(*COMMAND[len(PYTHON) :], *arguments)

    def start_python(self, *arguments: str | bytes) -> subprocess.Popen[str]:
        """Start Python in the lab."""
        return subprocess.Popen(
            [*PYTHON, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def run(self, *arguments: str | bytes) -> Ran:
        """Run a command to its end; a traceback is never what it should say."""
        return finish(self.start(*arguments))

    def ok(self, *arguments: str | bytes) -> str:
        """Run a command that must exit 0 and return what it printed."""
        ran = self.run(*arguments)
        assert ran.code == 0, (arguments, ran)
        return ran.out

    def json(self, *arguments: str) -> Any:
        """Run a command that must exit 0 and return its JSON."""
        return json.loads(self.ok("--json", *arguments))

    def configure(self, **values: str) -> None:
        """Change values of the config; a dot in a name is written as ``__``."""
        path = self.folder / "papertape.toml"
        lines = path.read_text().splitlines()
        for name, value in values.items():
            key = name.rpartition("__")[2]
            lines = [line for line in lines if not line.removeprefix("# ").startswith(f"{key} =")]
            place = len(lines) if name.startswith("library__") else 0
            lines.insert(place, f"{key} = {value}")
        path.write_text("\n".join(lines) + "\n")

    def use_ledger(self, url: str) -> None:
        """Have the ledger elsewhere from now on."""
        self.url = url
        self.configure(ledger=json.dumps(url))

    def cartridge(self, tag: str) -> Path:
        """Return the folder of a cartridge."""
        return self.library / "cartridges" / tag

    def homes(self) -> tuple[list[Any], list[Any]]:
        """Return what lies in the drives and in the slots."""
        record = json.loads((self.library / "library.json").read_text())
        return [drive["cartridge"] for drive in record["drives"]], record["slots"]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the ledger's database itself."""
        return ledgers.ask(self.url, query)

    def states(self, table: str) -> list[str]:
        """Return the states in a table of the ledger, sorted."""
        return sorted(state for (state,) in self.rows(f"SELECT state FROM {table}"))


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a command's end and return what it came to."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    assert "unexpected: " not in err, err
    return Ran(process.returncode, out, err)


def make_lab(
    folder: Path, *, slots: int = 6, capacity: str = "60MB", archive_size: str = "4MB", prefixes: Sequence[str] = ()
) -> Lab:
    """Make a lab; archives are small, so that a dump has several."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(folder, ledgers.new_ledger(folder))
    given = [word for prefix in prefixes for word in ("--prefix", prefix)]
    if ledgers.KIND != ledgers.SQLITE:
        given += ["--ledger", lab.url]
    lab.ok("init", "--slots", str(slots), "--capacity", capacity, "--ring", "8MiB", *given)
    lab.configure(archive_size=f'"{archive_size}"')
    return lab


def add_bridge(lab: Lab, database: LabDatabase, rules: Mapping[str, str]) -> None:
    """Let the lab's own databases have a say."""
    config = lab.folder / "papertape.toml"
    section = f'[bridge]\nfiles = "{database.options}"\nlabels = "{database.options}"\nstrict = true\n'
    paths = "".join(f'"{there}" = "{here}"\n' for there, here in rules.items())
    config.write_text(f"{config.read_text()}\n{section}[bridge.paths]\n{paths}")


def make_sources(lab: Lab, count: int, size: int, seed: int = 1, name: str = "night") -> list[str]:
    """Make data sets of random bytes, every third one a directory, and return their paths."""
    chance = random.Random(seed)
    paths = []
    for number in range(count):
        path = lab.folder / name / f"zen.{number:03}"
        path.parent.mkdir(exist_ok=True)
        files = [path]
        if number % 3 == 2:
            path.mkdir()
            files = [path / "visdata", path / "header"]
        for file in files:
            file.write_bytes(chance.randbytes(size // len(files)))
        paths.append(str(path))
    return paths


def copy_lab(lab: Lab, folder: Path) -> Lab:
    """Copy a lab with all in it; its sources stay where they are."""
    shutil.copytree(lab.folder, folder, ignore=shutil.ignore_patterns("night"))
    copied = Lab(folder)
    url = ledgers.copy_ledger(lab.url, folder)
    if url != copied.url:
        copied.use_ledger(url)
    return copied


def check_at_rest(lab: Lab, slots: Sequence[str | None]) -> None:
    """Every drive is empty and every cartridge in its slot."""
    assert lab.homes() == ([None, None], list(slots))


def check_archived(lab: Lab) -> int:
    """What the ledger calls archived was verified on every copy, and lies there byte for byte; return how much."""
    sets = lab.rows(
        "SELECT d.id, d.source, u.state, u.id FROM datasets d LEFT JOIN dumps u ON d.dump_id = u.id"
        " WHERE d.state = 'archived'"
    )
    assert all(state == "archived" for _, _, state, _ in sets), sets
    for dump in lab.rows("SELECT id FROM dumps WHERE state = 'archived'"):
        _check_dump(lab, *dump)
    return len(sets)


def _check_dump(lab: Lab, dump: int) -> None:
    copies = lab.rows(
        "SELECT v.tag, v.state, c.written_at, c.flushed_at, c.verified_at, c.error FROM copies c"
        f" JOIN volumes v ON v.id = c.volume_id WHERE c.dump_id = {dump}"
    )
    assert len({copy[0] for copy in copies}) == 2
    for tag, state, written, flushed, verified, error in copies:
        assert state == "archived"
        assert written
        assert flushed
        assert verified
        assert not error
        proof = (
            "SELECT 1 FROM verifications p JOIN volumes v ON v.id = p.volume_id"
            f" WHERE p.ok AND p.dump_id = {dump} AND v.tag = '{tag}'"
        )
        assert lab.rows(proof), tag
        assert read_back(lab, tag) == listed(lab, dump)


def listed(lab: Lab, dump: int) -> dict[tuple[int, bytes], str]:
    """Return the digests of a dump's files as the ledger has them, by tape file and name."""
    rows = lab.rows(
        "SELECT tape_file, name, sha256 FROM members"
        f" WHERE dump_id = {dump} AND dataset IS NOT NULL AND sha256 != '' ORDER BY 1, 2"
    )
    return {(number, unquote(name)): sha256 for number, name, sha256 in rows}


def read_back(lab: Lab, tag: str) -> dict[tuple[int, bytes], str]:
    """Return the digests of the files on a cartridge, read from its host files by Python's own tarfile."""
    found = {}
    for path in sorted(lab.cartridge(tag).glob("*.tar")):
        with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file and member.name.startswith("data/"):
                    name = os.fsencode(member.name)
                    found[int(path.stem), name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
