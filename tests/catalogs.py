"""Catalogs as they lie on tape, taken apart, changed and put together again with sums that fit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from papertape.volume.header import FILE, Attributes, build_header
from papertape.volume.sums import sums_line
from papertape.volume.tapefile import compose
from stories import BLOCK

NAMES = ("catalog.json", "datasets.csv", "files.csv")
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
Files = dict[str, bytes]


def unpack(content: bytes) -> Files:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members = archive.getmembers()
        return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in members}


def pack(files: Files, *, signed: bool = True) -> bytes:
    """Return a catalog's tape file with these members, signed anew."""
    if signed:
        lines = [sums_line(hashlib.sha256(files[name]).hexdigest(), name.encode()) for name in NAMES]
        files = {**files, "SHA256SUMS": b"".join(lines)}
    return compose("catalog", [(name.encode(), data) for name, data in files.items()], NOW, BLOCK).content


def edit_json(**values: Any) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        document = json.loads(files["catalog.json"])
        for path, value in values.items():
            place = document
            *way, last = path.split("__")
            for step in way:
                place = place[int(step) if step.isdigit() else step]
            place[int(last) if last.isdigit() else last] = value
        files["catalog.json"] = json.dumps(document).encode()

    return change


def edit_row(name: str, row: int, column: str, value: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        rows = list(csv.reader(io.StringIO(files[name].decode(), newline="")))
        rows[row][rows[0].index(column)] = value
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        files[name] = text.getvalue().encode()

    return change


def header(name: bytes, size: int) -> bytes:
    return build_header(name, size, Attributes(FILE, 0o644, 0))
