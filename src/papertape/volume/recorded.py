"""The kinds of content that a volume can have, going by its label and its catalog alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from papertape.errors import FormatError
from papertape.volume.catalog import Catalog, CatalogDocument, read_volume
from papertape.volume.label import Label
from papertape.volume.members import VolumeRecord
from papertape.volume.plan import PlanDocument
from papertape.volume.predecessor.catalog import PredecessorCatalog
from papertape.words import count


@dataclass(frozen=True)
class Blank:
    """Nothing was ever written to the volume."""


@dataclass(frozen=True)
class Foreign:
    """A recording of another program; ``found`` describes how it starts."""

    found: str


@dataclass(frozen=True)
class Whole:
    """A volume of papertape's with the catalog at its end; ``record`` is its label as the ledger has it.

    ``remade``: the copy was made again after the dump, so the catalog does not name it. The files of the catalog lie in
    ``catalog.folder``. ``version`` is that of the program that wrote the dump.
    """

    label: Label
    record: VolumeRecord
    catalog: Catalog
    version: str
    remade: bool


@dataclass(frozen=True)
class Torn:
    """A volume of papertape's that ends without a catalog.

    ``plan`` says what its dump was about to write, None if it cannot be read; its ``plan.csv`` lies in ``folder``.
    ``last`` is the number of the last complete tape file.
    """

    label: Label
    record: VolumeRecord
    plan: PlanDocument | None
    folder: Path
    last: int

    @property
    def reason(self) -> str:
        """Why no dump counts on it, as a clause."""
        whole = count(max(self.last - 1, 0), "whole archive")  # tape files 0 and 1 are the label and the plan
        return f"its recording ends without a catalog: the dump was cut off after {whole}"


@dataclass(frozen=True)
class PredecessorVolume:
    """A volume of the predecessor's; ``tape_files`` is their number, None if the drive could not count them.

    ``marked``: there is a filemark after the last one.
    """

    catalog: PredecessorCatalog
    tape_files: int | None
    marked: bool

    @property
    def reason(self) -> str:
        """Why it is not whole, as a clause; "" if no archive is missing."""
        archives = self.catalog.items[-1].tape_index + 1
        if self.tape_files not in {None, archives + 1}:
            return f"its catalog has {archives} archives, and {(self.tape_files or 1) - 1} tape files lie after it"
        return "" if self.marked else "its last archive has no end"


Recorded = Blank | Foreign | Whole | Torn | PredecessorVolume


def program_version(written_by: str) -> str:
    """Return the version in ``papertape 0.1.0``."""
    return written_by.removeprefix("papertape ")


def is_remade(label: Label, record: VolumeRecord, document: CatalogDocument) -> bool:
    """Whether the volume is a copy made again after the dump, and not one of those that the catalog names.

    Raises FormatError if label and catalog contradict each other: the label differs from the one in the catalog, or a
    copy made again replaces no copy, or is older than the dump.
    """
    tag = label.volume_tag
    if label.block_size != document.block_size:
        raise FormatError(tag, f"its label has blocks of {label.block_size} bytes, its catalog {document.block_size}")
    named = {volume.volume_uuid: volume for volume in document.volumes}
    own = named.get(label.volume_uuid)
    if own is not None:
        stated = read_volume(own)
        # The label does not say which drive wrote it; only the catalog does.
        if label.copy != stated.copy or stated != replace(record, drive_serial=stated.drive_serial):
            raise FormatError(tag, "its label is not the one that its catalog has")
        return False
    if label.copy not in {volume.copy for volume in document.volumes}:
        raise FormatError(tag, f"its label says copy {label.copy}, and its catalog has no such copy")
    if len(label.twins) != len(document.volumes) - 1 or label.created <= document.created:
        raise FormatError(tag, "its label is neither in its catalog nor that of a copy made again")
    return True
