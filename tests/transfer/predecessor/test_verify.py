"""The predecessor's volumes, read back: good ones are good, and what is wrong is found and named."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transfer.tapes import MemoryDrive

from papertape.errors import DriveError, Interrupted
from papertape.events import Event, Found, Moved, Note, Tell, tell_all
from papertape.evidence import Finding, Verification
from papertape.tape.drive import Mark
from papertape.transfer.predecessor.verify import PredecessorReading
from papertape.transfer.stop import Stop
from papertape.transfer.verify import MOST_FINDINGS, Reading, verify_readings
from papertape.volume.predecessor.catalog import (
    ARCHIVE_BLOCK,
    CATALOG_BLOCK,
    PredecessorCatalog,
    parse_predecessor_catalog,
)
from predecessor import (
    JOB,
    LATEST,
    TAGS,
    Form,
    OldVolume,
    Source,
    compose_archive,
    compose_catalog,
    compose_inner,
    compose_list,
    compose_outer,
    compose_tape,
    lay_out,
    make_sources,
    make_uv,
    mounted,
)
from stories import BLOCK, Lab, make_lab, make_night, noise

SETTINGS = settings(max_examples=150, deadline=None)
TAG = TAGS[0]
Tape = Sequence[bytes | Mark]
FORMS = [Form(), Form("gnu"), Form(listed=False), Form(place="queue"), Form("gnu", listed=False, place="queue")]


class Notes:
    """Keeps what a reading tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.findings: list[str] = []
        self.moved_bytes = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Note():
                self.notes.append(event.sentence)
            case Found():
                self.findings.append(f"{event.volume}: {event.sentence}")
            case Moved():
                self.moved_bytes += event.count


def verify(tape: Tape, catalog: PredecessorCatalog | None = None, tell: Tell | None = None) -> Verification:
    drive = MemoryDrive(0)
    drive.tape = list(tape)
    return PredecessorReading(TAG, catalog, drive, tell or tell_all(), Stop()).run()


def told(tape: Tape, catalog: PredecessorCatalog | None = None) -> list[tuple[str, int | None, str | None]]:
    """Return kind, tape file and member of what is found wrong."""
    verification = verify(tape, catalog)
    for finding in verification.findings:
        assert finding.volume == TAG
        assert finding.sentence().isprintable()
    return [(finding.kind, finding.tape_file, finding.member) for finding in verification.findings]


def only(tape: Tape, catalog: PredecessorCatalog | None = None) -> Finding:
    (finding,) = verify(tape, catalog).findings
    return finding


class Volume(NamedTuple):
    """Twelve archives of four data sets."""

    sources: list[Source]
    tape_files: list[bytes]
    catalog: PredecessorCatalog

    def changed(self, number: int, content: bytes) -> Tape:
        """The tape with another tape file in place of this one."""
        return lay_out([*self.tape_files[:number], content, *self.tape_files[number + 1 :]])


def make_volume(folder: Path, count: int, form: Form = LATEST, each: int = 4) -> Volume:
    sources = make_sources(folder / "disk", count)
    archives = [sources[at : at + each] for at in range(0, count, each)]
    tape_files = compose_tape(folder, archives, form)
    return Volume(sources, tape_files, parse_predecessor_catalog(tape_files[0], TAG))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return make_volume(tmp_path_factory.mktemp("volume"), 48)


@pytest.fixture(scope="module", params=FORMS)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """Two archives of two data sets."""
    return make_volume(tmp_path_factory.mktemp("small"), 4, request.param, each=2)


def test_a_volume_of_600_data_sets_is_good(old_volume: OldVolume, tmp_path: Path) -> None:
    tell = Notes()
    with mounted(tmp_path / "library", H0C10001=lay_out(old_volume.tape_files)) as (drive,):
        reading = PredecessorReading(TAG, None, drive, tell, Stop())
        (verification,) = verify_readings([reading], tell, Stop())
        assert drive.status().at_bot
    assert verification.ok, verification.findings
    assert verification.files == 600
    assert verification.bytes == tell.moved_bytes == sum(map(len, old_volume.tape_files))
    assert reading.catalog is not None
    assert (reading.catalog.job, len(reading.catalog.items)) == (old_volume.heading.job, 600)
    assert not tell.notes


