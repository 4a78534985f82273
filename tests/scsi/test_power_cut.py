"""The power is cut at any moment of a dump, while the library lives on: nothing is lost, and no hand is needed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from .interrupted_dumps import Story, draw_stages, open_story
from .invariants import check_nothing_unproven, digest_files, restore_by_hand
from .machine import Machine

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1800)]

CUTS = int(os.environ.get("PAPERTAPE_CUTS", "10"))
SEED = int(os.environ.get("PAPERTAPE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


def test_the_power_is_cut_again_and_again(tmp_path: Path, tell_figure: Callable[[str], None]) -> None:
    print(f"PAPERTAPE_SEED={SEED} PAPERTAPE_CUTS={CUTS} does it again")
    with open_story(tmp_path, SEED, CUTS + 1) as story:
        machine = story.lab.boot()
        story.prepare(machine)
        for number, stage in enumerate(draw_stages(random.Random(SEED), CUTS)):
            moment = story.strike(machine, stage, lambda _, machine=machine: machine.cut())
            machine = story.lab.boot()
            tell_figure(f"power cut {number} of seed {SEED}: {moment}: {story.look(machine)}")
        with machine:
            story.finish(machine)
            check_by_hand(machine, story)


def check_by_hand(machine: Machine, story: Story) -> None:
    """Each file is on a volume of copy 2, and comes back from there with tar."""
    archived = [tag for tag in sorted(check_nothing_unproven(machine)) if tag.startswith("PAPR2")]
    slots = {volume: int(element.split()[1]) for element, volume in machine.where().items()}
    restored: dict[str, str] = {}
    for tag in archived:
        restored |= restore_by_hand(machine, slots[tag], f"/srv/{tag}")
    for path, digest in digest_files(story.added).items():
        assert [found for name, found in restored.items() if name.endswith(path)] == [digest], path
