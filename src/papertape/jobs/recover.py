"""What dead processes left: finished or undone, from the ledger and what the tapes say, never by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from papertape.errors import PapertapeError
from papertape.jobs.context import Context, Outcome, conclude, run_in_session
from papertape.jobs.owner import is_alive
from papertape.jobs.prove import prove
from papertape.ledger import ClaimLost, DumpRecord, DumpState

UNWRITTEN = (DumpState.PLANNED, DumpState.WRITING)


def recover(context: Context, *, undo: bool = False) -> list[Outcome]:
    """See to every dump whose process is dead, oldest first; return what became of each.

    One that was still being written is undone: its data sets wait again, and its volumes stay with it, for the next
    dump to begin it anew. One that was written is read back and committed; with ``undo`` it is given up in place of
    that, and its volumes are set aside. An error with one does not keep the others from their turn.
    """
    return [outcome for dump in context.ledger.orphans(is_alive) if (outcome := _see_to(context, dump, undo=undo))]


def _see_to(context: Context, dump: DumpRecord, *, undo: bool) -> Outcome | None:
    now = datetime.now(UTC)
    try:
        context.ledger.take_over(dump, context.owner, now)
    except ClaimLost as error:
        context.report.note(str(error))
        return None
    try:
        if dump.state in UNWRITTEN:
            context.ledger.hold(dump.id, f"process {dump.owner.pid if dump.owner else '?'} died while it wrote")
            context.library.bring_home([copy.volume for copy in dump.copies])
        elif undo:
            context.ledger.fail(
                dump.id, "given up before it was verified", now, touched=[c.volume for c in dump.copies]
            )
            context.library.bring_home([copy.volume for copy in dump.copies])
        else:
            return run_in_session(context, lambda session: prove(context, session, dump.id, (), {}))
    except PapertapeError as error:
        return conclude(context.ledger, dump.id, (), error=error)
    return conclude(context.ledger, dump.id, ())
