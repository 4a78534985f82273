"""Injected faults: counted, logged, once or lasting, and an error if they never came."""

from __future__ import annotations

import pytest

from papertape.errors import ChangerError, DriveError, VolumeFull
from papertape.tape.drive import Drive, Mark
from papertape.tape.virtual.faults import Call, Faults

from .devices import DevicesUnderTest, drive_at, read, slot, write


def loaded(devices: DevicesUnderTest, faults: Faults) -> Drive:
    faults.changer(devices.changer).move(slot(1), drive_at(0))
    drive = faults.drive(devices.drives[0]).open()
    drive.load()
    return drive


def test_every_call_is_counted_and_passed_on(devices: DevicesUnderTest) -> None:
    faults = Faults()
    drive = loaded(devices, faults)
    write(drive, b"data")
    drive.write_filemark(flush=False)
    drive.space(-1)
    drive.space(Mark.END_OF_DATA)
    drive.locate(0)
    assert (read(drive), drive.position(), drive.status().ready) == (b"data", 1, True)
    drive.rewind()
    drive.unload()
    drive.close()
    faults.changer(devices.changer).inventory()
    assert faults.calls == len(faults.log) == 15
    assert faults.log[:3] == [Call("move", None), Call("open", 0), Call("load", 0)]
    assert faults.fired


def test_the_chosen_call_of_all_fails_once(devices: DevicesUnderTest) -> None:
    with Faults(fail_at=4) as faults:
        drive = loaded(devices, faults)
        with pytest.raises(DriveError, match="drive 0: injected fault in write_block, call 4"):
            write(drive, b"data")
        assert faults.fired
        write(drive, b"data")
        drive.close()


def test_a_changer_fails_with_its_own_kind_of_error(devices: DevicesUnderTest) -> None:
    with Faults(fail_at=1) as faults, pytest.raises(ChangerError, match="from slot 1 to drive 0: injected"):
        faults.changer(devices.changer).move(slot(1), drive_at(0))
    with Faults(fail_at=1) as faults, pytest.raises(ChangerError):
        faults.changer(devices.changer).inventory()
    with Faults(fail_at=1) as faults, pytest.raises(DriveError):
        faults.drive(devices.drives[1]).open()


def test_a_method_of_one_drive_fails_with_the_error_asked_for(devices: DevicesUnderTest) -> None:
    error = VolumeFull("AAA001", "worn")
    with Faults().fail("write_block", at=2, drive=0, error=error) as faults:
        drive = loaded(devices, faults)
        write(drive, b"1")
        with pytest.raises(VolumeFull, match="worn"):
            write(drive, b"2")
        write(drive, b"2")
        drive.rewind()
        assert [read(drive), read(drive)] == [b"1", b"2"]
        drive.close()


def test_a_lasting_fault_stays_with_its_device(devices: DevicesUnderTest) -> None:
    with Faults(fail_at=4, lasting=True) as faults:
        drive = loaded(devices, faults)
        for _ in range(3):
            with pytest.raises(DriveError):
                drive.position()
        with pytest.raises(DriveError):
            drive.close()
        faults.changer(devices.changer).inventory()
    devices.drives[0].open().close()  # the failed close closed it


def test_a_fault_that_never_fired_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="never fired in 0 calls"), Faults(fail_at=1) as faults:
        assert not faults.fired
    with pytest.raises(ValueError, match="mine"), Faults(fail_at=1):
        raise ValueError("mine")
