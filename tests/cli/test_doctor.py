"""``papertape doctor`` as it is typed: lines, JSON, exit codes."""

from __future__ import annotations

import json
import signal

from ledgers import in_a_file

from .operatorlab import Lab, check_at_rest, finish

SLOTS = ["PAPR1001", "PAPR1002", "PAPR1003", "PAPR2001", "PAPR2002", "PAPR2003"]


def test_a_new_set_up_has_nothing_wrong(blank: Lab) -> None:
    *lines, last = blank.ok("doctor").splitlines()
    assert last == "nothing is wrong"
    assert {line.split()[0] for line in lines} == {"ok", "-"}
    assert lines[0] == f"ok     config: papertape.toml: a library in the folder {blank.library}"


def test_load_moves_the_cartridge_and_says_so(blank: Lab) -> None:
    ran = blank.run("doctor", "--load", "PAPR1001")
    assert ran.code == 0
    assert "moving PAPR1001 from slot 1 to drive 0" in ran.err.splitlines()
    assert "ok     which drive: PAPR1001, put into drive 1 of the changer, became ready there" in ran.out.splitlines()
    check_at_rest(blank, SLOTS)


def test_json_names_each_check_and_the_exit_code_is_that_of_the_worst(blank: Lab) -> None:
    (blank.library / "drives" / "1").rename(blank.folder / "gone")
    ran = blank.run("doctor", "--json")
    found = {check["name"]: check for check in json.loads(ran.out)}
    assert ran.code == found["drive 1"]["exit_code"] == 6
    assert found["drive 1"]["verdict"] == "problem"
    assert found["drive 0"]["verdict"] == "ok"
    assert found["which drive"]["verdict"] == "skipped"


def test_a_registered_volume_is_no_scratch(blank: Lab) -> None:
    ran = blank.run("doctor", "--scratch", "PAPR1001")
    assert ran.code == 2
    assert "WRONG  scratch: --scratch PAPR1001: it is registered, as blank; nothing was written" in ran.out
    assert ran.out.splitlines()[-1] == "1 problem"


def test_a_config_that_cannot_be_read_is_the_only_finding(blank: Lab) -> None:
    blank.configure(rign='"1GiB"')
    ran = blank.run("doctor")
    assert ran.code == 2
    first, last = ran.out.splitlines()
    assert first == "WRONG  config: papertape.toml: Object contains unknown field `rign`"
    assert last == "1 problem"


@in_a_file
def test_a_missing_ledger_is_reported_and_not_made(blank: Lab) -> None:
    blank.ledger.unlink()
    ran = blank.run("doctor")
    assert ran.code == 0
    assert f"look   ledger: there is no ledger at {blank.ledger}" in ran.out
    assert not blank.ledger.exists()


@in_a_file
def test_a_damaged_ledger_hides_nothing_else(blank: Lab) -> None:
    blank.ledger.write_bytes(b"no database" * 1000)
    ran = blank.run("doctor")
    assert ran.code == 1
    assert f"WRONG  ledger: ledger {blank.ledger}: this file is no SQLite database" in ran.out
    assert "ok     drive 1: opens" in ran.out


def test_a_missing_library_hides_nothing_else(blank: Lab) -> None:
    blank.library.rename(blank.folder / "elsewhere")
    ran = blank.run("doctor")
    assert ran.code == 2
    assert "WRONG  library: " in ran.out
    assert "ok     ledger: " in ran.out


def test_ctrl_c_brings_the_cartridge_home(blank: Lab) -> None:
    blank.configure(library__timing="0.02")  # 0.3 s a move, and as much to load
    process = blank.start("doctor", "--load", "PAPR1001")
    assert process.stderr
    for line in process.stderr:
        if line.startswith("moving"):
            break
    process.send_signal(signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130
    assert "papertape: interrupted: the check-up is not complete; run it again" in ran.err.splitlines()
    check_at_rest(blank, SLOTS)
