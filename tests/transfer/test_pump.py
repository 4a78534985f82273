"""The pump: one stream to several drives, each of which may be slow, or fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.errors import CopyFailed, DriveError, Interrupted
from papertape.events import tell_all
from papertape.transfer.pump import Pump, Target
from papertape.transfer.stop import Stop

from .tapes import FILEMARK, ForgetfulDrive, GatedDrive, MemoryDrive

SIZE = 512
LABEL = b"label" + bytes(SIZE - 5)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def make_pump(*drives: MemoryDrive, ring: int = 8, stop: Stop | None = None) -> Pump:
    targets = [Target(f"VOL{drive.number}", drive, LABEL) for drive in drives]
    return Pump(targets, SIZE, ring * SIZE, tell_all(), stop or Stop())


def block_of(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


def send(pump: Pump, *numbers: int) -> None:
    for number in numbers:
        block = pump.take()
        block.view[:] = block_of(number)
        pump.publish(block, ())


def written(*numbers: int) -> list[object]:
    """Return the tape after these blocks and a filemark."""
    return [LABEL, FILEMARK, *map(block_of, numbers), FILEMARK]


def test_all_copies_are_the_same_and_flushed_at_the_end() -> None:
    drives = [MemoryDrive(0), MemoryDrive(1), MemoryDrive(2)]
    with make_pump(*drives) as pump:
        send(pump, *range(50))
        pump.mark(flush=True)
    for drive, writer in zip(drives, pump.writers, strict=True):
        assert drive.tape == written(*range(50))
        assert (writer.error, writer.bytes, writer.touched) == (None, 51 * SIZE, True)
        assert writer.flushed is not None


def test_without_a_flush_at_the_end_nothing_counts_as_flushed() -> None:
    with make_pump(MemoryDrive(0)) as pump:
        pump.mark(flush=True)
        send(pump, 1)
        pump.mark(flush=False)
    assert pump.writers[0].flushed is None


@given(fail_at=st.integers(1, 24), first=st.booleans(), ring=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_a_drive_that_fails_at_any_object_does_not_hinder_the_other(fail_at: int, first: bool, ring: int) -> None:
    bad, good = MemoryDrive(0 if first else 1, fail_at), MemoryDrive(1 if first else 0)
    with make_pump(bad, good, ring=ring) as pump:
        send(pump, *range(20))
        pump.mark(flush=True)
    assert good.tape == written(*range(20))
    assert bad.tape == good.tape[: fail_at - 1]
    failed, whole = pump.writers
    assert isinstance(failed.error, DriveError) == (fail_at <= 23)
    assert (failed.flushed is None) == (fail_at <= 23)
    assert whole.error is None
    assert whole.flushed is not None


def test_the_reader_side_gets_copy_failed_when_every_copy_has_failed() -> None:
    def pump_for_ever() -> None:
        with pump:
            for number in range(10**9):
                send(pump, number)

    pump = make_pump(MemoryDrive(0, 4), MemoryDrive(1, 9))
    with pytest.raises(CopyFailed) as caught:
        pump_for_ever()
    assert isinstance(caught.value.__cause__, DriveError)
    assert all(writer.error for writer in pump.writers)


def test_a_slow_drive_and_a_fast_one_both_get_everything() -> None:
    slow, fast = GatedDrive(0), MemoryDrive(1)
    with make_pump(slow, fast, ring=6) as pump:
        assert slow.arrived.wait(10)
        send(pump, *range(6))
        slow.let_through(60)
        send(pump, *range(6, 50))
        pump.mark(flush=True)
    assert slow.tape == fast.tape == written(*range(50))


@given(steps=st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(1, 9)), max_size=30))
@settings(max_examples=25, deadline=None)
def test_the_pump_never_stops_in_whatever_order_two_drives_write(steps: list[tuple[int, int]]) -> None:
    drives = [GatedDrive(0), GatedDrive(1)]

    def let_on() -> None:
        for number, objects in steps:
            drives[number].let_through(objects)
        for drive in drives:
            drive.let_through(40)

    other = threading.Thread(target=let_on)
    other.start()
    with make_pump(*drives, ring=5) as pump:
        send(pump, *range(30))
        pump.mark(flush=True)
    other.join()
    assert drives[0].tape == drives[1].tape == written(*range(30))


def test_a_drive_at_the_wrong_position_at_the_end_has_failed() -> None:
    with make_pump(ForgetfulDrive(0)) as pump:
        send(pump, 1, 2)
        pump.mark(flush=True)
    (writer,) = pump.writers
    assert isinstance(writer.error, DriveError)
    assert "stands at logical object 4" in str(writer.error)
    assert writer.flushed is None


def test_stopping_at_once_ends_the_threads_and_drops_what_is_queued() -> None:
    stop, drive = Stop(), MemoryDrive(0)

    def pump_until_stopped() -> None:
        with make_pump(drive, ring=40, stop=stop) as pump:
            send(pump, *range(5))
            stop.ask()
            send(pump, 5)
            stop.ask()
            send(pump, 6)

    with pytest.raises(Interrupted):
        pump_until_stopped()
    assert drive.tape == [LABEL, FILEMARK]


def test_a_bug_in_a_writing_thread_is_not_swallowed() -> None:
    class Broken(MemoryDrive):
        def write_filemark(self, *, flush: bool) -> bool:
            raise ZeroDivisionError

    def pump_a_little() -> None:
        with make_pump(Broken(0), MemoryDrive(1)) as pump:
            send(pump, *range(20))

    with pytest.raises(ZeroDivisionError):
        pump_a_little()


def test_after_one_request_to_stop_the_transfer_goes_on() -> None:
    stop = Stop()
    stop.check()
    stop.ask()
    stop.check()
    assert (stop.soon, stop.now) == (True, False)
    stop.ask()
    with pytest.raises(Interrupted):
        stop.check()
