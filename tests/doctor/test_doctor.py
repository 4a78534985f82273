"""The check-up, on a library in a folder, and on device nodes that are none."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledgers import KIND, SQLITE
from papertape.doctor import driveorder as whichdrive
from papertape.doctor import sources as sourcespeed
from papertape.doctor.checkup import Wishes, examine
from papertape.doctor.findings import SetUp, exit_code, guarded
from papertape.doctor.scratch import MARKER
from papertape.errors import HostError, Interrupted, UserError, VolumeMissing
from papertape.events import Tell, tell_all
from papertape.tape.checks import Check, Verdict, ok, problem
from papertape.tape.drive import Drive
from papertape.tape.generations import GENERATIONS
from papertape.tape.kind import LibraryKind, Parts
from papertape.tape.library import DriveSource
from papertape.tape.reservation import reserved
from papertape.tape.scsi.hostfacts import find_generation, name_options
from papertape.tape.scsi.kind import ScsiConfig
from papertape.tape.virtual.faults import Faults
from papertape.tape.virtual.kind import VirtualConfig
from papertape.tape.virtual.library import VirtualLibrary, add_cartridge
from papertape.transfer.stop import Stop
from stories import At, Lab

SCRATCH = "SCR001"
SIZE = 2_000_000


class Recabled:
    """A drive that the config has in another drive's place."""

    def __init__(self, number: int, source: DriveSource) -> None:
        self.number = number
        self._source = source

    def open(self, volume_tag: str | None = None) -> Drive:
        return self._source.open(volume_tag)


def devices(lab: Lab, drives: Sequence[DriveSource] | None = None, faults: Faults | None = None) -> Parts:
    virtual, faults = VirtualLibrary(lab.folder / "library"), faults or Faults()
    sources = [faults.drive(drive) for drive in drives or virtual.drives]
    return Parts(faults.changer(virtual.changer), sources, lab.folder / "library" / "locks")


def set_up(
    lab: Lab,
    parts: Parts | None = None,
    tell: Tell | None = None,
    stop: Stop | None = None,
    kind: LibraryKind | None = None,
) -> SetUp:
    kind = kind or VirtualConfig("library").within(lab.folder)
    return SetUp(
        kind=kind,
        settings=lab.settings,
        prefixes=("PAPR1", "PAPR2"),
        devices=parts or devices(lab),
        ledger=lab.ledger,
        ledger_file=lab.folder / "ledger.sqlite" if KIND == SQLITE else None,
        tell=tell or tell_all(),
        stop=stop or Stop(),
    )


def look(setup: SetUp, wishes: Wishes | None = None) -> list[Check]:
    return list(examine(setup, wishes or Wishes()))


def sentences(checks: Sequence[Check], verdict: Verdict) -> list[str]:
    return [f"{check.name}: {check.sentence}" for check in checks if check.verdict is verdict]


def wrong(checks: Sequence[Check]) -> list[str]:
    return sentences(checks, Verdict.PROBLEM)


def lay_scratch(lab: Lab) -> None:
    add_cartridge(lab.folder / "library", SCRATCH, capacity=16 * 1024 * 1024)


def reverse(lab: Lab) -> list[DriveSource]:
    first, second = VirtualLibrary(lab.folder / "library").drives
    return [Recabled(0, second), Recabled(1, first)]


def test_a_right_set_up_has_nothing_wrong_and_nothing_is_moved(lab: Lab) -> None:
    checks = look(set_up(lab))
    assert exit_code(checks) == 0
    assert wrong(checks) == sentences(checks, Verdict.WARNING) == []
    looked = {check.name for check in checks if check.verdict is Verdict.OK}
    assert looked == {"memory", "spool", "ledger", "changer", "volumes", "drive 0", "drive 1"}
    assert lab.stranded() == []


def test_load_puts_the_volume_into_each_drive_and_home_again_with_nothing_written(lab: Lab) -> None:
    before = lab.where()
    checks = look(set_up(lab), Wishes(load="PAPR1001"))
    found = [check.sentence for check in checks if check.name == whichdrive.NAME]
    assert found == [f"PAPR1001, put into drive {number} of the changer, became ready there" for number in range(2)]
    assert exit_code(checks) == 0
    assert lab.where() == before
    assert lab.tape_files("PAPR1001") == []


