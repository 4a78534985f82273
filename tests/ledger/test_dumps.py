from __future__ import annotations

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

FREE = {"blank": 4, "claimed": 0, "archived": 0, "aside": 0, "retired": 0}


def test_begin_claims_all(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    status = ledger.status()
    assert status.datasets == {"waiting": 0, "claimed": 3, "archived": 0, "rejected": 0}
    assert status.volumes == {**FREE, "blank": 2, "claimed": 2}
    assert status.dumps["planned"] == 1
    record = ledger.dump(dump)
    assert (record.uuid, record.owner, record.datasets, record.files, record.size) == (UUID, ME, 3, 3, 300)
    assert [copy.volume for copy in record.copies] == ["PAPR1001", "PAPR2001"]
    assert ledger.dumps() == (record,)


def test_begin_rejects_what_the_batch_refuses(ledger: Ledger) -> None:
    fill(ledger)
    huge, *others = ledger.pending()
    begin(ledger, plan(ledger, sets=others, refused=[(huge, "larger than a volume")]))
    assert [each.reason for each in ledger.rejected()] == ["larger than a volume"]
    assert ledger.status().datasets["claimed"] == 2


def test_what_another_has_taken_is_not_taken(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    begin(ledger, batch)
    other = plan(ledger, dump="other", sets=batch.archives[0])
    with pytest.raises(ClaimLost, match="3 data sets"):
        begin(ledger, other, OTHER)
    with pytest.raises(ClaimLost, match="volume PAPR1001"):
        begin(ledger, replace(other, volumes=batch.volumes), OTHER)
    assert len(ledger.dumps()) == 1
    assert ledger.status().volumes["claimed"] == 2


def test_nothing_is_taken_if_one_is_gone(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    ledger.reject([(batch.archives[0][2], "why")])
    with pytest.raises(ClaimLost):
        begin(ledger, batch)
    assert ledger.status().volumes == FREE
    assert ledger.dumps() == ()


def test_a_data_set_twice_in_a_batch_is_refused(ledger: Ledger) -> None:
    fill(ledger, 1)
    (one,) = ledger.pending()
    with pytest.raises(ClaimLost):
        begin(ledger, plan(ledger, sets=[one, one]))


def test_one_dump_begins_once(ledger: Ledger) -> None:
    fill(ledger)
    begin(ledger, plan(ledger))
    with pytest.raises(ClaimLost, match="not held"):
        begin(ledger, plan(ledger, sets=[]))


def test_a_dump_goes_all_the_way(ledger: Ledger) -> None:
    fill(ledger)
    dump, batch = archive(ledger)
    assert set(states(ledger).values()) == {"archived"}
    assert ledger.status().volumes == {**FREE, "blank": 2, "archived": 2}
    record = ledger.dump(dump)
    assert (record.state, record.ended_at) == ("archived", LATER)
    for copy in record.copies:
        assert (copy.written_at, copy.flushed_at, copy.verified_at) == (NOW, NOW, LATER)
        assert copy.verify_serial == "S9"
        assert copy.write_serial in ("S1", "S2")
        assert copy.error is None
        assert copy.version
    assert [each.source for each in ledger.deletable()] == [each.source for each in batch.archives[0]]


def test_an_interrupted_dump_keeps_its_volumes(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    assert not ledger.held()
    ledger.hold(dump, "interrupted")
    assert ledger.status().datasets["waiting"] == 3
    (held,) = ledger.held()
    assert held is not None
    assert (held.dump, held.uuid, held.reason, held.volumes) == (dump, UUID, "interrupted", batch.volumes)
    assert ledger.orphans(lambda owner: False) == []
    assert [volume.tag for volume in ledger.free_volumes(2, all_tags(ledger))] == ["PAPR1002", "PAPR2002"]


def test_only_the_held_dump_itself_may_use_its_volumes(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    ledger.hold(dump, "interrupted")
    with pytest.raises(ClaimLost, match="PAPR1001"):
        begin(ledger, plan(ledger, dump="other", volumes=batch.volumes))
    with pytest.raises(ClaimLost, match="PAPR1001"):
        begin(ledger, plan(ledger, volumes=[batch.volumes[0]._replace(uuid="new"), batch.volumes[1]]))
    with pytest.raises(ClaimLost, match="PAPR1001 and PAPR2001"):
        begin(ledger, plan(ledger))
    assert begin(ledger, plan(ledger, volumes=batch.volumes), OTHER) == dump
    assert ledger.dump(dump).owner == OTHER
    assert not ledger.held()


def test_a_held_dump_can_be_given_up(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    ledger.hold(dump, "interrupted")
    ledger.fail(dump, "its drive is gone", LATER, touched={"PAPR1001"})
    assert ledger.volume("PAPR1001").state == "aside"
    assert ledger.volume("PAPR2001").state == "blank"
    assert not ledger.held()


def test_a_failed_dump_frees_what_it_did_not_touch(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    ledger.fail(dump, "a drive failed", LATER, aside={"PAPR1001": "it is worn out"})
    assert set(states(ledger).values()) == {"waiting"}
    first, second = ledger.volume("PAPR1001"), ledger.volume("PAPR2001")
    assert (first.state, first.reason, first.dump) == ("aside", "it is worn out", UUID)
    assert (second.state, second.uuid, second.dump) == ("blank", None, None)
    record = ledger.dump(dump)
    assert (record.state, record.reason, record.ended_at) == ("failed", "a drive failed", LATER)
    assert [copy.volume for copy in record.copies] == ["PAPR1001"]


def test_a_failed_dump_never_calls_a_written_volume_blank(ledger: Ledger) -> None:
    fill(ledger)
    dump = write(ledger, plan(ledger))
    ledger.fail(dump, "it did not read back", LATER)
    assert ledger.status().volumes == {**FREE, "blank": 2, "aside": 2}
    assert ledger.volume("PAPR2001").reason == "it did not read back"
    assert all(found.copies == () and found.tape_file is None for found in ledger.find("*"))


def test_an_abandoned_dump_frees_everything(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    ledger.abandon(dump, "no drive was free", LATER)
    assert ledger.status().volumes == FREE
    assert ledger.status().datasets["waiting"] == 3
    assert ledger.dump(dump).state == "abandoned"
    archive(ledger, plan(ledger, dump="next"))


def test_a_dump_stopped_early_lets_the_rest_wait(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    written = catalog(batch, until=1)
    dump = write(ledger, batch, written)
    ledger.commit(dump, verifications(batch, written.files), LATER)
    assert ledger.status().datasets == {"waiting": 2, "claimed": 0, "archived": 1, "rejected": 0}
    archive(ledger, plan(ledger, dump="next"))
    assert ledger.status().datasets["archived"] == 3


def test_steps_out_of_turn_are_refused(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin(ledger, batch)
    with pytest.raises(WrongState, match="planned"):
        ledger.start_verifying(dump, ME, NOW)
    with pytest.raises(WrongState):
        ledger.written(dump, catalog(batch), copies(batch), NOW)
    with pytest.raises(WrongState):
        ledger.commit(dump, verifications(batch, 3), NOW)
    ledger.start_writing(dump)
    with pytest.raises(WrongState):
        ledger.start_writing(dump)
    ledger.written(dump, catalog(batch), copies(batch), NOW)
    with pytest.raises(WrongState):
        ledger.hold(dump, "too late")
    with pytest.raises(WrongState):
        ledger.abandon(dump, "too late", NOW)


def test_an_archived_dump_cannot_fail(ledger: Ledger) -> None:
    fill(ledger)
    dump, batch = archive(ledger)
    for step in (
        lambda: ledger.fail(dump, "late", NOW),
        lambda: ledger.hold(dump, "late"),
        lambda: ledger.commit(dump, verifications(batch, 3), NOW),
    ):
        with pytest.raises(WrongState, match="archived"):
            step()
    assert set(states(ledger).values()) == {"archived"}


def test_an_unknown_dump_is_named(ledger: Ledger) -> None:
    for step in (ledger.dump, ledger.start_writing, lambda dump: ledger.heartbeat(dump, NOW)):
        with pytest.raises(UserError, match="dump 77"):
            step(77)


def test_a_dump_of_a_dead_process_is_an_orphan(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin_writing(ledger, plan(ledger))
    asked: list[Owner] = []
    assert ledger.orphans(lambda owner: asked.append(owner) is None) == []
    assert asked == [ME]
    (orphan,) = ledger.orphans(lambda owner: False)
    assert orphan == ledger.dump(dump)


def test_a_dump_that_is_over_belongs_to_its_process_until_it_is_dismissed(ledger: Ledger, url: str) -> None:
    fill(ledger)
    dump, _ = archive(ledger)
    assert ledger.orphans(lambda owner: False) == ledger.undismissed(lambda owner: True) == []
    with open_ledger(url) as second:
        (left,) = second.undismissed(lambda owner: False)
        assert left == ledger.dump(dump)
        second.dismiss(dump)  # which is not its own
        second.take_over(left, OTHER, LATER)
        ledger.dismiss(dump)  # which is not its own any more
        assert ledger.dump(dump).owner == OTHER
        second.dismiss(dump)
    assert (ledger.dump(dump).owner, ledger.dump(dump).state) == (None, "archived")
    assert ledger.undismissed(lambda owner: False) == []


def test_a_dump_that_is_not_over_cannot_be_dismissed(ledger: Ledger) -> None:
    fill(ledger)
    dump = write(ledger, plan(ledger))
    ledger.dismiss(dump)
    assert ledger.dump(dump).owner == ME


def test_an_orphan_is_taken_over_once(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    with open_ledger(url) as second, open_ledger(url) as third:
        (orphan,) = second.orphans(lambda owner: False)
        second.take_over(orphan, OTHER, LATER)
        with pytest.raises(ClaimLost, match="another process"):
            third.take_over(orphan, Owner("tape3", 1, "1"), LATER)
        assert second.dump(dump).heartbeat_at == LATER
        second.hold(dump, "its process died")


def test_who_lost_a_dump_can_do_nothing_to_it(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    with open_ledger(url) as second:
        second.take_over(second.orphans(lambda owner: False)[0], OTHER, LATER)
        for step in (
            lambda: ledger.heartbeat(dump, LATER),
            lambda: ledger.written(dump, catalog(batch), copies(batch), NOW),
            lambda: ledger.fail(dump, "mine", NOW),
            lambda: ledger.hold(dump, "mine"),
        ):
            with pytest.raises(ClaimLost, match="process 4711 on tape2"):
                step()
        second.heartbeat(dump, LATER)


def test_a_stranger_cannot_touch_a_running_dump(ledger: Ledger, url: str) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    with open_ledger(url) as second, pytest.raises(ClaimLost, match="tape1"):
        second.abandon(dump, "not mine", NOW)


def test_the_heart_beats(ledger: Ledger) -> None:
    fill(ledger)
    dump = begin(ledger, plan(ledger))
    assert ledger.dump(dump).heartbeat_at == NOW
    ledger.heartbeat(dump, LATER)
    assert ledger.dump(dump).heartbeat_at == LATER


def test_a_verification_cut_short_starts_again(ledger: Ledger, url: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = write(ledger, batch)
    with open_ledger(url) as second:
        second.take_over(second.orphans(lambda owner: False)[0], OTHER, LATER)
        second.start_verifying(dump, OTHER, LATER)
        second.commit(dump, verifications(batch, 3), LATER)
    assert ledger.dump(dump).state == "archived"


def no_change(ledger: Ledger) -> object:
    return (ledger.status(), ledger.dumps(), ledger.volumes(), list(ledger.find("*")))


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
        replace(good, dataset_rows=(replace(good.dataset_rows[0], source="host:/never/registered"),)),
        replace(good, dataset_rows=(good.dataset_rows[0], good.dataset_rows[0], good.dataset_rows[1])),
    ]
    for bad in wrong:
        with pytest.raises(PapertapeError):
            ledger.written(dump, bad, copies(batch), NOW)
        assert no_change(ledger) == before
        assert list(ledger.members(dump)) == []
    with pytest.raises(EvidenceMissing):
        ledger.written(dump, good, copies(batch)[:1], NOW)
    assert no_change(ledger) == before


def test_a_declared_checksum_must_have_been_compared(ledger: Ledger) -> None:
    fill(ledger, 0)
    ledger.register(dataset("host:/a", md5="1" * 32), NOW)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    good = catalog(batch)
    with pytest.raises(EvidenceMissing, match="MD5"):
        ledger.written(dump, replace(good, dataset_rows=(replace(good.dataset_rows[0], md5=""),)), copies(batch), NOW)
    ledger.written(dump, good, copies(batch), NOW)


@pytest.mark.parametrize(
    ("flushed", "error", "says"),
    [(None, None, "never flushed"), (None, OSError("worn out"), "worn out"), (NOW, OSError(), "OSError")],
)
def test_a_copy_that_is_not_whole_is_no_copy(ledger: Ledger, flushed: None, error: OSError | None, says: str) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = begin_writing(ledger, batch)
    ledger.written(dump, catalog(batch), copies(batch, flushed=flushed, error=error), NOW)
    ledger.start_verifying(dump, ME, NOW)
    before = no_change(ledger)
    with pytest.raises(EvidenceMissing, match=f"PAPR2001 is not whole: {says}"):
        ledger.commit(dump, verifications(batch, 3), LATER)
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
            ledger.commit(dump, given, LATER)
        assert no_change(ledger) == before
    ledger.commit(dump, [second, first], LATER)
    assert ledger.dump(dump).state == "archived"


def test_a_volume_found_bad_meanwhile_stops_the_commit(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    dump = write(ledger, batch)
    assert not ledger.record(verification("PAPR1001", 3, good=False), LATER)
    with pytest.raises(EvidenceMissing):
        ledger.commit(dump, verifications(batch, 3), LATER)
    ledger.fail(dump, "verification failed", LATER)
    assert ledger.volume("PAPR1001").reason.startswith("the bytes are not those")


def test_a_bad_reading_later_sets_the_volume_aside(ledger: Ledger) -> None:
    fill(ledger)
    dump, _ = archive(ledger)
    assert ledger.record(verification("PAPR2001", 3), LATER)
    assert len(list(ledger.deletable())) == 3
    assert not ledger.record(verification("PAPR2001", 3, good=False), LATER)
    assert ledger.volume("PAPR2001").state == "aside"
    assert list(ledger.deletable()) == []
    assert set(states(ledger).values()) == {"archived"}
    assert [copy.verified for copy in next(ledger.find("*")).copies] == [True, False]
    assert ledger.dump(dump).copies[1].verified_at is None


def test_a_reading_that_misses_bytes_proves_nothing(ledger: Ledger) -> None:
    fill(ledger)
    archive(ledger)
    assert not ledger.record(verification("PAPR1001", 3, size=5), LATER)
    assert "5 bytes and 3 files were read" in ledger.volume("PAPR1001").reason


def test_a_reading_of_a_volume_without_a_dump(ledger: Ledger) -> None:
    fill(ledger)
    assert not ledger.record(verification("PAPR1001", 3), LATER)
    assert ledger.volume("PAPR1001").state == "aside"
    with pytest.raises(UserError):
        ledger.record(verification("NOPE", 3), LATER)
