"""A catalog of very many files takes no more memory to import than one of few."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from papertape.tape.drive import Mark
from papertape.volume.label import compose_label
from papertape.volume.members import DataSetRecord, Member
from papertape.volume.names import Source
from papertape.volume.tapefile import compose
from stories import BLOCK, KIB, Lab, make_lab
from volume.samples import NOW, TWIN, VOLUME, a_file, make_catalog

from .damage import record

MIB = KIB * KIB
FILES = 1_000_000
BESIDE = 96 * MIB
"""SQLite's cache of 64 MiB, a buffer for a block of 8 MiB, and some thousand rows."""

IMPORT = """
import sys
from pathlib import Path
from papertape.settings import Settings
from stories import BLOCK, Lab

def now(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

folder = Path(sys.argv[1])
lab = Lab(folder, Settings(2, 10**9, BLOCK, 64 * BLOCK, folder / "spool", "crossed"), sys.argv[2])
lab.bring_in("PAPR1002")
before = now("VmRSS")
(result,) = lab.bring_in("PAPR1001").values()
assert result.error is None, result
print(now("VmHWM") - before, result.bytes)
lab.ledger.close()
"""


def lay_volume(lab: Lab, folder: Path) -> None:
    """Lay a volume into the lab whose catalog says that a directory of so many empty files is on it."""
    folder.mkdir()
    path = b"data/pot1/data/many"
    members = [a_file(b"plan.json", 400, 1, 0, -1), a_file(b"plan.csv", 300, 1, 1024, -1)]
    members.append(Member(path, "dir", 0, "", "", 2, 0, 0, "00000000"))
    members += [a_file(b"%b/%07d" % (path, number), 0, 2, 512 * number, 0) for number in range(1, FILES + 1)]
    members.append(a_file(b"SHA256SUMS", 10, 2, 512 * (FILES + 1), -1))
    records = [
        DataSetRecord(
            number=0,
            source=Source.parse("pot1:/data/many"),
            kind="directory",
            tape_file=2,
            offset=0,
            files=FILES,
            size=0,
            md5="",
            fingerprint="f" * 64,
            reason="",
        )
    ]
    make_catalog(folder, members, records, archives=1)
    del members
    names = ("catalog.json", "datasets.csv", "files.csv", "SHA256SUMS")
    catalog = compose("catalog", [(name.encode(), (folder / name).read_bytes()) for name in names], NOW, BLOCK).content
    label = compose_label(VOLUME, [TWIN], BLOCK, NOW).content
    blocks = [catalog[at : at + BLOCK] for at in range(0, len(catalog), BLOCK)]
    mark = Mark.FILEMARK
    record(lab, "PAPR1001", label, mark, bytes(BLOCK), mark, bytes(BLOCK), mark, *blocks, mark)


def test_an_import_takes_bounded_memory(tmp_path: Path, tell_figure: object) -> None:
    lab = make_lab(tmp_path / "lab", capacity=10**9)
    lay_volume(lab, tmp_path / "catalog")
    lab.ledger.close()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", IMPORT, str(tmp_path / "lab"), lab.url]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown, read = map(int, done.stdout.split())
    assert callable(tell_figure)
    took = f"{grown / MIB:.0f} MiB, {read / 1e6:.1f} MB read, {time.monotonic() - began:.0f} s"
    tell_figure(f"memory: import of a catalog of {FILES:,} files took {took}")
    assert grown < BESIDE
