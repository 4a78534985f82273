"""Opening what a config names: its ledger and its library."""

from __future__ import annotations

from pathlib import Path

from papertape.config import Config
from papertape.events import Tell
from papertape.ledger import Ledger, open_ledger
from papertape.tape.library import Library


def find_missing_ledger(config: Config) -> Path | None:
    """Return where the ledger's SQLite file should be and is not, None if it is there or elsewhere."""
    scheme, _, name = config.ledger.partition("///")
    path = Path(name.partition("?")[0])
    return path if scheme.startswith("sqlite") and name and not path.exists() else None


def open_config_ledger(config: Config) -> Ledger:
    """Open the ledger that the config names; raises UserError, HostError."""
    return open_ledger(config.ledger)


def open_library(config: Config, tell: Tell) -> Library:
    """Open the library that the config names, of whatever kind; raises UserError if there is none."""
    return Library(*config.library.open(tell), tell)
