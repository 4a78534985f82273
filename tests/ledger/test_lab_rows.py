from __future__ import annotations

from ledger.samples import begin, dataset, fill, plan
from papertape.ledger import Ledger
from papertape.ledger.records import Foreign
from papertape.states import LabKind, LabState


def test_names_in_the_labs_tables_may_have_any_letters(ledger: Ledger) -> None:
    """Names and reasons are stored unchanged, whatever character set is the default of the server."""
    name, reason = "pot1:/data/zen.Ω\U0001f4fc", "its tape_index is 'Ω\U0001f4fc'"
    fill(ledger, 0)
    ledger.datasets.register(dataset(name))
    dump = begin(ledger, plan(ledger))
    assert ledger.lab.note(LabKind.FILE, [(name, name)]) == {}
    ledger.lab.mark(ledger.lab.of_dump(dump, LabKind.FILE), dump, 1123456789)
    ledger.lab.unmark(ledger.lab.of_dump(dump, LabKind.FILE), LabState.FOREIGN, reason)
    assert ledger.lab.foreign() == [Foreign("file", name, reason)]
