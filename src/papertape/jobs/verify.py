"""Reading volumes back at any later time, as many at once as there are drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from papertape.errors import Interrupted, UserError, VerificationFailed
from papertape.evidence import Verification
from papertape.ids import VolumeTag
from papertape.jobs.context import Context, be_patient, ending
from papertape.states import Format
from papertape.tape.drive import Drive
from papertape.transfer.predecessor.verify import PredecessorReading
from papertape.transfer.verify import Reading, VolumeReading, verify_readings


def verify(context: Context, tags: Sequence[VolumeTag]) -> Iterator[Verification]:
    """Read the volumes back, record each result in the ledger, and yield it.

    Asked to stop, it finishes the volumes in drives and ends. Raises UserError, before anything is moved, for a volume
    that the ledger does not know or that holds no finished dump; VolumeError, DriveError and ChangerError if a volume
    cannot be brought to a drive.
    """
    context = be_patient(context)
    with ending("verify", context.tell) as end:
        rest = [_find_expected(context, tag) for tag in dict.fromkeys(tags)]  # 1. Look up what each must hold.
        count = len(rest)
        with context.library.reserve(max(min(count, len(context.library.drives)), 1)) as session:  # 2. Reserve.
            while rest and not context.stop.soon:
                batch, rest = rest[: len(session.drives)], rest[len(session.drives) :]
                with session.mounted([tag for tag, _ in batch]) as drives:  # 3. Mount as many as there are drives.
                    readings = [begin(drive) for (_, begin), drive in zip(batch, drives, strict=True)]
                    verifications = verify_readings(readings, context.tell, context.stop)  # 4. Verify, all at once.
                    for verification in verifications:  # 5. Record, before the cartridges move: the robot may fail.
                        context.ledger.dumps.record_verification(verification)
                if not all(verification.ok for verification in verifications):
                    end.fail(VerificationFailed(verifications))
                yield from verifications
        if rest:
            end.fail(Interrupted(f"interrupted: {count - len(rest)} of {count} volumes were read"))


def _find_expected(context: Context, tag: VolumeTag) -> tuple[VolumeTag, Callable[[Drive], VolumeReading]]:
    """Return ``tag`` and a function that makes the reading of that volume for a drive."""
    dump = context.ledger.dumps.of_volume(tag)
    if dump is not None and dump.format == Format.PREDECESSOR:
        # Its own catalog says what it must hold, if that has the SHA-256 that the ledger knows the dump by.
        return tag, lambda drive: PredecessorReading(tag, None, drive, context.tell, context.stop, digest=dump.uuid)
    if dump is not None:
        expected = context.ledger.contents.expected(dump.id)
        for record in expected.volumes:
            if record.tag == tag:
                return tag, partial(Reading, expected, record, tell=context.tell, stop=context.stop)
    state = context.ledger.volumes.one(tag).state
    raise UserError(f"volume {tag} is {state} and holds no finished dump: there is nothing to compare it with")
