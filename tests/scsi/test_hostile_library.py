"""A library in which nothing is as it should be: the right sentence, the exit code that is documented, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from rig.library import TapeLibrary

from .invariants import check_nothing_unproven
from .machine import Lab, Machine, Ran

pytestmark = pytest.mark.rig

SLOTS = 12
ALL_WELL, NOTHING_TO_DO, VOLUME, DRIVE, CHANGER, VERIFICATION = 0, 3, 5, 6, 7, 8


class Pair(NamedTuple):
    """Two blank volumes, registered, in slots."""

    first: str
    second: str
    slots: tuple[int, int]


class Shelf:
    """The library's slots, empty at first, and a machine that knows of data that waits."""

    def __init__(self, lab: Lab, machine: Machine) -> None:
        self.lab = lab
        self.library = lab.library
        self.machine = machine
        self._free = list(range(1, SLOTS + 1))

    def lay(self, barcode: str) -> int:
        """Make a cartridge and put it into the next free slot, whose number is returned."""
        slot = self._free.pop(0)
        self.library.make(barcode, 64)
        self.library.put_in(slot, barcode)
        return slot

    def pair(self) -> Pair:
        number = len(self.machine.volumes()) // 2 + 1
        tags = (f"PAPR1{number:03}", f"PAPR2{number:03}")
        self.machine.ok("volumes", "add", *tags, "--capacity", "64MiB")
        return Pair(*tags, (self.lay(tags[0]), self.lay(tags[1])))

    def full_pair(self) -> Pair:
        """A pair that is archived."""
        pair = self.pair()
        self.machine.ok("dump")
        self.need_data()
        return pair

    def need_data(self) -> None:
        if "waiting" not in self.machine.states("datasets"):
            night = self.lab.folder / f"night{len(self.machine.states('datasets'))}"
            self.machine.ok("add", *sorted(night.iterdir()))

    def write(self, slot: int, line: str) -> None:
        """Have a line of the shell write to the tape in ``slot``."""
        self.machine.sh(f"mtx -f $CHANGER load {slot} 0; {line}; mtx -f $CHANGER unload {slot} 0")

    def call(self, slot: int, function: str, *arguments: object) -> None:
        """Call a function for the tape in ``slot``, in drive 0."""
        self.machine.mtx("load", slot, 0)
        self.machine.call(function, "/dev/nst0", *arguments)
        self.machine.mtx("unload", slot, 0)

    def refuse(self, code: int, untouched: Sequence[str], *command: str) -> Ran:
        """Run a command, by default a dump, that is refused with ``code``, and leaves these cartridges as they are."""
        before, where = self.lab.digests(untouched), self.machine.where()
        ran = self.machine.papertape(*(command or ("dump",)))
        assert ran.code == code, ran
        assert self.lab.digests(untouched) == before
        assert self.machine.where() == where
        check_nothing_unproven(self.machine)
        return ran

    def succeed(self, pair: Pair) -> None:
        """A dump is archived on this pair, and everything is at home."""
        self.machine.ok("dump")
        self.check_archived(pair)

    def check_archived(self, pair: Pair) -> None:
        assert {pair.first, pair.second} <= check_nothing_unproven(self.machine)
        where = self.machine.where()
        assert [where.get(f"slot {slot}") for slot in pair.slots] == [pair.first, pair.second]
        assert not [element for element in where if element.startswith("drive")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Machine]]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    with TapeLibrary(slots=SLOTS, cartridges={}) as library:
        lab = Lab(folder, library, patience=2)
        for number in range(24):
            lab.make_night(f"night{4 * number}", 1)
        with lab.boot() as machine:
            machine.ok("status")
            yield lab, machine


@pytest.fixture
def shelf(lab: tuple[Lab, Machine]) -> Shelf:
    """Bare slots and empty drives, whatever the test before has left."""
    library, machine = lab[0].library, lab[1]
    library.take_out(SLOTS)
    for element in machine.where():
        kind, number = element.split()
        if kind == "drive":
            machine.call("guest_actions.unlock_door", f"/dev/nst{number}")
            machine.mtx("unload", SLOTS, number)
            library.take_out(SLOTS)
    for slot in range(1, SLOTS):
        library.take_out(slot)
    shelf = Shelf(*lab)
    shelf.need_data()
    return shelf


def test_cartridges_left_in_drives_are_brought_home_first(shelf: Shelf) -> None:
    pair, foreign = shelf.pair(), shelf.lay("FOREIGN")
    shelf.write(foreign, "tar -C /etc -cf /dev/nst0 fstab")
    before = shelf.lab.digest("FOREIGN")
    shelf.machine.mtx("load", foreign, 0)
    shelf.machine.mtx("load", pair.slots[0], 1)
    shelf.succeed(pair)
    assert shelf.machine.where()[f"slot {foreign}"] == "FOREIGN"
    assert shelf.lab.digest("FOREIGN") == before


