"""Every command and option that a text names exists, and every one that exists is in the docs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commandlines import find_command_lines, find_fault, find_options, list_all_options, read_strings

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md", "tests/rig/README.md")),
]
OTHER_PROGRAMS = {
    "adduser": {"--system", "--home", "--group"},
    "fallocate": {"--keep-size"},
    "setpriv": {"--reuid", "--regid", "--groups"},
    "tar": {"--occurrence", "--no-unquote", "--quoting-style", "--strip-components", "--warning", "--wildcards"},
    "sha256sum": {"--quiet", "--strict"},
}
"""Options that texts name and that are not papertape's."""


def read(path: Path) -> str:
    return read_strings(path) if path.suffix == ".py" else path.read_text()


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_in_a_text_exist(path: Path) -> None:
    text = read(path)
    assert not [fault for fault in map(find_fault, sorted(find_command_lines(text))) if fault]
    known = list_all_options().union(*OTHER_PROGRAMS.values())
    if path.name == "README.md":  # of a program beside it, which parses its own options
        known |= find_options("\n".join(map(read_strings, path.parent.glob("*.py"))))
    assert find_options(text) <= known


def test_texts_name_many_commands_and_options() -> None:
    texts = [read(path) for path in (*PAGES, *SOURCES)]
    assert len(set().union(*map(find_command_lines, texts))) > 150
    assert len(set().union(*map(find_options, texts))) > 40


@pytest.mark.parametrize(
    "line",
    [
        "papertape recopi PAPR1001",
        "papertape recopy PAPR1001 --from-disc",
        "papertape dump --from-disk",
        "papertape volumes lay",
        "papertape --from-disk recopy PAPR1001",
    ],
)
def test_a_wrong_command_line_is_found(line: str) -> None:
    assert find_fault(line)
    assert find_command_lines(f"To copy again, run `{line}`.") == {line}


@pytest.mark.parametrize(
    "line", ["papertape", "papertape --config FILE dump", "papertape find zen | head", "papertape -h"]
)
def test_a_right_command_line_is_accepted(line: str) -> None:
    assert not find_fault(line)


def test_the_page_of_commands_is_up_to_date() -> None:
    """`make commands` writes it."""
    printed = subprocess.run(
        [sys.executable, ROOT / "tools" / "commandpage.py"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == (ROOT / "docs" / "commands.md").read_text()
