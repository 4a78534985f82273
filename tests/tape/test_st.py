"""The translation from errno to values and errors, for what no virtual drive answers."""

from __future__ import annotations

import errno
import os

import pytest

from papertape.errors import DriveError, VolumeFull, WriteProtected
from papertape.tape.st import DeviceStatus, StDrive, TapeDevice, TapeOp


class Stubborn:
    """A device that answers everything with one errno, ``times`` times over; no volume tag, as with the kernel."""

    volume_tag: str | None = None

    def __init__(self, number: int, times: int = 99) -> None:
        self.errno = number
        self.times = times

    def answer(self) -> int:
        self.times -= 1
        if self.times >= 0:
            raise OSError(self.errno, os.strerror(self.errno))
        return 0

    def read(self, buffer: memoryview) -> int:
        return self.answer()

    def write(self, block: memoryview) -> int:
        return self.answer()

    def operate(self, op: TapeOp, count: int) -> None:
        self.answer()

    def position(self) -> int:
        return self.answer()

    def status(self) -> DeviceStatus:
        self.answer()
        return DeviceStatus(True, False, False, False, -1, -1)

    def close(self) -> None:
        self.answer()


def drive(number: int, times: int = 99) -> StDrive:
    device: TapeDevice = Stubborn(number, times)
    return StDrive(1, "S1", device)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEDIUM, errno.EBUSY, errno.EINVAL, errno.ENXIO, errno.ENODEV])
def test_no_oserror_comes_out(number: int) -> None:
    calls = [
        lambda d: d.load(),
        lambda d: d.status(),
        lambda d: d.rewind(),
        lambda d: d.locate(5),
        lambda d: d.space(1),
        lambda d: d.read_block(memoryview(bytearray(1))),
        lambda d: d.write_block(memoryview(b"x")),
        lambda d: d.write_filemark(flush=True),
        lambda d: d.position(),
        lambda d: d.close(),
    ]
    for call in calls:
        with pytest.raises(DriveError, match=r"^drive 1: .*(failed: |refuses blocks)"):
            call(drive(number))


def test_unloading_an_empty_drive_is_fine_and_a_sick_one_is_not() -> None:
    drive(errno.ENOMEDIUM).unload()
    with pytest.raises(DriveError, match="unloading failed"):
        drive(errno.EIO).unload()


def test_one_enospc_is_early_warning_and_two_are_the_end() -> None:
    assert drive(errno.ENOSPC, 1).write_block(memoryview(b"x")) is True
    assert drive(errno.ENOSPC, 1).write_filemark(flush=False) is True
    with pytest.raises(VolumeFull, match="the physical end of the tape was reached in drive 1"):
        drive(errno.ENOSPC).write_block(memoryview(b"x"))
    with pytest.raises(VolumeFull):
        drive(errno.ENOSPC).write_filemark(flush=True)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_refusal_to_write_is_the_tab(number: int) -> None:
    with pytest.raises(WriteProtected, match=r"volume \(tag unknown\): it is write-protected \(drive 1\)"):
        drive(number).write_block(memoryview(b"x"))


def test_an_error_in_the_retry_is_reported_with_its_own_cause() -> None:
    class ThenBroken(Stubborn):
        def answer(self) -> int:
            number, self.errno = self.errno, errno.EIO
            raise OSError(number, os.strerror(number))

    with pytest.raises(DriveError, match="writing a block failed"):
        StDrive(1, "S1", ThenBroken(errno.ENOSPC)).write_block(memoryview(b"x"))
