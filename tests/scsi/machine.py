"""papertape in a guest of the rig: a lab outside that outlives guests, and a machine to which a test gives orders."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from rig.guest import Guest, RunningGuest
from rig.library import TapeLibrary

HERE = Path(__file__).parent
BOOT_SECONDS = 150.0
PATIENCE = 120.0
"""For one order, in seconds; the machine may be busy with other guests."""
KIB = 1024
MIB = KIB * KIB


class Ran(NamedTuple):
    """What an order came to."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence that says what is wrong."""
        told = [line for line in self.err.splitlines() if line.startswith("papertape: ")]
        assert len(told) == 1, self
        return told[0].removeprefix("papertape: ")

    @property
    def sentences(self) -> str:
        """All that is said to be wrong."""
        return "\n".join(line for line in self.err.splitlines() if line.startswith("papertape: "))


class Job:
    """An order under way."""

    def __init__(self, machine: Machine, number: str) -> None:
        self._machine = machine
        self._number = number

    def file(self, name: str) -> Path:
        return self._machine.folder / f"{self._number}.{name}"

    @property
    def said(self) -> str:
        """What it has said on standard error so far."""
        path = self.file("err")
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def ended(self) -> bool:
        return self.file("status").exists()

    @property
    def pid(self) -> int:
        self._machine.wait(self.file("pid").exists)
        return int(self.file("pid").read_text())

    def wait(self, timeout: float = PATIENCE) -> Ran:
        """Wait for its end; a traceback is never what it should say."""
        self._machine.wait(lambda: self.ended, timeout, self)
        out = self.file("out").read_text(errors="replace")
        assert "Traceback" not in self.said, self.said
        assert "unexpected: " not in self.said, self.said
        return Ran(int(self.file("status").read_text()), out, self.said)

    def until(self, words: str, count: int = 1, timeout: float = PATIENCE) -> bool:
        """Return when it has said ``words`` so many times, or has ended; tell whether it has said them."""
        self._machine.wait(lambda: self.ended or self.said.count(words) >= count, timeout, self)
        return self.said.count(words) >= count

    def linger(self, seconds: float) -> None:
        """Return when so many seconds are over, or it has ended."""
        deadline = time.monotonic() + seconds
        self._machine.wait(lambda: self.ended or time.monotonic() > deadline)

    def paused(self) -> None:
        """Return when it stands still where it was told to."""
        self._machine.wait(lambda: self.ended or self.file("paused").exists(), doing=self)
        assert not self.ended, self.wait()

    def go(self) -> Job:
        """Let it go on."""
        self.file("go").touch()
        return self

    def kill(self) -> None:
        """Send SIGKILL, and wait for its end."""
        self._machine.signal(self.pid)
        self._machine.wait(lambda: self.ended)


