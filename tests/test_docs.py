"""Places that `docs/hera-tape.md` and `docs/design.md` name exist: commands, options, settings, code, tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from commandlines import find_command_lines, find_fault
from papertape.config import BridgeConfig, Document

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "hera-tape.md"
DESIGN = ROOT / "docs" / "design.md"
CODE = ROOT / "src" / "papertape"


def read_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the page's tables, but for their heads."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| in hera-tape |", "| wanted |")):
            yield tuple(cell.strip() for cell in line.strip("|").split(" | "))


ROWS = list(read_rows())


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def list_names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from list_names(node.body, f"{prefix}{node.name}.")


def is_there(folder: Path, place: str) -> bool:
    path, _, name = place.partition("::")
    if not (folder / path).is_file():
        return False
    return not name or name in list_names(ast.parse((folder / path).read_text()).body)


def test_every_row_has_its_place_and_its_test() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        assert len(row) == 5, row
        assert quoted(row[3]), row
        assert quoted(row[4]), row


@pytest.mark.parametrize("place", sorted({place for row in ROWS for place in quoted(row[3])}))
def test_a_place_in_the_code_is_there(place: str) -> None:
    assert is_there(CODE, place)


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE.read_text()))))
def test_a_test_is_there(test: str) -> None:
    assert "::test_" in test
    assert is_there(ROOT, test)


@pytest.mark.parametrize("line", sorted(find_command_lines(PAGE.read_text())))
def test_a_command_line_is_one(line: str) -> None:
    assert not find_fault(line)


def test_a_setting_is_one() -> None:
    found = re.findall(r"settings? `([^`]+)`(?: and `([^`]+)`)?", PAGE.read_text())
    named = {name.strip("[]").rpartition(".")[2] for names in found for name in names if name}
    assert len(named) >= 5
    assert named <= {field.name for kind in (Document, BridgeConfig) for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`([\w/]+\.py(?:::[\w.]+)?)`", DESIGN.read_text()))))
def test_a_place_in_the_design_exists(place: str) -> None:
    """A table with the name of a wing in its head leaves out that wing."""
    path, _, name = place.partition("::")
    found = [*CODE.rglob(path), *(ROOT / "tests").rglob(Path(path).name)]
    folders = [Path(str(file).removesuffix(path)) for file in found if str(file).endswith(f"/{path}")]
    assert any(is_there(folder, place) for folder in folders), name


def test_the_design_names_every_wing() -> None:
    wings = {path.name for path in CODE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    modules = {path.stem for path in CODE.glob("*.py") if not path.stem.startswith("__")}
    picture = DESIGN.read_text().split("```")[1]
    assert not {name for name in wings | modules if not re.search(rf"\b{name}\b", picture)}
