"""The CSV lists on a volume, read a row at a time, and no row taken for more than it can be (R9)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from papertape.volume.layout import FORMAT_VERSION

LONGEST_LINE = 128 * 1024
"""Characters in a line that a reader accepts: a path of PATH_MAX, each byte written as four, fits eight times."""
LONGEST_NUMBER = 18
"""Digits that 64 bits hold in any case."""


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the rows of a list behind the one with its ``columns``; raises ValueError at the first that is none.

    No more than one line of ``LONGEST_LINE`` characters is held, whatever the file is.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(_read_lines(file, path.name), strict=True)
        try:
            if tuple(next(rows, ())) != columns:
                raise ValueError(f"{path.name} has other columns than version {FORMAT_VERSION} has")
            for row in rows:
                if len(row) != len(columns):
                    raise ValueError(f"{path.name} has {len(row)} fields in line {rows.line_num}, not {len(columns)}")
                yield row
        except csv.Error as error:
            raise ValueError(f"{path.name} is no CSV in line {rows.line_num}: {error}") from error


def _read_lines(file: TextIO, name: str) -> Iterator[str]:
    """Yield lines, each a row by itself: no field of papertape's has the end of a line in it."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE or line.count('"') % 2:
            raise ValueError(f"{name} has a row that is longer than its line, or than {LONGEST_LINE} characters")
        yield line


def read_number(text: str) -> int:
    """Return a number as papertape writes it: ``int`` would take signs, blanks and the digits of any script.

    Raises ValueError for anything else.
    """
    plain = text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    if not plain or (text[0] == "0" and len(text) > 1):
        raise ValueError(f"{text[:100]!a} is no number")
    return int(text)
