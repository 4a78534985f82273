"""Registering data sets: they are scanned on disk, and then wait in the ledger."""

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
    """The result for one path: ``dataset`` and ``result``, or, if it cannot be registered, ``error``."""

    dataset: DataSet | None
    result: Registration | None
    error: SourceError | None


def register(ledger: Ledger, host: str, paths: Iterable[bytes], md5s: Mapping[bytes, str]) -> Iterator[Registered]:
    """Register each path as a data set of ``host``, and yield the result, also for a path that cannot be registered.

    ``md5s`` are declared digests by absolute path: of the file, or of the directory's ``visdata``. Raises UserError
    for a path inside another data set.
    """
    for path in paths:
        try:
            # POSIX lets a path begin with two slashes, and abspath keeps them; one source must have one name.
            absolute = b"/" + os.path.abspath(path).lstrip(b"/")
            if absolute == b"/":
                raise SourceError(quote(path), "is the root of the file system, and cannot be a data set")
            dataset = scan(host, absolute)
        except SourceError as error:
            yield Registered(None, None, error)
            continue
        md5 = md5s.get(dataset.source.path) or md5s.get(dataset.source.path + b"/" + VISDATA)
        dataset = dataset._replace(md5=md5)
        yield Registered(dataset, ledger.datasets.register(dataset), None)


def read_md5sums(path: Path) -> dict[bytes, str]:
    """Return the digests by absolute path of a file in the form that ``md5sum`` writes.

    Relative names are relative to the current folder, as for ``md5sum -c``, or, if nothing is there, to the folder of
    the file. Raises UserError at the first line that has another form.
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
                f"{path}: line {number} has another form than md5sum writes (32 hexadecimal digits, a name)"
            )
        name = re.sub(rb"\\[\\nr]", lambda found: _ESCAPES[found[0]], match[3]) if match[1] else match[3]
        here = os.path.abspath(name)
        beside = os.path.abspath(os.path.join(os.fsencode(path.absolute().parent), name))
        is_beside = os.path.lexists(beside) and not os.path.lexists(here)
        md5s[beside if is_beside else here] = match[2].decode()
    return md5s
