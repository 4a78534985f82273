"""The ``mtx`` changer: what the program prints, and how it is run. A script stands in for the program."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.errors import ChangerError, InventoryUnknown, PapertapeError, UserError
from papertape.tape.changer import Element, ElementKind, ElementStatus, Inventory
from papertape.tape.scsi import mtx
from papertape.tape.scsi.mtx import Limits, MtxChanger, parse_status
from papertape.tape.scsi.sense import describe_sense, explain

from .devices import drive_at, mail, slot

QUICK = settings(deadline=None)
SLOW = settings(max_examples=30, deadline=None)
GOLDEN = Path(__file__).with_name("mtx")
LIBRARY = """\
  Storage Changer /dev/changer:2 Drives, 7 Slots ( 1 Import/Export )
Data Transfer Element 0:Full (Storage Element 5 Loaded):VolumeTag = AAA005
Data Transfer Element 1:Empty
      Storage Element 1:Full :VolumeTag=AAA001
      Storage Element 2:Full :VolumeTag=AAA002
      Storage Element 3:Empty
      Storage Element 4:Empty
      Storage Element 5:Empty
      Storage Element 6:Empty
      Storage Element 7 IMPORT/EXPORT:Empty
"""
"""As the ``DevicesUnderTest``, with one cartridge more, in drive 0."""

SENSE = """\
mtx: Request Sense: Long Report=yes
mtx: Request Sense: Sense Key={key}
mtx: Request Sense: Additional Sense Code = {asc:02X}
mtx: Request Sense: Additional Sense Qualifier = {ascq:02X}
mtx: Request Sense: SKSV=no
"""
FAILED = "MOVE MEDIUM from Element Address 1 to 1000 Failed\n"


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_bytes().decode("latin-1")


def empty(*elements: Element) -> list[ElementStatus]:
    return [ElementStatus(element, False) for element in elements]


def full(element: Element, tag: str | None = None, home: Element | None = None) -> ElementStatus:
    return ElementStatus(element, True, tag, home)


def print_status(inventory: Inventory, end: str = "\n") -> str:
    """``inventory`` as mtx prints it."""
    drives, slots, mail_slots = (len(list(inventory.of(kind))) for kind in ElementKind)
    lines = [f"  Storage Changer /dev/sg3:{drives} Drives, {slots + mail_slots} Slots ( {mail_slots} Import/Export )"]
    for status in inventory.elements:
        number, tag = status.element.number, (status.volume_tag or "").ljust(32)
        if status.element.kind is ElementKind.DRIVE:
            home = f"Storage Element {status.home.number}" if status.home else "Unknown Storage Element"
            state = f"Full ({home} Loaded):VolumeTag = {tag}" if status.full else "Empty"
            lines.append(f"Data Transfer Element {number}:{state}")
        else:
            kind = " IMPORT/EXPORT" if status.element.kind is ElementKind.IMPORT_EXPORT else ""
            state = "Full " if status.full else "Empty"
            lines.append(f"      Storage Element {number}{kind}:{state}:VolumeTag={tag}")
    return "".join(line + end for line in lines)


# -- what mtx prints


def test_everything_at_home() -> None:
    assert parse_status(golden("all_home")).elements == (
        *empty(drive_at(0), drive_at(1)),
        *[full(slot(n), tag) for n, tag in enumerate(["AAA001", "AAA002", "CLN003", "AAA004"], 1)],
        *empty(slot(5), slot(6), slot(7), mail(8), mail(9)),
    )


def test_cartridges_in_drives_and_one_of_them_from_a_mail_slot() -> None:
    inventory = parse_status(golden("in_drives"))
    assert inventory.at(drive_at(0)) == full(drive_at(0), "AAA001", slot(1))
    assert inventory.at(drive_at(1)) == full(drive_at(1), "AAA002", mail(8))
    assert inventory.at(slot(1)) == ElementStatus(slot(1), False)


def test_thirteen_slots() -> None:
    inventory = parse_status(golden("thirteen_slots"))
    assert [len(list(inventory.of(kind))) for kind in ElementKind] == [2, 12, 1]
    assert [status.element for status in inventory.find("PAPR2001")] == [drive_at(1)]


def test_no_barcodes() -> None:
    inventory = parse_status(golden("no_barcodes"))
    assert {status.volume_tag for status in inventory.elements} == {None}
    assert [status.element.number for status in inventory.elements if status.full] == [1, 2, 3, 4]


def test_odd_tags_and_carriage_returns_and_homes_unknown() -> None:
    assert parse_status(golden("odd_tags")).elements == (
        full(drive_at(0), "TAPE 01", slot(3)),
        full(drive_at(1)),
        full(drive_at(2), "AAA009"),
        full(slot(1), r"A\x7fB\x1b[2J\t"),
        *empty(slot(2), slot(3)),
        full(slot(4)),
        full(slot(5), r"A:VolumeTag=B\xc4"),
    )


def test_a_home_that_is_no_element_is_unknown() -> None:
    text = LIBRARY.replace("Storage Element 5 Loaded", "Storage Element 99 Loaded")
    assert parse_status(text).at(drive_at(0)) == full(drive_at(0), "AAA005")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", '"mtx status" printed nothing'),
        ("\n \r\n", '"mtx status" printed nothing'),
        ("\x1b[31mUsage:\n", r'"mtx status" printed "\\x1b[31mUsage:", which is not understood'),
        ("x" * 999, '"mtx status" printed "' + "x" * 77 + '...", which is not understood'),
        (LIBRARY[:-1], '"mtx status" is cut off at "Storage Element 7 IMPORT/EXPORT:Empty"'),
        (LIBRARY[:-7] + "\n", 'printed "Storage Element 7 IMPORT/EXPORT", which'),
        (LIBRARY.replace("Element 2:", "Element 3:"), 'printed "Storage Element 3:Full :VolumeTag=AAA002", which'),
        (LIBRARY.replace("Element 1:Empty", "Element 2:Empty"), 'printed "Data Transfer Element 2:Empty", which'),
        (LIBRARY.replace("2 Drives", "1 Drives"), 'printed "Data Transfer Element 1:Empty", which'),
        (LIBRARY.replace("2 Drives", "3 Drives"), 'printed "Storage Element 1:Full :VolumeTag=AAA001", which'),
        (LIBRARY.replace("7 Slots", "9 Slots"), "announces 2 drives and 9 slots, of them 1 mail slots, but lists 2 dr"),
        (LIBRARY.replace("( 1 ", "( 2 "), "of them 2 mail slots, but lists 2 drives and 7 slots, of them 1 mail slots"),
        (LIBRARY + LIBRARY, 'printed "Storage Changer /dev/changer:2 Drives'),
        (LIBRARY.replace("2 Drives", "9" * 5000 + " Drives"), "which is not understood"),
        (LIBRARY.replace("Element 1:", "Element \u0661:"), r"Element \\u0661:Empty"),
    ],
)
def test_an_incomplete_status_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ChangerError) as caught:
        parse_status(text)
    assert reason in caught.value.reason.replace("\\", "\\\\")
    assert str(caught.value) == f"asking the changer what lies where: {caught.value.reason}"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    slots = [slot(n) for n in range(1, draw(st.integers(0, 5)) + 1)]
    stored = slots + [mail(n) for n in range(len(slots) + 1, len(slots) + draw(st.integers(0, 3)) + 1)]
    marks = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":\\")
    tags = st.none() | st.text(marks, min_size=1, max_size=8) | st.just("AB 01")
    homes = st.sampled_from([None, *stored])
    elements = [
        full(drive_at(n), draw(tags), draw(homes)) if draw(st.booleans()) else ElementStatus(drive_at(n), False)
        for n in range(draw(st.integers(0, 3)))
    ]
    elements += [full(place, draw(tags)) if draw(st.booleans()) else ElementStatus(place, False) for place in stored]
    return Inventory(tuple(elements))


@QUICK
@given(inventories(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_an_inventory_that_is_printed_is_read_back(inventory: Inventory, end: str) -> None:
    assert parse_status(print_status(inventory, end)) == inventory


def test_thousands_of_slots() -> None:
    many = Inventory(tuple(full(slot(n), f"A{n:05}") for n in range(1, 5001)))
    assert parse_status(print_status(many)) == many


@QUICK
@given(st.text() | st.lists(st.sampled_from([*LIBRARY.splitlines(True), "\r", "\0", "\x85", "\ud800", ":", "0"])))
def test_no_text_raises_anything_but_a_changer_error(text: str | list[str]) -> None:
    shown = []
    try:
        shown += [status.volume_tag or "" for status in parse_status("".join(text)).elements]
    except ChangerError as error:
        shown.append(str(error))
    assert all(words.isprintable() for words in shown)


@QUICK
@given(st.text() | st.sampled_from([golden("locked"), golden("tape_drive")]), st.integers(0, 2000))
def test_any_last_words_are_explained_or_not(text: str, length: int) -> None:
    assert explain(text[:length], slot(1), drive_at(0)) != ""


@pytest.mark.parametrize(
    ("sense", "words"),
    [
        ((2, 0x04, 0x01), "the library is becoming ready: wait a minute and try again (code 04h/01h)"),
        ((2, 0x04, 0x77), "the library is not ready (code 04h/77h)"),
        ((4, 0x77, 0x02), "sense key Hardware Error, code 77h/02h"),
        ((6, 0x28, 0x01), "the mail slot has been opened meanwhile: nothing was done, try again (code 28h/01h)"),
        (
            (1, 0x53, 0x00),
            "it may have been done, but not without trouble: a cartridge could not be put in or taken out",
        ),
        ((0, 0x00, 0x00), "the changer gives no reason: the connection to it may be broken"),
    ],
)
def test_sense_data_become_words(sense: tuple[int, int, int], words: str) -> None:
    assert describe_sense(*sense).startswith(words)


# -- how it is run


class Fake:
    """A script in place of mtx that prints ``status`` and runs ``move``, and the file that is its device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.device = folder / "changer"
        self.device.touch()
        self.program = folder / "mtx"
        self.answer()

    def answer(self, status: str = LIBRARY, move: str = "echo done", before: str = "") -> None:
        (self.folder / "status").write_bytes(status.encode("latin-1"))
        self.program.write_text(
            f'#!/bin/sh\ncd {self.folder}\necho "$@" >>calls\n{before}\n'
            f'if [ "$3" = status ]; then cat status; exit; fi\n{move}\n'
        )
        self.program.chmod(0o755)

    def fail(self, words: str) -> None:
        (self.folder / "words").write_bytes(words.encode("latin-1"))
        self.answer(move="echo -n 'Loading media...'; cat words >&2; exit 1")

    def changer(self, status: float = 60, move: float = 60) -> MtxChanger:
        return MtxChanger(self.device, program=str(self.program), limits=Limits(status, move))

    def moves(self) -> list[str]:
        calls = (self.folder / "calls").read_text().replace(f"-f {self.device} ", "").splitlines()
        return [call for call in calls if call != "status"]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def refused(action: Callable[[], object], kind: type[PapertapeError] = ChangerError) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert str(caught.value).isprintable()
    return str(getattr(caught.value, "reason", caught.value))


