"""Tape file 0: who this volume is, for programs and for people (R2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from papertape.errors import FormatError
from papertape.ids import VolumeTag
from papertape.version import __version__
from papertape.volume.document import check_names, decode_document
from papertape.volume.header import HeaderError
from papertape.volume.layout import FORMAT_VERSION, LABEL
from papertape.volume.tapefile import Composed, MemberBegin, MemberData, Scanner, compose

MOST_COPIES = 99
"""The highest number of a copy that a reader accepts (R9)."""
README, VOLUME = b"README.txt", b"volume.json"


class Identity(NamedTuple):
    """A volume as the labels of its twins name it; ``copy`` counts from 1."""

    tag: VolumeTag
    uuid: str
    copy: int


class Twin(msgspec.Struct, frozen=True):
    """Another copy of the same dump."""

    volume_tag: VolumeTag
    volume_uuid: str


class Label(msgspec.Struct, frozen=True):
    """The content of ``volume.json``; ``created`` is in UTC, ``block_size`` in bytes."""

    format: str
    format_version: int
    volume_uuid: str
    volume_tag: VolumeTag
    copy: int
    twins: tuple[Twin, ...]
    block_size: int
    created: datetime
    written_by: str


_DECODER = msgspec.json.Decoder(Label)


def compose_label(volume: Identity, twins: Sequence[Identity], block_size: int, created: datetime) -> Composed:
    """Return tape file 0 of ``volume``, whose dump also goes to ``twins``; ``block_size`` in bytes."""
    label = Label(
        format="papertape",
        format_version=FORMAT_VERSION,
        volume_uuid=volume.uuid,
        volume_tag=volume.tag,
        copy=volume.copy,
        twins=tuple(Twin(twin.tag, twin.uuid) for twin in twins),
        block_size=block_size,
        created=created,
        written_by=f"papertape {__version__}",
    )
    document = msgspec.json.format(msgspec.json.encode(label), indent=2) + b"\n"
    members = [(README, explain_volume(label).encode()), (VOLUME, document)]
    return compose(LABEL, members, created, block_size)


def read_label(content: bytes, volume_tag: VolumeTag) -> Label:
    """Return the label in ``content``, the bytes of tape file 0.

    Raises FormatError, which names ``volume_tag``, if there is none, or if a newer papertape wrote it (R9).
    """
    document, whole = bytearray(), False
    name = b""
    try:
        for event in Scanner().feed(memoryview(content)):
            if isinstance(event, MemberBegin):
                name = event.header.name
            elif isinstance(event, MemberData) and name == VOLUME:
                # Two members of that name run together, and that is no JSON: no reader may choose between them.
                document += event.data
                whole = event.last
    except HeaderError as error:
        raise FormatError(volume_tag, "its first tape file is not a papertape label") from error
    if not whole:
        raise FormatError(volume_tag, "its first tape file holds no whole volume.json")
    return parse_label(bytes(document), volume_tag)


def parse_label(document: bytes, volume_tag: VolumeTag) -> Label:
    """Return the label that ``document``, a ``volume.json``, holds; raises FormatError, which names ``volume_tag``."""
    try:
        label = decode_document(document, _DECODER, volume_tag)
        if not 0 < label.copy <= MOST_COPIES:
            raise ValueError(f"it says copy {str(label.copy)[:20]}")
        check_names(label.volume_uuid, label.volume_tag, label.written_by)
        for twin in label.twins:
            check_names(twin.volume_uuid, twin.volume_tag)
    except (msgspec.DecodeError, ValueError) as error:
        raise FormatError(volume_tag, f"its volume.json cannot be read ({error})") from error
    return label


def explain_volume(label: Label) -> str:
    """Return README.txt: what this volume is and how to get everything back with stock tools."""
    factor = label.block_size // 512  # the unit of tar's option -b
    twins = ", ".join(twin.volume_tag for twin in label.twins) or "none"
    return _README.format(label=label, factor=factor, twins=twins)


_README = """\
This is the tape volume {label.volume_tag}, copy {label.copy} of a dump that {label.written_by} began to write
on {label.created:%Y-%m-%d at %H:%M} UTC. Its twins, the same from the second tape file on: {twins}.
Volume uuid: {label.volume_uuid}

WHAT IS ON IT
Every tape file is an uncompressed tar archive (POSIX pax) in blocks of {label.block_size} bytes. In this order:
  tape file 0      the label: this text, and volume.json
  tape file 1      the plan: what the dump was about to write (plan.json, plan.csv)
  tape files 2..   the archives: data/<host>/<path> members, and SHA256SUMS at the end of each
  the last one     the catalog: what was written (catalog.json, datasets.csv, files.csv, SHA256SUMS)
If there is no catalog, the dump was not finished. datasets.csv names, with the reason, data sets that were
rejected while they were written: their files may be in an archive, but not in its SHA256SUMS; do not use them.

HOW TO GET IT BACK
With mt, tar, dd and sha256sum; /dev/nst0 is the drive. In an empty folder:
  mt -f /dev/nst0 setblk 0
  mt -f /dev/nst0 rewind
List one archive, here tape file 2 (fsf counts tape files to skip; rewind first):
  mt -f /dev/nst0 fsf 2
  tar -b {factor} -tvf /dev/nst0
Extract and check one archive, here tape file 2:
  mt -f /dev/nst0 rewind
  mt -f /dev/nst0 fsf 2
  tar -b {factor} -xpf /dev/nst0
  sha256sum -c SHA256SUMS
The last two lines again, with no rewind and no fsf but "mt -f /dev/nst0 fsf 1" before them, do the next archive.
When tar says that plan.json or catalog.json came out, you are at the plan or the catalog.
Find the catalog, which is the last tape file:
  mt -f /dev/nst0 eod
  mt -f /dev/nst0 bsfm 2
  tar -b {factor} -xpf /dev/nst0
  sha256sum -c SHA256SUMS
One file alone: files.csv gives its tape file T and its offset O in bytes. With B = O / {label.block_size} (rounded
down) and R = O - B * {label.block_size}:
  mt -f /dev/nst0 rewind
  mt -f /dev/nst0 fsf T
  mt -f /dev/nst0 fsr B
  dd if=/dev/nst0 bs={label.block_size} | tail -c +$((R + 1)) | tar -xpf - --occurrence=1 NAME
In files.csv and datasets.csv a backslash is doubled in names, and bytes that cannot be printed are written \\xNN.

If this volume can't be read, its twins hold the same data.
"""