def test_swapped_drives_are_reported_and_the_cartridge_comes_home(lab: Lab) -> None:
    before = lab.where()
    checks = look(set_up(lab, devices(lab, reverse(lab))), Wishes(load="PAPR1001"))
    assert wrong(checks) == [
        f"which drive: PAPR1001, put into drive {element} of the changer, "
        f"became ready at drive {number}, which the config calls drive {number}"
        for element, number in ((0, 1), (1, 0))
    ]
    assert exit_code(checks) == 2
    assert lab.where() == before


def test_a_scratch_volume_in_swapped_drives_is_not_written_to(lab: Lab) -> None:
    lay_scratch(lab)
    checks = look(set_up(lab, devices(lab, reverse(lab))), Wishes(scratch=SCRATCH, scratch_size=SIZE))
    assert exit_code(checks) == 2
    assert lab.tape_files(SCRATCH) == []
    assert lab.stranded() == []


def test_a_drive_that_the_config_does_not_name_keeps_the_cartridge_and_the_sentence_says_where(
    new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whichdrive, "READY_SECONDS", 0.2)
    monkeypatch.setattr(whichdrive, "POLL_SECONDS", 0.01)
    lab = new_lab(drives=3)
    first, _, third = VirtualLibrary(lab.folder / "library").drives
    checks = look(set_up(lab, devices(lab, [first, Recabled(1, third)])), Wishes(load="PAPR1001"))
    assert [check.code for check in checks if check.verdict is Verdict.PROBLEM] == [6, 7]
    none, stuck = wrong(checks)
    assert "became ready at none of the drives" in none
    remedy = next(check.remedy for check in checks if check.sentence in none)
    assert remedy.startswith("name the device of this drive in `drives`; or, if the cartridge is a new LTO-9 one, ")
    assert remedy.endswith("wait for that and run this again, or take one that was loaded before")
    assert stuck.endswith("drive 1 has not been unloaded; volume PAPR1001 is now in drive 1")
    assert "the config names 2 drives, the changer has 3" in str(sentences(checks, Verdict.WARNING))
    assert lab.stranded() == ["PAPR1001"]


def test_a_full_drive_and_a_volume_that_is_not_there_are_reported_before_anything_moves(lab: Lab) -> None:
    checks = look(set_up(lab), Wishes(load="PAPR9001"))
    assert wrong(checks) == [
        "which drive: volume PAPR9001: not in the library; put it into a slot, or name another volume"
    ]
    assert exit_code(checks) == 5
    library = lab.context().library
    with library.reserve(numbers=[1]) as session:
        session.load("PAPR2001", 1)
    checks = look(set_up(lab), Wishes(load="PAPR1001"))
    assert exit_code(checks) == 2
    assert wrong(checks)[0].startswith("which drive: PAPR2001 lies in drive 1, and all must be empty for this: ")
    assert lab.stranded() == ["PAPR2001"]


def test_a_volume_whose_label_may_be_unreadable_is_missed_in_the_words_of_a_dump(lab: Lab) -> None:
    _label(lab, "PAPR1001", "")
    checks = look(set_up(lab), Wishes(load="PAPR1001"))
    with lab.context().library.reserve(1) as session, pytest.raises(VolumeMissing) as missed:  # noqa: SIM117
        with session.mounted(["PAPR1001"]):
            pytest.fail("mounted")
    assert "(in slot 1 lies a cartridge without a readable label)" in str(missed.value)
    assert wrong(checks) == [f"which drive: {missed.value}"]


def test_a_cartridge_that_cannot_be_unloaded_stays_and_the_sentence_says_where(lab: Lab) -> None:
    with Faults().fail("unload", drive=1) as faults:
        checks = look(set_up(lab, devices(lab, faults=faults)), Wishes(load="PAPR1001"))
    assert exit_code(checks) == 6
    assert "PAPR1001 is still in drive 1 of the changer: unload it through drive 1" in wrong(checks)[0]
    assert [check.name for check in checks if check.sentence.endswith("became ready there")] == ["which drive"] * 2
    assert lab.stranded() == ["PAPR1001"]