def test_the_inventory_comes_from_the_program(fake: Fake) -> None:
    assert fake.changer().inventory() == parse_status(LIBRARY)


@pytest.mark.parametrize(
    ("source", "destination", "command"),
    [
        (slot(1), drive_at(1), "load 1 1"),
        (drive_at(0), slot(6), "unload 6 0"),
        (drive_at(0), mail(7), "unload 7 0"),
        (slot(2), mail(7), "transfer 2 7"),
        (slot(2), slot(4), "transfer 2 4"),
    ],
)
def test_a_move_is_one_command_of_mtx(fake: Fake, source: Element, destination: Element, command: str) -> None:
    fake.changer().move(source, destination)
    assert fake.moves() == [command]


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (slot(3), drive_at(1), "slot 3 is empty"),
        (slot(3), drive_at(0), "slot 3 is empty"),
        (drive_at(1), slot(3), "drive 1 is empty"),
        (slot(1), drive_at(0), "drive 0 is full"),
        (slot(1), slot(2), "slot 2 is full"),
        (slot(1), slot(1), "slot 1 is full"),
        (slot(1), slot(7), "the library has no slot 7"),
        (slot(0), drive_at(0), "the library has no slot 0"),
        (slot(1), drive_at(2), "the library has no drive 2"),
        (slot(1), mail(1), "the library has no mail slot 1"),
        (drive_at(0), drive_at(1), "mtx cannot move from drive to drive: move it to a slot first"),
    ],
)
def test_a_move_that_the_inventory_forbids_is_not_tried(
    fake: Fake, source: Element, destination: Element, reason: str
) -> None:
    with pytest.raises(ChangerError) as caught:
        fake.changer().move(source, destination)
    assert str(caught.value) == f"moving a cartridge from {source} to {destination}: {reason}"
    assert fake.moves() == []


