"""The JSON documents on a volume: version first, then everything else (R9).

Decoders are made when their modules are imported: where two threads are the first to use a type, msgspec crashes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec

from papertape.errors import FormatError
from papertape.volume.layout import FORMAT_VERSION, check_block_size


class _Document(Protocol):
    @property
    def format(self) -> str: ...
    @property
    def block_size(self) -> int: ...
    @property
    def created(self) -> datetime: ...


LONGEST_NAME = 64
"""Characters of a uuid, a volume tag, a serial number, or a program with its version, at the most."""

D = TypeVar("D", bound=_Document)


class _Version(msgspec.Struct):
    format_version: float


_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_VERSION = msgspec.json.Decoder(_Version)


def decode_document(content: bytes, decoder: msgspec.json.Decoder[D], volume_tag: str) -> D:
    """Return what a document says; raises FormatError for a newer version, ValueError for what is no such document."""
    try:
        version = _VERSION.decode(content).format_version
        if version > FORMAT_VERSION:
            raise FormatError(
                volume_tag,
                f"it has format version {version:.0f}, this papertape reads {FORMAT_VERSION}: use a newer one",
            )
        document = decoder.decode(content)
    except RecursionError as error:
        raise ValueError("its nesting is too deep") from error
    if document.format != "papertape" or version < FORMAT_VERSION:
        raise ValueError("it is not papertape's")
    check_block_size(document.block_size)
    _check_moment(document.created)
    return document


def check_names(*names: str) -> None:
    """Raise ValueError unless these can be uuids, volume tags, serial numbers, or programs with their versions."""
    for name in names:
        if len(name) > LONGEST_NAME or not (name.isascii() and name.isprintable()):
            raise ValueError(f"{name[:100]!a} is no uuid, volume tag, serial number or program")


def _check_moment(created: datetime) -> None:
    """Raise ValueError unless ``created`` is a time that every database takes."""
    if created.tzinfo is None or not _EARLIEST < created < _LATEST:
        raise ValueError(f"{created.isoformat()} is not the time of a dump in UTC")