def test_a_stuck_robot_is_the_changers_problem(lab: Lab) -> None:
    with Faults().fail("move") as faults:
        checks = look(set_up(lab, devices(lab, faults=faults)), Wishes(load="PAPR1001"))
    assert exit_code(checks) == 7


def test_scratch_is_measured_in_each_drive_and_can_be_used_again(lab: Lab) -> None:
    lay_scratch(lab)
    for _ in range(2):
        checks = look(set_up(lab), Wishes(scratch=SCRATCH, scratch_size=SIZE))
        assert exit_code(checks) == 0, wrong(checks)
        told = [f"{check.name}: {check.sentence}" for check in checks]
        for number in range(2):
            assert any(line.startswith(f"drive {number}: it writes ") and "read back the same" in line for line in told)
            assert any(line.startswith(f"drive {number}: a filemark that is waited for takes") for line in told)
        assert f"scratch: {SCRATCH} begins with doctor's mark and is a scratch volume from now on" in str(told)
        files = lab.tape_files(SCRATCH)
        assert [file.read_bytes()[: len(MARKER)] for file in files] == [MARKER]
        assert lab.stranded() == []


def test_scratch_ends_with_the_tape_where_that_is_shorter(lab: Lab) -> None:
    lay_scratch(lab)
    checks = look(set_up(lab), Wishes(scratch=SCRATCH, scratch_size=10**9))
    assert exit_code(checks) == 0, wrong(checks)
    assert sum("read back the same" in check.sentence for check in checks) == 2


def test_a_registered_volume_is_refused_and_nothing_is_moved(lab: Lab) -> None:
    checks = look(set_up(lab), Wishes(scratch="PAPR1001"))
    (sentence,) = wrong(checks)
    assert sentence.startswith("scratch: --scratch PAPR1001: it is registered, as blank; nothing was written; ")
    assert exit_code(checks) == 2


def test_without_a_ledger_nothing_is_written(lab: Lab) -> None:
    lay_scratch(lab)
    checks = look(dataclasses.replace(set_up(lab), ledger=None), Wishes(scratch=SCRATCH))
    assert "the ledger cannot be asked whether it is free; nothing was written" in wrong(checks)[0]
    assert lab.tape_files(SCRATCH) == []


@pytest.mark.parametrize("content", [b"x" * 65536, MARKER[:-1] + b"?" * 1000])
def test_a_volume_that_holds_anything_is_refused(lab: Lab, content: bytes) -> None:
    lay_scratch(lab)
    with lab.context().library.reserve(1) as session, session.mounted([SCRATCH]) as (drive,):
        drive.write_block(memoryview(content))
        drive.write_filemark(flush=True)
    before = [file.read_bytes() for file in lab.tape_files(SCRATCH)]
    checks = look(set_up(lab), Wishes(scratch=SCRATCH))
    assert exit_code(checks) == 5
    (sentence,) = wrong(checks)
    assert sentence.startswith(f"drive 0: volume {SCRATCH}: it is not blank; doctor writes to blank tapes only, ")
    assert [file.read_bytes() for file in lab.tape_files(SCRATCH)] == before


def test_a_protected_scratch_volume_is_refused(lab: Lab) -> None:
    lay_scratch(lab)
    record = lab.cartridge(SCRATCH) / "cartridge.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "write_protected": True}))
    checks = look(set_up(lab), Wishes(scratch=SCRATCH))
    assert "its tab forbids writing" in wrong(checks)[0]
    assert lab.stranded() == []


def test_a_block_that_reads_back_otherwise_is_the_drives_problem(lab: Lab) -> None:
    lay_scratch(lab)
    checks = look(set_up(lab, tell=At("reading", lambda: _flip(lab.tape_files(SCRATCH)[0]))), _scratch())
    assert "does not read back as it was written, from object 8 on" in wrong(checks)[0]
    assert exit_code(checks) == 6
    assert lab.stranded() == []


def _scratch() -> Wishes:
    return Wishes(scratch=SCRATCH, scratch_size=SIZE)


def _flip(path: Path) -> None:
    """Change a bit of object 8, in blocks of 64 KiB."""
    with path.open("r+b") as file:
        file.seek(8 * 65536 + 99)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("phase", ["writing", "reading"])
