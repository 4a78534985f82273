"""The recipe of a volume: its text for a real drive, and names that a shell would like to read otherwise."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertape.volume.predecessor.recipe import PredecessorSet, PredecessorStep, write_predecessor_recipe
from papertape.volume.recipe import (
    Digest,
    DriveOrigin,
    FolderOrigin,
    Origin,
    Piece,
    Step,
    Subject,
    write_notes,
    write_octal,
    write_recipe,
    write_word,
)

from .samples import BLOCK, SLOW

GOLDEN = Path(__file__).parent / "golden"
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
SHA = "ab" * 32
IN_SLOT = DriveOrigin("/dev/sg3", "/dev/nst1", 1, 5)
AWAY = DriveOrigin("/dev/sg3", "/dev/nst0", 0, None, "The volume lay in mail slot 7.")
IN_FOLDER = FolderOrigin("/srv/Märchen 'n stuff/PAPR1001".encode())
raw = st.binary(max_size=200).map(lambda name: name.replace(b"\0", b"\\0"))

STEPS = [
    Step(("Tape file 0, the label.",), (Piece(0, 0, BLOCK, 2),), [Digest(SHA, b"volume.json")]),
    Step(("Tape file 2.", "Rejected: pot1:/data/ü: gone"), (Piece(2, 0, 512, 1), Piece(2, 1024, BLOCK, 1)), [], True),
    Step(("From tape file 2:",), (Piece(2, BLOCK - 512, BLOCK + 1, 2),), [Digest(SHA, b"data/a\nb'\xff\\")]),
]
PREDECESSOR_STEPS = [
    PredecessorStep(("Whole.",), 1, (PredecessorSet(b"pot1:/data/zen.1.uv", "cd" * 16),), True),
    PredecessorStep(
        ("Two.",),
        3,
        (PredecessorSet(b"pot1:/data/a [x]*\\", None), PredecessorSet(b"pot1:/data/\xff'", "ef" * 16)),
        False,
    ),
]


def recipe(origin: Origin) -> str:
    return "".join(write_recipe(Subject("PAPR1001", ("The same data are on PAPR2001.",), origin), BLOCK, STEPS))


def predecessor(origin: Origin) -> str:
    return "".join(write_predecessor_recipe(Subject("H0C10001", (), origin), PREDECESSOR_STEPS))


@pytest.mark.parametrize(("name", "text"), [("drive.sh", recipe(IN_SLOT)), ("predecessor-drive.sh", predecessor(AWAY))])
def test_the_script_for_a_real_drive_is(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("origin", [IN_SLOT, AWAY, IN_FOLDER], ids=["slot", "away", "folder"])
@pytest.mark.parametrize("write", [recipe, predecessor])
def test_every_shell_can_parse_it_and_it_is_plain_ascii(write: object, origin: Origin, shell: str) -> None:
    assert callable(write)
    text = write(origin)
    assert all(" " <= character < "\x7f" for character in text.replace("\n", ""))
    done = subprocess.run([shell, "-n"], input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", SHELLS)
@SLOW
@given(name=raw)
def test_printf_makes_every_byte_of_octal_again(shell: str, name: bytes) -> None:
    text = write_octal(name)
    script = f"while IFS= read -r line; do printf '%b' \"$line\"; done <<'END'\n{text}\nEND\nprintf '%b' '{text}'\n"
    assert subprocess.run([shell], input=script.encode(), capture_output=True, check=True).stdout == name * 2


@pytest.mark.parametrize("shell", SHELLS)
@SLOW
@given(name=raw)
def test_a_word_is_one_word_of_the_same_bytes(shell: str, name: bytes) -> None:
    name = name.rstrip(b"\n")
    word = write_word(name)
    script = f"set -- {word}\nprintf '%d %s' $# \"$1\"\nUNSET=${{UNSET:-{word}}}\nprintf '%s' \"$UNSET\""
    done = subprocess.run([shell], input=script.encode(), capture_output=True, check=True, env={"LC_ALL": "C"})
    assert done.stdout == b"1 " + name * 2


@given(st.text(max_size=50))
def test_a_note_stays_one_line_of_comment(text: str) -> None:
    text = text.encode("utf-8", "backslashreplace").decode()
    note = write_notes([text])
    assert note.startswith("# ")
    assert note.count("\n") == 1
    assert note.isascii()
