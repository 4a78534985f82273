"""``papertape bridge pull``: the lab's rows that must go to tape become data sets that wait in the ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from papertape.bridges import LabFile
from papertape.bridges.bridge import Bridge
from papertape.bridges.claims import chunks
from papertape.errors import SourceError, UserError
from papertape.ids import VolumeTag
from papertape.ledger import Ledger, Registration
from papertape.plan import DataSet
from papertape.states import LabKind
from papertape.transfer.journal import WRONG_MD5
from papertape.transfer.source import scan
from papertape.volume.names import Source, quote

MEGABYTE = 10**6
TOGETHER = 1000
"""How many rows are registered at once."""
FOLDERS = 1000
"""For how many folders the result of following their symbolic links is kept."""
_MD5 = re.compile("[0-9a-f]{32}")
_LABEL = re.compile("[A-Z0-9]+")
_LARGEST = Decimal("99999.99")
"""The largest size that the lab's column holds, in MB."""
_TOLERANCE = Decimal("0.05")
"""By what part a declared size may be wrong: nobody knows how that of a directory was measured."""


class Pulled(NamedTuple):
    """How one row was registered: ``result`` is None if it was not; ``trouble`` is a clause, "" if all is well.

    ``size`` in bytes.
    """

    name: str
    result: Registration | None
    size: int
    trouble: str


class PulledLabels(NamedTuple):
    """The tags of volumes that were registered, and the tapes that could not be."""

    added: tuple[str, ...]
    troubles: tuple[Pulled, ...]


class _Scanned(NamedTuple):
    """A row and what is on disk for it; without a data set, ``trouble`` says why."""

    row: LabFile
    dataset: DataSet | None
    trouble: str


def pull(ledger: Ledger, bridge: Bridge, host: str) -> Iterator[Pulled]:
    """Register the rows that the lab wants on tape as data sets of ``host``, and yield the result for each.

    Rows that another host registers (their rule has no folder here) are skipped. A row that cannot be registered does
    not stop the others. Raises UserError, HostError if the lab's database, or the ledger, refuses the whole.
    """
    resolve = lru_cache(FOLDERS)(os.path.realpath)
    with bridge.open_files() as files:
        for rows in chunks(files.tapeable(bridge.file_types), TOGETHER):
            scanned = []
            for row in rows:
                rule = _find_rule(row.source, bridge.paths)
                if rule is not None and not rule[1]:
                    continue
                try:
                    path = map_path(row.source, bridge.paths, resolve)
                    dataset = scan(host, path)._replace(md5=check_md5(row.md5))
                except SourceError as error:
                    scanned.append(_Scanned(row, None, error.reason))
                except ValueError as error:
                    scanned.append(_Scanned(row, None, str(error)))
                else:
                    scanned.append(_Scanned(row, dataset, _compare_size(row.megabytes, dataset.size)))
            yield from _register(ledger, scanned)


def pull_labels(ledger: Ledger, bridge: Bridge) -> PulledLabels:
    """Register the free tapes of the lab's table of tapes that the ledger does not know.

    Raises UserError, HostError.
    """
    if bridge.labels is None:
        return PulledLabels((), ())
    known = {volume.tag for volume in ledger.volumes.all()}
    added: dict[str, tuple[VolumeTag, int, int]] = {}
    troubles = []
    with bridge.open_labels() as labels:
        for copy, prefix in enumerate(bridge.prefixes, 1):
            for label, capacity in labels.free(prefix):
                if label in known or label in added:
                    continue
                if capacity is None or not _LABEL.fullmatch(label):
                    why = "has no capacity" if capacity is None else "is not made of capital letters and digits"
                    remedy = "correct it, or use `papertape volumes add`"
                    troubles.append(Pulled(label, None, 0, f"its row {why}; {remedy}"))
                    continue
                added[label] = (VolumeTag(label), copy, capacity)
    if added:
        ledger.volumes.add(added.values())
    return PulledLabels(tuple(added), tuple(troubles))


