"""The recipe of a volume: a shell script that gets data back with ``mt``, ``dd``, ``tar`` and ``sha256sum`` alone.

This module turns facts into text and reads nothing. The script does not name data sets to ``tar``: it cuts pieces out
of a tape file, and every member in a piece is wanted. Names stand only beside their digests, in plain ASCII, other
bytes in octal for ``printf %b``: so the script survives terminals, editors, mail and paper, whatever the names are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from papertape.volume.sums import sums_line

FOLDER = "data"
"""The script makes this folder in the current one and puts everything there."""


class Piece(NamedTuple):
    """A number of whole ``members`` in a tape file; ``begin`` and ``end`` in bytes from the tape file's start."""

    tape_file: int
    begin: int
    end: int
    members: int


class Digest(NamedTuple):
    """The SHA-256 that a member's data must have."""

    sha256: str
    name: bytes


@dataclass(frozen=True)
class Step:
    """Pieces to unpack, and the ``digests`` of files in them; ``notes`` describe them, a line each.

    ``listed``: there is a SHA256SUMS among the members, and the files that it lists are checked as well.
    """

    notes: tuple[str, ...]
    pieces: tuple[Piece, ...]
    digests: Iterable[Digest]
    listed: bool = False


@dataclass(frozen=True)
class FolderOrigin:
    """A cartridge of a library in a folder: ``path`` is a folder with one file for each tape file."""

    path: bytes


@dataclass(frozen=True)
class DriveOrigin:
    """A cartridge for a real drive: the drive's device node and its element number in the changer.

    ``slot`` is the number of the slot that holds the cartridge. If it is None, ``note`` says how to load it.
    """

    changer: str
    drive: str
    element: int
    slot: int | None = None
    note: str = ""


Origin = FolderOrigin | DriveOrigin


class Subject(NamedTuple):
    """The volume that a script is for; ``notes`` say more about it, a line each."""

    tag: str
    notes: tuple[str, ...]
    origin: Origin


