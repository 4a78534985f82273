"""Imports: what a volume says of itself is entered as if this ledger had been there when it was written.

One exception: nobody has read the volume back whole, so no copy counts as verified, and nothing is deletable.
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
"""The kind of a data set of the predecessor's: nothing but its archive says whether it is a file or a directory."""

_TAKEN = (VolumeState.CLAIMED, VolumeState.ARCHIVED)
_OPEN_TO_IMPORTS = (DumpState.INCOMPLETE, DumpState.FAILED, DumpState.ARCHIVED)
"""The states of a dump that may get a new volume by an import; a failed one, if only torn copies were imported."""


class Registered(NamedTuple):
    """Facts that are not on the tape: the ``capacity`` in bytes of a volume that is new to the ledger, and how many
    ``copies`` the predecessor's dumps have; ``copy`` is which one the volume's tag says, None if it says nothing.
    """

    capacity: int
    copies: int
    copy: int | None


class Imported(NamedTuple):
    """The result for a volume: the dump on it (its uuid, None if unknown), and the states that the ledger has now.

    ``changed`` is False where the ledger knew it all; ``reason`` is why the volume does not count, "" if it does.
    """

    dump: str | None
    dump_state: str | None
    volume_state: str
    reason: str
    changed: bool


class _Copy(NamedTuple):
    """A copy that must be entered; ``values`` are those of its row, beside dump, volume and copy number."""

    tag: VolumeTag
    uuid: str | None
    copy: int
    values: dict[str, Any]


class Imports:
    """Volumes that come into a ledger with their own labels and catalogs; every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def seen(self) -> frozenset[VolumeTag]:
        """Return the volumes whose contents are known: not those that only a twin's catalog names."""
        return self._database.read(history.seen_volumes)

    def enter(self, tag: VolumeTag, found: Whole | Torn | PredecessorVolume, registered: Registered) -> Imported:
        """Enter what a volume says of itself, and return what came of it; what is known already stays as it is.

        With the last of its copies the dump is archived, though not verified: nothing of it is deletable before every
        copy was read back. Raises VolumeError, and enters nothing, where the ledger knows something else of this
        volume or this dump; FormatError for a data set that is on it twice.
        """
        with self._database.writing() as connection:
            volume = _Import(connection, tag, registered, self._clock())
            if isinstance(found, Torn):
                return volume.torn(found)
            imported = volume.whole(found) if isinstance(found, Whole) else volume.predecessor(found)
            dump = dump_on(connection, tag)
            if dump is not None:
                history.forget(connection, dump.id, dump.format, tag)
            return imported


