"""The predecessor's archives: what ``tarfile`` and GNU tar wrote is read, and nothing else is believed."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.volume.samples import QUICK, THOROUGH, headers, names

from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes, build_header
from papertape.volume.predecessor.archive import (
    HARD_LINK,
    LONGEST_EXTENSION,
    SPECIAL,
    PredecessorListing,
    PredecessorMember,
    PredecessorScanner,
    PredecessorStray,
)
from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK
from papertape.volume.tapefile import MemberData, ScanError
from predecessor import (
    FORMS,
    JOB,
    Form,
    OldVolume,
    Source,
    compose_archive,
    compose_inner,
    compose_list,
    compose_outer,
    cut,
    make_sources,
)

FOLDER = f"paper.{JOB}.3"
TYPES = {FILE: tarfile.REGTYPE, DIRECTORY: tarfile.DIRTYPE, LINK: tarfile.SYMTYPE}


class Seen:
    """What a scanner says of an archive."""

    def __init__(self) -> None:
        self.members: list[tuple[PredecessorMember, bytes]] = []  # whole ones, with their data
        self.listing = b""
        self.strays: list[bytes] = []
        self.errors: list[str] = []
        self.jobs: tuple[str, ...] = ()
        self.complete = False
        self._data = b""

    @property
    def names(self) -> list[bytes]:
        return [member.name for member, _ in self.members]

    def take(self, event: PredecessorMember | MemberData | PredecessorListing | PredecessorStray) -> None:
        if isinstance(event, PredecessorMember):
            self._begun = event
            self._data = b""
            if event.kind != FILE:
                self.members.append((event, b""))
        elif isinstance(event, MemberData):
            self._data += event.data
            if event.last:
                self.members.append((self._begun, self._data))
        elif isinstance(event, PredecessorListing):
            self.listing += event.data
        else:
            self.strays.append(event.name)


def scan(blocks: Iterable[bytes], number: int = 3) -> Seen:
    seen, scanner = Seen(), PredecessorScanner(number)
    for block in blocks:
        events = scanner.feed(memoryview(block))
        while True:
            try:
                for event in events:
                    seen.take(event)
                break
            except ScanError as error:
                seen.errors.append(error.reason)
                events = scanner.feed_again()
    seen.jobs, seen.complete = scanner.jobs, scanner.complete
    return seen


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def wrap(inner: bytes, name: str = f"papertape/shm/{FOLDER}.tar") -> bytes:
    """Return an archive with this inner tar, as GNU tar would make it, and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(inner)
        archive.addfile(info, io.BytesIO(inner))
    return buffer.getvalue()


