"""The command lines and options that texts name, and those that papertape has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from papertape.cli.commands import papertape

_QUOTED = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_BLOCK = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_OPTION = re.compile(r"(?<![-\w])--[a-z][a-z0-9-]*")
_WORD = re.compile(r"[a-z]+")


def find_command(path: tuple[str, ...]) -> click.Command:
    """Return the command at ``path``; raises KeyError if there is none."""
    command: click.Command = papertape
    for name in path:
        if not isinstance(command, click.Group):
            raise KeyError(name)
        command = command.commands[name]
    return command


def list_paths(group: click.Group = papertape, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command and group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from list_paths(command, *path, name)
        yield (*path, name)


def list_options(command: click.Command) -> set[str]:
    """Return the names of a command's options."""
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts} | {"--help"}


def list_all_options() -> set[str]:
    """Return the names of every command's options, and of the program's own."""
    return {name for path in [(), *list_paths()] for name in list_options(find_command(path))} | {"--version"}


def find_fault(line: str) -> str:
    """Return why ``line`` ("papertape dump --mount reload") is no command line of papertape's, or ""."""
    words = re.split(r"[|;&<>#]", line)[0].split()[1:]
    while words and words[0].startswith("--"):  # the program's own options
        if words.pop(0) not in list_options(papertape) | {"--version"}:
            return f"{line}: no such option before the command"
        words = words if not words or words[0] in papertape.commands else words[1:]
    command: click.Command = papertape
    while words and isinstance(command, click.Group) and _WORD.fullmatch(words[0]):
        if words[0] not in command.commands:
            return f"{line}: there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    unknown = set(_OPTION.findall(" ".join(words))) - list_options(command) - list_options(papertape)
    return f"{line}: no such option: {', '.join(sorted(unknown))}" if unknown else ""


def find_command_lines(text: str) -> set[str]:
    """Return the command lines of papertape's in ``text``: those in backquotes, and lines of code blocks."""
    blocks = "\n".join(_BLOCK.findall(text)) + "\n" + "\n".join(re.findall(r"^ {2,}.*$", text, re.MULTILINE))
    lines = [line.strip().removeprefix("$ ") for line in blocks.splitlines()]
    quoted = [" ".join(match[2].split()) for match in _QUOTED.finditer(_BLOCK.sub("", text))]
    return {line for line in (*lines, *quoted) if line.startswith("papertape ")}


def find_options(text: str) -> set[str]:
    """Return what looks like a long option in ``text``."""
    return set(_OPTION.findall(text))


def read_strings(path: Path) -> str:
    """Return the strings of a Python file, docstrings too, each a paragraph; a value in an f-string is an X."""
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            texts.append(node.value)
    return "\n\n".join(map(inspect.cleandoc, texts))
