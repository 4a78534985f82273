"""Numbers, sizes, times and lists in words for people; no other module writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, marks of direction, and bytes that are no UTF-8: nothing that a terminal may get to see raw."""
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def show_text(text: str) -> str:
    """Return ``text`` as one line that is safe on any terminal: what cannot be seen is written ``\\xNN``."""
    return _UNSEEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    errors = "surrogateescape" if "\udc80" <= match[0] <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", errors))


def show_size(size: float) -> str:
    """Return a size in bytes with a unit, in powers of ten, as tapes are sold: 1.58 MB."""
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.3g} {UNITS[unit]}"


def show_rate(rate: float) -> str:
    """Return a rate in bytes per second, with a unit in powers of ten: 158 MB/s."""
    return f"{show_size(rate)}/s"


def show_block(size: int) -> str:
    """Return a block's or a ring's size in bytes as it is written in the config: 1MiB, 256KiB, 65537."""
    if size % 2**20 == 0:
        return f"{size // 2**20}MiB"
    return f"{size // 2**10}KiB" if size % 2**10 == 0 else str(size)


def show_seconds(seconds: float) -> str:
    """Return a time span: 12 ms, 0.4 s, 41 s, 3 min 20 s, 4 h 20 min."""
    if 0 < seconds < 0.0995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, which has a regular plural: 1 file, 1,200 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def be(number: int) -> str:
    """Return the verb after a number of things: is, are."""
    return "is" if number == 1 else "are"


def enumerate_names(names: Iterable[str], word: str = "and", *, most: int | None = None) -> str:
    """Return names as a sentence lists them: a, b and c; a, b and 7 more, if ``most`` is 2; "" if there are none."""
    listed = list(names)
    if most is not None and len(listed) > most:
        listed[most:] = [f"{len(listed) - most} more"]
    return f" {word} ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def show_table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns of text, numbers to the right; the first row is the head."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(row[column], int) for row in rows[1:]) for column in range(len(widths))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
