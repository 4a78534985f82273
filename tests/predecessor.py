"""Volumes as the predecessor wrote them: Python's ``tarfile`` for the inner tar, GNU tar for the outer one, blocks as
from ``dd bs=32k conv=sync`` for the catalog.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from papertape.tape.changer import Element, ElementKind
from papertape.tape.drive import Drive, Mark
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.volume import names
from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK, CATALOG_BLOCK, PredecessorHeading, PredecessorItem
from stories import noise

JOB = "004711123"
TAGS = ("H0C10001", "H0C20001")
HEADING = (
    "## Paper dump catalog:{job} (version: 20170221 on 20171003-0412)\n"
    "## This tape contains files as listed below:\n"
    "## item_index:tape_index:archive_index:data_md5:dir_path(host:fullpath)\n"
)
GENUINE = Path(__file__).parents[2] / "shared" / "data" / "predecessor" / "H0C10001"
WRITERS = [
    "made",
    pytest.param("genuine", marks=pytest.mark.skipif(not GENUINE.is_dir(), reason="only a made volume is here")),
]
FORMS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}


class Source(NamedTuple):
    """A data set: its name on the tape, and where it lies on disk."""

    name: bytes
    path: Path

    @property
    def md5(self) -> str:
        proof = self.path / "visdata" if self.path.is_dir() else self.path
        return hashlib.md5(proof.read_bytes()).hexdigest() if proof.is_file() else "0" * 32


def make_uv(path: Path, size: int = 3000, seed: int = 0) -> Path:
    """Make a MIRIAD data set with a ``visdata`` of so many bytes."""
    path.mkdir(parents=True)
    (path / "visdata").write_bytes(noise(size, seed))
    (path / "header").write_bytes(b"h" * 900)
    (path / "vartable").write_bytes(b"v" * 145)
    (path / "history").write_bytes(b"done\n" * seed)
    (path / "flags").touch()
    for number, part in enumerate([*sorted(path.iterdir()), path]):
        os.utime(path / part, ns=(10**18, 10**18 + number * 250_000_000))
    return path


def make_sources(folder: Path, count: int, size: int = 3000) -> list[Source]:
    """Make so many data sets, each with a ``visdata`` of its own."""
    night = [f"data1/2457{number // 100:03}/zen.2457{number:03}.uv" for number in range(count)]
    return [Source(f"pot1:/{name}".encode(), make_uv(folder / name, size, seed)) for seed, name in enumerate(night)]


def compose_lines(archives: Iterable[Iterable[tuple[bytes, str]]]) -> bytes:
    """Return the catalog's lines for archives of (name, md5)."""
    lines, number = [], 0
    for tape_index, archive in enumerate(archives):
        for archive_index, (name, md5) in enumerate(archive, 1):
            number += 1
            lines.append(b"%d:%d:%d:%b:%b\n" % (number, tape_index, archive_index, md5.encode(), name))
    return b"".join(lines)


def pad(content: bytes, size: int) -> bytes:
    return content + bytes(-len(content) % size)


def compose_catalog(archives: Iterable[Iterable[tuple[bytes, str]]], job: str = JOB) -> bytes:
    """Return tape file 0."""
    return pad(HEADING.format(job=job).encode() + compose_lines(archives), CATALOG_BLOCK)


def compose_inner(folder: str, sources: Sequence[Source], form: str = "pax") -> bytes:
    """Return the inner tar, as ``tarfile.add`` makes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMS[form]) as archive:
        for source in sources:
            archive.add(source.path, arcname=f"{folder}/{os.fsdecode(source.name)}")
    return buffer.getvalue()


def compose_list(number: int, sources: Sequence[Source]) -> bytes:
    return b"".join(b"%d:%d:%b\n" % (number, index, source.name) for index, source in enumerate(sources, 1))


def compose_outer(folder: Path, members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return what GNU tar writes to a tape when it is given these files, in blocks of 10 KiB."""
    for name, content in members:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    command = ["tar", "-b", "20", "--owner=root:0", "--group=root:0", "-cf", "-", *[name for name, _ in members]]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


