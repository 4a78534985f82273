"""The recipe of a volume that the predecessor wrote: each archive is a tar in a tar, each data set has one MD5."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from papertape.volume.predecessor.catalog import ARCHIVE_BLOCK, CATALOG_BLOCK
from papertape.volume.recipe import FOLDER, Subject, write_check, write_end, write_head, write_notes, write_word

_WILD = re.compile(rb"[\\*?\[]")


class PredecessorSet(NamedTuple):
    """A data set: ``name`` is ``host:/path`` as on tape, ``md5`` that in the catalog, None if it is not known."""

    name: bytes
    md5: str | None


@dataclass(frozen=True)
class PredecessorStep:
    """An archive, in ``tape_file``, and the data sets wanted from it: all that it holds if it is ``whole``.

    ``notes`` describe it, a line each.
    """

    notes: tuple[str, ...]
    tape_file: int
    sets: tuple[PredecessorSet, ...]
    whole: bool


def write_predecessor_recipe(subject: Subject, steps: Iterable[PredecessorStep]) -> Iterator[str]:
    """Yield the script for the volume ``subject``, some lines at a time."""
    yield write_head(subject, ARCHIVE_BLOCK)
    yield _UNPACK.format(folder=FOLDER)
    yield _CATALOG.format(catalog_block=CATALOG_BLOCK, block=ARCHIVE_BLOCK)
    for step in steps:
        yield "\n" + write_notes(step.notes)
        words = []
        if not step.whole:
            # A data set's name as a wildcard of tar's, because the job number in the inner tar may be any.
            names = (_WILD.sub(rb"\\\g<0>", item.name) for item in step.sets)
            words = [write_word(b"paper.[0-9]*.%d/%b" % (step.tape_file - 1, name)) for name in names]
        yield " \\\n    ".join([f"unpack {step.tape_file}", *words]) + "\n"
        yield from write_check(b"%b %b" % (item.md5.encode(), item.name) for item in step.sets if item.md5)
    yield write_end(subject)


_UNPACK = """
# unpack T M...: read tape file T, an archive with another in it, and unpack of the inner one the data sets M, or all.
# It has to be read whole. A data set host:/path becomes {folder}/host:/path.
unpack() {{
    number=$1
    shift
    wind "$number" 0
    problem=$(
        {{
            {{
                tape_file "$number" 0 | tar -b 20 -xOf - --wildcards "*paper.[0-9]*.$((number - 1)).tar" ||
                    echo "tape file $number is not whole" >&3
            }} | tar --warning=no-unknown-keyword --warning=no-timestamp \\
                -C {folder} --strip-components=1 --wildcards --no-unquote -xpf - "$@"
        }} 3>&1 >&2
    )
    if [ -n "$problem" ]; then
        echo "$problem" >&2
        exit 1
    fi
}}

# check: compare data sets with the lines of standard input: MD5, blank, name, odd bytes in octal. The MD5 of a
# directory is that of the file visdata in it; nothing proves its other files.
check() {{
    while IFS= read -r line; do
        name=$(printf '%b.' "{folder}/${{line#* }}")
        name=${{name%.}}
        if [ -d "$name" ]; then name=$name/visdata; fi
        sum=$(md5sum <"$name")
        if [ "${{sum%% *}}" != "${{line%% *}}" ]; then
            printf '%s: its MD5 is %s\\n' "$line" "${{sum%% *}}" >&2
            exit 1
        fi
    done
}}
"""

_CATALOG = """
# Tape file 0, the catalog: a line for each data set, item:tape_index:archive_index:md5:host:/path.
# Tape file N + 1 is the archive with the tape_index N.
BLOCK={catalog_block}
wind 0 0
tape_file 0 0 | tr -d '\\000' >catalog.txt
head -n 1 catalog.txt
BLOCK={block}
"""
