"""What papertape asks of any drive: the docstrings of ``Drive``, and the facts of Linux ``st`` behind them."""

from __future__ import annotations

import pytest

from papertape.errors import DriveBusy, DriveError, VolumeFull, WriteProtected
from papertape.tape.drive import Drive, Mark

from .devices import KIB, DevicesUnderTest, drive_at, is_blank, read, read_all, slot, write

FM, EOD = Mark.FILEMARK, Mark.END_OF_DATA


def test_a_blank_tape_has_its_end_of_data_at_its_beginning(drive: Drive) -> None:
    status = drive.status()
    assert (status.ready, status.at_bot, status.write_protected) == (True, True, False)
    assert (status.file_number, status.block_number, drive.position()) == (0, 0, 0)
    drive.space(EOD)
    assert drive.position() == 0
    assert read(drive) is EOD
    assert read(drive) is EOD


def test_reading_a_blank_tape_is_an_error_which_proves_nothing(drive: Drive) -> None:
    with pytest.raises(DriveError, match="EIO"):
        read(drive)


def test_blocks_come_back_in_their_own_lengths(drive: Drive) -> None:
    blocks = [b"a", b"b" * 512, b"c" * 511, b"d" * 512, b"e" * 512, b"f" * (64 * KIB)]
    write(drive, *blocks)
    drive.rewind()
    assert read_all(drive) == [*blocks, FM, EOD]


def test_eight_mebibytes_are_the_longest_block_refused_beyond(drive: Drive) -> None:
    with pytest.raises(DriveError):
        drive.write_block(memoryview(bytes(8 * 1024 * KIB + 4)))
    assert is_blank(drive)
    write(drive, b"shorter")  # nothing was done, so nothing is in doubt


def test_a_filemark_is_passed_by_being_read(drive: Drive) -> None:
    write(drive, b"one")
    drive.write_filemark(flush=True)
    drive.write_filemark(flush=False)
    write(drive, b"two")
    drive.write_filemark(flush=False)
    drive.rewind()
    assert read_all(drive) == [b"one", FM, FM, b"two", FM, EOD]
    assert read(drive) is EOD


def test_a_block_longer_than_the_buffer_is_an_error_and_skipped(drive: Drive) -> None:
    write(drive, b"long" * 100, b"short")
    drive.rewind()
    with pytest.raises(DriveError, match="longer than the buffer of 399 bytes"):
        read(drive, 399)
    assert drive.position() == 1
    assert read(drive, 399) == b"short"


@pytest.mark.parametrize("leave", ["rewind", "locate", "unload", "close"])
def test_a_filemark_is_written_after_the_last_block(devices: DevicesUnderTest, drive: Drive, leave: str) -> None:
    write(drive, b"data")
    {
        "rewind": drive.rewind,
        "locate": lambda: drive.locate(0),
        "unload": drive.unload,
        "close": drive.close,
    }[leave]()
    drive.close()
    with_other = devices.drives[0].open()
    with_other.load()
    assert read_all(with_other) == [b"data", FM, EOD]
    with_other.close()


def test_spacing_to_the_end_writes_no_filemark_after_the_last_block(drive: Drive) -> None:
    write(drive, b"data")
    drive.space(EOD)
    assert drive.position() == 1
    drive.rewind()
    assert read(drive) == b"data"
    with pytest.raises(DriveError, match="EIO"):
        read(drive)


def test_spacing_back_does_not_count_the_filemark_that_it_writes(drive: Drive) -> None:
    write(drive, b"0")
    drive.write_filemark(flush=False)
    write(drive, b"2")
    drive.space(-1)
    assert drive.position() == 1
    drive.rewind()
    assert read_all(drive) == [b"0", FM, b"2", FM, EOD]


def test_no_second_filemark_after_one_that_was_written(drive: Drive) -> None:
    write(drive, b"data")
    drive.write_filemark(flush=False)
    drive.rewind()
    assert read_all(drive) == [b"data", FM, EOD]


def test_positions_count_blocks_and_filemarks_alike(drive: Drive) -> None:
    write(drive, b"0", b"1")
    drive.write_filemark(flush=False)
    write(drive, b"3")
    assert drive.position() == 4
    drive.rewind()
    assert drive.position() == 0
    for position, met in enumerate([b"0", b"1", FM, b"3", FM, EOD]):
        assert drive.position() == position
        assert read(drive) == met
    for position, met in reversed(list(enumerate([b"0", b"1", FM, b"3", FM]))):
        drive.locate(position)
        assert drive.position() == position
        assert read(drive) == met


def test_the_end_of_data_that_was_located_is_not_known_as_such(drive: Drive) -> None:
    write(drive, b"0")
    drive.write_filemark(flush=False)
    drive.locate(2)
    with pytest.raises(DriveError, match="EIO"):
        read(drive)


def test_after_a_locate_the_drive_does_not_know_file_and_block(drive: Drive) -> None:
    write(drive, b"0", b"1")
    drive.locate(1)
    assert (drive.status().file_number, drive.status().block_number) == (None, None)
    drive.rewind()
    assert (drive.status().file_number, drive.status().block_number) == (0, 0)


def test_locating_beyond_the_end_is_an_error_and_ends_there(drive: Drive) -> None:
    write(drive, b"0")
    drive.write_filemark(flush=False)
    with pytest.raises(DriveError, match="locating object 99"):
        drive.locate(99)
    assert drive.position() == 2
    with pytest.raises(DriveError, match="EIO"):  # which is never taken for the end of data
        read(drive)
    drive.rewind()
    assert read_all(drive) == [b"0", FM, EOD]


