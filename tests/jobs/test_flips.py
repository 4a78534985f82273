"""One byte that is not as it was written, anywhere on either copy, is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertape.errors import VerificationFailed
from papertape.evidence import DigestMismatch, HeaderDamaged, WrongVolume
from stories import At, Lab, check_all_archived, check_archived, make_lab, make_night, snapshot

from .damage import Place, dissect, flip

TAGS = ("PAPR1001", "PAPR2001")
LONG_NAME = "a name that takes a pax header, since it has more than a hundred bytes " + "x" * 150


class Pair(NamedTuple):
    """An archived pair, and what lies where on it, by kind: each header, data and filling of each tape file."""

    lab: Lab
    places: dict[str, list[Place]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    lab = make_lab(folder / "lab")
    paths = make_night(folder / "night", files=2)
    odd = folder / "night" / LONG_NAME
    odd.write_bytes(b"odd")
    (paths[-1] / "link").symlink_to("flags")
    lab.add(*paths, odd)
    assert lab.dump().error is None
    places = [place for tag in TAGS for path in lab.tape_files(tag) for place in dissect(path)]
    kinds = {kind: [place for place in places if place.kind == kind] for kind in ("header", "data", "filling")}
    yield Pair(lab, kinds)
    lab.ledger.close()


def check_found(lab: Lab, place: Place, offset: int) -> None:
    """Verification of the pair finds the byte at ``offset``, on that volume alone, and says whose it is."""
    tag = place.path.parent.name
    for verification in lab.verify(*TAGS):
        if verification.volume != tag:
            assert verification.ok, verification
            continue
        assert not verification.ok
        for finding in verification.findings:
            assert (finding.volume, finding.tape_file) == (tag, int(place.path.stem)), finding
            assert isinstance(finding, DigestMismatch | HeaderDamaged | WrongVolume), finding
        first = verification.findings[0]
        assert first.member == place.member, (place, offset, verification.findings)
        if place.kind == "header":
            assert isinstance(first, HeaderDamaged)
        elif place.kind == "data":
            assert isinstance(first, DigestMismatch)


@pytest.mark.parametrize("kind", ["header", "data", "filling"])
@given(draw=st.data())
@settings(max_examples=30, deadline=None)
def test_verify_finds_any_flipped_byte_and_names_volume_tape_file_and_member(
    pair: Pair, kind: str, draw: st.DataObject
) -> None:
    place = draw.draw(st.sampled_from(pair.places[kind]))
    offset = draw.draw(st.integers(place.start, place.end - 1))
    mask = draw.draw(st.integers(1, 255))
    flip(place.path, offset, mask)
    try:
        check_found(pair.lab, place, offset)
    finally:
        flip(place.path, offset, mask)


def test_every_member_of_label_plan_and_catalog_is_named(pair: Pair) -> None:
    own = [place for place in pair.places["data"] if place.member and not place.member.startswith("data/")]
    names = {place.member for place in own}
    assert names >= {"README.txt", "volume.json", "plan.json", "plan.csv", "catalog.json", "datasets.csv", "files.csv"}
    for place in own[: len(own) // 2]:
        flip(place.path, place.end - 2)
        check_found(pair.lab, place, place.end - 2)
        flip(place.path, place.end - 2)


def test_a_flip_in_a_digest_list_is_found_in_archive_and_catalog(pair: Pair) -> None:
    for place in (place for place in pair.places["data"] if place.member == "SHA256SUMS"):
        flip(place.path, place.start)
        check_found(pair.lab, place, place.start)
        flip(place.path, place.start)


def test_a_volume_that_was_found_bad_is_aside_and_its_data_sets_are_not_deletable(lab: Lab) -> None:
    lab.dump()
    assert len(list(lab.ledger.search.deletable())) == 6
    flip(lab.tape_files("PAPR2001")[2], 5000)
    lab.verify(*TAGS)
    assert (lab.volumes()["PAPR1001"], lab.volumes()["PAPR2001"]) == ("archived", "aside")
    assert list(lab.ledger.search.deletable()) == []
    assert "tape file 2" in lab.ledger.volumes.one("PAPR2001").reason


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(("tape_file", "offset"), [(0, 600), (1, 700), (2, 513), (3, 65_536), (-1, 900)])
def test_a_byte_flipped_between_writing_and_verifying_leaves_nothing_archived(
    lab: Lab, tag: str, tape_file: int, offset: int
) -> None:
    outcome = lab.dump(At("verifying", lambda: flip(lab.tape_files(tag)[tape_file], offset)))
    assert isinstance(outcome.error, VerificationFailed)
    assert tag in str(outcome.error)
    assert (outcome.state, outcome.lacking) == ("incomplete", (tag,))
    assert set(lab.states().values()) == {"claimed"}
    assert {each: lab.volumes()[each] for each in TAGS} == {
        each: "aside" if each == tag else "claimed" for each in TAGS
    }
    assert not lab.stranded()
    before = [snapshot(lab.cartridge(each)) for each in TAGS]
    assert [outcome.error for outcome in lab.finish()] == [None]
    check_all_archived(lab)
    assert [snapshot(lab.cartridge(each)) for each in TAGS] == before


def check_next_dump_leaves_alone(lab: Lab) -> None:
    before = [snapshot(lab.cartridge(tag)) for tag in TAGS]
    assert lab.dump().volumes == ("PAPR1002", "PAPR2002")
    check_all_archived(lab)
    assert [snapshot(lab.cartridge(tag)) for tag in TAGS] == before


def test_both_copies_bad_in_the_same_byte_is_found_on_both(lab: Lab) -> None:
    def spoil() -> None:
        for tag in TAGS:
            flip(lab.tape_files(tag)[2], 70_000)

    outcome = lab.dump(At("verifying", spoil))
    assert isinstance(outcome.error, VerificationFailed)
    assert [(v.volume, v.ok) for v in outcome.verifications] == [(TAGS[0], False), (TAGS[1], False)]
    check_archived(lab)


def test_a_cartridge_folder_is_left_as_it_is_by_verification(lab: Lab, tmp_path: Path) -> None:
    lab.dump()
    before = [snapshot(lab.cartridge(tag)) for tag in TAGS]
    lab.verify(*TAGS)
    assert [snapshot(lab.cartridge(tag)) for tag in TAGS] == before
