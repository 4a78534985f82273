"""The big story: two hundred data sets on three pairs of volumes, and twenty of them come back."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from papertape.jobs.restore import Wish, plan_only
from stories import HOST, KIB, Lab, make_lab, noise

MIB = KIB * KIB
SETS = 200
PAIRS = 3


def make_sets(folder: Path) -> list[Path]:
    """Data sets of 1.3 MB to 1.5 MB: files, and folders with a link, an empty folder and modes of their own."""
    folder.mkdir()
    for number in range(SETS):
        path = folder / f"zen.{number:03}"
        if number % 3:
            path.write_bytes(noise(1_300_000 + 1000 * number, number))
            path.chmod(0o640)
        else:
            (path / "empty").mkdir(parents=True)
            (path / "visdata").write_bytes(noise(1_300_000 + 1000 * number, number))
            (path / "link").symlink_to("visdata")
            path.chmod(0o750)
            os.utime(path / "link", ns=(10**18 + number, 10**18 + number), follow_symlinks=False)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[Path]]]:
    """A lab in which they are archived, on three pairs that are as good as full."""
    folder = tmp_path_factory.mktemp("big")
    lab = make_lab(folder / "lab", capacity=100 * MIB, archive_size=10 * MIB, ring=64 * 64 * KIB)
    paths = make_sets(folder / "night")
    lab.add(*paths)
    outcomes = lab.finish()
    assert [outcome.state for outcome in outcomes] == ["archived"] * PAIRS
    yield lab, paths
    lab.ledger.close()


def check_same(one: Path, other: Path) -> None:
    """Every byte, name, link, mode and time."""
    subprocess.run(["diff", "-r", "--no-dereference", one, other], check=True)
    listing = r"find {} -printf '%P %y %m %T@ %l\n' | sort"
    told = [subprocess.check_output(listing.format(shlex.quote(str(path))), shell=True) for path in (one, other)]
    assert told[0] == told[1]


def test_twenty_of_two_hundred_by_pattern(
    big: tuple[Lab, list[Path]], tmp_path: Path, tell_figure: Callable[[str], None]
) -> None:
    lab, paths = big
    wish = Wish(("*/zen.*7",))
    wanted = [path for path in paths if path.name.endswith("7")]
    assert len(wanted) == 20
    plan = plan_only(lab.context(), wish, tmp_path / "back")
    assert len(plan.portions) == PAIRS
    for portion in plan.portions:
        places = [(item.tape_file, item.begin) for item in portion.sets]
        assert places == sorted(places)
    done = lab.restore(to=tmp_path / "back", wish=wish)
    assert (done.error, done.sets, done.mounts) == (None, 20, PAIRS)
    for path in wanted:
        check_same(path, tmp_path / "back" / HOST / str(path)[1:])
    names = {path.name for path in (tmp_path / "back" / HOST / str(paths[0].parent)[1:]).iterdir()}
    assert names == {path.name for path in wanted}
    tell_figure(
        f"restore of 20 of 200 data sets from 3 pairs: {done.mounts} mounts, {done.locates} LOCATEs, "
        f"{done.read / 1e6:.2f} MB read for {done.size / 1e6:.2f} MB"
    )


def test_single_data_sets_out_of_full_volumes(
    big: tuple[Lab, list[Path]], tmp_path: Path, tell_figure: Callable[[str], None]
) -> None:
    """One mount and one LOCATE each; what is read beside it is the label and its first and last block."""
    lab, paths = big
    worst = 0.0
    for path in paths[3::40]:
        done = lab.restore(str(path), to=tmp_path / "back")
        assert (done.error, done.sets, done.mounts, done.locates) == (None, 1, 1, 1)
        assert done.read <= 1.2 * done.size
        check_same(path, tmp_path / "back" / HOST / str(path)[1:])
        worst = max(worst, done.read / done.size)
    tell_figure(f"restore of single data sets of 1.4 MB, blocks of 64 KiB: at most {worst:.2f} times their bytes read")