def map_path(
    source: str, paths: Sequence[tuple[str, str]], resolve: Callable[[bytes], bytes] = os.path.realpath
) -> bytes:
    """Return the path here of the lab's ``host:/path``; the longest rule that fits counts.

    ``resolve`` follows the symbolic links in a folder's path, as ``os.path.realpath`` does, and may keep the results.
    Raises ValueError if no rule fits, or if the path would lead out of the folder that the rule names.
    """
    rule = _find_rule(source, paths)
    if rule is None:
        raise ValueError("no rule in [bridge.paths] says where that is; add one for its host and folder")
    there, here = rule
    rest = source[len(there.rstrip("/")) :].lstrip("/")
    if "\0" in rest or not all(part not in {"", ".", ".."} for part in rest.split("/")):
        raise ValueError("its path has empty parts, dots or NUL in it, and could lead anywhere")
    root = resolve(os.fsencode(here))
    path = os.path.join(root, rest.encode("utf-8", "surrogateescape"))
    folder = resolve(os.path.dirname(path))
    if folder != root and not folder.startswith(root.rstrip(b"/") + b"/"):
        raise ValueError(f"its path leads out of {here} through a symbolic link")
    return path


def _find_rule(source: str, paths: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    fitting = [rule for rule in paths if source == rule[0] or source.startswith(rule[0].rstrip("/") + "/")]
    return max(fitting, key=lambda rule: len(rule[0]), default=None)


def check_md5(md5: str | None) -> str | None:
    """Return a declared MD5 in small letters, None if the row has none; raises ValueError if it is not an MD5."""
    if md5 is None or not md5.strip():
        return None
    found = md5.strip().lower()
    if not _MD5.fullmatch(found):
        raise ValueError("its md5sum is not 32 hexadecimal digits")
    return found


def _compare_size(megabytes: Decimal | None, size: int) -> str:
    """Return a clause if the declared size is far from that on disk, in MB of 10**6 or of 2**20 bytes; "" if near."""
    if megabytes is None or megabytes >= _LARGEST:
        return ""
    for unit in (MEGABYTE, 2**20):
        if abs(Decimal(size) / unit - megabytes) <= max(megabytes * _TOLERANCE, Decimal("0.01")):
            return ""
    return f"its filesize is {megabytes} MB, and there are {size} bytes on disk; registered as it is on disk"


def _register(ledger: Ledger, scanned: Sequence[_Scanned]) -> Iterator[Pulled]:
    """Register the data sets of rows, and yield the result for each row."""
    # The rows come first: a data set that waits without its row being known would go to tape, and the lab's table
    # would never get its place.
    known_as = ledger.lab.note(LabKind.FILE, [(row.source, str(found.source)) for row, found, _ in scanned if found])
    wanted = [found for row, found, _ in scanned if found and row.source not in known_as]
    # A data set whose MD5 was wrong, and which is as it was, must not go to tape again.
    errors = {
        source: f"it was rejected before: {reason}; correct the row or the file"
        for source, reason in ledger.datasets.rejected_unchanged(wanted).items()
        if reason.startswith(WRONG_MD5)
    }
    wanted = [dataset for dataset in wanted if dataset.source not in errors]
    results: dict[Source, Registration] = {}
    try:
        ledger.datasets.register_many(wanted, lambda dataset, result: results.update({dataset.source: result}))
    except UserError:  # one of them cannot be registered, and none was: find out which
        for dataset in wanted:
            try:
                results[dataset.source] = ledger.datasets.register(dataset)
            except UserError as error:
                errors[dataset.source] = str(error)
    for row, found, trouble in scanned:
        if found is None:
            yield Pulled(row.source, None, 0, trouble)
        elif known_as.get(row.source):
            clause = f"it is registered as {known_as[row.source]} already; make sure that one rule fits it"
            yield Pulled(row.source, None, 0, clause)
        elif row.source in known_as:
            clause = f"another row stands for {quote(found.source.path)} already; correct one"
            yield Pulled(row.source, None, 0, clause)
        elif found.source in errors:
            yield Pulled(row.source, None, 0, errors[found.source])
        else:
            yield Pulled(row.source, results[found.source], found.size, trouble)
