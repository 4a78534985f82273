"""Finding out what lies on volumes, from their labels and catalogs alone: a few blocks at both ends, never all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from papertape.errors import ChangerError, DriveError, FormatError, HostError, PapertapeError
from papertape.ids import VolumeTag
from papertape.tape.drive import Drive, Mark
from papertape.tape.library import Session
from papertape.transfer.stop import Stop
from papertape.transfer.unpack import CATALOG_MEMBERS, LABEL_MEMBERS, PLAN_MEMBERS, Unpacker, first_name
from papertape.volume.catalog import CATALOG_JSON, Catalog
from papertape.volume.catalogcheck import load_catalog
from papertape.volume.label import README, Label, read_label
from papertape.volume.layout import CATALOG, LABEL, MAXIMUM_BLOCK, PLAN
from papertape.volume.members import VolumeRecord
from papertape.volume.plan import PLAN_CSV, PLAN_JSON, PlanDocument, parse_plan, read_planned
from papertape.volume.predecessor.catalog import (
    CATALOG_BLOCK,
    LONGEST_CATALOG,
    is_predecessor,
    parse_predecessor_catalog,
)
from papertape.volume.recorded import (
    Blank,
    Foreign,
    PredecessorVolume,
    Recorded,
    Torn,
    Whole,
    is_remade,
    program_version,
)
from papertape.words import count

_SUMS_END = re.compile(rb"\\?[0-9a-f]{64}  [^\n]+\n\Z")
_LONGEST_LINE = 4 * 5000
"""More bytes than the last line of SHA256SUMS can have: the longest path, each byte escaped."""


class Inspected(NamedTuple):
    """The result of inspecting one volume; ``bytes`` were read from it.

    ``recorded`` is None if it is not known what lies on the volume, and ``error`` says why. If both are set, that is
    known, and the cartridge could not be put back.
    """

    volume: VolumeTag
    bytes: int
    recorded: Recorded | None
    error: PapertapeError | None


def inspect_volumes(session: Session, tags: Sequence[VolumeTag], spool: Path, stop: Stop) -> Iterator[Inspected]:
    """Inspect the volumes, one thread for each drive of the session, and yield each result as it comes.

    The files of a result lie in a folder of ``spool`` until the next result is requested. No further volume is started
    when asked to stop, or after a failure of the robot; an error with one volume does not end the others. Raises
    Interrupted when asked to stop at once, HostError if ``spool`` cannot be written.
    """
    for drive in session.drives:
        session.unload(drive)  # so that no thread has to take a volume out of the drive of another
    try:
        spool.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix="inspect-", dir=spool, ignore_cleanup_errors=True)
    except OSError as error:
        raise HostError(str(spool), f"cannot keep catalogs there ({error.strerror}): make room for them") from error
    waiting = deque(tags)
    running: dict[Future[Inspected], tuple[int, Path]] = {}

    def begin(drive: int) -> None:
        if waiting and not stop.soon:
            tag = waiting.popleft()
            own = Path(name, tag)
            running[threads.submit(_inspect, session, tag, drive=drive, folder=own, stop=stop)] = (drive, own)

    with temporary as name, ThreadPoolExecutor(len(session.drives), thread_name_prefix="inspect") as threads:
        for drive in session.drives:
            begin(drive)
        while running:
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.result().error, ChangerError) for future in done):
                waiting.clear()
            for future in done:
                drive, own = running.pop(future)
                inspected = future.result()
                begin(drive)  # before the yield: the drive works while the caller does
                yield inspected
                shutil.rmtree(own, ignore_errors=True)


def _inspect(session: Session, tag: VolumeTag, *, drive: int, folder: Path, stop: Stop) -> Inspected:
    """Run in a drive's thread; an error is a part of the result, apart from Interrupted."""
    inspection: Inspection | None = None
    recorded: Recorded | None = None
    error: PapertapeError | None = None
    try:
        with session.mounted([tag], [drive]) as (mounted,):
            inspection = Inspection(tag, mounted, folder, stop)
            recorded = inspection.run()
    except PapertapeError as failure:
        stop.check()
        error = failure
    return Inspected(tag, inspection.bytes if inspection else 0, recorded, error)