def test_a_stop_brings_the_cartridge_home_and_the_next_one_goes_on(lab: Lab, phase: str) -> None:
    lay_scratch(lab)
    stop = Stop()
    with pytest.raises(Interrupted):
        look(set_up(lab, tell=At(phase, stop.ask), stop=stop), _scratch())
    assert lab.stranded() == []
    assert exit_code(look(set_up(lab), _scratch())) == 0


def test_one_drive_that_is_missing_hides_nothing_else(lab: Lab) -> None:
    shutil.move(lab.folder / "library" / "drives" / "0", lab.folder / "gone")
    checks = look(set_up(lab), Wishes(load="PAPR1001"))
    assert exit_code(checks) == 6
    assert [check.name for check in checks if check.verdict is Verdict.PROBLEM] == ["drive 0"]
    assert "drive 1: opens" in str(sentences(checks, Verdict.OK))
    assert "which drive: not tried" in str(sentences(checks, Verdict.SKIPPED))


def test_a_drive_in_use_is_left_alone(lab: Lab) -> None:
    with reserved(lab.folder / "library" / "locks", [0], 1, tell_all()):
        checks = look(set_up(lab))
    assert f"drive 0: not looked at: it is in use by process {os.getpid()}" in sentences(checks, Verdict.SKIPPED)
    assert exit_code(checks) == 0


def test_volumes_that_are_not_registered_and_none_that_is_blank(lab: Lab) -> None:
    for tag in ("PAPR2001", "PAPR2002", "PAPR2003"):
        lab.ledger.volumes.retire(tag, "for the test")
    add_cartridge(lab.folder / "library", "PAPR2999")
    told = sentences(look(set_up(lab)), Verdict.WARNING)
    assert told == [
        "volumes: PAPR2999 is not registered",
        "volumes: no registered blank volume for copy 2 (PAPR2) is in the library",
    ]


def test_cartridges_without_label_twice_or_left_in_a_drive_are_reported(lab: Lab) -> None:
    path = lab.folder / "library" / "library.json"
    record = json.loads(path.read_text())
    record["drives"][0]["cartridge"], record["slots"][0] = record["slots"][0], None
    path.write_text(json.dumps(record))
    _label(lab, "PAPR1002", "PAPR1003")
    _label(lab, "PAPR2003", "")
    told = sentences(look(set_up(lab)), Verdict.WARNING)
    assert told[:3] == [
        "changer: cartridges without a readable label lie in slot 6: papertape never loads them",
        "changer: PAPR1003 is there more than once, in slot 2 and slot 3",
        "changer: PAPR1001 lies in drive 0",
    ]


def _label(lab: Lab, tag: str, label: str) -> None:
    path = lab.cartridge(tag) / "cartridge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "barcode": label or None}))


def test_more_drives_than_the_changer_has(lab: Lab) -> None:
    first, second = VirtualLibrary(lab.folder / "library").drives
    checks = look(set_up(lab, devices(lab, [first, second, Recabled(2, second)])))
    assert "changer: the config names 3 drives, the changer has 2" in wrong(checks)
    assert exit_code(checks) == 2


def test_a_ring_larger_than_the_memory(lab: Lab) -> None:
    setup = set_up(lab)
    huge = dataclasses.replace(setup, settings=dataclasses.replace(setup.settings, ring=1 << 50))
    found = next(check for check in look(huge) if check.name == "memory")
    assert (found.verdict, found.code) == (Verdict.PROBLEM, 2)
    assert found.sentence.endswith("are free, and `ring` is 1073741824MiB")


def test_a_spool_that_cannot_be_written_to(lab: Lab) -> None:
    (lab.folder / "file").write_text("")
    setup = set_up(lab)
    bad = dataclasses.replace(setup, settings=dataclasses.replace(setup.settings, spool=lab.folder / "file" / "x"))
    checks = look(bad)
    assert wrong(checks) == [f"spool: {lab.folder}/file/x cannot be written to (Not a directory)"]
    assert exit_code(checks) == 1


def test_the_source_is_read_and_compared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = next(check for check in look(set_up(lab)) if check.name == "source")
    assert found.verdict is Verdict.SKIPPED
    assert "the data sets that wait: " in found.sentence
    monkeypatch.setattr(sourcespeed, "FEWEST_BYTES", 0)
    found = next(check for check in look(set_up(lab)) if check.name == "source")
    assert "LTO-6" in found.sentence
    assert found.verdict in {Verdict.OK, Verdict.WARNING}


