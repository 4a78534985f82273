"""Options and types of options that several commands share."""

from __future__ import annotations

import click

from papertape.config import parse_size
from papertape.tape.generations import GENERATIONS
from papertape.words import show_size

DEFAULT_CAPACITY = GENERATIONS["LTO-6"].capacity
"""The capacity in bytes of volumes for which none is given."""


class SizeType(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """A size like 2.5TB, in bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = SizeType()

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")

capacity_option = click.option(
    "--capacity",
    type=SIZE,
    metavar="SIZE",
    default=DEFAULT_CAPACITY,
    help=f"The capacity of each new volume.  [default: {show_size(DEFAULT_CAPACITY)}]",
)
