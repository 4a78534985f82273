"""Do something at one step of papertape's work on the lab's server: before or after its commit, or while it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

STATEMENTS = {
    "claim of files": "UPDATE `File` SET tape_index=%(tape_index)s WHERE",
    "claim of labels": "UPDATE ids SET description=coalesce",
    "push of files": "UPDATE `File` SET tape_index=%(place)s, is_deletable",
    "push of labels": "UPDATE ids SET date=",
    "release of files": "UPDATE `File` SET tape_index=NULL",
    "release of labels": "UPDATE ids SET description=CASE",
}
"""How the statement of each step begins."""
READING = "SELECT `File`.source, `File`.filesize"


@contextmanager
def at_commit(step: str, action: Callable[[], object], *, committed: bool) -> Iterator[list[str]]:
    """Do ``action`` once, at the commit of the first transaction with that step on any engine.

    It is done after the commit if ``committed``, else before. Yields a list that then has the step.
    """
    done: list[str] = []
    armed: list[str] = []

    def look(_: Any, __: Any, text: str, *___: Any) -> None:
        if text.startswith(STATEMENTS[step]) and not done:
            armed.append(text)

    def act(connection: Connection) -> None:
        if not armed or done:
            return
        done.append(step)
        if committed:
            driver: Any = connection.connection.driver_connection
            driver.commit()
        action()

    event.listen(Engine, "before_cursor_execute", look)
    event.listen(Engine, "commit", act)
    try:
        yield done
    finally:
        event.remove(Engine, "before_cursor_execute", look)
        event.remove(Engine, "commit", act)


@contextmanager
def while_reading(action: Callable[[], object]) -> Iterator[list[str]]:
    """Do ``action`` once, when the lab's server has started to send the rows of its table."""
    done: list[str] = []

    def act(_: Any, __: Any, text: str, *___: Any) -> None:
        if text.startswith(READING) and not done:
            done.append(text)
            action()

    event.listen(Engine, "after_cursor_execute", act)
    try:
        yield done
    finally:
        event.remove(Engine, "after_cursor_execute", act)
