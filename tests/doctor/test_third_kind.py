"""A kind of library that papertape does not know: a class that answers ``LibraryKind`` is all that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from papertape import config as configs
from papertape.config import parse_config
from papertape.doctor.checkup import Wishes, examine
from papertape.doctor.findings import SetUp, exit_code
from papertape.events import Tell, tell_all
from papertape.ids import VolumeTag
from papertape.jobs.explain import find_origin
from papertape.jobs.opening import open_library
from papertape.tape.checks import Check, Verdict, ok
from papertape.tape.generations import GENERATIONS, Generation
from papertape.tape.kind import DeviceNodes, LibraryKind, Parts
from papertape.tape.virtual.library import VirtualLibrary
from papertape.transfer.stop import Stop
from papertape.volume.recipe import DriveOrigin
from stories import Lab


class CupboardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cupboard"):
    """A library of which only the parts are a virtual one's; all answers are its own."""

    door: str

    def within(self, folder: Path) -> CupboardConfig:
        return msgspec.structs.replace(self, door=str(folder / self.door))

    def open(self, tell: Tell, *, patient: bool = True) -> Parts:
        library = VirtualLibrary(Path(self.door))
        return Parts(library.changer, library.drives, library.folder / "locks")

    def describe(self) -> str:
        return "a cupboard"

    def device(self, drive: int) -> str | None:
        return f"/dev/cupboard{drive}"

    def generation(self, drive: int) -> Generation | None:
        return GENERATIONS["LTO-4"]

    def by_hand(self, volume_tag: VolumeTag) -> DeviceNodes:
        return DeviceNodes("/dev/robot", ["/dev/cupboard0", "/dev/cupboard1"])

    def add_cartridge(self, volume_tag: VolumeTag, capacity: int) -> None:
        raise NotImplementedError

    def missing_programs(self) -> tuple[str, ...]:
        return ()

    def check_programs(self) -> Iterator[Check]:
        yield ok("programs", "a cupboard needs none")

    def check_devices(self) -> Iterator[Check]:
        yield ok("drives", "both are there")

    def check_drive(self, drive: int, serial: str, block_size: int) -> Iterator[Check]:
        yield ok(f"drive {drive}", f"answers, {serial}, {block_size}")

    def check_block(self, drive: int, block_size: int) -> Iterator[Check]:
        yield ok(f"drive {drive}", f"reads blocks of {block_size}")

    def wipe(self, drive: int, marker: bytes) -> bool:
        return False


class CupboardDocument(configs.Document, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The config file with the one line that a new kind takes in ``config.py``."""

    library: CupboardConfig


def test_a_third_kind_is_read_from_the_config_opened_checked_and_explained(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "Document", CupboardDocument)
    text = 'block_size = "64KiB"\nring = "1MiB"\n[library]\nkind = "cupboard"\ndoor = "library"\n'
    config = parse_config(lab.folder / "papertape.toml", text.encode())
    kind: LibraryKind = config.library
    assert open_library(config, tell_all()).drives == (0, 1)
    assert isinstance(find_origin(kind, VolumeTag("PAPR1001")), DriveOrigin)
    setup = SetUp(
        kind=kind,
        settings=config.settings,
        prefixes=config.prefixes,
        devices=kind.open(tell_all()),
        ledger=lab.ledger,
        ledger_file=None,
        tell=tell_all(),
        stop=Stop(),
    )
    checks = list(examine(setup, Wishes(load="PAPR1001")))
    assert exit_code(checks) == 0
    found = {f"{check.name}: {check.sentence}" for check in checks if check.verdict is Verdict.OK}
    assert {"programs: a cupboard needs none", "drives: both are there", "drive 1: reads blocks of 65536"} <= found
    assert (
        "which drive: PAPR1001, put into drive 0 of the changer, became ready there: /dev/cupboard0 is drive 0" in found
    )
