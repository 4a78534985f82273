"""The plan: what a dump was about to write (R4); it counts only where there is no catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from papertape.ids import VolumeTag
from papertape.volume.document import check_names, decode_document
from papertape.volume.names import Source
from papertape.volume.rows import read_number, read_rows

PLAN_JSON, PLAN_CSV = "plan.json", "plan.csv"
"""The members of the plan, in tape order."""

PLAN_COLUMNS = ("tape_file", "source", "kind", "files", "bytes", "declared_md5", "fingerprint")


class PlanDocument(msgspec.Struct, frozen=True):
    """The content of ``plan.json`` (R4); ``bytes`` counts those of the planned files."""

    format: str
    format_version: int
    dump: str
    created: datetime
    written_by: str
    block_size: int
    volumes: tuple[str, ...]
    archives: int
    datasets: int
    bytes: int


class Planned(NamedTuple):
    """One data set of a plan, and the tape file that it was planned for.

    ``files`` counts its regular files, ``size`` their bytes.
    """

    tape_file: int
    source: Source
    kind: str
    files: int
    size: int
    md5: str
    fingerprint: str


_MD5 = re.compile(r"(?:[0-9a-f]{32})?\Z")
LONGEST_FINGERPRINT = 255
"""Characters of a fingerprint that a reader accepts, and the database holds; papertape writes 64."""
_DECODER = msgspec.json.Decoder(PlanDocument)


def parse_plan(content: bytes, volume_tag: VolumeTag) -> PlanDocument:
    """Return the plan in ``content``, a plan.json.

    Raises FormatError, which names ``volume_tag``, for a newer version; ValueError or msgspec.DecodeError for anything
    else that is no plan.
    """
    plan = decode_document(content, _DECODER, volume_tag)
    check_names(plan.dump, plan.written_by)
    return plan


def read_planned(path: Path) -> Iterator[Planned]:
    """Yield the data sets that the plan.csv at ``path`` lists; raises ValueError at the first wrong row."""
    for tape_file, source, kind, files, size, md5, fingerprint in read_rows(path, PLAN_COLUMNS):
        if kind not in {"file", "directory"} or not _MD5.match(md5) or len(fingerprint) > LONGEST_FINGERPRINT:
            raise ValueError(f"{source[:100]!a} has a kind, digest or fingerprint that papertape never writes")
        yield Planned(
            tape_file=read_number(tape_file),
            source=Source.parse(source),
            kind=kind,
            files=read_number(files),
            size=read_number(size),
            md5=md5,
            fingerprint=fingerprint,
        )
