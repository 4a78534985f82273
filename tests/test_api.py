"""The public interface: its documented examples run as they stand, and its verbs are the documented ones."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import papertape
from papertape.errors import ConfigError, PapertapeError, UserError

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_story_of_the_lab_has_at_most_ten_lines_and_leaves_nothing(tmp_path: Path) -> None:
    lines = [line for line in EXAMPLES[0].splitlines() if line]
    assert len(lines) <= 10, len(lines)
    run(EXAMPLES[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_other_examples_run_in_their_order(tmp_path: Path) -> None:
    said = run("\n".join(EXAMPLES[1:]), tmp_path)
    assert "1 archived ('PAPR1001', 'PAPR2001') None" in said
    assert "24 data sets may be deleted from disk" in said


def test_every_verb_is_documented_and_has_a_docstring() -> None:
    verbs = [name for name, _ in inspect.getmembers(papertape.Archive, inspect.isfunction) if name[0] != "_"]
    assert [name for name in verbs if not re.search(rf"`{name}\b", PAGE)] == []
    assert [name for name in verbs if not getattr(papertape.Archive, name).__doc__] == []
    named = re.findall(r"`([a-z_]+)\(", PAGE.partition("## Verbs")[2].partition("The docstrings")[0])
    assert [name for name in named if not hasattr(papertape.Archive, name)] == []


def test_a_job_that_fails_raises_papertapes_own_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        papertape.open(tmp_path / "nothing.toml")
    config = papertape.init(tmp_path / "lab", capacity=64_000_000)
    with pytest.raises(UserError):
        papertape.init(tmp_path / "lab")
    with pytest.raises(UserError):
        papertape.open(config, mount="sideways")
    with papertape.open(config) as archive, pytest.raises(PapertapeError):
        archive.dump()
    with papertape.open(config) as archive, pytest.raises(ConfigError):
        archive.push()


def test_adding_needs_no_loop_and_takes_the_declared_sums_as_any_kind_of_path(tmp_path: Path) -> None:
    built, md5sums = papertape.build_testdata(tmp_path / "night")
    seen: list[object] = []
    with papertape.open(papertape.init(tmp_path / "lab", capacity=256_000_000)) as archive:
        added = archive.add([built[0].path], md5s=str(md5sums), show=seen.append)
        assert archive.status().datasets["waiting"] == 1
    assert seen == added
    assert [item.dataset and item.dataset.md5 for item in added] == [built[0].md5]


def test_a_generation_that_does_not_exist_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="LTO-99"):
        papertape.init(tmp_path / "lab", generation="LTO-99")
    assert not (tmp_path / "lab").exists()


def test_a_time_without_a_zone_is_in_utc(tmp_path: Path) -> None:
    built, _ = papertape.build_testdata(tmp_path / "night")
    with papertape.open(papertape.init(tmp_path / "lab", capacity=256_000_000)) as archive:
        archive.add([built[0].path])
        archive.dump()
        later = archive.ledger.clock().replace(tzinfo=None) + timedelta(hours=1)
        assert archive.restore(str(built[0].path), to=tmp_path / "back", at=later).sets == 1
