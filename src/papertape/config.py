"""One frozen Config from one TOML file, and the only list of the kinds of library.

A config is looked for in ``--config``, ``$PAPERTAPE_CONFIG``, ``./papertape.toml``,
``~/.config/papertape/papertape.toml`` and ``/etc/papertape/papertape.toml``; the first one that is there counts.
Relative paths in it are relative to its folder.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated

import msgspec

from papertape.bridges.bridge import Bridge
from papertape.errors import ConfigError
from papertape.settings import MOUNTS, Settings
from papertape.tape.kind import LibraryKind
from papertape.tape.scsi.kind import ScsiConfig
from papertape.tape.virtual.kind import VirtualConfig
from papertape.volume.layout import check_block_size

FILE_NAME = "papertape.toml"
PLACES = (Path(FILE_NAME), Path("~/.config/papertape") / FILE_NAME, Path("/etc/papertape") / FILE_NAME)
VARIABLE = "PAPERTAPE_CONFIG"
SMALLEST_RING = 8
"""Blocks that the ring has at the least."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?i?)b?", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_PREFIX = re.compile(r"[A-Z0-9]{1,7}", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that a size like ``5GB`` (powers of ten) or ``1MiB`` (powers of two) means.

    Raises ValueError for anything else, and for less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = match[2].lower() if match else "?"
    factor = _BINARY.get(unit) or _UNITS.get(unit)
    size = round(float(match[1]) * factor) if match and factor else 0
    if size < 1:
        raise ValueError(f"{text!r} is not a size; write it like 5GB or 1MiB")
    return size


LibrarySection = VirtualConfig | ScsiConfig
"""The sections ``[library]`` of all kinds of library; a new kind stands here and nowhere else (``tape/kind.py``)."""


class BridgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[bridge]``: option files of the lab's databases, and which paths here are which there.

    ``files`` leads to the table of files, ``labels`` to that of tapes; there are no defaults for them, so that nothing
    in use is ever written to unasked.
    """

    files: Annotated[str, msgspec.Meta(min_length=1)]
    paths: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    labels: str = ""
    file_types: str = "uv%"
    mark_deletable: bool = True
    strict: bool = False


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The config file as a whole."""

    library: LibrarySection
    ledger: str = "sqlite:///ledger.sqlite"
    spool: str = "spool"
    host: str = ""
    prefixes: tuple[str, ...] = ("PAPR1", "PAPR2")
    archive_size: str = "5GB"
    block_size: str = "1MiB"
    ring: str = "1GiB"
    mount: str = "crossed"
    bridge: BridgeConfig | None = None


class Config(msgspec.Struct, frozen=True):
    """A config that was checked; ``folder`` is where it lies, ``host`` the name under which paths are registered."""

    folder: Path
    host: str
    prefixes: tuple[str, ...]
    ledger: str
    library: LibraryKind
    settings: Settings
    bridge: Bridge | None = None

    def copy_of(self, tag: str) -> int | None:
        """Return which copy (from 1) a volume is for, by the prefix of its tag; None if no prefix fits."""
        return next((copy for copy, prefix in enumerate(self.prefixes, 1) if tag.startswith(prefix)), None)

    def needed_bridge(self) -> Bridge:
        """Return the section [bridge]; raises ConfigError if there is none."""
        if self.bridge is None:
            raise ConfigError("the config has no [bridge]; see docs/lab-databases.md for one")
        return self.bridge


def find_config(given: str | None) -> Path:
    """Return the config file to use; raises ConfigError if it is not there."""
    named = os.environ.get(VARIABLE) if given is None else given
    if named or given is not None:
        path = Path(named or "").expanduser()
        if not path.is_file():
            origin = f"${VARIABLE}" if given is None else "--config"
            what = "is a folder, not a config file" if path.is_dir() else "no such config file"
            raise ConfigError(f"{path}: {what} ({origin} names it); `papertape init` makes one")
        return path
    for place in PLACES:
        if place.expanduser().is_file():
            return place.expanduser()
    looked = ", ".join(str(place) for place in PLACES)
    raise ConfigError(f"there is no config file (looked for {looked}): `papertape init` makes one, --config names one")


def read_config(path: Path) -> Config:
    """Return the config in the file at ``path``; raises ConfigError with the one thing that is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from error
    return parse_config(path, content)


def parse_config(path: Path, content: bytes) -> Config:
    """Return the config that ``content`` is, for a file at ``path``; raises ConfigError with what is wrong."""
    try:
        document = msgspec.toml.decode(content, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return _check(document, path.absolute().parent)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _check(document: Document, folder: Path) -> Config:
    block_size = check_block_size(parse_size(document.block_size))
    ring = parse_size(document.ring)
    if ring < SMALLEST_RING * block_size:
        needed = f"take {SMALLEST_RING} blocks, {SMALLEST_RING * block_size} bytes, or more"
        raise ValueError(f"ring = {document.ring!r} is too small: {needed}")
    if document.mount not in MOUNTS:
        raise ValueError(f"mount = {document.mount!r} is none of {', '.join(MOUNTS)}")
    library: LibraryKind = document.library.within(folder)
    if not document.prefixes or len(set(document.prefixes)) < len(document.prefixes):
        raise ValueError("prefixes must name a volume tag prefix for each copy, each another one")
    for prefix in document.prefixes:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefixes: {prefix!r} is not up to seven capital letters and digits")
    host = check_host(document.host or socket.gethostname())
    settings = Settings(
        copies=len(document.prefixes),
        archive_size=parse_size(document.archive_size),
        block_size=block_size,
        ring=ring,
        spool=folder / document.spool,
        mount=document.mount,
        host=host,
    )
    bridge = _check_bridge(document.bridge, document.prefixes, folder) if document.bridge else None
    ledger = _resolve(document.ledger, folder)
    return Config(
        folder=folder,
        host=host,
        prefixes=document.prefixes,
        ledger=ledger,
        library=library,
        settings=settings,
        bridge=bridge,
    )


def _check_bridge(bridge: BridgeConfig, prefixes: tuple[str, ...], folder: Path) -> Bridge:
    """Return the lab's databases with absolute paths; raises ValueError for a rule that says nothing."""
    for there, here in bridge.paths.items():
        host, _, path = there.partition(":")
        if not host or not path.startswith("/"):
            raise ValueError(f"bridge.paths: {there!r} is not of the form host:/path")
        if here and not here.startswith("/"):
            raise ValueError(f"bridge.paths: {here!r} is no absolute path on this host")
    return Bridge(
        files=folder / _expand(bridge.files),
        labels=folder / _expand(bridge.labels) if bridge.labels else None,
        file_types=bridge.file_types,
        paths=tuple(bridge.paths.items()),
        prefixes=prefixes,
        mark_deletable=bridge.mark_deletable,
        strict=bridge.strict,
    )


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"bridge: {path!r} names a home that nobody has") from error


def check_host(host: str) -> str:
    """Return ``host`` if it can stand in a source and in a member's name; raises ValueError if not."""
    if not _HOST.fullmatch(host) or len(host) > 255:
        raise ValueError(f"{host!r} is not a host name")
    return host


def _resolve(url: str, folder: Path) -> str:
    """Return a database url in which the path of an SQLite file is absolute."""
    scheme = "sqlite:///"
    if not url.startswith(scheme) or url.startswith(scheme + "/"):
        return url
    return f"{scheme}{folder / url.removeprefix(scheme)}"
