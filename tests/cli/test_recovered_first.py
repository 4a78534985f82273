"""`papertape dump` reports what it recovered first, whatever comes of its own dump."""

from __future__ import annotations

import pytest

from .operatorlab import Lab, finish, make_sources

INTERRUPTED_WHILE_VERIFYING = """
import papertape
from papertape.api import Stop
from papertape.events import Phase

stop = Stop()

def tell(event):
    if isinstance(event, Phase) and event.name == "verifying":
        stop.ask()
        stop.ask()

with papertape.open("papertape.toml", tell=tell, stop=stop) as archive:
    (outcome,) = archive.dump()
    print(outcome.state)
"""


@pytest.fixture
def orphaned(waiting: Lab) -> Lab:
    """A lab in which a process died while it verified dump 1."""
    assert finish(waiting.start_python("-c", INTERRUPTED_WHILE_VERIFYING)).out == "verifying\n"
    return waiting


def test_a_recovered_dump_is_reported_although_no_blank_volume_is_left(orphaned: Lab) -> None:
    orphaned.ok("add", *make_sources(orphaned, 1, 1000, "later"))
    for volume in orphaned.json("volumes"):
        if volume["state"] == "blank":
            orphaned.ok("volumes", "retire", volume["tag"])
    ran = orphaned.run("dump")
    assert ran.code == 5
    assert "dump 1 is archived on PAPR1001 and PAPR2001" in ran.out
    assert "blank" in ran.err


def test_a_recovered_dump_is_enough_if_nothing_else_waits(orphaned: Lab) -> None:
    ran = orphaned.run("dump")
    assert ran.code == 0
    assert "dump 1 is archived on PAPR1001 and PAPR2001" in ran.out


def test_until_done_goes_on_after_a_recovered_dump(orphaned: Lab) -> None:
    orphaned.ok("add", *make_sources(orphaned, 1, 1000, "later"))
    ran = orphaned.run("dump", "--until-done")
    assert ran.code == 0
    assert [line.split(" on ")[0] for line in ran.out.splitlines() if " is archived on " in line] == [
        "dump 1 is archived",
        "dump 2 is archived",
    ]
