"""Reading volumes back at any later time, as many at once as there are drives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from papertape.errors import UserError
from papertape.jobs.context import Context
from papertape.ledger import Ledger
from papertape.tape.library import Session
from papertape.transfer.verify import Reading, verify_readings
from papertape.volume.catalog import Expected, VolumeRecord
from papertape.volume.evidence import Verification


def verify(context: Context, tags: Sequence[str]) -> Iterator[Verification]:
    """Read the volumes back, record each result in the ledger, and yield it; asked to stop, end with those in drives.

    Raises UserError, before anything is moved, for a volume that the ledger does not know or that holds no finished
    dump; VolumeError, DriveError and ChangerError where a volume cannot be brought before a drive.
    """
    wanted = {tag: _look_up(context.ledger, tag) for tag in tags}
    count = min(len(wanted), len(context.library.drives))
    with context.library.reserve(max(count, 1)) as session:
        rest = list(wanted)
        while rest and not context.stop.soon:
            yield from _verify_some(context, session, {tag: wanted[tag] for tag in rest[:count]})
            rest = rest[count:]


def _look_up(ledger: Ledger, tag: str) -> tuple[Expected, VolumeRecord]:
    dump = ledger.dump_of(tag)
    if dump is not None:
        expected = ledger.expected(dump.id)
        for record in expected.volumes:
            if record.tag == tag:
                return expected, record
    state = ledger.volume(tag).state
    raise UserError(f"volume {tag} is {state} and holds no finished dump: there is nothing to hold it against")


def _verify_some(
    context: Context, session: Session, wanted: dict[str, tuple[Expected, VolumeRecord]]
) -> tuple[Verification, ...]:
    with session.mounted(list(wanted)) as drives:
        readings = [
            Reading(expected, record, drive, context.report, context.stop)
            for (expected, record), drive in zip(wanted.values(), drives, strict=True)
        ]
        verifications = verify_readings(readings, context.report, context.stop)
        for verification in verifications:  # a robot that is stuck later takes nothing back
            context.ledger.record(verification, datetime.now(UTC))
    return verifications
