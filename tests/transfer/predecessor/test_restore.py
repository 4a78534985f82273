"""Data sets come back from the predecessor's volumes, proven where the tape has a proof."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transfer.tapes import MemoryDrive

from papertape.errors import Obstacle
from papertape.events import tell_all
from papertape.tape.drive import Mark
from papertape.transfer.destination import Destination
from papertape.transfer.predecessor.restore import PredecessorExtract, holds_predecessor, restore_predecessor
from papertape.transfer.restore import Extraction
from papertape.transfer.stop import Stop
from papertape.volume.predecessor.catalog import PredecessorCatalog, parse_predecessor_catalog
from predecessor import (
    LATEST,
    TAGS,
    Form,
    OldVolume,
    Source,
    compose_tape,
    lay_out,
    make_sources,
    mounted,
)

TAG = TAGS[0]
FORMS = [Form(), Form("gnu"), Form(listed=False), Form(place="queue"), Form("gnu", listed=False, place="queue")]


class Volume(NamedTuple):
    """Six archives of four data sets."""

    sources: list[Source]
    tape_files: list[bytes]
    catalog: PredecessorCatalog

    def extracts(self, destination: Destination, *numbers: int) -> list[PredecessorExtract]:
        items = [self.catalog.items[number] for number in numbers or range(len(self.catalog.items))]
        return [
            PredecessorExtract(
                str(item.source),
                item.tape_index + 1,
                item.name,
                item.md5,
                partial(destination.begin, str(item.source), item.source.host, item.source.path),
            )
            for item in items
        ]


def make_volume(folder: Path, form: Form = LATEST) -> Volume:
    sources = make_sources(folder / "disk", 24)
    archives = [sources[at : at + 4] for at in range(0, 24, 4)]
    tape_files = compose_tape(folder, archives, form)
    return Volume(sources, tape_files, parse_predecessor_catalog(tape_files[0], TAG))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return make_volume(tmp_path_factory.mktemp("predecessor"))


def restore(tape: Sequence[bytes | Mark], volume: Volume, extracts: list[PredecessorExtract]) -> Extraction:
    drive = MemoryDrive(0)
    drive.tape = list(tape)
    extraction = restore_predecessor(TAG, volume.catalog.sha256, extracts, drive, tell=tell_all(), stop=Stop())
    for extract in extracts:
        if not extract.lost and not extract.obstacle:
            extract.end()
    return extraction


def back(to: Path, source: Source) -> Path:
    host, _, path = source.name.decode().partition(":/")
    return to / host / path


def describe(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns // 10**9,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def check_back(to: Path, *sources: Source) -> None:
    for source in sources:
        assert describe(back(to, source)) == describe(source.path)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_everything_comes_back(tmp_path: Path, form: Form) -> None:
    volume = make_volume(tmp_path, form)
    with Destination(tmp_path / "back") as destination:
        extracts = volume.extracts(destination)
        extraction = restore(lay_out(volume.tape_files), volume, extracts)
        assert (extraction.findings, [extract.lost for extract in extracts]) == ([], [False] * 24)
        check_back(tmp_path / "back", *volume.sources)
        assert all(holds_predecessor(extract) for extract in volume.extracts(destination))
    assert sum(extract.files for extract in extracts) == 24 * 5


def test_of_an_archive_only_what_is_needed_is_read(volume: Volume, tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "library", **{TAG: lay_out(volume.tape_files)}) as (drive,),
        Destination(tmp_path / "back") as destination,
    ):
        (extract,) = volume.extracts(destination, 16)
        extraction = restore_predecessor(TAG, volume.catalog.sha256, [extract], drive, tell=tell_all(), stop=Stop())
        extract.end()
    assert (extraction.findings, extraction.locates) == ([], 1)
    assert extraction.bytes < len(volume.tape_files[0]) + len(volume.tape_files[5])
    check_back(tmp_path / "back", volume.sources[16])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_visdata_with_a_flipped_byte_never_gets_the_name(
    volume: Volume, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    number, victim = chance.randrange(1, 7), chance.randrange(4)
    content = bytearray(volume.tape_files[number])
    source = volume.sources[(number - 1) * 4 + victim]
    visdata = (source.path / "visdata").read_bytes()
    content[content.index(visdata) + chance.randrange(len(visdata))] ^= 1 << chance.randrange(8)
    tape = lay_out([*volume.tape_files[:number], bytes(content), *volume.tape_files[number + 1 :]])
    to = tmp_path_factory.mktemp("back")
    with Destination(to) as destination:
        extracts = volume.extracts(destination)
        extraction = restore(tape, volume, extracts)
    lost = [extract.name for extract in extracts if extract.lost]
    assert lost == [source.name]
    assert extraction.findings[0].member == source.name.decode()
    assert not back(to, source).exists()
    check_back(to, *[each for each in volume.sources if each != source])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_whatever_is_wrong_with_the_tape_nothing_wrong_is_proven(
    volume: Volume, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    tape_files = [bytearray(content) for content in volume.tape_files]
    for _ in range(chance.randrange(1, 4)):
        content = chance.choice(tape_files[1:])
        at = chance.randrange(len(content) // 512) * 512
        content[at : at + 512] = chance.randbytes(512)
    tape = lay_out([bytes(content) for content in tape_files])
    del tape[chance.randrange(len(tape) // 2, len(tape)) :]
    to = tmp_path_factory.mktemp("back")
    with Destination(to / "in") as destination:
        extracts = volume.extracts(destination)
        restore(tape, volume, extracts)
    assert [path.name for path in to.iterdir()] == ["in"]
    for source, extract in zip(volume.sources, extracts, strict=True):
        if back(to / "in", source).exists():
            assert not extract.lost
            assert (back(to / "in", source) / "visdata").read_bytes() == (source.path / "visdata").read_bytes()


def test_each_lost_data_set_has_the_finding_that_cost_it(volume: Volume, tmp_path: Path) -> None:
    content = bytearray(volume.tape_files[1])
    content[content.index((volume.sources[1].path / "visdata").read_bytes())] ^= 1
    tape = lay_out([volume.tape_files[0], bytes(content), *volume.tape_files[2:]])
    drive = MemoryDrive(0)
    drive.tape = tape[: tape.index(Mark.FILEMARK, tape.index(Mark.FILEMARK) + 1) + 1]  # one archive of six
    with Destination(tmp_path / "back") as destination:
        extracts = volume.extracts(destination, 0, 1, 4)
        extraction = restore_predecessor(TAG, volume.catalog.sha256, extracts, drive, tell=tell_all(), stop=Stop())
    found = [item.lost and (item.lost.finding.kind, item.lost.finding.member) for item in extraction.extracted]
    names = [source.name.decode() for source in volume.sources]
    assert found == [None, ("DigestMismatch", names[1]), ("FileMissing", names[4])]


def test_the_catalog_of_another_dump_ends_it(volume: Volume, tmp_path: Path) -> None:
    other = bytearray(volume.tape_files[0])
    other[30] ^= 1
    with Destination(tmp_path / "back") as destination:
        extracts = volume.extracts(destination, 3)
        extraction = restore(lay_out([bytes(other), *volume.tape_files[1:]]), volume, extracts)
    assert [finding.kind for finding in extraction.findings] == ["WrongVolume"]
    assert extracts[0].lost


def test_a_different_file_is_in_the_way(volume: Volume, tmp_path: Path) -> None:
    mine = back(tmp_path / "back", volume.sources[0])
    mine.mkdir(parents=True)
    (mine / "visdata").write_bytes(b"mine")
    with Destination(tmp_path / "back") as destination:
        (extract,) = volume.extracts(destination, 0)
        with pytest.raises(Obstacle, match="not the same"):
            holds_predecessor(extract)
        restore(lay_out(volume.tape_files), volume, [extract])
        assert isinstance(extract.obstacle, Obstacle)
    assert (mine / "visdata").read_bytes() == b"mine"


def test_a_volume_of_600_data_sets_comes_back(old_volume: OldVolume, tmp_path: Path) -> None:
    tape_files = old_volume.tape_files
    volume = Volume([], tape_files, parse_predecessor_catalog(tape_files[0], TAG))
    with Destination(tmp_path / "back") as destination:
        extracts = volume.extracts(destination)
        extraction = restore(lay_out(tape_files), volume, extracts)
        assert (extraction.findings, sum(extract.lost for extract in extracts)) == ([], 0)
        assert all(holds_predecessor(extract) for extract in volume.extracts(destination))
    assert len(list((tmp_path / "back").rglob("visdata"))) == 600
