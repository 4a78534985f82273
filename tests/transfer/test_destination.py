"""The folder that data sets are restored to: whatever lies on tape or in it, nothing is written outside."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from papertape.errors import HostError, Obstacle, PapertapeError, UserError
from papertape.transfer.destination import PREFIX, Destination, Restoration, Wanted
from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes

TIME = 1_500_000_000_123_456_789
OWNER = (os.geteuid(), os.getegid())
MINE = Attributes(FILE, 0o640, TIME, *OWNER)
FOLDER = Attributes(DIRECTORY, 0o750, TIME, *OWNER)
SECRET = b"nobody may change this"
NOBODY = 65534

nasty = st.sampled_from(
    [b"", b".", b"..", b"/", b"a\0b", b"x" * 256, b"y" * 255, b"\xff\xfe", b"...", b"a", b"b", b"~"]
)
names = st.lists(nasty | st.binary(min_size=1, max_size=9), min_size=1, max_size=5).map(b"/".join)
hosts = st.sampled_from(["correlator", "", ".", "..", "../..", "/etc", "a/b", "a\0b", "h" * 300, "\udcff", "\ud800"])


class World:
    """A destination, and a folder beside it that must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.to = folder / "back"
        self.outside = folder / "outside"
        self.to.mkdir()
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(SECRET)
        (self.outside / "folder").mkdir()
        self._before = self._look()

    def _look(self) -> list[tuple[str, int, int, bytes]]:
        above = self.to.parent
        found = []
        for path in sorted([above, *above.iterdir(), *self.outside.rglob("*")]):
            status = path.lstat()
            times = 0 if path == self.to else status.st_mtime_ns
            found.append((str(path), status.st_mode, times, path.read_bytes() if path.is_file() else b""))
        return found

    def check(self) -> None:
        """Nothing beside the destination has changed."""
        assert self._look() == self._before


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world")


def fresh_world() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="papertape-destination-")


def write(restoration: Restoration, relative: bytes, content: bytes, attributes: Attributes = MINE) -> None:
    """Restore a file, as the transfer does."""
    if not restoration.holds(relative, FILE, Wanted("sha256", hashlib.sha256(content).hexdigest(), len(content))):
        file = restoration.make_file(relative, attributes)
        file.write(memoryview(content))
        file.prove()


def link(restoration: Restoration, relative: bytes, target: bytes) -> None:
    if not restoration.holds(relative, LINK, target=target):
        restoration.make_link(relative, Attributes(LINK, 0o777, TIME, *OWNER, target=target))


def folder(restoration: Restoration, relative: bytes, mode: int = 0o750) -> None:
    restoration.holds(relative, DIRECTORY)
    restoration.make_directory(relative, Attributes(DIRECTORY, mode, TIME, *OWNER))


def begin(destination: Destination, path: bytes = b"/data/uv", kind: str = DIRECTORY) -> Restoration:
    return destination.begin("correlator:/data/uv", "correlator", path, kind)


def check_sentence(error: PapertapeError) -> None:
    """One sentence, on one line once it is shown, that names something."""
    text = str(error)
    assert text
    assert "Errno" not in text
    assert "\n" not in text.removeprefix(getattr(error, "path", ""))


