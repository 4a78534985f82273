"""What the lab's table of tapes keeps of its own, whatever a dump writes there."""

from __future__ import annotations

from bridges.labdatabase import BridgedLab
from papertape.bridges import Claim


def test_the_labs_own_description_of_a_tape_stays(bridged: BridgedLab) -> None:
    database = bridged.database
    database.do("UPDATE ids SET description = 'the one with the scratch' WHERE label = 'PAPR1001'")
    database.do("UPDATE ids SET description = '' WHERE label = 'PAPR2001'")
    its, tags = Claim.draw(), ["PAPR1001", "PAPR2001", "PAPR1002"]
    seen = "SELECT description FROM ids WHERE label IN ('PAPR1001', 'PAPR2001', 'PAPR1002') ORDER BY label"
    with bridged.bridge.open_labels() as labels:
        assert labels.claim(tags, its, 7) == []
        taken = [found for (found,) in database.ask(seen)]
        labels.release(dict.fromkeys(tags, its))
    assert taken == ["the one with the scratch", "papertape dump 7", "papertape dump 7"]
    assert [found for (found,) in database.ask(seen)] == ["the one with the scratch", None, None]
