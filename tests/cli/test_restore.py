"""`papertape restore` and `papertape recopy` as their operator types them, and as they are cut off."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from stories import snapshot

from .operatorlab import Lab, Ran, check_archived, check_at_rest, copy_lab, finish
from .test_commands import Dumped, decode, flip
from .test_killed import ROUNDS, SEED, wait_for

PREFIX = ".papertape-"
TAGS = ("PAPR1001", "PAPR2001")


class Place(msgspec.Struct, forbid_unknown_fields=True):
    volume: str
    place: str


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    bytes: int
    tape_file: int


class Portion(msgspec.Struct, forbid_unknown_fields=True):
    volumes: list[Place]
    loadable: bool
    bytes: int
    datasets: list[Wanted]


class Planned(msgspec.Struct, forbid_unknown_fields=True):
    present: int
    volumes: list[Portion]


class Sick(msgspec.Struct, forbid_unknown_fields=True):
    volume: str
    reason: str


class Failed(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    reason: str


class Restored(msgspec.Struct, forbid_unknown_fields=True):
    restored: int
    present: int
    files: int
    bytes: int
    mounts: int
    locates: int
    bytes_read: int
    sick: list[Sick]
    failed: list[Failed]
    in_the_way: list[Failed]
    away: list[Portion]


@pytest.fixture
def sources(full_lab: Lab) -> list[Path]:
    return sorted((full_lab.folder / "night").iterdir())


def back(lab: Lab, path: Path, to: str = "back") -> Path:
    (host,) = {item.name for item in (lab.folder / to).iterdir()}
    return lab.folder / to / host / str(path)[1:]


def check_back(lab: Lab, sources: Sequence[Path], to: str = "back") -> None:
    """All are there as they were, and nothing else."""
    for path in sources:
        compared = subprocess.run(["diff", "-r", "--no-dereference", path, back(lab, path, to)], check=False)
        assert compared.returncode == 0
    assert not unfinished(lab, to)


def unfinished(lab: Lab, to: str = "back") -> list[Path]:
    return [path for path in (lab.folder / to).rglob("*") if path.name.startswith(PREFIX)]


def check_whole(lab: Lab, sources: Sequence[Path]) -> int:
    """What bears a final name is whole; return how much that is."""
    if not (lab.folder / "back").exists() or not list((lab.folder / "back").iterdir()):
        return 0
    there = [path for path in sources if back(lab, path).exists()]
    for path in there:
        assert subprocess.run(["diff", "-r", path, back(lab, path)], check=False).returncode == 0
    return len(there)


def take_away(lab: Lab, *tags: str) -> None:
    """Take cartridges out of their slots."""
    path = lab.library / "library.json"
    record = msgspec.json.decode(path.read_bytes())
    record["slots"] = [None if tag in tags else tag for tag in record["slots"]]
    path.write_bytes(msgspec.json.encode(record))


def test_restore_prints_the_json_that_is_promised(done: Lab, sources: list[Path]) -> None:
    planned = decode(done.ok("restore", "zen", "--to", "back", "--dry-run", "--json"), Planned)
    (portion,) = planned.volumes
    assert (planned.present, portion.loadable, portion.bytes, len(portion.datasets)) == (0, True, 18_000_000, 6)
    assert portion.volumes == [Place("PAPR1001", "slot 1"), Place("PAPR2001", "slot 4")]
    assert [item.source.partition(":")[2] for item in portion.datasets] == [str(path) for path in sources]
    assert not (done.folder / "back").exists()
    restored = decode(done.ok("restore", "zen", "--to", "back", "--json"), Restored)
    assert (restored.restored, restored.present, restored.files, restored.bytes) == (6, 0, 8, 18_000_000)
    assert (restored.mounts, restored.sick, restored.failed, restored.away) == (1, [], [], [])
    assert 18_000_000 <= restored.bytes_read <= 1.2 * 18_000_000
    check_back(done, sources)
    again = decode(done.ok("restore", "zen", "--to", "back", "--json"), Restored)
    assert (again.restored, again.present, again.mounts, again.bytes_read) == (0, 6, 0, 0)


def test_restore_reports_which_volumes_it_needs_and_what_it_did(done: Lab, sources: list[Path]) -> None:
    slots = done.homes()[1]
    plan = done.ok("restore", "*/zen.00[0-2]", "zen.004", "--to", "back", "--dry-run")
    assert plan.splitlines()[0] == "needed: PAPR1001 (slot 1), or else PAPR2001 (slot 4): 4 data sets, 12 MB"
    assert re.fullmatch(r"  \S+zen.000  3 MB, tape file 2, offset \d+", plan.splitlines()[1])
    ran = done.run("restore", "zen", "--to", "back")
    assert ran.code == 0
    assert ran.err.startswith("needed: PAPR1001 (slot 1), or else PAPR2001 (slot 4): 6 data sets, 18 MB\n")
    assert "moving PAPR1001 from slot 1 to drive 0\n" in ran.err
    assert re.search(r"^restoring from PAPR1001 in drive 0: \S+ MB$", ran.err, re.MULTILINE)
    assert re.search(r"^restoring PAPR1001 in drive 0: \S+ MB in \S+ m?s, \S+ .B/s$", ran.err, re.MULTILINE)
    first, second = ran.out.splitlines()
    assert first == "restored: 6 data sets, 8 files, 18 MB"
    assert re.fullmatch(r"  1 mount, 1 LOCATE, \S+ MB read from tape", second)
    check_back(done, sources)
    check_at_rest(done, slots)
    again = done.run("restore", "zen", "--to", "back")
    assert again.out == "restored: 0 data sets, 0 files, 0 B; 6 data sets there already\n"
    assert again.err == "6 data sets there already, and identical\n"


def test_a_sick_volume_is_a_warning_and_is_set_aside(done: Lab, sources: list[Path]) -> None:
    flip(done.cartridge("PAPR1001") / "0003.tar")
    ran = done.run("restore", "zen", "--to", "back")
    assert ran.code == 0
    assert "papertape: warning: PAPR1001 is not good; run `papertape recopy PAPR1001`" in ran.err
    assert "note: PAPR1001 is not good: turning to PAPR2001" in ran.err
    check_back(done, sources)
    assert "aside" in done.ok("volumes", "show", "PAPR1001")
    assert done.ok("status", "--deletable") == ""
    assert "archived on PAPR1002 and PAPR2001" in done.ok("recopy", "PAPR1001")
    assert len(done.ok("status", "--deletable").splitlines()) == 6


def test_lost_data_sets_are_named_and_the_rest_is_restored(done: Lab, sources: list[Path]) -> None:
    for tag in TAGS:
        flip(done.cartridge(tag) / "0003.tar")
    ran = done.run("restore", "zen", "--to", "back", "--json")
    assert ran.code == 8
    restored = decode(ran.out, Restored)
    assert [sick.volume for sick in restored.sick] == list(TAGS)
    (failed,) = restored.failed
    assert failed.source in ran.err
    assert restored.restored == 5
    (error,) = [line for line in ran.err.splitlines() if line.startswith("papertape: ") and "warning" not in line]
    assert error.startswith(f"papertape: {failed.source} could not be restored from any copy (")
    assert error.endswith("the rest was restored as far as possible")
    kept = [path for path in sources if not failed.source.endswith(path.name)]
    assert check_whole(done, kept) == 5
    assert check_whole(done, sources) == 5


def test_a_volume_that_is_away_is_named_with_its_place(done: Lab) -> None:
    take_away(done, *TAGS)
    ran = done.run("restore", "zen", "--to", "back")
    assert ran.code == 5
    away = "PAPR1001 (out of the library) and PAPR2001 (out of the library)"
    assert f"not in the library: {away}: 6 data sets, 18 MB" in ran.err
    assert ran.error.startswith("volume PAPR1001 or PAPR2001: needed for 6 data sets, and not where a drive can get it")
    restored = decode(done.run("restore", "zen", "--to", "back", "--json").out, Restored)
    assert [(portion.loadable, len(portion.datasets)) for portion in restored.away] == [(False, 6)]
    planned = decode(done.ok("restore", "zen", "--to", "back", "--dry-run", "--json"), Planned)
    assert [portion.loadable for portion in planned.volumes] == [False]


def test_one_volume_that_is_away_is_passed_over(done: Lab, sources: list[Path]) -> None:
    take_away(done, "PAPR1001")
    ran = done.run("restore", "zen", "--to", "back")
    assert ran.code == 0
    assert ran.err.startswith("needed: PAPR2001 (slot 4): 6 data sets, 18 MB\n")
    check_back(done, sources)


def test_nothing_that_matches_and_something_in_the_way(done: Lab, sources: list[Path]) -> None:
    ran = done.run("restore", "nosuch", "--to", "back")
    assert (ran.code, ran.error) == (
        3,
        "nothing that is on tape matches 'nosuch'; `papertape find 'nosuch'` says why",
    )
    done.ok("restore", "zen.000", "--to", "back")
    back(done, sources[0]).write_bytes(b"mine")
    for more in ((), ("--dry-run",)):
        ran = done.run("restore", "zen", "--to", "back", *more)
        assert ran.code == 2
        assert ran.error.endswith("exists and is not the same; --overwrite replaces it, or restore elsewhere")
    assert back(done, sources[0]).read_bytes() == b"mine"
    done.ok("restore", "zen", "--to", "back", "--overwrite")
    check_back(done, sources)
    assert done.run("restore", "zen").code == 2
    assert done.run("restore", "zen", "--to", "papertape.toml").code == 2
    assert done.run("restore", "zen", "--to", "new", "--volume", "PAPR1003").code == 3
    assert done.run("restore", "zen", "--to", "new", "--at", "1999-01-01").code == 3


def test_two_restores_into_one_folder_at_once(done: Lab) -> None:
    (done.folder / "back").mkdir()
    command = ["flock", done.folder / "back", "sh", "-c", "echo held; cat"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    ran = done.run("restore", "zen", "--to", "back")
    holder.communicate()
    assert (ran.code, ran.error) == (2, "back: another process restores into it; wait for it, or name another")


def strike(lab: Lab, words: str, command: Sequence[str], seconds: float, *signals: signal.Signals) -> Ran:
    """Start a command and send it signals, the first so many seconds after it said something."""
    process = lab.start(*command)
    assert process.stderr
    while (line := process.stderr.readline()) and not line.startswith(words):
        pass
    for number in signals:
        wait_for(process, 0, seconds)
        if process.poll() is None:
            process.send_signal(number)
        seconds = 0.01
    return finish(process)


RESTORE = ("restore", "zen", "--to", "back")


@pytest.mark.parametrize("number", ROUNDS)
def test_a_restore_that_was_killed_continues_with_the_same_command(
    done_lab: Lab, tmp_path: Path, sources: list[Path], number: int, tell_figure: Callable[[str], None]
) -> None:
    seed = SEED + number
    print(f"PAPERTAPE_SEED={seed} PAPERTAPE_KILLS=1 does it again")
    lab = copy_lab(done_lab, tmp_path / "lab")
    slots = lab.homes()[1]
    words = ("needed", "moving", "restoring from", "restoring from", "restoring from", "restoring PAPR")[number % 6]
    ran = strike(lab, words, RESTORE, random.Random(seed).uniform(0, 0.05), signal.SIGKILL)
    assert ran.code in {-signal.SIGKILL, 0}
    whole = check_whole(lab, sources)
    assert lab.run(*RESTORE).code == 0
    check_back(lab, sources)
    check_at_rest(lab, slots)
    assert check_archived(lab) == 6
    tell_figure(f"kill -9 of a restore, seed {seed}: {whole} of 6 data sets were there")


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_a_restore_that_was_interrupted_continues_with_the_same_command(
    done_lab: Lab, tmp_path: Path, sources: list[Path], signals: list[signal.Signals]
) -> None:
    for attempt in range(10):  # it may be done before the signal comes
        lab = copy_lab(done_lab, tmp_path / f"lab{attempt}")
        slots = lab.homes()[1]
        ran = strike(lab, "restoring from", RESTORE, 0.002 * attempt, *signals)
        assert ran.code in {0, 130}
        check_at_rest(lab, slots)
        check_whole(lab, sources)
        if ran.code == 130:
            break
    else:
        pytest.fail("never stopped in the middle")
    wish = "stopping at once" if signals == [signal.SIGTERM] else "stopping after the current data set"
    assert wish in ran.err
    assert "the same command continues later" in ran.err
    assert lab.run(*RESTORE).code == 0
    check_back(lab, sources)
    assert lab.states("volumes") == ["archived"] * 2 + ["blank"] * 4


@pytest.fixture
def torn(done: Lab) -> Lab:
    """A lab in which one volume is lost for good."""
    done.ok("volumes", "retire", "PAPR2001", "--reason", "lost")
    return done


def test_recopy_prints_the_json_that_is_promised(torn: Lab) -> None:
    slots = torn.homes()[1]
    before = snapshot(torn.cartridge("PAPR1001"))
    made = decode(torn.ok("recopy", "PAPR2001", "--json"), Dumped)
    assert (made.dump, made.state, made.volumes, made.lacking) == (1, "archived", ["PAPR1001", "PAPR2002"], [])
    assert (made.datasets, made.files, made.bytes) == (6, 8, 18_000_000)
    assert [item.volume for item in made.verifications] == ["PAPR1001", "PAPR2002"]
    assert all(item.ok for item in made.verifications)
    assert snapshot(torn.cartridge("PAPR1001")) == before
    assert check_archived(torn) == 6
    check_at_rest(torn, slots)


def test_recopy_reports_what_it_does(torn: Lab) -> None:
    ran = torn.run("recopy", "PAPR2001")
    assert ran.code == 0
    assert re.search(r"^copying PAPR1001 and PAPR2002: \S+ MB each$", ran.err, re.MULTILINE)
    assert re.search(r"^verifying PAPR2002: \S+ MB$", ran.err, re.MULTILINE)
    assert "dump 1 is archived on PAPR1001 and PAPR2002: 6 data sets, 8 files, 18 MB" in ran.out
    assert torn.rows("SELECT state, reason FROM volumes WHERE tag = 'PAPR2001'") == [
        ("retired", "replaced by PAPR2002: lost")
    ]


def test_recopy_refuses_a_volume_that_is_not_bad(done: Lab) -> None:
    for tag, why in (("PAPR2001", "not known to be bad"), ("PAPR2002", "holds no copy of a dump"), ("X", "X")):
        ran = done.run("recopy", tag)
        assert ran.code == 2
        assert why in ran.error


def test_recopy_without_a_blank_volume(torn: Lab) -> None:
    for tag in ("PAPR2002", "PAPR2003"):
        torn.ok("volumes", "retire", tag)
    assert torn.run("recopy", "PAPR2001").code == 5
    take_away(torn, "PAPR1001")
    ran = torn.run("recopy", "PAPR2001")
    assert ran.code == 5
    assert "holds the good copy, but is not in the library" in ran.error


def test_recopy_with_one_drive(torn: Lab) -> None:
    path = torn.library / "library.json"
    record = msgspec.json.decode(path.read_bytes())
    del record["drives"][1]
    path.write_bytes(msgspec.json.encode(record))
    ran = torn.run("recopy", "PAPR2001")
    assert ran.code == 2
    assert ran.error.startswith("a copy is made from one drive to another, and this library has only one; ")
    assert "--from-disk" in ran.error
    assert "archived on PAPR1001 and PAPR2002" in torn.ok("recopy", "PAPR2001", "--from-disk")
    assert check_archived(torn) == 6


def test_recopy_from_disk_reads_no_twin(torn: Lab) -> None:
    take_away(torn, "PAPR1001")
    ran = torn.run("recopy", "PAPR2001", "--from-disk")
    assert ran.code == 0, ran
    assert "copying" not in ran.err
    assert re.search(r"^writing PAPR2002: \S+ MB$", ran.err, re.MULTILINE)
    assert "dump 1 is archived on PAPR1001 and PAPR2002: 6 data sets, 8 files, 18 MB" in ran.out
    assert check_archived(torn) == 6


def test_recopy_from_disk_refuses_a_source_that_changed(torn: Lab) -> None:
    source = Path(torn.rows("SELECT source FROM datasets ORDER BY source")[0][0].partition(":")[2])
    before = source.stat()
    try:
        os.utime(source, ns=(1, 1))
        ran = torn.run("recopy", "PAPR2001", "--from-disk")
    finally:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ran.code == 4
    assert source.name in ran.error
    assert torn.rows("SELECT state FROM volumes WHERE tag = 'PAPR2002'") == [("blank",)]


def test_recopy_from_a_bad_twin(torn: Lab) -> None:
    flip(torn.cartridge("PAPR1001") / "0003.tar")
    ran = torn.run("recopy", "PAPR2001")
    assert ran.code == 8
    assert "archived" not in torn.states("dumps")
    restored = torn.run("restore", "zen", "--to", "back", "--json")
    assert restored.code == 8
    assert decode(restored.out, Restored).restored == 5


@pytest.mark.parametrize("number", ROUNDS)
def test_a_recopy_that_was_killed_is_repeated(
    done_lab: Lab, tmp_path: Path, number: int, tell_figure: Callable[[str], None]
) -> None:
    seed = SEED + number
    print(f"PAPERTAPE_SEED={seed} PAPERTAPE_KILLS=1 does it again")
    lab = copy_lab(done_lab, tmp_path / "lab")
    slots = lab.homes()[1]
    lab.ok("volumes", "retire", "PAPR2001", "--reason", "lost")
    before = [snapshot(lab.cartridge(tag)) for tag in TAGS]
    words = ("moving", "copying", "copying", "copying", "moving", "verifying")[number % 6]
    ran = strike(lab, words, ("recopy", "PAPR2001"), random.Random(seed).uniform(0, 0.15), signal.SIGKILL)
    assert ran.code in {-signal.SIGKILL, 0}
    recovered = lab.run("recover", "--json")
    assert recovered.code in {0, 3, 5}, recovered
    names = [name for (name,) in lab.rows("SELECT v.tag FROM copies c JOIN volumes v ON v.id = c.volume_id")]
    tag = next((name for name in names if name.startswith("PAPR2")), "PAPR2001")
    (state,) = lab.states("dumps")
    if state != "archived" or tag == "PAPR2001":
        assert "archived on PAPR1001 and PAPR2002" in lab.ok("recopy", tag)
    assert check_archived(lab) == 6
    check_at_rest(lab, slots)
    assert [snapshot(lab.cartridge(name)) for name in TAGS] == before
    assert len(lab.ok("status", "--deletable").splitlines()) == 6
    tell_figure(f"kill -9 of a recopy, seed {seed}: the dump was {state} on {tag}, recover said {recovered.code}")
