"""A pair of the predecessor's, from the shelf to the disk: imported, listed, verified whole, restored from either."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from papertape.states import Format
from papertape.tape.virtual.library import add_cartridge
from predecessor import TAGS, Form, Source, compose_tape, lay_out, make_sources
from stories import CAPACITY, Lab

from .conftest import MakeLab
from .damage import flip, record

ARCHIVES, EACH = 12, 4
FORMS = [Form(), Form("gnu", listed=False, place="queue")]


@pytest.fixture(params=FORMS, ids=["latest", "older"])
def pair(new_lab: MakeLab, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Lab, list[Source]]:
    """A lab into whose library a pair of twelve archives of four data sets was put."""
    sources = make_sources(tmp_path / "sources", ARCHIVES * EACH, size=20_000)
    archives = [sources[at : at + EACH] for at in range(0, len(sources), EACH)]
    tape = compose_tape(tmp_path / "work", archives, request.param)
    lab = new_lab(spare=2)
    for tag in TAGS:
        add_cartridge(lab.folder / "library", tag, capacity=CAPACITY)
        record(lab, tag, *lay_out(tape))
    lab.bring_in(*TAGS)
    return lab, sources


def check_back(to: Path, sources: list[Source]) -> None:
    for source in sources:
        host, _, path = source.name.decode().partition(":/")
        command = ["diff", "-r", "--no-dereference", str(source.path), str(to / host / path)]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""
        for part in [source.path, *source.path.iterdir()]:
            found = (to / host / path / part.relative_to(source.path)).stat()
            assert (found.st_mode, int(found.st_mtime)) == (part.stat().st_mode, int(part.stat().st_mtime))


def spoil(lab: Lab, tag: str, source: Source, number: int) -> None:
    """Change one byte of a data set's visdata on one volume."""
    path = lab.tape_files(tag)[1 + number // EACH]
    flip(path, path.read_bytes().index((source.path / "visdata").read_bytes()) + 4321)


def test_a_pair_is_listed_verified_whole_and_restored(pair: tuple[Lab, list[Source]], tmp_path: Path) -> None:
    lab, sources = pair
    (dump,) = lab.ledger.dumps.all()
    assert (dump.format, dump.state, dump.datasets) == (Format.PREDECESSOR, "archived", len(sources))
    assert [found.source for found in lab.ledger.search.find("pot1:*")] == sorted(s.name.decode() for s in sources)
    verifications = lab.verify(*TAGS)
    assert [(item.ok, item.files) for item in verifications] == [(True, len(sources))] * 2
    assert {item.drive for item in verifications} == {0, 1}
    done = lab.restore("pot1:*", to=tmp_path / "back")
    assert (done.error, done.sets, done.mounts, done.sick) == (None, len(sources), 1, {})
    check_back(tmp_path / "back", sources)
    again = lab.restore("pot1:*", to=tmp_path / "back")
    assert (again.sets, len(again.plan.present), again.mounts) == (0, len(sources), 0)
    assert not lab.stranded()


def test_one_data_set_is_read_from_its_archive_alone(pair: tuple[Lab, list[Source]], tmp_path: Path) -> None:
    lab, sources = pair
    done = lab.restore(sources[30].name.decode(), to=tmp_path / "back")
    assert (done.error, done.sets, done.mounts, done.locates) == (None, 1, 1, 1)
    sizes = [path.stat().st_size for path in lab.tape_files(TAGS[0])]
    assert done.read <= sizes[0] + sizes[1 + 30 // EACH]
    check_back(tmp_path / "back", [sources[30]])


def test_a_byte_that_flipped_is_named_by_its_data_set_and_comes_from_the_twin(
    pair: tuple[Lab, list[Source]], tmp_path: Path
) -> None:
    lab, sources = pair
    spoil(lab, TAGS[0], sources[17], 17)
    bad, good = lab.verify(*TAGS)
    assert [(finding.kind, finding.member) for finding in bad.findings] == [
        ("DigestMismatch", sources[17].name.decode())
    ]
    assert good.ok
    assert lab.volumes()[TAGS[0]] == "aside"
    done = lab.restore("pot1:*", to=tmp_path / "back")
    assert (done.error, done.mounts) == (None, 1)  # the good one was read at once
    check_back(tmp_path / "back", sources)


def test_found_while_it_is_restored_the_twin_has_it(pair: tuple[Lab, list[Source]], tmp_path: Path) -> None:
    lab, sources = pair
    spoil(lab, TAGS[0], sources[17], 17)
    spoil(lab, TAGS[1], sources[30], 30)
    done = lab.restore("pot1:*", to=tmp_path / "back")
    assert (done.error, done.sets, done.mounts, list(done.sick)) == (None, len(sources), 2, [TAGS[0]])
    check_back(tmp_path / "back", sources)


def test_lost_on_both_it_is_named_and_all_else_is_there(pair: tuple[Lab, list[Source]], tmp_path: Path) -> None:
    lab, sources = pair
    for tag in TAGS:
        spoil(lab, tag, sources[17], 17)
    done = lab.restore("pot1:*", to=tmp_path / "back")
    assert done.error is not None
    assert (done.error.exit_code, [source for source, _ in done.failed]) == (8, [sources[17].name.decode()])
    check_back(tmp_path / "back", [source for source in sources if source != sources[17]])
    host, _, path = sources[17].name.decode().partition(":/")
    assert not (tmp_path / "back" / host / path).exists()
