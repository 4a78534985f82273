"""Registering data sets: what is on disk becomes what waits in the ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from papertape.errors import SourceError, UserError
from papertape.ledger import Ledger, Registration
from papertape.plan import DataSet
from papertape.transfer.recording import VISDATA
from papertape.transfer.source import scan
from papertape.volume.names import quote

_LINE = re.compile(rb"(\\?)([0-9a-f]{32}) [ *](.+)", re.DOTALL)
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


class Registered(NamedTuple):
    """What became of one path: ``dataset`` with ``result``, or, where it cannot be registered, the ``error``."""

    dataset: DataSet | None
    result: Registration | None
    error: SourceError | None


def register(ledger: Ledger, host: str, paths: Iterable[bytes], md5s: Mapping[bytes, str]) -> Iterator[Registered]:
    """Register each path as a data set of ``host`` and yield what became of it; one that cannot be is yielded, too.

    ``md5s`` are declared digests by absolute path: of the file, or of the directory's ``visdata``. Raises UserError
    for a path inside another data set.
    """
    for path in paths:
        try:
            dataset = scan(host, _absolute(path))
        except SourceError as error:
            yield Registered(None, None, error)
            continue
        md5 = md5s.get(dataset.path) or md5s.get(dataset.path + b"/" + VISDATA)
        dataset = dataset._replace(md5=md5)
        yield Registered(dataset, ledger.datasets.register(dataset), None)


def _absolute(path: bytes) -> bytes:
    absolute = os.path.abspath(path)
    if absolute.strip(b"/") == b"":
        raise SourceError(quote(path), "is the root of the file system, which is no data set")
    return b"/" + absolute.lstrip(b"/")


def read_md5sums(path: Path) -> dict[bytes, str]:
    """Return the digests by absolute path of a file in the form that ``md5sum`` writes.

    Relative names are relative to the working folder, as for ``md5sum -c``, or, where there is nothing, to the file's.
    Raises UserError at the first line that is not of that form.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    md5s = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith(b"#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path}: line {number} is not of the form that md5sum writes (32 hexadecimal digits, a name)"
            )
        name = re.sub(rb"\\[\\nr]", lambda found: _ESCAPES[found[0]], match[3]) if match[1] else match[3]
        md5s[_locate(name, path)] = match[2].decode()
    return md5s


def _locate(name: bytes, path: Path) -> bytes:
    here = os.path.abspath(name)
    beside = os.path.abspath(os.path.join(os.fsencode(path.absolute().parent), name))
    return beside if os.path.lexists(beside) and not os.path.lexists(here) else here