@pytest.mark.parametrize("given_catalog", [True, False])
def test_both_of_a_pair_at_once(tmp_path: Path, volume: Volume, given_catalog: bool) -> None:
    tape = lay_out(volume.tape_files)
    catalog = volume.catalog if given_catalog else None
    with mounted(tmp_path / "library", **dict.fromkeys(TAGS, tape)) as drives:
        readings = [
            PredecessorReading(tag, catalog, drive, tell_all(), Stop()) for tag, drive in zip(TAGS, drives, strict=True)
        ]
        verifications = verify_readings(readings, tell_all(), Stop())
    assert [(v.volume, v.drive, v.ok, v.files) for v in verifications] == [
        (TAGS[0], 0, True, 48),
        (TAGS[1], 1, True, 48),
    ]
    assert {v.bytes for v in verifications} == {sum(map(len, volume.tape_files))}


def papertapes_own(lab: Lab) -> Reading:
    """Dump a night; return the reading of the first copy."""
    lab.add(*make_night(lab.folder / "night"))
    dump = lab.dump()
    assert dump.error is None
    (record,) = lab.ledger.dumps.all()
    expected = lab.ledger.contents.expected(record.id)
    drive = MemoryDrive(1)
    for path in lab.tape_files(expected.volumes[0].tag):
        content = path.read_bytes()
        drive.tape += [*(content[at : at + BLOCK] for at in range(0, len(content), BLOCK)), Mark.FILEMARK]
    return Reading(expected, expected.volumes[0], drive, tell_all(), Stop())


def test_side_by_side_with_a_volume_of_papertapes(tmp_path: Path, volume: Volume) -> None:
    lab = make_lab(tmp_path / "lab")
    drive = MemoryDrive(0)
    drive.tape = list(lay_out(volume.tape_files))
    predecessor = PredecessorReading(TAG, volume.catalog, drive, tell_all(), Stop(), total=12345)
    results = verify_readings([predecessor, papertapes_own(lab)], tell_all(), Stop())
    assert [(result.volume, result.ok) for result in results] == [(TAG, True), ("PAPR1001", True)]
    assert predecessor.total == 12345
    lab.ledger.close()


@pytest.mark.parametrize("form", FORMS)
def test_every_way_in_which_it_wrote_volumes(tmp_path: Path, form: Form) -> None:
    volume = make_volume(tmp_path, 4, form, each=2)
    tell = Notes()
    verification = verify(lay_out(volume.tape_files), None, tell)
    assert (verification.findings, verification.files, tell.notes) == ((), 4, [])


def test_another_job_number_inside_is_noted(tmp_path: Path) -> None:
    tell = Notes()
    verification = verify(lay_out(make_volume(tmp_path, 4, Form(job="000999888")).tape_files), None, tell)
    assert (verification.ok, verification.files) == (True, 4)
    (note,) = tell.notes
    assert note.startswith(f"{TAG}: tape file 1 has the job number 000999888 inside, its catalog {JOB}")


def test_the_oldest_dumps_with_directories_above_the_data_sets(tmp_path: Path) -> None:
    sources = make_sources(tmp_path / "disk" / "pot1:", 4)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(tmp_path / "disk", arcname=f"paper.{JOB}.0")
    content = compose_outer(tmp_path, [(f"papertape/queue/{JOB}/paper.{JOB}.0.tar", buffer.getvalue())])
    catalog = compose_catalog([[(source.name, source.md5) for source in reversed(sources)]])
    verification = verify(lay_out([catalog, content]))
    assert (verification.findings, verification.files) == ((), 4)


def test_a_catalog_of_several_blocks(tmp_path: Path) -> None:
    sources = [Source(b"pot1:/data/%05d.uvh5" % number, tmp_path / f"{number}") for number in range(1500)]
    for source in sources:
        source.path.write_bytes(source.name)
    tape_files = compose_tape(tmp_path, [sources[:700], sources[700:]])
    assert len(tape_files[0]) == 3 * CATALOG_BLOCK
    verification = verify(lay_out(tape_files))
    assert (verification.findings, verification.files) == ((), 1500)


