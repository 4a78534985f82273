"""Measures how Python code is cut into functions, calls, classes and comments: ``python tools/measure.py [TREE ...]``.

A table with one column for each source tree (default: ``src/papertape``); ``--list`` also prints what stands out, with
file and line. Files in folders named ``migrations`` are left out: a migration is never changed later.

modules, lines
    Python files, and all their lines; then the mean and the median of the lines per file.
functions
    Functions and methods, nested ones as well.
function length
    Lines from ``def`` to the end, docstring and blank lines included: the median, the value that nine tenths of the
    functions do not exceed, and the maximum.
private, used once
    Functions whose name begins with one underscore and occurs exactly once, as a name or an attribute, in the code of
    their own file: their number, and their share of all functions. Functions of the same name in one file share their
    uses.
calls with 6 or more positional arguments
    Per 1,000 functions. A starred argument counts as one.
widest class
    Functions that a class itself defines, inherited ones not counted.
code per comment
    Lines that are neither blank, nor a comment, nor part of a docstring, for each comment. Every ``#`` is one comment,
    except one that only steers a tool (``# noqa: S101`` without a reason).
"what" per 1,000 words
    In the docstrings of modules, classes and functions. A word is a run of letters and apostrophes.
"""

from __future__ import annotations

import argparse
import ast
import io
import math
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SKIPPED = "migrations"
MANY_ARGUMENTS = 6
LISTED = 15
"""Entries of each list that has no natural end."""
_PRAGMA = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type: ignore(\[[\w, -]+\])?)\s*")
_WORD = re.compile(r"[A-Za-z']+")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """Something at ``place`` (file:line) with a ``size`` in the unit of its list."""

    place: str
    name: str
    size: int


class Tree:
    """The figures of all Python files below ``root``. Raises OSError, SyntaxError."""

    def __init__(self, root: Path) -> None:
        self.files: list[Found] = []
        self.functions: list[Found] = []
        self.used_once: list[Found] = []
        self.long_calls: list[Found] = []
        self.classes: list[Found] = []
        self.uncommented: list[Found] = []
        self.code = 0
        self.comments = 0
        self.words: Counter[str] = Counter()
        for path in sorted(root.rglob("*.py")):
            if SKIPPED not in path.relative_to(root).parts:
                self._add(path)

    def _add(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(text, str(path))))
        uses = Counter(node.id for node in nodes if isinstance(node, ast.Name))
        uses.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
        docstring_lines: set[int] = set()
        for node in nodes:
            place = f"{path}:{getattr(node, 'lineno', 1)}"
            if isinstance(node, ast.Module | ast.ClassDef | Function) and (docstring := ast.get_docstring(node)):
                self.words.update(word.lower() for word in _WORD.findall(docstring))
                docstring_lines.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
            if isinstance(node, Function):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                self.functions.append(Found(place, node.name, length))
                if re.match(r"_(?!_)", node.name) and uses[node.name] == 1:
                    self.used_once.append(Found(place, node.name, length))
            elif isinstance(node, ast.ClassDef):
                self.classes.append(Found(place, node.name, sum(isinstance(part, Function) for part in node.body)))
            elif isinstance(node, ast.Call) and len(node.args) >= MANY_ARGUMENTS:
                self.long_calls.append(Found(place, ast.unparse(node.func), len(node.args)))
        self._add_lines(path, text, docstring_lines)

    def _add_lines(self, path: Path, text: str, docstring_lines: set[int]) -> None:
        lines = text.splitlines()
        code = sum(
            bool(line.strip()) and not line.strip().startswith("#") and number not in docstring_lines
            for number, line in enumerate(lines, 1)
        )
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = sum(token.type == tokenize.COMMENT and not _PRAGMA.fullmatch(token.string) for token in tokens)
        self.code += code
        self.comments += comments
        self.files.append(Found(str(path), "", len(lines)))
        self.uncommented.append(Found(str(path), f"{code} / {comments}", code // (comments + 1)))

    def table(self) -> dict[str, str]:
        """Return the figures in words; the tree has at least one function."""
        functions = len(self.functions)
        lines = [file.size for file in self.files]
        lengths = sorted(function.size for function in self.functions)
        widest = max(self.classes, key=lambda found: found.size, default=Found("", "no class", 0))
        words = self.words.total()
        return {
            "modules / lines": f"{len(lines)} / {sum(lines):,}",
            "lines per file, mean / median": f"{statistics.mean(lines):.0f} / {statistics.median(lines):.0f}",
            "functions": f"{functions:,}",
            "function length, median / p90 / max": f"{statistics.median(lengths):.0f} / "
            f"{lengths[math.ceil(0.9 * functions) - 1]} / {lengths[-1]}",
            "private, used once": f"{len(self.used_once) / functions:.0%} ({len(self.used_once)})",
            "calls with 6 or more positional arguments": f"{1000 * len(self.long_calls) / functions:.0f} "
            f"({len(self.long_calls)})",
            "widest class": f"{widest.size} ({widest.name})",
            "code per comment": f"{self.code / self.comments:.0f} ({self.comments})" if self.comments else "no comment",
            '"what" per 1,000 words of docstring': f"{1000 * self.words['what'] / words:.1f}" if words else "no word",
        }

    def lists(self) -> Iterator[tuple[str, list[Found]]]:
        """Yield what stands out: a heading and the entries, largest first."""
        yield "private functions used in exactly one place (lines)", _largest(self.used_once)
        yield "calls with 6 or more positional arguments (arguments)", _largest(self.long_calls)
        yield "widest classes (functions)", _largest(self.classes)[:LISTED]
        yield "longest functions (lines)", _largest(self.functions)[:LISTED]
        yield (
            "files with the fewest comments (code lines by comments + 1; code lines / comments)",
            _largest(self.uncommented)[:LISTED],
        )


def _largest(found: Sequence[Found]) -> list[Found]:
    return sorted(found, key=lambda one: -one.size)


def main() -> None:
    """Print the table, and with ``--list`` the lists."""
    parser = argparse.ArgumentParser(
        description="Measure Python code; the docstring of this file explains each figure."
    )
    parser.add_argument("trees", nargs="*", type=Path, default=[Path("src/papertape")], metavar="TREE")
    parser.add_argument("--list", action="store_true", help="also print what stands out, with file and line")
    arguments = parser.parse_args()
    trees = {root: Tree(root) for root in arguments.trees}
    for root, tree in trees.items():
        if not tree.functions:
            sys.exit(f"{root}: there is no Python file with a function below this folder; name another one")
    columns = {str(root): tree.table() for root, tree in trees.items()}
    width = max(18, *map(len, columns))
    print(" " * 42, *(name.rjust(width) for name in columns))
    for figure in next(iter(columns.values())):
        print(figure.ljust(42), *(column[figure].rjust(width) for column in columns.values()))
    if arguments.list:
        for tree in trees.values():
            for heading, entries in tree.lists():
                print(f"\n{heading}")
                for found in entries:
                    print(f"{found.size:6}  {found.place}  {found.name}")


if __name__ == "__main__":
    main()
