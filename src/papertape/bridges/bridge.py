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
    """What the config says of the lab's databases.

    ``files`` and ``labels`` are option files; without ``labels``, the table of tapes is left alone. ``file_types`` is
    a LIKE pattern. ``paths`` says which paths here (the second, "": none, another host has it) stand for which
    ``host:/path`` there.
    ``mark_deletable``: whether the lab is told that a disk copy may go. ``strict``: whether an option file that others
    can read is refused.
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
        """Have the table of files at hand; raises UserError for what is wrong with its option file."""
        server = Server(read_option_file(self.files, strict=self.strict))
        try:
            yield FileTable(server)
        finally:
            server.close()

    @contextmanager
    def open_labels(self) -> Iterator[LabelTable]:
        """Have the table of tapes at hand; raises UserError for what is wrong with its option file."""
        if self.labels is None:
            raise ConfigError("[bridge] names no option file for the table of tapes; add `labels`")
        server = Server(read_option_file(self.labels, strict=self.strict))
        try:
            yield LabelTable(server)
        finally:
            server.close()
