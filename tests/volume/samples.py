"""What the format's tests have in common: names, attributes and catalogs made up by hypothesis or by hand."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

from papertape.volume.catalog import (
    CATALOG_JSON,
    DATASETS,
    DATASETS_COLUMNS,
    FILES,
    FILES_COLUMNS,
    SUMS,
    Catalog,
    dataset_row,
    encode_catalog,
)
from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes
from papertape.volume.label import Identity, compose_label
from papertape.volume.layout import ARCHIVE, PLAN
from papertape.volume.members import DataSetRecord, Member, TapeFile, VolumeRecord
from papertape.volume.names import Source, quote
from papertape.volume.sums import sums_line

NOW = datetime(2024, 5, 17, 3, 4, 5, 678901, tzinfo=UTC)
BLOCK = 64 * 1024
THOROUGH = settings(max_examples=400, deadline=None)
QUICK = settings(max_examples=100, deadline=None)
SLOW = settings(max_examples=20, deadline=None)
TWIN = Identity("PAPR2001", "6f9619ff-8b86-d011-b42d-00cf4fc964fe", 2)
VOLUME = Identity("PAPR1001", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", 1)


def member_row(member: Member) -> tuple[object, ...]:
    return (quote(member.name), *member[1:])


def _as_name(raw: bytes) -> bytes:
    return raw.replace(b"\0", b"\n").strip(b"/") or b"n"


_text = st.text(st.characters(codec="utf-8"), max_size=130).map(str.encode)
_long = st.builds(
    lambda piece, length: (piece * 4096)[:length], st.binary(min_size=1, max_size=5), st.integers(1, 4096)
)
names = st.one_of(_text, st.binary(max_size=250), _long).map(_as_name)
"""Names of members: bytes of any kind, 1 to 4096 of them, no NUL."""

_part = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text(min_size=1, max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"\\", b"a\nb", b"a\\nb", b"-x", b" ", b"\xff", "visibilità".encode(), b'"', b"a,b", b"%s", b"*"]),
)
parts = _part.map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"-")).filter(
    lambda part: part not in {b".", b".."}
)
"""Names that a directory can hold."""

_owners = st.one_of(st.just(b""), st.text(max_size=40).map(str.encode), st.binary(max_size=40)).map(
    lambda raw: raw.replace(b"\0", b"")
)
times = st.one_of(
    st.integers(-(10**19), 10**19),
    st.integers(-(2**63) * 10**9, 2**63 * 10**9),
    st.integers(-(10**9), 10**12).map(lambda seconds: seconds * 10**9),
)
ids = st.one_of(st.integers(0, 70_000), st.integers(0, 2**63))
sizes = st.one_of(st.integers(0, 2**20), st.integers(0, 2**63), st.just(8**11 - 1), st.just(8**11))


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, int, Attributes]:
    """What ``build_header`` takes."""
    kind = draw(st.sampled_from([FILE, FILE, DIRECTORY, LINK]))
    target = draw(names) if kind == LINK else b""
    facts = (draw(st.integers(0, 0o7777)), draw(times), draw(ids), draw(ids), draw(_owners), draw(_owners), target)
    return draw(names), draw(sizes) if kind == FILE else 0, Attributes(kind, *facts)


def hexdigest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def a_file(name: bytes, size: int, tape_file: int, offset: int, dataset: int, md5: str = "") -> Member:
    return Member(name, FILE, size, hexdigest(name), md5, tape_file, offset, dataset, "0badcafe")


def write_rows(folder: Path, members: Iterable[Member], records: Iterable[DataSetRecord]) -> None:
    """Write files.csv and datasets.csv as a dump does."""
    tables = (FILES, FILES_COLUMNS, map(member_row, members)), (DATASETS, DATASETS_COLUMNS, map(dataset_row, records))
    for name, columns, lines in tables:
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(columns)
            rows.writerows(lines)


def sign(folder: Path) -> None:
    """Make SHA256SUMS fit the catalog's other files."""
    names = (CATALOG_JSON, DATASETS, FILES)
    (folder / SUMS).write_bytes(
        b"".join(sums_line(hexdigest((folder / name).read_bytes()), name.encode()) for name in names)
    )


