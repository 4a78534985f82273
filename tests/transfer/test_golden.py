"""The bytes on tape are fixed: a dump of a fixed tree has the same digests, whatever changes in the code.

A new version of papertape changes the digests of the labels, the plan and the catalog, which contain its number, and
not those of the archives. To renew the values, copy them from the message of the failed test.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from papertape.events import tell_all
from papertape.plan import Volume, plan_batch
from papertape.tape.drive import Drive, Mark
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.transfer.source import scan
from papertape.transfer.stop import Stop
from papertape.transfer.write import write_volumes

KIB, MIB = 1 << 10, 1 << 20
CREATED = datetime(2024, 5, 17, 3, 4, 5, tzinfo=UTC)
VOLUMES = {"PAPR1001": "0b7f0d3e-5f5b-4c62-9d8e-1c1f0a3b5d01", "PAPR1002": "0b7f0d3e-5f5b-4c62-9d8e-1c1f0a3b5d02"}
VISDATA = b"zen.2458042.12552.uv/visdata"

FILES = {
    b"zen.2458042.12552.uv/header": 1000,
    b"zen.2458042.12552.uv/vartable": 512,
    b"zen.2458042.12552.uv/flags": 511,
    VISDATA: 300 * KIB + 7,
    b"odd/empty": 0,
    b"odd/caf\xe9": 513,
    "odd/観測".encode(): 1,
    b'odd/new\nline, "quoted" \\ back': 70_000,
    b"odd/" + b"n" * 120: 5,
    b"odd/" + b"/".join([b"deep" * 20 + b"\xff"] * 4) + b"/" + b"f" * 200: 6,
    b"single": 3 * MIB + 1,
}
LINKS = {b"odd/link": b"empty", b"odd/nowhere": b"../" + b"t\xe4rget" * 20}
DATASETS = (b"zen.2458042.12552.uv", b"odd", b"single")
MODES = (0o644, 0o755, 0o600, 0o4755, 0o1777)
MTIMES = (1_700_000_000_000_000_000, 1_700_000_000_123_456_789, 0, -1_500_000_000, 2_000_000_000_000_000_001)

# The labels of both twins, then what they have in common: the plan, two archives, the catalog.
GOLDEN = {
    64 * KIB: [
        "0a30230fb8e4bca54f1feabf4821bc15ad4b2cfc1ead1edfc9c7a680f6f9c852",
        "729ca63f8dd46c6f737fcfb357ff57887f10a353f6349e56c38ba47da37260d3",
        "a88e509d99dcf3a2aecbf2c699c869c342ef3dd338121a963079c26ba9e2ffc1",
        "a24f6f5a7881d9884f55af52705ba51f4c40460379aaa01de84e8dce5469aab0",
        "5fae205e8516d351d3028661c4d18dc8673ed197f513ebc5097bb7147e5dc280",
        "a2a2f3d496bdb38c57f9bd7083078e2393226be69eabc84a83fb9de518618e60",
    ],
    MIB: [
        "cc67848842df7f25bcf7091d6ac1bd830affc2088e5529e8cc3a276e2f8c6440",
        "44583acd846f520c6086fa19934b476b6c7e48e74cfdb4bd8c81303497d3c672",
        "48ec3ff1f6ed08bde8f6da20e32d49a36e7736253616887c171cf9a8b28345bb",
        "028f02d6aa01092a321203936c83466980e58cd253bc5444d788cd97519e682c",
        "415daef3cce0eb5288fcab677cde22ab97a2b61edfe7468b788db6aa4e7dced6",
        "f1f3c792abfdf872106200b32b0a9d43ad737b21c514628304ece671a91a6272",
    ],
}
# The same without the catalog, which quotes the reason, of a dump that rejects the first data set.
REJECTED = [
    "cc67848842df7f25bcf7091d6ac1bd830affc2088e5529e8cc3a276e2f8c6440",
    "44583acd846f520c6086fa19934b476b6c7e48e74cfdb4bd8c81303497d3c672",
    "ec8764821974d62da5f7d0cdf4d285390fa5b74cd1de62f7d4acad2361cf63e9",
    "a6e3000e17f9ff3657afeeeb5291168bcea1518a8555f22bf1f50c97dc9acd16",
    "415daef3cce0eb5288fcab677cde22ab97a2b61edfe7468b788db6aa4e7dced6",
]


def content(name: bytes) -> bytes:
    return hashlib.shake_256(name).digest(FILES[name])


def make_tree(folder: Path) -> None:
    """Make all data sets in the new ``folder``, with modes and modification times from the lists above in turn."""
    for name in FILES:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))
    (folder / "odd" / "no files").mkdir()
    for name, target in LINKS.items():
        (folder / os.fsdecode(name)).symlink_to(os.fsdecode(target))
    for number, path in enumerate(sorted(folder.rglob("*"), key=os.fsencode)):
        if not path.is_symlink():
            mode = MODES[number % len(MODES)]
            path.chmod(mode | 0o700 if path.is_dir() else mode)
        mtime = MTIMES[number % len(MTIMES)]
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


def write_tape_files(folder: Path, block_size: int, md5: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the tree to two volumes; return the digests of both labels, then of the tape files that they share.

    The sources are below /proc/self/cwd: these absolute paths are the same for every test folder. Their owners are
    replaced in the answers of ``lstat``: they are the same for every user.
    """
    lstat = os.lstat

    def lstat_of_root(path: Any, **options: Any) -> os.stat_result:
        _, (fields, more) = lstat(path, **options).__reduce__()
        owner = 3_000_001 if os.fsencode(path).endswith(VISDATA) else 0  # 3,000,001 does not fit a ustar header
        return os.stat_result((*fields[:4], owner, owner, *fields[6:]), more)

    make_tree(folder / "tree")
    create_library(folder / "library", volume_tags=list(VOLUMES), capacity=10**9)
    virtual = VirtualLibrary(folder / "library")
    library = Library(virtual.changer, virtual.drives, folder / "locks", tell_all())
    monkeypatch.chdir(folder / "tree")
    monkeypatch.setattr(os, "lstat", lstat_of_root)
    uv, *others = [scan("golden", b"/proc/self/cwd/" + name) for name in DATASETS]
    volumes = [
        Volume(tag=tag, uuid=uuid, copy=copy, capacity=10**9) for copy, (tag, uuid) in enumerate(VOLUMES.items(), 1)
    ]
    batch = plan_batch("golden", [uv._replace(md5=md5), *others], volumes, archive_size=MIB, block_size=block_size)
    assert len(batch.archives) == 2
    with library.reserve(2) as session, session.mounted(list(VOLUMES)) as drives:
        writing = write_volumes(
            batch,
            drives,
            spool=folder / "spool",
            ring=8 * MIB,
            created=CREATED,
            tell=tell_all(),
            stop=Stop(),
        )
        first, second = (digest_tape_files(drive, block_size) for drive in drives)
    assert [copy.error for copy in writing.copies] == [None, None]
    assert first[1:] == second[1:]
    return [first[0], *second]


def digest_tape_files(drive: Drive, block_size: int) -> list[str]:
    """Return the SHA-256 of each tape file in the drive, whose blocks all have ``block_size`` bytes."""
    digests, digest, buffer = [], hashlib.sha256(), memoryview(bytearray(2 * block_size))
    drive.rewind()
    while (found := drive.read_block(buffer)) is not Mark.END_OF_DATA:
        if found is Mark.FILEMARK:
            digests.append(digest.hexdigest())
            digest = hashlib.sha256()
        else:
            assert found == block_size
            digest.update(buffer[:found])
    return digests


@pytest.mark.parametrize("block_size", GOLDEN)
def test_every_byte_on_tape_is_as_it_was(tmp_path: Path, block_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = hashlib.md5(content(VISDATA)).hexdigest()
    found = write_tape_files(tmp_path, block_size, md5, monkeypatch)
    assert found == GOLDEN[block_size], f"the bytes on tape changed; the new digests are {found}"


def test_a_rejected_data_set_is_on_tape_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = write_tape_files(tmp_path, MIB, "0" * 32, monkeypatch)[:-1]
    assert found == REJECTED, f"the bytes on tape changed; the new digests are {found}"
