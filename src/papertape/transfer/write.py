"""Writing a batch to all its volumes at once, from one read of the disk."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from papertape.errors import CopyFailed, HostError
from papertape.events import Note, Phase, Tell
from papertape.evidence import Written
from papertape.plan import Batch, DataSet
from papertape.tape.drive import Drive
from papertape.transfer.pump import Pump, Target
from papertape.transfer.recording import Recording
from papertape.transfer.stop import Stop
from papertape.volume.catalog import Catalog
from papertape.volume.label import Identity, compose_label
from papertape.volume.members import VolumeRecord
from papertape.volume.tapefile import Composed


@dataclass(frozen=True)
class Writing:
    """What a writing came to; ``catalog`` is None if none was written, for want of a copy or of a whole data set."""

    catalog: Catalog | None
    copies: tuple[Written, ...]
    rejected: tuple[tuple[str, str], ...]


def write_volumes(
    batch: Batch,
    drives: Sequence[Drive],
    spool: Path,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Writing:
    """Write ``batch`` to the volumes in ``drives``, which are rewound and may be written from BOT.

    ``spool`` is a folder for the catalog while it grows, emptied first; ``ring`` bounds the memory for blocks, in
    bytes. A copy that fails is left behind, and its error is in its ``Written``. Raises Interrupted when asked to stop
    at once, HostError if the spool cannot be written, BlockRefused if a drive takes shorter blocks only.
    """
    identities = [Identity(volume.tag, volume.uuid, volume.copy) for volume in batch.volumes]
    labels = [
        compose_label(own, [twin for twin in identities if twin != own], batch.block_size, created)
        for own in identities
    ]
    targets = [
        Target(volume.tag, drive, label.content)
        for volume, drive, label in zip(batch.volumes, drives, labels, strict=True)
    ]
    volumes = tuple(make_record(*facts) for facts in zip(identities, drives, labels, strict=True))
    return write_targets(batch, targets, volumes, spool, ring, created, tell, stop)


def write_targets(
    batch: Batch,
    targets: Sequence[Target],
    volumes: tuple[VolumeRecord, ...],
    spool: Path,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Writing:
    """Write ``batch`` to ``targets``, with ``volumes`` as the twins that its catalog names; see ``write_volumes``."""
    tell(Phase(name="writing", volumes=tuple(target.volume for target in targets), total=batch.tape_bytes))
    catalog, recording = None, None
    with _spooling(spool):
        pump = Pump(targets, batch.block_size, ring, tell, stop)
        with contextlib.suppress(CopyFailed), pump:
            recording = Recording(batch, pump, spool, created, tell)
            with contextlib.closing(recording.journal):
                catalog = _record_all(recording, batch, pump, volumes, tell, stop)
        pump.check_blocks()
    journal = recording.journal if recording else None
    copies = tuple(writer.written(catalog.files if catalog else None) for writer in pump.writers)
    return Writing(catalog, copies, tuple(journal.rejected) if journal else ())


def _record_all(
    recording: Recording,
    batch: Batch,
    pump: Pump,
    volumes: tuple[VolumeRecord, ...],
    tell: Tell,
    stop: Stop,
) -> Catalog | None:
    sizes = [sum(dataset.tape_bytes for dataset in archive) for archive in batch.archives]
    recording.write_plan(sizes[0])
    for number, (archive, next_size) in enumerate(zip(batch.archives, [*sizes[1:], 0], strict=True)):
        ending = pump.find_ending()
        if ending:
            tell(Note(sentence=_tell_rest(ending, batch.archives[number:])))
        if ending or stop.soon:
            break
        recording.write_archive(archive, next_size)
        pump.check()
    return recording.write_catalog(volumes) if recording.journal.datasets else None


def _tell_rest(ending: Sequence[str], archives: Sequence[Sequence[DataSet]]) -> str:
    """Say what the early warning of these volumes leaves to the next dump."""
    count = sum(len(archive) for archive in archives)
    rest = "1 data set of it waits" if count == 1 else f"{count:,} data sets of it wait"
    return f"{' and '.join(ending)}: the end of the tape came before that of the plan; {rest} for the next dump"


def make_record(identity: Identity, drive: Drive, label: Composed) -> VolumeRecord:
    """Return what the catalog says of a twin."""
    return VolumeRecord(identity.tag, identity.uuid, identity.copy, drive.serial, label.tape_file, label.members)


@contextlib.contextmanager
def _spooling(spool: Path) -> Iterator[None]:
    """Give the block an empty folder; what the disk says against it becomes one sentence."""
    try:
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        yield
    except OSError as error:
        raise HostError(str(spool), f"cannot keep the catalog there ({error.strerror}): make room for it") from error