class _Import:
    """One volume on its way into the ledger, in one transaction; all methods raise VolumeError for a contradiction."""

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
            if self._is_settled(dump) or self._is_let_go(found.label.volume_uuid):
                return self._tell(changed=False)
        the_id = self._enter_dump(dump, catalog.dump, catalog.created, _describe_dump(found))
        if not contents.tape_files(self._connection, the_id):
            evidence.enter_members(self._connection, the_id, catalog)
            self._place(the_id, catalog.created, catalog.dataset_records())
        copy = _Copy(self._tag, found.label.volume_uuid, found.label.copy, _describe_copy(found))
        self._enter_copy(the_id, copy)
        for twin in catalog.volumes:
            self._expect_twin(the_id, twin)
        self._settle(the_id, len(catalog.volumes))
        return self._tell(changed=True)

    def torn(self, found: Torn) -> Imported:
        """Enter a volume that ends without a catalog: as the bad copy of its dump, if its twin is known."""
        dump = self._find_torn_dump(found)
        self._refuse_other(dump, found.label.volume_uuid)
        if dump is not None and self._is_settled(dump):
            return self._tell(changed=False)
        if dump is None and found.plan is None:
            self._register(found.label.volume_uuid, found.label.copy, None, VolumeState.ASIDE, found.reason)
            return self._tell(changed=True)
        the_id = dump.id if dump else self._enter_torn_dump(found)
        error = {"error": found.reason, "label": evidence.describe_label(found.record)}
        self._enter_copy(the_id, _Copy(self._tag, found.label.volume_uuid, found.label.copy, error))
        return self._tell(changed=True)

    def predecessor(self, found: PredecessorVolume) -> Imported:
        """Enter a volume of the predecessor's; its two twins are the same, and neither names the other."""
        catalog = found.catalog
        dump = self._find_dump(catalog.sha256)
        self._refuse_other(dump, None)
        if dump is not None and self._is_settled(dump):
            return self._tell(changed=False)
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
        number = self._choose_copy(the_id)
        self._enter_copy(the_id, _Copy(self._tag, None, number, {"error": found.reason} if found.reason else written))
        self._settle(the_id, self._registered.copies)
        return self._tell(changed=True)

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
            raise VolumeError(self._tag, f"{reason}: nothing was changed; find out which cartridge has this label")

    def _refuse_other_catalog(self, dump: Row[Any], found: Whole) -> None:
        """Raise VolumeError if the twin's catalog, known already, is not this very one (R3)."""
        known = contents.tape_files(self._connection, dump.id)
        last = select(MEMBERS.c.sha256).where(MEMBERS.c.dump_id == dump.id).order_by(MEMBERS.c.seq.desc()).limit(1)
        own = found.catalog.own_members[-1].sha256
        if known and (known != found.catalog.tape_files or self._connection.scalar(last) != own):
            reason = f"its catalog is not the one that the ledger has of dump {dump.uuid}"
            raise VolumeError(self._tag, f"{reason}: nothing was changed; verify its twins")

    def _is_settled(self, dump: Row[Any]) -> bool:
        """Whether the ledger knows all of this volume: it was there when it was written, or imported it before."""
        mine = next((row for row in self._copies(dump.id) if row.tag == self._tag), None)
        if dump.state not in _OPEN_TO_IMPORTS:
            return True
        return mine is not None and (dump.state == DumpState.FAILED or not _is_unseen(mine))

    def _is_let_go(self, uuid: str) -> bool:
        """Whether the ledger knows this very recording, and has taken it out of its dump: another is in its place."""
        volume = self._volume
        return volume is not None and volume.uuid == uuid and volume.dump_id is None

    def _copies(self, dump: DumpId) -> list[Row[Any]]:
        query = select(COPIES, VOLUMES.c.tag, VOLUMES.c.uuid, VOLUMES.c.state)
        joined = query.join(VOLUMES, COPIES.c.volume_id == VOLUMES.c.id).where(COPIES.c.dump_id == dump)
        return list(self._connection.execute(joined.order_by(COPIES.c.copy)))

    def _enter_dump(self, dump: Row[Any] | None, uuid: str, created: datetime, values: dict[str, Any]) -> DumpId:
        """Enter the dump, or complete one that only torn copies had shown before; return its id."""
        values = {**values, "created_at": created, "started_at": created}
        if dump is None:
            row = {**values, "uuid": uuid, "state": DumpState.INCOMPLETE, "ended_at": self._now}
            self._connection.execute(insert(DUMPS).values(**row))
            return DumpId(self._connection.execute(select(DUMPS.c.id).where(DUMPS.c.uuid == uuid)).scalar_one())
        if dump.state == DumpState.FAILED:
            salvaged = (DATASETS.c.dump_id == dump.id) & (DATASETS.c.state == DataSetState.REJECTED)
            self._connection.execute(delete(DATASETS).where(salvaged))
            values = {**values, "state": DumpState.INCOMPLETE}
            self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump.id).values(**values))
        return DumpId(dump.id)

    def _enter_torn_dump(self, found: Torn) -> DumpId:
        """Enter a dump that is known only by its plan: the planned data sets have to be archived again."""
        plan = found.plan
        assert plan is not None  # noqa: S101  # the caller looked
        values: dict[str, Any] = {"datasets": 0, "files": 0, "size": 0, "block_size": plan.block_size}
        values |= {"version": program_version(plan.written_by), "format": Format.PAPERTAPE}
        the_id = self._enter_dump(None, plan.dump, plan.created, values)
        failed = {"state": DumpState.FAILED, "reason": found.reason}
        self._connection.execute(update(DUMPS).where(DUMPS.c.id == the_id).values(**failed))
        planned = read_planned(found.folder / PLAN_CSV)
        places.enter_torn(self._connection, the_id, self._tag, planned, found.last, self._now)
        return the_id

    def _place(self, dump: DumpId, created: datetime, records: Iterable[DataSetRecord]) -> None:
        places.enter(self._connection, self._tag, dump, created, records, self._now)

    def _choose_copy(self, dump: DumpId) -> int:
        taken = {row.copy for row in self._copies(dump) if row.tag != self._tag}
        wanted = self._registered.copy
        return wanted if wanted and wanted not in taken else min(set(range(1, len(taken) + 2)) - taken)

    def _enter_copy(self, dump: DumpId, copy: _Copy) -> None:
        """Enter a copy, unless a later one has replaced it; a copy that this one replaces is released."""
        rivals = [row for row in self._copies(dump) if row.copy == copy.copy and row.tag != copy.tag]
        better = next((row for row in rivals if _beats(row, copy.values)), None)
        if better is not None:
            self._register(copy.uuid, copy.copy, None, VolumeState.ASIDE, f"replaced by {better.tag}")
            mine = (COPIES.c.dump_id == dump) & (COPIES.c.volume_id == self._volume_id())
            self._connection.execute(delete(COPIES).where(mine))
            return
        for row in rivals:
            self._let_go(dump, row, copy.tag)
        error = copy.values.get("error")
        self._register(copy.uuid, copy.copy, dump, VolumeState.ASIDE if error else VolumeState.CLAIMED, error or "")
        its = {"dump_id": dump, "volume_id": self._volume_id()}
        self._connection.execute(delete(COPIES).where(*(COPIES.c[name] == value for name, value in its.items())))
        self._connection.execute(insert(COPIES).values(**its, copy=copy.copy, touched=True, **copy.values))

    def _let_go(self, dump: DumpId, row: Row[Any], replaced_by: str) -> None:
        """Take a volume out of the dump whose place another one has taken."""
        self._connection.execute(delete(COPIES).where(COPIES.c.dump_id == dump, COPIES.c.volume_id == row.volume_id))
        change = {"dump_id": None, "state": VolumeState.ASIDE, "reason": f"replaced by {replaced_by}"}
        self._connection.execute(update(VOLUMES).where(VOLUMES.c.id == row.volume_id).values(**change))

    def _expect_twin(self, dump: DumpId, twin: VolumeRecord) -> None:
        """Register a twin that the catalog names and nobody has seen, unless another volume has its place."""
        if twin.copy in {row.copy for row in self._copies(dump)}:
            return
        known = self._connection.execute(select(VOLUMES).where(VOLUMES.c.tag == twin.tag)).first()
        if known is not None and known.dump_id is not None:
            return  # it holds something else, as the ledger knows: the dump stays incomplete
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
        """Enter what the ledger says of this volume from now on; one that is retired stays so."""
        entered = _enter_volume(self._connection, self._volume, self._tag, self._registered.capacity, self._now)
        values = {**_unless_retired(self._volume, state, reason), "uuid": uuid, "copy": copy, "dump_id": dump}
        self._connection.execute(update(VOLUMES).where(VOLUMES.c.id == entered).values(**values))

    def _volume_id(self) -> int:
        return int(self._connection.execute(select(VOLUMES.c.id).where(VOLUMES.c.tag == self._tag)).scalar_one())

    def _settle(self, dump: DumpId, wanted: int) -> None:
        """Say that the dump is archived if every copy was seen with a whole catalog, else what it lacks."""
        rows = self._copies(dump)
        good = [row for row in rows if row.flushed_at and not row.error and row.state in _TAKEN]
        complete = len(good) == len(rows) and len(good) >= wanted
        if complete or read_dump(self._connection, dump).state == DumpState.ARCHIVED:
            self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump).values(reason=""))
            proof.say_archived(self._connection, dump)
            return
        lacking = enumerate_names(row.tag for row in rows if row not in good) or "another volume"
        reason = f"imported, and lacks a good copy on {lacking}"
        self._connection.execute(update(DUMPS).where(DUMPS.c.id == dump).values(reason=reason))

    def _tell(self, *, changed: bool) -> Imported:
        volume = self._connection.execute(select(VOLUMES).where(VOLUMES.c.tag == self._tag)).one()
        if volume.dump_id is None:
            return Imported(None, None, volume.state, volume.reason, changed)
        dump = read_dump(self._connection, volume.dump_id)
        return Imported(dump.uuid, dump.state, volume.state, volume.reason, changed)


