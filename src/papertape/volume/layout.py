"""The grammar of a volume and the numbers in it (``docs/format.md`` has the rules R1 to R12).

::

    volume := label FM  dump+  EOD
    dump   := plan FM  ( archive FM )+  catalog FM

Every tape file is one uncompressed POSIX pax archive in blocks of one size, the last one filled up with zeros (R1).
"""

from __future__ import annotations

FORMAT_VERSION = 1
RECORD = 512
"""Bytes in a tar record: headers are one, data is filled up to whole ones (POSIX.1-2017, pax)."""

MINIMUM_BLOCK = 64 * 1024
MAXIMUM_BLOCK = 4 * 1024 * 1024
DEFAULT_BLOCK = 1024 * 1024
FLUSH_EVERY = 32 * 1024**3
"""Bytes after which a flushing filemark stands at the latest (R8)."""

LABEL, PLAN, ARCHIVE, CATALOG = "label", "plan", "archive", "catalog"
"""The kinds of tape files."""

END_OF_ARCHIVE = bytes(2 * RECORD)


def round_up(size: int, unit: int) -> int:
    """Return the smallest multiple of ``unit`` that is not below ``size``; both in bytes."""
    return -(-size // unit) * unit


def check_block_size(size: int) -> int:
    """Return ``size`` (bytes) if a volume can have such blocks (R1); raises ValueError if not."""
    if size % RECORD or not MINIMUM_BLOCK <= size <= MAXIMUM_BLOCK:
        raise ValueError(f"a block size is a multiple of 512 from {MINIMUM_BLOCK} to {MAXIMUM_BLOCK} bytes, not {size}")
    return size
