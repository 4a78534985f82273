"""The ledger: verbs over one database, each of them one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any

from papertape.evidence import Verification, Written
from papertape.ledger import contents, datasets, dumps, imports, proof, replacement, retrieval, search, volumes
from papertape.ledger import labhistory as history
from papertape.ledger import labrows as lab
from papertape.ledger import written as evidence
from papertape.ledger.database import Database, open_database
from papertape.ledger.imports import Imported, Registered
from papertape.ledger.patience import Patience
from papertape.ledger.records import (
    Deletable,
    DumpRecord,
    Extent,
    Foreign,
    Found,
    FoundFile,
    Heard,
    Held,
    Kept,
    KeptCopy,
    LabRow,
    Listed,
    Marked,
    Owner,
    Registration,
    Rejected,
    Status,
    VolumeStatus,
)
from papertape.plan import Batch, DataSet, Volume
from papertape.states import DumpState, LabKind, LabState
from papertape.volume.catalog import Catalog
from papertape.volume.members import Expected, Member, TapeFile, VolumeRecord
from papertape.volume.recorded import PredecessorVolume, Torn, Whole


def open_ledger(url: str) -> Ledger:
    """Open the ledger at a database url (``sqlite:////folder/ledger.sqlite``); makes or updates its tables.

    Raises UserError for a wrong url, and for a ledger that a newer papertape made; HostError for the database's own
    troubles.
    """
    return Ledger(open_database(url))


class Ledger:
    """What is registered, claimed, written and proven.

    Every method is one transaction and raises HostError for the database's own troubles. The iterators stream, in one
    read transaction: use them up, or drop them. Threads may share a ledger. A ledger remembers which dumps it has
    claimed, and every step of a dump is on condition that the dump still belongs to the process that claimed it.
    """

    def __init__(self, database: Database, owners: dict[int, Owner] | None = None) -> None:
        self._database = database
        self._owners: dict[int, Owner] = {} if owners is None else owners

    def patient(self, patience: Patience) -> Ledger:
        """Return the same ledger, one that waits for a server that is away, and then does once what it was to do.

        Heartbeats do not wait, and iterators over data sets do not.
        """
        return Ledger(self._database.patient(patience), self._owners)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger is not usable any more."""
        self._database.close()

    def register(self, dataset: DataSet, now: datetime) -> Registration:
        """Register one data set and say what came of it; raises UserError if it lies inside another, or around one."""
        return self._database.write(datasets.register, [dataset], now)[0]

    def register_many(
        self,
        sets: Iterable[DataSet],
        now: datetime,
        tell: Callable[[DataSet, Registration], None] | None = None,
    ) -> Counter[Registration]:
        """Register data sets, some hundreds in a transaction; ``tell`` hears of each once it is in.

        Raises UserError as ``register`` does: those told of before stay registered.
        """
        counts: Counter[Registration] = Counter()
        for chunk in datasets.distinct_chunks(sets):
            results = self._database.write(datasets.register, chunk, now)
            counts.update(results)
            if tell is not None:
                for dataset, result in zip(chunk, results, strict=True):
                    tell(dataset, result)
        return counts

    def pending(self, host: str = "") -> Generator[DataSet, None, None]:
        """Yield the data sets of ``host`` ("": of all hosts) that wait, ordered by source."""
        with self._database.reading() as connection:
            yield from datasets.pending(connection, host)

    def reject(self, refused: Iterable[tuple[DataSet, str]]) -> None:
        """Reject waiting data sets, each with its reason; raises ClaimLost, and rejects none, if one does not wait."""
        every = list(refused)
        self._database.step(partial(datasets.are_rejected, refused=every), datasets.reject, every)

    def rejected_as_they_are(self, sets: Sequence[DataSet]) -> dict[str, str]:
        """Return the sources of those that were rejected and have not changed since, with the reasons."""
        return self._database.read(datasets.rejected_as_they_are, sets)

    def rejected(self) -> Iterator[Rejected]:
        """Yield the rejected data sets, ordered by source."""
        with self._database.reading() as connection:
            yield from datasets.rejected(connection)

    def add_volumes(self, added: Iterable[tuple[str, int, int]], now: datetime) -> None:
        """Register blank volumes ``(tag, copy from 1, capacity in bytes)``; raises UserError for a known tag."""
        self._database.write(volumes.add, list(added), now)

    def retire(self, tag: str, reason: str) -> None:
        """Take a volume out of service; raises UserError if it is unknown or a dump has it."""
        self._database.write(volumes.retire, tag, reason)

    def volume(self, tag: str) -> VolumeStatus:
        """Return one volume; raises UserError if it is unknown."""
        return self._database.read(volumes.one, tag)

    def volumes(self) -> tuple[VolumeStatus, ...]:
        """Return every volume, ordered by tag."""
        return self._database.read(lambda connection: tuple(volumes.show(connection)))

    def free_volumes(self, copies: int, loadable: Collection[str]) -> tuple[Volume, ...]:
        """Return the lowest blank tag of each copy that is among the ``loadable`` ones, with a fresh uuid.

        Raises VolumeError if a copy has no blank volume, VolumeMissing if none of them is loadable.
        """
        return self._database.read(volumes.free, copies, loadable)

    def free_volume(self, copy: int, loadable: Collection[str]) -> Volume:
        """Return the lowest blank tag of one copy that is among the ``loadable`` ones; raises like ``free_volumes``."""
        return self._database.read(volumes.free_one, copy, loadable)

    def set_aside(self, tag: str, reason: str) -> None:
        """Say that a volume that no dump has is not to be used, and why."""
        self._database.write(volumes.set_aside_blank, tag, reason)

    def place(self, tag: str, location: str) -> None:
        """Note where a volume lies outside the library; raises UserError if it is unknown."""
        self._database.write(volumes.place, tag, location)

    def seen(self) -> frozenset[str]:
        """Return the volumes of which it is known what lies on them: not those that only a twin's catalog names."""
        return self._database.read(imports.seen)

    def import_volume(
        self, tag: str, found: Whole | Torn | PredecessorVolume, registered: Registered, now: datetime
    ) -> Imported:
        """Enter what a volume says of itself, and return what came of it; what is known already stays as it is.

        With the last of its copies the dump is archived, though not verified: nothing of it is deletable before every
        copy was read back. Raises VolumeError, and enters nothing, where the ledger knows something else of this
        volume or this dump; FormatError for a data set that is on it twice.
        """
        with self._database.writing() as connection:
            volume = imports.Import(connection, tag, registered, now)
            if isinstance(found, Torn):
                return volume.torn(found)
            imported = volume.whole(found) if isinstance(found, Whole) else volume.predecessor(found)
            dump = dumps.of_volume(connection, tag)
            if dump is not None:
                history.replace(connection, dump.id, dump.format, tag)
            return imported

    def begin(self, batch: Batch, owner: Owner, now: datetime) -> int:
        """Claim all that ``batch`` names, reject what it refuses, and return the dump's id.

        A batch with the uuid of a held dump takes that one up. Raises ClaimLost, and claims nothing, if anything was
        taken or changed since the batch was planned: plan again.
        """
        begun = partial(dumps.is_begun, uuid=batch.dump, owner=owner)
        self._database.step(begun, dumps.begin, batch, owner, now)
        dump = self._database.read(dumps.number_of, batch.dump)
        self._owners[dump] = owner
        return dump

    def heartbeat(self, dump: int, now: datetime) -> None:
        """Say that the dump's process is alive; raises ClaimLost if the dump is not its any more: stop writing.

        Raises HostError where others keep the ledger locked for more than ``BRIEF_SECONDS``, LedgerAway (a HostError)
        where its server is away, whatever the patience of this ledger.
        """
        self._database.brief().write(dumps.heartbeat, dump, self._owners.get(dump), now)

    def _step(self, dump: int, to: str, work: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Bring a dump that belongs to this ledger's process, or to nobody, to the state ``to``, once."""
        mine = self._owners.get(dump)
        there = partial(dumps.stands, dump=dump, state=to, owner=mine)
        self._database.step(there, work, dump, mine, *arguments, **named)

    def start_writing(self, dump: int) -> None:
        """Say that from now on the volumes are written to; raises WrongState, ClaimLost."""
        self._step(dump, DumpState.WRITING, dumps.move, (DumpState.PLANNED,), DumpState.WRITING)

    def hold(self, dump: int, reason: str) -> None:
        """Interrupt a dump: its data sets wait, its volumes stay with it; raises WrongState, ClaimLost."""
        held = partial(dumps.stands, dump=dump, state=DumpState.PLANNED, owner=None)
        self._database.step(held, dumps.hold, dump, self._owners.get(dump), reason)
        self._owners.pop(dump, None)

    def held(self) -> tuple[Held, ...]:
        """Return the dumps that are held, oldest first."""
        return self._database.read(dumps.held)

    def written(self, dump: int, catalog: Catalog, copies: Sequence[Written], now: datetime) -> None:
        """Enter what was written: members, places, how each copy went. Rejected data sets leave the dump.

        Those of the dump that are not in the catalog wait again. Raises EvidenceMissing where the catalog is not of
        this dump, its volumes and its data sets; WrongState, ClaimLost.
        """
        self._step(dump, DumpState.WRITTEN, evidence.written, catalog, copies, now)

    def start_verifying(self, dump: int, owner: Owner, now: datetime) -> None:
        """Say that ``owner`` reads a written dump back; raises WrongState, ClaimLost."""
        started = partial(dumps.stands, dump=dump, state=DumpState.VERIFYING, owner=owner)
        self._database.step(started, dumps.start_verifying, dump, self._owners.get(dump), owner, now)
        self._owners[dump] = owner

    def commit(self, dump: int, verifications: Sequence[Verification], now: datetime) -> None:
        """Say that a dump is archived: its data sets, its volumes and itself, or nothing at all.

        Raises EvidenceMissing unless every copy was written and flushed without error and read back whole and equal,
        now or before: as many bytes as its label and tape files have, as many files as its catalog has. Raises
        WrongState, ClaimLost.
        """
        self._step(dump, DumpState.ARCHIVED, proof.commit, verifications, now)

    def fail(
        self,
        dump: int,
        reason: str,
        now: datetime,
        *,
        aside: Mapping[str, str] | None = None,
        touched: Collection[str] = (),
    ) -> None:
        """End a dump that came to nothing: its data sets wait again.

        Set aside are its volumes in ``aside`` (tag: reason), those ``touched``, and those that ``written`` told of as
        touched; the others are blank again. Raises WrongState, ClaimLost.
        """
        self._step(dump, DumpState.FAILED, dumps.fail, reason, now, aside=aside or {}, touched=touched)

    def leave_incomplete(self, dump: int, reason: str, aside: Mapping[str, str]) -> None:
        """Say that a dump has a good copy and lacks those on ``aside`` (tag: reason); raises WrongState, ClaimLost.

        Its data sets stay with it: `papertape recopy` makes the copies that it lacks.
        """
        self._step(dump, DumpState.INCOMPLETE, dumps.leave_incomplete, reason, aside)

    def incomplete(self) -> list[DumpRecord]:
        """Return the dumps that have a good copy and lack another, oldest first."""
        return self._database.read(dumps.incomplete)

    def lacking(self, tag: str) -> DumpRecord:
        """Return the dump whose copy on the volume is to be made again; raises UserError if there is none such."""
        return self._database.read(replacement.find_lacking, tag)

    def replace(self, old: str, new: Volume, owner: Owner, now: datetime) -> int:
        """Give the blank volume ``new`` to a dump in the place of ``old``, and return the dump's id.

        The dump is as if written and not verified yet, ``owner``'s. Raises UserError, ClaimLost.
        """
        self._database.step(partial(volumes.is_claimed, volume=new), replacement.begin, old, new, owner, now)
        dump = self._database.read(replacement.dump_of, new)
        self._owners[dump] = owner
        return dump

    def replaced(self, dump: int, record: VolumeRecord, copy: Written, now: datetime) -> None:
        """Enter how the copy that was made again was written; raises WrongState, ClaimLost."""
        self._database.write(replacement.written, dump, self._owners.get(dump), record, copy, now)

    def abandon(self, dump: int, reason: str, now: datetime) -> None:
        """End a dump that never touched a tape: all it had claimed is free again; raises WrongState, ClaimLost."""
        self._step(dump, DumpState.ABANDONED, dumps.abandon, reason, now)

    def record(self, verification: Verification, now: datetime) -> bool:
        """Enter a verification made by itself, and return whether it proves its volume.

        If not, the volume is set aside, and what lies on it is not deletable any more. Raises UserError for an
        unknown volume.
        """
        return self._database.write(proof.record, verification, now)

    def dismiss(self, dump: int) -> None:
        """Say that nothing is left to be done for a dump that is over; one that is not over stays as it is."""
        self._database.write(dumps.dismiss, dump, self._owners.get(dump))

    def orphans(self, alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        """Return the dumps that are not over and whose owner is not ``alive``, oldest first."""
        return self._ownerless(dumps.OPEN, alive)

    def undismissed(self, alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        """Return the dumps that are over and were never dismissed, and whose owner is not ``alive``, oldest first."""
        return self._ownerless(dumps.OVER, alive)

    def _ownerless(self, states: Collection[str], alive: Callable[[Owner], bool]) -> list[DumpRecord]:
        found = self._database.read(dumps.owned, states)
        return [dump for dump in found if dump.owner is not None and not alive(dump.owner)]

    def take_over(self, dump: DumpRecord, owner: Owner, now: datetime) -> None:
        """Make ``owner`` the owner of an orphan; raises ClaimLost if it is not any more as ``dump`` says."""
        taken = partial(dumps.stands, dump=dump.id, state=dump.state, owner=owner)
        self._database.step(taken, dumps.take_over, dump, owner, now)
        self._owners[dump.id] = owner

    def dump(self, dump: int) -> DumpRecord:
        """Return one dump; raises UserError if it is unknown."""
        return self._database.read(dumps.one, dump)

    def dumps(self) -> tuple[DumpRecord, ...]:
        """Return every dump, newest first."""
        return self._database.read(lambda connection: tuple(dumps.every(connection)))

    def dump_of(self, tag: str) -> DumpRecord | None:
        """Return the dump on a volume, None for one that has none; raises UserError for an unknown volume."""
        return self._database.read(dumps.of_volume, tag)

    def expected(self, dump: int) -> Expected:
        """Return what a volume of a written dump must hold; raises UserError if the dump is unknown."""
        found = self.dump(dump)
        return Expected(
            dump=found.uuid,
            block_size=found.block_size,
            volumes=self.volume_records(dump),
            tape_files=self.tape_files(dump),
            members=partial(self.members, dump),
            rejected=frozenset(self.rejections(dump)),
        )

    def members(self, dump: int) -> Iterator[Member]:
        """Yield every member of a dump from tape file 1 on in tape order, the catalog's own last.

        No transaction stays open between two pages: a tape takes hours to read, and what was written never changes.
        """
        start = 0
        while page := self._members_from(dump, start):
            yield from page
            start += len(page)

    def _members_from(self, dump: int, start: int) -> list[Member]:
        return self._database.read(contents.page_of_members, dump, start)

    def datasets_of(self, dump: int) -> tuple[tuple[int, int, DataSet], ...]:
        """Return the data sets on a dump's tapes in tape order, with their tape files and their numbers."""
        return self._database.read(lambda connection: tuple(datasets.of_dump(connection, dump)))

    def find_kept(self, pattern: str, at: datetime | None = None, dump: int | None = None) -> Iterator[Kept]:
        """Yield the newest version of each data set that matches as in ``find`` and is on tape, ordered by source.

        ``at`` passes over what was written later, ``dump`` over what is not in that dump.
        """
        with self._database.reading() as connection, self._database.reading() as lookup:
            yield from retrieval.find_kept(connection, lookup, pattern, at, dump)

    def dataset_members(self, dump: int, number: int) -> Iterator[Member]:
        """Yield the members of one data set of a dump in tape order; no transaction stays open between two pages."""
        start = 0
        while page := self._dataset_from(dump, number, start):
            for seq, member in page:
                yield member
                start = seq + 1

    def _dataset_from(self, dump: int, number: int, start: int) -> list[tuple[int, Member]]:
        return self._database.read(retrieval.page_of_dataset, dump, number, start)

    def kept_copies(self, dump: int) -> tuple[KeptCopy, ...]:
        """Return the volumes with copies of a dump by copy number, whether they are good or not."""
        return self._database.read(retrieval.copies_of, dump)

    def own_members(self, dump: int) -> list[Member]:
        """Return the members that papertape added to a dump's tape files from 1 on, in tape order."""
        return self._database.read(contents.own_members, dump)

    def extents(self, dump: int) -> list[Extent]:
        """Return where a dump's data sets lie, rejected ones included, and papertape's own members; in tape order."""
        return self._database.read(contents.extents, dump)

    def rejections(self, dump: int) -> dict[int, Rejected]:
        """Return the data sets that were rejected while a dump was written, by their number in the dump."""
        return self._database.read(contents.rejections, dump)

    def tape_files(self, dump: int) -> tuple[TapeFile, ...]:
        """Return a dump's tape files from 1 on."""
        return self._database.read(contents.tape_files, dump)

    def volume_records(self, dump: int) -> tuple[VolumeRecord, ...]:
        """Return the twins of a written dump with their labels, by copy number."""
        return self._database.read(contents.volume_records, dump)

    def status(self) -> Status:
        """Count everything by state."""
        return self._database.read(search.status)

    def deletable(self) -> Iterator[Deletable]:
        """Yield the newest versions that are archived and in doubt on no copy, ordered by source."""
        with self._database.reading() as connection:
            yield from search.deletable(connection)

    def find(self, pattern: str) -> Iterator[Found]:
        """Yield what matches a shell glob over sources (over paths, if it begins with ``/``), or has it as a part."""
        with self._database.reading() as connection:
            yield from search.find(connection, pattern)

    def files(self, found: Found) -> Iterator[FoundFile]:
        """Yield the members of a data set in tape order."""
        with self._database.reading() as connection:
            yield from search.files(connection, found)

    def judge_history(self, listed: Sequence[Listed]) -> list[Heard]:
        """Say for each of some hundreds, with distinct sources, what ``note_history`` would come to."""
        return self._database.read(history.judge, listed)

    def note_history(self, listed: Sequence[Listed]) -> list[Heard]:
        """Remember where data sets lie by the word of the lab's table, where no tape has told; proves nothing.

        At most some hundreds, with distinct sources.
        """
        return self._database.write(history.note, listed)

    def find_listed(self, pattern: str) -> Iterator[Listed]:
        """Yield what matches as in ``find`` and is known by the word of the lab's table alone."""
        with self._database.reading() as connection:
            yield from history.find(connection, pattern)

    def count_listed(self) -> tuple[int, frozenset[str]]:
        """Return how many are known by the word of the lab's table alone, and the labels of their tapes."""
        return self._database.read(history.count)

    def note_lab_rows(self, kind: LabKind, named: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Remember which rows of the lab's tables (their names) stand for which data sets or volumes.

        Returns the names of those that are left out, each with the source for which it stands already, or with "" where
        another row stands for its source.
        """
        with self._database.writing() as connection:
            return lab.note(connection, kind, named)

    def lab_rows_of(self, dump: int, kind: LabKind) -> list[LabRow]:
        """Return the lab's rows behind the data sets that a dump has claimed, or behind its volumes."""
        with self._database.reading() as connection:
            return lab.of_dump(connection, dump, kind)

    def mark_lab_rows(self, rows: Sequence[LabRow], dump: int, job: int) -> None:
        """Say that rows may bear the mark of ``job`` from now on: before the lab's own table says it."""
        with self._database.writing() as connection:
            lab.mark(connection, rows, dump, job)

    def marked_lab_rows(self) -> list[Marked]:
        """Return the lab's rows that bear a mark of ours, or may, and what is to be done with them."""
        with self._database.reading() as connection:
            return lab.marked(connection)

    def unmark_lab_rows(self, rows: Sequence[LabRow], state: LabState, reason: str = "") -> None:
        """Say that rows bear our mark no more; one that another dump has marked meanwhile stays as it is."""
        with self._database.writing() as connection:
            lab.unmark(connection, rows, state, reason)

    def lab_counts(self) -> dict[tuple[str, str], int]:
        """Count the lab's rows by kind and state."""
        with self._database.reading() as connection:
            return lab.count(connection)

    def foreign_lab_rows(self) -> list[Foreign]:
        """Return the lab's rows that somebody else changed while they were ours, by name."""
        with self._database.reading() as connection:
            return lab.foreign(connection)
