from __future__ import annotations

import hashlib
import os
import re
import resource
import stat
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from papertape.errors import HostError, UserError
from papertape.events import tell_all
from papertape.transfer.source import scan
from papertape.trial.testdata import DATA, MD5SUMS, ODD_NAMES, Built, Sizes, build_testdata

SMALL = Sizes(large=1, large_bytes=100_001, small=60, small_bytes=800, uv=3, uv_bytes=5000, uvh5_bytes=3000)


def build(folder: Path, sizes: Sizes = SMALL, seed: int = 1) -> list[Built]:
    return build_testdata(folder, sizes, seed, tell_all())


def facts(folder: Path) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Everything below ``folder``: name, kind, modification time, content."""
    top = os.fsencode(folder)
    for parent, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content = b""
            if stat.S_ISLNK(kind):
                content = os.readlink(path)
            elif stat.S_ISREG(kind):
                content = Path(os.fsdecode(path)).read_bytes()
            yield os.path.relpath(path, top), kind, status.st_mtime_ns, content


def test_the_same_seed_and_sizes_give_the_same_bytes_names_and_times(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    assert sorted(facts(tmp_path / "first" / DATA)) == sorted(facts(tmp_path / "second" / DATA))
    assert [(item.path.name, *item[1:]) for item in first] == [(item.path.name, *item[1:]) for item in second]


def test_another_seed_gives_other_bytes_under_the_same_names(tmp_path: Path) -> None:
    first, second = build(tmp_path / "1", seed=1), build(tmp_path / "2", seed=2)
    assert [item.path.name for item in first] == [item.path.name for item in second]
    changed = [one.path.name for one, other in zip(first, second, strict=True) if one.md5 != other.md5]
    assert len(changed) == SMALL.large + SMALL.uv + SMALL.uvh5


def test_the_returned_files_are_those_on_disk(tmp_path: Path) -> None:
    built = build(tmp_path / "new" / "night")
    data = tmp_path / "new" / "night" / DATA
    assert {item.path for item in built} == set(data.iterdir())
    for item in built:
        dataset = scan("pot1", os.fsencode(item.path))
        assert (item.bytes, item.files) == (dataset.size, dataset.files)


def test_each_kind_is_there_as_often_as_asked_for(tmp_path: Path) -> None:
    built = build(tmp_path)
    names = [item.path.name for item in built]
    assert sum(name.startswith("correlator-") for name in names) == SMALL.large
    assert sum(name.endswith(".uvcA") for name in names) == SMALL.uv
    assert sum(name.endswith(".uvh5") for name in names) == SMALL.uvh5
    assert sum(item.files for item in built if item.path.name.startswith("logs-")) == SMALL.small
    assert sum(path.is_symlink() for path in tmp_path.rglob("*")) == SMALL.links
    assert [item.bytes for item in built if item.path.name.startswith("empty-")] == [0] * SMALL.empty
    assert {os.fsencode(name) for name in names} >= set(ODD_NAMES)


def test_miriad_data_sets_are_named_by_increasing_times(tmp_path: Path) -> None:
    built = build(tmp_path, Sizes(large=0, small=0, uv=90, uv_bytes=64, uvh5=0, empty=0, links=0, odd=0))
    assert all(re.fullmatch(r"zen\.\d{7}\.\d{5}\.xx\.HH\.uvcA", item.path.name) for item in built)
    assert built[0].path.name == "zen.2457698.40355.xx.HH.uvcA"
    assert [item.path.name for item in built] == sorted({item.path.name for item in built})
    times = [(item.path / "visdata").stat().st_mtime for item in built]
    assert times == sorted(set(times))
    assert {path.name for path in built[0].path.iterdir()} == {"visdata", "header", "history", "vartable", "flags"}


def test_the_declared_digest_is_that_of_the_file_or_of_visdata(tmp_path: Path) -> None:
    for item in build(tmp_path):
        subject = item.path / "visdata" if item.path.is_dir() else item.path
        expected = hashlib.md5(subject.read_bytes()).hexdigest() if subject.exists() else None
        assert item.md5 == expected


def test_large_files_do_not_compress_and_small_ones_do(tmp_path: Path) -> None:
    built = {item.path.name: item.path for item in build(tmp_path)}
    noise = built["correlator-0001.bin"].read_bytes()
    assert len(zlib.compress(noise, 9)) >= len(noise)
    log = (built["logs-0001"] / "log-000001.txt").read_bytes()
    assert len(zlib.compress(log)) < len(log) // 2


def test_md5sum_itself_agrees_with_every_line_of_a_file(tmp_path: Path) -> None:
    built = build(tmp_path)
    files = [item for item in built if item.path.is_file()]
    answer = subprocess.run(
        ["md5sum", "-c", "--quiet", "--ignore-missing", tmp_path / MD5SUMS],
        capture_output=True,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        check=False,
    )
    directories = [line for line in answer.stdout.splitlines() if b".uvcA" in line]
    assert answer.stdout.splitlines() == directories
    assert (tmp_path / MD5SUMS).read_bytes().count(b"\n") == len(files) + SMALL.uv


def test_the_md5sums_name_directories_by_their_own_path(tmp_path: Path) -> None:
    night = next(item for item in build(tmp_path) if item.path.name.endswith(".uvcA"))
    assert f"{night.md5}  {night.path}\n".encode() in (tmp_path / MD5SUMS).read_bytes()


def test_nothing_at_all_can_be_asked_for(tmp_path: Path) -> None:
    assert build(tmp_path, Sizes(large=0, small=0, uv=0, uvh5=0, empty=0, links=0, odd=0)) == []


def test_links_alone_lie_in_a_directory(tmp_path: Path) -> None:
    built = build(tmp_path, Sizes(large=0, small=0, uv=0, uvh5=0, empty=0, links=5, odd=0))
    assert [(item.path.name, item.files, item.md5) for item in built] == [("logs-0001", 0, None)]


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not empty"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory"):
        build(tmp_path / "file")


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs 1\.1 PB, and .* are free"):
        build(tmp_path / "night", Sizes(large=1, large_bytes=10**15))
    assert not (tmp_path / "night").exists()


@pytest.mark.parametrize("sizes", [Sizes(large=-1), Sizes(uv_bytes=-5), Sizes(odd=len(ODD_NAMES) + 1)])
def test_sizes_that_cannot_be_are_refused(tmp_path: Path, sizes: Sizes) -> None:
    with pytest.raises(UserError):
        build(tmp_path / "night", sizes)
    assert not (tmp_path / "night").exists()


def test_a_disk_that_refuses_on_the_way_is_named_in_one_sentence(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    try:
        with pytest.raises(HostError, match="make room") as caught:
            build(tmp_path / "night")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path / "night") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_size_of_a_file(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        build(tmp_path, Sizes(large=1, large_bytes=24 * 1024 * 1024, small=0, uv=0))
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
