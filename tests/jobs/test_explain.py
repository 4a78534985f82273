"""What `papertape explain` prints, run as it stands by plain shells, on the cartridges' own files."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select

from papertape.errors import NothingToDo, UserError
from papertape.jobs.explain import choose_drive, explain
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, VOLUMES, source_key
from papertape.states import DataSetState, Format, VolumeState
from papertape.tape.changer import Element, ElementKind, ElementStatus, Inventory
from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK, parse_predecessor_catalog
from papertape.volume.recipe import DriveOrigin, FolderOrigin
from predecessor import TAGS, Form, OldVolume, compose_tape, lay_out, make_sources, mounted
from stories import BLOCK, HOST, KIB, Lab, noise

from .conftest import MakeLab
from .damage import flip
from .test_by_hand import make_odd_tree, walk

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
DRIVE, STORAGE, DOOR = ElementKind.DRIVE, ElementKind.STORAGE, ElementKind.IMPORT_EXPORT


def script(lab: Lab, tag: str, pattern: str | None = None) -> str:
    return "".join(explain(lab.ledger, tag, pattern, FolderOrigin(os.fsencode(lab.cartridge(tag)))))


def run(text: str, folder: Path, shell: str = "sh") -> subprocess.CompletedProcess[bytes]:
    """Run a script from a file, in an empty folder."""
    folder.mkdir()
    path = folder.with_suffix(".sh")
    path.write_text(text, encoding="ascii")
    return subprocess.run([shell, path], cwd=folder, capture_output=True, check=False)


def restore(lab: Lab, folder: Path, tag: str, pattern: str | None = None, shell: str = "sh") -> Path:
    """Run the script, which must end well, and return where the root of HOST is."""
    done = run(script(lab, tag, pattern), folder, shell)
    assert (done.returncode, done.stderr) == (0, b"")
    return folder / "data" / HOST


def compare(root: Path, path: Path) -> None:
    """What came back for ``path`` is the same: bytes, links, modes, times; for diff as well."""
    back = root / path.relative_to("/")
    assert walk(os.fsencode(back)) == walk(os.fsencode(path))
    assert times(back) == times(path)
    done = subprocess.run(["diff", "-r", "--no-dereference", path, back], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b""), done


def times(root: Path) -> dict[Path, int]:
    """When everything at and below ``root`` was changed, directories and links as well."""
    return {path.relative_to(root): path.lstat().st_mtime_ns for path in [root, *root.rglob("*")]}


def count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


@pytest.fixture
def odd(new_lab: MakeLab, tmp_path: Path) -> tuple[Lab, list[Path]]:
    """A lab with hostile names, empty things and a file of several blocks archived in several archives."""
    lab = new_lab()
    paths = make_odd_tree(tmp_path / "odd")
    large = tmp_path / "odd" / "large"
    large.write_bytes(noise(5 * BLOCK + 77))
    empty = tmp_path / "odd" / "empty set"
    empty.mkdir(mode=0o700)
    lab.add(*paths, large, empty)
    outcome = lab.dump()
    assert (outcome.error, outcome.rejected) == (None, ())
    assert len(lab.tape_files("PAPR1001")) > 5
    return lab, [*paths, large, empty]


@pytest.mark.parametrize(("shell", "tag"), [(shell, "PAPR1001") for shell in SHELLS] + [("sh", "PAPR2001")])
def test_everything_on_a_volume_comes_back(odd: tuple[Lab, list[Path]], tmp_path: Path, shell: str, tag: str) -> None:
    lab, paths = odd
    root = restore(lab, tmp_path / "back", tag, shell=shell)
    for path in paths:
        compare(root, path)
    assert count_files(root) == count_files(tmp_path / "odd")
    own = {"README.txt", "volume.json", "catalog.json", "datasets.csv", "files.csv", "SHA256SUMS", "data"}
    assert set(os.listdir(tmp_path / "back")) == own


@pytest.mark.parametrize("shell", SHELLS)
def test_each_data_set_comes_back_alone(odd: tuple[Lab, list[Path]], tmp_path: Path, shell: str) -> None:
    lab, paths = odd
    for number, found in enumerate(list(lab.ledger.search.find("*"))):
        pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in found.source)
        root = restore(lab, tmp_path / str(number), "PAPR2001", pattern.replace("odd", "[o]dd", 1), shell)
        back = [path for path in paths if os.path.lexists(root / path.relative_to("/"))]
        assert len(back) == 1, found.source
        compare(root, back[0])
        assert os.listdir(root / back[0].parent.relative_to("/")) == [back[0].name]
        assert sorted(os.listdir(tmp_path / str(number))) == ["README.txt", "data", "volume.json"]


def test_data_sets_that_lie_together_are_read_at_once_and_others_are_not(
    odd: tuple[Lab, list[Path]], tmp_path: Path
) -> None:
    lab, paths = odd
    text = script(lab, "PAPR1001", "*")
    assert text.count("\nunpack ") == len(lab.tape_files("PAPR1001")) - 2  # the label, and each archive
    root = restore(lab, tmp_path / "back", "PAPR1001", "*/odd/[-ltu]*")
    names = [path.name for path in paths if path.name[0] in "-ltu"]
    assert sorted(os.listdir(root / (tmp_path / "odd").relative_to("/"))) == sorted(names)


def test_a_script_is_read_from_a_pipe_too(odd: tuple[Lab, list[Path]], tmp_path: Path) -> None:
    lab, paths = odd
    (tmp_path / "back").mkdir()
    text = script(lab, "PAPR1001").encode()
    done = subprocess.run(["sh"], input=text, cwd=tmp_path / "back", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"PAPR1001: everything came out and was checked; it is in data/\n"
    for path in paths:
        compare(tmp_path / "back" / "data" / HOST, path)


def test_nothing_is_written_where_there_is_a_data_folder_or_a_link(odd: tuple[Lab, list[Path]], tmp_path: Path) -> None:
    lab, _ = odd
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "data").symlink_to(tmp_path / "elsewhere")
    done = subprocess.run(["sh"], input=script(lab, "PAPR1001").encode(), cwd=tmp_path / "back", check=False)
    assert done.returncode != 0
    assert os.listdir(tmp_path / "elsewhere") == []
    assert os.listdir(tmp_path / "back") == ["data"]


def place(lab: Lab, name: str) -> tuple[int, int]:
    """The tape file of a data set, and the offset of what it begins with."""
    (found,) = lab.ledger.search.find(f"*/{name}")
    assert found.tape_file is not None
    assert found.offset is not None
    return found.tape_file, found.offset


@pytest.mark.parametrize("pattern", [None, "large"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_flipped_byte_of_a_file_ends_it(
    odd: tuple[Lab, list[Path]], tmp_path: Path, pattern: str | None, shell: str
) -> None:
    lab, _ = odd
    number, offset = place(lab, "large")
    flip(lab.tape_files("PAPR1001")[number], offset + 3 * BLOCK)
    done = run(script(lab, "PAPR1001", pattern), tmp_path / "back", shell)
    assert done.returncode != 0
    assert b"large: FAILED" in done.stdout
    assert b"everything" not in done.stdout
    restore(lab, tmp_path / "other", "PAPR1001", "*/[-]rf")
    restore(lab, tmp_path / "twin", "PAPR2001", pattern)


@pytest.mark.parametrize("pattern", [None, "*"])
def test_a_flipped_byte_of_a_header_ends_it(odd: tuple[Lab, list[Path]], tmp_path: Path, pattern: str | None) -> None:
    lab, _ = odd
    number, offset = place(lab, "tree.uv")
    flip(lab.tape_files("PAPR1001")[number], offset + 3)
    assert run(script(lab, "PAPR1001", pattern), tmp_path / "back").returncode != 0


@pytest.mark.parametrize("pattern", [None, "*"])
@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_tape_file_that_ends_too_early_ends_it(
    odd: tuple[Lab, list[Path]], tmp_path: Path, pattern: str | None, left: int
) -> None:
    lab, _ = odd
    os.truncate(lab.tape_files("PAPR1001")[place(lab, "large")[0]], left * BLOCK)
    assert run(script(lab, "PAPR1001", pattern), tmp_path / "back").returncode != 0


def test_missing_directories_and_links_are_noticed_though_they_have_no_digest(
    odd: tuple[Lab, list[Path]], tmp_path: Path
) -> None:
    lab, _ = odd
    number, _ = place(lab, "tree.uv")
    (found,) = lab.ledger.search.find("*/tree.uv")
    (extent,) = (item for item in lab.ledger.contents.extents(1) if item.number == found.number)
    os.truncate(lab.tape_files("PAPR1001")[number], extent.end - 1536)  # the link at its end, with its pax header
    done = run(script(lab, "PAPR1001", "tree.uv"), tmp_path / "back")
    assert done.returncode != 0
    assert b"of %d members %d came out" % (extent.members, extent.members - 1) in done.stderr


def test_another_volume_is_recognized_by_its_label(odd: tuple[Lab, list[Path]], tmp_path: Path) -> None:
    lab, _ = odd
    text = script(lab, "PAPR1001").replace("cartridges/PAPR1001", "cartridges/PAPR2001")
    done = run(text, tmp_path / "back")
    assert done.returncode != 0
    assert b"volume.json: FAILED" in done.stdout
    assert os.listdir(tmp_path / "back" / "data") == []


@pytest.mark.parametrize("archive_size", [256 * KIB, KIB * KIB], ids=["behind another", "between others"])
def test_rejected_data_sets_are_left_out(
    new_lab: MakeLab, night: list[Path], tmp_path: Path, archive_size: int
) -> None:
    lab = new_lab(archive_size=archive_size)
    bad = next(path for path in night if path.name == "zen.1.uvh5")
    lab.add(*night, md5s={os.fsencode(bad): "0" * 32})
    outcome = lab.dump()
    assert [source for source, _ in outcome.rejected] == [f"{HOST}:{bad}"]
    text = script(lab, "PAPR1001")
    assert f"# Rejected: {HOST}:{bad}: " in text
    assert "; 1 that were rejected when they were written are left out." in text
    root = restore(lab, tmp_path / "back", "PAPR1001")
    for path in night:
        if path != bad:
            compare(root, path)
    assert not (root / bad.relative_to("/")).exists()
    with pytest.raises(NothingToDo, match=r"no data set on PAPR1001 matches 'zen\.1\.uvh5'"):
        script(lab, "PAPR1001", "zen.1.uvh5")


def test_an_archive_in_which_nothing_counts_is_no_trouble(new_lab: MakeLab, night: list[Path], tmp_path: Path) -> None:
    lab = new_lab(archive_size=KIB)
    lab.add(*night, md5s={os.fsencode(night[0]): "0" * 32})
    assert len(lab.dump().rejected) == 1
    root = restore(lab, tmp_path / "back", "PAPR1001")
    assert len(os.listdir(root / night[0].parent.relative_to("/"))) == len(night) - 1


def test_a_volume_that_holds_nothing_is_an_error_with_a_remedy(lab: Lab) -> None:
    with pytest.raises(UserError, match="PAPR1002 is blank and holds no finished dump: nothing to get back"):
        script(lab, "PAPR1002")
    with pytest.raises(UserError, match="not in the ledger; `papertape volumes import PAPR9001` enters it"):
        script(lab, "PAPR9001")


def test_it_prints_the_facts_needed_before_a_volume_is_read(lab: Lab) -> None:
    assert lab.dump().error is None
    assert "\n# The same data are on PAPR2001.\nset -eu\n" in script(lab, "PAPR1001")
    lab.ledger.volumes.retire("PAPR1001", "torn leader\nand more")
    assert "\n# The ledger says that PAPR1001 is retired: torn leader\\x0aand more.\nset -eu\n" in script(
        lab, "PAPR1001"
    )


def test_only_what_lies_on_this_very_volume_matches(lab: Lab, night: list[Path], tmp_path: Path) -> None:
    assert lab.dump().error is None
    night[0].write_bytes(b"changed since")
    lab.add(night[0])
    assert lab.dump().error is None
    assert (
        restore(lab, tmp_path / "new", "PAPR1002", "zen") / night[0].relative_to("/")
    ).read_bytes() == b"changed since"
    assert count_files(tmp_path / "new" / "data") == 1
    old = restore(lab, tmp_path / "old", "PAPR1001", "zen.0")
    assert (old / night[0].relative_to("/")).stat().st_size == 100_000


# Where a real volume lies decides how the script begins.


def inventory(*full: tuple[ElementKind, int, str]) -> Inventory:
    places = [(DRIVE, 0), (DRIVE, 1), (STORAGE, 1), (STORAGE, 2), (DOOR, 3)]
    tags = {(kind, number): tag for kind, number, tag in full}
    return Inventory(tuple(ElementStatus(Element(*place), place in tags, tags.get(place)) for place in places))


@pytest.mark.parametrize(
    ("full", "origin"),
    [
        ([(STORAGE, 2, "A")], DriveOrigin("/dev/sg3", "/dev/nst0", 0, 2)),
        ([(STORAGE, 2, "A"), (DRIVE, 0, "B")], DriveOrigin("/dev/sg3", "/dev/nst1", 1, 2)),
        ([(DRIVE, 1, "A")], DriveOrigin("/dev/sg3", "/dev/nst1", 1, None, "The volume is in drive 1 already.")),
    ],
)
def test_the_robot_does_what_it_can(full: list[tuple[ElementKind, int, str]], origin: DriveOrigin) -> None:
    assert choose_drive(inventory(*full), "A", "/dev/sg3", ["/dev/nst0", "/dev/nst1"]) == origin


@pytest.mark.parametrize(
    ("full", "words"),
    [
        ([], "was not in the library"),
        ([(STORAGE, 1, "A"), (STORAGE, 2, "A")], "twice"),
        ([(DOOR, 3, "A")], "lay in mail slot 3"),
        ([(STORAGE, 1, "A"), (DRIVE, 0, "B"), (DRIVE, 1, "C")], "every drive was full"),
    ],
)
def test_the_operator_does_the_rest(full: list[tuple[ElementKind, int, str]], words: str) -> None:
    found = choose_drive(inventory(*full), "A", "/dev/sg3", ["/dev/nst0", "/dev/nst1"])
    assert (found.drive, found.slot) == ("/dev/nst0", None)
    assert words in found.note
    assert found.note.endswith(". First of all: mtx -f $CHANGER load SLOT 0")


# The predecessor's volumes.


def enter(lab: Lab, tag: str, catalog: bytes, *, kind: str = "directory") -> None:
    """Enter a volume of the predecessor's into the ledger, row by row."""
    now = datetime(2017, 10, 3, tzinfo=UTC)
    read = parse_predecessor_catalog(catalog, tag)
    engine = create_engine(lab.url)
    with engine.begin() as connection:
        counts = {"datasets": len(read.items), "files": len(read.items), "size": 0, "block_size": 10240}
        states = {"state": "archived", "started_at": now, "version": "20170221", "format": Format.PREDECESSOR}
        connection.execute(insert(DUMPS).values(uuid=read.sha256, **states, **counts))
        dump = connection.scalar(select(DUMPS.c.id).where(DUMPS.c.uuid == read.sha256))
        volume = {"tag": tag, "copy": 1, "capacity": 10**9, "registered_at": now}
        connection.execute(insert(VOLUMES).values(**volume, state=VolumeState.ARCHIVED, uuid=tag, dump_id=dump))
        number = connection.scalar(select(VOLUMES.c.id).where(VOLUMES.c.tag == tag))
        connection.execute(insert(COPIES).values(dump_id=dump, volume_id=number, copy=1, touched=True))
        for item in read.items:
            row = {"source": str(item.source), "source_key": source_key(item.source), "version": 1, "kind": kind}
            row |= {"files": 1, "size": 0, "tape_bytes": 0, "catalog_bytes": 0, "fingerprint": "", "md5": item.md5}
            place = {"dump_id": dump, "number": item.number - 1, "tape_file": item.tape_index + 1, "offset": 0}
            state = {"state": DataSetState.ARCHIVED, "registered_at": now}
            connection.execute(insert(DATASETS).values(**row, **place, **state))
    engine.dispose()


