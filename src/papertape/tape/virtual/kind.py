"""The kind "virtual": a library in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from papertape.events import Tell
from papertape.ids import VolumeTag
from papertape.tape.checks import Check, ok, skipped
from papertape.tape.generations import GENERATIONS, Generation
from papertape.tape.kind import HostFiles, Parts
from papertape.tape.virtual.library import VirtualLibrary, add_cartridge
from papertape.tape.virtual.shelf import Shelf
from papertape.tape.virtual.timing import RealClock


class VirtualConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="virtual"):
    """The section ``[library]`` of a library in a folder (see ``LibraryKind``).

    ``timing`` slows it to a real one, times that factor; 0 is as fast as the host.
    """

    path: str
    timing: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def within(self, folder: Path) -> VirtualConfig:
        """See ``LibraryKind.within``."""
        return msgspec.structs.replace(self, path=str(folder / self.path))

    def open(self, tell: Tell, *, patient: bool = True) -> Parts:  # noqa: ARG002  a folder keeps nobody waiting
        """See ``LibraryKind.open``."""
        library = VirtualLibrary(Path(self.path), clock=RealClock(self.timing) if self.timing else None)
        return Parts(library.changer, library.drives, library.folder / "locks")

    def describe(self) -> str:
        """See ``LibraryKind.describe``."""
        return f"a library in the folder {self.path}"

    def device(self, drive: int) -> str | None:  # noqa: ARG002
        """See ``LibraryKind.device``."""
        return None

    def generation(self, drive: int) -> Generation | None:  # noqa: ARG002  all drives are of one generation
        """See ``LibraryKind.generation``."""
        return GENERATIONS.get(Shelf(Path(self.path)).read().generation)

    def by_hand(self, volume_tag: VolumeTag) -> HostFiles:
        """See ``LibraryKind.by_hand``."""
        return HostFiles(Shelf(Path(self.path)).cartridge(volume_tag))

    def add_cartridge(self, volume_tag: VolumeTag, capacity: int) -> None:
        """See ``LibraryKind.add_cartridge``."""
        add_cartridge(Path(self.path), volume_tag, capacity=capacity)

    def missing_programs(self) -> tuple[str, ...]:
        """See ``LibraryKind.missing_programs``."""
        return ()

    def check_programs(self) -> Iterator[Check]:
        """See ``LibraryKind.check_programs``."""
        yield skipped("programs", "a library in a folder needs neither mtx nor mt")

    def check_devices(self) -> Iterator[Check]:
        """See ``LibraryKind.check_devices``."""
        yield from ()

    def check_drive(self, drive: int, serial: str, block_size: int) -> Iterator[Check]:  # noqa: ARG002
        """See ``LibraryKind.check_drive``; such a drive takes every block that a volume can have."""
        yield ok(f"drive {drive}", f"opens, serial number {serial}")

    def check_block(self, drive: int, block_size: int) -> Iterator[Check]:  # noqa: ARG002
        """See ``LibraryKind.check_block``."""
        yield from ()

    def wipe(self, drive: int, marker: bytes) -> bool:  # noqa: ARG002
        """See ``LibraryKind.wipe``; a tape here is not erased."""
        return False
