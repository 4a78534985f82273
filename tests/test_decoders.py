"""Where two threads are the first to decode a type, msgspec crashes: every decoder is made when a module is imported.

The crash itself comes by chance. These tests look at what it comes of: a type that is analysed while threads run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import papertape

SOURCES = Path(papertape.__file__).parent
ALONE = {SOURCES / "config.py"}
"""What decodes before there is any thread but the main one."""
ANALYSING = re.compile(r"(msgspec\.)?((json|msgpack|toml|yaml)\.)?(Decoder|decode|convert)")
DUMP = """
import sys, threading
from pathlib import Path
import msgspec
from stories import make_lab, make_night

home, seen = str(Path(msgspec.__file__).parent), []

def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(home):
        seen.append(threading.current_thread().name)

threading.setprofile(watch)
sys.setprofile(watch)
folder = Path(sys.argv[1])
lab = make_lab(folder / "lab")
lab.add(*make_night(folder / "night"))
assert lab.dump().error is None
assert all(verification.ok for verification in lab.verify("PAPR1001", "PAPR2001"))
lab.ledger.close()

class Fresh(msgspec.Struct):
    number: int

control = threading.Thread(target=msgspec.json.decode, args=[b'{"number": 1}'], kwargs={"type": Fresh}, name="control")
control.start()
control.join()
sys.setprofile(None)
print(msgspec.json.encode(seen).decode())
"""
"""A dump and a verification in a new process, then a decoder made too late; prints the threads that analyse a type.

msgspec does that in Python, in functions of its own.
"""


def find_late(source: str) -> Iterator[int]:
    """Yield the lines in which a decoder is made, or msgspec makes one itself, when a function runs."""
    for outer in ast.walk(ast.parse(source)):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for inner in ast.walk(outer):
                if isinstance(inner, ast.Call) and ANALYSING.fullmatch(ast.unparse(inner.func)):
                    yield inner.lineno


def test_no_decoder_is_made_when_a_function_runs() -> None:
    sources = sorted({*SOURCES.rglob("*.py")} - ALONE)
    late = [f"{path}:{line}" for path in sources for line in find_late(path.read_text())]
    assert not late, "make the decoder when the module is imported: see volume/document.py"


@pytest.mark.parametrize(
    ("source", "late"),
    [
        ("D = msgspec.json.Decoder(T)\ndef f(x):\n    return D.decode(x)", []),
        ("def f(x):\n    return x.decode()", []),
        ("def f(x):\n    return msgspec.json.decode(x, type=T)", [2]),
        ("class C:\n    async def f(x):\n        return json.Decoder(T).decode(x)", [3]),
        ("f = lambda x: msgspec.convert(x, T)", [1]),
    ],
)
def test_a_decoder_that_is_made_late_is_found(source: str, late: list[int]) -> None:
    assert list(find_late(source)) == late


def test_no_type_is_analysed_while_volumes_are_written_and_read(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-W", "error", "-c", DUMP, tmp_path]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert set(json.loads(done.stdout)) == {"control"}
