"""Plans: pure decisions, and an estimate that bounds what is written."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.events import tell_all
from papertape.plan import Batch, DataSet, Volume, plan_batch
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, create_library
from papertape.transfer.source import scan
from papertape.transfer.stop import Stop
from papertape.transfer.write import Writing, write_volumes
from papertape.volume.catalogcheck import load_catalog
from papertape.volume.names import Source, quote

BLOCK = 64 * 1024
CAPACITY = 100_000_000
NOW = datetime(2024, 5, 17, 3, 4, 5, tzinfo=UTC)

_facts = st.tuples(st.integers(512, 3_000_000) | st.integers(512, 2 * CAPACITY), st.integers(100, 100_000))
archive_sizes = st.integers(1, CAPACITY)
block_sizes = st.sampled_from([BLOCK, 1 << 20])


def dataset(number: int, tape_bytes: int, catalog_bytes: int = 500) -> DataSet:
    return DataSet(
        source=Source("pot1", b"/data/zen.%06d" % number),
        kind="file",
        files=1,
        size=tape_bytes - 512,
        tape_bytes=tape_bytes,
        catalog_bytes=catalog_bytes,
        fingerprint="f" * 64,
    )


pending_lists = st.lists(_facts, max_size=60).map(
    lambda facts: [dataset(number, *fact) for number, fact in enumerate(facts)]
)


def pair(*capacities: int) -> list[Volume]:
    return [Volume(f"PAPR{n}001", f"uuid-{n}", n, capacity) for n, capacity in enumerate(capacities, 1)]


def plan(pending: list[DataSet], archive_size: int = CAPACITY, block_size: int = BLOCK) -> Batch:
    return plan_batch("d1", pending, pair(CAPACITY, 2 * CAPACITY), archive_size=archive_size, block_size=block_size)


def planned(batch: Batch) -> list[DataSet]:
    return list(itertools.chain.from_iterable(batch.archives))


def total(archive: tuple[DataSet, ...]) -> int:
    return sum(item.tape_bytes for item in archive)


@settings(deadline=None)
@given(pending_lists, archive_sizes, block_sizes)
def test_each_data_set_is_planned_refused_or_left_for_later_in_the_labs_order(
    pending: list[DataSet], archive_size: int, block_size: int
) -> None:
    batch = plan(pending, archive_size, block_size)
    refused = [item for item, _ in batch.refused]
    looked_at = pending[: len(refused) + len(planned(batch))]
    assert sorted(planned(batch) + refused) == sorted(looked_at)
    assert planned(batch) == [item for item in pending if item in planned(batch)]
    assert refused == [item for item in pending if item in refused]


@settings(deadline=None)
@given(pending_lists, archive_sizes, block_sizes)
def test_an_archive_keeps_to_its_size_and_a_larger_data_set_stands_alone(
    pending: list[DataSet], archive_size: int, block_size: int
) -> None:
    batch = plan(pending, archive_size, block_size)
    assert all(batch.archives)
    assert all(total(archive) <= archive_size or len(archive) == 1 for archive in batch.archives)
    for archive, following in itertools.pairwise(batch.archives):
        assert total(archive) + following[0].tape_bytes > archive_size


@settings(deadline=None)
@given(pending_lists, archive_sizes, block_sizes)
def test_a_hundredth_of_the_smaller_volume_stays_free(
    pending: list[DataSet], archive_size: int, block_size: int
) -> None:
    batch = plan(pending, archive_size, block_size)
    assert batch.tape_bytes <= CAPACITY - CAPACITY // 100
    assert batch.tape_bytes > sum(item.tape_bytes + item.catalog_bytes for item in planned(batch))


@settings(deadline=None)
@given(pending_lists, archive_sizes)
def test_data_sets_left_for_later_would_not_have_fitted(pending: list[DataSet], archive_size: int) -> None:
    batch = plan(pending, archive_size)
    taken = len(batch.refused) + len(planned(batch))
    if taken < len(pending):
        item = pending[taken]
        assert batch.tape_bytes + item.tape_bytes + item.catalog_bytes + 2 * BLOCK > CAPACITY - CAPACITY // 100
        later = plan(pending[taken:], archive_size)
        assert later.archives or later.refused


@given(pending_lists)
def test_only_what_no_empty_volume_could_hold_is_refused_and_by_name(pending: list[DataSet]) -> None:
    batch = plan(pending)
    for item, reason in batch.refused:
        assert reason == f"its {item.tape_bytes} bytes are more than a volume of {CAPACITY} bytes holds"
        assert not planned(plan([item]))
    for item in planned(batch):
        assert plan([item]).archives == ((item,),)


def test_planning_continues_after_a_refused_data_set() -> None:
    batch = plan([dataset(0, 1024), dataset(1, CAPACITY), dataset(2, 1024)])
    assert planned(batch) == [dataset(0, 1024), dataset(2, 1024)]
    assert [item for item, _ in batch.refused] == [dataset(1, CAPACITY)]


def test_a_smaller_data_set_does_not_overtake() -> None:
    pending = [dataset(0, CAPACITY // 2), dataset(1, CAPACITY // 2), dataset(2, 1024)]
    assert planned(plan(pending)) == pending[:1]


def test_nothing_pending_is_an_empty_batch() -> None:
    batch = plan([])
    assert (batch.archives, batch.refused) == ((), ())


def test_a_plan_takes_no_more_from_the_pending_than_it_needs() -> None:
    endless = map(dataset, itertools.count(), itertools.repeat(CAPACITY // 10))
    batch = plan_batch("d1", endless, pair(CAPACITY), archive_size=CAPACITY, block_size=BLOCK)
    assert len(planned(batch)) == 9
    assert next(endless) == dataset(10, CAPACITY // 10)


def test_a_source_names_its_host_and_path() -> None:
    item = dataset(0, 1024)._replace(source=Source.parse("pot1:" + quote(b"/data/a:b\xff")))
    assert (item.source.host, item.source.path) == ("pot1", b"/data/a:b\xff")


def write(batch: Batch, folder: Path) -> Writing:
    """Write ``batch`` to a virtual library in ``folder``."""
    tags = [volume.tag for volume in batch.volumes]
    create_library(folder / "library", volume_tags=tags, capacity=10**9)
    virtual = VirtualLibrary(folder / "library")
    library = Library(virtual.changer, virtual.drives, folder / "locks", tell_all())
    with library.reserve(2) as session, session.mounted(tags) as drives:
        return write_volumes(
            batch, drives, spool=folder / "spool", ring=64 << 20, created=NOW, tell=tell_all(), stop=Stop()
        )


def check_estimate(folder: Path, paths: list[bytes], archive_size: int = 10**9, block_size: int = BLOCK) -> None:
    """Write the data sets at ``paths``: it must not take more than was planned, nor much less."""
    pending = [scan("pot1", path) for path in paths]
    batch = plan_batch("d1", pending, pair(10**9, 10**9), archive_size=archive_size, block_size=block_size)
    assert planned(batch) == pending
    writing = write(batch, folder)
    assert not writing.rejected
    assert [copy.error for copy in writing.copies] == [None, None]
    assert writing.catalog
    load_catalog(writing.catalog.folder, "PAPR1001")
    for copy in writing.copies:
        assert copy.bytes <= batch.tape_bytes
        assert copy.bytes >= batch.tape_bytes * 2 // 3 - 10 * block_size - 2**17


def make_files(folder: Path, names: list[bytes], size: int) -> list[bytes]:
    folder.mkdir(parents=True)
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x" * size)
    return [os.fsencode(folder) + b"/" + name for name in names]


LONG = 240
KINDS = {
    "plain": b"p",
    "latin1": b"\xe9",
    "utf8": "é".encode(),
    "cjk": "観".encode(),
    "quotes": b'"',
    "backslashes": b"\\",
    "newlines": b"\n",
    "commas": b",",
    "escaped": "\u00a0".encode(),
}


def deep(folder: Path, piece: bytes) -> Path:
    """Return a path far below ``folder``, made of ``piece`` again and again."""
    part = os.fsdecode(piece * (LONG // len(piece)))
    return folder.joinpath("data", part, part, part, part)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 513])
def test_the_estimate_bounds_many_small_data_sets_with_long_names(tmp_path: Path, kind: str, size: int) -> None:
    piece = KINDS[kind]
    names = [b"%04d" % number + piece * (LONG // len(piece)) for number in range(80)]
    check_estimate(tmp_path, make_files(deep(tmp_path, piece), names, size))


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_bounds_one_data_set_of_many_files(tmp_path: Path, kind: str) -> None:
    piece = KINDS[kind]
    folder = deep(tmp_path, piece)
    make_files(folder, [b"%04d" % number + piece * (LONG // len(piece)) for number in range(100)], 10)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("t" * 400)
    check_estimate(tmp_path, [os.fsencode(tmp_path / "data")])


@pytest.mark.parametrize("block_size", [BLOCK, 1 << 20])
def test_the_estimate_bounds_many_archives(tmp_path: Path, block_size: int) -> None:
    paths = make_files(tmp_path / "data", [b"%04d" % number for number in range(60)], 1000)
    check_estimate(tmp_path, paths, archive_size=1, block_size=block_size)


def test_the_estimate_bounds_times_before_1970_and_after_2242(tmp_path: Path) -> None:
    paths = make_files(tmp_path / "data", [b"%04d" % number for number in range(200)], 1)
    for number, path in enumerate(paths):
        moment = (-1 if number % 2 else 10**10) * 10**9 + 1
        os.utime(path, ns=(moment, moment))
    check_estimate(tmp_path, paths)