def as_tarinfo(name: bytes, data: bytes, attributes: Attributes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{FOLDER}/{os.fsdecode(name)}")
    info.type, info.mode = TYPES[attributes.kind], attributes.mode
    info.size = len(data)
    info.mtime = attributes.mtime / 10**9  # as tarfile itself sets it
    info.uid, info.gid = attributes.uid, attributes.gid
    info.uname, info.gname = os.fsdecode(attributes.user), os.fsdecode(attributes.group)
    info.linkname = os.fsdecode(attributes.target)
    return info


def compose(form: str, members: Sequence[tuple[bytes, bytes, Attributes]]) -> bytes:
    """Return an inner tar of (name, data, attributes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMS[form], encoding="utf-8") as archive:
        for member in members:
            archive.addfile(as_tarinfo(*member), io.BytesIO(member[1]))
    return buffer.getvalue()


PLAIN = Attributes(FILE, 0o644, 10**18)
_seconds = st.integers(0, 8**12).map(lambda seconds: seconds * 10**9)
_owners = st.integers(0, 2**32)


@st.composite
def members_strategy(draw: st.DrawFn) -> list[tuple[bytes, bytes, Attributes]]:
    """Files, directories and links with names of any length."""
    members = []
    for number in range(draw(st.integers(0, 6))):
        name, _, attributes = draw(headers())
        name = b"h%d:/" % number + b"/".join(part for part in name.split(b"/") if part not in {b"", b".", b".."})
        name = name[:3000].rstrip(b"/")
        user, group = attributes.user[:31], attributes.group[:31]
        owner, mtime = (draw(_owners), draw(_owners)), draw(_seconds)
        attributes = attributes._replace(mtime=mtime, uid=owner[0], gid=owner[1], user=user, group=group)
        data = draw(st.binary(max_size=1500)) if attributes.kind == FILE else b""
        members.append((name, data, attributes))
    return members


@pytest.mark.parametrize("form", FORMS)
@THOROUGH
@given(members_strategy(), st.sampled_from([512, ARCHIVE_BLOCK, 1 << 20]))
def test_an_archive_of_tarfile_is_read_as_it_was_written(
    form: str, members: list[tuple[bytes, bytes, Attributes]], size: int
) -> None:
    seen = scan(cut(wrap(compose(form, members)), size))
    assert not seen.errors
    assert seen.complete
    assert [(member.name, data) for member, data in seen.members] == [(name, data) for name, data, _ in members]
    for (member, data), (_, _, attributes) in zip(seen.members, members, strict=True):
        assert member.size == len(data)
        assert member.attributes == attributes


@pytest.mark.parametrize("form", FORMS)
def test_times_are_read_as_tarfile_wrote_them(form: str) -> None:
    times = [0, 10**18 + 250_000_000, 1_700_000_000_123_456_789, -1_500_000_000, 8**11 * 10**9]
    members = [(b"h:/%d" % number, b"", PLAIN._replace(mtime=mtime)) for number, mtime in enumerate(times)]
    seen = scan([wrap(compose(form, members))])
    exact = [int(mtime / 10**9) * 10**9 for mtime in times]
    for (member, _), whole, mtime in zip(seen.members, exact, times, strict=True):
        if form == "gnu":
            assert member.attributes.mtime == whole
        else:
            assert member.attributes.mtime == pytest.approx(mtime, abs=1000)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_sizes_and_owners_that_take_more_than_octal_digits(form: str) -> None:
    info = as_tarinfo(b"h:/large", b"", PLAIN._replace(uid=2**31, gid=2**32 - 2))
    info.size = 2**40
    header = info.tobuf(format=FORMS[form])
    outer = tarfile.TarInfo(f"papertape/shm/{FOLDER}.tar")
    outer.size = 2**41
    block = memoryview(outer.tobuf(format=tarfile.GNU_FORMAT) + header)
    (event,) = PredecessorScanner(3).feed(block)
    assert isinstance(event, PredecessorMember)
    assert (event.size, event.attributes.uid, event.attributes.gid) == (2**40, 2**31, 2**32 - 2)


@pytest.mark.parametrize("number", range(4))
def test_an_archive_of_a_volume_of_600_data_sets(old_volume: OldVolume, number: int) -> None:
    content = old_volume.tape_files[number + 1]
    seen = scan(cut(content, ARCHIVE_BLOCK), number)
    assert (seen.errors, seen.strays, seen.complete, seen.jobs) == ([], [], True, (old_volume.heading.job,))
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        listing, inner = (outer.extractfile(member) for member in outer.getmembers())
        assert listing is not None
        assert seen.listing == listing.read()
        with tarfile.open(fileobj=inner) as archive:
            expected = archive.getmembers()
            files = [archive.extractfile(info) for info in expected]
    assert seen.names == [raw(info.name.partition("/")[2]) for info in expected]
    for (member, data), info, file in zip(seen.members, expected, files, strict=True):
        assert data == (file.read() if file else b"")
        assert member.kind == (DIRECTORY if info.isdir() else FILE)
        assert member.attributes.mtime == int(info.mtime * 4) * 250_000_000


@pytest.mark.parametrize("form", [Form(), Form("gnu"), Form(listed=False), Form(place="queue"), Form(job="1")])
def test_every_way_in_which_it_wrote_archives(tmp_path: Path, form: Form) -> None:
    sources = make_sources(tmp_path / "disk", 3)
    seen = scan(cut(compose_archive(tmp_path, 3, sources, form), ARCHIVE_BLOCK))
    assert (seen.errors, seen.strays, seen.complete, seen.jobs) == ([], [], True, (form.job,))
    assert seen.listing == (compose_list(3, sources) if form.listed else b"")
    assert len(seen.members) == 18
    for member, data in seen.members:
        source = next(source for source in sources if member.name.startswith(source.name))
        path = Path(os.fsdecode(bytes(source.path) + member.name.removeprefix(source.name)))
        assert data == (path.read_bytes() if path.is_file() else b"")
        assert member.attributes.mode == path.stat().st_mode & 0o7777
        if form.inner == "pax":
            assert member.attributes.mtime == path.stat().st_mtime_ns


def test_the_oldest_dumps_with_directories_above_the_data_sets(tmp_path: Path) -> None:
    make_sources(tmp_path / "disk" / "pot1:", 2)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(tmp_path / "disk", arcname=FOLDER)
    seen = scan([wrap(buffer.getvalue(), f"{FOLDER}.tar")])
    assert seen.names[:4] == [b"", b"pot1:", b"pot1:/data1", b"pot1:/data1/2457000"]
    assert not seen.errors


def test_links_and_what_has_no_data(tmp_path: Path) -> None:
    uv = tmp_path / "zen.uv"
    uv.mkdir()
    (uv / "a").write_bytes(b"x" * 600)
    (uv / "b").hardlink_to(uv / "a")
    (uv / "c").symlink_to("a")
    os.mkfifo(uv / "d")
    (uv / "e").write_bytes(b"y")
    for form in FORMS:
        seen = scan([wrap(compose_inner(FOLDER, [Source(b"h:/zen.uv", uv)], form))])
        assert not seen.errors
        kinds = [(member.name[9:], member.kind, data) for member, data in seen.members]
        assert kinds == [
            (b"", DIRECTORY, b""),
            (b"/a", FILE, b"x" * 600),
            (b"/b", HARD_LINK, b""),
            (b"/c", LINK, b""),
            (b"/d", SPECIAL, b""),
            (b"/e", FILE, b"y"),
        ]
        targets = [member.attributes.target for member, _ in seen.members]
        assert targets[2].endswith(b"h:/zen.uv/a")
        assert targets[3] == b"a"


def test_data_is_handed_out_without_a_copy() -> None:
    block = memoryview(bytearray(wrap(compose("pax", [(b"h:/a", b"x" * 5000, PLAIN)]))))
    pieces = [event for event in PredecessorScanner(3).feed(block) if isinstance(event, MemberData)]
    assert [bytes(piece.data) for piece in pieces] == [b"x" * 5000]
    assert pieces[0].data.obj is block.obj


def test_members_of_another_archive_are_reported_and_passed_over() -> None:
    inner = compose("pax", [(b"h:/a", b"x", PLAIN)])
    names = [f"papertape/shm/paper.{JOB}.4.tar", "etc/passwd", f"papertape/shm/{FOLDER}.tar.gz"]
    for name in names:
        seen = scan([wrap(inner, name)])
        assert (seen.strays, seen.members, seen.errors) == ([name.encode()], [], [])
        assert seen.complete


def test_the_job_numbers_of_both_tars_are_returned() -> None:
    inner = compose("pax", [(b"h:/a", b"x", PLAIN)])
    seen = scan([wrap(inner, "papertape/shm/paper.000000001.3.tar")])
    assert (seen.names, seen.errors, seen.jobs) == ([b"h:/a"], [], ("000000001", JOB))


def test_a_second_inner_tar_is_reported_and_passed_over(tmp_path: Path) -> None:
    inner = compose("pax", [(b"h:/a", b"x", PLAIN)])
    names = [f"papertape/shm/{FOLDER}.tar", f"papertape/queue/{JOB}/{FOLDER}.tar"]
    seen = scan([compose_outer(tmp_path, [(name, inner) for name in names])])
    assert (seen.strays, seen.names) == ([names[1].encode()], [b"h:/a"])


@pytest.mark.parametrize(
    "name", ["h:/../a", "h://a", "h:/./a", "../x", "/h:/a", "h:/a/..", f"../paper.{JOB}.4/h:/a", "h:/a/."]
)
@pytest.mark.parametrize("form", FORMS)
def test_names_that_lead_elsewhere_are_refused(form: str, name: str) -> None:
    inner = compose(form, [(name.encode(), b"evil", PLAIN), (b"h:/good", b"good", PLAIN)])
    seen = scan([wrap(inner)])
    assert seen.names == [b"h:/good"]
    assert len(seen.errors) == 1


def test_a_member_of_another_archives_folder_is_refused() -> None:
    info = tarfile.TarInfo(f"paper.{JOB}.4/h:/a")
    seen = scan([wrap(info.tobuf() + bytes(1024))])
    assert (seen.members, len(seen.errors)) == ([], 1)


@pytest.mark.parametrize("form", FORMS)
def test_after_a_damaged_header_the_next_member_is_found(form: str) -> None:
    members = [(b"h:/%d" % number, b"x" * 700, PLAIN) for number in range(5)]
    content = bytearray(wrap(compose(form, members)))
    begins = [at for at in range(512, len(content), 512) if content[at : at + 9] == b"paper.004"]
    assert len(begins) == 5
    for number, begin in enumerate(begins):
        content[begin + 8] ^= 0xFF
        seen = scan(cut(bytes(content), ARCHIVE_BLOCK))
        content[begin + 8] ^= 0xFF
        assert seen.names == [name for name, *_ in members[:number] + members[number + 1 :]]
        assert len(seen.errors) == 1
        assert seen.complete


def test_a_header_of_zeros_is_no_end() -> None:
    members = [(b"h:/%d" % number, b"x" * 700, PLAIN) for number in range(5)]
    content = bytearray(wrap(compose("gnu", members)))
    begin = content.index(b"paper.004711123.3/h:/2")
    content[begin : begin + 512] = bytes(512)
    seen = scan([bytes(content)])
    assert seen.names == [b"h:/0", b"h:/1", b"h:/3", b"h:/4"]
    assert seen.errors == ["there is something after the end of the archive"]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_header_of_the_outer_tar_costs_none_of_the_inner(tmp_path: Path, listed: bool, which: int) -> None:
    sources = make_sources(tmp_path / "disk", 3)
    content = bytearray(compose_archive(tmp_path, 3, sources, Form(listed=listed)))
    begins = [at for at in range(0, len(content), 512) if content[at : at + 10] == b"papertape/"]
    content[begins[which % len(begins)]] ^= 1
    seen = scan(cut(bytes(content), ARCHIVE_BLOCK))
    assert len(seen.members) == 18
    assert len(seen.errors) == 1
    assert seen.complete


def test_an_archive_cut_off_is_not_complete() -> None:
    members = [(b"h:/%d" % number, b"x" * 5000, PLAIN) for number in range(5)]
    blocks = cut(wrap(compose("pax", members)), ARCHIVE_BLOCK)
    for count in range(len(blocks)):
        assert not scan(blocks[:count]).complete
    assert scan(blocks).complete


def test_an_inner_tar_cut_off_is_reported() -> None:
    inner = compose("pax", [(b"h:/%d" % number, b"x" * 5000, PLAIN) for number in range(5)])
    last = inner.rindex(b"x") // 512 + 1
    for records in range(last + 1):
        seen = scan([wrap(inner[: records * 512])])
        assert seen.errors
        assert seen.complete


def set_type(header: bytes, type_: bytes, size: int | None = None) -> bytes:
    record = bytearray(header)
    record[156:157] = type_
    if size is not None:
        record[124:136] = b"%011o\0" % size
    record[148:156] = b"        "
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record)


HEADER = tarfile.TarInfo(f"{FOLDER}/h:/a").tobuf(format=tarfile.GNU_FORMAT)


@pytest.mark.parametrize("type_", [b"g", b"S", b"D", b"V", b"M", b"N", b"\xff", b"8"])
def test_types_that_it_never_wrote_are_refused(type_: bytes) -> None:
    seen = scan([wrap(set_type(HEADER, type_) + compose("gnu", [(b"h:/b", b"", PLAIN)]))])
    assert len(seen.errors) == 1
    assert seen.names == [b"h:/b"]


@pytest.mark.parametrize("type_", [b"x", b"L", b"K"])
@pytest.mark.parametrize("size", [0, LONGEST_EXTENSION + 1, 8**11 - 1])
def test_extensions_of_no_sensible_length_are_refused(type_: bytes, size: int) -> None:
    seen = scan([wrap(set_type(HEADER, type_, size) + compose("gnu", [(b"h:/b", b"", PLAIN)]))])
    assert (seen.names, len(seen.errors)) == ([b"h:/b"], 1)


def test_one_extension_of_a_kind_is_enough() -> None:
    twice = (set_type(HEADER, b"L", 512) + b"n" * 512) * 2
    seen = scan([wrap(twice + compose("gnu", [(b"h:/b", b"", PLAIN)]))])
    assert (seen.names, len(seen.errors)) == ([b"h:/b"], 1)


def test_a_member_longer_than_its_archive_is_refused() -> None:
    seen = scan([wrap(set_type(HEADER, b"0", 10**9) + compose("gnu", [(b"h:/b", b"", PLAIN)]))])
    assert (seen.names, len(seen.errors)) == ([b"h:/b"], 1)


def test_a_scanner_holds_one_members_headers_and_no_more() -> None:
    filling = memoryview((set_type(HEADER, b"x", LONGEST_EXTENSION) + b"x" * LONGEST_EXTENSION) * 60)
    outer = tarfile.TarInfo(f"papertape/shm/{FOLDER}.tar")
    outer.size = 10**12
    scanner = PredecessorScanner(3)
    deque(scanner.feed(memoryview(outer.tobuf())), 0)
    tracemalloc.start()
    try:
        for _ in range(20):
            events = scanner.feed(filling)
            while True:
                try:
                    deque(events, 0)
                    break
                except ScanError:
                    events = scanner.feed_again()
        assert tracemalloc.get_traced_memory()[1] < 16 * LONGEST_EXTENSION
    finally:
        tracemalloc.stop()


def test_hostile_job_numbers_do_not_pile_up() -> None:
    infos = [tarfile.TarInfo(f"paper.{number}.3/h:/a").tobuf() for number in range(100)]
    seen = scan([wrap(b"".join(infos) + bytes(1024))])
    assert len(seen.names) == 100
    assert len(seen.jobs) == 4


_record = st.one_of(
    st.binary(min_size=512, max_size=512),
    st.just(bytes(512)),
    st.sampled_from(cut(wrap(compose("pax", [(b"h:/a", b"x" * 900, PLAIN), (b"h:/" + b"n" * 200, b"", PLAIN)])), 512)),
    st.sampled_from(cut(wrap(compose("gnu", [(b"h:/a", b"x" * 900, PLAIN), (b"h:/" + b"n" * 200, b"", PLAIN)])), 512)),
    st.builds(set_type, st.just(HEADER), st.sampled_from([b"x", b"L", b"K", b"0", b"5"]), st.integers(0, 4096)),
)


@THOROUGH
@given(st.lists(_record, max_size=40), st.sampled_from([512, 1024, 100, 777, 5000]), st.booleans())
def test_arbitrary_records_raise_nothing_but_scan_errors(records: list[bytes], size: int, wrapped: bool) -> None:
    content = b"".join(records)
    content = wrap(content) if wrapped else content
    seen = scan(cut(content, size))
    assert len(seen.errors) <= 2 * len(content) // min(size, 512) + 2


_edits = st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=40)), max_size=6)


@pytest.mark.parametrize("form", FORMS)
@THOROUGH
@given(_edits, st.integers(0, 40_000), st.sampled_from([512, ARCHIVE_BLOCK, 1000]))
def test_mutated_archives_raise_nothing_but_scan_errors(
    form: str, edits: list[tuple[int, bytes]], length: int, size: int
) -> None:
    members = [(b"h:/" + b"n" * 40 * number, b"x" * 400 * number, PLAIN) for number in range(1, 6)]
    content = bytearray(wrap(compose(form, members)))
    for at, new in edits:
        where = at % len(content)
        content[where : where + len(new)] = new
    for member, data in scan(cut(bytes(content[:length]), size)).members:
        assert member.size == len(data)


@QUICK
@given(names)
def test_no_name_leads_out_of_the_archives_folder(name: bytes) -> None:
    info = tarfile.TarInfo(f"{FOLDER}/{os.fsdecode(name)}")
    for form in FORMS.values():
        for found in scan([wrap(info.tobuf(format=form, encoding="utf-8") + bytes(10240))]).names:
            assert found == name
            assert not {b"", b".", b".."} & set(found.split(b"/"))


def test_headers_of_papertapes_own_are_read_too() -> None:
    header = build_header(FOLDER.encode() + b"/h:/" + "é".encode() * 100, 0, PLAIN)
    assert scan([wrap(header + bytes(1024))]).names == [b"h:/" + "é".encode() * 100]
