"""Taking work from rows that anybody may have written: what is wrong is told by row, and nothing else is touched."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.labdatabase import BridgedLab, md5
from papertape.jobs.lab.pull import map_path
from papertape.ledger import Registration

HOSTILE = [
    "'; DROP TABLE File; --",
    'a"b',
    "new\nline",
    "../../../etc/passwd",
    "sub/../../../etc/passwd",
    "./zen.1.uvh5",
    "sub//zen",
    "é" * 60,
    "%s%(x)s:x",
    "\\x41",
    "\U0001f4fc",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_reported_with_its_row(bridged: BridgedLab, night: list[Path], name: str) -> None:
    bridged.database.add_row(f"pot1:{night[0].parent}/{name}"[:200])
    bridged.database.add(night[0])
    pulled = bridged.pull()
    assert len(pulled) == 2
    assert Counter(item.result for item in pulled.values()) == {None: 1, Registration.NEW: 1}
    assert all(item.trouble for item in pulled.values() if item.result is None)
    assert bridged.database.ask("SELECT count(*) FROM File") == [(2,)]


@pytest.mark.parametrize("name", ['it\'s; a "name"', "new\nline", "50% of #1", "ü" * 50, "\\x41"])
def test_an_odd_name_that_is_there_goes_to_tape(bridged: BridgedLab, night: list[Path], name: str) -> None:
    path = night[0].parent / name
    path.write_bytes(b"odd")
    bridged.database.add(path)
    assert [item.result for item in bridged.pull().values()] == [Registration.NEW]
    assert bridged.lab.dump().error is None
    assert {deletable for _, deletable in bridged.database.files().values()} == {1}


def test_nulls_everywhere_are_no_trouble(bridged: BridgedLab, night: list[Path]) -> None:
    database = bridged.database
    database.do("INSERT INTO File (source) VALUES ('x')")
    database.add_row(f"pot1:{night[0]}", filename=None, filesize=None, md5sum=None)
    database.add_row(f"pot1:{night[1]}", filetype=None)
    database.add_row(f"pot1:{night[2]}", is_tapeable=None)
    assert {name: item.result for name, item in bridged.pull().items()} == {night[0].name: Registration.NEW}


@pytest.mark.parametrize(
    ("values", "registered", "says"),
    [
        ({"md5sum": "nonsense"}, False, "its md5sum is not 32 hexadecimal digits"),
        ({"md5sum": "A" * 32}, True, ""),
        ({"filesize": 12345.67}, True, "its filesize is 12345.67 MB, and there are 100000 bytes on disk"),
        ({"filesize": -1}, True, "its filesize is -1.00 MB"),
        ({"filesize": 0.1}, True, ""),
    ],
)
def test_the_values_that_a_row_declares_are_checked(
    bridged: BridgedLab, night: list[Path], values: dict[str, object], registered: bool, says: str
) -> None:
    bridged.database.add_row(f"pot1:{night[0]}", **values)
    (item,) = bridged.pull().values()
    assert (item.result is Registration.NEW) is registered
    assert item.trouble.startswith(says)
    assert bool(item.trouble) is bool(says)


def test_rows_for_one_path_and_paths_within_others_are_reported(bridged: BridgedLab, night: list[Path]) -> None:
    directory = night[-1]
    assert directory.is_dir()
    bridged.database.add(directory, *night[:2])
    bridged.database.add_row(f"pot1:{directory}/visdata")
    bridged.database.add_row(f"pot1:{directory.parent}/no")
    bridged.database.add_row("pot2:/data/somewhere")
    pulled = bridged.pull()
    assert "is inside" in pulled["visdata"].trouble or "is inside" in pulled[directory.name].trouble
    assert "no rule in [bridge.paths]" in pulled["somewhere"].trouble
    assert {name for name, item in pulled.items() if item.result} >= {path.name for path in night[:2]}


def test_a_second_row_for_the_same_path_is_left_out(bridged: BridgedLab, night: list[Path]) -> None:
    rules = (*bridged.bridge.paths, ("pot2:/data", str(night[0].parent)))
    object.__setattr__(bridged.bridge, "paths", rules)
    bridged.database.add_row(f"pot1:{night[0]}")
    bridged.database.add_row(f"pot2:/data/{night[0].name}")
    for _ in range(2):
        results = list(bridged.pull().values())
        assert len(results) == 1  # both have the same last part
        assert "another row stands for" in results[0].trouble


def test_a_symbolic_link_leads_nowhere(bridged: BridgedLab, night: list[Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (night[0].parent / "way").symlink_to(outside)
    (night[0].parent / "link").symlink_to(outside / "secret")
    bridged.database.add_row(f"pot1:{night[0].parent}/way/secret")
    bridged.database.add_row(f"pot1:{night[0].parent}/link")
    pulled = bridged.pull()
    assert "leads out of" in pulled["secret"].trouble
    assert "symbolic link" in pulled["link"].trouble
    assert list(bridged.lab.ledger.datasets.pending()) == []


@given(st.text(max_size=60))
def test_no_path_leads_out_of_its_folder(tail: str) -> None:
    try:
        path = map_path(f"pot1:/data/{tail}", [("pot1:/data", "/proc/sys")])
    except ValueError:
        return
    except OSError:
        pytest.fail("an error of the system for a name that anybody may write")
    assert os.path.normpath(path).startswith(b"/proc/sys/")


def test_the_longest_rule_counts() -> None:
    rules = [("pot1:/data", "/mnt/a"), ("pot1:/data/x", "/mnt/b/"), ("pot1:/", "/mnt/c")]
    assert map_path("pot1:/data/y", rules) == b"/mnt/a/y"
    assert map_path("pot1:/data/x/y", rules) == b"/mnt/b/y"
    assert map_path("pot1:/datax", rules) == b"/mnt/c/datax"


rows = st.fixed_dictionaries(
    {
        "source": st.text(st.characters(codec="utf-8"), max_size=100).map("pot1:/nowhere/".__add__),
        "filename": st.none() | st.text(st.characters(codec="utf-8"), max_size=50),
        "md5sum": st.none() | st.text(st.characters(codec="utf-8"), max_size=32),
        "filesize": st.none() | st.decimals(-99999, 99999, places=2),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=5))
def test_any_row_is_reported_and_none_is_changed(bridged: BridgedLab, made: list[dict[str, object]]) -> None:
    database = bridged.database
    database.do("DELETE FROM File")
    for row in made:
        database.do(
            "INSERT IGNORE INTO File (source, filename, md5sum, filesize, filetype, is_tapeable)"
            " VALUES (:source, :filename, :md5sum, :filesize, 'uv', 1)",
            row,
        )
    before = database.ask("SELECT * FROM File ORDER BY source")
    assert all(item.result is None and item.trouble for item in bridged.pull().values())
    assert database.ask("SELECT * FROM File ORDER BY source") == before


def test_a_file_that_was_wrong_is_taken_again_once_the_row_or_the_file_is_corrected(
    bridged: BridgedLab, night: list[Path]
) -> None:
    for path in night[:2]:
        bridged.database.add_row(f"pot1:{path}", md5sum="0" * 32)
    bridged.database.add(night[2])
    bridged.pull()
    assert len(bridged.lab.dump().rejected) == 2
    assert {item.result for item in bridged.pull().values()} == {None}
    row, file = night[:2]
    bridged.database.do("UPDATE File SET md5sum = :md5 WHERE source = :its", {"md5": md5(row), "its": f"pot1:{row}"})
    os.utime(file)
    assert {item.result for item in bridged.pull().values()} == {Registration.AGAIN}
    assert [Path(source.partition(":")[2]) for source, _ in bridged.lab.dump().rejected] == [file]
    assert bridged.database.files()[row.name][1] == 1


def test_a_rule_without_a_folder_says_that_another_host_has_it(bridged: BridgedLab, night: list[Path]) -> None:
    rules = (*bridged.bridge.paths, ("pot2:/data", ""), ("pot2:/data/here", str(night[0].parent)))
    object.__setattr__(bridged.bridge, "paths", rules)
    bridged.database.add_row("pot2:/data/there")
    bridged.database.add_row("pot2:/data/../there")
    bridged.database.add_row(f"pot2:/data/here/{night[0].name}")
    bridged.database.add_row("pot2:/other")
    pulled = bridged.pull()
    assert {name: item.result for name, item in pulled.items()} == {night[0].name: Registration.NEW, "other": None}
