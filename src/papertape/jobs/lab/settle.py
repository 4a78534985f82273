"""Between the ledger and the lab's own databases: what a dump takes there, lets go, and says of where things lie.

Whatever is marked there is written down in the ledger before. ``settle`` looks at what may bear a mark, and does what
is to be done with it; it is run behind every dump, and may be run at any time, by any process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from papertape.bridges import Claim, Left, Placed, read_option_file
from papertape.bridges.bridge import Bridge
from papertape.errors import ConfigError, PapertapeError, VolumeError
from papertape.events import Note, Tell
from papertape.ledger import DumpRecord, LabRow, Ledger, Marked, Standing
from papertape.states import LabKind, LabState, VolumeState

TAKEN = "the lab's database says that it is taken, or is not to be used any more"
FOREIGN = "somebody else has changed its row while it was ours; it was left alone"


class Lost(NamedTuple):
    """What a dump could not have of what it wanted: ``sources`` of data sets, and ``volumes`` by tag."""

    sources: tuple[str, ...]
    volumes: tuple[str, ...]


class Settled(NamedTuple):
    """What was done: how many rows were ``pushed`` and ``released``, which are ``pending``, and what is in the way.

    ``foreign`` are rows that somebody else has changed: they were left alone. ``troubles`` are sentences.
    """

    pushed: int
    released: int
    pending: int
    foreign: tuple[str, ...]
    troubles: tuple[str, ...]


def check(bridge: Bridge) -> Iterator[str]:
    """Yield what is not well with the option files and the tables, though it will do; raises UserError, HostError."""
    yield from read_option_file(bridge.files, strict=bridge.strict).warnings
    with bridge.open_files() as files:
        yield from files.check()
    if bridge.labels is not None:
        yield from read_option_file(bridge.labels, strict=bridge.strict).warnings
        with bridge.open_labels() as labels:
            yield from labels.check()


def claim(ledger: Ledger, bridge: Bridge | None, dump: int) -> Lost:
    """Take the lab's rows behind what ``dump`` has claimed, and say which are not to be had: then none is taken.

    Raises UserError, HostError if the lab's databases cannot be asked, ConfigError if the config names none.
    """
    rows = ledger.lab_rows_of(dump, LabKind.FILE)
    if bridge is None:
        if rows:
            raise ConfigError(f"{rows[0].name} came from the lab's database, and the config has no [bridge]; add it")
        return Lost((), ())
    its = Claim.draw()
    lost = _claim_labels(ledger, bridge, dump, [copy.volume for copy in ledger.dump(dump).copies], its)
    if lost or not rows:
        return Lost((), lost)
    with bridge.open_files() as files:
        _forget_others(ledger, rows, its, files.release)
        ledger.mark_lab_rows(rows, dump, its.job)
        names = set(files.claim([row.name for row in rows], its))
    return Lost(tuple(row.source for row in rows if row.name in names), ())


def check_label(ledger: Ledger, bridge: Bridge | None, tag: str, tell: Tell) -> None:
    """Raise VolumeError if the lab's table of tapes has not the blank volume ``tag`` as free; UserError, HostError."""
    if bridge is None or bridge.labels is None:
        return
    settle(ledger, bridge, tell)  # an earlier dump that did not use it may have left its mark
    with bridge.open_labels() as labels:
        if not labels.is_free(tag):
            raise VolumeError(tag, TAKEN)


def claim_label(ledger: Ledger, bridge: Bridge | None, dump: int, tag: str) -> None:
    """Take the tape ``tag``, which ``dump`` has in the ledger; raises VolumeError, UserError, HostError."""
    if bridge is not None and _claim_labels(ledger, bridge, dump, [tag], Claim.draw()):
        raise VolumeError(tag, TAKEN)


def _claim_labels(ledger: Ledger, bridge: Bridge, dump: int, tags: Sequence[str], its: Claim) -> tuple[str, ...]:
    if bridge.labels is None:
        return ()

    def look() -> list[LabRow]:
        return [row for row in ledger.lab_rows_of(dump, LabKind.LABEL) if row.name in tags]

    with bridge.open_labels() as labels:
        ledger.note_lab_rows(LabKind.LABEL, [(tag, tag) for tag in tags])
        _forget_others(ledger, look(), its, labels.release)
        ledger.mark_lab_rows(look(), dump, its.job)
        lost = labels.claim(tags, its, dump)
    ledger.unmark_lab_rows([row for row in look() if row.name in lost], LabState.KNOWN)  # they are somebody else's
    return tuple(lost)


def _forget_others(
    ledger: Ledger, rows: Sequence[LabRow], its: Claim, release: Callable[[dict[str, Claim]], None]
) -> None:
    """Let go of what rows bear from an earlier dump of ours, which has them no more."""
    old = [row for row in rows if row.job is not None and row.job != its.job]
    if old:
        release(_claims(old))
        ledger.unmark_lab_rows(old, LabState.KNOWN)


