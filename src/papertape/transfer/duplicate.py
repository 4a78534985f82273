"""A copy made again, drive to drive: block for block from tape file 1 on, every byte held against what was written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from papertape.errors import BlockRefused, CopyFailed
from papertape.events import Phase, Tell
from papertape.evidence import Verification, Written
from papertape.tape.drive import Drive
from papertape.transfer.pump import Pump, Target
from papertape.transfer.stop import Stop
from papertape.transfer.verify import Reading, Untapped
from papertape.transfer.write import make_record
from papertape.volume.label import Identity, compose_label
from papertape.volume.layout import FLUSH_EVERY
from papertape.volume.members import Expected, TapeFile, VolumeRecord


class Duplicate(NamedTuple):
    """What copying came to: ``source`` is None where the new volume could not be written to its end."""

    source: Verification | None
    record: VolumeRecord
    written: Written


class _Relay:
    """Hands what is read to the pump, and flushes as often as the format wants it (R8)."""

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


def duplicate_volume(
    expected: Expected,
    source: VolumeRecord,
    identity: Identity,
    drives: tuple[Drive, Drive],
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Duplicate:
    """Copy the volume ``source`` in the first of ``drives`` to the one in the second, under a label of its own.

    Both are rewound, and the second may be written from BOT. ``ring`` bounds the memory for blocks, in bytes. Raises
    Interrupted when asked to stop at once.
    """
    twins = [Identity(item.tag, item.uuid, item.copy) for item in expected.volumes if item.copy != identity.copy]
    label = compose_label(identity, twins, expected.block_size, created)
    pump = Pump([Target(identity.tag, drives[1], label.content)], expected.block_size, ring, tell, stop)
    reading = Reading(expected, source, drives[0], tell, stop, _Relay(pump, expected.tape_files))
    tell(Phase(name="copying", volumes=(source.tag, identity.tag), total=reading.total))
    verification = None
    with contextlib.suppress(Untapped), pump:
        verification = reading.run()
    record = make_record(identity, drives[1], label)
    (writer,) = pump.writers
    return Duplicate(verification, record, writer.written(verification.files if verification else None))
