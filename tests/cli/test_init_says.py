"""What `init` prints is for people: lines, with nothing escaped in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.cli.commands import run


def test_init_says_in_two_lines_what_there_is_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "lab")]) == 0
    there, then = capsys.readouterr().out.splitlines()
    assert there.endswith("(PAPR1001 to PAPR2006), and a ledger")
    assert then.startswith("Next: cd ")
    assert "\\x" not in there + then
