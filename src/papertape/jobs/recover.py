"""What dead processes left: finished or undone, from the ledger and what the tapes say, never by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from papertape.errors import ClaimLost, PapertapeError
from papertape.events import Note
from papertape.jobs.context import Context, Outcome, be_patient, conclude, ending, run_in_session
from papertape.jobs.owner import is_alive
from papertape.jobs.prove import prove
from papertape.ledger import UNFINISHED, DumpRecord
from papertape.states import DumpState

UNWRITTEN = (DumpState.PLANNED, DumpState.WRITING)
UNPROVEN = (DumpState.WRITTEN, DumpState.VERIFYING)


def recover(context: Context, *, undo: bool = False) -> list[Outcome]:
    """See to every dump whose process is dead, oldest first; return what became of each.

    One that was still being written is undone: its data sets wait again, and its volumes stay with it, for the next
    dump to begin it anew. One that was written is read back and committed; with ``undo`` it is given up in place of
    that, and its volumes are set aside. Where a copy was being made again, the good ones are kept, and that one is
    still to be made. One that was over before its volumes were home is returned if one still had to be brought there.
    An error with one does not keep the others from their turn.

    The volumes of such a dump that lie in drives which nobody has reserved are brought home first, even if an operator
    has put one there since. Whatever else lies in drives stays there. The lab's database is told what became of all.
    """
    with ending("recover", context.tell) as end:
        left = context.ledger.orphans(is_alive) + context.ledger.undismissed(is_alive)
        try:
            outcomes = [_see_to(context, dump, undo=undo) for dump in sorted(left, key=lambda dump: dump.id)]
        finally:
            context.lab.settle()
        return [end.add(outcome) for outcome in outcomes if outcome is not None]


def _see_to(context: Context, dump: DumpRecord, *, undo: bool) -> Outcome | None:
    context = be_patient(context)
    try:
        context.ledger.take_over(dump, context.owner, datetime.now(UTC))
    except ClaimLost as error:
        context.tell(Note(sentence=str(error)))
        return None
    try:
        try:
            home = _bring_home(context, dump)
        finally:  # the ledger is put in order even if the robot is stuck
            _undo(context, dump, undo=undo)
        if context.ledger.dump(dump.id).state in UNPROVEN and not _is_cut_off(dump):
            return run_in_session(context, lambda session: prove(context, session, dump.id, (), {}))
        context.ledger.dismiss(dump.id)
    except PapertapeError as error:
        return conclude(context.ledger, dump.id, (), error=error)
    return conclude(context.ledger, dump.id, ()) if home or dump.state in {*UNWRITTEN, *UNPROVEN} else None


def _bring_home(context: Context, dump: DumpRecord) -> bool:
    """Bring the dump's volumes home from drives and say so; tell whether there were any."""
    home = context.library.bring_home([copy.volume for copy in dump.copies])
    if home:
        context.tell(Note(sentence=f"brought home what process {_pid(dump)} had left in drives: {' and '.join(home)}"))
    return bool(home)


def _undo(context: Context, dump: DumpRecord, *, undo: bool) -> None:
    """Undo what was not written to its end and, with ``undo``, what was not verified.

    A dump that was archived before is never given up: its tapes may be all that there is of it.
    """
    if _is_cut_off(dump):
        context.ledger.leave_incomplete(dump.id, f"process {_pid(dump)} died while it copied", _unfinished(dump))
    elif dump.state in UNWRITTEN:
        context.ledger.hold(dump.id, f"process {_pid(dump)} died while it wrote")
    elif dump.state in UNPROVEN and undo and not dump.ended_at:
        touched = [copy.volume for copy in dump.copies]
        context.ledger.fail(dump.id, "given up before it was verified", datetime.now(UTC), touched=touched)


def _is_cut_off(dump: DumpRecord) -> bool:
    """Whether its process died while it made a copy again."""
    return dump.state in UNPROVEN and bool(_unfinished(dump))


def _unfinished(dump: DumpRecord) -> dict[str, str]:
    return {copy.volume: str(copy.error) for copy in dump.copies if copy.error == UNFINISHED}


def _pid(dump: DumpRecord) -> str:
    return str(dump.owner.pid) if dump.owner else "?"
