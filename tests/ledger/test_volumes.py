from __future__ import annotations

import pytest

from ledger.samples import NOW, UUID, all_tags, archive, begin, fill, plan
from papertape.errors import NoBlankVolume, UserError
from papertape.ledger import Ledger


def test_new_volumes_are_blank(ledger: Ledger) -> None:
    ledger.volumes.add([("PAPR1001", 1, 2500), ("PAPR2001", 2, 2400)])
    first, second = ledger.volumes.all()
    assert (first.tag, first.copy, first.capacity, first.state, first.uuid, first.dump) == (
        ("PAPR1001", 1, 2500, "blank", None, None)
    )
    assert second.registered_at == NOW
    assert ledger.volumes.one("PAPR2001") == second


def test_a_tag_is_registered_once(ledger: Ledger) -> None:
    ledger.volumes.add([("PAPR1001", 1, 10)])
    with pytest.raises(UserError, match="PAPR1001 is registered already"):
        ledger.volumes.add([("PAPR1002", 1, 10), ("PAPR1001", 1, 10)])
    with pytest.raises(UserError):
        ledger.volumes.add([("PAPR1003", 1, 10), ("PAPR1003", 1, 10)])
    assert len(ledger.volumes.all()) == 1


@pytest.mark.parametrize("volume", [("", 1, 10), ("A", 0, 10), ("A", 1, 0)])
def test_a_volume_needs_tag_copy_and_capacity(ledger: Ledger, volume: tuple[str, int, int]) -> None:
    with pytest.raises(UserError, match="needs"):
        ledger.volumes.add([volume])


def test_an_unknown_volume_is_named(ledger: Ledger) -> None:
    for ask in (ledger.volumes.one, ledger.dumps.of_volume, lambda tag: ledger.volumes.retire(tag, "lost")):
        with pytest.raises(UserError, match="NOPE"):
            ask("NOPE")


def test_the_lowest_blank_tag_of_each_copy_is_free(ledger: Ledger) -> None:
    tags = [("B2", 2, 5), ("A9", 1, 7), ("A1", 1, 6), ("B1", 2, 5)]
    ledger.volumes.add(tags)
    ledger.volumes.retire("B1", "broken leader pin")
    first, second = ledger.volumes.free(2, all_tags(ledger))
    assert (first.tag, first.copy, first.capacity, second.tag) == ("A1", 1, 6, "B2")
    assert len({first.uuid, second.uuid}) == 2


def test_a_copy_without_a_blank_volume_is_named(ledger: Ledger) -> None:
    ledger.volumes.add([("A1", 1, 5)])
    with pytest.raises(NoBlankVolume, match="copy 2: register one with `papertape volumes add`"):
        ledger.volumes.free(2, all_tags(ledger))


def test_a_retired_volume_is_not_free(ledger: Ledger) -> None:
    fill(ledger, pairs=1)
    ledger.volumes.retire("PAPR1001", "dropped")
    assert (ledger.volumes.one("PAPR1001").state, ledger.volumes.one("PAPR1001").reason) == ("retired", "dropped")
    with pytest.raises(NoBlankVolume):
        ledger.volumes.free(1, all_tags(ledger))


def test_a_claimed_volume_cannot_be_retired(ledger: Ledger) -> None:
    fill(ledger)
    begin(ledger, plan(ledger))
    with pytest.raises(UserError, match=UUID):
        ledger.volumes.retire("PAPR1001", "dropped")
    assert ledger.volumes.one("PAPR1001").state == "claimed"


def test_a_volume_knows_its_dump(ledger: Ledger) -> None:
    fill(ledger)
    assert ledger.dumps.of_volume("PAPR1001") is None
    dump, batch = archive(ledger)
    found = ledger.dumps.of_volume("PAPR1001")
    assert found == ledger.dumps.one(dump)
    assert ledger.volumes.one("PAPR1001").uuid == batch.volumes[0].uuid


def test_data_sets_on_a_retired_copy_are_not_deletable(ledger: Ledger) -> None:
    fill(ledger)
    archive(ledger)
    assert len(list(ledger.search.deletable())) == 3
    ledger.volumes.retire("PAPR2001", "lost in the post")
    assert list(ledger.search.deletable()) == []
