"""Ledgers and tapes that lie: what comes back is right, or is named as lost, and nothing leaves the folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Update, func, select, update

from ledgers import ask, behind_its_back
from papertape.errors import DriveError, HostError, PapertapeError, RestoreFailed, UserError
from papertape.events import Event, Moved
from papertape.jobs.restore import Restored
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, MEMBERS, TAPE_FILES, VOLUMES
from papertape.tape.virtual.faults import Faults
from papertape.volume.header import FILE, RECORD, Attributes, build_header
from papertape.volume.tapefile import checksum_header
from stories import BLOCK, HOST, Lab, make_lab, make_night, noise, snapshot

from .damage import flip, operate, set_runs

TAGS = ("PAPR1001", "PAPR2001")
PREFIX = ".papertape-"
SECRET = b"nobody may change this"


class World:
    """A lab in which a night is archived, a folder to restore to, and one beside it that must stay as it is."""

    def __init__(self, lab: Lab, folder: Path, night: list[Path]) -> None:
        self.lab, self.folder, self.night = lab, folder, night
        self.to = folder / "back"
        (folder / "outside").mkdir()
        (folder / "outside" / "secret").write_bytes(SECRET)

    def lie(self, statement: Update) -> None:
        """Change the ledger behind its back."""
        with behind_its_back(self.lab.url) as connection:
            assert connection.execute(statement).rowcount

    def restore(self, **options: Any) -> Restored | PapertapeError:
        """Restore everything; what is wrong is said in one sentence."""
        try:
            done = self.lab.restore("*", to=self.to, **options)
        except (UserError, HostError) as error:
            self.check()
            return error
        for _, reason in done.failed:
            assert reason
        self.check()
        assert not self.lab.stranded()
        return done

    def check(self) -> None:
        """What bears a final name is right, and nothing lies anywhere else."""
        assert (self.folder / "outside" / "secret").read_bytes() == SECRET
        assert sorted(path.name for path in self.folder.iterdir() if path != self.to) == self.own
        if not self.to.exists():
            return
        place = self.to / HOST
        assert [path.name for path in self.to.iterdir()] in ([], [HOST])
        for path in place.rglob("*"):
            if not path.is_file() or any(part.startswith(PREFIX) for part in path.relative_to(place).parts):
                continue
            original = Path("/") / path.relative_to(place)
            assert path.read_bytes() == original.read_bytes()
        for path in self.night:
            back = place / str(path)[1:]
            if path.is_dir() and back.exists():
                assert {item.name for item in back.iterdir()} == {item.name for item in path.iterdir()}

    @property
    def own(self) -> list[str]:
        return sorted({"outside", "night", self.lab.folder.name} & {path.name for path in self.folder.iterdir()})

    def check_whole(self, done: Restored | PapertapeError) -> None:
        assert isinstance(done, Restored)
        assert done.error is None
        for path in self.night:
            back = self.to / HOST / str(path)[1:]
            assert snapshot(back) == snapshot(path) if path.is_dir() else back.read_bytes() == path.read_bytes()


@pytest.fixture
def world(lab: Lab, night: list[Path], tmp_path: Path) -> World:
    assert lab.dump().error is None
    return World(lab, tmp_path, night)


M, D = MEMBERS.c, DATASETS.c
LARGE = update(MEMBERS).where(M.size == 100_000)
SECOND = update(MEMBERS).where(M.dataset == 1)
EVERY = update(MEMBERS).where(M.dataset >= 0)
SETS = update(DATASETS)
ONE = SETS.where(D.number == 1)

LIES: dict[str, Update] = {
    "a name outside": LARGE.values(name="data/../../outside/secret"),
    "a name above": LARGE.values(name=M.name.concat("/../../../x")),
    "an absolute name": SECOND.values(name="/etc/passwd"),
    "no text form": SECOND.values(name=r"data/\xZZ"),
    "an empty name": update(MEMBERS).where(M.dataset == 2).values(name=""),
    "a later offset": LARGE.values(offset=M.offset + 512),
    "an earlier offset": SECOND.values(offset=M.offset - 512),
    "a negative offset": SECOND.values(offset=-M.offset - 1),
    "an offset beyond the tape file": SECOND.values(offset=M.offset + 10**9),
    "an offset beyond everything": SECOND.values(offset=9 * 10**18),
    "one upon the other": EVERY.values(offset=select(func.min(M.offset)).scalar_subquery()),
    "all of them one": EVERY.values(name="data/x"),
    "another size": LARGE.values(size=M.size + 1),
    "a negative size": LARGE.values(size=-5),
    "a size of 8 EB": LARGE.values(size=8 * 10**18),
    "another digest": LARGE.values(sha256="0" * 64),
    "no digest": LARGE.values(sha256=""),
    "an MD5 that was never declared": LARGE.values(md5="0" * 32),
    "another checksum": SECOND.values(header="ffffffff"),
    "another kind": LARGE.values(kind="link"),
    "a kind that there is not": SECOND.values(kind="pipe"),
    "another tape file": SETS.values(tape_file=D.tape_file + 1),
    "tape file 0": SETS.values(tape_file=0),
    "a tape file that is not there": SETS.values(tape_file=4000),
    "a tape file before all": SETS.values(tape_file=-3),
    "a data set that begins late": SETS.values(offset=D.offset + 5_000_000),
    "a data set that begins before all": SETS.values(offset=-99_999_999),
    "a data set of no members": ONE.values(number=77),
    "data sets that are one": SETS.values(number=1),
    "a source that is outside": ONE.values(source="correlator:/../../outside"),
    "a source of no host": ONE.values(source="/data"),
    "a source that is no text form": ONE.values(source=r"correlator:/\xZZ"),
    "a host that leads out": ONE.values(source="..:/outside/secret"),
    "another kind of data set": SETS.values(kind="dir"),
    "a file that was a folder": SETS.values(kind="file"),
    "tape files of another size": update(TAPE_FILES).values(size=TAPE_FILES.c.size + 65536),
    "tape files of no size": update(TAPE_FILES).values(size=0),
    "blocks of another size": update(DUMPS).values(block_size=131072),
    "blocks of one record": update(DUMPS).values(block_size=512),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_ledger_that_lies(world: World, lie: str) -> None:
    world.lie(LIES[lie])
    result = world.restore()
    if isinstance(result, Restored):
        assert result.error is None or isinstance(result.error, RestoreFailed | UserError), result.error
    assert "\n" not in str(getattr(result, "error", result))


def first_large(lab: Lab) -> Any:
    """The first member of 100,000 bytes: its place in the dump, its tape file, its offset and its name."""
    columns = select(M.seq, M.tape_file, M.offset, M.name)
    return ask(lab.url, columns.where(M.size == 100_000).order_by(M.seq).limit(1))[0]


def forge(world: World, header: bytes, **columns: Any) -> None:
    """Put other headers in the place of a file's on both tapes, and let the ledger agree."""
    seq, number, offset, _ = first_large(world.lab)
    for tag in TAGS:
        with world.lab.tape_files(tag)[number].open("r+b") as file:
            file.seek(offset)
            file.write(header)
    values = {"header": checksum_header(header)} | columns
    world.lie(update(MEMBERS).where(M.seq == seq).values(**values))


