"""The kind "scsi": drives of Linux ``st``, and a changer that mtx moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from papertape.errors import UserError
from papertape.events import Tell
from papertape.ids import VolumeTag
from papertape.tape.checks import Check
from papertape.tape.generations import Generation
from papertape.tape.kind import DeviceNodes, Parts
from papertape.tape.scsi import checks
from papertape.tape.scsi.blocklimits import wipe
from papertape.tape.scsi.hostfacts import find_generation, find_program, read_product
from papertape.tape.scsi.mtx import MtxChanger
from papertape.tape.scsi.stdevice import Patience, ScsiDrive
from papertape.words import enumerate_names


class ScsiConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="scsi"):
    """The section ``[library]`` of a real one (see ``LibraryKind``).

    ``changer`` and ``drives`` are device nodes, those of the drives in the changer's element order. ``patience`` is how
    long to wait for a drive that another program has open, in seconds; ``locks`` is a folder.
    """

    changer: str
    drives: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    locks: str = "locks"
    patience: Annotated[float, msgspec.Meta(ge=0)] = 60.0

    def within(self, folder: Path) -> ScsiConfig:
        """See ``LibraryKind.within``."""
        for name, path in (("changer", self.changer), *(("drives", path) for path in self.drives)):
            if not path.startswith("/dev/"):
                raise ValueError(f"library: {name}: {path!r} is no device node; name one like /dev/tape/by-id/...")
        if len(set(self.drives)) < len(self.drives):
            raise ValueError("library: drives names a device twice")
        return msgspec.structs.replace(self, locks=str(folder / self.locks))

    def open(self, tell: Tell, *, patient: bool = True) -> Parts:
        """See ``LibraryKind.open``."""
        # ``patience`` of the config is for other programs only: a cartridge needs the time that it needs.
        patience = Patience(busy=self.patience) if patient else Patience(busy=0.0, empty=0.0, loading=0.0)
        drives = [ScsiDrive(number, Path(path), tell, patience) for number, path in enumerate(self.drives)]
        return Parts(MtxChanger(Path(self.changer)), drives, Path(self.locks))

    def describe(self) -> str:
        """See ``LibraryKind.describe``."""
        return f"a library with the changer {self.changer} and the drives {enumerate_names(self.drives)}"

    def device(self, drive: int) -> str | None:
        """See ``LibraryKind.device``."""
        return self.drives[drive]

    def generation(self, drive: int) -> Generation | None:
        """See ``LibraryKind.generation``; the product's name in sysfs says it."""
        return find_generation(read_product(Path(self.drives[drive])))

    def by_hand(self, volume_tag: VolumeTag) -> DeviceNodes:  # noqa: ARG002
        """See ``LibraryKind.by_hand``."""
        return DeviceNodes(self.changer, self.drives)

    def add_cartridge(self, volume_tag: VolumeTag, capacity: int) -> None:  # noqa: ARG002
        """See ``LibraryKind.add_cartridge``."""
        raise UserError("--cartridge makes cartridges in a virtual library only")

    def missing_programs(self) -> tuple[str, ...]:
        """See ``LibraryKind.missing_programs``."""
        return () if find_program("mtx") else ("mtx",)

    def check_programs(self) -> Iterator[Check]:
        """See ``LibraryKind.check_programs``."""
        return checks.check_programs()

    def check_devices(self) -> Iterator[Check]:
        """See ``LibraryKind.check_devices``."""
        return checks.check_twice_named(self.drives)

    def check_drive(self, drive: int, serial: str, block_size: int) -> Iterator[Check]:
        """See ``LibraryKind.check_drive``."""
        return checks.check_drive(drive, Path(self.drives[drive]), serial, block_size)

    def check_block(self, drive: int, block_size: int) -> Iterator[Check]:
        """See ``LibraryKind.check_block``."""
        return checks.check_block(drive, Path(self.drives[drive]), block_size)

    def wipe(self, drive: int, marker: bytes) -> bool:
        """See ``LibraryKind.wipe``."""
        return wipe(Path(self.drives[drive]), marker)
