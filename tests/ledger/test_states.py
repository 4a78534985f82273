"""Whatever happens, in any order: nothing unproven is archived, and nothing belongs to two dumps."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.samples import (
    NOW,
    OTHER,
    ListedCatalog,
    Owner,
    catalog,
    copies,
    dataset,
    plan,
    verification,
)
from papertape.errors import ClaimLost, EvidenceMissing, NoBlankVolume, PapertapeError, WrongState
from papertape.ledger import Ledger, open_ledger
from papertape.plan import Batch

OWNER = Owner("host", 7, "1")
NAMES = [f"host:/data/{letter}" for letter in "abcdef"]


class Life(RuleBasedStateMachine):
    """Two processes on one ledger, and a model of the state that both expect."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'ledger.sqlite'}"
        self.ledgers = [open_ledger(url, OWNER), open_ledger(url, OTHER)]
        self.batches: dict[int, Batch] = {}
        self.catalogs: dict[int, ListedCatalog] = {}
        self.flushed: dict[int, bool] = {}
        self.proven: set[int] = set()
        self.clock = 0

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()

    @property
    def ledger(self) -> Ledger:
        return self.ledgers[0]

    @initialize()
    def volumes(self) -> None:
        self.ledger.volumes.add([(f"T{copy}{n}", copy, 10**9) for copy in (1, 2) for n in range(4)])

    @rule(name=st.sampled_from(NAMES), fingerprint=st.sampled_from("xyz"))
    def register(self, name: str, fingerprint: str) -> None:
        self.ledger.datasets.register(dataset(name, fingerprint=fingerprint))

    @rule(who=st.integers(0, 1), most=st.integers(0, 4), stale=st.booleans(), data=st.data())
    def begin(self, who: int, most: int, stale: bool, data: st.DataObject) -> None:
        ledger = self.ledgers[who]
        held = next(iter(ledger.dumps.held()), None)
        self.clock += 1
        try:
            if held and data.draw(st.booleans()):
                batch = plan(ledger, dump=held.uuid, sets=list(ledger.datasets.pending())[:most], volumes=held.volumes)
            else:
                batch = plan(ledger, dump=f"d{self.clock}", sets=list(ledger.datasets.pending())[:most])
            if stale and self.batches:
                old = data.draw(st.sampled_from(sorted(self.batches)))
                batch = Batch(
                    dump=batch.dump,
                    volumes=self.batches[old].volumes,
                    block_size=512,
                    archives=batch.archives,
                    refused=(),
                    tape_bytes=0,
                )
            dump = ledger.dumps.begin(batch)
        except (ClaimLost, NoBlankVolume):
            return
        self.batches[dump] = batch
        self.catalogs.pop(dump, None)

    def attempt(self, step: object, *arguments: object, **named: object) -> bool:
        try:
            step(*arguments, **named)  # type: ignore[operator]
        except (ClaimLost, WrongState, EvidenceMissing):
            return False
        return True

    a_dump = st.runner().flatmap(lambda life: st.sampled_from(sorted(life.batches)))  # type: ignore[attr-defined]
    has_dumps = precondition(lambda life: life.batches)  # type: ignore[attr-defined]

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump)
    def start_writing(self, who: int, dump: int) -> None:
        self.attempt(self.ledgers[who].dumps.start_writing, dump)

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump)
    def hold(self, who: int, dump: int) -> None:
        self.attempt(self.ledgers[who].dumps.hold, dump, "interrupted")

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump, until=st.integers(0, 4), bad=st.booleans(), flushed=st.booleans())
    def written(self, who: int, dump: int, until: int, bad: bool, flushed: bool) -> None:
        batch = self.batches[dump]
        rejected = {str(each.source): "it shrank" for each in batch.archives[0][:1]} if bad else {}
        made = catalog(batch, rejected, until=until)
        how = copies(batch, flushed=NOW if flushed else None)
        if self.attempt(self.ledgers[who].dumps.written, dump, made, how):
            self.catalogs[dump] = made
            self.flushed[dump] = flushed

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump)
    def start_verifying(self, who: int, dump: int) -> None:
        self.attempt(self.ledgers[who].dumps.start_verifying, dump)

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump, good=st.lists(st.booleans(), min_size=1, max_size=2), short=st.booleans())
    def commit(self, who: int, dump: int, good: list[bool], short: bool) -> None:
        files = self.catalogs[dump].files if dump in self.catalogs else 0
        tags = [volume.tag for volume in self.batches[dump].volumes]
        results = [
            verification(tag, files - (short and tag == tags[0]), good=fine)
            for tag, fine in zip(tags, good, strict=False)
        ]
        if self.attempt(self.ledgers[who].dumps.commit, dump, results):
            assert good == [True, True]
            assert not short
            assert self.flushed[dump]
            self.proven.add(dump)

    @has_dumps
    @rule(who=st.integers(0, 1), dump=a_dump, touched=st.booleans(), abandon=st.booleans())
    def end(self, who: int, dump: int, touched: bool, abandon: bool) -> None:
        ledger = self.ledgers[who]
        if abandon:
            self.attempt(ledger.dumps.abandon, dump, "gave up")
        else:
            tags = {self.batches[dump].volumes[0].tag} if touched else set()
            self.attempt(ledger.dumps.fail, dump, "broke", touched=tags)

    @rule(who=st.integers(0, 1))
    def take_over(self, who: int) -> None:
        for orphan in self.ledgers[who].dumps.orphans(lambda owner: owner == self.ledgers[who].owner)[:1]:
            self.attempt(self.ledgers[who].dumps.take_over, orphan)

    @rule(tag=st.sampled_from(["T10", "T20", "T11"]))
    def retire(self, tag: str) -> None:
        try:
            self.ledger.volumes.retire(tag, "dropped")
        except PapertapeError:
            assert self.ledger.volumes.one(tag).state == "claimed"

    @rule(tag=st.sampled_from(["T10", "T20", "T11"]))
    def find_bad(self, tag: str) -> None:
        assert not self.ledger.dumps.record_verification(verification(tag, 0, good=False))

    @invariant()
    def nothing_unproven_is_archived(self) -> None:
        dumps = {dump.id: dump for dump in self.ledger.dumps.all()}
        assert {number for number, dump in dumps.items() if dump.state == "archived"} == self.proven
        for found in self.ledger.search.find("*"):
            assert (found.state == "archived") == (found.dump in self.proven)
            assert (found.state in ("claimed", "archived")) == (found.dump is not None)
        for volume in self.ledger.volumes.all():
            if volume.state == "archived":
                assert volume.dump in {dumps[number].uuid for number in self.proven}

    @invariant()
    def what_is_deletable_is_whole_on_good_volumes(self) -> None:
        safe = {found.source: found for found in self.ledger.search.find("*")}  # the newest version comes last
        for each in self.ledger.search.deletable():
            found = safe[str(each.source)]
            assert found.dump in self.proven
            assert len(found.copies) == 2
            assert all(
                copy.verified and self.ledger.volumes.one(copy.volume).state == "archived" for copy in found.copies
            )

    @invariant()
    def only_open_dumps_hold_anything(self) -> None:
        dumps = {dump.id: dump for dump in self.ledger.dumps.all()}
        open_ones = {n for n, dump in dumps.items() if dump.state in ("planned", "writing", "written", "verifying")}
        claimed = {found.dump for found in self.ledger.search.find("*") if found.state == "claimed"}
        assert claimed <= open_ones
        uuids = [volume.dump for volume in self.ledger.volumes.all() if volume.state == "claimed"]
        assert set(uuids) <= {dumps[number].uuid for number in open_ones}
        assert all(uuids.count(uuid) <= 2 for uuid in uuids)
        for volume in self.ledger.volumes.all():
            assert (volume.state == "blank") <= (volume.uuid is None)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
)
