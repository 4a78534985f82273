"""A virtual cartridge on the host's disk: a folder with ``cartridge.json`` and one host file a tape file.

``0000.tar`` is tape file 0, and so on: the blocks one after the other, nothing else, so that ``tar -tvf`` reads it.
``cartridge.json`` holds what the bytes cannot tell: block sizes, as runs ``[bytes, count]`` of equal blocks, and
filemarks. The count of the run being written is null: it follows from the host file's size, so that a killed writer
leaves a recording that says exactly what was written. A block cut off in its middle does not count.

A writer that overwrites a tape overwrites the old host files in place, which is several times faster than giving their
room back and taking new. While it does, ``recycled`` is true in the record, and the file ``end`` holds the byte where
the tape file ends now. Bytes after it, and host files that the record does not name, are lost, as on a tape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from papertape.errors import UserError, VolumeError
from papertape.ids import VolumeTag
from papertape.tape.changer import CLEANING_PREFIX, TAG_PATTERN
from papertape.tape.drive import MAX_BLOCK
from papertape.tape.virtual.hostfile import drive_error, read_json, write_json, write_json_with_spare

RECORD = "cartridge.json"

Tag = Annotated[str, msgspec.Meta(pattern=TAG_PATTERN)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
BlockSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK)]


class FileRecord(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One tape file: its runs of equal blocks, and whether a filemark ends it."""

    runs: list[tuple[BlockSize, Bytes | None]]
    filemark: bool
    recycled: bool = False


class CartridgeRecord(msgspec.Struct, forbid_unknown_fields=True):
    """``cartridge.json``. ``barcode`` is null for a label that no robot can read; sizes in bytes."""

    version: Literal[1]
    barcode: Tag | None
    generation: str
    capacity: Annotated[int, msgspec.Meta(ge=1, le=1 << 60)]
    early_warning: Bytes
    write_protected: bool = False
    cleaning: bool = False
    tape_files: list[FileRecord] = []


class LabelRecord(msgspec.Struct):
    """The part of ``cartridge.json`` that a robot reads from outside."""

    barcode: Tag | None


_CARTRIDGE, _LABEL = msgspec.json.Decoder(CartridgeRecord), msgspec.json.Decoder(LabelRecord)


@dataclass
class Run:
    """``count`` blocks of ``size`` bytes."""

    size: int
    count: int


@dataclass
class TapeFile:
    """The blocks between two filemarks."""

    runs: list[Run] = field(default_factory=list)
    filemark: bool = False

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return sum(run.count for run in self.runs)

    @property
    def bytes(self) -> int:
        """The number of bytes in all blocks."""
        return sum(run.size * run.count for run in self.runs)

    @property
    def objects(self) -> int:
        """The number of logical objects: the blocks, and the filemark if there is one."""
        return self.blocks + self.filemark

    def keep(self, blocks: int) -> None:
        """Forget everything after the first ``blocks`` blocks."""
        kept: list[Run] = []
        for run in self.runs:
            count = min(run.count, blocks)
            blocks -= count
            if count:
                kept.append(Run(run.size, count))
        self.runs = kept
        self.filemark = False


