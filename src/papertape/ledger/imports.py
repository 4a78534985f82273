"""Imports: enter the catalog or label that a volume has, as if this ledger had been there when it was written.

There is one exception: nobody has read the volume back whole, so no copy counts as verified and nothing is deletable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from papertape.clock import Clock
from papertape.errors import VolumeError
from papertape.ids import DumpId, VolumeTag
from papertape.ledger import contents, history, places, proof
from papertape.ledger import written as evidence
from papertape.ledger.claims import dump_on, read_dump
from papertape.ledger.database import Database
from papertape.ledger.schema import COPIES, DATASETS, DUMPS, MEMBERS, VOLUMES
from papertape.states import DataSetState, DumpState, Format, VolumeState
from papertape.volume.members import DataSetRecord, VolumeRecord
from papertape.volume.plan import PLAN_CSV, read_planned
from papertape.volume.predecessor.catalog import PredecessorCatalog
from papertape.volume.recorded import PredecessorVolume, Torn, Whole, program_version
from papertape.words import enumerate_names

UNKNOWN_KIND = "unknown"
"""The kind of a predecessor's data set: only its archive says whether it is a file or a directory."""

_TAKEN = (VolumeState.CLAIMED, VolumeState.ARCHIVED)
_OPEN_TO_IMPORTS = (DumpState.INCOMPLETE, DumpState.FAILED, DumpState.ARCHIVED)
"""States of a dump that may have volumes unknown to the ledger; a failed one, if only torn copies were imported."""


class Registered(NamedTuple):
    """Facts that are not on the tape.

    ``capacity`` (bytes) is that of a volume that is new to the ledger; ``copies`` is how many copies the predecessor's
    dumps have; ``copy`` is the copy number that follows from the volume's tag, None if none follows.
    """

    capacity: int
    copies: int
    copy: int | None


class Imported(NamedTuple):
    """The result for one volume: the dump on it (its uuid, None if unknown) and the states in the ledger now.

    ``changed`` is False if the ledger knew everything; ``reason`` is why the volume does not count, "" if it does.
    """

    dump: str | None
    dump_state: str | None
    volume_state: str
    reason: str
    changed: bool


class _Copy(NamedTuple):
    """A copy to enter; ``values`` are those of its row, without dump, volume and copy number."""

    tag: VolumeTag
    uuid: str | None
    copy: int
    values: dict[str, Any]


class Imports:
    """Enters volumes that this ledger did not write; every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def seen(self) -> frozenset[VolumeTag]:
        """Return the volumes whose contents are known, without those that only a twin's catalog names."""
        return self._database.read(history.seen_volumes)

    def enter(self, tag: VolumeTag, found: Whole | Torn | PredecessorVolume, registered: Registered) -> Imported:
        """Enter what was ``found`` on a volume and return the result; entries that exist already stay unchanged.

        With the last of its copies the dump is archived, but not verified: nothing of it is deletable before every
        copy was read back. Raises VolumeError, and enters nothing, if the ledger has other facts about this volume or
        this dump; FormatError for a data set that is on it twice.
        """
        with self._database.writing() as connection:
            volume = _Import(connection, tag, registered, self._clock())
            if isinstance(found, Torn):
                return volume.torn(found)
            imported = volume.whole(found) if isinstance(found, Whole) else volume.predecessor(found)
            dump = dump_on(connection, tag)
            if dump is not None:
                # In the same transaction: a data set must not be known from the tape and from the lab's table at once.
                history.forget(connection, dump.id, dump.format, tag)
            return imported


