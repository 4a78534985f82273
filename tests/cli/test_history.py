"""What the lab's table says is on tape: entered, found and restored, as an operator has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.labdatabase import LabDatabase
from papertape.events import tell_all
from papertape.tape.drive import Mark
from papertape.tape.library import Library
from papertape.tape.virtual.library import VirtualLibrary, add_cartridge
from predecessor import TAGS, Source, compose_tape, lay_out, make_sources

from .operatorlab import Lab

ROOM = ("PAPR1003", "PAPR2003")


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    return make_sources(tmp_path / "sources", 4)


@pytest.fixture
def lab(blank: Lab, database: LabDatabase, sources: list[Source], tmp_path: Path) -> Lab:
    """A lab with two of the predecessor's volumes in its library, of which only the lab's table knows."""
    config = blank.folder / "papertape.toml"
    section = f'[bridge]\nfiles = "{database.options}"\n[bridge.paths]\n"pot1:/data" = "{blank.folder}/night"\n'
    config.write_text(f"{config.read_text()}\n{section}")
    for number, source in enumerate(sources):
        place = f"20170221[{','.join(TAGS)}]-{number // 2}:{number % 2 + 1}"
        database.add_row(source.name.decode(), tape_index=place, md5sum=source.md5, filesize=0.01)
    take_out(blank, *ROOM)
    tape = lay_out(compose_tape(tmp_path / "work", [sources[:2], sources[2:]]))
    for tag in TAGS:
        put_in(blank, tag, tape)
    return blank


def take_out(lab: Lab, *tags: str) -> None:
    record = lab.library / "library.json"
    known = json.loads(record.read_text())
    known["slots"] = [None if tag in tags else tag for tag in known["slots"]]
    record.write_text(json.dumps(known))
    for tag in tags:
        lab.cartridge(tag).rename(lab.folder / tag)


def put_in(lab: Lab, tag: str, tape: list[bytes | Mark]) -> None:
    add_cartridge(lab.library, tag)
    virtual = VirtualLibrary(lab.library)
    library = Library(virtual.changer, virtual.drives, lab.library / "locks", tell_all())
    with library.reserve() as session, session.mounted([tag]) as (drive,):
        for item in tape:
            if isinstance(item, Mark):
                drive.write_filemark(flush=True)
            else:
                drive.write_block(memoryview(item))


def check_back(folder: Path, sources: list[Source]) -> None:
    for source in sources:
        host, _, path = source.name.decode().partition(":/")
        assert (folder / host / path / "visdata").read_bytes() == (source.path / "visdata").read_bytes()


def test_history_is_found_and_restored(lab: Lab, sources: list[Source]) -> None:
    assert "4 places would be entered" in lab.ok("bridge", "history", "--dry-run")
    assert lab.run("find", "zen").code == 3
    assert "4 places entered" in lab.ok("bridge", "history")
    assert "4 known already" in lab.ok("bridge", "history")
    assert "history: 4 data sets known only from the lab's table, on 2 volumes" in lab.ok("bridge", "status")
    assert lab.json("bridge", "status")["history"] == {"listed": 4, "volumes": list(TAGS)}
    out = lab.ok("find", "zen.2457002")
    assert "listed, 10 kB: known only from the lab's table" in out
    assert "20170221[H0C10001,H0C20001]-1:1" in out
    assert "on H0C20001, tape file 2: not imported yet" in out
    (one,) = lab.json("find", "zen.2457002")
    assert (one["state"], one["location"], one["md5"]) == ("listed", "20170221[H0C10001,H0C20001]-1:1", sources[2].md5)
    assert [(copy["volume"], copy["tape_file"], copy["verified"]) for copy in one["copies"]] == [
        (tag, 2, False) for tag in TAGS
    ]
    assert lab.ok("status", "--deletable") == ""
    dry = lab.ok("restore", "zen.2457002", "--to", "back", "--dry-run")
    assert "to be imported first: H0C10001 or H0C20001, 1 data set in the lab's table" in dry
    assert lab.json("restore", "zen", "--to", "back", "--dry-run")["unread"] == [{"volumes": list(TAGS), "datasets": 4}]
    assert lab.run("find", "zen", "--json").out.count("listed") == 4
    ran = lab.run("restore", "zen.2457002", "--to", "back")
    assert ran.code == 0, ran
    assert "imported H0C10001" in ran.err
    check_back(lab.folder / "back", sources[2:3])
    assert {item["state"] for item in lab.json("find", "zen")} == {"archived"}
    assert lab.ok("status", "--deletable") == ""
    assert "4 known from the tapes" in lab.ok("bridge", "history")
    lab.ok("restore", "zen", "--to", "back")
    check_back(lab.folder / "back", sources)


def test_a_restore_from_tapes_that_are_away_names_them(lab: Lab, database: LabDatabase) -> None:
    lab.ok("bridge", "history")
    take_out(lab, *TAGS)
    ran = lab.run("restore", "zen", "--to", "back")
    assert ran.code == 5
    assert ran.error == (
        "volume H0C10001 or H0C20001: by the lab's table needed for 4 data sets, never read, "
        "and not where a drive can get it; put it into a slot"
    )
    ran = lab.run("restore", "zen", "--volume", TAGS[1], "--to", "back")
    assert (ran.code, "H0C20001" in ran.error) == (5, True), ran
    database.add_row("pot1:/data1/zen.9.uv", tape_index="20170221[A1]-0:3")
    lab.ok("bridge", "history")
    assert (
        "A1: by the lab's table needed for 1 data set (and others for 4 more)"
        in lab.run("restore", "zen", "--to", "back").error
    )


def test_a_volume_that_only_the_lab_knows_may_be_named(lab: Lab, database: LabDatabase, sources: list[Source]) -> None:
    database.add_row("pot1:/data1/zen.9.uv", tape_index="20170221[H0C10009]-0:3")
    lab.ok("bridge", "history")
    lab.ok("restore", "zen.2457", "--to", "back")
    ran = lab.run("restore", "zen", "--volume", "H0C10009", "--to", "back")
    assert ran.code == 5
    assert "volume H0C10009: by the lab's table needed for 1 data set" in ran.error
    assert "first: H0C10009" in lab.ok("restore", "zen", "--volume", "H0C10009", "--to", "back", "--dry-run")
    ran = lab.run("restore", "zen", "--volume", "NOSUCH01", "--to", "back")
    assert (ran.code, "not registered" in ran.error) == (2, True)
    check_back(lab.folder / "back", sources)


def test_one_volume_of_a_pair_is_enough(lab: Lab, sources: list[Source]) -> None:
    lab.ok("bridge", "history")
    take_out(lab, TAGS[0])
    lab.ok("restore", "zen", "--volume", TAGS[1], "--to", "back")
    check_back(lab.folder / "back", sources)


def test_a_volume_that_holds_something_else_is_reported(lab: Lab, database: LabDatabase, sources: list[Source]) -> None:
    database.add_row("pot1:/data1/zen.9.uv", tape_index=f"20170221[{','.join(TAGS)}]-0:3")
    lab.ok("bridge", "history")
    ran = lab.run("restore", "zen", "--to", "back")
    assert ran.code == 8
    assert (
        "pot1:/data1/zen.9.uv could not be restored from any copy (the lab's table says that it is on H0C10001"
        in ran.error
    )
    check_back(lab.folder / "back", sources)
    place = "on H0C10001, tape file 1: the ledger knows this volume, and the data set is not on it"
    assert place in lab.ok("find", "zen.9")
    again = lab.run("bridge", "history")
    assert again.code == 4
    assert "pot1:/data1/zen.9.uv: the ledger knows the contents of H0C10001 and H0C20001" in again.err


def test_rows_without_a_place_are_named_and_the_rest_is_entered(lab: Lab, database: LabDatabase) -> None:
    database.add_row("pot1:/data1/garbage", tape_index="gar\nbage")
    database.add_row("pot1:/data1/claimed", tape_index="1004711123")
    database.add_row("pot1:/data1/blank", tape_index="20170221[PAPR1001]-0:1")
    ran = lab.run("bridge", "history")
    assert ran.code == 4
    assert "pot1:/data1/garbage: its tape_index 'gar" in ran.err
    assert "PAPR1001: blank in the ledger, but the lab's table has data on it" in ran.err
    assert "5 places entered; 1 claimed by a dump; 1 row left out" in ran.out
    known = json.loads(lab.run("bridge", "history", "--json").out)
    assert (known["remembered"], known["known"], known["claimed"], known["refused"]) == (0, 5, 1, 1)
    assert [item["row"] for item in known["troubles"]] == ["pot1:/data1/garbage"]
    assert known["blank"] == ["PAPR1001"]


def test_history_needs_a_bridge(blank: Lab) -> None:
    ran = blank.run("bridge", "history")
    assert (ran.code, "no [bridge]" in ran.error) == (2, True)
