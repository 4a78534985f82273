"""File names are bytes (R7); this is their one text form, for JSON, CSV, the ledger and the terminal.

Printable characters stay as they are, the backslash is doubled, and every other byte is written ``\\xNN``. The text is
one line of valid UTF-8 without control characters, and goes back to the very same bytes.
"""

from __future__ import annotations

import re

_BYTE = re.compile(r"\\x([0-9a-f]{2})|\\\\")


def quote(name: bytes) -> str:
    """Return the text form of ``name``."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_quote_character(character) for character in text)


def _quote_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def unquote(text: str) -> bytes:
    """Return the name whose text form is ``text``; raises ValueError if no name has this text form."""
    if text.isprintable() and "\\" not in text:
        return text.encode()
    pieces = []
    end = 0
    for match in _BYTE.finditer(text):
        pieces.append(text[end : match.start()].encode())
        pieces.append(bytes.fromhex(match[1]) if match[1] else b"\\")
        end = match.end()
    name = b"".join([*pieces, text[end:].encode()])
    if quote(name) != text:
        raise ValueError(f"not the text form of a name: {text!a}")
    return name