def _describe_dump(found: Whole) -> dict[str, Any]:
    catalog = found.catalog
    return {
        "datasets": catalog.datasets,
        "files": catalog.files,
        "size": catalog.size,
        "block_size": catalog.block_size,
        "version": found.version,
        "format": Format.PAPERTAPE,
    }


def _describe_copy(found: Whole) -> dict[str, Any]:
    """Return what a copy's row says of how it was written: the catalog after all the rest was flushed with it."""
    return {
        "written_at": found.label.created,
        "flushed_at": found.label.created,
        "write_serial": found.record.drive_serial or None,
        "bytes": found.record.label.size + sum(item.size for item in found.catalog.tape_files),
        "files": found.catalog.files,
        "version": program_version(found.label.written_by),
        "label": evidence.describe_label(found.record),
    }


def _enter_volume(connection: Connection, known: Row[Any] | None, tag: VolumeTag, capacity: int, now: datetime) -> int:
    """Return the id of the volume ``tag``, which is entered if it is not ``known``."""
    if known is None:
        row = {"tag": tag, "copy": 1, "capacity": capacity, "state": VolumeState.ASIDE, "registered_at": now}
        connection.execute(insert(VOLUMES).values(**row))
    return int(connection.execute(select(VOLUMES.c.id).where(VOLUMES.c.tag == tag)).scalar_one())


def _unless_retired(known: Row[Any] | None, state: VolumeState, reason: str) -> dict[str, Any]:
    retired = known is not None and known.state == VolumeState.RETIRED
    return {} if retired else {"state": state, "reason": reason}


def _is_unseen(row: Row[Any]) -> bool:
    """Whether a copy is known from its twin's catalog alone."""
    return row.flushed_at is None and row.error is None and row.label is None


def _beats(row: Row[Any], values: dict[str, Any]) -> bool:
    """Whether a copy that is known stays in its place: it was read back whole, or was written later."""
    written = values.get("written_at")
    if written is None:
        return row.flushed_at is not None
    return bool(row.verified_at or (row.written_at and row.written_at >= written))


def predecessor_records(catalog: PredecessorCatalog) -> Iterator[DataSetRecord]:
    """Yield the predecessor's data sets: numbered from 0 here, in tape files after the catalog (number 0)."""
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
