"""The lab's databases for a job: rows are claimed for a dump, released, and written when the dump is archived.

Every mark is recorded in the ledger before it is written into the lab's tables. ``settle`` then finds everything that
may have a mark, also after a crash; it runs after every dump, and any process may run it at any time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from papertape.bridges import Claim, FileTable, LabelTable, Left, Placed, read_option_file
from papertape.bridges.bridge import Bridge
from papertape.clock import utc_now
from papertape.errors import PapertapeError, VolumeError
from papertape.events import Note, Tell
from papertape.ids import DumpId, VolumeTag
from papertape.jobs.context import TAKEN, Lab, Lost, NoLab
from papertape.ledger import DumpRecord, LabRow, Ledger, Marked, Patience, Standing
from papertape.states import LabKind, LabState, VolumeState

FOREIGN = "somebody else has changed its row while it was ours; it was not changed"


class Settled(NamedTuple):
    """How many rows were ``pushed`` and ``released``, how many are still ``pending``, and why.

    ``foreign`` are rows that somebody else has changed; they were left alone. ``troubles`` are sentences.
    """

    pushed: int
    released: int
    pending: int
    foreign: tuple[str, ...]
    troubles: tuple[str, ...]


def open_lab(ledger: Ledger, bridge: Bridge | None, tell: Tell) -> Lab:
    """Return the lab that the config's section [bridge] describes; nothing is connected yet."""
    return LabDatabases(ledger, bridge, tell) if bridge else NoLab(ledger)


def check(bridge: Bridge) -> Iterator[str]:
    """Yield warnings about the option files and the tables; raises UserError, HostError if they cannot be used."""
    yield from read_option_file(bridge.files, strict=bridge.strict).warnings
    with bridge.open_files() as files:
        yield from files.check()
    if bridge.labels is not None:
        yield from read_option_file(bridge.labels, strict=bridge.strict).warnings
        with bridge.open_labels() as labels:
            yield from labels.check()