def own_name(world: World) -> bytes:
    return os.fsencode(first_large(world.lab)[-1])


def records(name: bytes, size: int) -> bytes:
    """The header of ``size`` bytes, small enough that it needs no pax records."""
    return build_header(name, size, Attributes(FILE, 0o644, 10**18))[-RECORD:]


def with_type(header: bytes, kind: bytes, size: int) -> bytes:
    """The same header record as another type, of another size, with its checksum mended."""
    octal = b"%011o\0" % size
    changed = bytearray(header[:124] + octal + header[136:156] + kind + header[157:])
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


@pytest.mark.parametrize("size", [2**33 - 1, 2**30, 2**20 + 1, 2**20])
def test_a_header_that_announces_pax_records_without_an_end(world: World, size: int) -> None:
    forge(world, with_type(records(own_name(world), 0), b"x", size))
    result = world.restore()
    assert isinstance(result, Restored)
    assert isinstance(result.error, RestoreFailed)
    assert len(result.failed) == 1 or size == 2**20


def test_a_header_of_8_eb(world: World) -> None:
    name = own_name(world)
    header = build_header(name, 8 * 10**18, Attributes(FILE, 0o644, 10**18))
    forge(world, header, size=8 * 10**18)
    result = world.restore()
    assert isinstance(result, Restored)
    assert isinstance(result.error, RestoreFailed)


@pytest.mark.parametrize(
    "name", [b"data/../../outside/secret", b"/etc/passwd", b"data/correlator/../../../outside/secret", b"..", b""]
)
def test_headers_that_lead_out_on_both_tapes_and_in_the_ledger(world: World, name: bytes) -> None:
    forge(world, build_header(name, 100_000, Attributes(FILE, 0o644, 10**18)), name=name.decode())
    assert isinstance(world.restore(), UserError)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"L", b"g", b"S"])
