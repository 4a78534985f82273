"""Getting everything back with stock tools, from the virtual cartridge's own files and from raw blocks."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from stories import BLOCK, Lab, noise

from .conftest import MakeLab

NAMES = (
    b"plain",
    b"a blank",
    b"a\nnewline",
    b"back\\slash",
    b"not utf-8 \xe9\xff",
    "ünïcode 望遠鏡".encode(),
    b"long-" + b"x" * 240,
    b"-rf",
    b"quote ' and \"",
)


def run(*command: str | bytes | Path, cwd: Path) -> bytes:
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def make_odd_tree(folder: Path) -> list[Path]:
    """Files and a directory with whatever Linux lets be in them."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(noise(10_000 * number, number))
        Path(os.fsdecode(path)).chmod((0o600, 0o644, 0o755, 0o400)[number % 4])
        os.utime(path, ns=(0, 1_420_000_000_123_456_789 + number))
    tree = folder / "tree.uv"
    deep = tree / "deep" / "er"
    deep.mkdir(parents=True)
    (tree / "empty folder").mkdir(mode=0o750)
    (deep / "empty").touch()
    (deep / "old").write_bytes(b"before the epoch")
    os.utime(deep / "old", ns=(0, -86_400 * 10**9))
    (tree / "link").symlink_to("deep/er/empty")
    (tree / "broken link").symlink_to(os.fsdecode(b"nowhere \xff\n"))
    shutil.copytree(folder, tree / "again", symlinks=True, ignore=shutil.ignore_patterns("tree.uv"))
    return [folder / os.fsdecode(name) for name in os.listdir(folder)]


def facts(path: bytes) -> tuple[object, ...]:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISLNK(kind):
        return kind, os.readlink(path)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(kind):
        return kind, mode, sorted(os.listdir(path))
    with open(path, "rb") as file:
        return kind, mode, status.st_mtime_ns, file.read()


def walk(root: bytes) -> dict[bytes, tuple[object, ...]]:
    if not Path(os.fsdecode(root)).is_dir():
        return {b"": facts(root)}
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (b"", *folders, *files):
            path = os.path.join(folder, name)
            found[path[len(root) :]] = facts(path)
    return found


@pytest.fixture
def archived(new_lab: MakeLab, observations: list[Path], tmp_path: Path) -> tuple[Lab, list[Path]]:
    lab = new_lab()
    paths = [*make_odd_tree(tmp_path / "odd"), *observations]
    lab.add(*paths)
    outcome = lab.dump()
    assert (outcome.error, outcome.rejected) == (None, ())
    return lab, paths


def restore(lab: Lab, tag: str, folder: Path) -> None:
    """The recipe of the label's README, archive after archive, each checked with sha256sum."""
    folder.mkdir()
    for path in lab.tape_files(tag)[2:]:
        run("tar", "-b", str(BLOCK // 512), "-xpf", path, cwd=folder)
        run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=folder)


@pytest.mark.parametrize("tag", ["PAPR1001", "PAPR2001"])
def test_stock_tar_and_sha256sum_give_back_every_byte_name_mode_and_time(
    archived: tuple[Lab, list[Path]], tag: str, tmp_path: Path
) -> None:
    lab, paths = archived
    restore(lab, tag, tmp_path / "restored")
    root = os.fsencode(tmp_path / "restored" / "data" / "correlator")
    for path in paths:
        assert walk(root + os.fsencode(path)) == walk(os.fsencode(path))


def test_tar_lists_every_tape_file_without_a_word_of_complaint(
    archived: tuple[Lab, list[Path]], tmp_path: Path
) -> None:
    lab, _ = archived
    files = lab.tape_files("PAPR1001")
    listings = [run("tar", "-b", str(BLOCK // 512), "-tf", path, cwd=tmp_path).split() for path in files]
    assert listings[0] == [b"README.txt", b"volume.json"]
    assert listings[1] == [b"plan.json", b"plan.csv"]
    assert listings[-1] == [b"catalog.json", b"datasets.csv", b"files.csv", b"SHA256SUMS"]
    for listing in listings[2:-1]:
        assert listing[-1] == b"SHA256SUMS"


def test_every_block_is_whole_and_dd_and_tar_read_the_raw_blocks(
    archived: tuple[Lab, list[Path]], tmp_path: Path
) -> None:
    lab, _ = archived
    (tmp_path / "raw").mkdir()
    for path in lab.tape_files("PAPR2001"):
        assert path.stat().st_size % BLOCK == 0
        piped = subprocess.run(
            f"dd if='{path}' bs={BLOCK} status=none | tar -b {BLOCK // 512} -xf -",
            shell=True,
            cwd=tmp_path / "raw",
            capture_output=True,
            check=False,
        )
        assert piped.returncode == 0, piped.stderr
    # sha256sum -c of the catalog, which was extracted last
    run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=tmp_path / "raw")


def test_one_file_is_restored_from_its_offset_as_the_readme_says(
    archived: tuple[Lab, list[Path]], tmp_path: Path
) -> None:
    lab, paths = archived
    path = next(path for path in paths if path.name.startswith("ünï"))
    (found,) = lab.ledger.search.find(f"*/odd/{path.name}")
    assert found.tape_file is not None
    assert found.offset is not None
    block, rest = divmod(found.offset, BLOCK)
    name = f"data/correlator{path}"
    command = (
        f"dd if='{lab.tape_files('PAPR1001')[found.tape_file]}' bs={BLOCK} skip={block} status=none"
        f" | tail -c +{rest + 1} | tar -xpf - --occurrence=1 '{name}'"
    )
    (tmp_path / "one").mkdir()
    subprocess.run(command, shell=True, cwd=tmp_path / "one", check=False, capture_output=True)
    assert (tmp_path / "one" / name).read_bytes() == path.read_bytes()
