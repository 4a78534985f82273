"""The way of a night through the lab's own tables: pull, claim, dump, push; on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridges.labdatabase import BridgedLab, LabDatabase, read
from papertape.bridges import Claim, FileTable, LabelTable, Left, Placed, Server, read_option_file
from papertape.errors import HostError, NothingToDo, UserError
from papertape.jobs.lab.databases import check
from papertape.jobs.lab.pull import pull_labels
from papertape.ledger import Registration
from papertape.states import LabKind
from servers import MariaDB
from stories import At


def place(bridged: BridgedLab, name: str) -> str:
    """What tape_index must say, by what `find` says."""
    found = next(bridged.lab.ledger.search.find(f"*/{name}"))
    dump = bridged.lab.ledger.dumps.one(found.dump or 0)
    assert dump.ended_at
    date = dump.ended_at.astimezone().strftime("%Y%m%d")
    labels = ",".join(copy.volume for copy in found.copies)
    return f"{date}[{labels}]-{found.tape_file}:{found.number}"


def deletable(bridged: BridgedLab) -> set[str]:
    """What `papertape status --deletable` would name."""
    return {item.source.rpartition("/")[2] for item in bridged.lab.ledger.search.deletable()}


def test_the_databases_will_do(bridged: BridgedLab) -> None:
    assert list(check(bridged.bridge)) == []


def test_a_night_goes_from_the_labs_rows_to_tape_and_back_into_them(bridged: BridgedLab, night: list[Path]) -> None:
    lab, database = bridged.lab, bridged.database
    database.add(*night[:-1])
    bad = night[-1]
    database.add_row(f"pot1:{bad}", md5sum="0" * 32)
    database.add_row(f"pot1:{bad.parent}/missing")
    database.add_row(f"pot1:{bad.parent}/not-wanted", is_tapeable=0)
    pulled = bridged.pull()
    assert {name for name, item in pulled.items() if item.result is Registration.NEW} == {path.name for path in night}
    assert "cannot be read" in pulled["missing"].trouble
    outcome = lab.dump()
    assert outcome.error is None
    assert [source.rpartition("/")[2] for source, _ in outcome.rejected] == [bad.name]
    files = database.files()
    for path in night[:-1]:
        assert files[path.name] == (place(bridged, path.name), 1)
    assert files[bad.name] == files["missing"] == files["not-wanted"] == (None, 0)
    labels = database.labels()
    assert all(date and status is None for tag, (date, status) in labels.items() if tag in outcome.volumes)
    assert all(labels[tag] == (None, None) for tag in labels if tag not in outcome.volumes)
    before = database.ask("SELECT * FROM File ORDER BY source"), database.ask("SELECT * FROM ids ORDER BY id")
    assert bridged.push()[:3] == (0, 0, 0)
    with pytest.raises(NothingToDo):
        lab.dump()
    again = bridged.pull()
    assert {name: item.result for name, item in again.items()} == {bad.name: None, "missing": None}
    assert "it was rejected before: its declared MD5 is 000" in again[bad.name].trouble
    assert before == (database.ask("SELECT * FROM File ORDER BY source"), database.ask("SELECT * FROM ids ORDER BY id"))


def test_while_a_dump_is_written_its_rows_have_its_mark(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    seen: list[object] = []

    def bearers() -> set[int | None]:
        return {item.row.job for item in bridged.lab.ledger.lab.marked()}

    look = At("writing", lambda: seen.extend([bridged.database.files(), bridged.database.labels(), bearers()]))
    outcome = bridged.lab.dump(look)
    files, labels, bearing = seen
    assert isinstance(files, dict)
    assert isinstance(labels, dict)
    assert isinstance(bearing, set)
    claim = Claim(bearing.pop())
    assert not bearing
    assert set(files.values()) == {(claim.mark, 0)}
    assert claim.mark == f"1{claim.job}"
    assert len(claim.mark) == 10
    assert all(labels[tag] == (None, claim.job) for tag in outcome.volumes)


@pytest.mark.parametrize("phase", ["writing", "verifying"])
def test_an_ending_without_proof_releases_rows_that_it_does_not_need(
    bridged: BridgedLab, night: list[Path], phase: str
) -> None:
    def die() -> None:
        raise HostError("somewhere", "something")

    bridged.database.add(*night)
    bridged.pull()
    assert bridged.lab.dump(At(phase, die)).error
    marks = {mark for mark, _ in bridged.database.files().values()}
    assert (marks == {None}) is (phase == "writing")
    bridged.lab.finish()
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}
    assert bridged.push()[:3] == (0, 0, 0)
    assert not any(status for _, status in bridged.database.labels().values())


def test_a_row_that_somebody_took_since_it_was_pulled_stays_his(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    theirs = night[0].name
    bridged.database.do("UPDATE File SET tape_index = '1123456789' WHERE source LIKE :its", {"its": f"%/{theirs}"})
    outcome = bridged.lab.dump()
    assert outcome.error is None
    files = bridged.database.files()
    assert files.pop(theirs) == ("1123456789", 0)
    assert all(deletable for _, deletable in files.values())
    assert "taken" in bridged.lab.reasons()[theirs]
    assert outcome.volumes == ("PAPR1001", "PAPR2001")  # which the first attempt had taken
    assert not any(status for _, status in bridged.database.labels().values())


def test_a_tape_that_the_lab_says_is_full_is_not_written_to(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    bridged.database.do("UPDATE ids SET date = '20150103-1200' WHERE label = 'PAPR1001'")
    bridged.database.do("UPDATE ids SET status = 77 WHERE label = 'PAPR2001'")
    outcome = bridged.lab.dump()
    assert outcome.error is None
    assert set(outcome.volumes).isdisjoint({"PAPR1001", "PAPR2001"})
    assert bridged.database.labels()["PAPR1001"] == ("20150103-1200", None)
    assert bridged.database.labels()["PAPR2001"] == (None, 77)
    counts = bridged.lab.ledger.lab.count()
    assert counts["label", "pushed"] == 2
    assert ("label", "claimed") not in counts


def test_a_row_changed_while_it_was_ours_is_named_and_left_alone(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    name = night[0].name
    change = "UPDATE File SET tape_index = 'by hand' WHERE source LIKE :its"
    outcome = bridged.lab.dump(At("verifying", lambda: bridged.database.do(change, {"its": f"%/{name}"})))
    assert outcome.error is None
    assert bridged.database.files()[name] == ("by hand", 0)
    assert deletable(bridged) == {path.name for path in night} - {name}
    assert [item.name.rpartition("/")[2] for item in bridged.lab.ledger.lab.foreign()] == [name]


def test_a_server_that_is_away_at_the_end_is_updated_by_the_next_run(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    server = bridged.database.options
    content = server.read_bytes()
    outcome = bridged.lab.dump(At("verifying", lambda: server.write_bytes(content.replace(b"/socket", b"/nowhere"))))
    assert outcome.error is None
    assert outcome.state == "archived"
    assert {deletable for _, deletable in bridged.database.files().values()} == {0}
    assert deletable(bridged) == set()
    pending = bridged.push()
    assert (pending.pushed, pending.pending) == (0, len(night) + 2)
    assert len(pending.troubles) == 2
    server.write_bytes(content)
    assert bridged.push()[:3] == (len(night) + 2, 0, 0)
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}
    assert deletable(bridged) == {path.name for path in night}


def test_nothing_is_written_if_the_server_cannot_be_asked_for_its_rows(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    server = bridged.database.options
    server.write_bytes(server.read_bytes().replace(b"/socket", b"/nowhere"))
    with pytest.raises(UserError, match="no server answers"):
        bridged.lab.dump()
    assert set(bridged.lab.states().values()) == {"waiting"}
    assert set(bridged.lab.volumes().values()) == {"blank"}


def test_without_a_bridge_what_came_over_it_is_not_dumped(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    del bridged.lab.context
    with pytest.raises(UserError, match=r"the config has no \[bridge\]"):
        bridged.lab.dump()
    assert set(bridged.lab.states().values()) == {"waiting"}


def test_a_claim_is_all_or_nothing_and_may_be_made_twice(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    sources = [f"pot1:{path}" for path in night]
    ours, theirs = Claim(123456789), Claim(987654321)
    with bridged.bridge.open_files() as files:
        assert files.claim(sources, ours) == []
        assert files.claim(sources, ours) == []
        assert sorted(files.claim(sources, theirs)) == sorted(sources)
        files.release(dict.fromkeys(sources, theirs))
        assert {mark for mark, _ in bridged.database.files().values()} == {ours.mark}
        files.release({sources[0]: ours})
        assert files.claim(sources, theirs) == sources[1:]
        assert bridged.database.files()[night[0].name] == (None, 0)


def test_the_number_of_a_claim_has_nine_digits() -> None:
    drawn = [Claim.draw() for _ in range(100)]
    assert len(set(drawn)) == 100
    assert all(10**8 <= claim.job < 10**9 for claim in drawn)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"user=obs", b"user=nobody", "the user or the password is wrong"),
        (b'password="5', b'password="6', "the user or the password is wrong"),
        (b"database=", b"database=no_", "there is no such database"),
        (b"/socket", b"/nosocket", "no server answers there"),
    ],
)
def test_a_bridge_that_leads_nowhere_is_reported_in_one_sentence(
    database: LabDatabase, tmp_path: Path, old: bytes, new: bytes, says: str
) -> None:
    path = tmp_path / "wrong.cnf"
    read(path, database.options.read_bytes().replace(old, new))
    with pytest.raises(UserError, match=says) as caught:
        FileTable(Server(read_option_file(path))).check()
    assert "50%" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_that_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    content = "[client]\nuser=a\npassword=b\nhost=no-such-host.invalid\ndatabase=c\n"
    with pytest.raises(UserError, match="correct `host`"):
        FileTable(Server(read(tmp_path / "wrong.cnf", content))).check()


def test_tables_that_are_not_the_labs_are_refused(database: LabDatabase) -> None:
    server = Server(read_option_file(database.options))
    database.do("ALTER TABLE File DROP COLUMN md5sum")
    database.do("DROP TABLE ids")
    with pytest.raises(UserError, match="table File lacks md5sum"):
        FileTable(server).check()
    with pytest.raises(UserError, match="has no table ids"):
        LabelTable(server).check()
    database.do(
        "CREATE TABLE ids (id int, label char(8), description text, date tinytext, status varchar(20),"
        " capacity int) ENGINE=MyISAM"
    )
    assert "no transactions" in LabelTable(server).check()[0]
    server.close()


def test_free_tapes_of_the_lab_become_volumes(bridged: BridgedLab) -> None:
    bridged.database.add_labels(["PAPR1009", "PAPR2009", "OTHER009", "PAPR1009", "PAPR1';\\"])
    bridged.database.do("INSERT INTO ids (label) VALUES ('PAPR1010')")
    pulled = pull_labels(bridged.lab.ledger, bridged.bridge)
    assert pulled.added == ("PAPR1009", "PAPR2009")
    assert {item.name: item.trouble.partition(";")[0] for item in pulled.troubles} == {
        "PAPR1010": "its row has no capacity",
        "PAPR1';\\": "its row is not made of capital letters and digits",
    }
    assert pull_labels(bridged.lab.ledger, bridged.bridge).added == ()
    found = {volume.tag: volume for volume in bridged.lab.ledger.volumes.all()}
    assert (found["PAPR2009"].copy, found["PAPR2009"].capacity) == (2, 16 * 10**6)
    assert "OTHER009" not in found


def test_two_of_ours_never_have_the_same_row(bridged: BridgedLab, night: list[Path]) -> None:
    """What a dump of ours left marked in a crash is found, and let go, by the next one."""
    bridged.database.add(*night)
    bridged.pull()
    ledger = bridged.lab.ledger
    batch = bridged.lab.plan()
    dump = ledger.dumps.begin(batch)
    assert bridged.ours.claim(dump) == ((), ())
    (job,) = {item.row.job for item in ledger.lab.marked()}
    assert job
    assert set(bridged.database.files().values()) == {(Claim(job).mark, 0)}
    assert bridged.push()[:2] == (0, 0)
    bridged.lab.recover()
    assert set(bridged.database.files().values()) == {(None, 0)}
    bridged.lab.finish()
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}


@pytest.mark.parametrize("phase", ["writing", "verifying"])
def test_a_server_that_is_killed_loses_nothing(
    bridged: BridgedLab, night: list[Path], server: MariaDB, phase: str
) -> None:
    """It is away from then on to the end of the dump, and comes back with what it had."""
    bridged.database.add(*night)
    bridged.pull()
    bridged.database.engine.dispose()
    try:
        outcome = bridged.lab.dump(At(phase, server.kill))
    finally:
        server.start()
    assert outcome.state == "archived"
    assert {deletable for _, deletable in bridged.database.files().values()} == {0}
    assert bridged.push()[:3] == (len(night) + 2, 0, 0)
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}
    assert not any(status for _, status in bridged.database.labels().values())


def test_a_row_that_was_pushed_and_not_recorded_is_no_conflict(bridged: BridgedLab, night: list[Path]) -> None:
    """As where the connection is lost behind the commit."""
    bridged.database.add(*night)
    source, claim_, place_ = f"pot1:{night[0]}", Claim(123456789), "20261123[PAPR1001,PAPR2001]-2:0"
    with bridged.bridge.open_files() as files:
        assert files.claim([source], claim_) == []
        for _ in range(2):
            assert files.push([Placed(source, claim_, place_)], deletable=True) == {source: Left.DONE}
        assert files.push([Placed(source, claim_, place_ + "0")], deletable=True) == {source: Left.FOREIGN}
        assert bridged.database.files()[night[0].name] == (place_, 1)


def test_the_lab_may_set_deletable_by_hand(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(night[0])
    with bridged.bridge.open_files() as files:
        source = f"pot1:{night[0]}"
        assert files.claim([source], Claim(123456789)) == []
        files.push([Placed(source, Claim(123456789), "somewhere")], deletable=False)
    assert bridged.database.files()[night[0].name] == ("somewhere", 0)


def test_many_at_once_never_take_the_same_row(bridged: BridgedLab) -> None:
    """Eight take what they can, in all orders, one row after the other and in heaps."""
    sources = [f"pot1:/data/{number}" for number in range(200)]
    for source in sources:
        bridged.database.add_row(source)

    def take(number: int) -> set[str]:
        mine = set()
        with bridged.bridge.open_files() as files:
            for start in range(0, 200, 5):
                at = (start * 7 + number * 40) % 200
                wanted = sources[at : at + 5]
                try:
                    if not files.claim(wanted, Claim(10**8 + number)):
                        mine.update(wanted)
                except HostError as error:
                    assert "deadlock" in str(error).lower(), error  # noqa: PT017
        return mine

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert sum(map(len, taken)) == len(set().union(*taken))
    rows = dict(bridged.database.ask("SELECT source, tape_index FROM File WHERE tape_index IS NOT NULL"))
    expected = {source: Claim(10**8 + number).mark for number, mine in enumerate(taken) for source in mine}
    assert rows == expected


def test_a_dump_that_died_before_it_claimed_at_the_lab_leaves_nothing(bridged: BridgedLab, night: list[Path]) -> None:
    bridged.database.add(*night)
    bridged.pull()
    ledger = bridged.lab.ledger
    batch = bridged.lab.plan()
    dump = ledger.dumps.begin(batch)
    ledger.lab.mark(ledger.lab.of_dump(dump, LabKind.FILE), dump, Claim.draw().job)
    bridged.lab.finish()
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}
    assert ("file", "claimed") not in ledger.lab.count()


def test_a_row_that_an_earlier_dump_left_marked_is_had_by_the_next(bridged: BridgedLab, night: list[Path]) -> None:
    """As where the server was away when the earlier one ended, and is back."""
    bridged.database.add(*night)
    bridged.pull()
    ledger = bridged.lab.ledger
    batch = bridged.lab.plan()
    dump = ledger.dumps.begin(batch)
    assert bridged.ours.claim(dump) == ((), ())
    ledger.dumps.abandon(dump, "test")
    outcome = bridged.lab.dump()
    assert outcome.error is None
    assert outcome.uuid != batch.dump
    assert outcome.volumes == ("PAPR1001", "PAPR2001")
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}
