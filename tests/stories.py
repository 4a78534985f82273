"""What the tests of the story have in common: a lab with data on disk, a ledger and a virtual library, all small."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import ledgers
from papertape.errors import NothingToDo
from papertape.events import Event, Moved, Phase, Tell, tell_all
from papertape.evidence import Verification
from papertape.jobs.context import Context, NoLab, Outcome
from papertape.jobs.dump import dump, plan_next, recover
from papertape.jobs.imports import Result, import_volumes
from papertape.jobs.recopy import recopy
from papertape.jobs.register import Registered, register
from papertape.jobs.restore import Restored, Wish, restore
from papertape.jobs.verify import verify
from papertape.ledger import Ledger, Owner, open_ledger
from papertape.plan import Batch
from papertape.settings import CROSSED, Settings
from papertape.states import DumpState
from papertape.tape.changer import ElementKind, Inventory
from papertape.tape.library import Library
from papertape.tape.virtual.faults import Faults
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.transfer.stop import Stop

KIB = 1024
BLOCK = 64 * KIB
HOST = "correlator"
CAPACITY = 16 * KIB * KIB
SETS = 3
"""How many volumes of each copy a lab has."""
_NOBODYS = count(2**22 + 1)
"""Process ids beyond the largest that Linux gives."""


def nobody() -> Owner:
    """A process on this host that is dead, another one each time."""
    return Owner(socket.gethostname(), next(_NOBODYS), "before the boot")


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


def find_copy(tag: str) -> int | None:
    """Which copy a volume is for, by the digit that ends its prefix."""
    match = re.match(r"(?:PAPR|H0C)([1-9])", tag)
    return int(match[1]) if match else None


class Lab:
    """A ledger and a library in ``folder``.

    Whoever runs a job here is dead by the time that the next one looks, so that ``recover`` finds what was left.
    """

    def __init__(self, folder: Path, settings: Settings, url: str) -> None:
        self.folder = folder
        self.settings = settings
        self.url = url
        self.ledger: Ledger = open_ledger(url, nobody())

    def copy(self, folder: Path) -> Lab:
        """The same lab once more, but for the data on disk, which both have."""
        self.ledger.close()
        shutil.copytree(self.folder, folder)
        url = ledgers.copy_ledger(self.url, folder)
        return Lab(folder, dataclasses.replace(self.settings, spool=folder / "spool"), url)

    def add(self, *paths: Path, md5s: Mapping[bytes, str] | None = None) -> list[Registered]:
        return list(register(self.ledger, HOST, [os.fsencode(path) for path in paths], md5s or {}))

    def context(
        self,
        tell: Tell | None = None,
        stop: Stop | None = None,
        faults: Faults | None = None,
        owner: Owner | None = None,
    ) -> Context:
        tell = tell or tell_all()
        library = self.library(tell, faults or Faults())
        lab = NoLab(self.ledger)
        return Context(self.ledger_of(owner or nobody()), lambda: library, self.settings, tell, stop or Stop(), lab)

    def ledger_of(self, owner: Owner) -> Ledger:
        """The same ledger, as another process has it."""
        return Ledger(self.ledger._database, owner, self.ledger.clock)

    def library(self, tell: Tell, faults: Faults) -> Library:
        virtual = VirtualLibrary(self.folder / "library")
        drives = [faults.drive(drive) for drive in virtual.drives]
        return Library(faults.changer(virtual.changer), drives, self.folder / "library" / "locks", tell)

    def dump(self, tell: Tell | None = None, stop: Stop | None = None, faults: Faults | None = None) -> Outcome:
        return dump(self.context(tell, stop, faults))[-1]

    def plan(self) -> Batch:
        """What the next dump would do."""
        return plan_next(self.ledger, self.library(tell_all(), Faults()), self.settings)[0]

    def recover(self, *, undo: bool = False, faults: Faults | None = None) -> list[Outcome]:
        return recover(self.context(faults=faults), undo=undo)

    def recopy(
        self,
        tag: str,
        tell: Tell | None = None,
        stop: Stop | None = None,
        faults: Faults | None = None,
        *,
        from_disk: bool = False,
    ) -> Outcome:
        return recopy(self.context(tell, stop, faults), tag, from_disk=from_disk)

    def restore(
        self,
        *patterns: str,
        to: Path,
        wish: Wish | None = None,
        overwrite: bool = False,
        tell: Tell | None = None,
        stop: Stop | None = None,
        faults: Faults | None = None,
    ) -> Restored:
        context = self.context(tell, stop, faults)
        return restore(context, wish or Wish(patterns), to, lambda plan: None, overwrite=overwrite)

    def lose_ledger(self) -> None:
        """The database is gone, and a new one is empty."""
        self.ledger.close()
        ledgers.lose_ledger(self.url)
        self.ledger = open_ledger(self.url, nobody())

    def add_blank(self, *tags: str) -> None:
        self.ledger.volumes.add([(tag, find_copy(tag) or 0, CAPACITY) for tag in tags])

    def bring_in(self, *tags: str, faults: Faults | None = None, stop: Stop | None = None) -> dict[str, Result]:
        """What `papertape volumes import` does."""
        results = import_volumes(self.context(faults=faults, stop=stop), tags, CAPACITY, find_copy)
        return {result.volume: result for result in results}

    def lacking(self) -> list[str]:
        """The volumes whose copies are to be made again."""
        return [tag for dump in self.ledger.dumps.incomplete() for tag in dump.lacking]

    def finish(self) -> list[Outcome]:
        """What an operator does the next morning: recover, make missing copies again, dump until all is done."""
        self.recover()
        outcomes = [self.recopy(tag) for tag in self.lacking()]
        assert [outcome.error for outcome in outcomes] == [None] * len(outcomes), outcomes
        while True:
            try:
                outcomes.append(self.dump())
            except NothingToDo:
                return outcomes
            assert outcomes[-1].error is None, outcomes[-1]

    def verify(self, *tags: str) -> list[Verification]:
        return list(verify(self.context(), tags))

    def cartridge(self, tag: str) -> Path:
        return self.folder / "library" / "cartridges" / tag

    def tape_files(self, tag: str) -> list[Path]:
        return sorted(self.cartridge(tag).glob("*.tar"))

    def inventory(self) -> Inventory:
        return VirtualLibrary(self.folder / "library").changer.inventory()

    def where(self) -> dict[str, str]:
        return {str(s.volume_tag): str(s.element) for s in self.inventory().elements if s.full}

    def stranded(self) -> list[str]:
        """The volumes that are not in a slot."""
        elements = self.inventory().elements
        return [str(s.volume_tag) for s in elements if s.full and s.element.kind is not ElementKind.STORAGE]

    def states(self) -> dict[str, str]:
        """What became of each data set (its newest version), by the last part of its name."""
        return {found.source.rpartition("/")[2]: found.state for found in self.ledger.search.find("*")}

    def reasons(self) -> dict[str, str]:
        return {item.source.rpartition("/")[2]: item.reason for item in self.ledger.datasets.rejected()}

    def volumes(self) -> dict[str, str]:
        return {volume.tag: volume.state for volume in self.ledger.volumes.all()}

    def archived_volumes(self) -> list[str]:
        return [tag for tag, state in self.volumes().items() if state == "archived"]


def make_lab(
    folder: Path,
    *,
    copies: int = 2,
    drives: int = 2,
    capacity: int = CAPACITY,
    early_warning: int | None = None,
    archive_size: int = 256 * KIB,
    ring: int = 8 * BLOCK,
    mount: str = CROSSED,
    block_size: int = BLOCK,
    spare: int = 1,
    url: str = "",
) -> Lab:
    """A lab with blank volumes PAPR1001, PAPR1002 … in its slots, and ``spare`` slots.

    Sizes are in bytes; ``url`` is where the ledger is, a new one (see ``ledgers``) if not given.
    """
    tags = [(f"PAPR{copy}{number:03}", copy) for copy in range(1, copies + 1) for number in range(1, SETS + 1)]
    create_library(
        folder / "library",
        drives=drives,
        slots=len(tags) + spare,
        capacity=capacity,
        early_warning=early_warning,
        volume_tags=[tag for tag, _ in tags],
    )
    lab = Lab(
        folder,
        Settings(copies, archive_size, block_size, ring, folder / "spool", mount),
        url or ledgers.new_ledger(folder),
    )
    lab.ledger.volumes.add([(tag, copy, capacity) for tag, copy in tags])
    return lab


def make_night(folder: Path, files: int = 5) -> list[Path]:
    """So many files of 100 kB and a MIRIAD-like directory, two data sets to an archive of 256 KiB."""
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"zen.{number}.uvh5").write_bytes(noise(100_000, number))
    uv = folder / "zen.9.uv"
    uv.mkdir()
    (uv / "visdata").write_bytes(noise(150_000))
    (uv / "header").write_bytes(b"header\n" * 9)
    (uv / "flags").touch()
    return sorted(folder.iterdir())


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below ``folder``: its bytes, and when it was written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_archived(lab: Lab) -> None:
    """What the ledger calls archived lies whole on every copy, and nothing else is called so."""
    archived = {dump.id: dump for dump in lab.ledger.dumps.all() if dump.state == DumpState.ARCHIVED}
    for found in lab.ledger.search.find("*"):
        assert (found.state == "archived") == (found.dump in archived and found.tape_file is not None), found
    for record in archived.values():
        assert len(record.copies) == lab.settings.copies
        for copy in record.copies:
            assert copy.written_at is not None, copy
            assert copy.flushed_at is not None, copy
            assert copy.verified_at is not None, copy
            assert copy.error is None, copy
    assert {copy.volume for dump in archived.values() for copy in dump.copies} == set(lab.archived_volumes())
    for verification in lab.verify(*lab.archived_volumes()) if archived else ():
        assert verification.ok, verification


def check_all_archived(lab: Lab) -> None:
    """Everything that was registered is archived, everything is at home, and nobody has anything claimed."""
    assert set(lab.states().values()) == {"archived"}, lab.states()
    assert not lab.stranded(), lab.where()
    assert "claimed" not in lab.volumes().values()
    check_archived(lab)


class Telling:
    """Calls ``tell`` with the name of the phase and the bytes written or read in it by then, at every block."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell = tell
        self._phase = ""
        self._bytes = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Phase():
                self._phase, self._bytes = event.name, 0
            case Moved():
                self._bytes += event.count
            case _:
                return
        self._tell(self._phase, self._bytes)


class At(Telling):
    """Does something once, at the beginning of a phase or after so many blocks of it on all drives together."""

    def __init__(self, phase: str, action: Callable[[], object], blocks: int = 0) -> None:
        super().__init__(self._look)
        self.done = False
        self._wanted, self._after, self._action = phase, blocks * BLOCK, action

    def _look(self, phase: str, moved: int) -> None:
        if not self.done and phase == self._wanted and moved >= self._after:
            self.done = True
            self._action()