def write_recipe(subject: Subject, block_size: int, steps: Iterable[Step]) -> Iterator[str]:
    """Yield the script, some lines at a time, for a volume with blocks of ``block_size`` bytes."""
    yield write_head(subject, block_size)
    yield _UNPACK
    for step in steps:
        yield "\n" + write_notes(step.notes)
        for piece in step.pieces:
            # dd reads whole blocks: those that the piece lies in, and the bytes of them before it are skipped.
            block, skip = divmod(piece.begin, block_size)
            length = piece.end - piece.begin
            count = -(-(skip + length) // block_size)
            yield f"unpack {piece.tape_file} {block} {count} {skip} {length} {piece.members}\n"
        yield from write_check(sums_line(*digest).removesuffix(b"\n") for digest in step.digests)
        if step.listed:
            yield "check_listed\n"
    yield write_end(subject)


def write_head(subject: Subject, block_size: int) -> str:
    """Return the start of the script, up to ``wind`` and ``tape_file``, the functions that read a tape file."""
    origin = subject.origin
    head = _HEAD.format(tag=subject.tag, notes=write_notes(subject.notes), folder=FOLDER, block_size=block_size)
    if isinstance(origin, FolderOrigin):
        return head + _FROM_FOLDER.format(path=write_word(origin.path))
    nodes = {name: write_word(node.encode()) for name, node in (("changer", origin.changer), ("drive", origin.drive))}
    if origin.slot is None:
        load = write_notes([origin.note])
    else:
        load = write_notes([f"From slot {origin.slot}, where it lay, into drive {origin.element}, which is $DRIVE."])
        load += f'mtx -f "$CHANGER" load {origin.slot} {origin.element}\n'
    return head + _FROM_DRIVE.format(**nodes, load=load)


def write_end(subject: Subject) -> str:
    """Return the end of the script, which is reached only if all is well: it unloads the tape and says so."""
    lines, origin = [], subject.origin
    if isinstance(origin, DriveOrigin):
        lines.append('mt -f "$DRIVE" offline')
        if origin.slot is not None:
            lines.append(f'mtx -f "$CHANGER" unload {origin.slot} {origin.element}')
    lines.append(f'echo "{subject.tag}: everything came out and was checked; it is in {FOLDER}/"')
    return "\n" + "".join(f"{line}\n" for line in lines)


def write_check(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the call of ``check`` with these lines, which have no line feed; nothing if there are none."""
    rest = iter(lines)
    for first in rest:
        yield "check <<'END'\n"
        yield from (f"{write_octal(line)}\n" for line in chain([first], rest))
        yield "END\n"


def write_notes(notes: Iterable[str]) -> str:
    """Return lines of comment; each byte that is not plain ASCII is written ``\\xNN``."""
    lines = (note.encode("utf-8", "surrogateescape") for note in notes)
    texts = ("".join(chr(byte) if _is_plain(byte) else f"\\x{byte:02x}" for byte in line) for line in lines)
    return "".join(f"# {text}\n" for text in texts)


def write_octal(raw: bytes) -> str:
    """Return printable ASCII without single quotation marks that ``printf %b`` turns back into ``raw``."""
    return "".join([_OCTAL[byte] for byte in raw])


def write_word(raw: bytes) -> str:
    """Return a word of a shell command that is ``raw``, which must not end in a line feed."""
    if all(map(_is_plain, raw)):
        return shlex.quote(raw.decode("ascii"))
    return f"\"$(printf '%b' '{write_octal(raw)}')\""


def _is_plain(byte: int) -> bool:
    return 0x20 <= byte < 0x7F


# A table, because every byte of millions of names is looked up.
_OCTAL = [
    "\\\\" if byte == ord("\\") else chr(byte) if _is_plain(byte) and byte != ord("'") else f"\\0{byte:03o}"
    for byte in range(256)
]

_HEAD = """\
#!/bin/sh
# Gets data back from the tape volume {tag} without papertape: mtx, mt, dd, tar and sha256sum (or md5sum) do it.
# Run it in an empty folder: what comes back is put into {folder}/ there. It ends at the first thing that is wrong.
{notes}set -eu
LC_ALL=C  # names are bytes
export LC_ALL
mkdir {folder}  # not there yet: so nothing is overwritten, and no link leads elsewhere

# Bytes in each block of the archives.
BLOCK={block_size}
"""

_FROM_FOLDER = """
# The cartridge of a library in a folder: each tape file is a file of this machine, 0000.tar, 0001.tar ...
CARTRIDGE=${{CARTRIDGE:-{path}}}

# wind: there is no tape to be wound.
wind() {{ :; }}

# tape_file T B C: write tape file T from block B on, C blocks, or, without C, all.
tape_file() {{
    dd if="$(printf '%s/%04d.tar' "$CARTRIDGE" "$1")" bs="$BLOCK" skip="$2" ${{3:+count="$3"}} status=none
}}
"""

_FROM_DRIVE = """
# The drive, one that does not rewind by itself (nst), and the robot. No other program may use them meanwhile.
DRIVE=${{DRIVE:-{drive}}}
CHANGER=${{CHANGER:-{changer}}}
{load}mt -f "$DRIVE" setblk 0  # blocks of any length
mt -f "$DRIVE" rewind
FILE=0 AT=0  # the tape file and the block in it that the tape stands before

# wind T B C: have the tape stand before block B of tape file T; C blocks, or, without C, all will be read from there.
wind() {{
    if [ "$1" -lt "$FILE" ]; then
        mt -f "$DRIVE" rewind
        FILE=0 AT=0
    fi
    if [ "$1" -gt "$FILE" ]; then
        mt -f "$DRIVE" fsf "$(($1 - FILE))"
        FILE=$1 AT=0
    fi
    if [ "$2" -gt "$AT" ]; then mt -f "$DRIVE" fsr "$(($2 - AT))"; fi
    if [ "$2" -lt "$AT" ]; then mt -f "$DRIVE" bsr "$((AT - $2))"; fi
    if [ -n "${{3:-}}" ]; then AT=$(($2 + $3)); else FILE=$(($1 + 1)) AT=0; fi
}}

# tape_file T B C: write tape file T from block B on, where "wind T B C" has brought the tape.
tape_file() {{
    dd if="$DRIVE" bs="$BLOCK" ${{3:+count="$3"}} status=none
}}
"""

_UNPACK = """
# unpack T B C S L N: read C blocks of tape file T from block B on, leave out the first S bytes of them, and unpack the
# next L bytes, which are N members. Where reading fails, members are missing, or their digests are wrong.
unpack() {
    wind "$1" "$2" "$3"
    names=$(
        tape_file "$1" "$2" "$3" | tail -c "+$(($4 + 1))" | head -c "$5" |
            tar --warning=no-unknown-keyword --warning=no-timestamp --quoting-style=escape -xpvf -
    )
    count=$(printf '%s\\n' "$names" | wc -l)
    if [ "$count" -ne "$6" ]; then
        echo "tape file $1: of $6 members $count came out" >&2
        exit 1
    fi
}

# check: compare files with the lines of standard input, which are those of SHA256SUMS, odd bytes in octal.
check() {
    while IFS= read -r line; do printf '%b\\n' "$line"; done | sha256sum --quiet --strict -c -
}

# check_listed: compare all files of an archive with its SHA256SUMS.
check_listed() {
    if [ -s SHA256SUMS ]; then sha256sum --quiet --strict -c SHA256SUMS; fi
    rm SHA256SUMS
}
"""