def test_spacing_over_filemarks(drive: Drive) -> None:
    for block in (b"0", b"1", b"2"):
        write(drive, block)
        drive.write_filemark(flush=False)
    drive.rewind()
    drive.space(2)
    assert (drive.status().file_number, drive.status().block_number) == (2, 0)
    assert read(drive) == b"2"
    drive.space(-2)
    assert (drive.position(), read(drive)) == (1, FM)
    drive.space(0)
    assert read(drive) == b"1"


def test_spacing_beyond_the_end_or_the_beginning_is_an_error(drive: Drive) -> None:
    write(drive, b"0")
    drive.rewind()
    with pytest.raises(DriveError):
        drive.space(2)
    assert read(drive) is EOD
    with pytest.raises(DriveError):
        drive.space(-2)
    assert drive.position() == 0


def test_appending_at_the_end_of_data(drive: Drive) -> None:
    write(drive, b"0")
    drive.rewind()
    drive.space(EOD)
    assert drive.position() == 2
    write(drive, b"1")
    drive.rewind()
    assert read_all(drive) == [b"0", FM, b"1", FM, EOD]


@pytest.mark.parametrize(
    ("at", "kept"), [(0, []), (1, [b"0"]), (2, [b"0", b"1"]), (3, [b"0", b"1", FM]), (4, [b"0", b"1", FM, b"3"])]
)
def test_everything_after_a_written_block_is_gone(drive: Drive, at: int, kept: list[object]) -> None:
    write(drive, b"0", b"1")
    drive.write_filemark(flush=False)
    write(drive, b"3", b"4")
    drive.write_filemark(flush=False)
    write(drive, b"6")
    drive.locate(at)
    write(drive, b"new")
    assert drive.position() == at + 1
    drive.rewind()
    assert read_all(drive) == [*kept, b"new", FM, EOD]


def test_everything_after_a_written_filemark_is_gone(drive: Drive) -> None:
    write(drive, b"0", b"1", b"2")
    drive.locate(1)
    drive.write_filemark(flush=True)
    drive.rewind()
    assert read_all(drive) == [b"0", FM, EOD]


def test_early_warning_is_a_value_and_the_physical_end_an_error(devices: DevicesUnderTest, drive: Drive) -> None:
    block = memoryview(bytes(devices.block))
    warnings = []
    full = None
    while full is None:
        try:
            warnings.append(drive.write_block(block))
        except VolumeFull as error:
            full = error
    assert (full.volume_tag, full.exit_code) == ("AAA001", 5)
    assert devices.capacity - 2 * len(block) < len(warnings) * len(block) <= devices.capacity
    warned_from = warnings.index(True)
    assert all(warnings[warned_from:])
    assert devices.capacity // 4 < warned_from * len(block) < devices.capacity - 2 * len(block)
    assert drive.write_filemark(flush=True) is True
    with pytest.raises(VolumeFull):
        drive.write_block(block)
    drive.rewind()
    assert len(read_all(drive, devices.block)) == len(warnings) + 3  # st marks the end of a write that failed, too
    drive.rewind()
    assert drive.write_block(block) is False


def test_an_empty_drive_opens_and_is_not_ready(devices: DevicesUnderTest) -> None:
    drive = devices.drives[0].open()
    status = drive.status()
    assert (status.ready, status.at_bot, status.write_protected) == (False, False, False)
    assert (status.file_number, status.block_number) == (None, None)
    drive.unload()
    for call in (drive.load, drive.rewind, drive.position, lambda: read(drive), lambda: write(drive, b"x")):
        with pytest.raises(DriveError, match=r"^drive 0: "):
            call()
    drive.close()


def test_an_unloaded_cartridge_stays_in_the_drive_and_loads_again(devices: DevicesUnderTest, drive: Drive) -> None:
    write(drive, b"data")
    drive.unload()
    assert not drive.status().ready
    status = devices.changer.inventory().at(drive_at(0))
    assert status is not None
    assert (status.full, status.volume_tag) == (True, "AAA001")
    with pytest.raises(DriveError, match="no cartridge is ready"):
        read(drive)
    drive.load()
    assert read_all(drive) == [b"data", FM, EOD]


def test_a_second_opener_gets_the_error_that_the_drive_is_in_use(devices: DevicesUnderTest, drive: Drive) -> None:
    with pytest.raises(DriveBusy, match=r"^drive 0: it is in use"):
        devices.drives[0].open()
    other = devices.drives[1].open()
    other.close()


def test_the_tape_stays_where_it_is_when_the_drive_is_closed(devices: DevicesUnderTest, drive: Drive) -> None:
    write(drive, b"0", b"1", b"2")
    drive.locate(1)
    drive.close()
    again = devices.drives[0].open()
    assert again.position() == 1
    assert read(again) == b"1"
    again.close()
    again.close()


def test_a_protected_cartridge_reads_and_refuses_to_be_written(devices: DevicesUnderTest) -> None:
    devices.protect("AAA002")
    devices.changer.move(slot(2), drive_at(1))
    drive = devices.drives[1].open("AAA002")
    drive.load()
    assert drive.status().write_protected
    with pytest.raises(WriteProtected, match="volume AAA002: it is write-protected") as caught:
        write(drive, b"x")
    assert caught.value.volume_tag == "AAA002"
    with pytest.raises(WriteProtected):
        drive.write_filemark(flush=True)
    assert is_blank(drive)
    drive.close()


def test_a_drive_has_a_number_and_a_serial(devices: DevicesUnderTest) -> None:
    drives = [source.open() for source in devices.drives]
    assert [drive.number for drive in drives] == [0, 1]
    assert len({drive.serial for drive in drives}) == 2
    for drive in drives:
        drive.close()
