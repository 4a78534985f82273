"""GNU tar reads what is written, in any locale (R1, R7)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes, build_header
from papertape.volume.tapefile import compose

from .samples import BLOCK, NOW, SLOW, parts, tree

LOCALES = ["C", "C.UTF-8"]
paths = st.lists(parts, min_size=1, max_size=6).map(b"/".join)


def tar(archive: Path, *arguments: str, locale: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = ["tar", "-b", "128", *arguments, "-f", archive]
    environment = {**os.environ, "LC_ALL": locale, "TZ": "UTC"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("locale", LOCALES)
@SLOW
@given(st.lists(st.tuples(paths, st.binary(max_size=600)), min_size=1, max_size=40))
def test_r7_names_are_bytes_for_gnu_tar(locale: str, files: list[tuple[bytes, bytes]]) -> None:
    members = [(b"data/%d/%b" % (number, name), data) for number, (name, data) in enumerate(files)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = folder / "0002.tar"
        archive.write_bytes(compose("archive", members, NOW, BLOCK).content)
        (folder / "out").mkdir()
        done = tar(archive, "-x", locale=locale, folder=folder / "out")
        assert done.returncode == 0, done.stderr
        assert not done.stderr.replace(b"tar: Ignoring unknown extended header keyword 'hdrcharset'\n", b"")
        assert dict(tree(folder / "out")) == dict(members)


@pytest.mark.parametrize("locale", LOCALES)
@SLOW
@given(st.lists(parts, min_size=1, max_size=20))
def test_r7_link_targets_are_bytes_for_gnu_tar(locale: str, targets: list[bytes]) -> None:
    attributes = [Attributes(LINK, 0o777, 0, target=b"/".join([target] * 3)) for target in targets]
    headers = [build_header(b"l%d" % number, 0, item) for number, item in enumerate(attributes)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.tar").write_bytes(b"".join(headers) + bytes(1024))
        assert tar(folder / "a.tar", "-x", locale=locale, folder=folder).returncode == 0
        found = [os.readlink(os.fsencode(folder / f"l{number}")) for number in range(len(targets))]
    assert found == [item.target for item in attributes]


_moments = st.one_of(st.integers(-2_000_000_000, 8_000_000_000).map(lambda s: s * 10**9), st.integers(0, 9 * 10**18))


@SLOW
@given(st.lists(st.tuples(_moments, st.integers(0, 2**32 - 2), st.integers(0, 0o7777)), min_size=1, max_size=30))
def test_r1_gnu_tar_restores_times_and_modes(facts: list[tuple[int, int, int]]) -> None:
    content = b"".join(
        build_header(b"d%d" % number, 0, Attributes(DIRECTORY, mode, mtime, owner, owner))
        for number, (mtime, owner, mode) in enumerate(facts)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.tar").write_bytes(content + bytes(1024))
        assert tar(folder / "a.tar", "-x", "-p", "--no-same-owner", locale="C", folder=folder).returncode == 0
        found = [os.stat(folder / f"d{number}") for number in range(len(facts))]
    assert [(item.st_mtime_ns, item.st_mode & 0o7777) for item in found] == [(mtime, mode) for mtime, _, mode in facts]


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 2**45, 2**62])
def test_r1_gnu_tar_lists_sizes_and_owners_of_any_size(tmp_path: Path, size: int) -> None:
    header = build_header(b"large", size, Attributes(FILE, 0o640, 1_500_000_000, 2**31, 2**32 - 2))
    (tmp_path / "a.tar").write_bytes(header)
    line = tar(tmp_path / "a.tar", "-tv", "--numeric-owner", "--full-time", locale="C").stdout
    assert line.decode().split() == [
        "-rw-r-----",
        f"{2**31}/{2**32 - 2}",
        str(size),
        "1970-01-01",
        "00:00:01.5",
        "large",
    ]


@SLOW
@given(st.lists(st.tuples(parts, st.binary(max_size=90_000)), min_size=1, max_size=6), st.data())
def test_r10_stock_tools_get_one_file_by_its_offset(files: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    members = [(b"data/%d/%b" % (number, name), content) for number, (name, content) in enumerate(files)]
    composed = compose("archive", members, NOW, BLOCK)
    number = data.draw(st.integers(0, len(members) - 1))
    block, rest = divmod(composed.members[number].offset, BLOCK)
    recipe = (
        f'dd if=0002.tar bs={BLOCK} skip={block} status=none | tail -c +{rest + 1} | tar -xOf - --occurrence=1 "$1"'
    )
    name = b"data/%d" % number
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "0002.tar").write_bytes(composed.content)
        command = ["sh", "-c", recipe, "sh", name]
        assert subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout == members[number][1]