@pytest.mark.parametrize(
    ("speed", "verdict", "said"),
    [
        (500e6, Verdict.OK, "that keeps LTO-9 streaming, which takes 177 MB/s at the least; the LTO generation"),
        (100e6, Verdict.WARNING, "too slow to keep streaming: LTO-7 101 MB/s, LTO-8 112 MB/s, LTO-9 177 MB/s"),
    ],
)
def test_an_unknown_generation_is_compared_with_all(speed: float, verdict: Verdict, said: str) -> None:
    found = sourcespeed.judge("disk", speed, sourcespeed.find_generations(None))
    assert found.verdict is verdict
    assert said in found.sentence


def test_a_source_that_is_not_there(lab: Lab) -> None:
    checks = look(set_up(lab), Wishes(source=lab.folder / "nowhere"))
    assert wrong(checks) == [
        f"source: --source {lab.folder}/nowhere: there is no such folder; name one with data like that to be archived"
    ]


def test_device_nodes_that_are_none(lab: Lab) -> None:
    kind = ScsiConfig("/dev/null", ("/dev/nst-gone", "/dev/zero", "/dev/zero"), locks=str(lab.folder / "locks"))
    parts = kind.open(tell_all(), patient=False)
    checks = look(set_up(lab, parts, kind=kind), Wishes(load="X"))
    drives = [(check.name, check.sentence, check.code) for check in checks if check.name.startswith("drive")]
    assert drives == [
        ("drives", "/dev/zero and /dev/zero are the same device, which the config calls two drives", 2),
        ("drive 0", "/dev/nst-gone is missing; switch the drive on, or correct `drives` in the config", 6),
        ("drive 1", "/dev/zero is not a tape device; correct `drives` in the config", 2),
        ("drive 2", "/dev/zero is not a tape device; correct `drives` in the config", 2),
    ]
    assert exit_code(checks) == 2
    assert "which drive: not tried" in str(sentences(checks, Verdict.SKIPPED))


def test_the_wrong_mt_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (("mtx", "mtx version 1.3.12"), ("mt", "mt (GNU cpio) 2.13")):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    first, second = ScsiConfig("/dev/null", ("/dev/nst0",)).check_programs()
    assert first.sentence == f"{tmp_path}/bin/mtx is mtx version 1.3.12"
    assert second.verdict is Verdict.WARNING
    assert second.sentence.startswith(f"{tmp_path}/bin/mt says 'mt (GNU cpio) 2.13' and is not that of mt-st")
    assert second.remedy == "install the package mt-st"


def test_a_bug_in_one_check_is_a_finding() -> None:
    def break_down() -> list[Check]:
        raise ZeroDivisionError("no wonder")

    (found,) = guarded("memory", break_down)
    assert found.sentence == "unexpected: ZeroDivisionError: no wonder (this is a bug)"
    assert exit_code([found]) == 1


def test_the_worst_problem_gives_the_exit_code() -> None:
    checks = [ok("a", "fine"), *(problem("b", "bad", code=code) for code in (1, 6, 7))]
    assert exit_code(checks) == 7
    assert exit_code([*checks, problem("c", "bad")]) == 2
    assert (HostError.exit_code, UserError.exit_code) == (1, 2)


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("IBM ULT3580-TD6", "LTO-6"),
        ("IBM ULT3580-HH8", "LTO-8"),
        ("IBM ULTRIUM-HH9", "LTO-9"),
        ("HP Ultrium 6-SCSI", "LTO-6"),
        ("QUANTUM ULTRIUM 5", "LTO-5"),
        ("IBM ULTRIUM-TD10", "LTO-10"),
    ],
)
def test_the_generation_is_read_from_the_product(product: str, name: str) -> None:
    assert find_generation(product) == GENERATIONS[name]


def test_a_product_of_no_generation() -> None:
    assert find_generation("RIG ULTRIUM-TD") is None
    assert find_generation("HP Ultrium 77-SCSI") is None


def test_options_by_name() -> None:
    assert name_options(0x107) == ["buffer-writes", "async-writes", "read-ahead", "can-bsr"]
