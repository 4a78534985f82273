"""What commands print: results on standard output, everything else on standard error, nothing raw on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO

import click
import msgspec

from papertape.errors import HostError, PapertapeError
from papertape.words import show_text


def say(*lines: str) -> None:
    """Print lines of a result. Raises HostError if they cannot be written; a reader who left is no error."""
    for line in lines:
        write(show_text(line) + "\n")


def write(text: str) -> None:
    """Write ``text`` on standard output as it is. Raises like ``say``."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise HostError(
            "standard output", f"cannot be written ({error.strerror}): give the result another way"
        ) from error


def note(*lines: str) -> None:
    """Print lines on standard error, if anybody can read them."""
    for line in lines:
        try:
            click.echo(show_text(line), err=True)
        except OSError:
            discard(sys.stderr)


def tell_error(error: PapertapeError) -> None:
    """Print the error's sentence, and what went wrong in cleaning up behind it, on standard error."""
    note(*(f"papertape: {line}" for line in (str(error), *getattr(error, "__notes__", ()))))


def print_json(value: object) -> None:
    """Print one JSON value on a line of its own."""
    write(msgspec.json.encode(value).decode() + "\n")


def finish() -> None:
    """Bring out what is still in a buffer. Raises like ``say``."""
    write("")


def discard(stream: IO[str]) -> None:
    """Let whatever comes later go nowhere: the command itself goes on, and its exit code is what counts."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
