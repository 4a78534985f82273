"""A night's observations in the form of HERA's: built as `papertape testdata` does, and real ones where they are.

The real ones are three of the public repository HERA-Team/hera_qm (MIT licence): a MIRIAD ``uv`` data set, which is a
directory, and two ``uvh5`` files. The built ones have their names' form, their items and their sizes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from papertape.events import tell_all
from papertape.trial.testdata import Sizes, build_testdata

REAL = Path(__file__).parents[2] / "shared" / "data"
ORIGINS = ["built", pytest.param("real", marks=pytest.mark.skipif(not REAL.is_dir(), reason="only built ones here"))]
LIKE_THE_REAL = Sizes(uv=1, uv_bytes=1_580_852, uvh5=2, uvh5_bytes=472_708, large=0, small=0, empty=0, links=0, odd=0)


def find_night(origin: str, folder: Path) -> list[Path]:
    """Return the observations of this origin; those that are built are in ``folder``."""
    if origin == "real":
        return sorted(REAL.glob("zen.*"))
    return [built.path for built in build_testdata(folder, LIKE_THE_REAL, 1, tell_all())]
