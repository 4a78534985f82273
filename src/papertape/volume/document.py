"""The JSON documents on a volume: the version is checked first, then everything else (R9).

Every module makes its decoder when it is imported: msgspec crashes if two threads are the first to use a type.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec

from papertape.errors import FormatError
from papertape.ids import VolumeTag
from papertape.volume.layout import FORMAT_VERSION, check_block_size


class _Document(Protocol):
    # Properties, not attributes: a frozen Struct has no settable ones.
    @property
    def format(self) -> str: ...
    @property
    def block_size(self) -> int: ...
    @property
    def created(self) -> datetime: ...


LONGEST_NAME = 64
"""The largest number of characters in a uuid, a volume tag, a serial number, or a program with its version."""

D = TypeVar("D", bound=_Document)


class _Version(msgspec.Struct):
    format_version: float


_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Times that every database takes, in every time zone."""
_VERSION = msgspec.json.Decoder(_Version)


def decode_document(content: bytes, decoder: msgspec.json.Decoder[D], volume_tag: VolumeTag) -> D:
    """Return the document in ``content``, with its version, block size and time checked.

    Raises FormatError, which names ``volume_tag``, for a version newer than this program's; ValueError or
    msgspec.DecodeError for everything else that is not such a document.
    """
    try:
        # On its own and as a float: a newer version is refused by name, whatever else has changed in it.
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
    created = document.created
    if created.tzinfo is None or not _EARLIEST < created < _LATEST:
        raise ValueError(f"{created.isoformat()} is not the time of a dump in UTC")
    return document


def check_names(*names: str) -> None:
    """Raise ValueError unless each of ``names`` can be a uuid, a volume tag, a serial number, or a program (R9)."""
    for name in names:
        if len(name) > LONGEST_NAME or not (name.isascii() and name.isprintable()):
            raise ValueError(f"{name[:100]!a} is no uuid, volume tag, serial number or program")
