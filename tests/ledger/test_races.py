from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ledger.backends import new_ledger_url
from ledger.samples import begin_writing, fill, named, plan
from papertape.ledger import open_ledger

ROUNDS = 25
TAKER = """
import json, sys
from ledger.samples import Owner, all_tags, plan
from papertape.errors import NoBlankVolume
from papertape.ledger import open_ledger
from papertape.errors import ClaimLost

url, name = sys.argv[1:]
taken, lost = [], 0
with open_ledger(url, Owner("host", 1, name)) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        waiting = ledger.datasets.pending()
        sets = [each for each, _ in zip(waiting, range(4))]
        waiting.close()
        if not sets:
            break
        try:
            volumes = ledger.volumes.free(2, all_tags(ledger))
            ledger.dumps.begin(plan(ledger, dump=f"{name}-{len(taken)}-{lost}", sets=sets, volumes=volumes))
        except ClaimLost:
            lost += 1
        except NoBlankVolume:
            break
        else:
            taken.append([[str(each.source) for each in sets], [each.tag for each in volumes]])
print(json.dumps({"taken": taken, "lost": lost}))
"""


def run_together(program: str, url: str, count: int) -> list[str]:
    """Run ``program`` in several processes that start at the same moment, and return what they print."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": "tests"}
    processes = [subprocess.Popen([sys.executable, "-c", program, url, f"p{n}"], **pipes) for n in range(count)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return outputs


def test_processes_that_race_take_nothing_twice(url: str) -> None:
    with open_ledger(url) as ledger:
        fill(ledger, ROUNDS * 4, pairs=ROUNDS)
    results = [json.loads(output) for output in run_together(TAKER, url, 3)]
    taken = [each for result in results for each in result["taken"]]
    sources = Counter(source for sets, _ in taken for source in sets)
    tags = Counter(tag for _, volumes in taken for tag in volumes)
    assert len(sources) == ROUNDS * 4
    assert set(sources.values()) == {1}
    assert len(tags) == ROUNDS * 2
    assert set(tags.values()) == {1}
    with open_ledger(url) as ledger:
        assert ledger.status().datasets["claimed"] == ROUNDS * 4
        assert ledger.status().dumps["planned"] == len(taken) == ROUNDS


RESCUER = """
import sys
from ledger.samples import Owner
from papertape.ledger import open_ledger
from papertape.errors import ClaimLost

url, name = sys.argv[1:]
with open_ledger(url, Owner("host", 1, name)) as ledger:
    orphans = ledger.dumps.orphans(lambda owner: False)
    print("ready", flush=True)
    sys.stdin.readline()
    for orphan in orphans:
        try:
            ledger.dumps.take_over(orphan)
        except ClaimLost:
            continue
        ledger.dumps.hold(orphan.id, "its process died")
        print(orphan.id)
"""


def test_an_orphan_is_rescued_by_one(url: str) -> None:
    with open_ledger(url) as ledger:
        fill(ledger, 20, pairs=20)
        dumps = [
            begin_writing(ledger, plan(ledger, dump=f"d{n}", sets=[next(ledger.datasets.pending())])) for n in range(20)
        ]
    rescued = [int(line) for output in run_together(RESCUER, url, 3) for line in output.split()]
    assert sorted(rescued) == dumps


OPENER = """
import sys
from papertape.ledger import open_ledger
print("ready", flush=True)
sys.stdin.readline()
with open_ledger(sys.argv[1]) as ledger:
    ledger.status()
"""


def test_a_new_ledger_is_opened_by_several_at_once(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with new_ledger_url(backend, request, folder) as url:
            run_together(OPENER, url, 4)


REGISTRAR = """
import sys
from ledger.samples import named
from papertape.ledger import open_ledger
print("ready", flush=True)
sys.stdin.readline()
with open_ledger(sys.argv[1]) as ledger:
    print(ledger.datasets.register_many(named(3000))["new"])
"""


def test_a_data_set_is_registered_by_one(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.datasets.register_many(named(10))
    assert sum(int(output) for output in run_together(REGISTRAR, url, 3)) == 2990