class _Import:
    """The import of one volume, in one transaction; all methods raise VolumeError for a contradiction."""

    def __init__(self, connection: Connection, tag: VolumeTag, registered: Registered, now: datetime) -> None:
        self._connection = connection
        self._tag = tag
        self._registered = registered
        self._now = now
        self._volume = connection.execute(select(VOLUMES).where(VOLUMES.c.tag == tag)).first()

    def whole(self, found: Whole) -> Imported:
        """Enter a volume with a catalog."""
        catalog = found.catalog
        dump = self._find_dump(catalog.dump)
        self._refuse_other(dump, found.label.volume_uuid)
        if dump is not None:
            self._refuse_other_catalog(dump, found)
            volume = self._volume
            # The ledger may know this recording and have taken it out of the dump: another volume is in its place.
            replaced = volume is not None and volume.uuid == found.label.volume_uuid and volume.dump_id is None
            if replaced or self._is_settled(dump):
                return self._report(changed=False)
        values: dict[str, Any] = {"datasets": catalog.datasets, "files": catalog.files, "size": catalog.size}
        values |= {"block_size": catalog.block_size, "version": found.version, "format": Format.PAPERTAPE}
        the_id = self._enter_dump(dump, catalog.dump, catalog.created, values)
        if not contents.tape_files(self._connection, the_id):
            evidence.enter_members(self._connection, the_id, catalog)
            self._place(the_id, catalog.created, catalog.dataset_records())
        written = {
            "written_at": found.label.created,
            "flushed_at": found.label.created,  # the catalog comes last: it is whole, so all before it was flushed
            "write_serial": found.record.drive_serial or None,
            "bytes": found.record.label.size + sum(item.size for item in catalog.tape_files),
            "files": catalog.files,
            "version": program_version(found.label.written_by),
            "label": evidence.describe_label(found.record),
        }
        self._enter_copy(the_id, _Copy(self._tag, found.label.volume_uuid, found.label.copy, written))
        for twin in catalog.volumes:
            self._expect_twin(the_id, twin)
        self._settle(the_id, len(catalog.volumes))
        return self._report(changed=True)

    def torn(self, found: Torn) -> Imported:
        """Enter a volume that ends without a catalog: as the bad copy of its dump, if its plan or its twin is known."""
        dump = self._find_torn_dump(found)
        self._refuse_other(dump, found.label.volume_uuid)
        if dump is not None:
            if self._is_settled(dump):
                return self._report(changed=False)
            the_id = DumpId(dump.id)
        elif found.plan is None:
            self._register(found.label.volume_uuid, found.label.copy, None, VolumeState.ASIDE, found.reason)
            return self._report(changed=True)
        else:
            # Only the plan is known, and nothing proves what was written: the dump failed, its data sets are rejected.
            plan = found.plan
            values: dict[str, Any] = {"datasets": 0, "files": 0, "size": 0, "block_size": plan.block_size}
            values |= {"version": program_version(plan.written_by), "format": Format.PAPERTAPE}
            the_id = self._enter_dump(None, plan.dump, plan.created, values)
            failed = {"state": DumpState.FAILED, "reason": found.reason}
            self._connection.execute(update(DUMPS).where(DUMPS.c.id == the_id).values(**failed))
            places.enter_torn(
                self._connection,
                tag=self._tag,
                dump=the_id,
                planned=read_planned(found.folder / PLAN_CSV),
                last=found.last,
                now=self._now,
            )
        error = {"error": found.reason, "label": evidence.describe_label(found.record)}
        self._enter_copy(the_id, _Copy(self._tag, found.label.volume_uuid, found.label.copy, error))
        return self._report(changed=True)

    def predecessor(self, found: PredecessorVolume) -> Imported:
        """Enter a volume of the predecessor; its two twins are equal, and neither names the other."""
        catalog = found.catalog
        dump = self._find_dump(catalog.sha256)
        self._refuse_other(dump, None)
        if dump is not None and self._is_settled(dump):
            return self._report(changed=False)
        created = catalog.created
        values: dict[str, Any] = {
            "datasets": len(catalog.items),
            "files": len(catalog.items),
            "size": 0,
            "block_size": 0,
        }
        values |= {"version": catalog.version, "format": Format.PREDECESSOR}
        the_id = self._enter_dump(dump, catalog.sha256, created, values)
        if dump is None:
            self._place(the_id, created, predecessor_records(catalog))
        written: dict[str, Any] = {"written_at": created, "flushed_at": created, "files": len(catalog.items)}
        written |= {"version": catalog.version}
        # The tape has no copy number: take the one of the tag if it is free, else the lowest free one.
        taken = {row.copy for row in self._copies(the_id) if row.tag != self._tag}
        number = self._registered.copy
        if not number or number in taken:
            number = min(set(range(1, len(taken) + 2)) - taken)
        self._enter_copy(the_id, _Copy(self._tag, None, number, {"error": found.reason} if found.reason else written))
        self._settle(the_id, self._registered.copies)
        return self._report(changed=True)

    def _find_dump(self, uuid: str) -> Row[Any] | None:
        return self._connection.execute(select(DUMPS).where(DUMPS.c.uuid == uuid)).first()

    def _find_torn_dump(self, found: Torn) -> Row[Any] | None:
        """Return the dump that was being written: its plan names it, or its twins do."""
        if found.plan is not None:
            return self._find_dump(found.plan.dump)
        uuids = [found.label.volume_uuid, *(twin.volume_uuid for twin in found.label.twins)]
        query = select(DUMPS).join(VOLUMES, VOLUMES.c.dump_id == DUMPS.c.id).where(VOLUMES.c.uuid.in_(uuids))
        return self._connection.execute(query).first()

    def _refuse_other(self, dump: Row[Any] | None, uuid: str | None) -> None:
        """Raise VolumeError if the ledger knows another recording on this volume than the one that was found."""
        volume = self._volume
        if volume is None or volume.dump_id is None:
            return
        if dump is None or volume.dump_id != dump.id or (uuid and volume.uuid and volume.uuid != uuid):
            known = read_dump(self._connection, volume.dump_id).uuid
            reason = f"the ledger says that dump {known} is on it, and the tape holds another recording"
            raise VolumeError(self._tag, f"{reason}: nothing was changed; look which cartridge has this label")

    def _refuse_other_catalog(self, dump: Row[Any], found: Whole) -> None:
        """Raise VolumeError if the ledger has the catalog from a twin and it differs from this one (R3)."""
        known = contents.tape_files(self._connection, dump.id)
        last = select(MEMBERS.c.sha256).where(MEMBERS.c.dump_id == dump.id).order_by(MEMBERS.c.seq.desc()).limit(1)
        own = found.catalog.own_members[-1].sha256
        if known and (known != found.catalog.tape_files or self._connection.scalar(last) != own):
            reason = f"its catalog is not the one that the ledger has of dump {dump.uuid}"
            raise VolumeError(self._tag, f"{reason}: nothing was changed; verify its twins")

    def _is_settled(self, dump: Row[Any]) -> bool:
        """Whether the ledger knows everything on this volume: it was there when it was written, or imported it."""
        if dump.state not in _OPEN_TO_IMPORTS:
            return True
        mine = next((row for row in self._copies(dump.id) if row.tag == self._tag), None)
        if mine is None:
            return False
        # A copy with none of these is known from the catalog of its twin alone.
        seen = not (mine.flushed_at is None and mine.error is None and mine.label is None)
        return seen or bool(dump.state == DumpState.FAILED)

    def _copies(self, dump: DumpId) -> list[Row[Any]]:
        query = select(COPIES, VOLUMES.c.tag, VOLUMES.c.uuid, VOLUMES.c.state)
        joined = query.join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id).where(COPIES.c.dump_id == dump)
        return list(self._connection.execute(joined.order_by(COPIES.c.copy)))

    def _enter_dump(self, dump: Row[Any] | None, uuid: str, created: datetime, values: dict[str, Any]) -> DumpId:
        """Enter the dump, or complete one that was known from torn copies alone; return its id."""
        values = {**values, "created_at": created, "started_at": created}
        if dump is None:
            row = {**values, "uuid": uuid, "state": DumpState.INCOMPLETE, "ended_at": self._now}
            self._connection.execute(insert(DUMPS).values(**row))
            return DumpId(self._connection.execute(select(DUMPS.c.id).where(DUMPS.c.uuid == uuid)).scalar_one())
        if dump.state == DumpState.FAILED:
            # A whole catalog replaces the data sets that were rejected because only a plan named them.
            salvaged = (DATASETS.c.dump_id == dump.id) & (DATASETS.c.state == DataSetState.REJECTED)
            self._connection.execute(delete(DATASETS).where(salvaged))
            values = {**values, "state": DumpState.INCOMPLETE}
            self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump.id).values(**values))
        return DumpId(dump.id)

    def _place(self, dump: DumpId, created: datetime, records: Iterable[DataSetRecord]) -> None:
        places.enter(self._connection, tag=self._tag, dump=dump, created=created, records=records, now=self._now)

    def _enter_copy(self, dump: DumpId, copy: _Copy) -> None:
        """Enter a copy, unless a better one has its copy number; a worse one is set aside and leaves the dump."""
        rivals = [row for row in self._copies(dump) if row.copy == copy.copy and row.tag != copy.tag]
        better = next((row for row in rivals if _beats(row, copy.values)), None)
        if better is not None:
            self._register(copy.uuid, copy.copy, None, VolumeState.ASIDE, f"replaced by {better.tag}")
            mine = (COPIES.c.dump_id == dump) & (COPIES.c.volume_id == self._volume_id())
            self._connection.execute(delete(COPIES).where(mine))
            return
        for row in rivals:
            self._connection.execute(
                delete(COPIES).where(COPIES.c.dump_id == dump, COPIES.c.volume_id == row.volume_id)
            )
            replaced = {"dump_id": None, "state": VolumeState.ASIDE, "reason": f"replaced by {copy.tag}"}
            self._connection.execute(update(VOLUMES).where(VOLUMES.c.id == row.volume_id).values(**replaced))
        error = copy.values.get("error")
        self._register(copy.uuid, copy.copy, dump, VolumeState.ASIDE if error else VolumeState.CLAIMED, error or "")
        its = {"dump_id": dump, "volume_id": self._volume_id()}
        self._connection.execute(delete(COPIES).where(*(COPIES.c[name] == value for name, value in its.items())))
        self._connection.execute(insert(COPIES).values(**its, copy=copy.copy, touched=True, **copy.values))

    def _expect_twin(self, dump: DumpId, twin: VolumeRecord) -> None:
        """Register a twin that the catalog names and nobody has seen, unless another volume has its copy number."""
        if twin.copy in {row.copy for row in self._copies(dump)}:
            return
        known = self._connection.execute(select(VOLUMES).where(VOLUMES.c.tag == twin.tag)).first()
        if known is not None and known.dump_id is not None:
            return  # the ledger knows another dump on it: this dump stays incomplete
        remedy = f"`papertape volumes import {twin.tag}`, or `papertape recopy {twin.tag}` if it is lost"
        reason = f"named by the catalog on {self._tag}, and not seen yet: {remedy}"
        entered = _enter_volume(self._connection, known, twin.tag, self._registered.capacity, self._now)
        self._connection.execute(
            update(VOLUMES)
            .where(VOLUMES.c.id == entered)
            .values(**_unless_retired(known, VolumeState.ASIDE, reason), uuid=twin.uuid, copy=twin.copy, dump_id=dump)
        )
        row = {"dump_id": dump, "volume_id": entered, "copy": twin.copy, "touched": True}
        self._connection.execute(insert(COPIES).values(**row))

    def _register(self, uuid: str | None, copy: int, dump: DumpId | None, state: VolumeState, reason: str) -> None:
        """Enter the state of this volume; a retired one stays retired."""
        entered = _enter_volume(self._connection, self._volume, self._tag, self._registered.capacity, self._now)
        values = {**_unless_retired(self._volume, state, reason), "uuid": uuid, "copy": copy, "dump_id": dump}
        self._connection.execute(update(VOLUMES).where(VOLUMES.c.id == entered).values(**values))

    def _volume_id(self) -> int:
        return int(self._connection.execute(select(VOLUMES.c.id).where(VOLUMES.c.tag == self._tag)).scalar_one())

    def _settle(self, dump: DumpId, wanted: int) -> None:
        """Call the dump archived if every copy was seen with a whole catalog, else note which copies are missing."""
        rows = self._copies(dump)
        good = [row for row in rows if row.flushed_at and not row.error and row.state in _TAKEN]
        complete = len(good) == len(rows) and len(good) >= wanted
        if complete or read_dump(self._connection, dump).state == DumpState.ARCHIVED:
            self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump).values(reason=""))
            proof.say_archived(self._connection, dump)
            return
        lacking = enumerate_names(row.tag for row in rows if row not in good) or "another volume"
        reason = f"imported; no good copy yet on {lacking}"
        self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump).values(reason=reason))

    def _report(self, *, changed: bool) -> Imported:
        volume = self._connection.execute(select(VOLUMES).where(VOLUMES.c.tag == self._tag)).one()
        if volume.dump_id is None:
            return Imported(None, None, volume.state, volume.reason, changed)
        dump = read_dump(self._connection, volume.dump_id)
        return Imported(dump.uuid, dump.state, volume.state, volume.reason, changed)


