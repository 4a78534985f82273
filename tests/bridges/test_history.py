"""What the lab's table says of earlier years: read row by row, whatever anybody wrote; nothing is changed there."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.labdatabase import BridgedLab
from jobs.damage import record
from papertape.jobs.lab.history import NotEntered, Remembered, find_blank, import_history
from papertape.ledger import Listing
from papertape.tape.virtual.library import add_cartridge
from predecessor import TAGS, compose_tape, lay_out, make_sources
from stories import CAPACITY

PLACE = "20170221[H0C10001,H0C20001]-0:1"


def remember(bridged: BridgedLab, pattern: str = "*", *, dry_run: bool = False) -> dict[str, Remembered]:
    found = import_history(bridged.lab.ledger, bridged.bridge, pattern, dry_run=dry_run)
    return {item.name.rpartition("/")[2]: item for item in found}


def add(bridged: BridgedLab, name: str, place: str | None, **values: object) -> None:
    bridged.database.add_row(f"pot1:/data/{name}", tape_index=place, **values)


@pytest.mark.parametrize(
    ("place", "labels", "tape_file"),
    [
        (PLACE, ("H0C10001", "H0C20001"), 1),
        ("20150103[PAPR1007]-12:345", ("PAPR1007",), 13),
        ("20150103[A,B,C]-0:1", ("A", "B", "C"), 1),
        ("20150103[PAPR1007,PAPR1007]-0:1", ("PAPR1007",), 1),
        (f"20150103[{','.join(f'H0C{number:05}' for number in range(9))}]-0:1", None, 1),
    ],
)
def test_a_place_is_read(bridged: BridgedLab, place: str, labels: tuple[str, ...] | None, tape_file: int) -> None:
    add(bridged, "zen.uv", place, md5sum="A" * 32, filesize=12.34)
    (item,) = remember(bridged).values()
    assert (item.result, item.trouble) == (Listing.NEW, "")
    (listed,) = bridged.lab.ledger.history.find("*")
    assert labels is None or listed.labels == labels
    assert (listed.source, listed.tape_file) == ("pot1:/data/zen.uv", tape_file)
    assert (listed.md5, listed.size) == ("a" * 32, 12_340_000)
    assert len(place) > 90 or listed.location == place.replace("PAPR1007,PAPR1007", "PAPR1007")


@pytest.mark.parametrize(
    "place",
    ["", "garbage", "1", "20170221", "20170221[]-0:1", "20170221[H0C10001]-0", "20170221[h0c]-0:1", "20170221[A,]-0:1",
     "2017[A]-0:1", "20170221[A]-0:-1", "20170221[A]-9999999999:1", "20170221[ABCDEFGHI]-0:1", "20170221[A]-٣:1",
     "'; DROP TABLE File; --", "20170221[A]-0:1; x", "é" * 100, "\n"],
)  # fmt: skip
def test_a_row_that_names_no_place_is_reported(bridged: BridgedLab, place: str) -> None:
    add(bridged, "bad.uv", place)
    add(bridged, "good.uv", PLACE)
    found = remember(bridged)
    assert found["good.uv"].result is Listing.NEW
    assert found["bad.uv"].result is NotEntered.REFUSED
    assert "names no place on tapes" in found["bad.uv"].trouble
    assert "\n" not in found["bad.uv"].trouble
    assert [item.source for item in bridged.lab.ledger.history.find("*")] == ["pot1:/data/good.uv"]


def test_claims_are_counted_and_rows_without_a_place_are_none(bridged: BridgedLab) -> None:
    add(bridged, "claimed.uv", "1004711123")
    add(bridged, "waiting.uv", None)
    found = remember(bridged)
    assert {name: (item.result, item.trouble) for name, item in found.items()} == {
        "claimed.uv": (NotEntered.CLAIMED, "")
    }
    assert list(bridged.lab.ledger.history.find("*")) == []


@pytest.mark.parametrize("source", ["x", "pot1:relative", "pot1:/a//b", "pot1:/a/../b", "pot1:/a\nb", ":/a", "p t:/a"])
def test_a_source_that_is_no_path_is_reported(bridged: BridgedLab, source: str) -> None:
    bridged.database.add_row(source, tape_index=PLACE)
    (item,) = remember(bridged).values()
    assert item.result is NotEntered.REFUSED
    assert "host:/path" in item.trouble


def test_an_md5_that_is_none_is_reported_and_the_place_counts(bridged: BridgedLab) -> None:
    add(bridged, "zen.uv", PLACE, md5sum="nonsense", filesize=-1)
    (item,) = remember(bridged).values()
    assert (item.result, item.trouble) == (Listing.NEW, "its md5sum is not 32 hexadecimal digits")
    (listed,) = bridged.lab.ledger.history.find("*")
    assert (listed.md5, listed.size) == (None, None)


def test_two_rows_with_one_source_are_reported(bridged: BridgedLab) -> None:
    bridged.database.do("ALTER TABLE File DROP PRIMARY KEY")
    add(bridged, "zen.uv", PLACE)
    add(bridged, "zen.uv", "20170221[H0C10002]-0:1")
    found = list(import_history(bridged.lab.ledger, bridged.bridge, "*"))
    assert sorted(item.result for item in found) == [Listing.NEW, NotEntered.REFUSED]
    assert len(list(bridged.lab.ledger.history.find("*"))) == 1


def test_a_dry_run_and_a_pattern(bridged: BridgedLab) -> None:
    add(bridged, "zen.1.uv", PLACE)
    add(bridged, "zen.2.uv", PLACE)
    assert [item.result for item in remember(bridged, dry_run=True).values()] == [Listing.NEW] * 2
    assert list(bridged.lab.ledger.history.find("*")) == []
    assert list(remember(bridged, "*/zen.2*")) == ["zen.2.uv"]
    assert [item.source for item in bridged.lab.ledger.history.find("*")] == ["pot1:/data/zen.2.uv"]
    again = remember(bridged)
    assert {name: item.result for name, item in again.items()} == {"zen.1.uv": Listing.NEW, "zen.2.uv": Listing.KNOWN}


def test_places_that_papertape_wrote_are_known_from_its_tapes(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump().error is None
    for lost in (False, True):  # with the ledger that wrote them, and with one that read the tapes later
        assert {item.result for item in remember(bridged).values()} == {Listing.ON_TAPE}
        assert list(bridged.lab.ledger.history.find("*")) == []
        if not lost:
            bridged.lab.lose_ledger()
            assert {item.result for item in remember(bridged).values()} == {Listing.NEW}
            bridged.lab.bring_in("PAPR1001", "PAPR2001")
            assert list(bridged.lab.ledger.history.find("*")) == []


def test_labels_that_are_blank_here_are_named(bridged: BridgedLab) -> None:
    add(bridged, "zen.uv", "20150103[PAPR1002,PAPR2002]-0:1")
    (item,) = remember(bridged).values()
    assert find_blank(bridged.lab.ledger, item.labels) == ["PAPR1002", "PAPR2002"]


def test_history_before_the_tape_and_after_it_have_the_same_result(bridged: BridgedLab, tmp_path: Path) -> None:
    sources = make_sources(tmp_path / "sources", 4)
    tape = lay_out(compose_tape(tmp_path / "work", [sources[:2], sources[2:]]))
    for tag in TAGS:
        add_cartridge(bridged.lab.folder / "library", tag, capacity=10 * CAPACITY)
        record(bridged.lab, tag, *tape)
    for number, source in enumerate(sources):
        place = f"20170221[{','.join(TAGS)}]-{number // 2}:{number % 2 + 1}"
        bridged.database.add_row(source.name.decode(), tape_index=place, md5sum=source.md5)
    before = bridged.database.ask("SELECT * FROM File ORDER BY source")
    assert {item.result for item in remember(bridged).values()} == {Listing.NEW}
    expected = [(item.source, item.location) for item in bridged.lab.ledger.history.find("*")]
    assert all(result.error is None for result in bridged.lab.bring_in(*TAGS).values())
    assert [(found.source, found.location) for found in bridged.lab.ledger.search.find("pot1:*")] == expected
    assert list(bridged.lab.ledger.history.find("*")) == []
    assert {item.result for item in remember(bridged).values()} == {Listing.ON_TAPE}
    assert list(bridged.lab.ledger.search.deletable()) == []
    assert bridged.database.ask("SELECT * FROM File ORDER BY source") == before


texts = st.text(st.characters(codec="utf-8"), max_size=100)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_any_row_is_reported_and_none_is_changed(bridged: BridgedLab, made: list[tuple[str, str]]) -> None:
    database = bridged.database
    database.do("DELETE FROM File")
    for source, place in made:
        database.do(
            "INSERT IGNORE INTO File (source, tape_index) VALUES (:source, :place)",
            {"source": source, "place": place},
        )
    before = database.ask("SELECT * FROM File ORDER BY source")
    found = list(import_history(bridged.lab.ledger, bridged.bridge, "*"))
    assert len(found) == len(before)
    assert all(item.result is NotEntered.CLAIMED or item.trouble for item in found)
    assert database.ask("SELECT * FROM File ORDER BY source") == before


def test_many_rows_take_little_memory(bridged: BridgedLab, tell_figure: Any) -> None:
    rows = 40_000
    bridged.database.do(
        "INSERT INTO File (source, filename, md5sum, filesize, tape_index)"
        " SELECT concat('pot1\\:/data/psa', seq div 300, '/zen.', seq, '.uv'), 'zen', md5(seq), 12.34,"
        " concat('20170221[A', seq div 5000, ',B', seq div 5000, ']-', (seq % 5000) div 40, '\\:', seq % 40 + 1)"
        f" FROM seq_1_to_{rows}"
    )
    tracemalloc.start()
    try:
        found = Counter(item.result for item in import_history(bridged.lab.ledger, bridged.bridge, "*"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {Listing.NEW: rows}
    assert bridged.lab.ledger.history.count()[0] == rows
    tell_figure(f"history: {rows:,} rows with {peak / 1e6:.1f} MB of memory")
    assert peak < 12e6