def test_a_header_of_another_type(world: World, kind: bytes) -> None:
    forge(world, with_type(records(own_name(world), 0), kind, 100_000))
    result = world.restore()
    assert isinstance(result, Restored)
    assert isinstance(result.error, RestoreFailed)


def test_zeros_where_a_header_should_be_cost_that_file_alone(world: World) -> None:
    """The first file's header on one tape, the second's on the other: each is whole on one of them."""
    inside = M.name.like("%zen.9.uv/%") & (M.size > 0)
    rows = ask(world.lab.url, select(M.tape_file, M.offset).where(inside).order_by(M.seq))
    assert len(rows) == 2
    for tag, (number, offset) in zip(TAGS, rows, strict=True):
        with world.lab.tape_files(tag)[number].open("r+b") as file:
            file.seek(offset)
            file.write(bytes(RECORD))
    result = world.restore()
    world.check_whole(result)


def test_a_copy_that_was_never_written_is_no_help_and_no_traceback(world: World) -> None:
    """Its making was cut off before its label: the ledger knows the volume, and nothing of what is on it."""
    volume = select(VOLUMES.c.id).where(VOLUMES.c.tag == "PAPR2001").scalar_subquery()
    world.lie(update(COPIES).where(COPIES.c.volume_id == volume).values(label=None))
    flip(world.lab.tape_files("PAPR1001")[2], 70_000)
    result = world.restore()
    assert isinstance(result, Restored)
    assert isinstance(result.error, RestoreFailed)
    assert result.mounts == 1


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[Path]]]:
    folder = tmp_path_factory.mktemp("archived")
    lab = make_lab(folder / "lab")
    night = make_night(folder / "night")
    lab.add(*night)
    assert lab.dump().error is None
    yield lab, night
    lab.ledger.close()


def new_world(archived: tuple[Lab, list[Path]], folder: Path) -> World:
    lab, night = archived
    copy = lab.copy(folder / "lab")
    return World(copy, folder, night)


def intact(lab: Lab, original: Lab, tag: str) -> set[int]:
    """The members, by their place in the dump, of which no byte has changed on a tape, and that are where they were."""
    rows = ask(lab.url, select(M.seq, M.tape_file, M.offset).order_by(M.seq))
    now, before = ([path.read_bytes() for path in each.tape_files(tag)] for each in (lab, original))
    shorter = next((number for number, one in enumerate(now) if len(one) < len(before[number])), len(now))
    found = set()
    for (seq, number, begin), (_, behind, end) in pairwise(rows):
        stop = end if behind == number else len(before[number])
        if number <= shorter and now[number][begin:stop] == before[number][begin:stop]:
            found.add(seq)
    return found


def wanted(lab: Lab, members: set[int]) -> set[str]:
    """The sources of which every member is among ``members``."""
    joined = MEMBERS.join(DATASETS, (M.dump_id == D.dump_id) & (M.dataset == D.number))
    rows = ask(lab.url, select(D.source, M.seq).select_from(joined))
    return {source for source, _ in rows} - {source for source, seq in rows if seq not in members}


