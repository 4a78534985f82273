"""The longest block that drive and adapter take, asked without a tape; and making a scratch tape blank again.

SG_IO and its ``struct sg_io_hdr`` are those of ``<scsi/sg.h>``, READ BLOCK LIMITS is of SSC, BLKSECTGET of
``<linux/fs.h>``; MTERASE is of ``<linux/mtio.h>``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from papertape.tape.drive import MAX_BLOCK
from papertape.tape.scsi.hostfacts import find_generic
from papertape.tape.scsi.stdevice import MTIOCPOS, MTIOCTOP

SG_IO, BLKSECTGET = 0x2285, 0x1267
LEAST_LIMIT = 64 * 1024
"""No LTO drive takes shorter blocks only: what answers less speaks of the fixed blocks that it was set to, in bytes."""
READ_BLOCK_LIMITS = bytes((0x05, 0, 0, 0, 0, 0))
FROM_DEVICE = -3
TIMEOUT_MILLISECONDS = 10_000
TOO_LONG = {errno.EINVAL, errno.EOVERFLOW}
"""The answers of st to a buffer that is too long; ENOMEM, in reading, is for one that is shorter than the block."""
MTREW, MTEOM, MTERASE = 6, 12, 13
SOFT_LIMIT = 1280 * 1024
"""The least that the kernel answers for an adapter that takes this much or more (BLK_DEF_MAX_SECTORS), in bytes."""


class _Header(ctypes.Structure):
    """``struct sg_io_hdr``."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def ask_drive_limit(node: Path) -> int | None:
    """Return the longest block in bytes that the drive says it takes; None if this user may not ask, or it is silent.

    The st device lets only root ask, the generic one also who may write to it.
    """
    for path in filter(None, (node, find_generic(node))):
        with suppress(OSError), _opened(path, os.O_RDWR) as descriptor:
            limit = _read_block_limits(descriptor)
            if limit and limit >= LEAST_LIMIT:
                return limit
    return None


def _read_block_limits(descriptor: int) -> int | None:
    command = ctypes.create_string_buffer(READ_BLOCK_LIMITS, len(READ_BLOCK_LIMITS))
    answer, sense = ctypes.create_string_buffer(6), ctypes.create_string_buffer(32)
    header = _Header(
        interface_id=ord("S"),
        dxfer_direction=FROM_DEVICE,
        cmd_len=len(READ_BLOCK_LIMITS),
        mx_sb_len=len(sense),
        dxfer_len=len(answer),
        dxferp=ctypes.addressof(answer),
        cmdp=ctypes.addressof(command),
        sbp=ctypes.addressof(sense),
        timeout=TIMEOUT_MILLISECONDS,
    )
    fcntl.ioctl(descriptor, SG_IO, header)
    # The ioctl succeeds when the command was sent; whether the drive did it, and answered in full, the header says.
    if header.status or header.host_status or header.driver_status or header.resid:
        return None
    return int.from_bytes(answer.raw[1:4], "big")  # byte 0 is the granularity, 4 and 5 the shortest block


def ask_adapter_limit(node: Path) -> int | None:
    """Return the longest transfer, in bytes, that the adapter takes; None if it takes ``SOFT_LIMIT`` or more.

    None, too, if this user may not ask. The kernel answers at most its soft limit for disks; tapes have no such limit.
    """
    generic = find_generic(node)
    if generic is None:
        return None
    with suppress(OSError), _opened(generic, os.O_RDONLY) as descriptor:
        limit = int(struct.unpack("i", fcntl.ioctl(descriptor, BLKSECTGET, bytes(4)))[0])
        return limit if 0 < limit < SOFT_LIMIT else None
    return None


def takes_block(node: Path, size: int) -> bool | None:
    """Tell whether a block of ``size`` bytes gets through, by reading into such a buffer from the tape in the drive.

    st refuses a buffer that is too long for drive or adapter, however short the block. None if the device
    cannot be opened. The tape moves by a block at the most; nothing is written.
    """
    with suppress(OSError), _opened(node, os.O_RDONLY) as descriptor:
        try:
            os.readv(descriptor, [bytearray(size)])
        except OSError as error:
            return error.errno not in TOO_LONG
        return True
    return None


def wipe(node: Path, marker: bytes) -> bool:
    """Make the tape in the drive blank, if its first block begins with ``marker``; return whether it is blank then.

    The end of data is put at the beginning (a short erase); data after that can still be read in a laboratory.
    """
    with suppress(OSError), _opened(node, os.O_RDWR) as descriptor:
        _order(descriptor, MTREW, 1)
        buffer = bytearray(MAX_BLOCK)
        count = _read_first(descriptor, buffer)
        if not marker or bytes(buffer[: min(count, len(marker))]) != marker:
            return False
        _order(descriptor, MTREW, 1)
        _order(descriptor, MTERASE, 0)
        _order(descriptor, MTREW, 1)
        _order(descriptor, MTEOM, 1)
        answer = fcntl.ioctl(descriptor, MTIOCPOS, bytes(struct.calcsize("l")))
        return bool(struct.unpack("l", answer)[0] == 0)
    return False


def _read_first(descriptor: int, buffer: bytearray) -> int:
    """Read a block; a buffer that is longer than the drive takes is refused before anything moves, so try shorter."""
    room = len(buffer)
    while True:
        try:
            return os.readv(descriptor, [memoryview(buffer)[:room]])
        except OSError as error:
            if error.errno not in TOO_LONG or room <= 64 * 1024:
                raise
            room //= 2


def _order(descriptor: int, operation: int, count: int) -> None:
    fcntl.ioctl(descriptor, MTIOCTOP, struct.pack("hi", operation, count))


@contextmanager
def _opened(path: Path, access: int) -> Iterator[int]:
    descriptor = os.open(path, access | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