def settle(form: Form, found: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """What ``walk`` has found, but for parts of a second where the form has none."""
    if form.inner == "pax":
        return found
    return {
        name: tuple(x - x % 10**9 if isinstance(x, int) and x > 10**9 else x for x in item)
        for name, item in found.items()
    }


@pytest.fixture
def old_lab(new_lab: MakeLab) -> Lab:
    lab = new_lab()
    shutil.rmtree(lab.folder / "library")
    return lab


def lay_down(lab: Lab, tape: list[bytes], tag: str = TAGS[0]) -> None:
    """Record a volume of the predecessor's in the lab's library, and enter it into the ledger."""
    with mounted(lab.folder / "library", **{tag: lay_out(tape)}) as (drive,):
        drive.unload()
    enter(lab, tag, tape[0])


FORMS = [Form(), Form("gnu"), Form(listed=False, place="queue"), Form(job="000000001777")]


@pytest.mark.parametrize("form", FORMS, ids=["pax", "gnu", "old", "other job"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_volume_of_the_predecessors_comes_back(old_lab: Lab, tmp_path: Path, form: Form, shell: str) -> None:
    sources = make_sources(tmp_path / "sources", 7)
    lay_down(old_lab, compose_tape(tmp_path / "work", [sources[:3], sources[3:5], sources[5:]], form))
    done = run(script(old_lab, TAGS[0]), tmp_path / "back", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"## Paper dump catalog:")
    for source in sources:
        back = walk(os.fsencode(tmp_path / "back" / "data") + b"/" + source.name)
        assert back == settle(form, walk(os.fsencode(source.path)))
    assert count_files(tmp_path / "back" / "data") == 7 * 5


@pytest.mark.parametrize("form", FORMS, ids=["pax", "gnu", "old", "other job"])
@pytest.mark.parametrize("shell", SHELLS)
def test_one_data_set_of_the_predecessors_comes_back(old_lab: Lab, tmp_path: Path, form: Form, shell: str) -> None:
    sources = make_sources(tmp_path / "sources", 7)
    odd = [
        b"pot1:/data1/a blank",
        b"pot1:/data1/[a]*?",
        b"pot1:/data1/caf\xe9 '\x01\\n",
        "pot1:/data1/é".encode(),
        b"pot1:/x/ ",
    ]
    sources[:5] = [source._replace(name=name) for source, name in zip(sources, odd, strict=False)]
    lay_down(old_lab, compose_tape(tmp_path / "work", [sources[:3], sources[3:]], form))
    for number, source in enumerate(sources):
        (found,) = (item for item in old_lab.ledger.search.find("*") if item.number == number)
        pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in found.source)
        done = run(script(old_lab, TAGS[0], pattern.replace("p", "[p]", 1)), tmp_path / f"back{number}", shell)
        assert (done.returncode, done.stderr) == (0, b""), source
        data = tmp_path / f"back{number}" / "data"
        back = walk(os.fsencode(data) + b"/" + source.name)
        assert back == settle(form, walk(os.fsencode(source.path)))
        assert count_files(data) == 5


def test_plain_files_of_the_predecessors_come_back(old_lab: Lab, tmp_path: Path) -> None:
    sources = [source._replace(path=source.path / "visdata") for source in make_sources(tmp_path / "sources", 3)]
    lay_down(old_lab, compose_tape(tmp_path / "work", [sources]))
    done = run(script(old_lab, TAGS[0]), tmp_path / "back")
    assert (done.returncode, done.stderr) == (0, b"")
    for source in sources:
        assert (tmp_path / "back" / "data" / os.fsdecode(source.name)).read_bytes() == source.path.read_bytes()


@pytest.mark.parametrize("pattern", [None, "zen.2457001"])
def test_a_flipped_byte_of_the_predecessors_ends_it(old_lab: Lab, tmp_path: Path, pattern: str | None) -> None:
    sources = make_sources(tmp_path / "sources", 3, 40 * KIB)
    tape = compose_tape(tmp_path / "work", [sources])
    lay_down(old_lab, tape)
    visdata = (sources[1].path / "visdata").read_bytes()
    flip(old_lab.tape_files(TAGS[0])[1], tape[1].index(visdata) + 30 * KIB)
    done = run(script(old_lab, TAGS[0], pattern), tmp_path / "back")
    assert done.returncode != 0
    assert b"zen.2457001.uv: its MD5 is " in done.stderr


@pytest.mark.parametrize("pattern", [None, "zen.2457002"])
def test_a_data_set_of_the_predecessors_that_is_not_there_ends_it(
    old_lab: Lab, tmp_path: Path, pattern: str | None
) -> None:
    sources = make_sources(tmp_path / "sources", 3)
    tape = compose_tape(tmp_path / "work", [sources])
    tape[1] = compose_tape(tmp_path / "work", [sources[:2]])[1]
    lay_down(old_lab, tape)
    assert run(script(old_lab, TAGS[0], pattern), tmp_path / "back").returncode != 0


@pytest.mark.parametrize("pattern", [None, "zen.2457002"])
def test_an_archive_of_the_predecessors_that_ends_too_early_ends_it(
    old_lab: Lab, tmp_path: Path, pattern: str | None
) -> None:
    sources = make_sources(tmp_path / "sources", 3)
    for source in sources:
        (source.path / "z").write_bytes(noise(20 * KIB))  # behind visdata, so that no digest tells
    lay_down(old_lab, compose_tape(tmp_path / "work", [sources]))
    archive = old_lab.tape_files(TAGS[0])[1]
    text = script(old_lab, TAGS[0], pattern)
    for blocks in range(archive.stat().st_size // ARCHIVE_BLOCK - 2, -1, -1):
        os.truncate(archive, blocks * ARCHIVE_BLOCK)
        done = run(text, tmp_path / f"back{blocks}")
        assert done.returncode != 0, blocks


@pytest.mark.parametrize("shell", SHELLS)
def test_a_predecessors_volume_of_600_data_sets_comes_back(
    old_lab: Lab, old_volume: OldVolume, tmp_path: Path, shell: str
) -> None:
    tape = old_volume.tape_files
    lay_down(old_lab, tape)
    items = parse_predecessor_catalog(tape[0], TAGS[0]).items
    done = run(script(old_lab, TAGS[0]), tmp_path / "back", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert all((tmp_path / "back" / "data" / os.fsdecode(item.name)).exists() for item in items)
    done = run(script(old_lab, TAGS[0], str(items[5].source)), tmp_path / "one", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    names = os.listdir((tmp_path / "one" / "data" / os.fsdecode(items[5].name)).parent)
    assert names == [Path(os.fsdecode(items[5].name)).name]
