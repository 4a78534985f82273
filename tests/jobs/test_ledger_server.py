"""The story with the ledger on a server, and with the server killed in the middle of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from jobs.conftest import MakeLab
from papertape.errors import PapertapeError
from papertape.events import Event, Note, tell_all
from papertape.transfer.stop import Stop
from servers import Server
from stories import At, Lab, check_all_archived


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def lab(server: Server, new_lab: MakeLab, night: list[Path], request: pytest.FixtureRequest) -> Lab:
    database = server.database()
    url = database.__enter__()
    request.addfinalizer(lambda: database.__exit__(None, None, None))  # noqa: PT021  after the lab is closed
    made = new_lab(url=url)
    made.add(*night)
    return made


class Nurse:
    """Does something when papertape says that it waits for the ledger."""

    def __init__(self, action: Any) -> None:
        self.notes: list[str] = []
        self._action = action

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Note):
            return
        self.notes.append(event.sentence)
        if event.sentence.startswith("waiting for the ledger"):
            self._action()


def kill_at(lab: Lab, server: Server, statement: str, *, committed: bool) -> list[str]:
    """Kill the server at the end of the first transaction in which ``statement`` is; return what was done."""
    engine = lab.ledger._database._engine
    armed: list[str] = []
    done: list[str] = []

    def look(_: Any, __: Any, text: str, *___: Any) -> None:
        if text.startswith(statement):
            armed.append(text)

    def kill(connection: Any) -> None:
        if armed and not done:
            done.append(statement)
            if committed:
                connection.connection.driver_connection.commit()
            server.kill()

    event.listen(engine, "before_cursor_execute", look)
    event.listen(engine, "commit", kill)
    return done


def test_the_story_on_a_server(lab: Lab, night: list[Path], tmp_path: Path) -> None:
    outcome = lab.dump()
    assert (outcome.error, outcome.state, outcome.datasets) == (None, "archived", len(night))
    check_all_archived(lab)
    lab.restore("*", to=tmp_path / "restored")
    assert len([path for path in (tmp_path / "restored").rglob("*") if path.is_file()]) == len(night) + 2
    lab.ledger.volumes.retire("PAPR1001", "lost")
    assert lab.recopy("PAPR1001").error is None
    check_all_archived(lab)


STEPS = {
    "claim": "INSERT INTO dumps",
    "start": "UPDATE dumps SET state",
    "written": "INSERT INTO members",
    "commit": "INSERT INTO verifications",
}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_at_a_step_is_waited_for(lab: Lab, server: Server, step: str, committed: bool) -> None:
    killed = kill_at(lab, server, STEPS[step], committed=committed)
    nurse = Nurse(server.start)
    outcome = lab.dump(nurse)
    assert killed
    assert any(text.startswith("waiting for the ledger, for 60 minutes at the most") for text in nurse.notes)
    assert nurse.notes[-1] == "the ledger is back"
    assert (outcome.error, outcome.state) == (None, "archived")
    assert len(lab.ledger.dumps.all()) == 1
    check_all_archived(lab)


def test_writing_goes_on_while_the_server_is_away(lab: Lab, server: Server) -> None:
    nurse = Nurse(server.start)
    at = At("writing", server.kill, blocks=2)
    outcome = lab.dump(tell_all(nurse, at))
    assert at.done
    assert len([text for text in nurse.notes if text.startswith("waiting")]) == 1
    assert (outcome.error, outcome.state) == (None, "archived")
    check_all_archived(lab)


@pytest.mark.parametrize("step", STEPS)
def test_the_waiting_can_be_ended_and_the_rest_is_recovered_later(lab: Lab, server: Server, step: str) -> None:
    stop = Stop()
    kill_at(lab, server, STEPS[step], committed=False)

    def give_up() -> None:
        stop.ask()
        stop.ask()

    with pytest.raises(PapertapeError):
        lab.dump(Nurse(give_up), stop)
    server.start()
    lab.finish()
    check_all_archived(lab)
