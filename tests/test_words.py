"""The words that `docs/style.md` forbids stay out of docs, help, messages, docstrings, comments and test names."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandlines import read_strings

ROOT = Path(__file__).parents[1]
WINGS = ROOT / "src" / "papertape"
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md", "tests/rig/README.md")),
]

FORBIDDEN = {
    r"\bmend(s|ed|ing)?\b": "repair, correct",
    r"\bse(e|es|en|eing) to\b|\bsaw to\b": "handle, make sure",
    r"\bfor want of\b": "because ... is missing",
    r"\bin vain\b": "without success",
    r"\bseldom(er)?\b": "rarely, fewer",
    r"\bbut for\b": "except",
    r"\blet(s|ting)? go\b": "release",
    r"\b(is|are|was|were) to be\b": "must be, will be",
    r"\bbehind\b": "after",
    r"\bbegun\b": "started",
    r"\banew\b": "again",
    r"\bnought\b|\bhitherto\b|\bwhereabouts?\b": "zero; until now; place",
    r"\b(is|are|was|were|still) lacking\b|\blacking (in|an?|the)\b": "missing",
    r"\bbears?\b|\bborne\b": "has",
    r"\b(came|comes) to\b": "became; is in total",
    r"\b(hold|holds|held|holding)\b[^.;:()]{0,40}?\bagainst\b": "compare with",
    r"\b(go|goes|went|going) on with\b": "continue",
    r"\bof which\b": "a sentence of its own",
    r"\b(tell|tells|told) of\b|\b(is|are|be) told\b(?! apart)": "report",
    r"\bmade out\b|\bmakes out\b": "recognize",
    r"\b(?-i:What|Who)\b(?![^.!?]*\?)": "begin with the subject",
}
"""Each pattern with words that are better."""
STYLE = ROOT / "docs" / "style.md"
"""The page that quotes them."""


def find_words(text: str) -> Iterator[str]:
    """Yield each forbidden word in ``text``, with some words around it and words that are better."""
    flat = re.sub(r"[ \t]*\n(?! *\n)[ \t]*(?![|#\-*])", " ", text)  # a sentence goes over line ends
    for pattern, better in FORBIDDEN.items():
        for match in re.finditer(f"(?i:{pattern})", flat):
            around = flat[max(0, match.start() - 40) : match.end() + 30]
            yield f"{match[0].strip()!r} ({better}): ...{' '.join(around.split())}..."


def read_comments(path: Path) -> str:
    """Return the comments of a Python file; lines that follow each other are one paragraph."""
    paragraphs: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("#: ")
            if token.start[0] == last + 1 and paragraphs:
                paragraphs[-1] += f" {text}"
            else:
                paragraphs.append(text)
            last = token.start[0]
    return "\n\n".join(paragraphs)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_free_of_them(path: Path) -> None:
    if path != STYLE:
        assert not list(find_words(path.read_text()))


@pytest.mark.parametrize("path", sorted(WINGS.rglob("*.py")), ids=lambda path: str(path.relative_to(WINGS)))
def test_docstrings_messages_and_comments_are_free_of_them(path: Path) -> None:
    assert not list(find_words(f"{read_strings(path)}\n\n{read_comments(path)}"))


def as_sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ").capitalize()


def list_test_names() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield str(path.relative_to(ROOT)), node.name


def test_names_of_tests_are_free_of_them() -> None:
    names = list(list_test_names())
    assert len(names) > 500
    assert not [(path, name, word) for path, name in names for word in find_words(as_sentence(name))]


@pytest.mark.parametrize(
    "text",
    [
        "What is there is left alone.",
        "Said. What was rejected is named.",
        "Zeros come behind the last member.",
        "The volume is to be set aside.",
        "It was held, byte for byte, against its digest.",
        "| x | What is left, stays. |",
    ],
)
def test_a_forbidden_word_is_found(text: str) -> None:
    assert list(find_words(text))


@pytest.mark.parametrize("text", ["What is on this tape?", "The zeros come after the last member.", "see too"])
def test_plain_english_is_accepted(text: str) -> None:
    assert not list(find_words(text))
