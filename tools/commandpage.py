"""Print docs/commands.md: every command with its arguments, options and examples, from the commands' own help."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from papertape.cli.commands import papertape

SHARED = ("--json", "--help")
"""Options that every command has: described once, at the top."""
HEAD = """\
# Commands

`make commands` prints this page from the help of the commands, and a test compares the two.

Every command has `--json` (print the result as JSON on standard output) and `--help` (`-h`: print the command's help).
[The exit codes](errors.md) are the same for all commands. Options of the program itself stand before the command:
"""


def list_commands(group: click.Group = papertape, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and every group with its path, in the order of the help."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from list_commands(command, *path, name)


def describe_options(command: click.Command) -> Iterator[str]:
    """Yield the rows of a table of the command's options."""
    options = [item for item in command.params if isinstance(item, click.Option) and item.opts[0] not in SHARED]
    if options:
        yield from ("", "| option | meaning |", "| --- | --- |")
    for option in options:
        value = "" if option.is_flag else f" {option.metavar or option.make_metavar(click.Context(command))}"
        default = option.default if option.show_default else None
        if isinstance(default, list | tuple):
            default = ", ".join(map(str, default))
        text = (option.help or "").partition("  [default: ")
        default = text[2].removesuffix("]") or default
        said = f" Default: {default}." if default is not None else ""
        names = ", ".join(f"`{name}{value}`" for name in option.opts).replace("|", "\\|")
        yield f"| {names} | {text[0]}{said} |"


def describe_text(text: str) -> Iterator[str]:
    """Yield click's help text as Markdown: what stands after ``\\b`` is a block of code."""
    for paragraph in filter(None, inspect.cleandoc(text).split("\n\n")):
        first, *lines = paragraph.splitlines()
        yield ""
        yield from ("```", *lines, "```") if first == "\b" else (first, *lines)


def write_page() -> str:
    """Return the page."""
    lines = [*HEAD.splitlines(), *describe_options(papertape)]
    for path, command in list_commands():
        name = " ".join(("papertape", *path))
        usage = " ".join((name, *command.collect_usage_pieces(click.Context(command))))
        lines += ["", f"{'#' * (len(path) + 1)} {name}", "", "```", usage, "```"]
        lines += describe_text(command.help or "")
        lines += describe_options(command)
        lines += describe_text(command.epilog or "")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(write_page(), end="")
