"""MySQL's option files: who logs in where, kept out of the config.

Their form is that of MySQL's own programs: groups in brackets, ``name = value``, quotes, backslashes, and a ``#`` that
begins a comment anywhere but within quotes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from papertape.errors import UserError
from papertape.words import enumerate_names

GROUP = "client"
NEEDED = ("user", "password", "host", "database")
LARGEST = 64 * 1024
"""Bytes that an option file has at the most."""
DEFAULT_PORT = 3306

_HEAD = re.compile(r"\[([^\[\]]+)\]\s*(?:#.*)?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True)
class Credentials:
    """Who logs in where; the password is never shown. With a ``socket`` the host and port are of no account."""

    user: str
    password: str = field(repr=False)
    host: str
    database: str
    port: int = DEFAULT_PORT
    socket: str = ""


class OptionFile(NamedTuple):
    """What an option file says; ``warnings`` are sentences on what is not well with it, though it will do."""

    path: Path
    credentials: Credentials
    warnings: tuple[str, ...]


class _Option(NamedTuple):
    name: str
    value: str
    line: int
    cut: bool  # a `#` within a word ended the value


def read_option_file(path: Path, *, strict: bool = False) -> OptionFile:
    """Return what the option file at ``path`` says in its group ``[client]``.

    Raises UserError if it cannot be read, is no option file, or lacks what is needed; with ``strict``, too, if others
    than its owner may read it.
    """
    text, mode = _read(path)
    options = {option.name: option for option in _parse(path, text)}
    credentials = _credentials(path, options)
    warnings = []
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{path}: others than its owner may read it; run `chmod 600 {path}`"
        if strict:
            raise UserError(sentence)
        warnings.append(sentence)
    warnings += [
        f"{path}: line {option.line}: what is behind the `#` does not count; put the {option.name} in quotes"
        for option in options.values()
        if option.cut
    ]
    return OptionFile(path, credentials, tuple(warnings))


def _read(path: Path) -> tuple[str, int]:
    try:
        # Not a pipe, which would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is no file; name an option file with a group [{GROUP}]")
            content = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name an option file with a group [{GROUP}]") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such option file; make it, with {enumerate_names(NEEDED)} in [{GROUP}]") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions or its owner") from None
    return _decode(path, content), status.st_mode


def _decode(path: Path, content: bytes) -> str:
    if not content.strip():
        raise UserError(f"{path}: is empty; write {enumerate_names(NEEDED)} in [{GROUP}]")
    if len(content) > LARGEST:
        raise UserError(f"{path}: has more than {LARGEST} bytes, which no option file has; name another")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8; name another file, or write it anew") from None


def _parse(path: Path, text: str) -> Iterator[_Option]:
    """Yield the options of the group; what other programs have in other groups is passed over."""
    group = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            group = _group(path, number, line)
        elif line.startswith("!"):
            raise UserError(f"{path}: line {number} includes another file; write the options of [{GROUP}] here")
        elif not group:
            raise UserError(f"{path}: line {number} is in no group; write [{GROUP}] above it")
        elif group == GROUP:
            yield _option(path, number, line)


def _group(path: Path, number: int, line: str) -> str:
    match = _HEAD.fullmatch(line)
    if match is None:
        raise UserError(f"{path}: line {number} is not of the form [{GROUP}]; mend it")
    return match[1].strip()


def _option(path: Path, number: int, line: str) -> _Option:
    """Return an option; the line itself may hold the password, and is never repeated."""
    name, _, rest = line.partition("=")
    name = name.partition("#")[0].strip()
    if not _NAME.fullmatch(name):
        raise UserError(f"{path}: line {number} is not of the form `name = value`; mend it")
    value, cut = _value(path, number, rest.strip())
    return _Option(name.replace("_", "-"), value, number, cut)


def _value(path: Path, number: int, text: str) -> tuple[str, bool]:
    if text[:1] not in {'"', "'"}:
        bare, sign, _ = text.partition("#")
        return _unescape(bare.rstrip()), bool(sign) and bare == bare.rstrip() and bool(bare)
    match = re.fullmatch(r"(['\"])((?:\\.|(?!\1).)*)\1\s*(?:#.*)?", text)
    if match is None:
        raise UserError(f"{path}: line {number} has a quote that does not end, or something behind it; mend it")
    return _unescape(match[2]), False


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), text)


def _credentials(path: Path, options: dict[str, _Option]) -> Credentials:
    needed = [name for name in NEEDED if name != "host" or "socket" not in options]
    lacking = [name for name in needed if not (options[name].value if name in options else "")]
    if lacking:
        raise UserError(f"{path}: [{GROUP}] lacks {enumerate_names(lacking)}; add it")
    values = {name: options[name].value for name in (*NEEDED, "socket") if name in options}
    values.setdefault("host", "localhost")
    return Credentials(**values, port=_port(path, options.get("port")))


def _port(path: Path, option: _Option | None) -> int:
    if option is None:
        return DEFAULT_PORT
    if not re.fullmatch(r"[0-9]{1,5}", option.value, re.ASCII) or not 0 < int(option.value) < 2**16:
        raise UserError(f"{path}: line {option.line}: the port is no number from 1 to 65535; mend it")
    return int(option.value)
