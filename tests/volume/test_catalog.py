"""The catalog: written, read back, and refused where anything in it contradicts the rest (R6, R9)."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.errors import FormatError
from papertape.volume.catalog import (
    CATALOG_JSON,
    DATASETS,
    DATASETS_COLUMNS,
    FILES,
    FILES_COLUMNS,
    SUMS,
    CatalogDocument,
    read_datasets,
    read_files,
)
from papertape.volume.catalogcheck import load_catalog
from papertape.volume.header import LINK
from papertape.volume.label import Label
from papertape.volume.members import DataSetRecord, Member
from papertape.volume.names import Source
from papertape.volume.plan import PLAN_COLUMNS, PlanDocument

from .samples import QUICK, a_file, make_catalog, parts, sample_catalog, sample_rows, sign, write_rows

numbers = st.integers(0, 10**18 - 1)
_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30)
any_members = st.builds(
    Member,
    st.binary(min_size=1, max_size=60),
    st.sampled_from(["file", "dir", "link"]),
    numbers,
    st.one_of(st.just(""), _digests),
    st.one_of(st.just(""), _digests.map(lambda digest: digest[:32])),
    numbers,
    numbers,
    st.integers(-1, 10**9),
    _digests.map(lambda digest: digest[:8]),
)
any_records = st.builds(
    DataSetRecord,
    number=numbers,
    source=parts.map(lambda part: Source("pot1", b"/" + part)),
    kind=st.sampled_from(["file", "directory"]),
    tape_file=numbers,
    offset=numbers,
    files=numbers,
    size=numbers,
    md5=st.just(""),
    fingerprint=_digests,
    reason=_texts,
)


@QUICK
@given(st.lists(any_members, max_size=10), st.lists(any_records, max_size=10))
def test_r6_rows_are_read_back_as_they_were_written(members: list[Member], records: list[DataSetRecord]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, members, records)
        assert list(read_files(folder / FILES)) == members
        assert list(read_datasets(folder / DATASETS)) == records


def test_r6_the_columns_are_those_of_version_1() -> None:
    assert ",".join(FILES_COLUMNS) == "member,kind,bytes,sha256,md5,tape_file,offset,dataset,header_crc32"
    assert ",".join(DATASETS_COLUMNS) == (
        "dataset,source,kind,tape_file,offset,files,bytes,declared_md5,fingerprint,rejected"
    )


@pytest.mark.parametrize(
    "names",
    [
        FILES_COLUMNS,
        DATASETS_COLUMNS,
        PLAN_COLUMNS,
        CatalogDocument.__struct_fields__,
        PlanDocument.__struct_fields__,
        Label.__struct_fields__,
    ],
)
def test_r6_the_format_page_names_every_column_and_field(names: tuple[str, ...]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def test_r6_a_catalog_is_loaded(tmp_path: Path) -> None:
    catalog = sample_catalog(tmp_path)
    document = load_catalog(tmp_path, "PAPR1001")
    assert (document.datasets, document.rejected, document.files, document.bytes) == (2, 1, 3, 101_100)
    assert (document.dump, document.created, document.block_size) == (
        catalog.dump,
        catalog.created,
        catalog.block_size,
    )
    assert [volume.volume_tag for volume in document.volumes] == ["PAPR1001", "PAPR2001"]
    assert list(catalog.members()) == sample_rows()[0]
    assert list(catalog.dataset_records()) == sample_rows()[1]
    assert catalog.expected().rejected == {1}


@st.composite
def dumps(draw: st.DrawFn) -> tuple[list[Member], list[DataSetRecord], int]:
    """The rows of a made-up dump."""
    members = [a_file(b"plan.json", 400, 1, 0, -1), a_file(b"plan.csv", 300, 1, 1024, -1)]
    records: list[DataSetRecord] = []
    archives = draw(st.integers(0, 3))
    for number in range(2, archives + 2):
        offset = 0
        for paths in draw(st.lists(st.lists(parts, max_size=3, unique=True), max_size=4)):
            offset = draw(_dataset(members, records, paths, number, offset))
        members.append(a_file(b"SHA256SUMS", 10, number, offset, -1))
    return members, records, archives


@st.composite
def _dataset(
    draw: st.DrawFn,
    members: list[Member],
    records: list[DataSetRecord],
    inner: list[bytes],
    tape_file: int,
    offset: int,
) -> int:
    number, begin, path = len(records), offset, b"/%d %b" % (len(records), draw(parts))
    sizes = draw(st.lists(st.integers(0, 2000), min_size=len(inner), max_size=len(inner)))
    members.append(Member(b"data/pot1" + path, "dir", 0, "", "", tape_file, offset, number, "00000000"))
    for name, size in zip(inner, sizes, strict=True):
        offset += 512
        members.append(a_file(b"data/pot1" + path + b"/" + name, size, tape_file, offset, number))
        offset += -(-size // 512) * 512
    reason = draw(st.sampled_from(["", "", "shrank, while it was read"]))
    records.append(
        DataSetRecord(
            number=number,
            source=Source("pot1", path),
            kind="directory",
            tape_file=tape_file,
            offset=begin,
            files=len(inner),
            size=sum(sizes),
            md5="",
            fingerprint="f" * 64,
            reason=reason,
        )
    )
    return offset + 512


@QUICK
@given(dumps())
def test_r6_every_catalog_that_a_dump_writes_is_loaded(dump: tuple[list[Member], list[DataSetRecord], int]) -> None:
    members, records, archives = dump
    with tempfile.TemporaryDirectory() as name:
        make_catalog(Path(name), members, records, archives)
        document = load_catalog(Path(name), "PAPR1001")
    assert document.datasets + document.rejected == len(records)


def edit_rows(folder: Path, name: str, row: int, column: str, value: str) -> None:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[row][rows[0].index(column)] = value
    with (folder / name).open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


# rows of files.csv: 1 plan.json, 2 plan.csv, 3 uv, 4 uv/\xff, 5 link, 6 visdata, 7 rejected, 8 SUMS, 9 zen.3, 10 SUMS
@pytest.mark.parametrize(
    ("name", "row", "column", "value", "sentence"),
    [
        (FILES, 4, "member", "../etc/passwd", "not a member name"),
        (FILES, 4, "member", "/etc/passwd", "not a member name"),
        (FILES, 4, "member", "data/pot1/data/zen.1.uv/../x", "not a member name"),
        (FILES, 4, "member", "data/pot1/data/zen.1.uv/./x", "not a member name"),
        (FILES, 4, "member", "data/pot1/data/zen.1.uv//x", "not a member name"),
        (FILES, 4, "member", r"data/pot1/data/zen.1.uv/\x00", "not a member name"),
        (FILES, 4, "member", "", "not a member name"),
        (FILES, 4, "member", "x/pot1/data/zen.1.uv/y", "outside data/"),
        (FILES, 4, "member", "data/pot1/data/zen.1.uvx", "is not in pot1:/data/zen.1.uv"),
        (FILES, 3, "member", "data/pot1/data", "is not the first member of"),
        (FILES, 4, "member", r"data/pot1/data/zen.1.uv/\xFF", "not the text form"),
        (FILES, 4, "member", "data/pot1/data/zen.1.uv/\ud800", "decode"),
        (FILES, 4, "kind", "fifo", "not of a kind"),
        (FILES, 4, "kind", "dir", "not of a kind"),
        (FILES, 3, "kind", "file", "SHA-256"),
        (FILES, 8, "kind", "link", "not of a kind"),
        (FILES, 4, "bytes", "-1", "no number"),
        (FILES, 4, "bytes", "1001", "files and bytes"),
        (FILES, 4, "bytes", "1 000", "no number"),
        (FILES, 4, "bytes", "1_000", "no number"),
        (FILES, 4, "bytes", " 1000", "no number"),
        (FILES, 4, "bytes", "+1000", "no number"),
        (FILES, 4, "bytes", "01000", "no number"),
        (FILES, 4, "bytes", "\u0661\u0660\u0660\u0660", "no number"),
        (FILES, 4, "bytes", "1000.0", "no number"),
        (FILES, 4, "bytes", "", "no number"),
        (FILES, 4, "bytes", "9" * 18, "outside the tape files"),
        (FILES, 4, "bytes", "9" * 5000, "no number"),
        (FILES, 4, "sha256", "", "SHA-256"),
        (FILES, 4, "sha256", "AB" * 32, "SHA-256"),
        (FILES, 4, "sha256", "ab" * 31, "SHA-256"),
        (FILES, 3, "sha256", "ab" * 32, "SHA-256"),
        (FILES, 6, "md5", "x" * 32, "MD5"),
        (FILES, 6, "md5", "d" * 32, "no file with the declared MD5"),
        (FILES, 4, "header_crc32", "123", "header checksum"),
        (FILES, 4, "tape_file", "1", "out of order"),
        (FILES, 4, "tape_file", "4", "outside the tape files"),
        (FILES, 4, "tape_file", "3", "out of order"),
        (FILES, 9, "tape_file", "2", "overlaps another member"),
        (FILES, 4, "offset", "0", "overlaps another member"),
        (FILES, 4, "offset", "513", "outside the tape files"),
        (FILES, 9, "offset", "130560", "outside the tape files"),
        (FILES, 3, "offset", "512", "not where it is said to be"),
        (FILES, 4, "dataset", "7", "files and bytes"),
        (FILES, 9, "dataset", "7", "files and bytes"),
        (FILES, 9, "dataset", "0", "not listed there"),
        (FILES, 4, "dataset", "-2", "no number"),
        (FILES, 4, "dataset", "-1", "after the last member"),
        (FILES, 8, "dataset", "1", "outside data/"),
        (FILES, 1, "member", "plan.txt", "does not list a plan"),
        (FILES, 8, "member", "SHA1SUMS", "at the end of each archive"),
        (FILES, 0, "offset", "place", "other columns"),
        (DATASETS, 0, "source", "origin", "other columns"),
        (DATASETS, 1, "dataset", "1", "in the place of data set 0"),
        (DATASETS, 1, "source", "pot1:/data/zen.9.uv", "is not the first member of"),
        (DATASETS, 1, "source", "pot1:/data/\\", "not the text form"),
        (DATASETS, 1, "kind", "link", "not of a kind"),
        (DATASETS, 1, "kind", "file", "is not the first member of"),
        (DATASETS, 1, "tape_file", "3", "not where it is said to be"),
        (DATASETS, 1, "offset", "512", "not where it is said to be"),
        (DATASETS, 1, "files", "3", "files and bytes"),
        (DATASETS, 1, "bytes", "1101", "files and bytes"),
        (DATASETS, 1, "declared_md5", "d" * 32, "no file with the declared MD5"),
        (DATASETS, 2, "rejected", "", "files and bytes"),
        (DATASETS, 3, "rejected", "because", "it states"),
    ],
)
def test_r9_a_row_that_contradicts_the_rest_is_refused(
    tmp_path: Path, name: str, row: int, column: str, value: str, sentence: str
) -> None:
    sample_catalog(tmp_path)
    edit_rows(tmp_path, name, row, column, value)
    sign(tmp_path)
    with pytest.raises(FormatError, match=f"volume PAPR1001: its catalog contradicts itself: .*({sentence})"):
        load_catalog(tmp_path, "PAPR1001")


def _last_line(content: bytes) -> bytes:
    return content[content.rindex(b"\n", 0, -1) + 1 :]


@pytest.mark.parametrize("name", [FILES, DATASETS])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content.splitlines(keepends=True)[0],
        lambda content: content[: -len(_last_line(content))],
        lambda content: content[:-40],
        lambda content: content + _last_line(content),
        lambda content: content + b"\n",
        lambda content: content + b"a,b\n",
        lambda content: content[:-1] + b",1\n",
        lambda content: content + b'"',
        lambda content: content.replace(b"zen.3", b"zen.\xff3"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content + b"x" * 200_000,
        lambda content: content + b'"' + b"\n" * 200_000,
        lambda content: content.replace(b"zen", b"z\0n"),
    ],
)
def test_r9_a_cut_or_spoilt_list_is_refused(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    sample_catalog(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    sign(tmp_path)
    with pytest.raises(FormatError, match="contradicts itself"):
        load_catalog(tmp_path, "PAPR1001")


def edit_document(folder: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((folder / CATALOG_JSON).read_bytes())
    change(document)
    (folder / CATALOG_JSON).write_text(json.dumps(document))
    sign(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(format="tapepaper"),
        lambda it: it.update(format_version=0),
        lambda it: it.update(format_version="1"),
        lambda it: it.pop("format_version"),
        lambda it: it.update(block_size=0),
        lambda it: it.update(block_size=65537),
        lambda it: it.update(block_size=131072, created="then"),
        lambda it: it.update(datasets=3),
        lambda it: it.update(rejected=0),
        lambda it: it.update(files=4),
        lambda it: it.update(bytes=-1),
        lambda it: it.update(bytes="101100"),
        lambda it: it.update(volumes=[]),
        lambda it: it["volumes"].append(it["volumes"][0]),
        lambda it: it["volumes"][0]["label"].update(bytes=1),
        lambda it: it["volumes"][0]["label"].update(structure=""),
        lambda it: it["volumes"][0]["label"]["members"][0].__setitem__(0, "../x"),
        lambda it: it["volumes"][0]["label"]["members"][1].__setitem__(3, 0),
        lambda it: it["volumes"][0]["label"]["members"][1].pop(),
        lambda it: it.update(tape_files=[]),
        lambda it: it["tape_files"].pop(),
        lambda it: it["tape_files"].append(it["tape_files"][-1]),
        lambda it: it["tape_files"].reverse(),
        lambda it: it["tape_files"][0].update(kind="archive"),
        lambda it: it["tape_files"][1].update(kind="plan"),
        lambda it: it["tape_files"][1].update(tape_file=7),
        lambda it: it["tape_files"][1].update(bytes=0),
        lambda it: it["tape_files"][1].update(bytes=65536 + 512),
        lambda it: it["tape_files"][2].update(bytes=65536),
        lambda it: it["tape_files"][1].update(structure="ab" * 31),
        lambda it: it.clear(),
    ],
)
def test_r9_a_document_that_contradicts_the_rest_is_refused(tmp_path: Path, change: Callable[[dict], object]) -> None:
    sample_catalog(tmp_path)
    edit_document(tmp_path, change)
    with pytest.raises(FormatError, match="contradicts itself"):
        load_catalog(tmp_path, "PAPR1001")


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff", b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000])
def test_r9_what_is_no_document_is_refused(tmp_path: Path, content: bytes) -> None:
    sample_catalog(tmp_path)
    (tmp_path / CATALOG_JSON).write_bytes(content)
    sign(tmp_path)
    with pytest.raises(FormatError, match="contradicts itself"):
        load_catalog(tmp_path, "PAPR1001")


@pytest.mark.parametrize("version", [2, 10**17, 2.0])
def test_r9_a_newer_catalog_is_refused_by_name(tmp_path: Path, version: float) -> None:
    sample_catalog(tmp_path)
    edit_document(tmp_path, lambda it: it.update(format_version=version, tape_files="of another kind"))
    with pytest.raises(FormatError, match=r"format version .*use a newer one"):
        load_catalog(tmp_path, "PAPR1001")


@pytest.mark.parametrize("name", [CATALOG_JSON, DATASETS, FILES, SUMS])
def test_r9_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    sample_catalog(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=name):
        load_catalog(tmp_path, "PAPR1001")


@pytest.mark.parametrize(
    "change",
    [
        lambda sums: b"",
        lambda sums: sums[:-1],
        lambda sums: sums + sums,
        lambda sums: sums.replace(b"\n", b"\r\n"),
        lambda sums: sums.upper(),
        lambda sums: b"".join(reversed(sums.splitlines(keepends=True))),
        lambda sums: b"\xff" + sums,
    ],
)
def test_r11_the_sums_cover_the_catalog(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    sample_catalog(tmp_path)
    (tmp_path / SUMS).write_bytes(change((tmp_path / SUMS).read_bytes()))
    with pytest.raises(FormatError, match="SHA256SUMS is not that of its files"):
        load_catalog(tmp_path, "PAPR1001")


_names = st.sampled_from([CATALOG_JSON, DATASETS, FILES, SUMS])
_changes = st.tuples(
    st.integers(0, 10**6), st.integers(0, 12), st.one_of(st.binary(max_size=12), _texts.map(str.encode))
)


def mutate(path: Path, changes: list[tuple[int, int, bytes]]) -> None:
    content = bytearray(path.read_bytes())
    for at, length, new in changes:
        where = at % (len(content) + 1)
        content[where : where + length] = new
    path.write_bytes(content)


@QUICK
@given(_names, st.lists(_changes, min_size=1, max_size=3))
def test_r11_any_change_to_a_catalog_is_noticed(name: str, changes: list[tuple[int, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample_catalog(Path(folder))
        before = (Path(folder) / name).read_bytes()
        mutate(Path(folder) / name, changes)
        if (Path(folder) / name).read_bytes() != before:
            with pytest.raises(FormatError):
                load_catalog(Path(folder), "PAPR1001")


@QUICK
@given(_names, st.lists(_changes, min_size=1, max_size=2))
def test_r9_a_mutated_catalog_raises_nothing_but_format_errors(
    name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample_catalog(Path(folder))
        mutate(Path(folder) / name, changes)
        sign(Path(folder))
        with contextlib.suppress(FormatError):
            load_catalog(Path(folder), "PAPR1001")


@pytest.mark.parametrize("kind", ["dir", LINK])
def test_r7_a_directory_or_a_link_has_no_bytes(tmp_path: Path, kind: str) -> None:
    sample_catalog(tmp_path)
    edit_rows(tmp_path, FILES, 5, "kind", kind)
    edit_rows(tmp_path, FILES, 5, "bytes", "1")
    sign(tmp_path)
    with pytest.raises(FormatError, match="not of a kind"):
        load_catalog(tmp_path, "PAPR1001")
