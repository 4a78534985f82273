"""Two who work with one ledger and one library at the same time."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .operatorlab import Lab, check_archived, check_at_rest, copy_lab, finish, make_lab, make_sources


@contextmanager
def drives_in_use(lab: Lab) -> Iterator[None]:
    """Hold both drives, as another process does."""
    locks = lab.library / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / "drive-0.lock").open("w") as first, (locks / "drive-1.lock").open("w") as second:
        for lock in (first, second):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def small_volumes(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose volumes hold two or three of its eight data sets each."""
    lab = make_lab(tmp_path_factory.mktemp("small") / "lab", slots=10, capacity="20MB")
    lab.ok("add", *make_sources(lab, 8, 3_000_000))
    return lab


@pytest.mark.parametrize("arguments", [[], ["--until-done"]], ids=["once", "until-done"])
@pytest.mark.parametrize("number", range(2))
def test_two_dumps_at_once_take_nothing_twice(
    small_volumes: Lab, tmp_path: Path, number: int, arguments: list[str]
) -> None:
    lab = copy_lab(small_volumes, tmp_path / "lab")
    slots = lab.homes()[1]
    lab.configure(library__timing="0.003")  # a dump then takes a second or two: neither is over before the other begins
    first, second = lab.start("dump", *arguments), lab.start("dump", *arguments)
    runs = [finish(first), finish(second)]
    assert all(ran.code in {0, 3} for ran in runs), runs
    assert 0 in {ran.code for ran in runs}
    assert any("waiting: drive 0 and drive 1 are in use by process" in ran.err for ran in runs)
    archived = check_archived(lab)
    assert archived == 8 if arguments else archived >= 4
    check_at_rest(lab, slots)
    used = lab.rows("SELECT volume_id FROM copies")
    assert len(used) == len(set(used)) == 2 * len(lab.states("dumps"))
    assert set(lab.states("dumps")) == {"archived"}


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["dump"], signal.SIGINT),
        (["dump"], signal.SIGTERM),
        (["verify", "PAPR1001"], signal.SIGINT),
        (["library", "load", "PAPR1002"], signal.SIGINT),
    ],
)
def test_control_c_ends_the_waiting(
    done_lab: Lab, tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    lab = copy_lab(done_lab, tmp_path / "lab")
    (lab.folder / "new").write_bytes(b"1")
    lab.ok("add", "new")
    with drives_in_use(lab):
        process = lab.start(*arguments)
        assert process.stderr
        assert "waiting: " in process.stderr.readline()
        process.send_signal(number)
        ran = finish(process)
    assert ran.code == 130
    assert "nothing was written" in ran.error
    assert lab.states("datasets") == ["archived"] * 6 + ["waiting"]
    assert lab.run("dump").code == 0


def test_control_c_ends_the_waiting_of_a_recovery_too(waiting: Lab) -> None:
    process = waiting.start("dump")
    assert process.stderr
    while not process.stderr.readline().startswith("verifying"):
        pass
    process.kill()
    finish(process)
    for command in ("dump", "recover"):
        with drives_in_use(waiting):
            process = waiting.start(command)
            assert process.stderr
            assert "waiting: " in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert finish(process).code == 130
        assert waiting.states("dumps") == ["verifying"]
    assert waiting.run("recover").code == 0
    assert check_archived(waiting) == 6
