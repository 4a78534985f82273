"""Lanes: the right digest of every file, however it is cut and whatever lane it is in."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.transfer.hashing import CHANGE_AFTER, Digest, Job, Lanes
from papertape.transfer.ring import Block


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """``data`` in pieces; at least one, and none empty but of empty data."""
    ends = sorted({place % len(data) for place in places} - {0}) if data else []
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    files=st.lists(st.tuples(st.binary(max_size=300), st.lists(st.integers(0, 299), max_size=6)), max_size=12),
    count=st.integers(1, 4),
)
@settings(max_examples=50, deadline=None)
def test_lanes_give_the_right_digests_for_any_cutting(files: list[tuple[bytes, list[int]]], count: int) -> None:
    released: list[Block] = []
    lanes = Lanes(released.append, count)
    pairs = [(lanes.start("sha256", len(data)), lanes.start("md5", len(data))) for data, _ in files]
    posted = 0
    for (data, places), digests in zip(files, pairs, strict=True):
        posted += post_all(lanes, cut(data, places), digests)
    lanes.drain(lambda: None)
    assert [(sha.value, md5.value) for sha, md5 in pairs] == [
        (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()) for data, _ in files
    ]
    assert len(released) == posted
    lanes.close()


def post_all(lanes: Lanes, pieces: list[bytes], digests: Sequence[Digest]) -> int:
    for number, piece in enumerate(pieces, 1):
        for digest in digests:
            block = Block(memoryview(bytearray(piece)))
            jobs: list[Job] = [(digest, block.view, number == len(pieces))]
            lanes.post(digest.lane, block, jobs)
    return len(pieces) * len(digests)


def test_work_goes_to_the_lane_with_the_least_to_do() -> None:
    lanes = Lanes(lambda _: None, 3)
    sizes = [CHANGE_AFTER * times for times in (10, 2, 2, 2, 2, 9)]
    assert [lanes.start("sha256", size).lane for size in sizes] == [0, 1, 2, 1, 2, 1]
    lanes.close()


def test_small_files_stay_in_one_lane_for_a_while() -> None:
    lanes = Lanes(lambda _: None, 2)
    chosen = [lanes.start("sha256", CHANGE_AFTER // 8).lane for _ in range(64)]
    changes = sum(one != other for one, other in itertools.pairwise(chosen))
    assert set(chosen) == {0, 1}
    assert changes <= 64 // 8
    lanes.close()


def test_closing_ends_every_lane_after_its_work() -> None:
    before = set(threading.enumerate())
    lanes = Lanes(lambda _: None, 4)
    digest = lanes.start("sha256", 3)
    lanes.post(digest.lane, Block(memoryview(bytearray(3))), [(digest, memoryview(b"abc"), True)])
    lanes.close()
    assert digest.value == hashlib.sha256(b"abc").hexdigest()
    assert set(threading.enumerate()) == before
