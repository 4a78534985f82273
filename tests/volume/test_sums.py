"""SHA256SUMS as coreutils read it (R5)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.volume.sums import sums_line

from .samples import SLOW, hexdigest, parts


def check(folder: str, lines: bytes) -> subprocess.CompletedProcess[bytes]:
    with open(os.path.join(folder, "SHA256SUMS"), "wb") as file:
        file.write(lines)
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False)


def lay_out(folder: str, files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Write each file into a folder of its own, and return them by their names from ``folder``."""
    laid = {b"data/%d/%b" % (number, name): data for number, (name, data) in enumerate(files.items())}
    for name, data in laid.items():
        path = Path(folder, os.fsdecode(name))
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return laid


@SLOW
@given(st.dictionaries(parts, st.binary(max_size=50), min_size=1, max_size=20))
def test_r5_sha256sum_checks_every_name(files: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(folder, files)
        done = check(folder, b"".join(sums_line(hexdigest(data), name) for name, data in laid.items()))
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count(b": OK\n") == len(files)


@SLOW
@given(parts, st.binary(max_size=50))
def test_r5_sha256sum_notices_another_content(name: bytes, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(folder, {name: data + b"!"})
        assert check(folder, sums_line(hexdigest(data), *laid)).returncode == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [(b"a b", b"%b  a b\n"), (b"a\nb", b"\\%b  a\\nb\n"), (b"a\\b", b"\\%b  a\\\\b\n"), (b"a\rb", b"\\%b  a\\rb\n")],
)
def test_r5_a_backslash_before_the_digest_marks_an_escaped_name(name: bytes, line: bytes) -> None:
    assert sums_line("ab" * 32, name) == line % (b"ab" * 32)
