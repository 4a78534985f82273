"""A night's data sets in the form in which HERA wrote them, made here; and real ones where they lie beside the clone.

The made ones follow three observations of the public repository HERA-Team/hera_qm (MIT licence): a MIRIAD ``uv`` data
set is a directory with five items, a ``uvh5`` is one HDF5 file. Names, items and sizes are those of the real ones; the
visibilities are noise, and no HDF5 library would read the files.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from stories import noise

REAL = Path(__file__).parents[2] / "shared" / "data"
ORIGINS = ["made", pytest.param("real", marks=pytest.mark.skipif(not REAL.is_dir(), reason="only made ones are here"))]
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def make_observation(path: Path, visibilities: int, seed: int) -> Path:
    """Make a MIRIAD data set with a ``visdata`` of so many bytes."""
    path.mkdir(parents=True)
    # An item of ``header``: its name in 15 bytes, its length, its type, its value.
    length = struct.pack(">15sBi4xq", b"vislen", 16, 8, visibilities + 4)
    (path / "header").write_bytes(length + struct.pack(">15sBi16s", b"obstype", 20, 1, b"mixed-auto-cross"))
    (path / "vartable").write_bytes(b"".join(b"%b\n" % name for name in (b"r corr", b"i nchan", b"d sdf", b"a source")))
    (path / "visdata").write_bytes(noise(visibilities, seed))
    (path / "flags").write_bytes(struct.pack(">i", 2) + b"\x7f\xff\xff\xff" * (visibilities // 256))
    (path / "history").write_bytes(b"CORR-DACQ: created file.\n")
    return path


def make_night(folder: Path) -> list[Path]:
    """Make one MIRIAD data set and two ``uvh5`` files."""
    night = [make_observation(folder / "zen.2457698.40355.xx.HH.uvcA", 1_580_852, 1)]
    for number, name in enumerate(("zen.2457698.40355191.xx.HH.uvh5", "zen.2457698.40367619.xx.HH.uvh5")):
        night.append(folder / name)
        night[-1].write_bytes(HDF5_SIGNATURE + noise(472_700, number))
    return night


def find_night(origin: str, folder: Path) -> list[Path]:
    """Return the data sets of this origin; made ones are made in ``folder``."""
    return sorted(REAL.glob("zen.*")) if origin == "real" else make_night(folder)
