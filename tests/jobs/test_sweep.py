"""Every device call of a clean dump fails once: nothing is lost, the error tells the truth, the next run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from papertape.errors import ChangerError, DriveError, PapertapeError, VerificationFailed, VolumeError
from papertape.settings import CROSSED, IN_PLACE
from papertape.tape.virtual.faults import Call, Faults
from stories import KIB, Lab, check_all_archived, check_archived, make_lab, make_night, snapshot

SLICES = 8
"""The sweep is cut into so many tests, so that they may run side by side."""
EXPECTED = (DriveError, ChangerError, VolumeError, VerificationFailed)


class Stage(NamedTuple):
    """A lab in which a night waits, to be copied, and the device calls that dumping it takes."""

    lab: Lab
    calls: list[Call]
    folder: Path


@pytest.fixture(scope="module", params=[CROSSED, IN_PLACE])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("sweep")
    lab = make_lab(folder / "lab", mount=request.param, archive_size=100 * KIB)
    lab.add(*make_night(folder / "night", files=1))
    clean, faults = lab.copy(folder / "clean"), Faults()
    assert clean.dump(faults=faults).error is None
    check_all_archived(clean)
    clean.ledger.close()
    yield Stage(lab, sorted(faults.log, key=str), folder)
    lab.ledger.close()


_RUNS = count()


def numbered(calls: list[Call]) -> list[tuple[Call, int]]:
    """Each call with its number among those of the same method and device: so it does not matter who is faster."""
    return [(call, calls[: place + 1].count(call)) for place, call in enumerate(calls)]


def dump_with(lab: Lab, faults: Faults) -> PapertapeError | None:
    """Dump once; return what went wrong, wherever it is told."""
    try:
        with faults:
            return lab.dump(faults=faults).error
    except PapertapeError as error:
        return error


def check_fault(stage: Stage, make_faults: Callable[[], Faults]) -> None:
    lab = stage.lab.copy(stage.folder / f"run-{next(_RUNS)}")
    try:
        error = dump_with(lab, make_faults())
        check_told(lab, error)
        check_archived(lab)
        check_goes_on(lab)
    finally:
        lab.ledger.close()


def check_told(lab: Lab, error: PapertapeError | None) -> None:
    """The error is of the right class, and names every volume that is not in a slot."""
    assert isinstance(error, EXPECTED), error
    told = " ".join([str(error), *getattr(error, "__notes__", ())])
    for tag in lab.stranded():
        assert tag in told, told


def check_goes_on(lab: Lab) -> None:
    """The next run archives everything, and touches no volume that is archived, nor one that was set aside."""
    closed = {
        tag: snapshot(lab.cartridge(tag)) for tag, state in lab.volumes().items() if state in {"archived", "aside"}
    }
    lab.finish()
    check_all_archived(lab)
    for tag, before in closed.items():
        assert snapshot(lab.cartridge(tag)) == before, tag


@pytest.mark.parametrize("part", range(SLICES))
def test_a_dump_in_which_any_one_device_call_fails(stage: Stage, part: int, tell_figure: Callable[[str], None]) -> None:
    calls, mount = numbered(stage.calls), stage.lab.settings.mount
    every = 1 if mount == CROSSED else 4
    tell_figure(f"sweep: a clean dump ({mount}) has {len(calls)} device calls; one in {every} was made to fail")
    for call, number in calls[part * every :: SLICES * every]:
        check_fault(stage, partial(Faults().fail, call.method, at=number, drive=call.drive))


def test_a_dump_in_which_a_device_dies_for_good(stage: Stage) -> None:
    for number in range(1, len(stage.calls) + 1, 12):
        check_fault(stage, partial(Faults, number, lasting=True))