class Inspection:
    """The inspection of the rewound volume in ``drive``; ``folder`` is made for its files. ``bytes`` counts bytes read.

    The first block says whose volume it is. The last tape file is the catalog; if it is not, the dump was cut off, and
    the plan in tape file 1 is the next best.
    """

    def __init__(self, tag: VolumeTag, drive: Drive, folder: Path, stop: Stop) -> None:
        self.bytes = 0
        self._tag = tag
        self._drive = drive
        self._folder = folder
        self._stop = stop
        self._buffer = memoryview(bytearray(MAXIMUM_BLOCK))

    def run(self) -> Recorded:
        """Return what lies on the volume.

        Raises FormatError for a volume of papertape or of the predecessor that contradicts itself or has a newer
        version; DriveError, HostError, and Interrupted when asked to stop at once.
        """
        try:
            first = self._read()
        except DriveError:
            # On a blank tape a drive may report an error instead of the end of data: the position shows which it is.
            self._drive.space(Mark.END_OF_DATA)
            if self._drive.position():
                raise
            return Blank()
        if isinstance(first, Mark):
            return Foreign("a filemark") if first is Mark.FILEMARK else Blank()
        if is_predecessor(first):
            return self._read_predecessor(first)
        if first_name(first) == README:
            return self._read_own(first)
        if bytes(first[257:262]) == b"ustar":  # the magic of a POSIX tar header (POSIX.1-2017, pax)
            return Foreign("a tar archive of someone else's")
        return Foreign(f"{count(len(first), 'byte')} of someone else's data")

    def _read(self) -> memoryview | Mark:
        """Return the next block, valid until the next call, or the mark met."""
        self._stop.check()
        size = self._drive.read_block(self._buffer)
        if isinstance(size, Mark):
            return size
        self.bytes += size
        return self._buffer[:size]

    def _read_own(self, first: memoryview) -> Recorded:
        label, record = self._read_label(first)
        try:
            self._folder.mkdir()
        except OSError as error:
            raise HostError(str(self._folder), f"cannot be made ({error.strerror}): make room for it") from error
        end = _End(self._drive)
        block = self._read() if end.go_to_last() else Mark.END_OF_DATA
        if isinstance(block, Mark) or first_name(block) != CATALOG_JSON.encode():
            return self._read_torn(label, record, end)
        unpacker = Unpacker(self._tag, CATALOG, CATALOG_MEMBERS, self._folder)
        if not self._unpack(unpacker, block, label.block_size):
            return self._read_torn(label, record, end)
        document = load_catalog(self._folder, self._tag)
        number = len(document.tape_files) + 1
        if end.tape_files not in {None, number + 1}:
            reason = f"it has {end.tape_files} tape files, and its catalog knows {number + 1}"
            raise FormatError(self._tag, reason)
        remade = is_remade(label, record, document)
        tape_file, own = unpacker.listed(number)
        catalog = Catalog.of_document(document, tape_file, own, self._folder)
        # A copy made again is not in the catalog: then nobody knows which drive wrote it.
        serials = {volume.uuid: volume.drive_serial for volume in catalog.volumes}
        record = replace(record, drive_serial=serials.get(record.uuid, ""))
        return Whole(label, record, catalog, program_version(document.written_by), remade)

    def _read_label(self, first: memoryview) -> tuple[Label, VolumeRecord]:
        """Return the label, checked against the tag in the drive (R9), and its record for the ledger."""
        label = read_label(bytes(first), self._tag)
        if label.volume_tag != self._tag:
            reason = f"its label is that of volume {label.volume_tag[:64]}: the wrong cartridge has this barcode"
            raise FormatError(self._tag, reason)
        unpacker = Unpacker(self._tag, LABEL, LABEL_MEMBERS, None)
        whole = len(first) == label.block_size
        if whole:
            try:
                whole = self._unpack(unpacker, first, len(first))
            except DriveError:
                # A dump may have been cut off right after the label, before there was a filemark.
                self._drive.space(Mark.END_OF_DATA)
                if self._drive.position() != 1:
                    raise
                whole = unpacker.complete
        if not whole:
            raise FormatError(self._tag, "its label is not one whole block")
        tape_file, members = unpacker.listed(0)
        return label, VolumeRecord(
            tag=self._tag,
            uuid=label.volume_uuid,
            copy=label.copy,
            drive_serial="",
            label=tape_file,
            label_members=members,
        )

    def _unpack(self, unpacker: Unpacker, block: memoryview | Mark, block_size: int) -> bool:
        """Unpack the tape file whose first block is ``block``, up to its filemark; return whether it is whole."""
        with closing(unpacker):
            while not isinstance(block, Mark):
                if len(block) != block_size:
                    reason = f"a block has {len(block)} bytes, and its label says {block_size}"
                    raise FormatError(self._tag, reason)
                unpacker.feed(block)
                block = self._read()
        return block is Mark.FILEMARK and unpacker.complete

    def _read_torn(self, label: Label, record: VolumeRecord, end: _End) -> Torn:
        """Return a volume without a catalog, and the number of the last tape file that was written to its end."""
        if end.tape_files is None or end.tape_files < 3:
            last = 0
        else:
            last = end.tape_files - 2
            if end.marked:
                # A filemark follows the last tape file, and yet that may be incomplete: its last block shows. An
                # archive ends with SHA256SUMS, and the zeros of the end-of-archive records.
                self._drive.locate(end.position - 2)
                block = self._read()
                if not isinstance(block, Mark):
                    text = bytes(block).rstrip(b"\0")
                    last += len(block) - len(text) >= 1024 and bool(_SUMS_END.search(text[-_LONGEST_LINE:]))
        return Torn(label, record, self._read_plan(label), self._folder, last)

    def _read_plan(self, label: Label) -> PlanDocument | None:
        """Return the plan of the dump; None if it cannot be read."""
        unpacker = Unpacker(self._tag, PLAN, PLAN_MEMBERS, self._folder)
        try:
            self._drive.rewind()
            self._drive.space(1)
            if not self._unpack(unpacker, self._read(), label.block_size):
                return None
            plan = parse_plan((self._folder / PLAN_JSON).read_bytes(), self._tag)
            # All rows are checked now: whoever reads them later does not expect an error any more.
            for _ in read_planned(self._folder / PLAN_CSV):
                self._stop.check()
        except (FormatError, DriveError, ValueError):
            return None
        return plan

    def _read_predecessor(self, first: memoryview) -> PredecessorVolume:
        content = bytearray()
        block: memoryview | Mark = first
        while not isinstance(block, Mark):
            content += block
            if len(block) != CATALOG_BLOCK or len(content) > LONGEST_CATALOG:
                reason = f"its catalog has a block of {len(block)} bytes, or more than {LONGEST_CATALOG} bytes"
                raise FormatError(self._tag, reason)
            block = self._read()
        catalog = parse_predecessor_catalog(bytes(content), self._tag)
        end = _End(self._drive)
        return PredecessorVolume(catalog, end.tape_files, end.marked)


class _End:
    """The end of data of a volume; the drive is left before the last filemark.

    ``tape_files`` is their number, None if the drive does not count; ``marked`` says whether the last thing on the
    volume is a filemark.
    """

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        drive.space(Mark.END_OF_DATA)
        self.position = drive.position()
        marks = drive.status().file_number
        self.marked = False
        if marks != 0:
            drive.space(-1)
            self.marked = drive.position() + 1 == self.position
        self.tape_files = None if marks is None else marks + (not self.marked)
        self._marks = marks

    def go_to_last(self) -> bool:
        """Go to the begin of the last tape file; return False if that is the label, or if it has no filemark."""
        if not self.marked or (self._marks is not None and self._marks < 2):
            return False
        try:
            self._drive.space(-1)
        except DriveError:
            # BOT came before another filemark: there is only the label.
            if self._drive.position():
                raise
            return False
        self._drive.space(1)
        return True