members = st.lists(st.tuples(st.sampled_from("fdl"), names, names), max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(host=hosts, path=names, kind=st.sampled_from([FILE, DIRECTORY]), members=members)
@example("correlator", b"data/uv", DIRECTORY, [("l", b"way", b"../../../../outside"), ("f", b"way/secret", b"")])
@example("correlator", b"data/uv", DIRECTORY, [("l", b"", b"../../../outside/folder"), ("f", b"secret", b"")])
@example("correlator", b"data/uv", FILE, [("l", b"", b"../../../outside/secret"), ("f", b"", b"")])
@example("correlator", b"data/uv", DIRECTORY, [("l", b"way", b"a\0b")])
@example("correlator", b"data/uv", DIRECTORY, [("l", b"way", b"")])
@example("correlator", b"data/uv", DIRECTORY, [("l", b"way", b"t" * 5000)])
@example("correlator", b"data/uv", DIRECTORY, [("f", b"n" * 256, b"")])
@example("correlator", b"/".join([b"deep" * 60] * 40), DIRECTORY, [("d", b"", b""), ("f", b"file", b"")])
def test_hostile_names_never_lead_out(
    host: str, path: bytes, kind: str, members: list[tuple[str, bytes, bytes]]
) -> None:
    with fresh_world() as name:
        world = World(Path(name))
        with Destination(world.to) as destination:
            try:
                restoration = destination.begin("a source", host, path, kind)
                for what, relative, target in members:
                    if what == "f":
                        write(restoration, relative, b"hostile")
                    elif what == "l":
                        link(restoration, relative, target)
                    else:
                        folder(restoration, relative)
                if members:
                    restoration.end()
            except (Obstacle, HostError) as error:
                check_sentence(error)
        world.check()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("level", range(7))
@pytest.mark.parametrize("target", ["outside", "outside/folder", "outside/secret", "nowhere"])
def test_a_planted_link_is_never_followed(world: World, level: int, target: str, overwrite: bool) -> None:
    """On the way to the data set, in its place, and in it."""
    parts = ["correlator", "data", "night", "uv", "deep", "er", "file"]
    planted = world.to.joinpath(*parts[: level + 1])
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(world.to.parent / target)
    with Destination(world.to, overwrite=overwrite) as destination:
        try:
            restoration = begin(destination, b"/data/night/uv")
            for relative in (b"", b"deep", b"deep/er"):
                folder(restoration, relative)
            write(restoration, b"deep/er/file", b"new")
            restoration.end()
        except Obstacle as error:
            check_sentence(error)
            assert planted.is_symlink()
        else:
            assert (level, overwrite) == (6, True)
            assert planted.read_bytes() == b"new"
            assert not planted.is_symlink()
    world.check()


@pytest.mark.parametrize("target", [b"../../../../outside", b"/etc", b"folder", b"."])
def test_a_link_of_the_data_set_is_restored_and_never_followed(world: World, target: bytes) -> None:
    with Destination(world.to) as destination:
        restoration = begin(destination)
        folder(restoration, b"")
        folder(restoration, b"folder")
        link(restoration, b"way", target)
        with pytest.raises(Obstacle, match="no folder"):
            write(restoration, b"way/secret", b"hostile")
        with pytest.raises(Obstacle, match=r"no folder|in the way"):
            folder(restoration, b"way/more")
        restoration.end()
    assert os.fsencode(os.readlink(world.to / "correlator/data/uv/way")) == target
    world.check()


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


def plant_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize("plant", [plant_fifo, plant_socket, Path.mkdir])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_no_archive_holds_is_in_the_way(
    world: World, plant: Callable[[Path], None], overwrite: bool
) -> None:
    with Destination(world.to, overwrite=overwrite) as destination:
        place = world.to / "correlator" / "data" / "uv"
        place.mkdir(parents=True)
        plant(place / "file")
        restoration = begin(destination)
        with pytest.raises(Obstacle, match="in the way; move it, or restore elsewhere"):
            write(restoration, b"file", b"new")
        with pytest.raises(Obstacle, match="in the way"):
            begin(destination, b"/data/uv/file", FILE).holds(b"", FILE)
        (place / "pipe").unlink(missing_ok=True)
        plant_fifo(place / "pipe")
        with pytest.raises(Obstacle, match="no folder"):
            write(restoration, b"pipe/file", b"new")
    world.check()


def plant_link(path: Path, world: World) -> None:
    path.symlink_to(world.outside / "secret")


def plant_other_name(path: Path, world: World) -> None:
    path.hardlink_to(world.outside / "secret")


def plant_pipe(path: Path, world: World) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [plant_link, plant_other_name, plant_pipe])
def test_the_temporary_name_is_never_written_through(world: World, plant: Callable[[Path, World], None]) -> None:
    """A hard link is another name of a file outside, and a pipe would stop the restore for ever."""
    with Destination(world.to) as destination:
        restoration = begin(destination, kind=FILE)
        restoration.make_file(b"", MINE).prove()
        place = world.to / "correlator" / "data"
        (place / "uv").unlink()
        file = restoration.make_file(b"", MINE)
        (new,) = (path for path in place.iterdir() if path.name.startswith(os.fsdecode(PREFIX)))
        file.drop()
        plant(new, world)
        write(restoration, b"", b"new")
    assert (place / "uv").read_bytes() == b"new"
    assert (world.outside / "secret").read_bytes() == SECRET
    assert [path.name for path in place.iterdir()] == ["uv"]


def test_a_hard_link_to_a_file_outside_is_replaced_and_not_written_to(world: World) -> None:
    place = world.to / "correlator" / "data"
    place.mkdir(parents=True)
    (place / "uv").hardlink_to(world.outside / "secret")
    with Destination(world.to, overwrite=True) as destination:
        write(begin(destination, kind=FILE), b"", b"new")
    assert (place / "uv").read_bytes() == b"new"
    assert (world.outside / "secret").read_bytes() == SECRET


