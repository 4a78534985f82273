"""Taking work from the lab's database: rows that are to go to tape become data sets that wait in the ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache, partial
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
"""How many folders are remembered that were found to lie where they seem to."""
_MD5 = re.compile("[0-9a-f]{32}")
_LABEL = re.compile("[A-Z0-9]+")
_LARGEST = Decimal("99999.99")
"""The largest size that the lab's column holds, in MB."""
_TOLERANCE = Decimal("0.05")
"""By what part a declared size may be wrong: what a directory's was taken with, nobody knows."""


class Pulled(NamedTuple):
    """What became of one row: ``result`` if it is registered; ``trouble`` is a clause on what is not well with it."""

    name: str
    result: Registration | None
    size: int
    trouble: str


class PulledLabels(NamedTuple):
    """The tags of volumes that were registered, and the tapes that could not be."""

    added: tuple[str, ...]
    troubles: tuple[Pulled, ...]


def pull(ledger: Ledger, bridge: Bridge, host: str) -> Iterator[Pulled]:
    """Register what the lab's table of files wants on tape as data sets of ``host``, and yield what became of each.

    Rows that another host has, by a rule without a folder here, are passed over. A row that cannot be registered does
    not keep the others from it. Raises UserError, HostError if the lab's
    database, or the ledger, has something against it as a whole.
    """
    locate = partial(map_path, paths=bridge.paths, resolve=lru_cache(FOLDERS)(os.path.realpath))
    with bridge.open_files() as files:
        rows = (row for row in files.tapeable(bridge.file_types) if not _is_elsewhere(row.source, bridge.paths))
        for chunk in chunks(rows, TOGETHER):
            yield from _register(ledger, list(_look(chunk, locate, host)))


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
                    what = "has no capacity" if capacity is None else "is not made of capital letters and digits"
                    troubles.append(Pulled(label, None, 0, f"its row {what}; mend it, or use `papertape volumes add`"))
                    continue
                added[label] = (VolumeTag(label), copy, capacity)
    if added:
        ledger.volumes.add(added.values())
    return PulledLabels(tuple(added), tuple(troubles))


class _Looked(NamedTuple):
    row: LabFile
    dataset: DataSet | None
    trouble: str


def _look(rows: Iterable[LabFile], locate: Callable[[str], bytes], host: str) -> Iterator[_Looked]:
    """Say what is on disk for each row."""
    for row in rows:
        try:
            dataset = scan(host, locate(row.source))._replace(md5=check_md5(row.md5))
        except SourceError as error:
            yield _Looked(row, None, error.reason)
        except ValueError as error:
            yield _Looked(row, None, str(error))
        else:
            yield _Looked(row, dataset, _compare_size(row.megabytes, dataset.size))


def map_path(
    source: str, paths: Sequence[tuple[str, str]], resolve: Callable[[bytes], bytes] = os.path.realpath
) -> bytes:
    """Return the path here of the lab's ``host:/path``; the longest rule that fits counts.

    ``resolve`` follows the symbolic links in a folder's path, and may remember what it found.
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
        raise ValueError(f"its path leads out of {here} by way of a symbolic link")
    return path


def _find_rule(source: str, paths: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    fitting = [rule for rule in paths if source == rule[0] or source.startswith(rule[0].rstrip("/") + "/")]
    return max(fitting, key=lambda rule: len(rule[0]), default=None)


def _is_elsewhere(source: str, paths: Sequence[tuple[str, str]]) -> bool:
    """Whether the rule that fits has no folder here: another host sees to it."""
    rule = _find_rule(source, paths)
    return rule is not None and not rule[1]


def check_md5(md5: str | None) -> str | None:
    """Return a declared MD5, None if there is none; raises ValueError for what is none."""
    if md5 is None or not md5.strip():
        return None
    found = md5.strip().lower()
    if not _MD5.fullmatch(found):
        raise ValueError("its md5sum is not 32 hexadecimal digits")
    return found


def _compare_size(megabytes: Decimal | None, size: int) -> str:
    """Say that a declared size is far from what is on disk, "" if it is near: in MB of either kind."""
    if megabytes is None or megabytes >= _LARGEST:
        return ""
    for unit in (MEGABYTE, 2**20):
        if abs(Decimal(size) / unit - megabytes) <= max(megabytes * _TOLERANCE, Decimal("0.01")):
            return ""
    return f"its filesize is {megabytes} MB, and there are {size} bytes on disk; registered as it is on disk"


def _register(ledger: Ledger, looked: Sequence[_Looked]) -> list[Pulled]:
    """Register what was found: first whose row it is, so that nothing waits of which that is not known."""
    named = [(item.row.source, str(item.dataset.source)) for item in looked if item.dataset]
    twice = ledger.lab.note(LabKind.FILE, named)
    wanted = [item.dataset for item in looked if item.dataset and item.row.source not in twice]
    wrong = _find_wrong(ledger, wanted)
    results, errors = _enter(ledger, [dataset for dataset in wanted if dataset.source not in wrong])
    errors |= wrong
    return [_tell(item, twice, results, errors) for item in looked]


def _find_wrong(ledger: Ledger, wanted: Sequence[DataSet]) -> dict[Source, str]:
    """Return those that a dump found wrong and that are as they were, with a clause: no tape is to have them again."""
    before = ledger.datasets.rejected_unchanged(wanted)
    return {
        source: f"it was rejected before: {reason}; mend the row or the file"
        for source, reason in before.items()
        if reason.startswith(WRONG_MD5)
    }


def _enter(ledger: Ledger, wanted: Sequence[DataSet]) -> tuple[dict[Source, Registration], dict[Source, str]]:
    """Register data sets, all at once, or one by one if one of them cannot be; return results and errors by source."""
    results: dict[Source, Registration] = {}
    try:
        ledger.datasets.register_many(wanted, lambda dataset, result: results.update({dataset.source: result}))
    except UserError:
        errors = {}
        for dataset in wanted:
            try:
                results[dataset.source] = ledger.datasets.register(dataset)
            except UserError as error:
                errors[dataset.source] = str(error)
        return results, errors
    return results, {}


def _tell(
    item: _Looked, twice: dict[str, str], results: dict[Source, Registration], errors: dict[Source, str]
) -> Pulled:
    name, dataset = item.row.source, item.dataset
    if dataset is None:
        return Pulled(name, None, 0, item.trouble)
    if twice.get(name):
        return Pulled(name, None, 0, f"it is registered as {twice[name]} already; see to it that one rule fits it")
    if name in twice:
        return Pulled(name, None, 0, f"another row stands for {quote(dataset.source.path)} already; mend one")
    if dataset.source in errors:
        return Pulled(name, None, 0, errors[dataset.source])
    return Pulled(name, results[dataset.source], dataset.size, item.trouble)
