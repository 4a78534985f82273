"""Damage to cartridges: the files of a virtual one, changed by hand."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from papertape.events import tell_all
from papertape.tape.drive import Mark
from papertape.tape.virtual.faults import Faults
from papertape.volume.names import quote
from stories import BLOCK, Lab


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Change one byte of a file, and nothing else."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def operate(cartridge: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the cartridge's record."""
    path = cartridge / "cartridge.json"
    record = msgspec.json.decode(path.read_bytes())
    change(record)
    path.write_bytes(msgspec.json.encode(record))


def set_runs(cartridge: Path, tape_file: int, *runs: tuple[int, int]) -> None:
    """Say that the tape file consists of ``runs`` of so many bytes, so many times."""
    operate(cartridge, lambda record: record["tape_files"][tape_file].update(runs=runs))


def cut(path: Path) -> None:
    """Take the last block of a tape file away."""
    blocks = path.stat().st_size // BLOCK - 1
    with path.open("r+b") as file:
        file.truncate(blocks * BLOCK)
    set_runs(path.parent, int(path.stem), *([(BLOCK, blocks)] if blocks else []))


def lengthen(path: Path) -> None:
    """Write one block more at the end of a tape file."""
    with path.open("ab") as file:
        file.write(bytes(BLOCK))
    set_runs(path.parent, int(path.stem), (BLOCK, path.stat().st_size // BLOCK))


def remove(path: Path) -> None:
    """Take a tape file out, so that those behind it move up."""
    number = int(path.stem)
    operate(path.parent, lambda record: record["tape_files"].pop(number))
    path.unlink()
    for behind in sorted(path.parent.glob("*.tar")):
        if int(behind.stem) > number:
            behind.rename(behind.with_name(f"{int(behind.stem) - 1:04}.tar"))


def append(path: Path) -> None:
    """Write a copy of a tape file behind the last one."""
    number = len(list(path.parent.glob("*.tar")))
    path.with_name(f"{number:04}.tar").write_bytes(path.read_bytes())
    operate(path.parent, lambda record: record["tape_files"].append(record["tape_files"][int(path.stem)]))


def swap(one: Path, other: Path) -> None:
    """Exchange two tape files."""

    def exchange(record: dict[str, Any]) -> None:
        files, first, second = record["tape_files"], int(one.stem), int(other.stem)
        files[first], files[second] = files[second], files[first]

    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    operate(one.parent, exchange)


def record(lab: Lab, tag: str, *items: bytes | Mark) -> None:
    """Write blocks and filemarks to a volume, as somebody else would."""
    library = lab.library(tell_all(), Faults())
    with library.reserve() as session, session.mounted([tag]) as (drive,):
        for item in items:
            if isinstance(item, Mark):
                drive.write_filemark(flush=True)
            else:
                drive.write_block(memoryview(item))


class Place(NamedTuple):
    """A stretch of a tape file: a member's ``header`` or ``data``, or the ``filling`` that belongs to none."""

    kind: str
    path: Path
    start: int
    end: int
    member: str | None


def dissect(path: Path) -> list[Place]:
    """Say, with Python's tarfile, what lies where in a tape file."""
    places = []
    with tarfile.open(path, "r:", errors="surrogateescape") as archive:
        for member in archive:
            name = quote(member.name.encode("utf-8", "surrogateescape"))
            end = member.offset_data + member.size
            places.append(Place("header", path, member.offset, member.offset_data, name))
            places.append(Place("data", path, member.offset_data, end, name))
            places.append(Place("filling", path, end, -(-end // 512) * 512, None))
    end = places[-1].end
    places.append(Place("filling", path, end, path.stat().st_size, None))
    return [place for place in places if place.start < place.end]