class Machine:
    """A guest in which ``guest_server.py`` does what is asked; leaving the ``with`` block ends it in good order."""

    def __init__(self, running: RunningGuest, folder: Path) -> None:
        self.folder = folder
        self._running = running
        self._count = 0
        self.wait((folder / "ready").exists, BOOT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            if raised == (None, None, None) and self._running.poll() is None:
                self._order("end", [])
                assert self._running.wait(PATIENCE) == 0, self._running.errors()
        finally:
            self._running.close()

    def cut(self) -> None:
        """Cut the power."""
        self._running.kill()

    def start(self, *commands: Sequence[str], pause: str = "") -> Job:
        """Start papertape commands, one after the other in one process, that hold on before the words ``pause``."""
        return self._order("papertape", [list(map(str, command)) for command in commands], pause)

    def papertape(self, *words: str | Path, timeout: float = PATIENCE) -> Ran:
        return self.start([str(word) for word in words]).wait(timeout)

    def ok(self, *words: str | Path, timeout: float = PATIENCE) -> str:
        """Run a papertape command that must exit 0, and return what it printed."""
        ran = self.papertape(*words, timeout=timeout)
        assert ran.code == 0, (words, ran)
        return ran.out

    def program(self, *words: str | Path) -> Job:
        """Start another program."""
        return self._order("program", list(map(str, words)))

    def sh(self, line: str) -> str:
        """Run a line of the shell that must succeed, and return what it printed."""
        ran = self.program("sh", "-ec", line).wait()
        assert ran.code == 0, (line, ran)
        return ran.out

    def mtx(self, *words: str | int) -> str:
        """Move a cartridge by hand, past papertape."""
        return self.sh(f"mtx -f $CHANGER {' '.join(map(str, words))}")

    def call(self, function: str, *arguments: object) -> Any:
        """Call a function of a module beside this one inside the guest, and return what it returned."""
        ran = self._order("call", [function, *arguments]).wait()
        assert ran.code == 0, ran
        return json.loads(ran.out)

    def begin(self, function: str, *arguments: object, pause: str = "") -> Job:
        """Start such a call."""
        return self._order("call", [function, *arguments], pause)

    def rows(self, query: str) -> list[list[Any]]:
        """Ask the ledger file itself."""
        return self.call("guest_actions.ask_ledger", query)

    def states(self, table: str) -> list[str]:
        """Return the states in a table of the ledger, sorted."""
        return sorted(state for (state,) in self.rows(f"SELECT state FROM {table}"))

    def volumes(self) -> dict[str, str]:
        return dict(self.rows("SELECT tag, state FROM volumes"))

    def where(self) -> dict[str, str]:
        """Return which volume lies in which drive or slot, by element."""
        elements = json.loads(self.ok("library", "status", "--json"))
        return {f"{item['kind']} {item['number']}": item["volume"] for item in elements if item["full"]}

    def in_drives(self) -> list[str]:
        return [volume for element, volume in self.where().items() if element.startswith("drive")]

    def signal(self, pid: int, name: str = "SIGKILL") -> None:
        self._order("signal", [pid, name]).wait()

    def wait(self, condition: Callable[[], bool], timeout: float = PATIENCE, doing: Job | None = None) -> None:
        """Return when ``condition`` is true; raise if it is not in ``timeout`` seconds, or the guest is gone."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self._running.poll() is not None or time.monotonic() > deadline:
                said = doing.said if doing else ""
                raise subprocess.TimeoutExpired(
                    "an order to the guest", timeout, said, self._running.output() + self._running.errors()
                )
            time.sleep(0.01)

    def _order(self, kind: str, words: list[Any], pause: str = "") -> Job:
        self._count += 1
        number = f"{self._count:04}"
        new = self.folder / f"{number}.new"
        new.write_text(json.dumps({"kind": kind, "words": words, "pause": pause}))
        new.rename(self.folder / f"{number}.order")
        self._running.wake()
        return Job(self, number)


class Lab:
    """A config, data and a tape library that outlive the machines booted on them; ledger, spool and locks are on /srv.

    ``settings`` are values of the config, whichever section they belong to.
    """

    def __init__(self, folder: Path, library: TapeLibrary, **settings: str | int) -> None:
        self.folder = folder
        self.library = library
        self.config = folder / "papertape.toml"
        self._boots = 0
        self._write_config(settings)
        environment = {"PYTHONDONTWRITEBYTECODE": "1", "PAPERTAPE_CONFIG": str(self.config), "LANG": "C.UTF-8"}
        self._environment = environment

    def _write_config(self, settings: Mapping[str, str | int]) -> None:
        top = {
            "ledger": "sqlite:////srv/ledger.sqlite",
            "spool": "/srv/spool",
            "block_size": "64KiB",
            "ring": "512KiB",
            "archive_size": "1MB",
        }
        section = {"kind": "scsi", "changer": "/dev/changer", "locks": "/srv/locks", "patience": 5}
        section["drives"] = [f"/dev/nst{number}" for number in range(self.library.drives)]
        for name, value in settings.items():
            (section if name in section else top)[name] = value
        lines = [f"{name} = {json.dumps(value)}" for name, value in top.items()]
        lines += ["[library]", *(f"{name} = {json.dumps(value)}" for name, value in section.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def boot(self) -> Machine:
        """Boot a guest on this library, this ledger and this data."""
        self._boots += 1
        orders = self.folder / f"boot{self._boots}"
        orders.mkdir()
        guest = Guest(self.library, shares=[orders], disk=self.folder / "disk", env=self._environment, memory="2G")
        running = guest.start([sys.executable, "-W", "error", str(HERE / "guest_server.py"), str(orders)])
        try:
            return Machine(running, orders)
        except BaseException:
            running.close()
            raise

    def make_night(self, name: str, megabytes: int = 2, seed: int = 0) -> list[str]:
        """Make data sets of random bytes: files of a quarter of that each, and a directory with as much."""
        folder = self.folder / name
        folder.mkdir()
        chance = random.Random(f"{name} {seed}")
        quarter = megabytes * 250_000
        for number in range(3):
            (folder / f"zen.{number}.uvh5").write_bytes(chance.randbytes(quarter - number))
        directory = folder / "zen.9.uv"
        directory.mkdir()
        (directory / "visdata").write_bytes(chance.randbytes(quarter))
        (directory / "header").write_bytes(b"header\n" * 9)
        (directory / "flags").touch()
        return [str(path) for path in sorted(folder.iterdir())]

    def digest(self, image: str) -> str:
        """Return the digest of a cartridge, as it is now."""
        with self.library.image(image).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def digests(self, images: Iterable[str]) -> dict[str, str]:
        return {image: self.digest(image) for image in images}
