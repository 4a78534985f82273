"""The text form of names (R7)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.volume.names import quote, unquote

from .samples import THOROUGH

any_bytes = st.one_of(
    st.binary(),
    st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
    st.text(st.characters(categories=["Cs", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"])).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
    st.text("\\x0a41éx\n").map(str.encode),
)
_UNSEEN = {"Cc", "Cs", "Co", "Zs", "Zl", "Zp"}
_MARKS = set("\u00ad\u061c\u200b\u200e\u200f\u202a\u202e\u2066\u2069\ufeff")


@THOROUGH
@given(any_bytes)
def test_r7_every_name_has_a_text_form_and_comes_back(name: bytes) -> None:
    assert unquote(quote(name)) == name


@THOROUGH
@given(any_bytes)
def test_r7_the_text_form_is_one_line_that_can_be_seen(name: bytes) -> None:
    text = quote(name)
    assert len(text.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in text if character != " "} & _UNSEEN
    assert not set(text) & _MARKS
    assert text.encode().decode() == text


@THOROUGH
@given(any_bytes, any_bytes)
def test_r7_two_names_have_two_text_forms(one: bytes, other: bytes) -> None:
    assert (quote(one) == quote(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"zen.2457698.uv", "zen.2457698.uv"),
        (b"a b,\"c'", "a b,\"c'"),
        (b"a\nb", r"a\x0ab"),
        (b"a\\nb", r"a\\nb"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("é".encode(), "é"),
        ("e\u0301".encode(), "e\u0301"),
        ("\u00a0".encode(), r"\xc2\xa0"),
        ("\u0085".encode(), r"\xc2\x85"),
        ("\u202e".encode(), r"\xe2\x80\xae"),
        ("\U0001faea".encode(), "\U0001faea"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"", ""),
    ],
)
def test_r7_text_forms_are_the_same_in_every_python(name: bytes, text: str) -> None:
    """U+1FAEA is younger than the oldest Python that papertape runs on."""
    assert quote(name) == text
    assert unquote(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "\\",
        "a\\",
        r"\x",
        r"\x4",
        r"\x41",
        r"\xFF",
        r"\n",
        r"\xc3\xa9",
        "\n",
        "\x7f",
        "\ud800",
        "a\udcff",
        "\u2028",
        "\xa0",
        r"\\\x",
    ],
)
def test_r9_what_is_no_text_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the text form of a name"):
        unquote(text)


@THOROUGH
@given(st.text(st.characters(), max_size=30))
def test_r9_any_text_is_a_text_form_or_refused(text: str) -> None:
    try:
        name = unquote(text)
    except ValueError:
        return
    assert quote(name) == text
