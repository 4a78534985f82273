"""Reading volumes back whole, all at once: one thread for each drive, once through, every byte compared.

Memory is bounded: members come from the catalog one by one, in the order of the tape, and of a volume only one block is
held.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, Protocol

from papertape.clock import utc_now
from papertape.errors import FormatError, Interrupted, PapertapeError
from papertape.events import Finished, Found, Moved, Phase, Tell
from papertape.evidence import (
    BlockSizeMismatch,
    DigestMismatch,
    FileMissing,
    Finding,
    HeaderDamaged,
    ReadFailed,
    TruncatedVolume,
    UnexpectedData,
    UnexpectedFile,
    Verification,
    WrongVolume,
)
from papertape.ids import VolumeTag
from papertape.tape.drive import Drive, Mark
from papertape.transfer.stop import Stop
from papertape.volume.label import VOLUME, parse_label
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.volume.members import Expected, Member, TapeFile, VolumeRecord
from papertape.volume.names import quote
from papertape.volume.tapefile import MemberBegin, MemberData, MemberKnown, ScanError, Scanner

MOST_FINDINGS = 1000
"""Findings after which the reading of a volume ends: more of them would say nothing new."""


def verify_volumes(
    expected: Expected, volumes: Sequence[VolumeTag], drives: Sequence[Drive], tell: Tell, stop: Stop
) -> tuple[Verification, ...]:
    """Read the ``volumes`` (tags) in ``drives`` back, all at once; return the result of each, in this order.

    The drives must be rewound, and are rewound at the end. Raises Interrupted when asked to stop at once; a drive that
    fails is a finding, not an exception.
    """
    records = [record for tag in volumes for record in expected.volumes if record.tag == tag]
    readings = [Reading(expected, record, drive, tell, stop) for record, drive in zip(records, drives, strict=True)]
    return verify_readings(readings, tell, stop)


def verify_readings(readings: Sequence[VolumeReading], tell: Tell, stop: Stop) -> tuple[Verification, ...]:
    """Run several readings at once, of one dump or of different ones, and return their results in order.

    Raises Interrupted when asked to stop at once.
    """
    if readings:
        total = max(reading.total for reading in readings)
        tell(Phase(name="verifying", volumes=tuple(reading.tag for reading in readings), total=total))
    with ThreadPoolExecutor(max(len(readings), 1), thread_name_prefix="verify") as threads:
        futures = [threads.submit(reading.run) for reading in readings]
        results = tuple(future.result() for future in futures)
    stop.check()  # a reading that was stopped has raised; one that had just ended must not count alone
    return results


class _Over(Exception):
    """Ends a reading early: the rest of the volume is not read."""


class Tap(Protocol):
    """Gets all that a reading reads from tape file 1 on; its exceptions end the reading, and go through."""

    def block(self, block: memoryview) -> None:
        """Take the next block, which is valid until this returns."""

    def filemark(self, tape_file: int) -> None:
        """End the tape file with this number."""


class Untapped(Exception):
    """Raised by a tap that takes no more."""


class VolumeReading(ABC):
    """One volume, read back once; ``total`` is the number of bytes on it, 0 if that is not known.

    ``run`` is called in a thread of its own, and calls everything else.
    """

    def __init__(self, tag: VolumeTag, total: int, drive: Drive, tell: Tell, stop: Stop) -> None:
        self.tag = tag
        self.total = total
        self._drive = drive
        self._tell = tell
        self._stop = stop
        self._findings: list[Finding] = []
        self._bytes = 0
        self._files = 0
        self._tape_file = 0

    def run(self) -> Verification:
        """Read the volume from BOT to the end of data, and rewind it. Raises Interrupted, and what a tap raises."""
        started, began = utc_now(), time.monotonic()
        try:
            self.read_all()
            self._drive.rewind()
        except _Over:
            pass
        except Interrupted:
            raise
        except PapertapeError as error:
            self._note(ReadFailed(self.tag, self._tape_file, found=str(error)))
        finally:
            self._tell(Finished(volume=self.tag, drive=self._drive.number))
        return Verification(
            volume=self.tag,
            drive=self._drive.number,
            drive_serial=self._drive.serial,
            files=self._files,
            bytes=self._bytes,
            seconds=time.monotonic() - began,
            started=started,
            ended=utc_now(),
            findings=tuple(self._findings),
        )

    @abstractmethod
    def read_all(self) -> None:
        """Read from BOT to the end of data, and note what is wrong."""

    def _read(self, buffer: memoryview) -> int | Mark:
        """Read the next block into ``buffer``, unless the reading is to stop."""
        self._stop.check()
        return self._drive.read_block(buffer)

    def _count(self, size: int) -> None:
        """Count ``size`` bytes that were read."""
        self._bytes += size
        self._tell(Moved(volume=self.tag, drive=self._drive.number, count=size))

    def find(self, finding: Finding) -> None:
        """Add a finding; end the reading after ``MOST_FINDINGS``."""
        self._note(finding)
        if len(self._findings) >= MOST_FINDINGS:
            self.give_up()

    def give_up(self) -> NoReturn:
        """End the reading: the rest of the volume is not read."""
        raise _Over

    def _note(self, finding: Finding) -> None:
        self._findings.append(finding)
        self._tell(Found(volume=self.tag, sentence=finding.sentence()))


class Reading(VolumeReading):
    """A volume of papertape's, compared with what was written: ``expected``, and the label in ``record``."""

    def __init__(
        self,
        expected: Expected,
        record: VolumeRecord,
        drive: Drive,
        tell: Tell,
        stop: Stop,
        *,
        tap: Tap | None = None,
    ) -> None:
        total = record.label.size + sum(tape_file.size for tape_file in expected.tape_files)
        super().__init__(record.tag, total, drive, tell, stop)
        self.record = record
        self._expected = expected
        self._tap = tap
        self._buffer = memoryview(bytearray(MAXIMUM_BLOCK))

    def read_all(self) -> None:
        """See ``VolumeReading.read_all``."""
        TapeFileReading(self, self.record.label, iter(self.record.label_members)).run()
        members = _Cursor(self._expected.members())
        for tape_file in self._expected.tape_files:
            self._tape_file = tape_file.number
            TapeFileReading(self, tape_file, members.of(tape_file.number)).run()
        if self._read(self._buffer) is not Mark.END_OF_DATA:
            self._note(UnexpectedData(self.tag, self._tape_file + 1))

    def read_block(self) -> memoryview | Mark:
        """Return the next block, valid until the next call, or the mark met."""
        size = self._read(self._buffer)
        tap = self._tap if self._tape_file else None  # the label is this volume's alone
        if isinstance(size, Mark):
            if tap and size is Mark.FILEMARK:
                tap.filemark(self._tape_file)
            return size
        self._count(size)
        if tap and size == self.block_size:
            tap.block(self._buffer[:size])
        return self._buffer[:size]

    @property
    def block_size(self) -> int:
        """The length that every block of the volume must have, in bytes."""
        return self._expected.block_size

    def count_file(self, member: Member) -> None:
        """Count a file that was read and found equal, unless it is papertape's own or of a rejected data set."""
        if member.dataset >= 0 and member.dataset not in self._expected.rejected:
            self._files += 1