def sense(key: str, asc: int, ascq: int) -> str:
    return SENSE.format(key=key, asc=asc, ascq=ascq) + FAILED


LOAD, UNLOAD, TRANSFER = (slot(1), drive_at(1)), (drive_at(0), slot(3)), (slot(1), slot(3))
NOT_UNLOADED = "drive 0 has not been unloaded, or it holds its cartridge locked"


@pytest.mark.parametrize(
    ("move", "words", "reason"),
    [
        (LOAD, "Drive 1 Full (Storage Element 1 loaded)\n", "drive 1 is full"),
        (LOAD, "Source Element Address 1000 is Empty\n", "slot 1 is empty"),
        (UNLOAD, "Data Transfer Element 0 is Empty\n", "drive 0 is empty"),
        (UNLOAD, "Storage Element 3 is Already Full\n", "slot 3 is full"),
        (TRANSFER, "Destination Element Address 1002 is Already Full\n", "slot 3 is full"),
        (LOAD, "Invalid <storage-element-number> argument '1' to 'load' command\n", "the library has no slot 1"),
        (LOAD, "illegal <drive-number> argument '1' to 'load' command\n", "the library has no drive 1"),
        (UNLOAD, "illegal <storage-element-number> argument '3' to 'unload' command\n", "the library has no slot 3"),
        (UNLOAD, "illegal <drive-number> argument '0' to 'unload' command\n", "the library has no drive 0"),
        (TRANSFER, "Invalid source\n", "the library has no slot 1"),
        (TRANSFER, "Invalid destination\n", "the library has no slot 3"),
        (LOAD, "Cleaning Cartridge Installed and Ejected\n", "a cleaning cartridge was put in and has been ejected"),
        (UNLOAD, "Drive needs offline before move\n", f"{NOT_UNLOADED} (code 3Ah/00h)"),
        (LOAD, "Drive needs offline before move\n", "there is no cartridge that could be moved (code 3Ah/00h)"),
        (UNLOAD, golden("locked"), f"{NOT_UNLOADED} (code 53h/02h)"),
        (LOAD, sense("Illegal Request", 0x3B, 0x11), "the magazine cannot be reached (code 3Bh/11h)"),
        (LOAD, sense("Hardware Error", 0x15, 0x01), "the robot cannot find its position (code 15h/01h)"),
        (LOAD, sense("0x09", 0x80, 0xFF), "sense key Vendor Specific, code 80h/FFh"),
        (LOAD, sense("Nonsense", 0x80, 0xFF), "sense key No Sense, code 80h/FFh"),
        (LOAD, sense("Illegal Request", 0x24, 0)[:-9] + "failed\nOut of cheese\n", '1 and said "Out of cheese"'),
        (LOAD, "\x1b[2J\xe4" * 100 + "\n", r"mtx ended with status 1 and said "),
        (LOAD, "No Source for tape in drive 0!\n", '"No Source for tape in drive 0!"'),
        (LOAD, "", 'mtx ended with status 1 and said "Loading media..."'),
        (LOAD, "cannot open SCSI device '/dev/x' - Device or resource busy\n", "cannot be opened: Device or resource"),
    ],
)
def test_each_failure_of_a_move_has_its_words(
    fake: Fake, move: tuple[Element, Element], words: str, reason: str
) -> None:
    fake.fail(words)
    assert reason in refused(lambda: fake.changer().move(*move))
    assert len(fake.moves()) == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("no Data Transfer Element reported", "the changer reports no drive: the connection to it may be broken"),
        ("no Storage Elements reported", "the changer reports no slot: the connection to it may be broken"),
        ("Transport Element Descriptor Length too short: 0", "mtx does not understand what the changer reports"),
        ("illegal Element Type Code 9 reported", "mtx does not understand what the changer reports"),
        ("Too many Data Transfer Elements Reported", "the changer reports more drives than it says it has"),
        (
            SENSE.format(key="Not Ready", asc=4, ascq=3) + "READ ELEMENT STATUS Command Failed",
            "the library needs a hum",
        ),
        (SENSE.format(key="No Sense", asc=0, ascq=0) + "INQUIRY command Failed", "the changer gives no reason: the co"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_each_failure_of_a_status_has_its_words(fake: Fake, words: str, reason: str, code: int) -> None:
    (fake.folder / "words").write_text(words + "\n")
    fake.answer(before=f"cat words >&2; exit {code}")
    with pytest.raises(InventoryUnknown) as caught:
        fake.changer().inventory()
    assert reason in caught.value.reason
    with pytest.raises(ChangerError, match="moving a cartridge from slot 1 to drive 1: ") as caught_again:
        fake.changer().move(*LOAD)
    assert caught_again.value.reason == caught.value.reason
    assert fake.moves() == []


@pytest.mark.parametrize(
    "words",
    [
        "cannot open SCSI device 'c' - Is a directory\n",
        "c is not an sg device, or old sg driver\n",
        golden("tape_drive"),
    ],
)
def test_a_device_that_is_not_a_changer_is_corrected_in_the_config(fake: Fake, words: str) -> None:
    (fake.folder / "words").write_text(words)
    fake.answer(before="cat words >&2; exit 1")
    reason = refused(fake.changer().inventory, UserError)
    assert reason.startswith(f"{fake.device}: it is ")
    assert reason.endswith('correct "changer" in the config')


def test_a_device_that_only_mtx_may_not_open(fake: Fake) -> None:
    fake.answer(before=f"echo \"cannot open SCSI device '{fake.device}' - Permission denied\" >&2; exit 1")
    reason = f'{fake.device}: no permission to use it: the user must be in the group "tape"'
    assert refused(fake.changer().inventory, UserError) == reason


def test_a_status_that_mtx_had_no_room_for_is_not_believed(fake: Fake) -> None:
    fake.answer(before='echo "Warning:Too Many Storage Elements Reported (expected 3, now have 4" >&2')
    assert refused(fake.changer().inventory) == "the changer reports more slots than it says it has"


def test_other_warnings_are_passed_over(fake: Fake) -> None:
    fake.answer(before='echo "Warning:Too Many Import/Export Elements Reported (expected 1, now have 2" >&2')
    assert fake.changer().inventory() == parse_status(LIBRARY)


def test_a_silent_failure_and_a_killed_program(fake: Fake) -> None:
    fake.answer(before="exit 3")
    assert refused(fake.changer().inventory) == "mtx ended with status 3 and said nothing"
    fake.answer(move="kill -9 $$")
    unknown = "mtx ended with status -9 and said nothing; the robot's state is unknown: look into the library"
    assert refused(lambda: fake.changer().move(*LOAD)) == unknown


def test_a_program_that_does_not_end_is_killed_at_the_limit(fake: Fake) -> None:
    fake.answer(move="sleep 1000")
    reason = refused(lambda: fake.changer(move=0.2).move(*LOAD))
    assert reason == "mtx did not answer within 0.2 s; the robot's state is unknown: look into the library"
    fake.answer(before="sleep 1000")
    assert "mtx did not answer within 0.2 s" in refused(fake.changer(status=0.2).inventory)
    fake.answer()
    fake.changer().move(*LOAD)  # nothing holds the device any more


def test_a_program_that_cannot_be_killed_is_not_waited_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtx, "GRACE_SECONDS", 0.1)
    # What leaves the process group stands for what hangs in the kernel: it keeps the pipes, and the device.
    fake.answer(move="exec setsid -f sh -c 'echo $$ >pid; exec sleep 1000'")
    assert "mtx did not answer" in refused(lambda: fake.changer(move=2).move(*LOAD))
    reason = refused(fake.changer(0.1, 0.1).inventory)
    os.kill(int((fake.folder / "pid").read_text()), 9)
    assert reason.startswith(
        f"{fake.device} cannot be locked within 0.2 s (Resource temporarily unavailable): another process uses it"
    )