class Form(NamedTuple):
    """In which of its ways the predecessor wrote an archive."""

    inner: str = "pax"
    listed: bool = True
    place: str = "shm"
    job: str = JOB  # of the archive, which may differ from the catalog's


LATEST = Form()


def compose_archive(folder: Path, number: int, sources: Sequence[Source], form: Form = LATEST) -> bytes:
    """Return tape file ``number`` + 1; ``folder`` is one to work in."""
    name = f"paper.{form.job}.{number}"
    place = "papertape/shm" if form.place == "shm" else f"papertape/queue/{form.job}"
    members = [(f"papertape/queue/{form.job}/{name}.file_list", compose_list(number, sources))] if form.listed else []
    members.append((f"{place}/{name}.tar", compose_inner(name, sources, form.inner)))
    return compose_outer(folder, members)


def compose_tape(folder: Path, archives: Sequence[Sequence[Source]], form: Form = LATEST) -> list[bytes]:
    """Return the tape files of a volume."""
    catalog = compose_catalog([[(source.name, source.md5) for source in archive] for archive in archives])
    return [catalog, *(compose_archive(folder, number, archive, form) for number, archive in enumerate(archives))]


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def lay_out(tape_files: Sequence[bytes]) -> list[bytes | Mark]:
    """Return the blocks and filemarks of a volume."""
    tape: list[bytes | Mark] = []
    for number, content in enumerate(tape_files):
        tape += [*cut(content, ARCHIVE_BLOCK if number else CATALOG_BLOCK), Mark.FILEMARK]
    return tape


class OldVolume(NamedTuple):
    """A volume of 600 data sets in archives of 159, 159, 159 and 123: its tape files, and how its catalog begins."""

    tape_files: list[bytes]
    heading: PredecessorHeading
    first: PredecessorItem


def write_old_volume(writer: str, folder: Path) -> OldVolume:
    """Return the volume that the predecessor's own program wrote, or one of the same form made in ``folder``."""
    if writer == "genuine":
        first = PredecessorItem(
            1, 0, 1, "09ea4f00e649d1226e6c4a0eed05c07b", names.Source.parse("pot1:/data1/2456000/zen.2456000.10000.uv")
        )
        heading = PredecessorHeading("000198851", "20170221", "20261122-0838")
        return OldVolume([path.read_bytes() for path in sorted(GENUINE.glob("*.bin"))], heading, first)
    sources = make_sources(folder / "disk", 600)
    tape_files = compose_tape(folder / "work", [sources[at : at + 159] for at in range(0, 600, 159)])
    heading = PredecessorHeading(JOB, "20170221", "20171003-0412")
    return OldVolume(
        tape_files, heading, PredecessorItem(1, 0, 1, sources[0].md5, names.Source.parse(os.fsdecode(sources[0].name)))
    )


def record(drive: Drive, tape: Sequence[bytes | Mark]) -> None:
    for item in tape:
        if isinstance(item, Mark):
            drive.write_filemark(flush=False)
        else:
            drive.write_block(memoryview(item))


@contextmanager
def mounted(folder: Path, **tapes: Sequence[bytes | Mark]) -> Iterator[list[Drive]]:
    """A library of two drives, with these recordings on volumes in the drives, rewound."""
    create_library(folder, volume_tags=list(tapes), capacity=2 * 10**9)
    library = VirtualLibrary(folder)
    drives: list[Any] = []
    for number, (tag, tape) in enumerate(tapes.items()):
        library.changer.move(Element(ElementKind.STORAGE, number + 1), Element(ElementKind.DRIVE, number))
        drives.append(library.drives[number].open(tag))
        drives[-1].load()
        record(drives[-1], tape)
        drives[-1].rewind()
    try:
        yield drives
    finally:
        for drive in drives:
            drive.close()