class _Cursor:
    """Cuts the sequence of all members into those of each tape file, and never holds more than one."""

    def __init__(self, members: Iterator[Member]) -> None:
        self._members = members
        self._next = next(members, None)

    def of(self, tape_file: int) -> Iterator[Member]:
        while self._next is not None and self._next.tape_file == tape_file:
            member = self._next
            self._next = next(self._members, None)
            yield member


class TapeFileReading:
    """One tape file of a volume, compared with its entry in the catalog.

    Two things advance side by side: the scanner through the bytes, and ``_next`` through the members expected. After
    damage the scanner goes on at the offset of the next member, so that one bad header does not cost the others.
    """

    def __init__(self, reading: Reading, tape_file: TapeFile, members: Iterator[Member]) -> None:
        self._reading = reading
        self._tape_file = tape_file
        self._members = members
        self._next = next(members, None)
        self._current: Member | None = None
        self._scanner = Scanner()
        self._scanner.known = self._next
        self._hash = hashlib.sha256()
        self._size = 0
        self._explained = False  # whether a finding already says why the structure digest will differ
        self._label = bytearray()

    def run(self) -> None:
        """Read up to the filemark that ends the tape file, and check that nothing is missing."""
        right = self._reading.block_size
        while not isinstance(block := self._reading.read_block(), Mark):
            if len(block) != right:
                self._find(BlockSizeMismatch, offset=self._size, expected=f"{right} bytes", found=f"{len(block)} bytes")
                raise _Over
            self._size += len(block)
            self._scan(block)
        expected, found = self._tape_file.size, self._size
        if block is Mark.END_OF_DATA or found != expected:
            where = self._current or self._next
            kind = UnexpectedData if found > expected else TruncatedVolume
            self._find(kind, where, offset=found, expected=f"{expected} bytes", found=f"{found} bytes")
            raise _Over
        if self._tape_file.number == 0:
            self._check_label()
        self._miss_before(expected)
        if not self._explained and self._scanner.structure() != self._tape_file.structure:
            self._find(DigestMismatch, expected=self._tape_file.structure, found=self._scanner.structure())

    def _find(
        self,
        kind: type[Finding],
        member: Member | None = None,
        *,
        offset: int | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        self._reading.find(
            kind(
                self._reading.record.tag,
                self._tape_file.number,
                offset=member.offset if member and offset is None else offset,
                member=quote(member.name) if member else None,
                expected=expected,
                found=found,
            )
        )

    def _scan(self, block: memoryview) -> None:
        events = self._scanner.feed(block)
        self._take_small()
        while True:
            try:
                for event in events:
                    if isinstance(event, MemberData):
                        self._hash.update(event.data)
                        if self._current and self._tape_file.number == 0 and self._current.name == VOLUME:
                            self._label += event.data
                        if event.last:
                            member, self._current = self._current, None
                            if member is not None:
                                self._compare(member, self._hash.hexdigest())
                            self._take_small()
                    elif isinstance(event, MemberKnown):
                        self._expect(event.member)
                    else:
                        self._begin(event)
            except ScanError as error:
                self._resume(error)
                events = self._scanner.feed_again()
            else:
                return

    def _begin(self, event: MemberBegin) -> None:
        """Match a member that begins on the tape with the next one of the catalog."""
        header, offset = event.header, event.offset
        self._miss_before(offset)
        expected = self._next
        self._current = None
        if expected is None or expected.offset != offset:
            self._explained = True
            self._find(UnexpectedFile, offset=offset, found=quote(header.name))
            return
        self._expect(expected)
        if event.checksum != expected.header:
            self._explained = True
            self._find(HeaderDamaged, expected, expected=expected.header, found=event.checksum)
            # A header with a wrong size would lead astray; with the right one the data can be checked all the same.
            if (header.size, header.attributes.kind) != (expected.size, expected.kind):
                self._current = None
                self._skip_to_next()

    def _expect(self, member: Member) -> None:
        """Make ``member``, which begins, the current one, and the one after it in the catalog the next."""
        self._current = member
        self._hash = hashlib.sha256()
        self._advance()

    def _advance(self) -> None:
        self._next = self._scanner.known = next(self._members, None)

    def _take_small(self) -> None:
        """Take the files that lie wholly in this block, as long as they are the next ones of the catalog."""
        # Without events: of a million small files each would cost three of them.
        while self._tape_file.number and self._next and (data := self._scanner.take_whole(self._next)) is not None:
            member = self._next
            self._advance()
            self._compare(member, hashlib.sha256(data).hexdigest())

    def _compare(self, member: Member, found: str) -> None:
        if found == member.sha256:
            self._reading.count_file(member)
        else:
            self._find(DigestMismatch, member, expected=member.sha256, found=found)

    def _resume(self, error: ScanError) -> None:
        """Name the member whose header cannot be read, and go on at the next one."""
        self._explained = True
        self._current = None
        self._miss_before(error.offset)
        if self._next is not None and self._next.offset == error.offset:
            self._find(HeaderDamaged, self._next, found=error.reason)
            self._advance()
        else:
            self._find(HeaderDamaged, offset=error.offset, found=error.reason)
        self._skip_to_next()

    def _skip_to_next(self) -> None:
        self._scanner.resume(self._next.offset if self._next else self._tape_file.size)

    def _miss_before(self, offset: int) -> None:
        """Report the members whose headers should be before ``offset``."""
        while self._next is not None and self._next.offset < offset:
            self._explained = True
            self._find(FileMissing, self._next)
            self._advance()

    def _check_label(self) -> None:
        """End the reading at the label of another volume: nothing after it could be right."""
        record = self._reading.record
        right = f"{record.tag} {record.uuid}"
        try:
            label = parse_label(bytes(self._label), record.tag)
        except FormatError as error:
            self._find(WrongVolume, expected=right, found=error.reason)
            raise _Over from error
        if f"{label.volume_tag} {label.volume_uuid}" != right:
            self._find(WrongVolume, expected=right, found=f"{label.volume_tag} {label.volume_uuid}")
            raise _Over