@dataclass(frozen=True)
class LabDatabases:
    """The lab's tables of files and tapes, and what the ledger knows of their rows. A ``papertape.jobs.context.Lab``.

    The methods raise UserError if the config or an option file is wrong, HostError if a server fails.
    """

    ledger: Ledger
    bridge: Bridge
    tell: Tell

    def patient(self, patience: Patience) -> LabDatabases:
        """Return the same with a ledger that waits for a server that is away; the lab's servers are not waited for."""
        return replace(self, ledger=self.ledger.patient(patience))

    def claim(self, dump: DumpId) -> Lost:
        """Claim the lab's rows for the volumes and the data sets of ``dump``: all, or none and say which are taken."""
        claim = Claim.draw()
        lost = self._claim_labels(dump, [copy.volume for copy in self.ledger.dumps.one(dump).copies], claim)
        rows = self.ledger.lab.of_dump(dump, LabKind.FILE)
        if lost or not rows:
            return Lost((), tuple(VolumeTag(tag) for tag in lost))
        with self.bridge.open_files() as files:
            self._release_earlier(rows, claim, files.release)
            self.ledger.lab.mark(rows, dump, claim.job)
            names = set(files.claim([row.name for row in rows], claim))
        return Lost(tuple(row.source for row in rows if row.name in names), ())

    def check_label(self, tag: VolumeTag) -> None:
        """Raise VolumeError if the blank volume ``tag`` is not free in the lab's table of tapes."""
        if self.bridge.labels is None:
            return
        self.settle()  # an earlier dump that did not use the volume may have left its mark
        with self.bridge.open_labels() as labels:
            if not labels.is_free(tag):
                raise VolumeError(tag, TAKEN)

    def claim_label(self, dump: DumpId, tag: VolumeTag) -> None:
        """Claim the tape ``tag``, which ``dump`` has claimed in the ledger; raises VolumeError if it is taken."""
        if self._claim_labels(dump, [tag], Claim.draw()):
            raise VolumeError(tag, TAKEN)

    def settle(self) -> Settled:
        """Release what no dump has any more, and write where archived data sets lie. Raises nothing of the lab's.

        An update that fails now stays pending in the ledger; the reason is in the result, and reported as a note.
        """
        counts: Counter[str] = Counter()
        foreign: list[str] = []
        troubles: list[str] = []
        for kind in LabKind:
            try:
                self._settle(kind, counts, foreign)
            except PapertapeError as error:
                troubles.append(str(error))
                self.tell(Note(sentence=f"the lab's database is not up to date: {error}"))
        for name in foreign:
            self.tell(Note(sentence=f"{name}: somebody else has changed this row of the lab's; it was not changed"))
        pending = sum(item.standing is not Standing.HELD for item in self.ledger.lab.marked())
        return Settled(counts["pushed"], counts["released"], pending, tuple(foreign), tuple(troubles))

    def _claim_labels(self, dump: DumpId, tags: Sequence[VolumeTag], claim: Claim) -> tuple[str, ...]:
        """Claim tapes, all or none; return those that are taken."""
        if self.bridge.labels is None:
            return ()

        def look() -> list[LabRow]:
            return [row for row in self.ledger.lab.of_dump(dump, LabKind.LABEL) if row.name in tags]

        with self.bridge.open_labels() as labels:
            self.ledger.lab.note(LabKind.LABEL, [(tag, tag) for tag in tags])
            self._release_earlier(look(), claim, labels.release)
            self.ledger.lab.mark(look(), dump, claim.job)
            lost = labels.claim(tags, claim, dump)
        self.ledger.lab.unmark([row for row in look() if row.name in lost], LabState.KNOWN)
        return tuple(lost)

    def _release_earlier(
        self, rows: Sequence[LabRow], claim: Claim, release: Callable[[dict[str, Claim]], None]
    ) -> None:
        """Release the claims of an earlier dump of ours that still are on rows."""
        old = [row for row in rows if row.job is not None and row.job != claim.job]
        if old:
            release(_claims(old))
            self.ledger.lab.unmark(old, LabState.KNOWN)

    def _settle(self, kind: LabKind, counts: Counter[str], foreign: list[str]) -> None:
        """Settle one table; ``counts`` and ``foreign`` are kept up to date, also where a later row fails."""
        free, archived = self._sort(kind)
        if not (free or archived) or (kind is LabKind.LABEL and self.bridge.labels is None):
            return
        opened: AbstractContextManager[FileTable | LabelTable]
        opened = self.bridge.open_files() if kind is LabKind.FILE else self.bridge.open_labels()
        with opened as table:
            if free:
                table.release(_claims(free))
                self.ledger.lab.unmark(free, LabState.KNOWN)
                counts["released"] += len(free)
            for dump, items in archived.items():
                claims = _claims(item.row for item in items)
                if isinstance(table, FileTable):
                    placed = [Placed(item.row.name, claims[item.row.name], _show_place(dump, item)) for item in items]
                    left = table.push(placed, deletable=self.bridge.mark_deletable)
                else:
                    left = table.push(claims, filled_at(dump))
                done = [item.row for item in items if left[item.row.name] is Left.DONE]
                others = [item.row for item in items if left[item.row.name] is Left.FOREIGN]
                self.ledger.lab.unmark(done, LabState.PUSHED)
                self.ledger.lab.unmark(others, LabState.FOREIGN, FOREIGN)
                counts["pushed"] += len(done)
                foreign += [row.name for row in others]

    def _sort(self, kind: LabKind) -> tuple[list[LabRow], dict[DumpRecord, list[Marked]]]:
        """Return what must be released, and what must be pushed by dump; a dump with a doubtful volume must wait."""
        free: list[LabRow] = []
        archived: dict[DumpId, list[Marked]] = defaultdict(list)
        for item in self.ledger.lab.marked():
            if item.row.kind == kind and item.standing is Standing.FREE:
                free.append(item.row)
            elif item.row.kind == kind and item.standing is Standing.ARCHIVED:
                archived[item.dump].append(item)
        records = {self.ledger.dumps.one(dump): items for dump, items in archived.items()}
        good = VolumeState.ARCHIVED
        return free, {
            dump: items for dump, items in records.items() if all(copy.volume_state is good for copy in dump.copies)
        }


def _claims(rows: Iterable[LabRow]) -> dict[str, Claim]:
    """Return the claim on each of the lab's rows, by the row's name."""
    return {row.name: Claim(row.job) for row in rows if row.job is not None}


def filled_at(dump: DumpRecord) -> datetime:
    """Return when a dump was archived, in the host's own time zone, as the lab writes it."""
    return (dump.ended_at or dump.started_at or utc_now()).astimezone()


def _show_place(dump: DumpRecord, item: Marked) -> str:
    """Return where a file lies as the lab writes it: the date, the volumes, the tape file and the number in it."""
    labels = ",".join(copy.volume for copy in dump.copies)
    return f"{filled_at(dump):%Y%m%d}[{labels}]-{item.tape_file}:{item.number}"
