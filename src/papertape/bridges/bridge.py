"""The section ``[bridge]`` of a config, checked: where the lab's databases are, and which paths are which there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from papertape.bridges.mtx import LabelTable
from papertape.bridges.paperdata import FileTable
from papertape.bridges.server import Server
from papertape.errors import ConfigError
from papertape.sql.optionfile import read_option_file


@dataclass(frozen=True)
class Bridge:
    """The section [bridge] of a config.

    ``files`` and ``labels`` are option files; without ``labels``, the table of tapes is not touched. ``file_types`` is
    a LIKE pattern. Each of ``paths`` is the lab's ``host:/path`` and the path here that stands for it, "" if another
    host registers it. ``prefixes`` are those of the volume tags of copy 1, 2, ... ``mark_deletable``: whether the lab
    learns which disk copies may be deleted. ``strict``: whether an option file that others may read is refused.
    """

    files: Path
    labels: Path | None
    file_types: str
    paths: tuple[tuple[str, str], ...]
    prefixes: tuple[str, ...]
    mark_deletable: bool
    strict: bool

    @contextmanager
    def open_files(self) -> Iterator[FileTable]:
        """Open the table of files for the block; raises UserError if its option file is wrong."""
        server = Server(read_option_file(self.files, strict=self.strict))
        try:
            yield FileTable(server)
        finally:
            server.close()

    @contextmanager
    def open_labels(self) -> Iterator[LabelTable]:
        """Open the table of tapes for the block; raises UserError if its option file is wrong or missing."""
        if self.labels is None:
            raise ConfigError("[bridge] names no option file for the table of tapes; add `labels`")
        server = Server(read_option_file(self.labels, strict=self.strict))
        try:
            yield LabelTable(server)
        finally:
            server.close()