def settle(ledger: Ledger, bridge: Bridge | None, tell: Tell) -> Settled:
    """Let go of what no dump has any more, and say of what is archived where it lies.

    What cannot be done now stays pending in the ledger; why is in the outcome, and told as a note.
    """
    if bridge is None:
        return Settled(0, 0, 0, (), ())
    counts: Counter[str] = Counter()
    foreign: list[str] = []
    troubles: list[str] = []
    for work in (_settle_files, _settle_labels):
        try:
            work(ledger, bridge, counts, foreign)
        except PapertapeError as error:
            troubles.append(str(error))
            tell(Note(sentence=f"the lab's database is not told yet: {error}"))
    for name in foreign:
        tell(Note(sentence=f"{name}: somebody else has changed this row of the lab's; it was left alone"))
    pending = sum(item.standing is not Standing.HELD for item in ledger.marked_lab_rows())
    return Settled(counts["pushed"], counts["released"], pending, tuple(foreign), tuple(troubles))


def _settle_files(ledger: Ledger, bridge: Bridge, counts: Counter[str], foreign: list[str]) -> None:
    free, archived = _sort(ledger, LabKind.FILE)
    if not free and not archived:
        return
    with bridge.open_files() as files:
        if free:
            files.release(_claims(item.row for item in free))
            ledger.unmark_lab_rows([item.row for item in free], LabState.KNOWN)
            counts["released"] += len(free)
        for dump, items in archived.items():
            placed = list(_place(dump, items))
            left = files.push(placed, deletable=bridge.mark_deletable)
            _enter(ledger, items, left, counts, foreign)


def _settle_labels(ledger: Ledger, bridge: Bridge, counts: Counter[str], foreign: list[str]) -> None:
    free, archived = _sort(ledger, LabKind.LABEL)
    if bridge.labels is None or not (free or archived):
        return
    with bridge.open_labels() as labels:
        if free:
            labels.release(_claims(item.row for item in free))
            ledger.unmark_lab_rows([item.row for item in free], LabState.KNOWN)
            counts["released"] += len(free)
        for dump, items in archived.items():
            left = labels.push(_claims(item.row for item in items), filled_at(dump))
            _enter(ledger, items, left, counts, foreign)


def _claims(rows: Iterable[LabRow]) -> dict[str, Claim]:
    """Return what each of the lab's rows bears, by its name."""
    return {row.name: Claim(row.job) for row in rows if row.job is not None}


def _sort(ledger: Ledger, kind: LabKind) -> tuple[list[Marked], dict[DumpRecord, list[Marked]]]:
    """Return what is to be let go, and what is to be pushed by dump: such as is in doubt on no volume."""
    free: list[Marked] = []
    archived: dict[int, list[Marked]] = defaultdict(list)
    for item in ledger.marked_lab_rows():
        if item.row.kind == kind and item.standing is Standing.FREE:
            free.append(item)
        elif item.row.kind == kind and item.standing is Standing.ARCHIVED:
            archived[item.dump].append(item)
    records = {ledger.dump(dump): items for dump, items in archived.items()}
    return free, {dump: items for dump, items in records.items() if _is_good(ledger, dump)}


def _is_good(ledger: Ledger, dump: DumpRecord) -> bool:
    return all(ledger.volume(copy.volume).state == VolumeState.ARCHIVED for copy in dump.copies)


def filled_at(dump: DumpRecord) -> datetime:
    """Return when a dump was archived, in the host's own time zone, as the lab writes it."""
    return (dump.ended_at or dump.started_at or datetime.now(UTC)).astimezone()


def _place(dump: DumpRecord, items: Sequence[Marked]) -> Iterator[Placed]:
    """Yield where files lie as the lab writes it: the date, the volumes, the tape file and the number in the dump."""
    labels = ",".join(copy.volume for copy in dump.copies)
    date = filled_at(dump).strftime("%Y%m%d")
    claims = _claims(item.row for item in items)
    for item in items:
        yield Placed(item.row.name, claims[item.row.name], f"{date}[{labels}]-{item.tape_file}:{item.number}")


def _enter(
    ledger: Ledger, items: Sequence[Marked], left: dict[str, Left], counts: Counter[str], foreign: list[str]
) -> None:
    """Write down what was pushed, and what was not to be touched."""
    done = [item.row for item in items if left[item.row.name] is Left.DONE]
    others = [item.row for item in items if left[item.row.name] is Left.FOREIGN]
    ledger.unmark_lab_rows(done, LabState.PUSHED)
    ledger.unmark_lab_rows(others, LabState.FOREIGN, FOREIGN)
    counts["pushed"] += len(done)
    foreign += [row.name for row in others]
