"""File names are bytes (R7); this is their one text form, for JSON, CSV, the ledger and the terminal.

Characters stay as they are and a backslash is doubled. Each byte of a character that cannot be seen, and each byte that
is not UTF-8, is written ``\\xNN``. The text is one line of valid UTF-8 without control characters; every text form
gives back the very same bytes (``docs/format.md``, "Names in text").
"""

from __future__ import annotations

import re
from typing import NamedTuple

_UNSEEN = re.compile(
    "[\\\\\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    "\ud800-\uf8ff\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]+"
)
"""The backslash, controls, every space except U+0020, marks of direction, private characters and noncharacters."""
# The list is fixed here: str.isprintable follows the Unicode version of the running Python, and a volume outlives it.
_ESCAPED = ["\\\\" if byte == ord("\\") else f"\\x{byte:02x}" for byte in range(256)]
_BYTE = re.compile(rb"\\x([0-9a-f]{2})|\\\\")


def quote(name: bytes) -> str:
    """Return the text form of ``name``."""
    text = name.decode("utf-8", "surrogateescape")
    if _is_plain(text):
        return text
    return _UNSEEN.sub(
        lambda match: "".join(_ESCAPED[byte] for byte in match[0].encode(errors="surrogateescape")), text
    )


def _is_plain(text: str) -> bool:
    # Nearly every name is plain, and a dump quotes millions of them: no regular expression for those.
    return text.isascii() and text.isprintable() and "\\" not in text


def unquote(text: str) -> bytes:
    """Return the name whose text form is ``text``; raises ValueError if no name has this text form."""
    if _is_plain(text):
        return text.encode()
    try:
        name = _BYTE.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", text.encode())
    except UnicodeEncodeError:
        name = b""
    if quote(name) != text:
        raise ValueError(f"not the text form of a name: {text[:100]!a}")
    return name


class Source(NamedTuple):
    """Where a data set came from: an absolute path, as bytes, on a host.

    ``str()`` gives the one text form, ``host:/path`` with the path in the text form of names; ``parse`` reads it.
    """

    host: str
    path: bytes

    @classmethod
    def parse(cls, text: str) -> Source:
        """Return the source whose text form is ``text``; raises ValueError if it is none (R9)."""
        host, _, path = text.partition(":")
        if not host or "/" in host or not path.startswith("/"):
            raise ValueError(f"{text[:100]!a} is not host:/path")
        return cls(host, unquote(path))

    def __str__(self) -> str:
        return f"{self.host}:{quote(self.path)}"

    @property
    def member(self) -> bytes:
        """The name of the data set's first member, ``data/<host><path>`` (R5)."""
        return b"data/%b%b" % (self.host.encode(), self.path)

    @property
    def raw(self) -> bytes:
        """``host:/path`` with the path's own bytes: the form in which the predecessor wrote it to tape."""
        return b"%b:%b" % (self.host.encode(), self.path)
