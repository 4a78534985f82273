from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent.parent / "benchmarks" / "bench.py"


def test_the_benchmark_measures_papertape_and_its_peers(tmp_path: Path) -> None:
    sizes = ("--size", "2", "--files", "20", "--runs", "1", "--ring", "8")
    done = subprocess.run(
        [sys.executable, BENCH, *sizes, "--json", tmp_path / "figures.json"], capture_output=True, text=True, check=True
    )
    assert "large files: 32 files" in done.stdout
    assert "small files: 20 files" in done.stdout
    assert "of two threads of SHA-256" in done.stdout
    report = json.loads((tmp_path / "figures.json").read_bytes())
    assert {"cpu", "cores", "memory_gib", "python", "kernel", "load"} == set(report["machine"])
    for each in report["sets"].values():
        assert [row["phase"] for row in each["rows"]] == ["writing"] * 3 + ["verifying"] * 3
        assert all(row["mb_per_second"] > 0 and row["peak_mib"] > 0 for row in each["rows"])
    assert report["rates"]["sha256"] > 0


def test_the_restore_benchmark_beside_reading_the_whole_tape() -> None:
    program = BENCH.with_name("restoring.py")
    command = [sys.executable, program, "--scale", "20000", "--sets", "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "LTO-6, 40 data sets of" in done.stdout
    assert "times as fast as the whole tape" in done.stdout
    report = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    one, twenty, whole = report["rows"]
    assert (one["locates"], twenty["locates"]) == (1, 20)
    assert one["seconds"] < twenty["seconds"] < whole["seconds"]
    assert 4 * 3600 * 0.85 < whole["seconds"] < 5 * 3600


def test_the_planning_benchmark_on_every_database(mariadb: object, postgresql: object) -> None:
    program = BENCH.with_name("planning.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, program, "--sets", "600", "--runs", "1", "--scattered"]
    told = [*command, "--database", "sqlite"]
    done = subprocess.run(told, capture_output=True, text=True, check=True, env=environment)
    assert "600 data sets wait, registered in no order" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, env=environment)
    rows = json.loads(done.stdout)["rows"]
    assert [row["database"] for row in rows] == ["sqlite"] * 3 + ["mariadb"] * 3 + ["postgresql"] * 3
    assert [row["taken"] for row in rows] == [502, 600, 600] * 3
    assert all(row["seconds"] > 0 for row in rows)
