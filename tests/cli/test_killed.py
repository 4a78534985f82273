"""A dump that dies, or is interrupted, at any moment: nothing unproven is archived, and the next one makes it whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .operatorlab import RECOVERED, Lab, check_archived, check_at_rest, copy_lab, finish

KILLS = int(os.environ.get("PAPERTAPE_KILLS", "6"))
SEED = int(os.environ.get("PAPERTAPE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
LINES = 14
"""What a clean dump of one pair says on standard error, in lines."""
GAP = 0.08
"""Seconds between two of them, at the most on average."""
ROUNDS = range(KILLS)


def wait_for(process: subprocess.Popen[str], lines: int, seconds: float) -> None:
    """Return when the process has said so many lines and as many seconds more are over, or when it has ended."""
    assert process.stderr
    for _ in range(lines):
        process.stderr.readline()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def strike(lab: Lab, seed: int, signals: Sequence[signal.Signals]) -> int:
    """Start a dump, send it signals at random moments, and return its exit code."""
    chance = random.Random(seed)
    process = lab.start("dump")
    lines = chance.randrange(1, LINES + 1)
    for number in signals:
        wait_for(process, lines, chance.uniform(0, GAP))
        lines = 0
        process.send_signal(number)
    return finish(process).code


def make_whole(lab: Lab, count: int) -> None:
    """Recover and dump once more: everything is archived and verifies, and no volume was used up."""
    check_archived(lab)
    slots = sorted(path.name for path in (lab.library / "cartridges").iterdir())
    for command in ("recover", "dump"):
        ran = lab.run(command)
        assert ran.code in RECOVERED, ran
    assert check_archived(lab) == count
    assert set(lab.states("datasets")) == {"archived"}
    check_at_rest(lab, slots)
    assert lab.states("volumes") == ["archived"] * 2 + ["blank"] * 4
    volumes = [tag for (tag,) in lab.rows("SELECT tag FROM volumes WHERE state = 'archived'")]
    assert volumes == ["PAPR1001", "PAPR2001"]


@pytest.mark.parametrize("number", ROUNDS)
def test_a_dump_that_kill_nine_leaves_is_finished(
    full_lab: Lab, tmp_path: Path, number: int, tell_figure: Callable[[str], None]
) -> None:
    seed = SEED + number
    print(f"PAPERTAPE_SEED={seed} PAPERTAPE_KILLS=1 does it again")
    lab = copy_lab(full_lab, tmp_path / "lab")
    code = strike(lab, seed, [signal.SIGKILL])
    assert code in {-signal.SIGKILL, 0}
    (state,) = lab.states("dumps") or ["none"]
    make_whole(lab, 6)
    lab.ok("verify", "PAPR1001", "PAPR2001")
    tell_figure(f"kill -9, seed {seed}: the dump was {state}")


@pytest.mark.parametrize("command", ["recover", "dump"])
def test_cartridges_that_an_archived_dump_left_in_drives_are_returned(
    full_lab: Lab, tmp_path: Path, command: str
) -> None:
    lab = copy_lab(full_lab, tmp_path / "lab")
    slots = lab.homes()[1]
    lab.configure(library__timing="0.02")  # a robot's move then takes 0.3 s
    process = lab.start("dump")
    assert process.stderr
    for words in ("verifying", "moving"):
        while not process.stderr.readline().startswith(words):
            pass
    process.kill()
    finish(process)
    assert lab.states("dumps") == ["archived"]
    left = [tag for tag in lab.homes()[0] if tag]
    assert left
    lab.configure(library__timing="0")
    ran = lab.run(command)
    assert ran.code == 0, ran
    assert f"note: brought home what process {process.pid} had left in drives: {' and '.join(left)}" in ran.err
    assert "dump 1 is archived on PAPR1001 and PAPR2001" in ran.out
    check_at_rest(lab, slots)
    assert lab.run("recover").code == 3
    assert check_archived(lab) == 6


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP]],
    ids=lambda signals: "-".join(number.name for number in signals),
)
@pytest.mark.parametrize("number", ROUNDS[: max(1, KILLS // 4)])
def test_an_interrupted_dump_leaves_the_drives_empty(
    full_lab: Lab, tmp_path: Path, number: int, signals: list[signal.Signals]
) -> None:
    seed = SEED + number
    print(f"PAPERTAPE_SEED={seed} does it again")
    lab = copy_lab(full_lab, tmp_path / "lab")
    slots = lab.homes()[1]
    code = strike(lab, seed, signals)
    assert code in {0, 130}
    check_at_rest(lab, slots)
    assert code == 130 or set(lab.states("datasets")) == {"archived"}
    check_archived(lab)
    assert "aside" not in lab.states("volumes")
    for command in ("recover", "dump"):
        ran = lab.run(command)
        assert ran.code in RECOVERED, ran
    assert check_archived(lab) == 6
    check_at_rest(lab, slots)


def test_archives_that_were_finished_before_control_c_are_archived(full_lab: Lab, tmp_path: Path) -> None:
    archived = []
    for attempt in range(10):  # it stops at the end of an archive: now and then that is the last one
        lab = copy_lab(full_lab, tmp_path / f"lab{attempt}")
        process = lab.start("dump")
        assert process.stderr
        while not process.stderr.readline().startswith("writing"):
            pass
        wait_for(process, 0, 0.002 * attempt)
        process.send_signal(signal.SIGINT)
        ran = finish(process)
        assert ran.code == 130, ran
        assert "stopping in good order" in ran.err
        archived.append(check_archived(lab))
        if 0 < archived[-1] < 6:
            assert lab.states("datasets") == ["archived"] * archived[-1] + ["waiting"] * (6 - archived[-1])
            return
    pytest.fail(f"never stopped in the middle: {archived}")


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_c_before_anything_began_is_no_traceback(full_lab: Lab, seconds: float, number: signal.Signals) -> None:
    begin = "import papertape.cli, sys; print('begun', flush=True); sys.argv[1:] = ['status']; papertape.cli.main()"
    # an import that is cut off leaves its file to the garbage collector: that is Python's own, and no finding here
    process = full_lab.start_python("-W", "ignore::ResourceWarning", "-c", begin)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    assert finish(process).code in {0, 130, -signal.SIGINT}  # Python may end itself by SIGINT: to a shell that is 130
