"""The virtual drive against the simplest tape there is: a list of blocks and filemarks, and a place in it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from papertape.errors import DriveError
from papertape.tape.drive import Drive, Mark

from .devices import drive_at, make_devices, read, slot, write

BLOCKS = st.sampled_from([b"a", b"b", b"long" * 128, b"other" * 100, b"x" * 4096])


class Tape(RuleBasedStateMachine):
    @initialize()
    def load(self) -> None:
        self.host = tempfile.TemporaryDirectory()
        self.devices = make_devices(Path(self.host.name) / "library")
        self.devices.changer.move(slot(1), drive_at(0))
        self.tape: list[bytes | Mark] = []
        self.place = 0
        self.unmarked = False
        self.in_doubt = False
        self.known: bool | None = False
        """Whether reading at the end tells it; None after an opening, where st remembers what was done before it."""
        self.drive: Drive = self.devices.drives[0].open()
        self.drive.load()

    def teardown(self) -> None:
        self.devices.close()
        self.host.cleanup()

    def record(self, thing: bytes | Mark) -> None:
        self.tape[self.place :] = [thing]
        self.place += 1
        self.known = False
        self.unmarked = thing is not Mark.FILEMARK

    def end_writing(self) -> None:
        if self.unmarked:
            self.record(Mark.FILEMARK)

    @rule(block=BLOCKS)
    def write(self, block: bytes) -> None:
        if self.in_doubt:
            self.fails(lambda: self.drive.write_block(memoryview(block)))
            return
        assert not self.drive.write_block(memoryview(block))
        self.record(block)

    @rule(blocks=st.lists(BLOCKS, min_size=2, max_size=6))
    def write_several(self, blocks: list[bytes]) -> None:
        if self.in_doubt:
            return
        write(self.drive, *blocks)
        for block in blocks:
            self.record(block)

    @rule(flush=st.booleans())
    def write_filemark(self, flush: bool) -> None:
        if self.in_doubt:
            self.fails(lambda: self.drive.write_filemark(flush=flush))
            return
        self.drive.write_filemark(flush=flush)
        self.record(Mark.FILEMARK)

    @rule()
    def read(self) -> None:
        self.unmarked = False
        if self.place < len(self.tape):
            assert read(self.drive) == self.tape[self.place]
            self.place += 1
            self.known = self.tape[self.place - 1] is Mark.FILEMARK
        elif self.known is None:
            try:
                assert read(self.drive) is Mark.END_OF_DATA
            except DriveError:
                self.in_doubt = True
            self.known = not self.in_doubt
        elif self.known:
            assert read(self.drive) is Mark.END_OF_DATA
        else:
            self.fails(lambda: read(self.drive))

    @rule()
    def rewind(self) -> None:
        self.drive.rewind()
        self.end_writing()
        self.place, self.known = 0, False

    @rule(address=st.integers(0, 12))
    def locate(self, address: int) -> None:
        there = address <= len(self.tape) + self.unmarked
        self.drive.locate(address) if there else self.fails(lambda: self.drive.locate(address))
        self.end_writing()
        self.place, self.known = min(address, len(self.tape)), False

    @rule(count=st.integers(1, 4))
    def space_forward(self, count: int) -> None:
        ends = [i + 1 for i, thing in enumerate(self.tape) if thing is Mark.FILEMARK and i >= self.place]
        there = len(ends) >= count
        self.drive.space(count) if there else self.fails(lambda: self.drive.space(count))
        self.unmarked = False
        self.place, self.known = ends[count - 1] if there else len(self.tape), True

    @rule(count=st.integers(1, 4))
    def space_backward(self, count: int) -> None:
        marks = [i for i, thing in enumerate(self.tape) if thing is Mark.FILEMARK and i < self.place]
        there = len(marks) >= count
        self.drive.space(-count) if there else self.fails(lambda: self.drive.space(-count))
        self.end_writing()
        self.place, self.known = marks[-count] if there else 0, False

    @rule()
    def space_to_the_end(self) -> None:
        self.drive.space(Mark.END_OF_DATA)
        self.unmarked = False
        self.place, self.known = len(self.tape), True

    @rule()
    def open_again(self) -> None:
        self.drive.close()
        self.drive = self.devices.drives[0].open()
        self.end_writing()
        self.in_doubt, self.known = False, None

    @rule()
    def load_again(self) -> None:
        self.drive.unload()
        self.drive.load()
        self.end_writing()
        self.place, self.in_doubt, self.known = 0, False, False

    def fails(self, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except DriveError:
            self.in_doubt = True
            return
        raise AssertionError("did not fail")

    @invariant()
    def same_position(self) -> None:
        if hasattr(self, "drive"):
            assert self.drive.position() == self.place


EXAMPLES = int(os.environ.get("PAPERTAPE_EXAMPLES", "50"))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)[: 4 if EXAMPLES >= 50 else 3]
"""A failure is shrunk where it is cheap: not on a real drive."""

Tape.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    phases=PHASES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTape = Tape.TestCase
