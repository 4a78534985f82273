"""A medium is exchanged under an open descriptor: not a block, not a filemark comes to lie on the new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.library import TapeLibrary

from .machine import Lab, Machine

pytestmark = pytest.mark.rig

OLD, NEW = 1, 2
MIDST = ["block", "block"]
BEHIND_MARK = ["block", "filemark"]
MEETINGS = {
    "a write": (MIDST, ["block", "block", "block", "filemark", "close"]),
    "a write behind a filemark": (BEHIND_MARK, ["block", "block", "filemark", "close"]),
    "a write at the beginning": ([], ["block", "block", "filemark", "close"]),
    "a filemark": (MIDST, ["filemark", "filemark", "block", "close"]),
    "a filemark that is not waited for": (MIDST, ["filemark at once", "filemark at once", "block", "close"]),
    "a filemark behind a filemark": (BEHIND_MARK, ["filemark", "filemark", "block", "close"]),
    "closing": (MIDST, ["close"]),
    "closing behind a filemark": (BEHIND_MARK, ["close"]),
    "the death of the process": (MIDST, []),
    "the death of the process after a failed write": (MIDST, ["block"]),
    "rewinding": (MIDST, ["rewind", "block", "rewind", "block", "filemark", "close"]),
    "reading": (MIDST, ["read", "block", "filemark", "close"]),
    "reading behind a filemark": (BEHIND_MARK, ["read", "block", "filemark", "close"]),
    "locating": (MIDST, ["locate", "block", "filemark", "close"]),
    "spacing forward": (MIDST, ["space forward", "block", "space forward", "close"]),
    "spacing back": (MIDST, ["space back", "block", "space back", "close"]),
    "spacing to the end": (MIDST, ["space to the end", "block", "space to the end", "block", "filemark", "close"]),
    "asking for the position": (MIDST, ["position", "block", "filemark", "close"]),
    "asking for the state": (MIDST, ["status", "block", "filemark", "close"]),
    "unloading": (MIDST, ["unload", "close"]),
}


class Bay:
    """A drive, a tape that papertape writes to, and one that it must not write to."""

    def __init__(self, lab: Lab, machine: Machine) -> None:
        self.lab = lab
        self.machine = machine
        self._count = 0

    def lay_new(self, line: str = "") -> str:
        """Put another cartridge into the slot of the new one, with what a line of the shell writes to it."""
        self._count += 1
        tag = f"NEW{self._count:03}"
        self.lab.library.take_out(NEW)
        self.lab.library.make(tag, 64)
        self.lab.library.put_in(NEW, tag)
        if line:
            self.machine.sh(f"mtx -f $CHANGER load {NEW} 0; {line}; mtx -f $CHANGER unload {NEW} 0")
        return tag

    def meet(self, before: list[str], after: list[str]) -> list[str]:
        """Return what was said to each action after the exchange; the new tape is in the drive then."""
        return self.machine.call("swap.meet_swap", before, after, OLD, NEW)

    def find_end(self) -> int:
        end = self.machine.call("swap.find_end", 0)
        self.machine.mtx("unload", NEW, 0)
        return end


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bay]:
    folder: Path = tmp_path_factory.mktemp("swap")
    with TapeLibrary(cartridges={"OLD": 64}) as library:
        lab = Lab(folder, library)
        with lab.boot() as machine:
            yield Bay(lab, machine)


@pytest.fixture
def bay(room: Bay) -> Bay:
    """The drive empty and the old tape in its slot, whatever the test before has left."""
    status = room.machine.sh("mtx -f $CHANGER status")
    if "Data Transfer Element 0:Full" in status:
        room.machine.call("guest_actions.unlock_door", "/dev/nst0")
        room.machine.mtx("unload", NEW, 0)
    if "OLD" not in status.splitlines()[OLD + 2]:
        room.lab.library.put_in(OLD, "OLD")
    room.machine.sh(f"mtx -f $CHANGER load {OLD} 0")
    return room


@pytest.mark.parametrize("meeting", MEETINGS)
def test_nothing_is_written_to_the_new_tape(bay: Bay, meeting: str) -> None:
    before, after = MEETINGS[meeting]
    new = bay.lay_new()
    blank = bay.lab.digest(new)
    said = bay.meet(before, after)
    print(said)
    assert bay.lab.digest(new) == blank
    assert bay.find_end() == 0
    check_said(after, said)


def check_said(after: list[str], said: list[str]) -> None:
    """Every write was refused, the first of them or what came before it with the reason."""
    outcomes = list(zip(after, said, strict=True))
    refused = [words for action, words in outcomes if action.startswith(("block", "filemark"))]
    assert all(words.startswith("6: drive 0: volume PAPR1001: ") for words in refused)
    assert all("is refused after an error: unload it, and load it again" in words for words in refused[1:])
    assert not refused or any("(EIO)" in words for words in said)


@pytest.mark.parametrize("meeting", ["a write", "a filemark", "closing", "rewinding"])
def test_a_full_tape_stays_as_it_is(bay: Bay, meeting: str) -> None:
    before, after = MEETINGS[meeting]
    bay.machine.mtx("unload", OLD, 0)
    new = bay.lay_new("tar -b 128 -C /etc -cf /dev/nst0 fstab")
    full = bay.lab.digest(new)
    bay.machine.mtx("load", OLD, 0)
    said = bay.meet(before, after)
    assert bay.lab.digest(new) == full
    assert bay.find_end() == 2
    check_said(after, said)
