"""A kind of library: all that the rest of papertape asks one for.

Each kind has a folder beside this file, and in it a ``kind.py`` with one class: the section ``[library]`` of the
config, which also answers every question below. A new kind is such a folder, and its class in the union in
``config.py``; no other module knows which kinds there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from papertape.events import Tell
from papertape.ids import VolumeTag
from papertape.tape.changer import Changer
from papertape.tape.checks import Check
from papertape.tape.generations import Generation
from papertape.tape.library import DriveSource


class Parts(NamedTuple):
    """The parts of a library: its changer, its drives, not yet open, and the folder of the lock files."""

    changer: Changer
    drives: Sequence[DriveSource]
    locks: Path


class DeviceNodes(NamedTuple):
    """How mtx and mt reach a library: the device node of the changer, and those of the drives by element number."""

    changer: str
    drives: Sequence[str]


class HostFiles(NamedTuple):
    """Where the tape files of a volume lie as files of the host: ``0000.tar`` and so on in ``folder``."""

    folder: Path


class LibraryKind(Protocol):
    """The section ``[library]`` of one kind of library. Drives are element numbers; the first one is 0."""

    def within(self, folder: Path) -> Self:
        """Return the section with absolute paths, where relative ones are relative to ``folder``.

        Raises ValueError, with one sentence, for values that cannot be right.
        """

    def open(self, tell: Tell, *, patient: bool = True) -> Parts:
        """Return the parts of the library. Raises UserError if there is none.

        Drives that are not ``patient`` wait for nothing: neither for a process that has them nor for a cartridge.
        """

    def describe(self) -> str:
        """Return what the library is, as a noun phrase: "a library in the folder /srv/library"."""

    def device(self, drive: int) -> str | None:
        """Return the drive's device node in the config; None for a kind without nodes, where none can be swapped."""

    def generation(self, drive: int) -> Generation | None:
        """Return the LTO generation of the drive; None if it is not known."""

    def by_hand(self, volume_tag: VolumeTag) -> DeviceNodes | HostFiles:
        """Return how a volume is reached without papertape."""

    def add_cartridge(self, volume_tag: VolumeTag, capacity: int) -> None:
        """Lay a new blank cartridge of ``capacity`` bytes into a slot. Raises UserError where that takes a hand."""

    def missing_programs(self) -> Sequence[str]:
        """Return the programs without which no cartridge moves, and which are not installed."""

    def check_programs(self) -> Iterator[Check]:
        """Check the programs that move cartridges, and those that read tapes by hand."""

    def check_devices(self) -> Iterator[Check]:
        """Check what the config says of all drives together; opens nothing."""

    def check_drive(self, drive: int, serial: str, block_size: int) -> Iterator[Check]:
        """Check a drive that can be opened, without a cartridge; ``block_size`` is the config's, in bytes."""

    def check_block(self, drive: int, block_size: int) -> Iterator[Check]:
        """Check with a cartridge ready in the closed ``drive`` that blocks of that many bytes pass; writes nothing."""

    def wipe(self, drive: int, marker: bytes) -> bool:
        """Make the tape in the closed ``drive`` blank if its first block begins with ``marker``; tell whether it is."""