def test_a_cartridge_that_was_put_offline_in_its_drive_is_brought_home(shelf: Shelf) -> None:
    pair = shelf.pair()
    shelf.machine.mtx("load", pair.slots[1], 0)
    shelf.machine.sh("mt -f /dev/nst0 offline")
    shelf.succeed(pair)


def test_a_cartridge_loaded_by_hand_before_the_writing_ends_the_dump(shelf: Shelf) -> None:
    pair, other = shelf.pair(), shelf.lay("PAPR9999")
    before = shelf.lab.digests(pair[:2])
    job = shelf.machine.start(["dump"], pause=f"moving {pair.second}")
    job.paused()
    shelf.machine.mtx("load", other, 1)
    ran = job.go().wait()
    assert ran.code == CHANGER
    assert f"moving a cartridge from slot {pair.slots[1]} to drive 1: drive 1 is full" in ran.sentences
    assert f"volume {pair.second} is now in slot {pair.slots[1]}" in ran.sentences
    assert shelf.lab.digests(pair[:2]) == before
    shelf.succeed(pair)


def test_a_cartridge_loaded_by_hand_before_the_reading_leaves_it_to_recover(shelf: Shelf) -> None:
    pair, other = shelf.pair(), shelf.lay("PAPR9999")
    job = shelf.machine.start(["dump"], pause=f"moving {pair.second} from slot {pair.slots[1]} to drive 0")
    job.paused()
    shelf.machine.mtx("load", other, 0)
    ran = job.go().wait()
    assert ran.code == CHANGER
    assert f"to drive 0: drive 0 is full; volume {pair.second} is now in slot {pair.slots[1]}" in ran.sentences
    assert shelf.machine.states("dumps")[-1] == "verifying"
    shelf.machine.ok("recover")
    shelf.check_archived(pair)


def test_a_cartridge_taken_out_before_the_dump_is_missed(shelf: Shelf) -> None:
    pair = shelf.pair()
    shelf.library.take_out(pair.slots[1])
    ran = shelf.refuse(VOLUME, pair[:2])
    assert "no blank volume for copy 2: none is in the library; put " in ran.error
    shelf.library.put_in(pair.slots[1], pair.second)
    shelf.succeed(pair)


def test_a_cartridge_taken_out_before_it_is_read_leaves_it_to_recover(shelf: Shelf) -> None:
    pair = shelf.pair()
    job = shelf.machine.start(["dump"], pause=f"moving {pair.second} from slot {pair.slots[1]} to drive 0")
    job.paused()
    shelf.library.take_out(pair.slots[0])
    ran = job.go().wait()
    assert ran.code == VOLUME
    assert f"volume {pair.first}: not in the library; put it into a slot, or name another volume" in ran.sentences
    missing = shelf.machine.papertape("recover")
    assert missing.code == VOLUME
    assert f"volume {pair.first}: not in the library; put it into a slot, or name another volume" in missing.error
    assert shelf.machine.states("dumps")[-1] == "verifying"
    shelf.library.put_in(pair.slots[0], pair.first)
    shelf.machine.ok("recover")
    shelf.check_archived(pair)


def test_a_written_volume_under_a_blank_ones_label_is_refused(shelf: Shelf) -> None:
    full = shelf.full_pair()
    for slot in full.slots:
        shelf.library.take_out(slot)
    pair = shelf.pair()
    shelf.library.take_out(pair.slots[0])
    shelf.library.put_in(pair.slots[0], full.first, label=pair.first)
    ran = shelf.refuse(VOLUME, [full.first, pair.second])
    holds = f"the ledger says that it is blank, but it holds papertape's volume {full.first} of"
    assert f"volume {pair.first}: {holds}" in ran.error
    assert ran.error.endswith("nothing was written to it")
    volumes = shelf.machine.volumes()
    assert (volumes[pair.first], volumes[pair.second]) == ("aside", "blank")


