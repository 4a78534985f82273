"""``papertape testdata``: test data, and rows for it in a test database with the lab's tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from papertape.cli.app import App, command
from papertape.cli.options import SIZE
from papertape.cli.output import note, print_json, say
from papertape.cli.progress import open_progress
from papertape.errors import ConfigError, UserError
from papertape.jobs.setup import PREFIXES, list_tags
from papertape.trial.paperdata import HOST, folder_of, open_trial
from papertape.trial.testdata import DATA, MD5SUMS, Built, Sizes, build_testdata
from papertape.volume.names import quote
from papertape.words import count, show_size


@command(
    "testdata",
    short="Build test data.",
    examples="""
papertape testdata /scratch/night
papertape testdata /scratch/night --seed 7 --large 20 --large-bytes 1GB --small 20000
papertape testdata /scratch/night --paperdata --option-file ~/.papertape/test.cnf
papertape testdata /scratch/night --paperdata --option-file ~/.papertape/test.cnf --clean
""",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True, metavar="N", help="The same seed and sizes give the same data.")
@click.option(
    "--large", default=Sizes.large, show_default=True, metavar="N", help="The number of large incompressible files."
)
@click.option(
    "--large-bytes",
    default=Sizes.large_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"The size of each.  [default: {show_size(Sizes.large_bytes)}]",
)
@click.option(
    "--small",
    default=Sizes.small,
    show_default=True,
    metavar="N",
    help="The number of small compressible files; they lie in directories.",
)
@click.option(
    "--small-bytes",
    default=Sizes.small_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"The size of the largest.  [default: {show_size(Sizes.small_bytes)}]",
)
@click.option("--uv", default=Sizes.uv, show_default=True, metavar="N", help="The number of MIRIAD uv directories.")
@click.option(
    "--uv-bytes",
    default=Sizes.uv_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"The size of each visdata file.  [default: {show_size(Sizes.uv_bytes)}]",
)
@click.option("--uvh5", default=Sizes.uvh5, show_default=True, metavar="N", help="The number of uvh5 files.")
@click.option(
    "--uvh5-bytes",
    default=Sizes.uvh5_bytes,
    type=SIZE,
    metavar="SIZE",
    help=f"The size of each.  [default: {show_size(Sizes.uvh5_bytes)}]",
)
@click.option("--empty", default=Sizes.empty, show_default=True, metavar="N", help="The number of empty files.")
@click.option("--links", default=Sizes.links, show_default=True, metavar="N", help="The number of symbolic links.")
@click.option("--odd", default=Sizes.odd, show_default=True, metavar="N", help="The number of files with odd names.")
@click.option("--paperdata", is_flag=True, help="Insert rows for the data into the lab's tables in a test database.")
@click.option(
    "--option-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --paperdata: the MySQL option file of the test database.  [default: those in [bridge]]",
)
@click.option(
    "--pairs",
    default=6,
    show_default=True,
    type=click.IntRange(0, 499),
    metavar="N",
    help="With --paperdata: the number of free tapes per prefix.",
)
@click.option("--clean", is_flag=True, help="With --paperdata: delete these rows.")
def testdata(
    app: App,
    folder: Path,
    seed: int,
    paperdata: bool,
    option_file: Path | None,
    pairs: int,
    clean: bool,
    **numbers: int,
) -> None:
    """Build test data in DIR, with an md5sums.txt for `papertape add`. The same seed and sizes give the same data.

    With --paperdata, rows for the data and for free tapes are also inserted into a test database with the lab's tables,
    so that `papertape bridge pull` can be tried. Missing tables are created. The name of the database must end in
    `test`. If DIR has test data already, they are used as they are. Rows that are in the tables already stay. --clean
    deletes the rows that were inserted for DIR, and nothing else; DIR itself stays.
    """
    if not paperdata and (clean or option_file):
        raise UserError("--clean and --option-file are for --paperdata; add it")
    sizes = Sizes(**{field.name: numbers[field.name] for field in fields(Sizes)})
    if clean:
        _delete_rows(app, folder, option_file)
        return
    if paperdata:
        _insert_rows(app, folder, option_file, pairs=pairs, sizes=sizes, seed=seed)
        return
    built = _build(folder, sizes, seed)
    if app.json:
        rows = [(quote(os.fsencode(item.path)), item.bytes, item.files, item.md5) for item in built]
        print_json([dict(zip(("path", "bytes", "files", "md5"), row, strict=True)) for row in rows])
        return
    say(
        f"{folder}: {count(len(built), 'data set')}, {show_size(sum(item.bytes for item in built))}",
        f"Next: papertape add --md5sums {folder / MD5SUMS} {folder / DATA}/*",
    )


def _build(folder: Path, sizes: Sizes, seed: int) -> list[Built]:
    with open_progress() as progress:
        return build_testdata(folder, sizes, seed, progress)


class _OptionFiles(NamedTuple):
    """The option files of the table of files and of the table of tapes, and which tapes are the config's."""

    files: Path
    labels: Path
    strict: bool
    prefixes: Sequence[str]