def test_no_program_no_device(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake.folder / "nowhere"))
    nothing = MtxChanger(fake.device, program="mtx-of-nobody")
    assert refused(nothing.inventory, UserError) == "mtx-of-nobody is not installed: install the package mtx"
    fake.program.write_bytes(b"\x7fELF no program")
    assert "mtx cannot be started: Exec format error" in refused(fake.changer().inventory)
    fake.device.unlink()
    reason = refused(lambda: fake.changer().move(*LOAD), UserError)
    assert reason.startswith(f"{fake.device}: there is no such device: is the library on and connected?")
    assert not fake.device.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_device_without_permission(fake: Fake) -> None:
    fake.device.chmod(0)
    assert "group" in refused(fake.changer().inventory, UserError)


def test_a_name_that_is_a_file_on_the_way_is_no_device(fake: Fake) -> None:
    changer = MtxChanger(fake.device / "changer", program=str(fake.program))
    assert refused(changer.inventory) == f"{fake.device}/changer cannot be opened: Not a directory"


def test_the_program_is_found_where_administrators_have_it(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtx, "SBIN", str(fake.folder))
    fake.program.rename(fake.folder / "mtx-of-root")
    assert MtxChanger(fake.device, program="mtx-of-root").inventory() == parse_status(LIBRARY)


