"""The lab's server killed at every step: nothing lost, nothing double, nothing deletable that is not archived."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.commits import STATEMENTS, at_commit, while_reading
from bridges.labdatabase import BridgedLab
from papertape.errors import HostError, PapertapeError
from papertape.jobs.lab.pull import pull
from papertape.ledger import Registration
from servers import MariaDB
from stories import HOST, At, check_all_archived

MANY = 20_000
"""Rows that the server cannot send before anybody reads them."""


@pytest.fixture(autouse=True)
def running(server: MariaDB) -> Iterator[None]:
    """Whatever a test comes to, the server runs for the next one."""
    yield
    server.kill()
    server.start()


def kill(bridged: BridgedLab, server: MariaDB) -> None:
    bridged.database.engine.dispose()
    server.kill()


def check_deletable(bridged: BridgedLab) -> None:
    """What the lab may delete is archived."""
    states = bridged.lab.states()
    files = bridged.database.files()
    assert {name for name, (_, deletable) in files.items() if deletable} <= {
        name for name, state in states.items() if state == "archived"
    }


def make_whole(bridged: BridgedLab, night: list[Path]) -> None:
    """What an operator does the next day: everything is archived once, told once, and nobody has a claim."""
    check_deletable(bridged)
    bridged.pull()
    bridged.lab.finish()
    done = bridged.push()
    assert (done.pending, done.foreign, done.troubles) == (0, (), ())
    check_all_archived(bridged.lab)
    counts = bridged.lab.ledger.lab.count()
    assert counts["file", "pushed"] == len(night)
    assert not [state for _, state in counts if state in {"claimed", "foreign"}]
    files = bridged.database.files()
    assert {deletable for _, deletable in files.values()} == {1}
    places = [mark for mark, _ in files.values()]
    assert len(set(places)) == len(places) == len(night)
    assert all("[" in str(mark) for mark in places)
    assert not any(status for _, status in bridged.database.labels().values())
    used = {tag for tag, (date, _) in bridged.database.labels().items() if date}
    assert used == set(bridged.lab.archived_volumes())


@pytest.mark.parametrize("committed", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", [step for step in STATEMENTS if "release" not in step])
def test_killed_at_a_commit_of_a_dump(
    bridged: BridgedLab, night: list[Path], server: MariaDB, step: str, committed: bool
) -> None:
    bridged.database.add(*night)
    bridged.pull()
    with at_commit(step, lambda: kill(bridged, server), committed=committed) as done:
        if step.startswith("claim"):
            with pytest.raises(PapertapeError):
                bridged.lab.dump()
            assert set(bridged.lab.states().values()) == {"waiting"}
            assert set(bridged.lab.volumes().values()) == {"blank"}
        else:
            assert bridged.lab.dump().state == "archived"
    assert done
    server.start()
    make_whole(bridged, night)


@pytest.mark.parametrize("committed", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", ["release of files", "release of labels"])
def test_killed_at_a_commit_that_releases(
    bridged: BridgedLab, night: list[Path], server: MariaDB, step: str, committed: bool
) -> None:
    def die() -> None:
        raise HostError("somewhere", "something")

    bridged.database.add(*night)
    bridged.pull()
    with at_commit(step, lambda: kill(bridged, server), committed=committed) as done:
        if step == "release of files":
            assert bridged.lab.dump(At("writing", die)).error
        else:
            bridged.database.do("UPDATE File SET tape_index = '1123456789'")
            with pytest.raises(PapertapeError):
                bridged.lab.dump()
    assert done
    server.start()
    bridged.database.do("UPDATE File SET tape_index = NULL WHERE tape_index = '1123456789'")
    make_whole(bridged, night)


@pytest.mark.parametrize("committed", [False, True], ids=["before", "behind"])
def test_killed_at_push(bridged: BridgedLab, night: list[Path], server: MariaDB, committed: bool) -> None:
    bridged.database.add(*night)
    bridged.pull()
    options = bridged.database.options
    good = options.read_bytes()
    away = At("verifying", lambda: options.write_bytes(good.replace(b"/socket", b"/nowhere")))
    assert bridged.lab.dump(away).state == "archived"
    options.write_bytes(good)
    with at_commit("push of files", lambda: kill(bridged, server), committed=committed) as done:
        pushed = bridged.push()
    assert done
    assert (pushed.pushed, pushed.pending) == (0, len(night) + 2)
    assert len(pushed.troubles) == 2
    server.start()
    make_whole(bridged, night)


def add_many(bridged: BridgedLab) -> None:
    """Many rows for files that are not there, whose names sort behind the others."""
    bridged.database.do(
        "INSERT INTO File (source, filename, filetype, is_tapeable)"
        f" SELECT concat('pot1:', :folder, '/{'z' * 100}', seq), concat('zz', seq), 'uv', 1 FROM seq_1_to_{MANY}",
        {"folder": bridged.bridge.paths[0][1]},
    )


def test_killed_in_the_middle_of_reading_rows(bridged: BridgedLab, night: list[Path], server: MariaDB) -> None:
    bridged.database.add(*night)
    add_many(bridged)
    with while_reading(lambda: kill(bridged, server)) as done, pytest.raises(HostError) as caught:
        bridged.pull()
    assert done
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # the driver has nothing to say when it forgets what it did not read
    assert bridged.lab.states() == {}
    server.start()
    bridged.database.do("DELETE FROM File WHERE filename LIKE 'zz%'")
    make_whole(bridged, night)


def test_killed_between_two_heaps_of_rows(bridged: BridgedLab, night: list[Path], server: MariaDB) -> None:
    """All rows were read by then."""
    bridged.database.add(*night)
    add_many(bridged)
    pulled = pull(bridged.lab.ledger, bridged.bridge, HOST)
    first = next(pulled)
    kill(bridged, server)
    rest = list(pulled)
    assert 1 + len(rest) == MANY + len(night)
    assert [item.result for item in (first, *rest)].count(Registration.NEW) == len(night)
    server.start()
    bridged.database.do("DELETE FROM File WHERE filename LIKE 'zz%'")
    make_whole(bridged, night)
