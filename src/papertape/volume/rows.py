"""The CSV lists on a volume, read a row at a time and trusted in nothing (R9)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from papertape.volume.layout import FORMAT_VERSION

LONGEST_LINE = 128 * 1024
"""Characters in the longest line that a reader accepts: eight paths of PATH_MAX, each byte escaped, fit."""
LONGEST_NUMBER = 18
"""Digits of a number that fits into a signed 64-bit integer whatever the digits are."""


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the rows after the heading, which must be ``columns``; raises ValueError at the first wrong row.

    Never holds more than one line of ``LONGEST_LINE`` characters, whatever is in the file.
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
    # The csv module would join lines without end after an open quotation mark. No field that papertape writes has an
    # end of line in it (names have a text form of one line), so each line must be a row.
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE or line.count('"') % 2:
            raise ValueError(f"{name} has a row that is longer than its line, or than {LONGEST_LINE} characters")
        yield line


def read_number(text: str) -> int:
    """Return a number as papertape writes it: decimal digits without leading zeros.

    Raises ValueError for anything else, also for the signs, blanks and digits of other scripts that ``int`` takes.
    """
    plain = text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    if not plain or (text[0] == "0" and len(text) > 1):
        raise ValueError(f"{text[:100]!a} is no number")
    return int(text)
