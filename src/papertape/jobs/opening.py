"""Opening what a config names: its ledger and its library, real or virtual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from papertape.config import Config, VirtualConfig
from papertape.events import Tell
from papertape.ledger import Ledger, open_ledger
from papertape.tape.changer import Changer
from papertape.tape.library import DriveSource, Library
from papertape.tape.scsi.mtx import MtxChanger
from papertape.tape.scsi.stdevice import Patience, ScsiDrive
from papertape.tape.virtual.library import VirtualLibrary
from papertape.tape.virtual.timing import RealClock


def find_missing_ledger(config: Config) -> Path | None:
    """Return where the ledger's SQLite file should be and is not, None if it is there or elsewhere."""
    scheme, _, name = config.ledger.partition("///")
    path = Path(name.partition("?")[0])
    return path if scheme.startswith("sqlite") and name and not path.exists() else None


def open_config_ledger(config: Config) -> Ledger:
    """Open the ledger that the config names; raises UserError, HostError."""
    return open_ledger(config.ledger)


class Parts(NamedTuple):
    """What a library is made of: its changer, its drives, not yet open, and the folder of the lock files."""

    changer: Changer
    drives: Sequence[DriveSource]
    locks: Path


def open_parts(config: Config, tell: Tell, patience: Patience | None = None) -> Parts:
    """Return the parts of the library that the config names; raises UserError if there is none.

    ``patience`` is that with real drives, the config's if it is left out.
    """
    chosen = config.library
    if isinstance(chosen, VirtualConfig):
        folder = config.folder / chosen.path
        virtual = VirtualLibrary(folder, clock=RealClock(chosen.timing) if chosen.timing else None)
        return Parts(virtual.changer, virtual.drives, folder / "locks")
    patience = patience or Patience(busy=chosen.patience)
    drives = [ScsiDrive(number, Path(path), tell, patience) for number, path in enumerate(chosen.drives)]
    return Parts(MtxChanger(Path(chosen.changer)), drives, config.folder / chosen.locks)


def open_library(config: Config, tell: Tell) -> Library:
    """Open the library that the config names, real or virtual; raises UserError if there is none."""
    return Library(*open_parts(config, tell), tell)