def test_the_program_runs_alone_in_the_c_locale_with_nothing_to_read(fake: Fake) -> None:
    fake.answer(
        move="echo $LC_ALL >locale; readlink /proc/$$/fd/0 >stdin; cut -d' ' -f 1,6 /proc/$$/stat >session\n"
        "readlink /proc/$$/fd/* >files; true"
    )
    fake.changer().move(*LOAD)
    assert (fake.folder / "locale").read_text() == "C\n"
    assert (fake.folder / "stdin").read_text() == "/dev/null\n"
    process, session = (fake.folder / "session").read_text().split()
    assert process == session
    # The device is locked for as long as mtx runs, whatever becomes of papertape.
    assert str(fake.device) in (fake.folder / "files").read_text().splitlines()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as at a terminal; a shell starts what runs in its background without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_raised_when_the_move_has_ended(fake: Fake) -> None:
    fake.answer(move="sleep 0.1; kill -INT $PPID; sleep 0.1; kill -INT $PPID; sleep 0.1; touch ended")
    with pytest.raises(KeyboardInterrupt):
        fake.changer().move(*LOAD)
    assert (fake.folder / "ended").exists()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_does_not_hide_that_the_state_is_unknown(fake: Fake) -> None:
    fake.answer(move="sleep 0.1; kill -INT $PPID; sleep 1000")
    try:
        assert "look into the library" in refused(lambda: fake.changer(move=0.4).move(*LOAD))
    except KeyboardInterrupt:  # or it would end the whole test run
        pytest.fail("the interrupt came through")