def test_a_second_process_into_the_same_folder_is_refused(world: World) -> None:
    script = (
        "import sys; from pathlib import Path; from papertape.errors import UserError\n"
        "from papertape.transfer.destination import Destination\n"
        "try:\n    Destination(Path(sys.argv[1])).__enter__()\nexcept UserError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", script, str(world.to)]
    with Destination(world.to):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with pytest.raises(UserError, match="another process"), Destination(world.to):
            pass
    assert told == f"{world.to}: another process restores into it; wait for it, or name another\n"
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_folder_that_cannot_be_made_is_reported(world: World) -> None:
    (world.to / "file").write_bytes(b"")
    with pytest.raises(HostError, match="cannot be written"), Destination(world.to / "file" / "deeper"):
        pass
    with pytest.raises(HostError, match="cannot be written"), Destination(world.to / ("x" * 300)):
        pass


def test_files_that_an_earlier_attempt_left_are_taken_up(world: World) -> None:
    with Destination(world.to) as destination:
        restoration = begin(destination)
        folder(restoration, b"")
        folder(restoration, b"deep")
        write(restoration, b"deep/one", b"one")
        restoration.make_file(b"deep/two", MINE).write(memoryview(b"half of it"))  # and never proven
        assert restoration.is_staged
        assert restoration.part
    assert not (world.to / "correlator/data/uv").exists()
    with Destination(world.to) as destination:
        restoration = begin(destination)
        assert restoration.is_staged
        assert restoration.holds(b"deep/one", FILE, Wanted("sha256", hashlib.sha256(b"one").hexdigest(), 3))
        assert not restoration.holds(b"deep/two", FILE)
        folder(restoration, b"", 0o2755)
        folder(restoration, b"deep", 0o700)
        write(restoration, b"deep/two", b"two")
        restoration.end()
    whole = world.to / "correlator/data/uv"
    assert {str(path.relative_to(whole)) for path in whole.rglob("*")} == {"deep", "deep/one", "deep/two"}
    assert (stat.S_IMODE(whole.stat().st_mode), whole.stat().st_mtime_ns) == (0o2755, TIME)
    assert (stat.S_IMODE((whole / "deep").stat().st_mode), (whole / "deep").stat().st_mtime_ns) == (0o700, TIME)
    assert sorted(path.name for path in whole.parent.iterdir()) == ["uv"]


def test_a_directory_made_by_someone_else_meanwhile_is_left_alone(world: World) -> None:
    place = world.to / "correlator" / "data" / "uv"
    with Destination(world.to) as destination:
        restoration = begin(destination)
        folder(restoration, b"")
        write(restoration, b"file", b"from tape")
        place.mkdir()
        (place / "file").write_bytes(b"mine")
        with pytest.raises(Obstacle, match="was made by someone else meanwhile"):
            restoration.end()
    assert (place / "file").read_bytes() == b"mine"


def test_modes_and_times_of_everything(world: World) -> None:
    with Destination(world.to) as destination:
        restoration = begin(destination)
        folder(restoration, b"", 0o555)
        folder(restoration, b"shut", 0o000)
        folder(restoration, b"shut/inner", 0o1777)
        write(restoration, b"shut/inner/setuid", b"s", Attributes(FILE, 0o6755, TIME + 1, *OWNER))
        write(restoration, b"none", b"n", Attributes(FILE, 0o000, -1, *OWNER))
        restoration.make_link(b"way", Attributes(LINK, 0o777, TIME + 2, *OWNER, target=b"none"))
        restoration.end()
    whole = world.to / "correlator/data/uv"
    assert [stat.S_IMODE(path.lstat().st_mode) for path in (whole, whole / "shut")] == [0o555, 0o000]
    assert (whole / "way").lstat().st_mtime_ns == TIME + 2
    assert ((whole / "none").lstat().st_mtime_ns, stat.S_IMODE((whole / "none").lstat().st_mode)) == (-1, 0)
    (whole / "shut").chmod(0o700)
    assert stat.S_IMODE((whole / "shut/inner/setuid").stat().st_mode) == 0o6755
    assert stat.S_IMODE((whole / "shut/inner").stat().st_mode) == 0o1777


