"""Entries of the lab's table are listed and found; they are never data sets, and a tape counts more than they do."""

from __future__ import annotations

import pytest

from ledger.samples import dataset
from papertape.ledger import Heard, Ledger, Listed, Listing, Registered
from papertape.states import DataSetState
from papertape.volume.predecessor.catalog import parse_predecessor_catalog
from papertape.volume.recorded import PredecessorVolume
from predecessor import compose_catalog

MD5 = "0123456789abcdef" * 2
TAGS = ("H0C10001", "H0C20001")


def listed(number: int, **values: object) -> Listed:
    item = Listed(
        source=f"pot1:/data/zen.{number}.uv",
        version="20170221",
        labels=TAGS,
        archive=0,
        item=number,
        md5=MD5,
        size=12_340_000,
    )
    return item._replace(**values)


def import_tape(ledger: Ledger, tag: str, *names: str) -> None:
    """Import a volume of the predecessor that has these sources in one archive."""
    catalog = parse_predecessor_catalog(compose_catalog([[(name.encode(), MD5) for name in names]]), tag)
    ledger.imports.enter(tag, PredecessorVolume(catalog, 2, marked=True), Registered(10**9, 2, TAGS.index(tag) + 1))


def hear(ledger: Ledger, *items: Listed) -> list[Listing]:
    """Note the entries and return the result for each; check that ``judge`` returns the same."""
    judged = ledger.history.judge(items)
    assert ledger.history.note(items) == judged
    return [heard.listing for heard in judged]


def test_an_entry_is_found_with_its_location_and_is_no_data_set(ledger: Ledger) -> None:
    items = [listed(number) for number in range(1, 4)]
    before = ledger.status()
    assert hear(ledger, *items) == [Listing.NEW] * 3
    assert list(ledger.history.find("zen.2")) == [items[1]]
    assert items[1].location == "20170221[H0C10001,H0C20001]-0:2"
    assert ledger.history.count() == (3, frozenset(TAGS))
    assert ledger.status() == before
    assert list(ledger.search.find("*")) == []
    assert list(ledger.search.deletable()) == []
    assert list(ledger.datasets.pending()) == []
    assert list(ledger.retrieval.find("*")) == []
    assert ledger.volumes.all() == ()


def test_an_equal_entry_changes_nothing_and_another_place_moves_it(ledger: Ledger) -> None:
    hear(ledger, listed(1))
    assert hear(ledger, listed(1)) == [Listing.KNOWN]
    moved = listed(1, labels=("H0C10009",), archive=3, md5=None, size=None)
    assert hear(ledger, moved) == [Listing.MOVED]
    assert list(ledger.history.find("*")) == [moved]


def test_judge_enters_nothing(ledger: Ledger) -> None:
    ledger.history.judge([listed(1)])
    assert list(ledger.history.find("*")) == []


@pytest.mark.parametrize("tag", TAGS)
def test_a_data_set_on_tape_replaces_its_entry(ledger: Ledger, tag: str) -> None:
    hear(ledger, listed(1), listed(2), listed(3, labels=("H0C10002", "H0C20002")))
    import_tape(ledger, tag, "pot1:/data/zen.1.uv", "pot1:/data/zen.2.uv")
    assert [item.source for item in ledger.history.find("*")] == ["pot1:/data/zen.3.uv"]
    assert [item.source for item in ledger.search.find("*")] == ["pot1:/data/zen.1.uv", "pot1:/data/zen.2.uv"]
    assert hear(ledger, listed(1), listed(2)) == [Listing.ON_TAPE] * 2
    assert ledger.history.count()[0] == 1


def test_an_entry_for_a_data_set_on_tape_changes_nothing(ledger: Ledger) -> None:
    for tag in TAGS:
        import_tape(ledger, tag, "pot1:/data/zen.1.uv")
    before = list(ledger.search.find("*"))
    assert hear(ledger, listed(1)) == [Listing.ON_TAPE]
    assert list(ledger.search.find("*")) == before
    assert list(ledger.history.find("*")) == []


def test_a_tape_without_the_data_set_contradicts_the_entry(ledger: Ledger) -> None:
    hear(ledger, listed(1), listed(2))
    import_tape(ledger, TAGS[0], "pot1:/data/zen.1.uv")
    assert list(ledger.history.find("*")) == [listed(2)]
    (one,) = ledger.history.note([listed(2)])
    assert one == Heard(Listing.KNOWN, "the ledger knows the contents of H0C10001, and this is not there")
    import_tape(ledger, TAGS[1], "pot1:/data/zen.1.uv")
    (both,) = ledger.history.note([listed(2)])
    assert both.listing is Listing.DISPUTED
    assert "H0C10001 and H0C20001" in both.reason
    assert list(ledger.history.find("*")) == []


def test_another_place_or_md5_than_on_the_tape_is_reported(ledger: Ledger) -> None:
    import_tape(ledger, TAGS[0], "pot1:/data/zen.1.uv", "pot1:/data/zen.2.uv")
    other, moved = ledger.history.note([listed(1, md5="f" * 32), listed(2, archive=7)])
    assert other == Heard(Listing.ON_TAPE, f"its MD5 is {MD5} on H0C10001, and {'f' * 32} in the lab's table")
    assert moved == Heard(Listing.ON_TAPE, "it is in archive 0 of H0C10001")


def test_an_entry_is_listed_although_its_data_set_waits(ledger: Ledger) -> None:
    ledger.datasets.register(dataset("pot1:/data/zen.1.uv"))
    assert hear(ledger, listed(1)) == [Listing.NEW]
    assert [found.state for found in ledger.search.find("*")] == [DataSetState.WAITING]


def test_odd_sources_are_kept_unchanged(ledger: Ledger) -> None:
    odd = [listed(0, source=f"pot1:/data/{name}") for name in ("a", "a ", "A", "ä", "%_!", "'; DROP TABLE history; --")]
    hear(ledger, *odd)
    assert sorted(ledger.history.find("*")) == sorted(odd)
    assert [item.source for item in ledger.history.find("*:/data/A")] == ["pot1:/data/A"]
