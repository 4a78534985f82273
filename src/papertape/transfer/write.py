"""Writing a batch to all its volumes at once, from one read of the disk."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from papertape.errors import CopyFailed, HostError
from papertape.events import Note, Phase, Tell
from papertape.evidence import Written
from papertape.plan import Batch
from papertape.tape.drive import Drive
from papertape.transfer.pump import Pump, Target
from papertape.transfer.recording import Recording
from papertape.transfer.stop import Stop
from papertape.volume.catalog import Catalog
from papertape.volume.label import Identity, compose_label
from papertape.volume.members import VolumeRecord
from papertape.volume.tapefile import Composed
from papertape.words import count, enumerate_names


@dataclass(frozen=True)
class Writing:
    """The result of a writing; ``catalog`` is None if none was written, because no copy or no data set is whole.

    ``rejected`` are the sources of the data sets that do not count, each with the reason.
    """

    catalog: Catalog | None
    copies: tuple[Written, ...]
    rejected: tuple[tuple[str, str], ...]


def write_volumes(
    batch: Batch, drives: Sequence[Drive], *, spool: Path, ring: int, created: datetime, tell: Tell, stop: Stop
) -> Writing:
    """Write ``batch`` to the volumes in ``drives``, which are rewound and may be written from BOT.

    ``spool`` is a folder for the catalog while it grows, and is emptied first; ``ring`` bounds the memory for blocks,
    in bytes. If a copy fails, the others are written on, and its error is in its ``Written``. Raises Interrupted when
    asked to stop at once, HostError if the spool cannot be written, BlockRefused if a drive takes only shorter blocks.
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
    return write_targets(batch, targets, volumes=volumes, spool=spool, ring=ring, created=created, tell=tell, stop=stop)


def write_targets(
    batch: Batch,
    targets: Sequence[Target],
    *,
    volumes: tuple[VolumeRecord, ...],
    spool: Path,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Writing:
    """Write ``batch`` to ``targets``; ``volumes`` are the twins that its catalog names. See ``write_volumes``."""
    tell(Phase(name="writing", volumes=tuple(target.volume for target in targets), total=batch.tape_bytes))
    catalog, recording = None, None
    pump = Pump(targets, batch.block_size, ring, tell, stop)
    try:
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        with contextlib.suppress(CopyFailed), pump:
            recording = Recording(batch, pump, spool, created, tell)
            with contextlib.closing(recording.journal):
                sizes = [sum(dataset.tape_bytes for dataset in archive) for archive in batch.archives]
                recording.write_plan(sizes[0])
                for number, (archive, next_size) in enumerate(zip(batch.archives, [*sizes[1:], 0], strict=True)):
                    # Between two archives the dump can end early and still be whole: the catalog lists what is there.
                    ending = pump.find_ending()
                    if ending:
                        left = count(sum(map(len, batch.archives[number:])), "data set")
                        why = "the tape ends earlier than planned"
                        tell(Note(sentence=f"{enumerate_names(ending)}: {why}; left for the next dump: {left}"))
                    if ending or stop.soon:
                        break
                    recording.write_archive(archive, next_size)
                    pump.check()
                catalog = recording.write_catalog(volumes) if recording.journal.datasets else None
    except OSError as error:
        raise HostError(str(spool), f"cannot keep the catalog there ({error.strerror}): make room for it") from error
    # Only after the threads have ended: the last writer may have met the refusal after the last look at it.
    pump.check_blocks()
    journal = recording.journal if recording else None
    copies = tuple(writer.written(catalog.files if catalog else None) for writer in pump.writers)
    return Writing(catalog, copies, tuple(journal.rejected) if journal else ())


def make_record(identity: Identity, drive: Drive, label: Composed) -> VolumeRecord:
    """Return the catalog's record of a volume."""
    return VolumeRecord(
        tag=identity.tag,
        uuid=identity.uuid,
        copy=identity.copy,
        drive_serial=drive.serial,
        label=label.tape_file,
        label_members=label.members,
    )
