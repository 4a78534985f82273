"""Plans a dump: which data sets fill the next volumes. Pure decisions: no file, tape or database is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from papertape.ids import VolumeTag
from papertape.volume.layout import RECORD, round_up
from papertape.volume.names import Source


class DataSet(NamedTuple):
    """The unit the lab tracks: one regular file, or one directory with all that it holds (R7).

    ``kind`` is "file" or "directory"; ``files`` counts the regular files, ``size`` their bytes. ``tape_bytes`` are what
    its members and their SHA256SUMS lines take in an archive, ``catalog_bytes`` what its rows take in the catalog.
    ``fingerprint`` changes if a name, a size, a kind or a modification time in it changes. ``md5`` is declared by the
    lab: that of the file, or of the directory's ``visdata``. ``id`` is the ledger's.
    """

    source: Source
    kind: str
    files: int
    size: int
    tape_bytes: int
    catalog_bytes: int
    fingerprint: str
    md5: str | None = None
    id: int = 0


class Volume(NamedTuple):
    """A volume that a batch is written to; ``capacity`` in bytes, ``copy`` counts from 1."""

    tag: VolumeTag
    uuid: str
    copy: int
    capacity: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The plan of one dump: its data sets, archive by archive, and its volumes.

    ``refused`` are the data sets that no volume can hold, each with the reason. ``tape_bytes`` are those that the dump
    takes on each volume, with label, plan and catalog.
    """

    dump: str
    volumes: tuple[Volume, ...]
    block_size: int
    archives: tuple[tuple[DataSet, ...], ...]
    refused: tuple[tuple[DataSet, str], ...]
    tape_bytes: int


SLACK = 100
"""One part in this many of a volume stays free: capacities are nominal, and the early warning comes before the end."""
FIXED = 64 * 1024
"""The most bytes that plan.json, the first part of catalog.json and their headers take."""
TAPE_FILE = 256
"""The most bytes that a tape file takes in catalog.json."""
ARCHIVE_END = 4 * RECORD
"""Bytes that an archive takes besides its data sets: the header and padding of SHA256SUMS, and the end records."""


class _Shelf:
    """Fills volumes of one size with archives, data set by data set."""

    def __init__(self, room: int, archive_size: int, block_size: int) -> None:
        self.archives: list[tuple[DataSet, ...]] = []
        self._room = room - 3 * block_size - FIXED  # label, plan and catalog each leave a part of a block empty
        self._archive_size = archive_size
        self._block_size = block_size
        self._current: list[DataSet] = []
        self._current_size = 0
        self._closed = 0  # bytes of the archives before the current one, and of the rows of all data sets

    def takes(self, dataset: DataSet, *, alone: bool = False) -> bool:
        """Whether there is room for ``dataset`` on the volume; with ``alone``, whether there were on an empty one."""
        rows = dataset.catalog_bytes
        if alone:
            return self._on_tape(dataset.tape_bytes) + rows <= self._room
        if self._starts_archive(dataset):
            used = self._closed + self._on_tape(self._current_size) + self._on_tape(dataset.tape_bytes)
        else:
            used = self._closed + self._on_tape(self._current_size + dataset.tape_bytes)
        return used + rows <= self._room

    def put(self, dataset: DataSet) -> None:
        """Add ``dataset`` to the current archive, or to a new one if that would grow too large."""
        if self._starts_archive(dataset):
            self.close_archive()
        self._current.append(dataset)
        self._current_size += dataset.tape_bytes
        self._closed += dataset.catalog_bytes

    def close_archive(self) -> None:
        """End the current archive, if it has a data set."""
        if self._current:
            self._closed += self._on_tape(self._current_size)
            self.archives.append(tuple(self._current))
            self._current, self._current_size = [], 0

    def used(self) -> int:
        """Bytes that a dump of all archives takes on the volume."""
        return self._closed + 3 * self._block_size + FIXED

    def _starts_archive(self, dataset: DataSet) -> bool:
        return bool(self._current) and self._current_size + dataset.tape_bytes > self._archive_size

    def _on_tape(self, size: int) -> int:
        return round_up(size + ARCHIVE_END, self._block_size) + TAPE_FILE if size else 0


def plan_batch(
    dump: str, pending: Iterable[DataSet], volumes: Sequence[Volume], *, archive_size: int, block_size: int
) -> Batch:
    """Return the batch that fills ``volumes`` with data sets in the order of ``pending``; sizes in bytes.

    A data set is never split. The first one without room ends the batch, so that the lab's order is kept. A data set
    that even an empty volume cannot hold is refused, and planning continues.
    """
    # The volumes of a dump are equal from tape file 1 on (R3), so the smallest one decides.
    capacity = min(volume.capacity for volume in volumes)
    shelf = _Shelf(capacity - capacity // SLACK, archive_size, block_size)
    refused = []
    for dataset in pending:
        if not shelf.takes(dataset, alone=True):
            refused.append(
                (dataset, f"its {dataset.tape_bytes} bytes are more than a volume of {capacity} bytes holds")
            )
        elif shelf.takes(dataset):
            shelf.put(dataset)
        else:
            break
    shelf.close_archive()
    return Batch(
        dump=dump,
        volumes=tuple(volumes),
        block_size=block_size,
        archives=tuple(shelf.archives),
        refused=tuple(refused),
        tape_bytes=shelf.used(),
    )
