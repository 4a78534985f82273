"""The ring: every writer gets every block in order, memory is bounded, and a drive starts when there is enough."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.transfer.ring import Block, Filemark, Ring


class Waited(Exception):
    """The reader side would have to wait."""


def wait_no_longer() -> None:
    raise Waited


def fill(ring: Ring, *numbers: int) -> list[Block]:
    blocks = []
    for number in numbers:
        block = ring.take(wait_no_longer)
        block.view[:1] = bytes([number % 256])
        ring.publish(block)
        blocks.append(block)
    return blocks


def test_a_ring_of_n_blocks_makes_n_blocks_and_then_lets_the_reader_wait() -> None:
    ring = Ring(block_size=512, blocks=6, writers=1)
    fill(ring, *range(6))
    with pytest.raises(Waited):
        ring.take(wait_no_longer)


def test_a_block_is_free_when_all_writers_and_lanes_have_released_it() -> None:
    ring = Ring(block_size=512, blocks=4, writers=2)
    blocks = [ring.take(wait_no_longer) for _ in range(4)]
    ring.publish(blocks[0], lanes=1)
    for _ in range(2):
        ring.release(blocks[0])
        with pytest.raises(Waited):
            ring.take(wait_no_longer)
    ring.release(blocks[0])
    assert ring.take(wait_no_longer) is blocks[0]


def test_a_ring_too_small_for_its_work_is_made_large_enough() -> None:
    assert len(fill(Ring(block_size=512, blocks=0, writers=1), 1, 2, 3, 4)) == 4


class Taker:
    """A writer's thread that reports each item that it got."""

    def __init__(self, ring: Ring, number: int) -> None:
        self.got: list[object] = []
        self._ring = ring
        self._feed = ring.feeds[number]
        self.first = threading.Event()

    def run(self) -> None:
        while (item := self._feed.get()) is not None:
            self.got.append(item.view[0] if isinstance(item, Block) else item)
            self.first.set()
            if isinstance(item, Block):
                self._ring.release(item)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_a_writer_does_not_start_below_the_high_watermark(threads: ThreadPoolExecutor) -> None:
    ring = Ring(block_size=512, blocks=12, writers=1)  # the high watermark is at five
    taker = Taker(ring, 0)
    done = threads.submit(taker.run)
    fill(ring, 0, 1, 2, 3)
    assert not taker.first.wait(0.05)
    fill(ring, 4)
    assert taker.first.wait(10)
    ring.close()
    done.result(10)
    assert taker.got == [0, 1, 2, 3, 4]


def test_at_the_end_a_writer_starts_below_the_watermark(threads: ThreadPoolExecutor) -> None:
    ring = Ring(block_size=512, blocks=12, writers=1)
    taker = Taker(ring, 0)
    done = threads.submit(taker.run)
    fill(ring, 7)
    ring.publish(Filemark(flush=True))
    ring.close()
    done.result(10)
    assert taker.got == [7, Filemark(flush=True)]


def test_dropping_writes_nothing_more_and_frees_every_block(threads: ThreadPoolExecutor) -> None:
    ring = Ring(block_size=512, blocks=12, writers=2)
    fill(ring, 0, 1, 2)
    ring.close(drop=True)
    assert [feed.get() for feed in ring.feeds] == [None, None]
    taken = [ring.take(wait_no_longer) for _ in range(12)]
    assert len({id(block) for block in taken}) == 12


@given(
    blocks=st.integers(0, 12),
    writers=st.integers(1, 4),
    items=st.lists(st.one_of(st.integers(0, 255), st.booleans()), max_size=60),
)
@settings(max_examples=40, deadline=None)
def test_every_writer_gets_everything_in_order_whatever_the_sizes(
    blocks: int, writers: int, items: list[int | bool]
) -> None:
    ring = Ring(block_size=512, blocks=blocks, writers=writers)
    takers = [Taker(ring, number) for number in range(writers)]
    with ThreadPoolExecutor(writers) as threads:
        done = [threads.submit(taker.run) for taker in takers]
        for item in items:
            if isinstance(item, bool):
                ring.publish(Filemark(item))
            else:
                block = ring.take(lambda: None)
                block.view[:1] = bytes([item])
                ring.publish(block)
        ring.close()
        for future in done:
            future.result(10)
    expected = [Filemark(item) if isinstance(item, bool) else item for item in items]
    assert all(taker.got == expected for taker in takers)
