"""The database is gone, on the command line: import, show --from-tape, place."""

from __future__ import annotations

import json
from pathlib import Path

import ledgers

from .operatorlab import Lab


def test_the_ledger_comes_back_and_deletes_nothing_before_it_is_verified(done: Lab) -> None:
    deletable = done.ok("status", "--deletable")
    found = done.json("find", "*")
    assert deletable
    ledgers.lose_ledger(done.url)
    ran = done.run("volumes", "import", "--all")
    assert ran.code == 0, ran
    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert "6 data sets" in lines["PAPR1001"]
    assert " read)" in lines["PAPR1001"]
    assert "blank" in lines["PAPR1002"]
    assert len(done.json("volumes")) == 2
    for item in found:
        for copy in item["copies"]:
            copy["verified"] = False
    assert done.json("find", "*") == found
    assert done.ok("status", "--deletable") == ""
    done.ok("verify", "PAPR1001", "PAPR2001")
    assert done.ok("status", "--deletable") == deletable


def test_json_says_what_was_read(done: Lab) -> None:
    ledgers.lose_ledger(done.url)
    one, blank = done.json("volumes", "import", "PAPR1001", "PAPR1002")
    if one["kind"] == "blank":
        one, blank = blank, one
    assert set(one) == {"volume", "kind", "bytes", "dump", "dump_state", "state", "changed", "error"}
    assert (one["volume"], one["kind"], one["dump_state"], one["state"]) == (
        "PAPR1001",
        "dump",
        "incomplete",
        "claimed",
    )
    last = max(done.cartridge("PAPR1001").glob("*.tar"))
    assert one["bytes"] == 1024**2 + last.stat().st_size
    assert (blank["kind"], blank["dump"], blank["bytes"], blank["changed"]) == ("blank", None, 0, False)
    assert "papertape recopy PAPR2001" in done.ok("status")
    assert done.json("volumes", "import", "PAPR2001")[0]["dump_state"] == "archived"
    assert done.json("volumes", "import", "PAPR2001")[0]["changed"] is False


def test_a_torn_volume_is_an_error(done: Lab) -> None:
    record = done.cartridge("PAPR2001") / "cartridge.json"
    known = json.loads(record.read_text())
    known["tape_files"].pop()
    record.write_text(json.dumps(known))
    max(done.cartridge("PAPR2001").glob("*.tar")).unlink()
    ledgers.lose_ledger(done.url)
    ran = done.run("volumes", "import", "PAPR2001", "PAPR1001")
    assert ran.code == 5
    assert "papertape: volume PAPR2001: its recording ends without a catalog" in ran.err
    shown = json.loads(done.run("volumes", "show", "PAPR2001", "--from-tape", "--json").out)
    assert (shown["kind"], shown["whole"], len(shown["datasets"])) == ("torn", False, 6)
    assert all(item["whole"] for item in shown["datasets"])


def test_volumes_to_import_must_be_named(blank: Lab) -> None:
    assert blank.run("volumes", "import").code == 2
    assert blank.run("volumes", "import", "--all", "PAPR1001").code == 2
    ran = blank.run("volumes", "import", "NOSUCH01")
    assert ran.code == 5
    assert "NOSUCH01" in ran.error


@ledgers.in_a_file
def test_from_tape_needs_no_ledger_and_makes_none(done: Lab) -> None:
    ledgers.lose_ledger(done.url)
    out = done.ok("volumes", "show", "PAPR1001", "--from-tape")
    assert "copy 1" in out
    assert "twins: PAPR2001" in out
    assert out.count("tape file") == 6
    shown = done.json("volumes", "show", "PAPR1001", "--from-tape")
    assert set(shown) == {"volume", "kind", "bytes", "whole", "reason", "label", "dump", "created", "datasets"}
    assert (shown["kind"], shown["whole"], shown["label"]["volume_tag"]) == ("dump", True, "PAPR1001")
    assert [item["bytes"] for item in shown["datasets"]] == [3_000_000] * 6
    assert "blank" in done.ok("volumes", "show", "PAPR1002", "--from-tape")
    assert done.json("volumes", "show", "PAPR1002", "--from-tape")["datasets"] == []
    assert not done.ledger.exists()
    done.ledger.write_bytes(b"no database at all")
    done.ok("volumes", "show", "PAPR1001", "--from-tape")
    assert done.ledger.read_bytes() == b"no database at all"
    assert done.run("volumes", "show", "--from-tape").code == 2
    assert done.run("volumes", "show", "NOSUCH01", "--from-tape").code == 5


def test_a_place_outside_the_library_is_noted(done: Lab) -> None:
    done.ok("volumes", "place", "PAPR2001", "PAPR2002", "--at", "vault, shelf 3")
    assert "vault, shelf 3" in done.ok("volumes", "show", "PAPR2001")
    assert done.ok("volumes").count("vault, shelf 3") == 2
    assert done.json("volumes", "show", "PAPR2001")[0]["location"] == "vault, shelf 3"
    assert done.json("volumes", "place", "PAPR2001", "--at", "") == {"placed": ["PAPR2001"], "at": ""}
    assert done.json("volumes", "show", "PAPR2001")[0]["location"] == ""
    assert done.run("volumes", "place", "PAPR1001", "NOSUCH01", "--at", "here").code == 2
    assert done.json("volumes", "show", "PAPR1001")[0]["location"] == ""
    assert done.run("volumes", "place", "PAPR1001", "--at", "x" * 256).code == 2
    assert done.run("volumes", "place", "PAPR1001", "--at", "two\nlines").code == 2


def test_a_spool_that_cannot_be_written_is_reported(done: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done.configure(spool=f'"{tmp_path}/file/spool"')
    ledgers.lose_ledger(done.url)
    ran = done.run("volumes", "import", "PAPR1001")
    assert ran.code == 1
    assert "cannot keep catalogs there" in ran.err
