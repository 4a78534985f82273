"""Reading volumes back at any later time, as many at once as there are drives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from papertape.errors import Interrupted, UserError, VerificationFailed
from papertape.evidence import Verification
from papertape.jobs.context import Context, be_patient, ending
from papertape.ledger import Ledger
from papertape.states import Format
from papertape.tape.drive import Drive
from papertape.tape.library import Session
from papertape.transfer.predecessor.verify import PredecessorReading
from papertape.transfer.verify import Reading, VolumeReading, verify_readings
from papertape.volume.members import Expected, VolumeRecord


class _Ours(NamedTuple):
    """What a volume of papertape's is held against."""

    expected: Expected
    record: VolumeRecord

    def read(self, drive: Drive, context: Context) -> VolumeReading:
        return Reading(self.expected, self.record, drive, context.tell, context.stop)


class _PredecessorVolume(NamedTuple):
    """What a volume of the predecessor's is held against: its own catalog, if that has this SHA-256."""

    tag: str
    digest: str

    def read(self, drive: Drive, context: Context) -> VolumeReading:
        return PredecessorReading(self.tag, None, drive, context.tell, context.stop, digest=self.digest)


_Wanted = _Ours | _PredecessorVolume


def verify(context: Context, tags: Sequence[str]) -> Iterator[Verification]:
    """Read the volumes back, record each result in the ledger, and yield it; asked to stop, end with those in drives.

    Raises UserError, before anything is moved, for a volume that the ledger does not know or that holds no finished
    dump; VolumeError, DriveError and ChangerError where a volume cannot be brought before a drive.
    """
    context = be_patient(context)
    with ending("verify", context.tell) as end:
        wanted = {tag: _look_up(context.ledger, tag) for tag in tags}
        count = min(len(wanted), len(context.library.drives))
        with context.library.reserve(max(count, 1)) as session:
            rest = list(wanted)
            while rest and not context.stop.soon:
                verifications = _verify_some(context, session, {tag: wanted[tag] for tag in rest[:count]})
                if not all(verification.ok for verification in verifications):
                    end.fail(VerificationFailed(verifications))
                yield from verifications
                rest = rest[count:]
        if rest:
            end.fail(Interrupted(f"interrupted: {len(wanted) - len(rest)} of {len(wanted)} volumes were read"))


def _look_up(ledger: Ledger, tag: str) -> _Wanted:
    dump = ledger.dumps.of_volume(tag)
    if dump is not None and dump.format == Format.PREDECESSOR:
        return _PredecessorVolume(tag, dump.uuid)
    if dump is not None:
        expected = ledger.contents.expected(dump.id)
        for record in expected.volumes:
            if record.tag == tag:
                return _Ours(expected, record)
    state = ledger.volumes.one(tag).state
    raise UserError(f"volume {tag} is {state} and holds no finished dump: there is nothing to hold it against")


def _verify_some(context: Context, session: Session, wanted: Mapping[str, _Wanted]) -> tuple[Verification, ...]:
    with session.mounted(list(wanted)) as drives:
        readings = [each.read(drive, context) for each, drive in zip(wanted.values(), drives, strict=True)]
        verifications = verify_readings(readings, context.tell, context.stop)
        for verification in verifications:  # a robot that is stuck later takes nothing back
            context.ledger.dumps.record_verification(verification)
    return verifications
