from __future__ import annotations

import random
from datetime import datetime

import pytest

from ledger.samples import ME, archive, at, begin, catalog, dataset, fill, named, plan, states, write
from papertape.errors import ClaimLost, UserError
from papertape.ledger import Ledger, Registration
from papertape.ledger.datasets import PAGE

A = "host:/data/a"


def test_a_new_data_set_waits(ledger: Ledger) -> None:
    assert ledger.datasets.register(dataset(A)) is Registration.NEW
    assert [str(each.source) for each in ledger.datasets.pending()] == [A]


def test_every_field_of_a_data_set_is_kept(ledger: Ledger) -> None:
    given = dataset("host:/odd\\x0a\\xff ünï\U0001f4fc", md5="0" * 32)._replace(kind="directory", files=7)
    ledger.datasets.register(given)
    (found,) = ledger.datasets.pending()
    assert found._replace(id=0) == given
    assert found.id


def test_waiting_data_sets_come_in_the_order_of_whole_sources(ledger: Ledger) -> None:
    """Also if they fill more than a page, and if sources are equal for longer than the part that an index has."""
    long = "host:/data/" + "x" * 800
    sources = [f"{long}/{number:05}" for number in range(PAGE + 2)]
    sources += [f"host:/data/{letter}{number:05}" for letter in "Aaz\u00e4\U0001f4fc" for number in range(PAGE // 2)]
    shuffled = random.Random(1).sample(sources, len(sources))
    ledger.datasets.register_many(map(dataset, shuffled))
    assert [str(each.source) for each in ledger.datasets.pending()] == sorted(sources)


def test_a_data_set_registered_twice_is_known(ledger: Ledger) -> None:
    ledger.datasets.register(dataset(A))
    assert ledger.datasets.register(dataset(A)) is Registration.KNOWN
    assert len(list(ledger.datasets.pending())) == 1


def test_a_waiting_one_that_changed_is_replaced(ledger: Ledger) -> None:
    ledger.datasets.register(dataset(A))
    assert ledger.datasets.register(dataset(A, fingerprint="f2", size=7)) is Registration.UPDATED
    assert [(each.fingerprint, each.size) for each in ledger.datasets.pending()] == [("f2", 7)]


def test_a_plan_made_before_the_change_cannot_claim_it(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    ledger.datasets.register(batch.archives[0][2]._replace(fingerprint="f2"))
    with pytest.raises(ClaimLost, match="plan again"):
        begin(ledger, batch)
    assert ledger.status().datasets == {"waiting": 3, "claimed": 0, "archived": 0, "rejected": 0}


def test_a_plan_made_before_a_checksum_was_declared_cannot_claim_it(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    assert ledger.datasets.register(batch.archives[0][2]._replace(md5="1" * 32)) is Registration.UPDATED
    with pytest.raises(ClaimLost):
        begin(ledger, batch)


def test_a_declared_checksum_holds_until_another_is_declared(ledger: Ledger) -> None:
    ledger.datasets.register(dataset(A, md5="1" * 32))
    assert ledger.datasets.register(dataset(A)) is Registration.KNOWN
    ledger.datasets.register(dataset(A, fingerprint="f2"))
    assert [each.md5 for each in ledger.datasets.pending()] == ["1" * 32]
    ledger.datasets.register(dataset(A, fingerprint="f2", md5="2" * 32))
    assert [each.md5 for each in ledger.datasets.pending()] == ["2" * 32]


def test_a_claimed_one_is_left_alone(ledger: Ledger) -> None:
    fill(ledger, 1)
    batch = plan(ledger)
    begin(ledger, batch)
    changed = batch.archives[0][0]._replace(fingerprint="f2")
    assert ledger.datasets.register(changed) is Registration.CLAIMED
    assert list(ledger.datasets.pending()) == []
    assert [found.version for found in ledger.search.find("*")] == [1]


def test_an_archived_one_that_changed_is_a_new_version(ledger: Ledger) -> None:
    fill(ledger, 1)
    _, batch = archive(ledger)
    same = batch.archives[0][0]
    assert ledger.datasets.register(same) is Registration.KNOWN
    assert ledger.datasets.register(same._replace(fingerprint="f2")) is Registration.CHANGED
    assert [(found.version, found.state) for found in ledger.search.find("*")] == [(1, "archived"), (2, "waiting")]


def test_an_archived_one_that_was_never_compared_with_the_checksum_is_a_new_version(ledger: Ledger) -> None:
    fill(ledger, 1)
    _, batch = archive(ledger)
    assert ledger.datasets.register(batch.archives[0][0]._replace(md5="1" * 32)) is Registration.CHANGED
    assert list(ledger.search.deletable()) == []


def test_a_rejected_one_waits_again(ledger: Ledger) -> None:
    fill(ledger, 1)
    (waiting,) = ledger.datasets.pending()
    ledger.datasets.reject([(waiting, "it is a socket")])
    assert [tuple(each) for each in ledger.datasets.rejected()] == [(str(waiting.source), "it is a socket")]
    assert ledger.datasets.register(waiting) is Registration.AGAIN
    assert list(ledger.datasets.rejected()) == []
    assert [found.reason for found in ledger.search.find("*")] == [""]


def test_only_a_waiting_one_can_be_rejected(ledger: Ledger) -> None:
    fill(ledger, 2)
    first, second = ledger.datasets.pending()
    ledger.datasets.reject([(first, "why")])
    with pytest.raises(ClaimLost):
        ledger.datasets.reject([(second, "why"), (first, "why")])
    assert [str(each.source) for each in ledger.datasets.pending()] == [str(second.source)]


@pytest.mark.parametrize(
    ("there", "added"),
    [
        (A, f"{A}/b"),
        (A, f"{A}/b/c/d"),
        ("host:/", A),
        (f"{A}/b", A),
        (f"{A}/b/c/d", A),
        (A, "host:/"),
    ],
)
def test_a_data_set_inside_another_is_refused(ledger: Ledger, there: str, added: str) -> None:
    ledger.datasets.register(dataset(there))
    with pytest.raises(UserError, match="is inside") as caught:
        ledger.datasets.register(dataset(added))
    assert there in str(caught.value)
    assert added in str(caught.value)
    assert [str(each.source) for each in ledger.datasets.pending()] == [there]


@pytest.mark.parametrize("added", ["host:/data/a.b", "host:/data/a0", "host:/data/a-", "host:/data", "other:/data/a/b"])
def test_a_neighbour_is_not_inside(ledger: Ledger, added: str) -> None:
    ledger.datasets.register(dataset("host:/data/a/x"))
    ledger.datasets.register(dataset("host:/data/b"))
    if added == "host:/data":
        with pytest.raises(UserError):
            ledger.datasets.register(dataset(added))
    else:
        assert ledger.datasets.register(dataset(added)) is Registration.NEW


def test_nested_ones_in_one_call_are_refused(ledger: Ledger) -> None:
    with pytest.raises(UserError):
        ledger.datasets.register_many([dataset(A), dataset(f"{A}/b/c")])
    assert list(ledger.datasets.pending()) == []


def test_a_data_set_inside_a_rejected_one_is_accepted(ledger: Ledger) -> None:
    ledger.datasets.register(dataset("host:/data"))
    ledger.datasets.reject([(next(ledger.datasets.pending()), "larger than any volume")])
    assert ledger.datasets.register(dataset(A)) is Registration.NEW
    with pytest.raises(UserError):
        ledger.datasets.register(dataset("host:/data"))


def test_many_are_registered_and_reported(ledger: Ledger) -> None:
    heard: list[tuple[str, Registration]] = []
    sets = [*named(2500), *named(10)]
    counts = ledger.datasets.register_many(sets, lambda each, result: heard.append((each.source, result)))
    assert counts == {Registration.NEW: 2500, Registration.KNOWN: 10}
    assert [source for source, _ in heard] == [each.source for each in sets]
    assert len(list(ledger.datasets.pending())) == 2500


def test_pending_is_ordered_by_the_bytes_of_the_source(ledger: Ledger) -> None:
    names = ["host:/B", "host:/a", "host:/é", "host:/a.b", "host:/a0", "host:/\U0001f4fc", "host:/~"]
    ledger.datasets.register_many([dataset(name) for name in names])
    assert [str(each.source) for each in ledger.datasets.pending()] == sorted(names, key=str.encode)


def test_a_time_without_a_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="zone"):
        at(ledger, datetime(2024, 1, 1)).datasets.register(dataset(A))


def test_a_data_set_that_the_writer_rejected_leaves_the_dump(ledger: Ledger) -> None:
    fill(ledger, 3)
    batch = plan(ledger)
    bad = str(batch.archives[0][1].source)
    dump = write(ledger, batch, catalog(batch, {bad: "it shrank while it was read"}))
    assert states(ledger)[bad] == "rejected"
    assert ledger.contents.rejections(dump)[1] == (bad, "it shrank while it was read")
    assert ledger.contents.expected(dump).rejected == {1}
    assert ledger.datasets.register(batch.archives[0][1]) is Registration.AGAIN
    assert ledger.dumps.one(dump).owner == ME


def test_waiting_data_sets_can_be_asked_for_by_host(ledger: Ledger) -> None:
    """Hosts whose names begin with the same letters, or sort next to each other, are distinguished."""
    sources = [f"{host}:/data/{number}" for host in ("pot1", "pot10", "pot1.x", "pot", "pot1-a") for number in (1, 2)]
    ledger.datasets.register_many([dataset(source) for source in sources])
    assert [str(each.source) for each in ledger.datasets.pending("pot1")] == ["pot1:/data/1", "pot1:/data/2"]
    assert list(ledger.datasets.pending("po")) == []
    assert len(list(ledger.datasets.pending())) == len(sources)