def test_one_run_at_a_time_among_threads(fake: Fake) -> None:
    fake.answer(before="mkdir busy || echo overlap >>overlaps; sleep 0.02; rmdir busy")
    threads = [threading.Thread(target=fake.changer().move, args=LOAD) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.moves() == ["load 1 1"] * 4
    assert not (fake.folder / "overlaps").exists()


def test_a_device_that_another_process_holds_is_waited_for(fake: Fake) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(fake.device)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert "another process uses it" in refused(fake.changer(0.1, 0.1).inventory)
        release = threading.Timer(0.2, other.stdin.close)
        release.start()
        assert fake.changer().inventory() == parse_status(LIBRARY)
        release.join()


def test_the_device_is_only_locked_while_mtx_runs(fake: Fake) -> None:
    changer = fake.changer()
    changer.inventory()
    with fake.device.open() as device:
        fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)


@SLOW
@given(st.binary(max_size=200))
def test_hostile_output(tmp_path_factory: pytest.TempPathFactory, printed: bytes) -> None:
    fake = Fake(tmp_path_factory.mktemp("hostile"))
    (fake.folder / "printed").write_bytes(printed)
    fake.answer(before="cat printed; cat printed >&2; exit 1")
    with pytest.raises(PapertapeError) as caught:
        fake.changer().inventory()
    assert str(caught.value).isprintable()
