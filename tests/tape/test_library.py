"""The library's policy: what is loaded, from where, into which drive, and that everything comes home."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from papertape.errors import (
    ChangerError,
    DriveError,
    HostError,
    LabelUnreadable,
    LibraryFull,
    TooFewDrives,
    UserError,
    VolumeError,
    VolumeMissing,
)
from papertape.events import Event, RobotMoves, tell_all
from papertape.tape.changer import Changer, Element
from papertape.tape.drive import Drive
from papertape.tape.library import Library
from papertape.tape.virtual.faults import Faults
from papertape.tape.virtual.library import VirtualLibrary, add_cartridge

from .devices import edit, mail, read, slot, write
from .small_library import HOME, Hearing, changer, leave_in_drive, make_library, open_library, where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_library(tmp_path / "library")


@pytest.fixture
def hearing() -> Hearing:
    return Hearing()


@pytest.fixture
def library(folder: Path, hearing: Hearing) -> Library:
    return open_library(folder, hearing)


def test_volumes_are_mounted_in_the_order_of_their_tags_and_brought_home(
    folder: Path, library: Library, hearing: Hearing
) -> None:
    with library.reserve(2) as session:
        assert session.drives == (0, 1)
        with session.mounted(["A2", "A1"]) as drives:
            assert [drive.number for drive in drives] == [0, 1]
            assert [drive.status().at_bot and drive.status().ready for drive in drives] == [True, True]
            assert where(folder) == {**HOME, "A2": "drive 0", "A1": "drive 1"}
        assert where(folder) == HOME
    assert hearing.moves == [
        ("A2", "slot 2", "drive 0"),
        ("A1", "slot 1", "drive 1"),
        ("A2", "drive 0", "slot 2"),
        ("A1", "drive 1", "slot 1"),
    ]
    assert hearing.waits == []


def test_the_drives_can_be_chosen(folder: Path, library: Library) -> None:
    with library.reserve(2) as session, session.mounted(["A2", "A1"], drives=(1, 0)) as drives:
        assert [drive.number for drive in drives] == [1, 0]
        assert where(folder) == {**HOME, "A2": "drive 1", "A1": "drive 0"}


def test_a_kept_volume_is_rewound_and_not_reloaded(folder: Path, library: Library, hearing: Hearing) -> None:
    with library.reserve(2) as session:
        with session.mounted(["A1", "A2"], keep=True) as (drive, _):
            write(drive, b"data")
        assert where(folder) == {**HOME, "A1": "drive 0", "A2": "drive 1"}
        with session.mounted(["A1", "A2"]) as (drive, _):
            assert read(drive) == b"data"
            assert len(hearing.moves) == 2
    assert where(folder) == HOME


def test_two_volumes_swap_their_drives(folder: Path, library: Library) -> None:
    with library.reserve(2) as session:
        with session.mounted(["A1", "A2"], keep=True) as (drive, _):
            write(drive, b"first")
        with session.mounted(["A1", "A2"], drives=(1, 0)) as (drive, _):
            assert (drive.number, read(drive)) == (1, b"first")
            assert where(folder) == {**HOME, "A1": "drive 1", "A2": "drive 0"}
    assert where(folder) == HOME


def test_cartridges_still_in_drives_come_home_at_the_end_of_the_session(folder: Path, library: Library) -> None:
    leave_in_drive(folder, 3, 1)
    with library.reserve(2) as session, session.mounted(["A1"], keep=True):
        pass
    assert where(folder) == HOME


def test_another_volume_in_the_drive_is_brought_home_first(folder: Path, library: Library, hearing: Hearing) -> None:
    leave_in_drive(folder, 3, 0)
    with library.reserve(1) as session, session.mounted(["A1"]):
        assert where(folder) == {**HOME, "A1": "drive 0"}
    assert hearing.moves[0] == ("B1", "drive 0", "slot 3")


def test_a_volume_whose_home_was_taken_goes_to_a_free_slot(folder: Path, library: Library) -> None:
    with library.reserve(1) as session, session.mounted(["A1"]):
        changer(folder).move(slot(2), slot(1))
    assert where(folder) == {**HOME, "A2": "slot 1", "A1": "slot 2"}


def fill_slots(folder: Path) -> None:
    add_cartridge(folder, "NEW1")
    add_cartridge(folder, "NEW2")


def test_no_free_slot_is_said_and_the_volume_named(folder: Path, library: Library) -> None:
    with pytest.raises(ChangerError, match="volume A1 cannot be moved: no slot is free; take a cartridge out"):  # noqa: SIM117
        with library.reserve(1) as session, session.mounted(["A1"]):
            fill_slots(folder)
    assert where(folder)["A1"] == "drive 0"


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("NONE", "volume NONE: not in the library; put it into a slot"),
        ("CLN001", "volume CLN001: a cleaning cartridge"),
        ("B1", "volume B1: lies in mail slot 6"),
        ("A2", "volume A2: in the library more than once, in slot 2 and slot 5; take the wrong one out"),
    ],
)
def test_cartridges_that_are_never_loaded(
    folder: Path, library: Library, hearing: Hearing, tag: str, reason: str
) -> None:
    changer(folder).move(slot(3), mail(6))
    add_cartridge(folder, "TWIN", element=slot(5))
    edit(folder / "cartridges" / "TWIN" / "cartridge.json", barcode="A2")
    with library.reserve(2) as session, pytest.raises(VolumeError, match=reason), session.mounted(["A1", tag]):
        pytest.fail("mounted")
    assert hearing.moves == []


def test_a_cartridge_without_a_readable_label_is_not_loaded_but_put_away(folder: Path, library: Library) -> None:
    edit(folder / "cartridges" / "A2" / "cartridge.json", barcode=None)
    leave_in_drive(folder, 2, 0)
    with library.reserve(1) as session, session.mounted(["A1"]):
        assert where(folder) == {"A1": "drive 0", "B1": "slot 3", "CLN001": "slot 4", None: "slot 2"}


def test_a_volume_is_named_once(library: Library) -> None:
    with library.reserve(2) as session, pytest.raises(VolumeError, match="twice"), session.mounted(["A1", "A1"]):
        pytest.fail("mounted")
    with library.reserve(2) as session, pytest.raises(DriveError, match="named twice"):  # noqa: SIM117
        with session.mounted(["A1", "A2"], drives=(0, 0)):
            pytest.fail("mounted")


def test_a_volume_left_in_another_drive_is_not_taken_from_there(folder: Path, library: Library) -> None:
    leave_in_drive(folder, 1, 1)
    reason = r"volume A1: is in drive 1, where it was left; unload it first \('papertape library unload 1'\)"
    with library.reserve(1) as session, pytest.raises(VolumeError, match=reason), session.mounted(["A1"]):
        pytest.fail("mounted")


def test_a_volume_in_use_by_another_session_is_not_taken(folder: Path, library: Library) -> None:
    other = open_library(folder, tell_all())
    with library.reserve(1) as session, session.mounted(["A1"]), other.reserve(1) as second:
        assert (session.drives, second.drives) == ((0,), (1,))
        with pytest.raises(VolumeError, match="is in drive 0, which is in use by process"), second.mounted(["A1"]):
            pytest.fail("mounted")


def test_too_few_drives(library: Library) -> None:
    with pytest.raises(TooFewDrives, match="too few drives: 3 needed at once, 2 available"), library.reserve(3):
        pytest.fail("reserved")
    with pytest.raises(DriveError, match="drive 7: missing: the library has drive 0 and drive 1"):  # noqa: SIM117
        with library.reserve(numbers=[7]):
            pytest.fail("reserved")
    with (
        library.reserve(1) as session,
        pytest.raises(TooFewDrives, match="2 needed at once, 1 available"),
        session.mounted(["A1", "A2"]),
    ):
        pytest.fail("mounted")


def test_a_drive_that_was_not_reserved_is_not_used(library: Library) -> None:
    with library.reserve(numbers=[1, 1]) as session:
        assert session.drives == (1,)
        with pytest.raises(DriveError, match="drive 0: this session has not reserved it"):
            session.load("A1", 0)


def test_a_missing_drive_is_found_before_anything_moves(folder: Path, library: Library, hearing: Hearing) -> None:
    shutil.rmtree(folder / "drives" / "1")
    with pytest.raises(DriveError, match=r"drive 1: missing: the folder .*drives/1 is gone"):  # noqa: SIM117
        with library.reserve(2) as session, session.mounted(["A1", "A2"]):
            pytest.fail("mounted")
    assert hearing.moves == []
    assert where(folder) == HOME


def test_lock_files_that_cannot_be_made(folder: Path) -> None:
    (folder / "locks").write_text("in the way")
    with pytest.raises(HostError, match="lock files"), open_library(folder, tell_all()).reserve(1):
        pytest.fail("reserved")


def test_load_leaves_the_volume_in_the_drive_and_unload_brings_it_home(folder: Path, library: Library) -> None:
    with library.reserve(numbers=[1]) as session:
        session.load("A1", 1)
    assert where(folder) == {**HOME, "A1": "drive 1"}
    with library.reserve(numbers=[1]) as session:
        session.load("A2", 1)
    assert where(folder) == {**HOME, "A2": "drive 1"}
    with library.reserve(numbers=[1]) as session:
        session.unload(1)
        session.unload(1)
        assert where(folder) == HOME


def _write_and_raise(drive: Drive, error: type[BaseException] | BaseException) -> None:
    write(drive, b"data")
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, VolumeError("A1", "bad")])
@pytest.mark.parametrize("keep", [False, True])
def test_whatever_happens_the_volumes_come_home(folder: Path, library: Library, error: type, keep: bool) -> None:
    with pytest.raises(error if isinstance(error, type) else type(error)):  # noqa: SIM117
        with library.reserve(2) as session, session.mounted(["A1", "A2"], keep=keep) as (first, _):
            _write_and_raise(first, error)
    assert where(folder) == HOME


def test_an_error_in_one_drive_does_not_keep_the_other_loaded(folder: Path, hearing: Hearing) -> None:
    faults = Faults().fail("unload", drive=0, lasting=True)
    library = open_library(folder, hearing, faults)
    with faults, pytest.raises(DriveError, match=r"injected fault in unload.*; volume A1 is still in it"):  # noqa: SIM117
        with library.reserve(2) as session, session.mounted(["A1", "A2"]):
            pass
    assert where(folder) == {**HOME, "A1": "drive 0"}


def test_an_error_in_cleaning_up_is_a_note_on_the_first_one(folder: Path) -> None:
    faults = Faults().fail("unload", drive=1)
    library = open_library(folder, tell_all(), faults)
    with faults, pytest.raises(VolumeError) as caught:  # noqa: SIM117
        with library.reserve(2) as session, session.mounted(["A1", "A2"]):
            raise VolumeError("A1", "bad")
    assert "injected fault in unload" in "".join(caught.value.__notes__)
    assert where(folder) == HOME  # the end of the session tried once more


def test_a_failed_move_says_where_the_cartridge_is(folder: Path) -> None:
    faults = Faults().fail("move", at=2)
    library = open_library(folder, tell_all(), faults)
    with faults, pytest.raises(ChangerError, match=r"injected fault in move.*; volume A2 is now in slot 2"):  # noqa: SIM117
        with library.reserve(2) as session, session.mounted(["A1", "A2"]):
            pytest.fail("mounted")
    assert where(folder) == HOME


class Thief:
    """Takes a cartridge out of its slot while the robot sets off for one."""

    def __init__(self, folder: Path, number: int, during: str) -> None:
        self._folder = folder
        self._number = number
        self._during = during

    def __call__(self, event: Event) -> None:
        if isinstance(event, RobotMoves) and event.volume == self._during:
            self._during = ""
            slots = msgspec.json.decode((self._folder / "library.json").read_bytes())["slots"]
            edit(self._folder / "library.json", slots=[*slots[: self._number - 1], None, *slots[self._number :]])


@pytest.mark.parametrize(
    ("during", "reason"),
    [
        ("A1", "volume A2: not in the library; put it into a slot, or name another volume"),
        ("A2", "volume A2: has been taken out of slot 2; put it into a slot, or name another volume"),
    ],
)
def test_a_volume_that_is_taken_out_at_the_last_moment_is_missing(folder: Path, during: str, reason: str) -> None:
    library = open_library(folder, Thief(folder, 2, during))
    with pytest.raises(VolumeMissing) as caught, library.reserve(2) as session, session.mounted(["A1", "A2"]):
        pytest.fail("mounted")
    assert str(caught.value) == reason
    assert where(folder) == {tag: place for tag, place in HOME.items() if tag != "A2"}


def test_a_volume_that_is_taken_out_at_the_last_moment_is_not_moved(folder: Path) -> None:
    with pytest.raises(VolumeMissing, match="volume A1: has been taken out of slot 1; put it into a slot"):
        open_library(folder, Thief(folder, 1, "A1")).move("A1", 5)


def test_an_empty_slot_is_the_changers_fault_if_the_volume_is_elsewhere(folder: Path) -> None:
    def move(event: Event) -> None:
        if isinstance(event, RobotMoves):
            changer(folder).move(slot(1), slot(5))

    with pytest.raises(ChangerError, match="slot 1 is empty; volume A1 is now in slot 5"):
        open_library(folder, move).move("A1", 2)


class Liar:
    """A changer that reports success and did nothing."""

    def __init__(self, changer: Changer) -> None:
        self.inventory = changer.inventory

    def move(self, source: Element, destination: Element) -> None:
        pass


def test_a_move_is_not_believed_before_it_is_seen(folder: Path) -> None:
    virtual = VirtualLibrary(folder)
    library = Library(Liar(virtual.changer), virtual.drives, folder / "locks", tell_all())
    with pytest.raises(ChangerError, match="reports success, but volume A1 is now in slot 1"):  # noqa: SIM117
        with library.reserve(1) as session, session.mounted(["A1"]):
            pytest.fail("mounted")


def mount_and_unmount(library: Library) -> int:
    with library.reserve(2) as session, session.mounted(["A1", "A2"]) as drives:
        write(drives[0], b"data")
    return 0


def test_a_fault_at_every_call_leaves_every_cartridge_in_place_or_named(folder: Path) -> None:
    counting = Faults()
    mount_and_unmount(open_library(folder, tell_all(), counting))
    assert counting.calls > 20
    for number in range(1, counting.calls + 1):
        faults = Faults(fail_at=number)
        with faults, pytest.raises((DriveError, ChangerError)) as caught:
            mount_and_unmount(open_library(folder, tell_all(), faults))
        for tag, place in where(folder).items():
            assert place == HOME[str(tag)] or f"{place}: " in str(caught.value), (number, faults.log[number - 1])
        mount_and_unmount(open_library(folder, tell_all()))
        assert where(folder) == HOME


def test_a_drive_is_not_left_open(folder: Path, library: Library) -> None:
    kept: list[Drive] = []
    with library.reserve(1) as session, session.mounted(["A1"], keep=True) as drives:
        kept.extend(drives)
    VirtualLibrary(folder).drives[0].open().close()
    with pytest.raises(DriveError):
        read(kept[0])


def test_volumes_are_moved_between_slots_and_the_door(folder: Path, library: Library) -> None:
    assert library.move("A1", 5) == slot(5)
    assert library.send_out("A2") == mail(6)
    assert where(folder) == {**HOME, "A1": "slot 5", "A2": "mail slot 6"}
    assert list(library.bring_in()) == [("A2", slot(1))]
    assert list(library.bring_in()) == []
    assert where(folder) == {**HOME, "A1": "slot 5", "A2": "slot 1"}


def test_a_move_by_hand_that_cannot_be_made_says_why(folder: Path, library: Library) -> None:
    with pytest.raises(UserError, match="no slot 7: its slots and mail slots are 1 to 6"):
        library.move("A1", 7)
    with pytest.raises(VolumeError, match="nowhere in the library"):
        library.move("A9", 5)
    with pytest.raises(ChangerError, match="slot 2 is full"):
        library.move("A1", 2)
    library.send_out("A1")
    with pytest.raises(LibraryFull, match="no mail slot is free"):
        library.send_out("A2")
    leave_in_drive(folder, 2, 0)
    with pytest.raises(VolumeError, match="unload it first"):
        library.move("A2", 5)
    assert where(folder) == {**HOME, "A1": "mail slot 6", "A2": "drive 0"}


def test_a_cartridge_without_a_label_is_left_at_the_door(folder: Path, library: Library) -> None:
    library.send_out("A1")
    edit(folder / "cartridges/A1/cartridge.json", barcode=None)
    with pytest.raises(LabelUnreadable, match="no readable label"):
        list(library.bring_in())
