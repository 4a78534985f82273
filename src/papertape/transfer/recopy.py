"""One copy of a dump made again: from its twin, drive to drive, or from disk.

Both ways must give the bytes that the twins have from tape file 1 on, and every byte is compared; only tape file 0, the
label, is a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from papertape.errors import BlockRefused, CopyFailed, NotReproduced, SourceError
from papertape.events import Phase, Tell
from papertape.evidence import Verification, Written
from papertape.plan import Batch, DataSet
from papertape.tape.drive import Drive
from papertape.transfer.pump import Pump, Target
from papertape.transfer.recording import describe_plan
from papertape.transfer.source import member_name, walk
from papertape.transfer.stop import Stop
from papertape.transfer.verify import Reading, Untapped
from papertape.transfer.write import make_record, write_targets
from papertape.volume.catalog import Catalog, encode_catalog
from papertape.volume.header import build_header
from papertape.volume.label import Identity, compose_label
from papertape.volume.layout import FLUSH_EVERY
from papertape.volume.members import Expected, Member, TapeFile, VolumeRecord
from papertape.volume.names import quote
from papertape.volume.tapefile import checksum_header


class Recopied(NamedTuple):
    """The result of a recopy: what was ``written`` under the label in ``record``.

    ``source`` is what the reading of the twin found; None if there was no twin to read, or if the new volume failed.
    """

    source: Verification | None
    record: VolumeRecord
    written: Written


class _Relay:
    """The tap of the reading: hands each block to the pump, and flushes as often as the format demands (R8).

    The blocks are copied, since the reading uses its one buffer again for the next block.
    """

    def __init__(self, pump: Pump, tape_files: Sequence[TapeFile]) -> None:
        self._pump = pump
        self._sizes = {item.number: item.size for item in tape_files}
        self._unflushed = 0

    def block(self, block: memoryview) -> None:
        """See ``Tap.block``."""
        try:
            free = self._pump.take()
        except (CopyFailed, BlockRefused) as error:
            raise Untapped from error
        free.view[:] = block
        self._pump.publish(free, [])

    def filemark(self, tape_file: int) -> None:
        """See ``Tap.filemark``."""
        self._unflushed += self._sizes.get(tape_file, 0)
        flush = tape_file + 1 not in self._sizes or self._unflushed + self._sizes[tape_file + 1] > FLUSH_EVERY
        self._pump.mark(flush=flush)
        if flush:
            self._unflushed = 0


def recopy_from_twin(
    expected: Expected,
    drives: tuple[Drive, Drive],
    *,
    source: VolumeRecord,
    identity: Identity,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Recopied:
    """Copy the volume ``source`` in the first of ``drives`` to the volume ``identity`` in the second.

    Both are rewound, and the second may be written from BOT. ``created`` is the time of the new label. ``ring`` bounds
    the memory for blocks, in bytes. Raises Interrupted when asked to stop at once.
    """
    twins = [Identity(item.tag, item.uuid, item.copy) for item in expected.volumes if item.copy != identity.copy]
    label = compose_label(identity, twins, expected.block_size, created)
    pump = Pump([Target(identity.tag, drives[1], label.content)], expected.block_size, ring, tell, stop)
    tap = _Relay(pump, expected.tape_files)
    reading = Reading(expected, source, drives[0], tell, stop, tap=tap)
    tell(Phase(name="copying", volumes=(source.tag, identity.tag), total=reading.total))
    verification = None
    # The reading runs in this thread, which is the pump's reader side; leaving the block waits for the writer.
    with contextlib.suppress(Untapped), pump:
        verification = reading.run()
    (writer,) = pump.writers
    written = writer.written(verification.files if verification else None)
    return Recopied(verification, make_record(identity, drives[1], label), written)


def check_reproducible(
    batch: Batch, expected: Expected, *, created: datetime, datasets: int, files: int, size: int
) -> None:
    """Raise NotReproduced unless plan and catalog would be the same as on tape, byte for byte.

    ``created`` is when the dump began, ``datasets``, ``files`` and ``size`` (bytes) are those that are whole. Plan and
    catalog differ after an update of papertape, for a dump that did not write all that it had planned, and if a copy
    was made again before.
    """
    catalog = Catalog(
        dump=expected.dump,
        created=created,
        block_size=expected.block_size,
        volumes=expected.volumes,
        tape_files=expected.tape_files[:-1],
        own_members=(),
        datasets=datasets,
        files=files,
        size=size,
        folder=Path(),
    )
    would_be = {b"plan.json": describe_plan(batch, created), b"catalog.json": encode_catalog(catalog, 0)}
    for member in expected.members():
        content = would_be.pop(member.name, None) if member.dataset < 0 else None
        if content is not None and hashlib.sha256(content).hexdigest() != member.sha256:
            raise NotReproduced(expected.dump, f"its {quote(member.name)} would differ")


def check_sources(batch: Batch, members_of: Callable[[DataSet], Iterator[Member]]) -> None:
    """Raise SourceError unless every data set of ``batch`` would be written with the headers of its ``members_of``.

    Compares names, kinds, sizes, times, modes and owners, and reads no data: so it takes minutes, not hours.
    """
    for archive in batch.archives:
        for dataset in archive:
            for entry, member in zip_longest(walk(dataset.source.path), members_of(dataset)):
                name = member_name(dataset.source, entry.relative) if entry else b""
                header = build_header(name, entry.size, entry.attributes) if entry else b""
                if member is None or (name, checksum_header(header)) != (member.name, member.header):
                    path = entry.path if entry else member.name if member else b""
                    raise SourceError(quote(path), "is not any more as it was written to tape")


def recopy_from_disk(
    batch: Batch,
    expected: Expected,
    drive: Drive,
    *,
    identity: Identity,
    spool: Path,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Recopied:
    """Write the dump of ``batch`` once more, from disk, to the volume ``identity`` in ``drive``.

    ``expected`` is what lies on the twins, ``created`` when the dump began. Raises SourceError or NotReproduced if one
    byte differs, after the volume was written; apart from that like ``write_volumes``.
    """
    others = [Identity(item.tag, item.uuid, item.copy) for item in expected.volumes if item.copy != identity.copy]
    label = compose_label(identity, others, batch.block_size, created)
    # The catalog names the volumes of the dump as it was, without the new one: it must be the twins' catalog.
    writing = write_targets(
        batch,
        [Target(identity.tag, drive, label.content)],
        volumes=expected.volumes,
        spool=spool,
        ring=ring,
        created=created,
        tell=tell,
        stop=stop,
    )
    (written,) = writing.copies
    if not written.error:
        if writing.rejected:
            raise SourceError(*writing.rejected[0])
        if writing.catalog is None:
            raise NotReproduced(expected.dump, "it was not written to its end")
        for new, old in zip_longest(writing.catalog.members(), expected.members()):
            if new != old:
                name = quote(new.name if new else old.name)
                raise SourceError(name, "is not what lies on the twin: it was changed, or another papertape wrote it")
        if writing.catalog.tape_files != expected.tape_files:
            raise NotReproduced(expected.dump, "its headers would differ")
    return Recopied(None, make_record(identity, drive, label), written)
