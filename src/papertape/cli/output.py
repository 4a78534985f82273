"""Printing: results on standard output, all else on standard error; control characters are escaped in both."""

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
    """Print lines of a result. A closed pipe is no error; raises HostError if the lines cannot be written otherwise."""
    for line in lines:
        write(show_text(line) + "\n")


def write(text: str) -> None:
    """Write ``text`` to standard output, unescaped. Raises like ``say``."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise HostError(
            "standard output", f"cannot be written ({error.strerror}); redirect it to another place"
        ) from error


def note(*lines: str) -> None:
    """Print lines on standard error; if it is closed, they are lost."""
    for line in lines:
        try:
            click.echo(show_text(line), err=True)
        except OSError:
            discard(sys.stderr)


def tell_error(error: PapertapeError) -> None:
    """Print the error's sentence on standard error, and its notes: what went wrong in cleaning up after it."""
    note(*(f"papertape: {line}" for line in (str(error), *getattr(error, "__notes__", ()))))


def print_json(value: object) -> None:
    """Print one JSON value on a line of its own."""
    write(msgspec.json.encode(value).decode() + "\n")


def finish() -> None:
    """Flush standard output. Raises like ``say``."""
    write("")


def discard(stream: IO[str]) -> None:
    """Send all later output of ``stream`` to /dev/null: the job continues, and Python does not complain at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
