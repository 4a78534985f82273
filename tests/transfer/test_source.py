"""Data sets on disk: which entries are found, in which order, and how a change during the reading is noticed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from papertape.errors import SourceError
from papertape.transfer.source import Entry, check_unchanged, member_name, read_fingerprint, scan, walk
from papertape.volume.names import Source, quote

from .trees import LARGE, descriptors, make_uv, raw, replace, rewrite

NOBODY = 65534


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    return make_uv(tmp_path / "zen.uv")


def test_a_walk_yields_directories_before_what_is_in_them_in_byte_order(uv: Path) -> None:
    (uv / "Z").touch()
    Path(os.fsdecode(raw(uv) + b"/\xff")).touch()
    found = [(entry.relative, entry.attributes.kind, entry.size) for entry in walk(raw(uv))]
    assert found == [
        (b"", "dir", 0),
        (b"Z", "file", 0),
        (b"header", "file", 10),
        (b"link", "link", 0),
        (b"sub", "dir", 0),
        (b"sub/empty", "file", 0),
        (b"visdata", "file", LARGE),
        (b"\xff", "file", 0),
    ]


def test_a_data_set_is_described_without_reading_it(uv: Path) -> None:
    dataset = scan("pot1", raw(uv))
    assert (str(dataset.source), dataset.kind, dataset.files, dataset.size) == (
        f"pot1:{quote(raw(uv))}",
        "directory",
        3,
        LARGE + 10,
    )
    assert (dataset.source.host, dataset.source.path, dataset.md5) == ("pot1", raw(uv), None)
    assert dataset.fingerprint == read_fingerprint(raw(uv))


def test_one_file_is_a_data_set(uv: Path) -> None:
    dataset = scan("pot1", raw(uv / "header"))
    assert (dataset.kind, dataset.files, dataset.size) == ("file", 1, 10)


def test_r5_a_member_is_named_for_host_and_path() -> None:
    assert member_name(Source("pot1", b"/data/zen.uv"), b"") == b"data/pot1/data/zen.uv"
    assert member_name(Source("pot1", b"/data/zen.uv"), b"\xff/x") == b"data/pot1/data/zen.uv/\xff/x"


def test_a_miriad_observation_is_described(observations: list[Path]) -> None:
    uv = next(path for path in observations if path.is_dir())
    dataset = scan("pot1", raw(uv))
    assert (dataset.kind, dataset.files) == ("directory", 5)
    assert dataset.size == sum(path.stat().st_size for path in uv.iterdir())
    assert b"visdata" in [entry.relative for entry in walk(raw(uv))]


def test_r7_links_are_kept_as_links_and_not_followed(uv: Path, tmp_path: Path) -> None:
    (uv / "outside").symlink_to(tmp_path)
    (uv / "broken").symlink_to(os.fsdecode(b"nowhere\xff"))
    targets = {entry.relative: entry.attributes.target for entry in walk(raw(uv)) if entry.attributes.kind == "link"}
    assert targets == {b"link": b"sub/empty", b"outside": raw(tmp_path), b"broken": b"nowhere\xff"}
    assert not any(entry.relative.startswith(b"outside/") for entry in walk(raw(uv)))


def test_a_link_is_no_data_set(uv: Path) -> None:
    with pytest.raises(SourceError, match="link: is a symbolic link: add what it points to"):
        scan("pot1", raw(uv / "link"))


@pytest.mark.parametrize(("mode", "name"), [(stat.S_IFIFO, "named pipe"), (stat.S_IFSOCK, "socket")])
def test_r7_a_pipe_or_a_socket_is_refused_by_name(uv: Path, mode: int, name: str) -> None:
    os.mknod(uv / "odd", mode | 0o644)
    for look in (scan, lambda _, path: read_fingerprint(path)):
        with pytest.raises(SourceError, match=f"/odd: is a {name}, which an archive cannot hold") as caught:
            look("pot1", raw(uv))
        assert caught.value.path == quote(raw(uv / "odd"))


def test_r7_a_device_is_refused_by_name() -> None:
    with pytest.raises(SourceError, match="/dev/null: is a character device, which an archive cannot hold"):
        scan("pot1", b"/dev/null")


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone: cannot be read \(No such file or directory\)"):
        scan("pot1", raw(tmp_path / "gone"))


@contextlib.contextmanager
def powerless(folder: Path) -> Iterator[None]:
    """Run the block without the rights of root, even if the tests run as root."""
    own = os.geteuid()
    try:
        if not own:
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(own)
        for path in folder.iterdir():
            path.chmod(0o700)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "closed").mkdir()
    (folder / "file").write_bytes(b"secret")
    yield folder
    shutil.rmtree(folder)


def test_an_unreadable_folder_is_refused(public: Path) -> None:
    (public / "closed").chmod(0)
    with powerless(public), pytest.raises(SourceError, match=r"closed: cannot be listed \(Permission denied\)"):
        scan("pot1", raw(public))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: os.truncate(path, LARGE - 1), "shrank"),
        (lambda path: os.truncate(path, 0), "shrank"),
        (lambda path: os.truncate(path, LARGE + 1), "grew"),
        (lambda path: rewrite(path, b"x" * LARGE, 10**18 + 1), "changed"),
        (lambda path: rewrite(path, b"v" * LARGE, 10**18 - 1), "changed"),
    ],
)
def test_a_change_to_an_open_file_is_noticed(uv: Path, change: Callable[[Path], object], reason: str) -> None:
    (entry,) = walk(raw(uv / "visdata"))
    with (uv / "visdata").open("rb") as file:
        check_unchanged(file.fileno(), entry)
        change(uv / "visdata")
        with pytest.raises(SourceError, match=f"/visdata: {reason} while it was read"):
            check_unchanged(file.fileno(), entry)


def test_a_file_that_vanishes_while_it_is_open_is_still_whole(uv: Path) -> None:
    (entry,) = walk(raw(uv / "visdata"))
    with (uv / "visdata").open("rb") as file:
        (uv / "visdata").unlink()
        check_unchanged(file.fileno(), entry)
        assert file.read() == b"v" * LARGE


CHANGES: list[Callable[[Path], object]] = [
    lambda uv: (uv / "new").touch(),
    lambda uv: (uv / "header").unlink(),
    lambda uv: (uv / "header").rename(uv / "headers"),
    lambda uv: (uv / "header").rename(uv / "sub" / "header"),
    lambda uv: rewrite(uv / "header", b"h" * 11, 10**18),
    lambda uv: os.utime(uv / "header", ns=(10**18, 10**18 + 1)),
    lambda uv: os.utime(uv / "sub" / "empty", ns=(0, 0)),
    lambda uv: replace(uv / "link", lambda path: path.symlink_to("sub/none")),
    lambda uv: replace(uv / "link", Path.touch),
    lambda uv: replace(uv / "link", Path.mkdir),
    lambda uv: replace(uv / "sub" / "empty", Path.mkdir),
    lambda uv: (uv / "sub" / "new").mkdir(),
    lambda uv: replace(uv / "header", lambda path: path.symlink_to("visdata")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_changes_with_names_kinds_sizes_targets_and_times(
    uv: Path, change: Callable[[Path], object]
) -> None:
    before = read_fingerprint(raw(uv))
    change(uv)
    assert read_fingerprint(raw(uv)) != before
    assert scan("pot1", raw(uv)).fingerprint == read_fingerprint(raw(uv))


@pytest.mark.parametrize(
    "change",
    [
        lambda uv: None,
        lambda uv: (uv / "visdata").read_bytes(),
        lambda uv: (uv / "header").chmod(0o600),
        lambda uv: (uv / "sub").chmod(0o700),
        lambda uv: os.utime(uv / "sub", ns=(0, 0)),
        lambda uv: os.utime(uv / "link", ns=(0, 0), follow_symlinks=False),
        lambda uv: (uv.parent / "beside").touch(),
        lambda uv: replace(uv / "link", lambda path: path.symlink_to("sub/empty")),
    ],
)
def test_the_fingerprint_does_not_change_otherwise(uv: Path, change: Callable[[Path], object]) -> None:
    before = read_fingerprint(raw(uv))
    change(uv)
    assert read_fingerprint(raw(uv)) == before


def test_the_fingerprint_is_that_of_the_contents_and_not_of_the_place(uv: Path) -> None:
    before = read_fingerprint(raw(uv))
    uv.rename(uv.parent / "elsewhere")
    assert read_fingerprint(raw(uv.parent / "elsewhere")) == before


def test_an_entry_has_mode_owner_and_time(uv: Path) -> None:
    (uv / "header").chmod(0o4750)
    entries: dict[bytes, Entry] = {entry.relative: entry for entry in walk(raw(uv))}
    attributes = entries[b"header"].attributes
    assert (attributes.mode, attributes.mtime) == (0o4750, 10**18)
    assert (attributes.uid, attributes.gid) == (os.geteuid(), (uv / "header").stat().st_gid)
    assert attributes.user == (uv / "header").owner().encode()
