"""What the benchmark does with the standard library alone: ``python stock.py STEP FOLDER [OPTION=VALUE ...]``.

Each step prints one JSON object.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

MIB = 1024 * 1024
IN_A_FOLDER = 1000
Answer = dict[str, Any]


def prepare(folder: Path, files: int, size: int, subset: int) -> Answer:
    """Make ``files`` files of ``size`` bytes that do not compress, their MD5s, and a list of the first ``subset``."""
    md5s = {}
    for number in range(files):
        path = folder / "source" / f"{number // IN_A_FOLDER:03}" / f"file-{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file:
            for start in range(0, size, MIB):
                piece = os.urandom(min(MIB, size - start))
                file.write(piece)
                digest.update(piece)
        md5s[str(path)] = digest.hexdigest()
    (folder / "md5s.json").write_text(json.dumps(md5s))
    names = [os.path.relpath(path, folder / "source") for path in list(md5s)[:subset]]
    (folder / "subset.txt").write_text("".join(f"{name}\n" for name in names))
    return {}


def rates(_folder: Path, size: int) -> Answer:
    """Return the MB/s of one thread of SHA-256 and of MD5 over ``size`` bytes in buffers of 1 MiB."""
    piece = os.urandom(MIB)
    answer = {}
    for algorithm in ("sha256", "md5"):
        digest = hashlib.new(algorithm, usedforsecurity=False)
        began = time.perf_counter()
        for _ in range(max(1, size // MIB)):
            digest.update(piece)
        answer[algorithm] = max(size, MIB) / (time.perf_counter() - began) / 1e6
    return answer


def tarfile_sha256(copy: Path) -> Answer:
    """Read a tar archive as a stream with Python's ``tarfile`` and hash every file in it."""
    files = 0
    with tarfile.open(copy, "r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content:
                hashlib.file_digest(cast("io.BufferedReader", content), "sha256")
                files += 1
    return {"files": files}


def run(arguments: Sequence[str], steps: Mapping[str, Callable[..., Answer]]) -> None:
    """Do the step that a command line names, and print its answer."""
    step, folder, *options = arguments
    numbers = {name: int(value) for name, _, value in (option.partition("=") for option in options)}
    print(json.dumps(steps[step](Path(folder), **numbers)))


if __name__ == "__main__":
    run(sys.argv[1:], {"prepare": prepare, "rates": rates, "tarfile": tarfile_sha256})