FOREIGN = {
    "tar": ("tar -C /etc -cf /dev/nst0 fstab", "it holds a tar archive of someone else's"),
    "random": ("dd if=/dev/urandom of=/dev/nst0 bs=32k count=20 status=none", "it holds 32,768 bytes of someone"),
    "filemark": ("mt -f /dev/nst0 weof 1", "it holds a filemark"),
    "tiny": ("dd if=/dev/urandom of=/dev/nst0 bs=1 count=1 status=none", "it holds 1 byte of someone else's data"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_data_of_someone_else_are_not_overwritten(shelf: Shelf, kind: str) -> None:
    line, holds = FOREIGN[kind]
    pair = shelf.pair()
    shelf.write(pair.slots[0], line)
    ran = shelf.refuse(VOLUME, pair[:2])
    assert f"volume {pair.first}: the ledger says that it is blank, but {holds}" in ran.error
    volumes = shelf.machine.volumes()
    assert (volumes[pair.first], volumes[pair.second]) == ("aside", "blank")


def test_a_torn_tape_is_neither_blank_nor_whole(shelf: Shelf) -> None:
    pair = shelf.full_pair()
    shelf.call(pair.slots[0], "guest_actions.tear", 2, 3)
    ran = shelf.refuse(VERIFICATION, pair[:2], "verify", pair.first, pair.second)
    assert f"{pair.first} did not read back as written" in ran.error
    assert "medium or drive error (EIO)" in ran.error
    assert f"{pair.second}  verified" in ran.out
    assert shelf.machine.volumes()[pair.first] == "aside"
    shelf.library.take_out(pair.slots[0])
    blank = shelf.pair()
    shelf.library.take_out(blank.slots[0])
    shelf.library.put_in(blank.slots[0], pair.first, label=blank.first)
    assert f"it holds papertape's volume {pair.first} of" in shelf.refuse(VOLUME, [pair.first, blank.second]).error


def test_a_tape_torn_after_its_first_block_is_not_blank(shelf: Shelf) -> None:
    pair = shelf.pair()
    shelf.write(pair.slots[1], "dd if=/dev/urandom of=/dev/nst0 bs=64k count=2 status=none")
    shelf.call(pair.slots[1], "guest_actions.tear", 0, 1)
    ran = shelf.refuse(VOLUME, pair[:2])
    assert f"volume {pair.second}: the ledger says that it is blank, but it holds 65,536 bytes" in ran.error


def test_two_cartridges_with_one_label_are_not_chosen_from(shelf: Shelf) -> None:
    pair, other = shelf.pair(), shelf.lay("TWIN")
    shelf.library.take_out(other)
    shelf.library.put_in(other, "TWIN", label=pair.first)
    both = [pair.second, "TWIN"]
    assert "no blank volume for copy 1: none is in the library" in shelf.refuse(VOLUME, both).error
    where = f"volume {pair.first}: in the library more than once, in slot {pair.slots[0]} and slot {other}"
    assert where in shelf.refuse(VOLUME, both, "library", "load", pair.first).error
    shelf.library.take_out(other)
    shelf.succeed(pair)


def test_a_cleaning_cartridge_is_never_loaded(shelf: Shelf) -> None:
    pair, cleaner = shelf.pair(), shelf.lay("CLN001L1")
    ran = shelf.refuse(VOLUME, ["CLN001L1"], "library", "load", "CLN001L1")
    assert "volume CLN001L1: a cleaning cartridge, which is never loaded: name a data cartridge" in ran.error
    shelf.machine.mtx("load", cleaner, 0)
    shelf.succeed(pair)
    assert shelf.machine.where()[f"slot {cleaner}"] == "CLN001L1"


def test_a_protected_cartridge_is_not_written_to(shelf: Shelf) -> None:
    pair = shelf.pair()
    shelf.library.protect(pair.second)
    ran = shelf.refuse(VOLUME, pair[:2])
    assert f"volume {pair.second}: its tab forbids writing; move the tab, or use another volume" in ran.error
    assert shelf.machine.volumes()[pair.second] == "aside"
    shelf.library.protect(pair.second, on=False)
    shelf.machine.ok("volumes", "add", pair.second, "--capacity", "64MiB")
    shelf.succeed(pair)


def test_a_drive_that_stays_empty_is_named(shelf: Shelf) -> None:
    said = shelf.machine.call("guest_actions.load_impatiently", 1, "/dev/nst1")
    assert said == f"{DRIVE}: drive 1: volume PAPR1001: loading failed: no cartridge is ready in it"


def test_a_door_locked_by_a_process_that_is_gone_is_opened(shelf: Shelf) -> None:
    pair, other = shelf.pair(), shelf.lay("PAPR9999")
    shelf.machine.mtx("load", other, 0)
    shelf.machine.sh("mt -f /dev/nst0 lock")
    by_hand = shelf.machine.program("mtx", "-f", "/dev/changer", "unload", str(other), "0").wait()
    assert by_hand.code == 1
    shelf.succeed(pair)
    assert shelf.machine.where()[f"slot {other}"] == "PAPR9999"


def test_a_door_locked_by_who_goes_past_st_is_left_alone(shelf: Shelf) -> None:
    pair, other = shelf.pair(), shelf.lay("PAPR9999")
    shelf.machine.mtx("load", other, 0)
    assert shelf.machine.call("guest_actions.lock_door", "/dev/nst0") == 0
    ran = shelf.refuse(DRIVE, [*pair[:2], "PAPR9999"])
    assert "papertape: drive 0: unloading failed" in ran.sentences
    assert "volume PAPR9999 is still in it" in ran.sentences
    assert shelf.machine.volumes()[pair.first] == "blank"
    assert shelf.machine.call("guest_actions.unlock_door", "/dev/nst0") == 0
    shelf.succeed(pair)
