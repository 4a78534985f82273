"""File names are bytes (R7); this is their one text form, for JSON, CSV, the ledger and the terminal.

Characters stay as they are, the backslash is doubled, and each byte of what cannot be seen, or is not UTF-8, is written
``\\xNN``. The text is one line of valid UTF-8 without control characters, and goes back to the very same bytes.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\\\\\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    "\ud800-\uf8ff\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]+"
)
"""The backslash, controls, spaces but the common one, marks of direction, what is private or no character at all.

Fixed here, since ``str.isprintable`` follows the Unicode version of the Python at hand, and a volume outlives it."""
_ESCAPED = ["\\\\" if byte == ord("\\") else f"\\x{byte:02x}" for byte in range(256)]
_BYTE = re.compile(r"\\x([0-9a-f]{2})|\\\\")


def quote(name: bytes) -> str:
    """Return the text form of ``name``."""
    text = name.decode("utf-8", "surrogateescape")
    return text if _is_plain(text) else _UNSEEN.sub(_quote_match, text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "\\" not in text


def _quote_match(match: re.Match[str]) -> str:
    return "".join([_ESCAPED[byte] for byte in match[0].encode("utf-8", "surrogateescape")])


def unquote(text: str) -> bytes:
    """Return the name whose text form is ``text``; raises ValueError if no name has this text form."""
    if _is_plain(text):
        return text.encode()
    try:
        name = _unquote(text)
    except UnicodeEncodeError:
        name = b""
    if quote(name) != text:
        raise ValueError(f"not the text form of a name: {text[:100]!a}")
    return name


def _unquote(text: str) -> bytes:
    pieces = []
    end = 0
    for match in _BYTE.finditer(text):
        pieces.append(text[end : match.start()].encode())
        pieces.append(bytes.fromhex(match[1]) if match[1] else b"\\")
        end = match.end()
    return b"".join([*pieces, text[end:].encode()])