def early_warning_point(capacity: int) -> int:
    """Return where, in bytes, a drive starts to warn of the end of a tape of ``capacity`` bytes."""
    return capacity - min(max(capacity // 200, 1024 * 1024), capacity // 4)


def blank_cartridge(folder: Path, capacity: int, generation: str, early_warning: int | None = None) -> None:
    """Make a blank cartridge of ``capacity`` bytes in ``folder``, labelled with the folder's name. Raises OSError."""
    folder.mkdir()
    record = CartridgeRecord(
        version=1,
        barcode=folder.name,
        generation=generation,
        capacity=capacity,
        early_warning=early_warning_point(capacity) if early_warning is None else early_warning,
        cleaning=folder.name.startswith(CLEANING_PREFIX),
    )
    write_json(folder / RECORD, record)


def read_label(folder: Path) -> VolumeTag | None:
    """Return the barcode on the cartridge in ``folder``; None where it cannot be read."""
    try:
        barcode = read_json(folder / RECORD, _LABEL).barcode
    except (OSError, UserError):
        return None
    return VolumeTag(barcode) if barcode else None


class Cartridge:
    """The recording in a cartridge folder: its tape files, and the one record that describes them.

    ``drive`` is the number of the drive it lies in, for the errors: DriveError where the host's disk refuses,
    VolumeError where the record is not one. ``spare`` is room kept for the record on a full disk.
    """

    def __init__(self, folder: Path, drive: int, spare: Path) -> None:
        self.folder = folder
        self._spare = spare
        self.drive = drive
        self.record = self._read()
        self.files = [self._tape_file(number) for number in range(len(self.record.tape_files))]
        if self.files and not self.files[-1].objects:
            self.files.pop()  # announced by a writer that died before its first block

    @property
    def name(self) -> str:
        """The volume tag, or the folder's name where there is none."""
        return self.record.barcode or self.folder.name

    @property
    def end_path(self) -> Path:
        """The file that holds where a recycled host file's recording ends: a byte count, 8 bytes, the lowest first."""
        return self.folder / "end"

    def path(self, number: int) -> Path:
        """Return the host file of tape file ``number``."""
        return self.folder / f"{number:04}.tar"

    def save(self, *, growing: bool = False, recycled: bool = False, sync: bool = False) -> None:
        """Write the record; with ``growing`` the last run's count is left to the host file. Raises DriveError."""
        self.record.tape_files = [
            FileRecord([(run.size, run.count) for run in file.runs], file.filemark) for file in self.files
        ]
        if growing:
            last = self.record.tape_files[-1]
            last.runs[-1] = (last.runs[-1][0], None)
            last.recycled = recycled
        try:
            write_json_with_spare(self.folder / RECORD, self.record, self._spare, sync=sync)
        except OSError as error:
            raise drive_error(self.drive, error) from error

    def forget_after(self, number: int, blocks: int) -> None:
        """Drop everything after ``blocks`` blocks of tape file ``number``, as writing there does on a tape."""
        del self.files[number + 1 :]
        self.files[number].keep(blocks)
        self.save()

    def tidy(self) -> None:
        """Remove the host files that a writer left after the end of its recording. Raises DriveError."""
        number = len(self.files)
        try:
            while self.path(number).exists():
                self.path(number).unlink()
                number += 1
            self.end_path.unlink(missing_ok=True)
        except OSError as error:
            raise drive_error(self.drive, error) from error

    def _read(self) -> CartridgeRecord:
        try:
            record = read_json(self.folder / RECORD, _CARTRIDGE)
        except OSError as error:
            raise drive_error(self.drive, error) from error
        except UserError as error:
            raise VolumeError(VolumeTag(self.folder.name), str(error)) from error
        if not _is_consistent(record):
            raise VolumeError(
                VolumeTag(self.folder.name), f"{self.folder / RECORD} contradicts itself; restore it or leave it out"
            )
        return record

    def _tape_file(self, number: int) -> TapeFile:
        record = self.record.tape_files[number]
        runs = [Run(size, count or 0) for size, count in record.runs]
        if record.runs and record.runs[-1][1] is None:
            known = sum(run.size * run.count for run in runs)
            runs[-1].count = max(self._recorded_bytes(number) - known, 0) // runs[-1].size
        return TapeFile(runs, record.filemark)

    def _recorded_bytes(self, number: int) -> int:
        try:
            size = self.path(number).stat().st_size
            if not self.record.tape_files[number].recycled:
                return size
            return min(size, int.from_bytes(self.end_path.read_bytes()[:8], "little"))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise drive_error(self.drive, error) from error


def _is_consistent(record: CartridgeRecord) -> bool:
    """Only the last tape file may lack a filemark, and only its last run a count."""
    # A writer closes a tape file, with its counts, before it begins the next one.
    inner = record.tape_files[:-1]
    if not all(file.filemark for file in inner):
        return False
    counted = [run for file in inner for run in file.runs]
    counted += [run for file in record.tape_files[-1:] for run in file.runs[: -1 if not file.filemark else None]]
    return all(count is not None for _, count in counted)
