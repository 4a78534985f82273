"""Reading a written dump back, and the only way from there to ``archived``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from papertape.errors import PapertapeError, VerificationFailed, VolumeError
from papertape.evidence import Verification
from papertape.jobs.context import Context, Outcome, add_notes, conclude
from papertape.jobs.heartbeat import heartbeat
from papertape.ledger import CopyRecord
from papertape.settings import CROSSED
from papertape.states import VolumeState
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.verify import verify_volumes


def prove(
    context: Context,
    session: Session,
    dump: int,
    rejected: tuple[tuple[str, str], ...],
    errors: Mapping[str, PapertapeError],
) -> Outcome:
    """Read every whole copy of a written dump back, all at once, and commit it, or say which one is not good.

    ``errors`` are those of copies that could not be written, by volume tag. What hinders the reading itself (a robot
    that is stuck, an interruption) is in the outcome too, and leaves the dump to `papertape recover`.
    """
    results: list[Verification] = []
    error: PapertapeError | None = None
    try:
        context.ledger.start_verifying(dump, context.owner, datetime.now(UTC))
        copies = context.ledger.dump(dump).copies
        sick = _find_sick(context, copies)
        whole = [copy for copy in copies if copy.volume not in sick]
        drives = choose_drives(session.drives, whole, context.settings.mount)
        with session.mounted([copy.volume for copy in whole], drives) as mounted:
            results += _read_back(context, dump, whole, mounted)
            error = judge(context, dump, copies, results, errors)  # a robot that is stuck later takes nothing back
    except PapertapeError as hindrance:
        error = add_notes(error, hindrance)
    return conclude(context.ledger, dump, rejected, tuple(results), error)


def _find_sick(context: Context, copies: Sequence[CopyRecord]) -> dict[str, str]:
    """Return the volumes whose copies are not to be read back, each with the reason."""
    sick = {copy.volume: f"could not be written: {copy.error}" for copy in copies if copy.error}
    for copy in copies:
        volume = context.ledger.volume(copy.volume)
        if volume.state != VolumeState.CLAIMED:
            sick.setdefault(volume.tag, volume.reason)
    return sick


def _read_back(
    context: Context, dump: int, copies: Sequence[CopyRecord], drives: Sequence[Drive]
) -> tuple[Verification, ...]:
    tags = [copy.volume for copy in copies]
    with heartbeat(context.ledger, dump, context.tell, context.stop):
        return verify_volumes(context.ledger.expected(dump), tags, drives, context.tell, context.stop)


def choose_drives(drives: Sequence[int], copies: Sequence[CopyRecord], mount: str) -> list[int]:
    """Return the drive on which each copy is read: another than wrote it for a crossed mount, else the same.

    Where that cannot be had, as with one drive, any will do.
    """
    wrote = [copy.write_drive for copy in copies]
    for shift in range(len(drives)):
        turned = [*drives[shift:], *drives[:shift]][: len(copies)]
        if all((drive != other) is (mount == CROSSED) for drive, other in zip(turned, wrote, strict=True)):
            return turned
    return list(drives[: len(copies)])


def judge(
    context: Context,
    dump: int,
    copies: Sequence[CopyRecord],
    verifications: Sequence[Verification],
    errors: Mapping[str, PapertapeError],
) -> PapertapeError | None:
    """Commit the dump if every copy is good; else set the bad ones aside and return the reason.

    ``errors`` are those of copies that could not be written. With a good copy the dump keeps it, and its data sets, and
    the others are made again; with none they wait for another dump, unless only tapes may still hold them.
    """
    now = datetime.now(UTC)
    bad = _find_sick(context, copies)
    bad |= {item.volume: f"verification failed: {item.findings[0].sentence()}" for item in verifications if not item.ok}
    if not bad:
        context.ledger.commit(dump, verifications, now)
        return None
    error = _why(bad, verifications, errors)
    if any(item.ok for item in verifications) or context.ledger.dump(dump).ended_at:
        context.ledger.leave_incomplete(dump, str(error), bad)
    else:
        context.ledger.fail(dump, str(error), now, aside=bad)
    for verification in verifications:  # once the dump is over: a process that dies here leaves nothing half judged
        context.ledger.record(verification, now)
    return error


def _why(
    bad: Mapping[str, str], verifications: Sequence[Verification], errors: Mapping[str, PapertapeError]
) -> PapertapeError:
    if not all(verification.ok for verification in verifications):
        return VerificationFailed(verifications)
    tag, reason = next(iter(bad.items()))
    return errors.get(tag) or VolumeError(tag, reason)
