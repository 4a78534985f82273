"""``papertape testdata --paperdata``: test data in the lab's tables, in a test database."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from papertape.cli.app import App
from papertape.cli.init import PREFIXES, volume_tags
from papertape.cli.output import note, print_json, say
from papertape.errors import ConfigError, UserError
from papertape.trial.paperdata import HOST, Filling, TrialBase, folder_of, open_trial
from papertape.trial.testdata import MD5SUMS
from papertape.words import count


class _Chosen(NamedTuple):
    """The option files of the tables of files and of tapes."""

    files: Path
    labels: Path
    strict: bool
    prefixes: Sequence[str]


def fill_or_clean(
    app: App, folder: Path, option_file: Path | None, pairs: int, build: Callable[[Path], object] | None
) -> None:
    """Fill a test database for the test data in ``folder``, which ``build`` makes; without ``build``, clean it."""
    chosen = _choose(app, option_file)
    with open_trial(folder, chosen.files, chosen.labels, strict=chosen.strict) as trial:
        trial.connect()
        if build is None:
            _clean(app, trial)
            return
        is_there = (folder / MD5SUMS).exists()
        if not is_there:
            build(folder)
        if not app.json:
            say(f"{folder}: test data{', there already' if is_there else ''}")
        tags = volume_tags(pairs * len(chosen.prefixes), chosen.prefixes)
        _tell(app, folder, chosen, trial, trial.fill(folder, tags))


def _choose(app: App, option_file: Path | None) -> _Chosen:
    """Return where to: what the option says, else what the config says."""
    if option_file is not None:
        path = Path(os.path.abspath(option_file.expanduser()))
        return _Chosen(path, path, strict=False, prefixes=PREFIXES)
    try:
        config = app.config()
    except ConfigError as error:
        raise UserError(f"which database is for tests? Name one with --option-file ({error})") from error
    if config.bridge is None:
        raise ConfigError("the config has no [bridge]; add it, or name a test database with --option-file")
    bridge = config.bridge
    return _Chosen(bridge.files, bridge.labels or bridge.files, bridge.strict, config.prefixes)


def _tell(app: App, folder: Path, chosen: _Chosen, trial: TrialBase, filling: Filling) -> None:
    files, labels, left_out = filling
    rule = {f"{HOST}:{folder_of(folder)}": folder_of(folder)}
    if app.json:
        counts = {"added": files.added, "there": files.there}, {"added": labels.added, "there": labels.there}
        foreign = [*files.foreign, *labels.foreign]
        print_json({"files": counts[0], "labels": counts[1], "foreign": foreign, "left_out": left_out, "paths": rule})
        return
    for name in left_out:
        note(f"papertape: {name}: the table cannot hold this name; it is left out")
    for name in (*files.foreign, *labels.foreign):
        note(f"papertape: {name}: there is such a row already, which was not put there for this; it is left alone")
    there = f"; {files.there + labels.there:,} there already" if files.there + labels.there else ""
    say(
        f"{trial.files.where}: {count(files.added, 'row')} for files, {labels.added:,} for tapes put in{there}",
        "Next: in the config",
        "  [bridge]",
        f"  files = {_quote(str(chosen.files))}",
        f"  labels = {_quote(str(chosen.labels))}",
        "  [bridge.paths]",
        *(f"  {_quote(source)} = {_quote(path)}" for source, path in rule.items()),
        "then papertape bridge check, bridge pull, dump",
    )


def _quote(text: str) -> str:
    """Return a string as TOML and JSON both write it."""
    return msgspec.json.encode(text).decode()


def _clean(app: App, trial: TrialBase) -> None:
    files, labels = trial.clean()
    if app.json:
        print_json({"files": files, "labels": labels})
        return
    say(f"{trial.files.where}: {count(files, 'row')} for files, {labels:,} for tapes taken out")
