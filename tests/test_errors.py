"""The tree of errors: every class is in it, and every field holds what its name says."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import papertape
from papertape import errors
from papertape.errors import EXIT_CODES, PapertapeError

SOURCES = Path(papertape.__file__).parent
REPOSITORY = Path(__file__).parent.parent
CLASSES = {name: item for name, item in vars(errors).items() if inspect.isclass(item) and issubclass(item, Exception)}
THINGS = {"path", "volume_tag", "volume_tags", "drive", "source", "destination", "dump", "copy", "element", "kind"}
"""Fields that name one thing, and must not be a sentence."""


def every_class(root: type[PapertapeError] = PapertapeError) -> Iterator[type[PapertapeError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from every_class(kind)


def import_everything() -> None:
    for module in pkgutil.walk_packages([str(SOURCES)], "papertape."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def branches() -> dict[str, tuple[str, int]]:
    """Return, of each class in the docstring's tree, what it derives from and its exit code."""
    found: dict[str, tuple[str, int]] = {"PapertapeError": ("Exception", 1)}
    stem = ["PapertapeError"]
    for mark, name, code in re.findall(r"^    ([│ ]*[├└]── )(\w+) .* exit +(\d+)$", errors.__doc__ or "", re.MULTILINE):
        depth = len(mark) // 4
        found[name] = (stem[depth - 1], int(code))
        stem[depth:] = [name]
    return found


def test_every_error_lives_in_one_file_and_is_in_its_tree() -> None:
    import_everything()
    ours = {kind for kind in every_class() if kind.__module__.startswith("papertape.")}
    assert {kind.__module__ for kind in ours} == {"papertape.errors"}
    tree = branches()
    assert set(tree) == set(CLASSES)
    for name, (base, code) in tree.items():
        assert [parent.__name__ for parent in CLASSES[name].__bases__] == [base]
        assert CLASSES[name].exit_code == code


def constructions() -> Iterator[tuple[str, str, str, ast.expr]]:
    """Yield each argument with which papertape makes an error: where, which class, which field, what."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES:
                fields = list(inspect.signature(CLASSES[node.func.id].__init__).parameters)[1:]
                where = f"{path.relative_to(SOURCES)}:{node.lineno}"
                given = [*zip(fields, node.args, strict=False), *((word.arg, word.value) for word in node.keywords)]
                yield from ((where, node.func.id, str(field), value) for field, value in given)


def test_a_field_that_names_a_thing_is_never_a_sentence() -> None:
    seen = set()
    for where, kind, field, value in constructions():
        if field not in THINGS:
            continue
        seen.add((kind, field))
        for part in ast.walk(value):
            literal = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
            assert " " not in literal, f"{where}: {kind}({field}=...) is built from prose: {ast.unparse(value)}"
        counted = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "len"
        assert not counted, f"{where}: {kind}({field}=...) is a count: {ast.unparse(value)}"
    assert {("VolumeMissing", "volume_tag"), ("DriveError", "drive"), ("SourceError", "path")} <= seen


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_says_when_it_is_raised(name: str) -> None:
    assert (CLASSES[name].__doc__ or "").strip().endswith((".", '."'))


def test_the_exit_codes_have_one_meaning_each_and_the_docs_say_it() -> None:
    assert len(dict(EXIT_CODES)) == len(EXIT_CODES)
    for kind in every_class():
        assert dict(EXIT_CODES)[kind.exit_code] == kind.meaning
    readme = " ".join((REPOSITORY / "README.md").read_text().split())
    page = (REPOSITORY / "docs" / "errors.md").read_text()
    for code, meaning in EXIT_CODES:
        assert f"{code} {meaning}" in readme
        assert f"| {code} | {meaning} |" in page