def _choose_option_files(app: App, option_file: Path | None) -> _OptionFiles:
    """Return the option files to use: the one that was given, else those in the config."""
    if option_file is not None:
        path = Path(os.path.abspath(option_file.expanduser()))
        return _OptionFiles(path, path, strict=False, prefixes=PREFIXES)
    try:
        config = app.config()
    except ConfigError as error:
        raise UserError(f"no test database is named; name one with --option-file ({error})") from error
    bridge = config.bridge
    if bridge is None:
        raise ConfigError("the config has no [bridge]; add it, or name a test database with --option-file")
    return _OptionFiles(bridge.files, bridge.labels or bridge.files, bridge.strict, config.prefixes)


def _insert_rows(app: App, folder: Path, option_file: Path | None, *, pairs: int, sizes: Sizes, seed: int) -> None:
    chosen = _choose_option_files(app, option_file)
    with open_trial(folder, chosen.files, chosen.labels, strict=chosen.strict) as trial:
        trial.connect()  # before data are built, which takes a while
        is_there = (folder / MD5SUMS).exists()
        if not is_there:
            _build(folder, sizes, seed)
        if not app.json:
            say(f"{folder}: test data{', there already' if is_there else ''}")
        files, labels, left_out = trial.fill(folder, list_tags(pairs * len(chosen.prefixes), chosen.prefixes))
        where = trial.files.where
    foreign = [*files.foreign, *labels.foreign]
    path = folder_of(folder)
    if app.json:
        counts = [{"added": table.added, "there": table.there} for table in (files, labels)]
        print_json(
            {
                "files": counts[0],
                "labels": counts[1],
                "foreign": foreign,
                "left_out": left_out,
                "paths": {f"{HOST}:{path}": path},
            }
        )
        return
    for name in left_out:
        note(f"papertape: {name}: the table cannot hold this name; no row is inserted")
    for name in foreign:
        note(f"papertape: {name}: a row with this name exists, and is not of this test data; it is not changed")
    there = files.there + labels.there
    known = f"; {there:,} there already" if there else ""
    say(
        f"{where}: {count(files.added, 'row')} for files, {labels.added:,} for tapes inserted{known}",
        "Next: in the config",
        "  [bridge]",
        f"  files = {_quote_toml(chosen.files)}",
        f"  labels = {_quote_toml(chosen.labels)}",
        "  [bridge.paths]",
        f"  {_quote_toml(f'{HOST}:{path}')} = {_quote_toml(path)}",
        "then papertape bridge check, bridge pull, dump",
    )


def _delete_rows(app: App, folder: Path, option_file: Path | None) -> None:
    chosen = _choose_option_files(app, option_file)
    with open_trial(folder, chosen.files, chosen.labels, strict=chosen.strict) as trial:
        trial.connect()
        files, labels = trial.clean()
    if app.json:
        print_json({"files": files, "labels": labels})
    else:
        say(f"{trial.files.where}: {count(files, 'row')} for files, {labels:,} for tapes deleted")


def _quote_toml(text: str | Path) -> str:
    """Return a string as TOML and JSON both write it."""
    return msgspec.json.encode(str(text)).decode()
