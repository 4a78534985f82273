from __future__ import annotations

from ledger.samples import NOW, begin, dataset, fill, plan
from papertape.ledger import Ledger
from papertape.ledger.records import Foreign
from papertape.states import LabKind, LabState


def test_what_others_wrote_may_be_any_letters(ledger: Ledger) -> None:
    """Whatever a server has for its default: the lab's rows, and what befell them, are told as they are."""
    name, reason = "pot1:/data/zen.Ω\U0001f4fc", "its tape_index is 'Ω\U0001f4fc'"
    fill(ledger, 0)
    ledger.register(dataset(name), NOW)
    dump = begin(ledger, plan(ledger))
    assert ledger.note_lab_rows(LabKind.FILE, [(name, name)]) == {}
    ledger.mark_lab_rows(ledger.lab_rows_of(dump, LabKind.FILE), dump, 1123456789)
    ledger.unmark_lab_rows(ledger.lab_rows_of(dump, LabKind.FILE), LabState.FOREIGN, reason)
    assert ledger.foreign_lab_rows() == [Foreign("file", name, reason)]