@pytest.fixture
def plain_user() -> Iterator[Path]:
    """A folder of a user to whom modes mean something; root becomes one for the test."""
    place = Path(tempfile.mkdtemp(prefix="papertape-user-"))
    root = os.geteuid() == 0
    if root:
        os.chown(place, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield place
    finally:
        if root:
            os.seteuid(0)
        subprocess.run(["chmod", "-R", "u+rwX", place], check=True)
        shutil.rmtree(place)


@pytest.mark.parametrize("mode", [0o555, 0o000, 0o111])
def test_folders_without_permissions_of_an_attempt_interrupted_at_its_end(plain_user: Path, mode: int) -> None:
    with Destination(plain_user) as destination:
        restoration = begin(destination)
        for relative in (b"", b"deep", b"deep/er"):
            folder(restoration, relative, mode)
        write(restoration, b"deep/er/one", b"one")
        (staged,) = (plain_user / "correlator" / "data").iterdir()
        for path in (staged / "deep" / "er", staged / "deep", staged):
            path.chmod(mode)
    with Destination(plain_user) as destination:
        restoration = begin(destination)
        for relative in (b"", b"deep", b"deep/er"):
            folder(restoration, relative, mode)
        write(restoration, b"deep/er/one", b"one")
        write(restoration, b"deep/er/two", b"two")
        restoration.end()
    assert stat.S_IMODE((plain_user / "correlator/data/uv").stat().st_mode) == mode


@pytest.mark.parametrize("shut", ["", "correlator", "correlator/data", "correlator/data/uv"])
def test_a_folder_of_somebody_else_is_reported_in_one_sentence(plain_user: Path, shut: str) -> None:
    place = plain_user / "correlator" / "data" / "uv"
    place.mkdir(parents=True)
    (plain_user / shut).chmod(0o555)
    with Destination(plain_user) as destination:
        if shut == "correlator/data/uv":
            restoration = begin(destination)
            with pytest.raises(HostError, match="Permission denied"):
                write(restoration, b"file", b"new")
        (plain_user / shut).chmod(0o000)
        if shut:
            with pytest.raises(HostError, match="Permission denied"):
                write(begin(destination), b"file", b"new")


@pytest.mark.parametrize("length", [1, 100, 254, 255])
def test_names_of_every_length_are_restored(world: World, length: int) -> None:
    name = b"\xff" * length
    with Destination(world.to) as destination:
        restoration = begin(destination, b"/data/" + name)
        folder(restoration, b"")
        folder(restoration, name)
        write(restoration, name + b"/" + name, b"new")
        link(restoration, name + b"/l", name)
        restoration.end()
        write(begin(destination, b"/other/" + name, FILE), b"", b"single")
    path = os.fsencode(world.to) + b"/correlator/data/" + b"/".join([name] * 3)
    assert Path(os.fsdecode(path)).read_bytes() == b"new"


def test_a_name_too_long_for_the_disk_is_an_obstacle_for_its_data_set_alone(world: World) -> None:
    with Destination(world.to) as destination:
        restoration = begin(destination)
        with pytest.raises(Obstacle, match="restore to another file system"):
            write(restoration, b"x" * 256, b"")
        with pytest.raises(Obstacle, match="restore to another file system"):
            folder(restoration, b"x" * 256 + b"/y")
        write(restoration, b"x" * 255, b"")


@pytest.mark.parametrize(
    "attributes",
    [
        Attributes(LINK, 0o777, TIME, target=b"a\0b"),
        Attributes(LINK, 0o777, TIME, target=b""),
        Attributes(FILE, 0o777, 10**40),
        Attributes(DIRECTORY, 0o777, -(10**40)),
        Attributes(FILE, 0o777, TIME, uid=2**40),
        Attributes(FILE, 0o777, TIME, gid=10**19),
    ],
)
def test_attributes_that_no_file_can_have_are_an_obstacle(world: World, attributes: Attributes) -> None:
    with Destination(world.to) as destination:
        restoration = begin(destination)
        make = {FILE: restoration.make_file, DIRECTORY: restoration.make_directory, LINK: restoration.make_link}
        with pytest.raises(Obstacle, match="no file can have"):
            make[attributes.kind](b"member", attributes)


def test_another_link_is_not_the_same(world: World) -> None:
    place = world.to / "correlator" / "data" / "uv"
    place.mkdir(parents=True)
    (place / "way").symlink_to("mine")
    with Destination(world.to) as destination:
        restoration = begin(destination)
        assert restoration.holds(b"way", LINK, target=b"mine")
        with pytest.raises(Obstacle, match="not the same; --overwrite replaces it"):
            restoration.holds(b"way", LINK, target=b"theirs")
    with Destination(world.to, overwrite=True) as destination:
        link(begin(destination), b"way", b"theirs")
    assert (place / "way").readlink() == Path("theirs")
