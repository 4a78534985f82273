from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.samples import (
    LATER,
    ME,
    NOW,
    OTHER,
    UUID,
    all_tags,
    archive,
    at,
    begin,
    begin_writing,
    catalog,
    copies,
    dataset,
    fill,
    plan,
    states,
    verification,
    verifications,
    write,
)  # fmt: skip
from papertape.errors import ClaimLost, EvidenceMissing, PapertapeError, UserError, WrongState
from papertape.ledger import Ledger, Owner, open_ledger
from papertape.volume.names import Source


@pytest.fixture
def another(ledger: Ledger, url: str) -> Iterator[Ledger]:
    """The same ledger, opened by another process."""
    with open_ledger(url, OTHER) as opened:
        yield opened


FREE = {"blank": 4, "claimed": 0, "archived": 0, "aside": 0, "retired": 0}


def test_begin_claims_volumes_and_data_sets(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    status = ledger.status()
    assert status.datasets == {"waiting": 0, "claimed": 3, "archived": 0, "rejected": 0}
    assert status.volumes == {**FREE, "blank": 2, "claimed": 2}
    assert status.dumps["planned"] == 1
    record = ledger.dumps.one(dump)
    assert (record.uuid, record.owner, record.datasets, record.files, record.size) == (UUID, ME, 3, 3, 300)
    assert [copy.volume for copy in record.copies] == ["PAPR1001", "PAPR2001"]
    assert ledger.dumps.all() == (record,)


def test_begin_rejects_the_data_sets_that_the_batch_refuses(ledger: Ledger) -> None:
    fill(ledger)
    huge, *others = ledger.datasets.pending()
    begin(ledger, plan(ledger, sets=others, refused=[(huge, "larger than a volume")]))
    assert [each.reason for each in ledger.datasets.rejected()] == ["larger than a volume"]
    assert ledger.status().datasets["claimed"] == 2


def test_data_sets_that_another_has_claimed_are_not_claimed(ledger: Ledger, another: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    begin(ledger, batch)
    other = plan(ledger, dump="other", sets=batch.archives[0])
    with pytest.raises(ClaimLost, match="3 data sets"):
        begin(another, other)
    with pytest.raises(ClaimLost, match="volume PAPR1001"):
        begin(another, replace(other, volumes=batch.volumes))
    assert len(ledger.dumps.all()) == 1
    assert ledger.status().volumes["claimed"] == 2


def test_nothing_is_taken_if_one_is_gone(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    ledger.datasets.reject([(batch.archives[0][2], "why")])
    with pytest.raises(ClaimLost):
        begin(ledger, batch)
    assert ledger.status().volumes == FREE
    assert ledger.dumps.all() == ()


def test_a_data_set_twice_in_a_batch_is_refused(ledger: Ledger) -> None:
    fill(ledger, 1)
    (one,) = ledger.datasets.pending()
    with pytest.raises(ClaimLost):
        begin(ledger, plan(ledger, sets=[one, one]))


def test_one_dump_begins_once(ledger: Ledger) -> None:
    fill(ledger)
    begin(ledger, plan(ledger))
    with pytest.raises(ClaimLost, match="not held"):
        begin(ledger, plan(ledger, sets=[]))


def test_a_dump_that_is_written_and_verified_is_archived(ledger: Ledger) -> None:
    fill(ledger)
    dump, batch = archive(ledger)
    assert set(states(ledger).values()) == {"archived"}
    assert ledger.status().volumes == {**FREE, "blank": 2, "archived": 2}
    record = ledger.dumps.one(dump)
    assert (record.state, record.ended_at) == ("archived", LATER)
    for copy in record.copies:
        assert (copy.written_at, copy.flushed_at, copy.verified_at) == (NOW, NOW, LATER)
        assert copy.verify_serial == "S9"
        assert copy.write_serial in ("S1", "S2")
        assert copy.error is None
        assert copy.version
    assert [each.source for each in ledger.search.deletable()] == [str(each.source) for each in batch.archives[0]]


def test_an_interrupted_dump_keeps_its_volumes(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    assert not ledger.dumps.held()
    ledger.dumps.hold(dump, "interrupted")
    assert ledger.status().datasets["waiting"] == 3
    (held,) = ledger.dumps.held()
    assert held is not None
    assert (held.dump, held.uuid, held.reason, held.volumes) == (dump, UUID, "interrupted", batch.volumes)
    assert ledger.dumps.orphans(lambda owner: False) == []
    assert [volume.tag for volume in ledger.volumes.free(2, all_tags(ledger))] == ["PAPR1002", "PAPR2002"]


def test_only_the_held_dump_itself_may_use_its_volumes(ledger: Ledger, another: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    ledger.dumps.hold(dump, "interrupted")
    with pytest.raises(ClaimLost, match="PAPR1001"):
        begin(ledger, plan(ledger, dump="other", volumes=batch.volumes))
    with pytest.raises(ClaimLost, match="PAPR1001"):
        begin(ledger, plan(ledger, volumes=[batch.volumes[0]._replace(uuid="new"), batch.volumes[1]]))
    with pytest.raises(ClaimLost, match="PAPR1001 and PAPR2001"):
        begin(ledger, plan(ledger))
    assert begin(another, plan(another, volumes=batch.volumes)) == dump
    assert ledger.dumps.one(dump).owner == OTHER
    assert not ledger.dumps.held()


def test_a_held_dump_can_be_abandoned(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    ledger.dumps.hold(dump, "interrupted")
    at(ledger, LATER).dumps.fail(dump, "its drive is gone", touched={"PAPR1001"})
    assert ledger.volumes.one("PAPR1001").state == "aside"
    assert ledger.volumes.one("PAPR2001").state == "blank"
    assert not ledger.dumps.held()


def test_a_failed_dump_releases_the_volumes_that_it_did_not_touch(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    at(ledger, LATER).dumps.fail(dump, "a drive failed", aside={"PAPR1001": "it is worn out"})
    assert set(states(ledger).values()) == {"waiting"}
    first, second = ledger.volumes.one("PAPR1001"), ledger.volumes.one("PAPR2001")
    assert (first.state, first.reason, first.dump) == ("aside", "it is worn out", UUID)
    assert (second.state, second.uuid, second.dump) == ("blank", None, None)
    record = ledger.dumps.one(dump)
    assert (record.state, record.reason, record.ended_at) == ("failed", "a drive failed", LATER)
    assert [copy.volume for copy in record.copies] == ["PAPR1001"]


def test_a_failed_dump_never_calls_a_written_volume_blank(ledger: Ledger) -> None:
    fill(ledger)
    dump = write(ledger, plan(ledger))
    at(ledger, LATER).dumps.fail(dump, "it did not read back")
    assert ledger.status().volumes == {**FREE, "blank": 2, "aside": 2}
    assert ledger.volumes.one("PAPR2001").reason == "it did not read back"
    assert all(found.copies == () and found.tape_file is None for found in ledger.search.find("*"))


def test_an_abandoned_dump_releases_everything(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    at(ledger, LATER).dumps.abandon(dump, "no drive was free")
    assert ledger.status().volumes == FREE
    assert ledger.status().datasets["waiting"] == 3
    assert ledger.dumps.one(dump).state == "abandoned"
    archive(ledger, plan(ledger, dump="next"))


def test_data_sets_that_a_stopped_dump_did_not_write_wait_again(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    written = catalog(batch, until=1)
    dump = write(ledger, batch, written)
    at(ledger, LATER).dumps.commit(dump, verifications(batch, written.files))
    assert ledger.status().datasets == {"waiting": 2, "claimed": 0, "archived": 1, "rejected": 0}
    archive(ledger, plan(ledger, dump="next"))
    assert ledger.status().datasets["archived"] == 3


def test_steps_in_the_wrong_order_are_refused(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin(ledger, batch)
    with pytest.raises(WrongState, match="planned"):
        ledger.dumps.start_verifying(dump)
    with pytest.raises(WrongState):
        ledger.dumps.written(dump, catalog(batch), copies(batch))
    with pytest.raises(WrongState):
        ledger.dumps.commit(dump, verifications(batch, 3))
    ledger.dumps.start_writing(dump)
    with pytest.raises(WrongState):
        ledger.dumps.start_writing(dump)
    ledger.dumps.written(dump, catalog(batch), copies(batch))
    with pytest.raises(WrongState):
        ledger.dumps.hold(dump, "too late")
    with pytest.raises(WrongState):
        ledger.dumps.abandon(dump, "too late")


def test_an_archived_dump_cannot_fail(ledger: Ledger) -> None:
    fill(ledger)
    dump, batch = archive(ledger)
    for step in (
        lambda: ledger.dumps.fail(dump, "late"),
        lambda: ledger.dumps.hold(dump, "late"),
        lambda: ledger.dumps.commit(dump, verifications(batch, 3)),
    ):
        with pytest.raises(WrongState, match="archived"):
            step()
    assert set(states(ledger).values()) == {"archived"}


def test_an_unknown_dump_is_named(ledger: Ledger) -> None:
    for step in (ledger.dumps.one, ledger.dumps.start_writing, ledger.dumps.heartbeat):
        with pytest.raises(UserError, match="dump 77"):
            step(77)


def test_a_dump_of_a_dead_process_is_an_orphan(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    asked: list[Owner] = []
    assert ledger.dumps.orphans(lambda owner: asked.append(owner) is None) == []
    assert asked == [ME]
    (orphan,) = ledger.dumps.orphans(lambda owner: False)
    assert orphan == ledger.dumps.one(dump)


def test_a_dump_that_is_over_belongs_to_its_process_until_it_is_dismissed(ledger: Ledger, url: str) -> None:
    fill(ledger)
    dump, _ = archive(ledger)
    assert ledger.dumps.orphans(lambda owner: False) == ledger.dumps.undismissed(lambda owner: True) == []
    with open_ledger(url, OTHER, lambda: LATER) as second:
        (left,) = second.dumps.undismissed(lambda owner: False)
        assert left == ledger.dumps.one(dump)
        second.dumps.dismiss(dump)  # which belongs to the other process
        second.dumps.take_over(left)
        ledger.dumps.dismiss(dump)  # which belongs to the other process now
        assert ledger.dumps.one(dump).owner == OTHER
        second.dumps.dismiss(dump)
    assert (ledger.dumps.one(dump).owner, ledger.dumps.one(dump).state) == (None, "archived")
    assert ledger.dumps.undismissed(lambda owner: False) == []


def test_a_dump_that_is_not_over_cannot_be_dismissed(ledger: Ledger) -> None:
    fill(ledger)
    dump = write(ledger, plan(ledger))
    ledger.dumps.dismiss(dump)
    assert ledger.dumps.one(dump).owner == ME


def test_an_orphan_is_taken_over_once(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    with open_ledger(url, OTHER, lambda: LATER) as second, open_ledger(url, Owner("tape3", 1, "1")) as third:
        (orphan,) = second.dumps.orphans(lambda owner: False)
        second.dumps.take_over(orphan)
        with pytest.raises(ClaimLost, match="another process"):
            third.dumps.take_over(orphan)
        assert second.dumps.one(dump).heartbeat_at == LATER
        second.dumps.hold(dump, "its process died")


def test_a_process_that_lost_a_dump_can_do_nothing_to_it(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    with open_ledger(url, OTHER, lambda: LATER) as second:
        second.dumps.take_over(second.dumps.orphans(lambda owner: False)[0])
        for step in (
            lambda: at(ledger, LATER).dumps.heartbeat(dump),
            lambda: ledger.dumps.written(dump, catalog(batch), copies(batch)),
            lambda: ledger.dumps.fail(dump, "mine"),
            lambda: ledger.dumps.hold(dump, "mine"),
        ):
            with pytest.raises(ClaimLost, match="process 4711 on tape2"):
                step()
        second.dumps.heartbeat(dump)


def test_a_stranger_cannot_touch_a_running_dump(ledger: Ledger, url: str) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    with open_ledger(url, OTHER) as second, pytest.raises(ClaimLost, match="tape1"):
        second.dumps.abandon(dump, "not mine")


def test_a_heartbeat_is_recorded(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    assert ledger.dumps.one(dump).heartbeat_at == NOW
    at(ledger, LATER).dumps.heartbeat(dump)
    assert ledger.dumps.one(dump).heartbeat_at == LATER


def test_a_verification_cut_short_starts_again(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = write(ledger, batch)
    with open_ledger(url, OTHER, lambda: LATER) as second:
        second.dumps.take_over(second.dumps.orphans(lambda owner: False)[0])
        second.dumps.start_verifying(dump)
        second.dumps.commit(dump, verifications(batch, 3))
    assert ledger.dumps.one(dump).state == "archived"


def no_change(ledger: Ledger) -> object:
    return (ledger.status(), ledger.dumps.all(), ledger.volumes.all(), list(ledger.search.find("*")))


def test_the_catalog_must_be_of_this_dump(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    good, before = catalog(batch), no_change(ledger)
    wrong = [
        replace(good, dump="other"),
        replace(good, volumes=good.volumes[:1]),
        replace(good, volumes=(replace(good.volumes[0], uuid="other"), good.volumes[1])),
        replace(good, datasets=2),
        replace(good, dataset_rows=(replace(good.dataset_rows[0], source=Source.parse("host:/never/registered")),)),
        replace(good, dataset_rows=(good.dataset_rows[0], good.dataset_rows[0], good.dataset_rows[1])),
    ]
    for bad in wrong:
        with pytest.raises(PapertapeError):
            ledger.dumps.written(dump, bad, copies(batch))
        assert no_change(ledger) == before
        assert list(ledger.contents.members(dump)) == []
    with pytest.raises(EvidenceMissing):
        ledger.dumps.written(dump, good, copies(batch)[:1])
    assert no_change(ledger) == before


def test_a_declared_checksum_must_have_been_compared(ledger: Ledger) -> None:
    fill(ledger, 0)
    ledger.datasets.register(dataset("host:/a", md5="1" * 32))
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    good = catalog(batch)
    with pytest.raises(EvidenceMissing, match="MD5"):
        ledger.dumps.written(dump, replace(good, dataset_rows=(replace(good.dataset_rows[0], md5=""),)), copies(batch))
    ledger.dumps.written(dump, good, copies(batch))


@pytest.mark.parametrize(
    ("flushed", "error", "says"),
    [(None, None, "never flushed"), (None, OSError("worn out"), "worn out"), (NOW, OSError(), "OSError")],
)
def test_a_copy_that_is_not_whole_is_no_copy(ledger: Ledger, flushed: None, error: OSError | None, says: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    ledger.dumps.written(dump, catalog(batch), copies(batch, flushed=flushed, error=error))
    ledger.dumps.start_verifying(dump)
    before = no_change(ledger)
    with pytest.raises(EvidenceMissing, match=f"PAPR2001 is not whole: {says}"):
        at(ledger, LATER).dumps.commit(dump, verifications(batch, 3))
    assert no_change(ledger) == before


def test_only_whole_readings_of_every_volume_prove_a_dump(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = write(ledger, batch)
    first, second = verifications(batch, 3)
    before = no_change(ledger)
    for given in (
        [],
        [first],
        [first, first],
        [first, second, second],
        [first, replace(second, volume="PAPR2002")],
        [first, verification(second.volume, 3, good=False)],
        [first, replace(second, bytes=second.bytes - 1)],
        [first, replace(second, files=2)],
    ):
        with pytest.raises(EvidenceMissing):
            at(ledger, LATER).dumps.commit(dump, given)
        assert no_change(ledger) == before
    at(ledger, LATER).dumps.commit(dump, [second, first])
    assert ledger.dumps.one(dump).state == "archived"


def test_a_volume_found_bad_meanwhile_stops_the_commit(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = write(ledger, batch)
    assert not at(ledger, LATER).dumps.record_verification(verification("PAPR1001", 3, good=False))
    with pytest.raises(EvidenceMissing):
        at(ledger, LATER).dumps.commit(dump, verifications(batch, 3))
    at(ledger, LATER).dumps.fail(dump, "verification failed")
    assert ledger.volumes.one("PAPR1001").reason.startswith("the bytes are not those")


def test_a_bad_reading_later_sets_the_volume_aside(ledger: Ledger) -> None:
    fill(ledger)
    dump, _ = archive(ledger)
    assert at(ledger, LATER).dumps.record_verification(verification("PAPR2001", 3))
    assert len(list(ledger.search.deletable())) == 3
    assert not at(ledger, LATER).dumps.record_verification(verification("PAPR2001", 3, good=False))
    assert ledger.volumes.one("PAPR2001").state == "aside"
    assert list(ledger.search.deletable()) == []
    assert set(states(ledger).values()) == {"archived"}
    assert [copy.verified for copy in next(ledger.search.find("*")).copies] == [True, False]
    assert ledger.dumps.one(dump).copies[1].verified_at is None


def test_a_reading_that_misses_bytes_proves_nothing(ledger: Ledger) -> None:
    fill(ledger)
    archive(ledger)
    assert not at(ledger, LATER).dumps.record_verification(verification("PAPR1001", 3, size=5))
    assert "5 bytes and 3 files were read" in ledger.volumes.one("PAPR1001").reason


def test_a_volume_that_is_read_but_has_no_dump_is_set_aside(ledger: Ledger) -> None:
    fill(ledger)
    assert not at(ledger, LATER).dumps.record_verification(verification("PAPR1001", 3))
    assert ledger.volumes.one("PAPR1001").state == "aside"
    with pytest.raises(UserError):
        at(ledger, LATER).dumps.record_verification(verification("NOPE", 3))
