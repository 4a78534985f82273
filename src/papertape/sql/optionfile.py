"""MySQL's option files: logins, kept out of the config.

A line is read as MySQL's own clients read it (MySQL Reference Manual, "Using Option Files"; ``mysys/my_default.c`` of
the server says more). First, a ``#`` outside of quotes ends the line, wherever it is. Then the blanks around the name
and the value go, and then one pair of quotes around the whole value. In the rest, which may have been in quotes or
not, ``\\b \\t \\n \\r \\s \\\\`` and a backslash before a quote are escapes; any other backslash is itself. If two
lines have one name, the last one counts. One difference: a value that begins with a quote and does not end with it is
refused, where MySQL keeps the quote.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from papertape.errors import UserError
from papertape.words import enumerate_names

GROUP = "client"
NEEDED = ("user", "password", "host", "database")
"""The options that a whole login needs; ``socket`` may stand for ``host``."""
LARGEST = 64 * 1024
"""Bytes that an option file has at the most."""
DEFAULT_PORT = 3306

_BLANKS = " \t\n\v\f\r"
_HEAD = re.compile(r"\[([^\[\]]+)\]\s*(?:#.*)?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A login, with "" for each part that the file does not have; the password is never shown.

    With a ``socket`` the host and the port do not count.
    """

    user: str
    password: str = field(repr=False)
    host: str
    database: str
    port: int
    socket: str


@dataclass(frozen=True)
class OptionFile:
    """One group of an option file that can be used; ``warnings`` are sentences about it.

    ``cut`` are those of them that say that a comment cut a value short.
    """

    path: Path
    options: Mapping[str, str] = field(repr=False)
    credentials: Credentials
    warnings: tuple[str, ...]
    cut: tuple[str, ...]


def read_option_file(
    path: Path, *, needed: Sequence[str] = NEEDED, group: str = GROUP, strict: bool = False
) -> OptionFile:
    """Return the options of ``group`` in the file at ``path``.

    Raises UserError if it cannot be read, is no option file, or has not the options that are ``needed``; with
    ``strict``, also if others than its owner may read it.
    """
    text, mode = _read(path, f"write {enumerate_names(needed) if needed else 'the password'} in [{group}]")
    parsed = _parse(path, text, group)
    options = {name: option.value for name, option in parsed.items()}
    absent = [name for name in needed if not options.get(name) and not (name == "host" and "socket" in options)]
    if absent:
        raise UserError(f"{path}: [{group}] lacks {enumerate_names(absent)}; add it")
    port = options.get("port", str(DEFAULT_PORT))
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 2**16:
        raise UserError(f"{path}: line {parsed['port'].line}: the port is no number from 1 to 65535; correct it")
    cut = tuple(
        f"{path}: line {option.line}: what follows the `#` does not count; put the {name} in quotes"
        for name, option in parsed.items()
        if option.is_cut
    )
    exposed = []
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{path}: others than its owner may read it; run `chmod 600 {path}`"
        if strict:
            raise UserError(sentence)
        exposed.append(sentence)
    who = {name: options.get(name, "") for name in (*NEEDED, "socket")}
    if "host" in needed and not who["host"]:
        who["host"] = "localhost"
    return OptionFile(path, options, Credentials(**who, port=int(port)), (*exposed, *cut), cut)


def _read(path: Path, remedy: str) -> tuple[str, int]:
    """Return the text and the mode of a file; raises UserError."""
    try:
        # Non-blocking: opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is no file; name an option file, and {remedy}")
            content = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name an option file, and {remedy}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such option file; make it, and {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions or its owner") from None
    if not content.strip():
        raise UserError(f"{path}: is empty; {remedy}")
    if len(content) > LARGEST:
        raise UserError(f"{path}: has more than {LARGEST} bytes, which no option file has; name another")
    try:
        return content.decode("utf-8-sig"), status.st_mode
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8; name another file, or write it again") from None


class _Option(NamedTuple):
    value: str
    line: int
    is_cut: bool  # by a `#` within a word


def _parse(path: Path, text: str, group: str) -> dict[str, _Option]:
    """Return the options of a group; the groups of other programs are skipped. Raises UserError."""
    options: dict[str, _Option] = {}
    groups: list[str] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line, where = raw.strip(_BLANKS), f"{path}: line {number}"
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            match = _HEAD.fullmatch(line)
            if match is None:
                raise UserError(f"{where} is not of the form [{group}]; correct it")
            groups.append(match[1].strip(_BLANKS))
        elif line.startswith("!"):
            raise UserError(f"{where} includes another file; write the options of [{group}] here")
        elif not groups:
            raise UserError(f"{where} is in no group; write [{group}] above it")
        elif groups[-1] == group:
            name, value, is_cut = _read_option(where, line)
            options[name] = _Option(value, number, is_cut)
    if group not in groups:
        raise UserError(f"{path}: has no group [{group}]; write it above the password")
    return options


def _read_option(where: str, line: str) -> tuple[str, str, bool]:
    """Return an option's name and value, and whether a ``#`` within a word ended it; raises UserError.

    The line may hold a password, so no message repeats it.
    """
    kept, rest = _cut_comment(line)
    name, _, value = (part.strip(_BLANKS) for part in kept.partition("="))
    if not _NAME.fullmatch(name):
        raise UserError(f"{where} is not of the form `name = value`; correct it")
    if value[:1] in {'"', "'"}:
        if len(value) < 2 or value[-1] != value[0]:
            raise UserError(f"{where} has a quote that does not end, or something after it; correct it")
        value, is_cut = value[1:-1], False
    else:
        is_cut = bool(rest and value and kept[-1] not in _BLANKS)
    return name.replace("_", "-"), _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), value), is_cut


def _cut_comment(line: str) -> tuple[str, str]:
    """Return a line up to a ``#`` outside of quotes, and the rest; within quotes a backslash protects a quote."""
    quote, escaped = "", False
    for place, character in enumerate(line):
        if character in "\"'" and not escaped and quote in {"", character}:
            quote = "" if quote else character
        elif character == "#" and not quote:
            return line[:place], line[place:]
        escaped = bool(quote) and character == "\\" and not escaped
    return line, ""
