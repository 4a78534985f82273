"""The grammar of a volume and the numbers in it (``docs/format.md`` has the rules R1 to R12).

::

    volume := label FM  dump+  EOD
    dump   := plan FM  ( archive FM )+  catalog FM

Every tape file is one uncompressed POSIX pax archive in blocks of one size; zeros fill up the last block (R1).
"""

from __future__ import annotations

FORMAT_VERSION = 1
RECORD = 512
"""Bytes in a tar record: a header is one, zeros fill up data to whole ones (POSIX.1-2017, pax)."""

MINIMUM_BLOCK = 64 * 1024
MAXIMUM_BLOCK = 4 * 1024 * 1024
DEFAULT_BLOCK = 1024 * 1024
"""Bytes in a block (R1)."""
FLUSH_EVERY = 32 * 1024**3
"""The largest number of bytes that may be written without a flushing filemark (R8)."""

LABEL, PLAN, ARCHIVE, CATALOG = "label", "plan", "archive", "catalog"
"""The kinds of tape files."""

END_OF_ARCHIVE = bytes(2 * RECORD)
"""Two records of zeros end an archive (POSIX.1-2017, pax)."""


def round_up(size: int, unit: int) -> int:
    """Return the smallest multiple of ``unit`` that is at least ``size``; both in bytes."""
    return -(-size // unit) * unit


def check_block_size(size: int) -> int:
    """Return ``size`` (bytes) if a volume can have such blocks (R1); raises ValueError if not."""
    if size % RECORD or not MINIMUM_BLOCK <= size <= MAXIMUM_BLOCK:
        raise ValueError(f"a block size is a multiple of 512 from {MINIMUM_BLOCK} to {MAXIMUM_BLOCK} bytes, not {size}")
    return size
