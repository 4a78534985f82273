"""The process is killed at any moment, and leaves cartridges locked in drives: `recover` gets them out, by itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from .interrupted_dumps import Story, draw_stages, open_story
from .machine import Machine

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("PAPERTAPE_KILLS", "10"))
SEED = int(os.environ.get("PAPERTAPE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


def test_the_process_is_killed_again_and_again(tmp_path: Path, tell_figure: Callable[[str], None]) -> None:
    print(f"PAPERTAPE_SEED={SEED} PAPERTAPE_KILLS={KILLS} does it again")
    with open_story(tmp_path, SEED, KILLS + 1) as story, story.lab.boot() as machine:
        story.prepare(machine)
        for number, stage in enumerate(draw_stages(random.Random(SEED), KILLS)):
            moment = story.strike(machine, stage, lambda job: job.kill())
            tell_figure(f"kill -9 {number} of seed {SEED}: {moment}: {story.look(machine)}")
        story.finish(machine)


def test_recover_gets_out_what_a_killed_dump_has_locked_in(tmp_path: Path) -> None:
    with open_story(tmp_path, 1, 2) as story, story.lab.boot() as machine:
        story.prepare(machine)
        for words in ("writing PAPR", "verifying PAPR"):
            kill_with_doors_locked(story, machine, words)
            assert machine.papertape("recover").code == 0
            assert machine.in_drives() == []
            story.look(machine)
        story.finish(machine)


def kill_with_doors_locked(story: Story, machine: Machine, words: str) -> None:
    """Kill a dump where both tapes are in their drives; the robot cannot have them."""
    if "waiting" not in machine.states("datasets"):
        story.add(machine)
    job = machine.start(["dump"], pause=words)
    job.paused()
    job.kill()
    assert len(machine.in_drives()) == 2
    for drive in (0, 1):
        ran = machine.program("mtx", "-f", "/dev/changer", "unload", str(len(story.tags) + 1), str(drive)).wait()
        assert ran.code == 1, ran
