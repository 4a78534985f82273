"""A copy made again from disk: the same bytes from tape file 1 on as its twin has, or none that counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

from papertape.errors import NotReproduced, SourceError
from papertape.events import Tell
from papertape.plan import Batch, DataSet
from papertape.tape.drive import Drive
from papertape.transfer.duplicate import Duplicate
from papertape.transfer.pump import Target
from papertape.transfer.recording import describe_plan
from papertape.transfer.source import member_name, walk
from papertape.transfer.stop import Stop
from papertape.transfer.write import make_record, write_targets
from papertape.volume.catalog import Catalog, encode_catalog
from papertape.volume.header import build_header
from papertape.volume.label import Identity, compose_label
from papertape.volume.members import Expected, Member, VolumeRecord
from papertape.volume.names import quote
from papertape.volume.tapefile import checksum_header


def check_reproducible(batch: Batch, expected: Expected, counts: tuple[int, int, int], created: datetime) -> None:
    """Raise SourceError unless plan and catalog would be what lies on tape, byte for byte.

    ``counts`` are the whole data sets, files and bytes of the dump. They would not be after an update of papertape, for
    a dump that did not write all that it had planned, and where a copy was made again before.
    """
    catalog = Catalog(
        expected.dump,
        created,
        expected.block_size,
        expected.volumes,
        expected.tape_files[:-1],
        (),
        *counts,
        Path(),
    )
    would_be = {b"plan.json": describe_plan(batch, created), b"catalog.json": encode_catalog(catalog, 0)}
    for member in expected.members():
        content = would_be.pop(member.name, None) if member.dataset < 0 else None
        if content is not None and hashlib.sha256(content).hexdigest() != member.sha256:
            raise NotReproduced(expected.dump, f"its {quote(member.name)} would differ")


def check_sources(batch: Batch, members_of: Callable[[DataSet], Iterator[Member]]) -> None:
    """Raise SourceError unless every data set of ``batch`` would be written with the headers of its ``members_of``.

    Looks at names, kinds, sizes, times, modes and owners, and reads no data.
    """
    for archive in batch.archives:
        for dataset in archive:
            for entry, member in zip_longest(walk(dataset.path), members_of(dataset)):
                name = member_name(dataset.host, dataset.path, entry.relative) if entry else b""
                header = build_header(name, entry.size, entry.attributes) if entry else b""
                if member is None or (name, checksum_header(header)) != (member.name, member.header):
                    path = entry.path if entry else member.name if member else b""
                    raise SourceError(quote(path), "is not any more as it was written to tape")


def rewrite_volume(
    batch: Batch,
    expected: Expected,
    twins: tuple[VolumeRecord, ...],
    identity: Identity,
    drive: Drive,
    spool: Path,
    ring: int,
    created: datetime,
    tell: Tell,
    stop: Stop,
) -> Duplicate:
    """Write the dump of ``batch`` once more, to the volume in ``drive`` alone, under a label of its own.

    ``twins`` are those that the catalog on tape names, ``expected`` is what lies on them, ``created`` when that was
    begun. Raises SourceError, with the volume written in vain, if one byte differs; else like ``write_volumes``.
    """
    others = [Identity(item.tag, item.uuid, item.copy) for item in twins if item.copy != identity.copy]
    label = compose_label(identity, others, batch.block_size, created)
    target = Target(identity.tag, drive, label.content)
    writing = write_targets(batch, [target], twins, spool, ring, created, tell, stop)
    (written,) = writing.copies
    if not written.error:
        _compare(writing.catalog, expected, writing.rejected)
    return Duplicate(None, make_record(identity, drive, label), written)


def _compare(catalog: Catalog | None, expected: Expected, rejected: tuple[tuple[str, str], ...]) -> None:
    """Raise SourceError unless what was written is, by size and digest, what lies on the twins."""
    if rejected:
        raise SourceError(*rejected[0])
    if catalog is None:
        raise NotReproduced(expected.dump, "it was not written to its end")
    for new, old in zip_longest(catalog.members(), expected.members()):
        if new != old:
            name = quote(new.name if new else old.name)
            raise SourceError(name, "is not what lies on the twin: it was changed, or another papertape wrote it")
    if catalog.tape_files != expected.tape_files:
        raise NotReproduced(expected.dump, "its headers would differ")
