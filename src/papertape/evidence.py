"""The evidence about one volume after a transfer, as plain values: how it was written, and what a reading found."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import ClassVar

from papertape.errors import PapertapeError
from papertape.ids import VolumeTag


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong on one volume.

    ``tape_file`` counts from 0 (the label), ``offset`` is in bytes from the start of the tape file, ``member`` is the
    name of a tar member in text form, or the source of a data set; each is None if it does not apply.
    """

    kind: ClassVar[str] = "Finding"
    says: ClassVar[str] = "something is wrong"

    volume: VolumeTag
    tape_file: int | None = None
    _: KW_ONLY
    offset: int | None = None
    member: str | None = None
    expected: str | None = None
    found: str | None = None

    def sentence(self) -> str:
        """Return the finding in one line, without the name of the volume."""
        where = [f"tape file {self.tape_file}"] if self.tape_file is not None else []
        where += [f"offset {self.offset}"] if self.offset is not None else []
        where += [f"member {self.member}"] if self.member is not None else []
        what = f" (expected {self.expected}, found {self.found})" if self.expected or self.found else ""
        return f"{self.says}{': ' if where else ''}{', '.join(where)}{what}"


class DigestMismatch(Finding):
    """The bytes of a member, or the headers and padding of a tape file, are not those that were written."""

    kind = "DigestMismatch"
    says = "the bytes are not those that were written"


class HeaderDamaged(Finding):
    """A tar header cannot be read, or is not the one that was written."""

    kind = "HeaderDamaged"
    says = "a tar header is damaged"


class FileMissing(Finding):
    """A member of the catalog is not in its archive."""

    kind = "FileMissing"
    says = "a file is missing"


class UnexpectedFile(Finding):
    """An archive holds a member that the catalog does not know."""

    kind = "UnexpectedFile"
    says = "there is a file that was never written"


class WrongVolume(Finding):
    """The label on the tape is of another volume, or there is none."""

    kind = "WrongVolume"
    says = "this is not the volume that it should be"


class TruncatedVolume(Finding):
    """The end of data, or a filemark, came before the end of what was written."""

    kind = "TruncatedVolume"
    says = "the recording ends too early"


class UnexpectedData(Finding):
    """There is more on the volume than was written."""

    kind = "UnexpectedData"
    says = "there is more on the volume than was written"


class BlockSizeMismatch(Finding):
    """A block has another length than the volume's block size."""

    kind = "BlockSizeMismatch"
    says = "a block has the wrong length"


class ReadFailed(Finding):
    """The drive could not read on; nothing after this place was read."""

    kind = "ReadFailed"
    says = "the drive could not read on"


class CatalogInvalid(Finding):
    """The catalog on the tape contradicts itself, or the dump."""

    kind = "CatalogInvalid"
    says = "the catalog on the tape cannot be trusted"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of reading one volume back whole: a value, not an exception.

    ``files`` counts the members that were read and found equal, ``bytes`` all bytes that were read from tape;
    ``seconds`` is the time it took.
    """

    volume: VolumeTag
    drive: int
    drive_serial: str
    files: int
    bytes: int
    seconds: float
    started: datetime
    ended: datetime
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every byte was read and found equal."""
        return not self.findings


@dataclass(frozen=True, kw_only=True)
class Written:
    """How one copy was written: ``bytes`` to the tape, in them ``files`` members that are regular files.

    ``flushed`` is the time at which the drive reported that all of it is on tape, None if it never did. ``touched``:
    something was written to the volume. ``error`` says why the copy is not complete.
    """

    volume: VolumeTag
    drive: int
    drive_serial: str
    bytes: int
    files: int
    started: datetime
    flushed: datetime | None
    touched: bool
    # Exceptions compare by identity, and two results with the same error are equal.
    error: PapertapeError | None = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the copy is complete and flushed."""
        return self.error is None and self.flushed is not None
