"""Papertape's own tape files (label, plan, catalog) unpacked into a folder: bounded sizes, fixed names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from papertape.errors import FormatError, HostError
from papertape.ids import VolumeTag
from papertape.volume.catalog import CATALOG_JSON, DATASETS, FILES, SUMS
from papertape.volume.header import FILE, HeaderError
from papertape.volume.label import README, VOLUME
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.members import Member, TapeFile, own_member
from papertape.volume.names import quote
from papertape.volume.plan import PLAN_CSV, PLAN_JSON
from papertape.volume.tapefile import MemberBegin, MemberData, Scanner

LONGEST_DOCUMENT = 64 * 1024**2
"""Bytes of a JSON document that a reader accepts: enough for 250,000 archives. It is held in memory."""
LONGEST_LIST = 64 * 1024**3
"""Bytes of a CSV list that a reader accepts: enough for 200 million files. It is held on disk only."""
LONGEST_SUMS = 4096

LABEL_MEMBERS = {README.decode(): MAXIMUM_BLOCK, VOLUME.decode(): MAXIMUM_BLOCK}
PLAN_MEMBERS = {PLAN_JSON: LONGEST_DOCUMENT, PLAN_CSV: LONGEST_LIST}
CATALOG_MEMBERS = {
    CATALOG_JSON: LONGEST_DOCUMENT,
    DATASETS: LONGEST_LIST,
    FILES: LONGEST_LIST,
    SUMS: LONGEST_SUMS,
}
"""The members of each kind of tape file in their order, and the most bytes of each."""


def first_name(block: memoryview) -> bytes | None:
    """Return the name of the first member of a tape file whose first block is ``block``; None if it has no header."""
    try:
        for event in Scanner().feed(block):
            return event.header.name if isinstance(event, MemberBegin) else None
    except HeaderError:
        pass
    return None


class Unpacker:
    """Unpacks one tape file into files of ``folder``, or only checks it if that is None. Close it afterwards.

    ``members`` maps the names of all members, in order, to the most bytes of each; the files have the same names. Each
    header is checked before anything is stored. ``size`` counts the bytes so far.
    """

    def __init__(self, tag: VolumeTag, kind: str, members: Mapping[str, int], folder: Path | None) -> None:
        self.size = 0
        self._tag = tag
        self._kind = kind
        self._limits = list(members.items())
        self._folder = folder
        self._scanner = Scanner()
        self._members: list[Member] = []
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._open = False

    def feed(self, block: memoryview) -> None:
        """Unpack the next block. Raises FormatError, and HostError if the disk of ``folder`` refuses."""
        if self._scanner.ended:
            raise FormatError(self._tag, f"its {self._kind} goes on after its end")
        self.size += len(block)
        try:
            for event in self._scanner.feed(block):
                if isinstance(event, MemberBegin):
                    self._begin(event)
                elif isinstance(event, MemberData):
                    self._hash.update(event.data)
                    if self._file is not None:
                        self._file.write(event.data)
                    if event.last:
                        self.close()
                        self._open = False
                        self._members[-1] = self._members[-1]._replace(sha256=self._hash.hexdigest())
        except HeaderError as error:
            raise FormatError(self._tag, f"its {self._kind} is damaged: {error}") from error
        except OSError as error:
            remedy = f"cannot keep the {self._kind} of {self._tag} ({error.strerror}): make room for it"
            raise HostError(str(self._folder), remedy) from error

    def close(self) -> None:
        """Close the current file; all files stay in the folder."""
        if self._file is not None:
            self._file.close()

    @property
    def complete(self) -> bool:
        """Whether all members, and the end of the archive, were read."""
        return self._scanner.ended and not self._open and len(self._members) == len(self._limits)

    def listed(self, number: int) -> tuple[TapeFile, tuple[Member, ...]]:
        """Return the tape file and its members for the ledger; ``number`` is that of the tape file."""
        tape_file = TapeFile(number, self._kind, self.size, self._scanner.structure())
        return tape_file, tuple(member._replace(tape_file=number) for member in self._members)

    def _begin(self, event: MemberBegin) -> None:
        """Check a header, and open the file of its member: the tape decides neither the name nor the size."""
        header, number = event.header, len(self._members)
        name, most = self._limits[number] if number < len(self._limits) else ("", 0)
        if header.name != name.encode() or header.attributes.kind != FILE:
            expected = name or "the end"
            raise FormatError(self._tag, f"its {self._kind} has {quote(header.name)[:100]} in place of {expected}")
        if header.size > most:
            raise FormatError(self._tag, f"its {name} would have {header.size} bytes, and {most} are the most")
        # The digest and the tape file's number follow when they are known.
        self._members.append(
            own_member(header.name, size=header.size, sha256="", offset=event.offset, header=event.checksum)
        )
        self._hash = hashlib.sha256()
        self._open = True
        if self._folder is not None:
            self._file = (self._folder / name).open("wb")
