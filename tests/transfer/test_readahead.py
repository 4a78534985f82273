"""Reading ahead: all in order, each failure in its place, and nothing left open."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.errors import SourceError
from papertape.plan import DataSet
from papertape.transfer.readahead import KEPT, Content, End, ReadAhead, close_content
from papertape.transfer.source import scan, walk

from .trees import LARGE, descriptors, make_uv, many_large, raw, replace, rewrite, ways

NOBODY = 65534


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    return make_uv(tmp_path / "zen.uv")


def read(datasets: Iterable[DataSet]) -> list[Content | End]:
    """Read data sets, and close all descriptors."""
    items = []
    with ReadAhead(datasets) as ahead:
        for item in ahead:
            items.append(item)
            if isinstance(item, Content):
                close_content(item)
    return items


def meddled(path: Path, meddle: Callable[[], object]) -> Iterator[DataSet]:
    """Yield the data set at ``path``; ``meddle`` is called after the walk, before a file is opened."""
    yield scan("pot1", raw(path))
    meddle()


def errors(items: list[Content | End]) -> list[SourceError]:
    return [item.error for item in items if item.error]


def build(root: bytes, files: dict[tuple[bytes, ...], bytes]) -> dict[bytes, bytes]:
    """Write those of ``files`` that do not stand in each other's way, and return them by their paths in ``root``."""
    built = {}
    for way, data in files.items():
        relative = b"/".join(way)
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            path = Path(os.fsdecode(root + b"/" + relative))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            built[relative] = data
    return built


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(ways, st.binary(max_size=50), max_size=8))
def test_r7_whatever_names_the_file_system_holds_are_read(files: dict[tuple[bytes, ...], bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = raw(Path(name, "top"))
        Path(name, "top").mkdir()
        built = build(root, files)
        dataset = scan("pot1", root)
        *contents, end = read([dataset])
    assert end == End(None)
    assert {item.entry.relative: item.data for item in contents if item.data is not None} == built
    relatives = [item.entry.relative.split(b"/") for item in contents[1:]]
    assert relatives == sorted(relatives)
    assert (dataset.files, dataset.size) == (len(built), sum(map(len, built.values())))


def test_small_files_come_whole_and_large_ones_as_descriptors(uv: Path) -> None:
    *contents, end = read([scan("pot1", raw(uv))])
    found = {item.entry.relative: (item.data, item.descriptor is not None) for item in contents}
    assert end == End(None)
    assert found == {
        b"": (None, False),
        b"header": (b"h" * 10, False),
        b"link": (None, False),
        b"sub": (None, False),
        b"sub/empty": (b"", False),
        b"visdata": (None, True),
    }


def test_data_sets_come_one_after_the_other_each_with_its_end(tmp_path: Path) -> None:
    expected: list[bytes | None] = []
    for number in range(100):
        (tmp_path / f"{number:03}").write_bytes(b"%d" % number)
        expected += [b"%d" % number, None]
    items = read(scan("pot1", raw(path)) for path in sorted(tmp_path.iterdir()))
    assert [item.data if isinstance(item, Content) else None for item in items] == expected


def test_the_reading_has_the_order_of_the_walk(tmp_path: Path) -> None:
    for number in range(700):
        (tmp_path / f"{number * 7919 % 1000}").write_bytes(b"%d" % number)
    *contents, _ = read([scan("pot1", raw(tmp_path))])
    assert [item.entry for item in contents] == list(walk(raw(tmp_path)))


def test_a_data_set_too_large_to_be_kept_in_memory_is_walked_again(tmp_path: Path) -> None:
    for number in range(KEPT + 70):
        (tmp_path / f"{number}").touch()
    *contents, end = read([scan("pot1", raw(tmp_path))])
    assert end == End(None)
    assert [item.entry for item in contents] == list(walk(raw(tmp_path)))


def test_without_data_sets_nothing_is_read() -> None:
    assert read([]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda uv: (uv / "new").touch(),
        lambda uv: (uv / "header").unlink(),
        lambda uv: os.truncate(uv / "visdata", 1),
        lambda uv: os.utime(uv / "header", ns=(0, 0)),
        shutil.rmtree,
        lambda uv: os.mkfifo(uv / "pipe"),
    ],
)
def test_a_data_set_that_is_not_as_registered_comes_as_its_end_alone(
    uv: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    good = make_uv(tmp_path / "good.uv")
    datasets = [scan("pot1", raw(uv)), scan("pot1", raw(good))]
    change(uv)
    first, *rest = read(datasets)
    assert isinstance(first, End)
    assert first.error
    assert len(rest) == 7
    assert rest[-1] == End(None)


REASONS = [
    (lambda path: path.unlink(), "cannot be opened (No such file or directory)"),
    (lambda path: os.truncate(path, path.stat().st_size - 1), "shrank while it was read"),
    (lambda path: os.truncate(path, 0), "shrank while it was read"),
    (lambda path: os.truncate(path, path.stat().st_size + 1), "grew while it was read"),
    (lambda path: rewrite(path, b"x" * path.stat().st_size, 10**18 + 1), "changed while it was read"),
    (lambda path: replace(path, os.mkfifo), "was replaced while it was read"),
    (lambda path: replace(path, lambda path: os.mknod(path, 0o140644)), "cannot be opened (No such device or address)"),
    (lambda path: replace(path, lambda path: path.symlink_to("/etc/passwd")), "cannot be opened (Too many levels"),
]


@pytest.mark.parametrize("name", ["header", "visdata"])
@pytest.mark.parametrize(("meddle", "reason"), REASONS)
def test_a_file_that_changes_after_the_walk_is_an_error_in_its_place(
    uv: Path, name: str, meddle: Callable[[Path], object], reason: str
) -> None:
    items = read(meddled(uv, lambda: meddle(uv / name)))
    (error,) = errors(items)
    assert error.path == str(uv / name)
    assert error.reason.startswith(reason)
    at = next(number for number, item in enumerate(items) if item.error)
    assert isinstance(items[at], Content)
    assert len(items) == 7


def test_a_folder_in_the_place_of_a_file_is_an_error(uv: Path) -> None:
    (error,) = errors(read(meddled(uv, lambda: replace(uv / "header", Path.mkdir))))
    assert error.reason == "cannot be read (Is a directory)"


def test_a_file_that_nobody_touches_is_whole(uv: Path) -> None:
    assert errors(read(meddled(uv, lambda: None))) == []


@contextlib.contextmanager
def powerless() -> Iterator[None]:
    """Run the block without the rights of root, even if the tests run as root."""
    own = os.geteuid()
    try:
        if not own:
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(own)


def test_an_unreadable_file_is_an_error_in_its_place() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_bytes(b"secret")
        (folder / "secret").chmod(0)
        with powerless():
            _, content, end = read([scan("pot1", raw(folder))])
    assert str(content.error) == f"{folder}/secret: cannot be opened (Permission denied)"
    assert end == End(None)


def test_reading_ahead_keeps_its_bound_of_open_files(tmp_path: Path) -> None:
    before, most = len(descriptors()), 0
    with ReadAhead([scan("pot1", raw(many_large(tmp_path)))]) as ahead:
        for item in ahead:
            most = max(most, len(descriptors()) - before)
            if isinstance(item, Content):
                close_content(item)
    assert 8 < most <= 512


@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_leaving_early_closes_what_was_opened_ahead(tmp_path: Path, count: int) -> None:
    before = descriptors()
    with ReadAhead([scan("pot1", raw(many_large(tmp_path)))]) as ahead:
        contents = iter(ahead)
        for _ in range(count):
            item = next(contents)
            assert isinstance(item, Content)
            close_content(item)
    assert descriptors() == before


def test_a_walk_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    def failing() -> Iterator[DataSet]:
        yield scan("pot1", raw(many_large(tmp_path, 40)))
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        read(failing())


def test_a_large_file_is_read_from_its_begin(uv: Path) -> None:
    with ReadAhead([scan("pot1", raw(uv))]) as ahead:
        for item in ahead:
            if isinstance(item, Content) and item.descriptor is not None:
                with open(item.descriptor, "rb") as file:
                    assert file.read() == b"v" * LARGE
