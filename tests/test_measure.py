"""The measuring tool: a small tree whose figures are counted by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parent.parent / "tools" / "measure.py"

FIRST = '''"""What it's for."""

# Why this is so.
SIZE = 1  # noqa: S101


class Wide:
    """No more than this."""

    def _shared(self):
        return "# no comment"

    async def _once(self):
        self._shared()
        return self._shared()


def use(wide):
    """What for, and

    what not.
    """
    f(1, 2, 3, 4, 5, 6, key=7)
    f(1, 2, 3, 4, 5, key=6)  # noqa: S101  it has a reason
    return f(wide._once, *wide, 3, 4, 5, 6)
'''
SECOND = """def _once():
    def inner():
        pass
"""

TABLE = """\
modules / lines                                        2 / 28
lines per file, mean / median                         14 / 14
functions                                                   5
function length, median / p90 / max                 3 / 8 / 8
private, used once                                    20% (1)
calls with 6 or more positional arguments             400 (2)
widest class                                         2 (Wide)
code per comment                                        7 (2)
"what" per 1,000 words of docstring                     250.0
"""

LISTS = """
private functions used in exactly one place (lines)
     3  {tree}/first.py:13  _once

calls with 6 or more positional arguments (arguments)
     6  {tree}/first.py:23  f
     6  {tree}/first.py:25  f

widest classes (functions)
     2  {tree}/first.py:7  Wide

longest functions (lines)
     8  {tree}/first.py:18  use
     3  {tree}/first.py:13  _once
     3  {tree}/sub/second.py:1  _once
     2  {tree}/first.py:10  _shared
     2  {tree}/sub/second.py:2  inner

files with the fewest comments (code lines by comments + 1; code lines / comments)
     3  {tree}/first.py  11 / 2
     3  {tree}/sub/second.py  3 / 0
"""


def measure(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_figures_are_those_counted_by_hand(tmp_path: Path) -> None:
    for name, text in {"first.py": FIRST, "sub/second.py": SECOND, "migrations/third.py": FIRST}.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "empty").mkdir()
    head = f"{'tree':>61}\n"
    assert measure("tree", "--list", folder=tmp_path).stdout == head + TABLE + LISTS.format(tree="tree")
    assert "empty: there is no Python file" in measure("empty", folder=tmp_path).stderr
