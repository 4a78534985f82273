from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.samples import (
    ARCHIVE_SIZE,
    CATALOG_SIZE,
    PLAN_SIZE,
    archive,
    catalog,
    dataset,
    fill,
    member,
    plan,
    write,
)
from papertape.ledger import Ledger
from papertape.states import DumpState

SOURCES = [
    "host:/data/100%/a_b.uv",
    "host:/data/1007/aXb.uv",
    "host:/data/[x]/!bang",
    "host:/data/x/!bang",
    "host:/data/ABC",
    "host:/data/abc",
    "host:/data/odd\\xff\\\\name",
    "other:/data/abc",
]


@pytest.fixture
def found(ledger: Ledger) -> Ledger:
    ledger.datasets.register_many([dataset(source) for source in SOURCES])
    return ledger


def names(ledger: Ledger, pattern: str) -> list[str]:
    return [each.source for each in ledger.search.find(pattern)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", SOURCES),
        ("", SOURCES),
        ("100%", SOURCES[:1]),
        ("a_b", SOURCES[:1]),
        ("*a_b*", SOURCES[:1]),
        ("*a?b*", SOURCES[:2]),
        ("host:/data/[[]x]/*", SOURCES[2:3]),
        ("!bang", SOURCES[2:4]),
        ("*!bang", SOURCES[2:4]),
        ("host:/data/[Aa]BC", SOURCES[4:5]),
        ("abc", [SOURCES[5], SOURCES[7]]),
        ("host:/data/abc", SOURCES[5:6]),
        ("/data/a*c", [SOURCES[5], SOURCES[7]]),
        ("odd\\xff", SOURCES[6:7]),
        ("odd\udcff", SOURCES[6:7]),
        ("nothing like it", []),
        ("*'; DROP TABLE datasets; --*", []),
    ],
)
def test_find_yields_the_sources_that_match(found: Ledger, pattern: str, expected: list[str]) -> None:
    assert names(found, pattern) == sorted(expected)


@given(pattern=st.text(alphabet="*?[]!%_ab/:XBC01", max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_a_pattern_matches_as_in_the_shell(found: Ledger, pattern: str) -> None:
    if not set(pattern) & set("*?["):
        wanted = [source for source in SOURCES if pattern in source]
    else:
        glob = f"*:{pattern}" if pattern.startswith("/") else pattern
        wanted = [source for source in SOURCES if fnmatchcase(source, glob)]
    assert names(found, pattern) == sorted(wanted)


def test_a_data_set_that_is_found_has_its_places(ledger: Ledger) -> None:
    fill(ledger)
    before = list(ledger.search.find("*"))
    assert all(each.copies == () and list(ledger.search.files(each)) == [] for each in before)
    archive(ledger)
    second = list(ledger.search.find("*"))[1]
    assert (second.state, second.tape_file, second.offset, second.size) == ("archived", 2, 2048, 100)
    assert second.copies == (("PAPR1001", True), ("PAPR2001", True))
    (file,) = ledger.search.files(second)
    assert (file.member, file.size, len(file.sha256)) == ("data/1", 100, 64)


def test_a_written_copy_is_not_verified(ledger: Ledger) -> None:
    fill(ledger)
    write(ledger, plan(ledger))
    assert [copy.verified for copy in next(ledger.search.find("*")).copies] == [False, False]
    assert list(ledger.search.deletable()) == []


def test_every_state_is_counted(ledger: Ledger) -> None:
    status = ledger.status()
    assert status.datasets == {"waiting": 0, "claimed": 0, "archived": 0, "rejected": 0}
    assert status.bytes == status.datasets
    assert set(status.volumes) == {"blank", "claimed", "archived", "aside", "retired"}
    assert set(status.dumps) == {state.value for state in DumpState}
    fill(ledger)
    assert ledger.status().bytes["waiting"] == 300


def test_only_the_newest_version_is_deletable(ledger: Ledger) -> None:
    fill(ledger)
    _, batch = archive(ledger)
    assert [(each.fingerprint, each.size) for each in ledger.search.deletable()] == [("f1", 100)] * 3
    ledger.datasets.register(batch.archives[0][0]._replace(fingerprint="f2"))
    assert [each.source for each in ledger.search.deletable()] == [str(each.source) for each in batch.archives[0][1:]]


def test_the_ledger_knows_the_contents_of_a_volume(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    odd = (member(b"data/\xff\n\\x41 \xc3\xbc", number=2, offset=4096), member(b"SHA256SUMS", number=-1))
    written = catalog(batch)
    written = type(written)(**{**vars(written), "member_rows": (*written.member_rows, *odd)})
    dump = write(ledger, batch, written)
    assert list(ledger.contents.members(dump)) == list(written.members())
    expected = ledger.contents.expected(dump)
    original = written.expected()
    assert list(expected.members()) == list(original.members())
    assert (expected.dump, expected.block_size, expected.volumes, expected.tape_files, expected.rejected) == (
        (original.dump, original.block_size, original.volumes, original.tape_files, original.rejected)
    )


def test_the_ledger_knows_where_each_data_set_begins_and_ends(ledger: Ledger) -> None:
    fill(ledger)
    batch = plan(ledger)
    written = catalog(batch, {str(batch.archives[0][1].source): "gone bad"})
    more = (member(b"data/2/more", number=2, offset=5120), member(b"SHA256SUMS", number=-1, offset=6144))
    written = type(written)(**{**vars(written), "member_rows": (*written.member_rows, *more)})
    dump = write(ledger, batch, written)
    found = ledger.contents.extents(dump)
    assert [(each.number, each.tape_file, each.begin, each.end, each.members) for each in found] == [
        (-1, 1, 0, PLAN_SIZE, 1),
        (0, 2, 0, 2048, 1),
        (1, 2, 2048, 4096, 1),
        (2, 2, 4096, 6144, 2),
        (-1, 2, 6144, ARCHIVE_SIZE, 1),
        (-1, 3, 0, CATALOG_SIZE, 1),
    ]
    assert ledger.contents.own_members(dump) == [item for item in written.members() if item.dataset == -1]


def test_a_data_set_that_is_found_has_its_declared_md5(ledger: Ledger) -> None:
    ledger.datasets.register_many([dataset("host:/a", md5="ab" * 16), dataset("host:/b")])
    assert [found.md5 for found in ledger.search.find("*")] == ["ab" * 16, None]
