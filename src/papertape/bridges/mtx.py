"""The lab's table of tapes, ``mtx.ids``: which are free, who has them, and when they were filled.

A label is free if it has no ``date``. The predecessor checks nothing else before it writes: the ``status`` of a claimed
label is for people, and it is the blank check that keeps a tape from being written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    case,
    cast,
    func,
    null,
    or_,
    select,
    update,
)

from papertape.bridges.claims import Claim, Left
from papertape.bridges.server import ServerTable

MEGABYTE = 10**6
_OURS = "papertape dump "
"""The beginning of a description that papertape wrote."""

LABELS = Table(
    "ids",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("label", String(8)),
    Column("description", Text),
    Column("date", Text),
    Column("status", Integer),
    Column("capacity", Integer),
)
_ROW = LABELS.c


class Label(NamedTuple):
    """A free tape; ``capacity`` in bytes, None where the lab does not say."""

    label: str
    capacity: int | None


class LabelTable(ServerTable):
    """The table: free labels are listed, claimed, released and dated."""

    table = LABELS

    def free(self, prefix: str) -> Iterator[Label]:
        """Yield the labels with ``prefix`` that have no date, lowest first; raises UserError, HostError."""
        query = (
            select(_ROW.label, _ROW.capacity)
            .where(_ROW.label.startswith(prefix, autoescape=True), _ROW.date.is_(None))
            .order_by(_ROW.label)
        )
        with self._server.transaction() as connection:
            for label, capacity in connection.execute(query):
                yield Label(label, capacity * MEGABYTE if capacity and capacity > 0 else None)

    def is_free(self, label: str) -> bool:
        """Whether nobody has claimed the label, and nothing is on the tape; raises UserError, HostError."""
        with self._server.transaction() as connection:
            return connection.scalar(select(_ROW.id).where(_ROW.label == label, _is_free()).limit(1)) is not None

    def claim(self, labels: Sequence[str], claim: Claim, dump: int) -> list[str]:
        """Claim free labels for a dump, all or none; return those that are taken. Raises UserError, HostError.

        ``status`` gets the job number, whatever type the lab gave it; an existing description stays.
        """
        lost = []
        description = func.coalesce(func.nullif(_ROW.description, ""), f"{_OURS}{dump}")
        with self._server.transaction() as connection:
            for label in labels:
                done = connection.execute(
                    update(LABELS)
                    .where(_ROW.label == label, _ROW.date.is_(None), _is_free() | (_status() == str(claim.job)))
                    .values(status=claim.job, description=description)
                )
                if done.rowcount != 1:
                    lost.append(label)
            if lost:
                connection.rollback()
        return lost

    def release(self, claims: Mapping[str, Claim]) -> None:
        """Release labels, each only if it still has its claim. Raises UserError, HostError."""
        ours = _ROW.description.startswith(_OURS)
        with self._server.transaction() as connection:
            for label, claim in claims.items():
                connection.execute(
                    update(LABELS)
                    .where(_ROW.label == label, _ROW.date.is_(None), _status() == str(claim.job))
                    .values(status=null(), description=case((ours, null()), else_=_ROW.description))
                )

    def push(self, claims: Mapping[str, Claim], filled: datetime) -> dict[str, Left]:
        """Write the date of the dump to its labels, in one transaction; ``capacity`` is not touched.

        A label whose row has changed since the claim is not touched. Raises UserError, HostError.
        """
        date = filled.strftime("%Y%m%d-%H%M")
        with self._server.transaction() as connection:
            for label, claim in claims.items():
                connection.execute(
                    update(LABELS)
                    .where(_ROW.label == label, _ROW.date.is_(None), _status() == str(claim.job))
                    .values(date=date, status=null())
                )
            rows = connection.execute(select(_ROW.label, _ROW.date).where(_ROW.label.in_(list(claims))))
            found = {row.label: row.date for row in rows}
        return {label: Left.DONE if found.get(label) == date else Left.FOREIGN for label in claims}


def _is_free() -> ColumnElement[bool]:
    return _ROW.date.is_(None) & or_(_ROW.status.is_(None), _status() == "", _status() == "0")


def _status() -> ColumnElement[str]:
    return cast(_ROW.status, String(64))
