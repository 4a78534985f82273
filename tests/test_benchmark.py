from __future__ import annotations

import json
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
