"""Dumps that come to a sudden end, at moments that chance chooses, and what must hold all the time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rig.library import TapeLibrary

from .invariants import check_all_archived, check_nothing_unproven
from .machine import Job, Lab, Machine

FOREIGN = "FOREIGN"


class Stage(NamedTuple):
    """A part of recover and dump: its name here, the words that begin it, how often, and how long it takes."""

    name: str
    words: str
    count: int
    seconds: float


STAGES = (
    Stage("fetching", "moving PAPR", 1, 0.7),
    *[Stage("writing", "writing PAPR", 1, 0.8)] * 3,
    *[Stage("unloading and crossing", "writing PAPR", 3, 1.4)] * 2,
    *[Stage("verifying", "verifying PAPR", 1, 0.9)] * 3,
    Stage("going home", "verifying PAPR", 3, 0.6),
)


class Story:
    """A lab in which dumps come to a sudden end again and again, and what must not change meanwhile."""

    def __init__(self, lab: Lab, chance: random.Random, nights: int) -> None:
        self.lab = lab
        self.good: dict[str, str] = {}
        """Cartridges that must stay as they are, and their digests."""
        self.added: list[str] = []
        self.tags = name_pairs(nights)
        self._chance = chance
        self._nights = [lab.make_night(f"night{number}", 6) for number in range(nights)]

    def prepare(self, machine: Machine) -> None:
        """Register volumes, archive a first pair, and have a tape that is someone else's in a slot."""
        machine.ok("volumes", "add", *self.tags, "--capacity", "64MiB")
        slot = len(self.tags) + 1
        machine.sh(f"mtx -f $CHANGER load {slot} 0; tar -C /etc -cf /dev/nst0 fstab; mtx -f $CHANGER unload {slot} 0")
        self.add(machine)
        machine.ok("dump")
        self.good = self.lab.digests([*check_nothing_unproven(machine), FOREIGN])

    def look(self, machine: Machine) -> str:
        """Check what such an end has left behind, before anything is done about it; say it."""
        archived = check_nothing_unproven(machine)
        states = [state for state in machine.states("dumps") if state != "archived"]
        assert len(states) <= 1, states
        self.check_good()
        self.good |= self.lab.digests(archived - set(self.good))
        return f"{' '.join(states) or 'archived'}, {len(machine.in_drives())} in drives"

    def check_good(self) -> None:
        assert self.lab.digests(self.good) == self.good

    def strike(self, machine: Machine, stage: Stage, blow: Callable[[Job], None]) -> str:
        """Recover and dump until the stage has begun and a random while is over; strike, and say where that was."""
        if not {"planned", "writing"} & set(machine.states("dumps")) and "waiting" not in machine.states("datasets"):
            self.add(machine)
        job = machine.start(["recover"], ["dump"])
        job.until(stage.words, stage.count)
        job.linger(self._chance.uniform(0, stage.seconds))
        blow(job)
        return f"{stage.name}, behind {(job.said.splitlines() or [''])[-1]!r}"

    def add(self, machine: Machine) -> None:
        """Register one more night."""
        paths = self._nights.pop(0)
        machine.ok("add", *paths)
        self.added += paths

    def finish(self, machine: Machine) -> None:
        """Do what an operator does the next morning; everything is archived, and not one volume was used up."""
        for words in (["recover"], ["dump", "--until-done"]):
            ran = machine.papertape(*words)
            assert ran.code in {0, 3}, ran
        check_all_archived(machine)
        self.check_good()
        assert machine.states("dumps") == ["archived"] * (machine.states("volumes").count("archived") // 2)
        assert len(machine.states("datasets")) == len(self.added)


def name_pairs(nights: int) -> list[str]:
    """Return the tags that so many nights use up, those of the first copy first: a pair each, and not one more."""
    return [f"PAPR{copy}{number:03}" for copy in (1, 2) for number in range(1, nights + 1)]


def draw_stages(chance: random.Random, count: int) -> list[Stage]:
    """Return so many stages in random order, each as often as any other."""
    return [stage for _ in range(0, count, len(STAGES)) for stage in chance.sample(STAGES, len(STAGES))][:count]


@contextmanager
def open_story(folder: Path, seed: int, nights: int) -> Iterator[Story]:
    """Have a library and a lab in which so many times nothing is left to be archived."""
    cartridges = dict.fromkeys([*name_pairs(nights), FOREIGN], 64)
    with TapeLibrary(slots=len(cartridges), cartridges=cartridges) as library:
        yield Story(Lab(folder, library), random.Random(seed), nights)