damages = st.lists(
    st.tuples(
        st.sampled_from(TAGS),
        st.integers(0, 6),
        st.sampled_from(["flip", "noise", "zeros", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 3 * BLOCK),
    ),
    min_size=1,
    max_size=5,
)


def harm(lab: Lab, tag: str, number: int, how: str, where: float, length: int) -> None:
    """Damage a tape file at a place."""
    paths = lab.tape_files(tag)
    path = paths[number % len(paths)]
    size = path.stat().st_size
    offset = int(size * where)
    if how == "flip":
        flip(path, offset, 1 + length % 255)
    elif how == "cut":
        blocks = offset // BLOCK
        os.truncate(path, blocks * BLOCK)
        set_runs(path.parent, number % len(paths), *([(BLOCK, blocks)] if blocks else []))
    else:
        with path.open("r+b") as file:
            file.seek(offset)
            length = min(length, size - offset)
            file.write(bytes(length) if how == "zeros" else noise(length, offset))


GENERATE = [Phase.explicit, Phase.reuse, Phase.generate]
"""Not to make a failing example smaller: with a restore a time that takes minutes."""


@settings(
    max_examples=40,
    phases=GENERATE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(damages=damages)
def test_damage_anywhere_on_both_copies(
    archived: tuple[Lab, list[Path]], damages: list[tuple[str, int, str, float, int]]
) -> None:
    """All of it comes back, or what is lost is named; and lost is only what is damaged on both tapes at once."""
    with tempfile.TemporaryDirectory(prefix="papertape-hostile-") as name:
        world = new_world(archived, Path(name))
        try:
            cut: set[tuple[str, int]] = set()
            for tag, number, how, where, length in damages:
                files = len(world.lab.tape_files(tag))
                if (tag, number % files) not in cut:
                    harm(world.lab, tag, number, how, where, length)
                if how == "cut":
                    cut.add((tag, number % files))
            whole = set.union(*(intact(world.lab, archived[0], tag) for tag in TAGS))
            safe = wanted(world.lab, whole)
            result = world.restore()
            assert isinstance(result, Restored)
            assert result.error is None or isinstance(result.error, RestoreFailed)
            assert not safe & {source for source, _ in result.failed}
            assert result.sets + len(result.failed) == len(world.night)
            if len({tag for tag, *_ in damages}) == 1:
                world.check_whole(result)
        finally:
            world.lab.ledger.close()


def test_a_cartridge_whose_record_lies(world: World) -> None:
    operate(world.lab.cartridge("PAPR1001"), lambda record: record.update(tape_files=record["tape_files"][:1]))
    result = world.restore()
    world.check_whole(result)


def test_a_drive_that_reads_labels_and_nothing_else_costs_no_volume(world: World) -> None:
    """With that drive alone, both copies would be set aside."""
    with Faults().fail("read_block", at=2, drive=0, lasting=True) as faults:
        result = world.restore(faults=faults)
    world.check_whole(result)
    assert [world.lab.volumes()[tag] for tag in TAGS] == ["archived", "archived"]


@pytest.mark.parametrize("method", ["open", "load", "locate"])
def test_a_drive_that_is_dead_is_left_out(world: World, method: str) -> None:
    with Faults().fail(method, at=1, drive=0, lasting=True) as faults:
        result = world.restore(faults=faults)
    world.check_whole(result)
    assert [world.lab.volumes()[tag] for tag in TAGS] == ["archived", "archived"]


def test_a_disk_that_loses_what_was_restored_gets_it_again(world: World) -> None:
    world.check_whole(world.restore())
    for path in world.night:
        back = world.to / HOST / str(path)[1:]
        shutil.rmtree(back) if path.is_dir() else back.unlink()
    result = world.restore()
    assert isinstance(result, Restored)
    assert result.sets == len(world.night)
    world.check_whole(result)


def test_drives_that_all_fail_after_a_volume_leave_nothing_undone_in_silence(world: World) -> None:
    """Each is out of service with nothing left of its own, and a third volume is left for nobody."""
    for number in range(2):
        path = world.folder / "night" / f"more.{number}"
        path.write_bytes(noise(100_000, number))
        world.lab.add(path)
        assert world.lab.dump().error is None
    with Faults().fail("unload", at=1, drive=0).fail("unload", at=1, drive=1) as faults, pytest.raises(DriveError):
        world.lab.restore("*", to=world.to, faults=faults)
    result = world.restore()
    assert isinstance(result, Restored)
    assert (result.error, len(result.plan.present) + result.sets, result.sets > 0) == (None, 8, True)


def fail_at_bytes(event: Event) -> None:
    match event:
        case Moved():
            raise RuntimeError("a bug")


def test_a_bug_while_blocks_are_read_is_reported_and_no_finding(world: World) -> None:
    """Else two good volumes would be set aside for it."""
    with pytest.raises(RuntimeError, match="a bug"):
        world.lab.restore("*", to=world.to, tell=fail_at_bytes)
    assert [world.lab.volumes()[tag] for tag in TAGS] == ["archived", "archived"]
    world.check_whole(world.restore())


@pytest.mark.parametrize("both", [False, True])
def test_a_label_that_cannot_be_read_costs_no_file_that_only_that_tape_has(world: World, both: bool) -> None:
    flip(world.lab.tape_files("PAPR1001")[0], 10)
    flip(world.lab.tape_files("PAPR2001")[2], 70_000)
    if both:
        flip(world.lab.tape_files("PAPR2001")[0], 10)
    result = world.restore()
    world.check_whole(result)
    assert isinstance(result, Restored)
    assert sorted(result.sick) == list(TAGS)


def test_a_label_that_cannot_be_read_is_left_alone_while_the_twin_has_everything(world: World) -> None:
    flip(world.lab.tape_files("PAPR1001")[0], 10)
    result = world.restore()
    world.check_whole(result)
    assert isinstance(result, Restored)
    assert (list(result.sick), result.mounts) == (["PAPR1001"], 2)