@pytest.mark.parametrize("inner", ["pax", "gnu"])
def test_names_of_any_length_and_any_bytes(tmp_path: Path, inner: str) -> None:
    names = [
        b"a blank",
        b"a:colon",
        b"\xff not utf-8",
        "望遠鏡".encode(),
        b"n" * 200,
        b"back\\slash",
        b"/".join([b"d" * 90] * 9),
    ]
    sources = [
        Source(b"pot1:/data/" + name, make_uv(tmp_path / f"{seed}", seed=seed)) for seed, name in enumerate(names)
    ]
    verification = verify(lay_out(compose_tape(tmp_path, [sources], Form(inner))))
    assert (verification.findings, verification.files) == ((), len(names))


def data_places(content: bytes, name: str) -> list[tuple[int, int]]:
    """Return where the data of the members that end with ``name`` lies in an archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        begin = outer.getmembers()[-1].offset_data
        with tarfile.open(fileobj=outer.extractfile(outer.getmembers()[-1])) as inner:
            infos = [info for info in inner if info.name.endswith(name)]
    return [(begin + info.offset_data, begin + info.offset_data + info.size) for info in infos]


def flip(content: bytes, at: int, mask: int = 1) -> bytes:
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


def test_a_byte_flipped_on_one_of_a_pair_is_found_there_alone(tmp_path: Path, volume: Volume) -> None:
    begin, _ = data_places(volume.tape_files[3], "/visdata")[1]
    bad = volume.changed(3, flip(volume.tape_files[3], begin + 1234))
    with mounted(tmp_path / "library", H0C10001=bad, H0C20001=lay_out(volume.tape_files)) as drives:
        readings = [
            PredecessorReading(tag, None, drive, tell_all(), Stop()) for tag, drive in zip(TAGS, drives, strict=True)
        ]
        first, second = verify_readings(readings, tell_all(), Stop())
    assert second.ok
    assert (first.files, second.files) == (47, 48)
    (finding,) = first.findings
    source = volume.sources[9]
    assert (finding.kind, finding.tape_file, finding.member) == ("DigestMismatch", 3, source.name.decode())
    assert finding.expected == source.md5 != finding.found


@SETTINGS
@given(data=st.data())
def test_any_flipped_byte_of_a_visdata_is_found(volume: Volume, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 12))
    content = volume.tape_files[number]
    index = data.draw(st.integers(0, 3))
    begin, end = data_places(content, "/visdata")[index]
    at = data.draw(st.integers(begin, end - 1))
    finding = only(volume.changed(number, flip(content, at, data.draw(st.integers(1, 255)))), volume.catalog)
    source = volume.sources[4 * (number - 1) + index]
    assert (finding.kind, finding.tape_file, finding.member) == ("DigestMismatch", number, source.name.decode())


@SETTINGS
@given(data=st.data())
def test_a_flip_anywhere_is_found_or_harms_no_data_set(small: Volume, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2))
    content = small.tape_files[number]
    at = data.draw(st.integers(0, len(content) - 1))
    bad = small.changed(number, flip(content, at, data.draw(st.integers(1, 255))))
    verification = verify(bad, small.catalog)
    if number == 0:
        assert verification.findings[0].kind in {"CatalogInvalid", "WrongVolume"}
    elif verification.ok:
        assert verification.files == 4
    else:
        assert verification.files >= 3, "a single byte costs one data set at most"
    assert verify(bad).files <= 4  # a flip in a heading or a name is not to be seen by who knows nothing else


_edits = st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=600)), min_size=1, max_size=6)


@SETTINGS
@given(st.integers(0, 2), _edits, st.booleans())
def test_arbitrary_damage_ends_in_findings_alone(
    small: Volume, number: int, edits: list[tuple[int, bytes]], known: bool
) -> None:
    content = bytearray(small.tape_files[number])
    for at, new in edits:
        where = at % len(content)
        content[where : where + len(new)] = new[: len(content) - where]
    verification = verify(small.changed(number, bytes(content)), small.catalog if known else None)
    assert verification.files <= 4
    assert verification.ok or verification.findings


def test_a_tape_that_ends_anywhere_too_early(small: Volume) -> None:
    tape = lay_out(small.tape_files)
    for count in range(len(tape)):
        verification = verify(tape[:count], small.catalog)
        assert verification.findings[0].kind == "TruncatedVolume", (count, verification.findings)
        assert not verification.ok


def test_an_archive_that_ends_anywhere_too_early(small: Volume) -> None:
    content = small.tape_files[1]
    for length in range(0, len(content), ARCHIVE_BLOCK):
        verification = verify(small.changed(1, content[:length]), small.catalog)
        assert verification.findings[0].kind == "TruncatedVolume"
        assert verification.findings[0].offset == length
        assert verification.files >= 2, "the next archive is read"
        missing = [finding.member for finding in verification.findings if finding.kind == "FileMissing"]
        assert len(missing) == 4 - verification.files


def test_a_data_set_that_is_not_in_its_archive(tmp_path: Path, volume: Volume) -> None:
    content = compose_archive(tmp_path, 1, [*volume.sources[4:6], volume.sources[7]], Form(listed=False))
    source = volume.sources[6].name.decode()
    assert told(volume.changed(2, content)) == [("FileMissing", 2, source)]


def test_a_data_set_too_many_in_an_archive(tmp_path: Path, volume: Volume) -> None:
    extra = Source(b"pot1:/data1/extra.uv", make_uv(tmp_path / "extra"))
    content = compose_archive(tmp_path, 1, [*volume.sources[4:8], extra], Form(listed=False))
    finding = only(volume.changed(2, content))
    assert (finding.kind, finding.tape_file, finding.found) == ("UnexpectedFile", 2, "pot1:/data1/extra.uv")
    again = compose_archive(tmp_path, 1, [*volume.sources[4:8], volume.sources[5]], Form(listed=False))
    finding = only(volume.changed(2, again))
    assert (finding.kind, finding.found) == ("UnexpectedFile", volume.sources[5].name.decode())


def test_a_list_that_contradicts_the_catalog(tmp_path: Path, volume: Volume) -> None:
    name = f"paper.{JOB}.1"
    listing = compose_list(1, volume.sources[4:8][::-1])
    members = [
        (f"papertape/queue/{JOB}/{name}.file_list", listing),
        (f"papertape/shm/{name}.tar", compose_inner(name, volume.sources[4:8])),
    ]
    verification = verify(volume.changed(2, compose_outer(tmp_path, members)))
    (finding,) = verification.findings
    assert (finding.kind, finding.tape_file, finding.member) == ("DigestMismatch", 2, f"{name}.file_list")
    assert verification.files == 48


def spoil_missing(uv: Path) -> None:
    (uv / "visdata").unlink()


def spoil_link(uv: Path) -> None:
    (uv / "visdata").rename(uv / "elsewhere")
    (uv / "visdata").symlink_to("elsewhere")


def spoil_directory(uv: Path) -> None:
    (uv / "visdata").unlink()
    (uv / "visdata").mkdir()


def spoil_pipe(uv: Path) -> None:
    (uv / "visdata").unlink()
    os.mkfifo(uv / "visdata")


def spoil_hard_link(uv: Path) -> None:
    (uv / "a").hardlink_to(uv / "visdata")  # comes first, so that visdata is written as a link to it


@pytest.mark.parametrize(
    ("spoil", "kinds"),
    [
        (spoil_missing, ["FileMissing"]),
        (spoil_link, ["FileMissing"]),
        (spoil_directory, ["FileMissing"]),
        (spoil_pipe, ["UnexpectedFile", "FileMissing"]),
        (spoil_hard_link, ["UnexpectedFile", "FileMissing"]),
    ],
)
def test_a_directory_without_a_visdata(tmp_path: Path, spoil: Callable[[Path], None], kinds: list[str]) -> None:
    sources = make_sources(tmp_path / "disk", 3)
    md5s = [(source.name, source.md5) for source in sources]
    spoil(sources[1].path)
    tape = lay_out([compose_catalog([md5s]), compose_archive(tmp_path, 0, sources)])
    verification = verify(tape)
    assert [finding.kind for finding in verification.findings] == kinds
    assert {finding.member for finding in verification.findings} == {sources[1].name.decode()}
    assert verification.files == 2


def test_special_files_are_named(tmp_path: Path) -> None:
    sources = make_sources(tmp_path / "disk", 2)
    os.mkfifo(sources[0].path / "pipe")
    finding = only(lay_out(compose_tape(tmp_path, [sources])))
    assert finding.kind == "UnexpectedFile"
    assert finding.found == f"{sources[0].name.decode()}/pipe, a special file"


def test_a_data_set_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    (tmp_path / "link").symlink_to("file")
    sources = [Source(b"pot1:/file", tmp_path / "file"), Source(b"pot1:/link", tmp_path / "link")]
    assert told(lay_out(compose_tape(tmp_path, [sources]))) == [("FileMissing", 1, "pot1:/link")]


@pytest.mark.parametrize("inner", ["pax", "gnu"])
@pytest.mark.parametrize("part", ["", "/flags", "/header", "/history", "/vartable", "/visdata"])
def test_a_damaged_header_is_reported_with_its_data_set(tmp_path: Path, inner: str, part: str) -> None:
    volume = make_volume(tmp_path, 3, Form(inner))
    content, source = volume.tape_files[1], volume.sources[1].name.decode()
    verification = verify(volume.changed(1, flip(content, content.index(f"{source}{part or '/'}\0".encode()))))
    kinds = [finding.kind for finding in verification.findings]
    assert sorted(kinds) == (["FileMissing", "HeaderDamaged"] if part == "/visdata" else ["HeaderDamaged"])
    assert verification.files == (2 if part == "/visdata" else 3)
    assert {finding.member for finding in verification.findings} <= {source, None}


def test_everything_after_the_last_archive_is_unexpected(volume: Volume) -> None:
    for extra in ([Mark.FILEMARK], [b"x" * ARCHIVE_BLOCK], [b"x" * 10]):
        assert told([*lay_out(volume.tape_files), *extra]) == [("UnexpectedData", 13, None)]


def test_two_archives_in_the_wrong_order(volume: Volume) -> None:
    files = list(volume.tape_files)
    files[2], files[3] = files[3], files[2]
    findings = verify(lay_out(files)).findings
    assert {finding.tape_file for finding in findings} == {2, 3}
    assert [finding.kind for finding in findings].count("FileMissing") == 8
    assert {finding.kind for finding in findings} == {"UnexpectedFile", "FileMissing"}


def test_a_volume_of_another_kind(tmp_path: Path, volume: Volume) -> None:
    lab = make_lab(tmp_path / "lab")
    lab.add(*make_night(tmp_path / "night"))
    lab.dump()
    content = lab.tape_files("PAPR1001")[0].read_bytes()
    for catalog in (None, volume.catalog):
        assert told([content, Mark.FILEMARK], catalog) == [("WrongVolume", 0, None)]
        assert told([b"x" * 80, Mark.FILEMARK], catalog) == [("WrongVolume", 0, None)]
        assert told([bytes(CATALOG_BLOCK), Mark.FILEMARK], catalog) == [("WrongVolume", 0, None)]
        assert told([Mark.FILEMARK], catalog) == [("WrongVolume", 0, None)]
    lab.ledger.close()


def test_a_blank_volume(tmp_path: Path) -> None:
    with mounted(tmp_path / "library", H0C10001=[]) as (drive,):
        (finding,) = PredecessorReading(TAG, None, drive, tell_all(), Stop()).run().findings
    assert (finding.kind, finding.tape_file) == ("ReadFailed", 0)


def test_a_volume_of_another_dump(volume: Volume, tmp_path: Path) -> None:
    other = compose_catalog([[(source.name, source.md5) for source in volume.sources]], "000000001")
    finding = only(lay_out(volume.tape_files), parse_predecessor_catalog(other, TAG))
    assert finding.kind == "WrongVolume"
    assert finding.expected == "dump 000000001 of 20171003-0412"
    assert finding.found == f"dump {JOB} of 20171003-0412"


def test_a_damaged_catalog_on_a_volume_whose_catalog_is_known(volume: Volume) -> None:
    bad = volume.changed(0, flip(volume.tape_files[0], 1000))
    verification = verify(bad, volume.catalog)
    assert [finding.kind for finding in verification.findings] == ["CatalogInvalid"]
    assert verification.files == 48


def test_a_damaged_catalog_on_a_volume_that_nobody_knows(volume: Volume) -> None:
    finding = only(volume.changed(0, volume.tape_files[0].replace(b"zen", b"ze\n", 1)))
    assert (finding.kind, finding.tape_file) == ("CatalogInvalid", 0)
    assert "in line 5" in str(finding.found)


def test_a_catalog_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papertape.transfer.predecessor.verify.LONGEST_CATALOG", 3 * 1024 * 1024)
    block = compose_catalog([[(b"h:/a", "0" * 32)]])[:10].ljust(CATALOG_BLOCK, b"#")
    verification = verify([b"## Paper dump catalog:".ljust(CATALOG_BLOCK, b"#"), *[block] * 1000, Mark.FILEMARK])
    assert [finding.kind for finding in verification.findings] == ["CatalogInvalid"]
    assert verification.bytes < 6 * 1024 * 1024


@pytest.mark.parametrize("size", [512, ARCHIVE_BLOCK - 512, ARCHIVE_BLOCK + 512, 65536])
def test_blocks_of_another_length(volume: Volume, size: int) -> None:
    tape = list(lay_out(volume.tape_files))
    tape[4] = noise(size)
    finding = only(tape)
    assert (finding.kind, finding.tape_file, finding.offset) == ("BlockSizeMismatch", 1, 2 * ARCHIVE_BLOCK)
    assert (finding.expected, finding.found) == ("10240 bytes", f"{size} bytes")


def test_catalog_blocks_of_another_length(volume: Volume) -> None:
    finding = only([volume.tape_files[0][:10240], Mark.FILEMARK])
    assert (finding.kind, finding.tape_file, finding.offset) == ("BlockSizeMismatch", 0, 0)


class WornDrive(MemoryDrive):
    """Cannot read one object."""

    def __init__(self, number: int, worn: int) -> None:
        super().__init__(number)
        self._worn = worn

    def read_block(self, buffer: memoryview) -> int | Mark:
        if self.position() == self._worn:
            raise DriveError(self.number, f"worn out at object {self._worn}")
        return super().read_block(buffer)


def test_data_before_a_block_that_cannot_be_read_were_read(volume: Volume) -> None:
    drive = WornDrive(0, 1)
    drive.tape = list(lay_out(volume.tape_files))
    blocks = [number for number, item in enumerate(drive.tape) if isinstance(item, Mark)]
    drive = WornDrive(0, blocks[1] - 1)
    drive.tape = list(lay_out(volume.tape_files))
    verification = PredecessorReading(TAG, None, drive, tell_all(), Stop()).run()
    (finding,) = verification.findings
    assert (finding.kind, finding.tape_file) == ("ReadFailed", 1)
    assert verification.files >= 3
    assert verification.bytes == sum(len(item) for item in drive.tape[: blocks[1] - 1] if isinstance(item, bytes))


def test_too_many_findings_end_the_reading(tmp_path: Path) -> None:
    names = [(b"h:/%d" % number, "0" * 32) for number in range(MOST_FINDINGS + 10)]
    content = compose_archive(tmp_path, 0, [], Form(listed=False))
    verification = verify(lay_out([compose_catalog([names]), content]))
    assert len(verification.findings) == MOST_FINDINGS
    assert {finding.kind for finding in verification.findings} == {"FileMissing"}


def test_a_reading_stops_when_asked(volume: Volume) -> None:
    stop = Stop()
    drive = MemoryDrive(0)
    drive.tape = list(lay_out(volume.tape_files))
    reading = PredecessorReading(TAG, None, drive, tell_all(), stop)
    stop.ask()
    stop.ask()
    with pytest.raises(Interrupted):
        verify_readings([reading], tell_all(), stop)


def test_findings_are_reported_as_they_are_met(volume: Volume) -> None:
    tell = Notes()
    begin, _ = data_places(volume.tape_files[1], "/visdata")[0]
    verification = verify(volume.changed(1, flip(volume.tape_files[1], begin)), None, tell)
    assert tell.findings == [f"{TAG}: {finding.sentence()}" for finding in verification.findings]


_block = st.one_of(
    st.binary(min_size=ARCHIVE_BLOCK, max_size=ARCHIVE_BLOCK), st.binary(max_size=600), st.just(bytes(ARCHIVE_BLOCK))
)


@SETTINGS
@given(st.lists(st.one_of(_block, st.just(Mark.FILEMARK)), max_size=8))
def test_whatever_lies_on_a_tape_ends_in_findings(items: list[bytes | Mark]) -> None:
    blocks = [item for item in items if item != b""]
    assert verify(blocks).findings
    head = compose_catalog([[(b"h:/a", "0" * 32)]])
    assert verify([head, Mark.FILEMARK, *blocks]).findings