def _enter_volume(connection: Connection, known: Row[Any] | None, tag: VolumeTag, capacity: int, now: datetime) -> int:
    """Return the id of the volume ``tag``; enter it first if it is not ``known``."""
    if known is None:
        row = {"tag": tag, "copy": 1, "capacity": capacity, "state": VolumeState.ASIDE, "registered_at": now}
        connection.execute(insert(VOLUMES).values(**row))
    return int(connection.execute(select(VOLUMES.c.id).where(VOLUMES.c.tag == tag)).scalar_one())


def _unless_retired(known: Row[Any] | None, state: VolumeState, reason: str) -> dict[str, Any]:
    retired = known is not None and known.state == VolumeState.RETIRED
    return {} if retired else {"state": state, "reason": reason}


def _beats(row: Row[Any], values: dict[str, Any]) -> bool:
    """Whether a known copy stays instead of the new one: it was read back whole, or was written later."""
    written = values.get("written_at")
    if written is None:  # the new one is torn: any copy that was flushed is better
        return row.flushed_at is not None
    return bool(row.verified_at or (row.written_at and row.written_at >= written))


def predecessor_records(catalog: PredecessorCatalog) -> Iterator[DataSetRecord]:
    """Yield the predecessor's data sets, numbered from 0; the first archive is tape file 1, after the catalog."""
    for item in catalog.items:
        yield DataSetRecord(
            number=item.number - 1,
            source=item.source,
            kind=UNKNOWN_KIND,
            tape_file=item.tape_index + 1,
            offset=0,
            files=0,
            size=0,
            md5=item.md5,
            fingerprint="",
            reason="",
        )