def _volume(own: Identity, twin: Identity) -> VolumeRecord:
    label = compose_label(own, [twin], BLOCK, NOW)
    return VolumeRecord(
        tag=own.tag,
        uuid=own.uuid,
        copy=own.copy,
        drive_serial="VIRTUAL000",
        label=label.tape_file,
        label_members=label.members,
    )


def make_catalog(folder: Path, members: Sequence[Member], records: Sequence[DataSetRecord], archives: int) -> Catalog:
    """Write the four files of a catalog into the empty ``folder``."""
    write_rows(folder, members, records)
    whole = [record for record in records if not record.reason]
    ends = {member.tape_file: member.offset + member.size for member in members}
    tape_files = [
        TapeFile(number, ARCHIVE if number > 1 else PLAN, (ends.get(number, 0) // BLOCK + 1) * BLOCK + BLOCK, "ab" * 32)
        for number in range(1, archives + 2)
    ]
    catalog = Catalog(
        dump="20240517-030405",
        created=NOW,
        block_size=BLOCK,
        volumes=(_volume(VOLUME, TWIN), _volume(TWIN, VOLUME)),
        tape_files=tuple(tape_files),
        own_members=(),
        datasets=len(whole),
        files=sum(record.files for record in whole),
        size=sum(record.size for record in whole),
        folder=folder,
    )
    (folder / CATALOG_JSON).write_bytes(encode_catalog(catalog, len(records) - len(whole)))
    sign(folder)
    return catalog


def sample_rows() -> tuple[list[Member], list[DataSetRecord]]:
    """Two archives, three data sets: a directory with a link in it, a rejected file, a file."""
    uv = b"data/pot1/data/zen.1.uv"
    link = Member(uv + b"/a link", "link", 0, "", "", 2, 2048, 0, "00000001")
    members = [
        a_file(b"plan.json", 400, 1, 0, -1),
        a_file(b"plan.csv", 300, 1, 1024, -1),
        Member(uv, "dir", 0, "", "", 2, 0, 0, "00000000"),
        a_file(uv + b"/\xff", 1000, 2, 512, 0),
        link,
        a_file(uv + b"/visdata", 100, 2, 2560, 0, "c" * 32),
        a_file(b"data/pot1/data/zen.2.uvh5", 10, 2, 4096, 1),
        a_file(b"SHA256SUMS", 200, 2, 5120, -1),
        a_file(b"data/pot1/data/zen.3.uvh5", 100_000, 3, 0, 2),
        a_file(b"SHA256SUMS", 100, 3, 101_376, -1),
    ]
    records = [
        DataSetRecord(
            number=0,
            source=Source.parse("pot1:/data/zen.1.uv"),
            kind="directory",
            tape_file=2,
            offset=0,
            files=2,
            size=1100,
            md5="c" * 32,
            fingerprint="f" * 64,
            reason="",
        ),
        DataSetRecord(
            number=1,
            source=Source.parse("pot1:/data/zen.2.uvh5"),
            kind="file",
            tape_file=2,
            offset=4096,
            files=1,
            size=11,
            md5="",
            fingerprint="f" * 64,
            reason="shrank while it was read",
        ),
        DataSetRecord(
            number=2,
            source=Source.parse("pot1:/data/zen.3.uvh5"),
            kind="file",
            tape_file=3,
            offset=0,
            files=1,
            size=100_000,
            md5="",
            fingerprint="f" * 64,
            reason="",
        ),
    ]
    return members, records


def sample_catalog(folder: Path) -> Catalog:
    members, records = sample_rows()
    return make_catalog(folder, members, records, archives=2)


def tree(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names (relative) and contents of all files under ``folder``."""
    root = os.fsencode(folder)
    for where, _, files in os.walk(root):
        for name in files:
            path = where + b"/" + name
            with open(path, "rb") as file:
                yield path[len(root) + 1 :], file.read()
