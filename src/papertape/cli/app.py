"""The command group, and what all commands share: config, ledger, library, and errors as sentences and exit codes."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from papertape import api
from papertape.api import Archive
from papertape.cli.options import json_option
from papertape.cli.output import finish, note, print_json, say, tell_error
from papertape.cli.progress import Tally, open_progress
from papertape.cli.stopping import MOVING, Replies, stoppable
from papertape.config import Config, find_config, read_config
from papertape.errors import EXIT_CODES, Interrupted, PapertapeError, UserError
from papertape.events import Tell, tell_all
from papertape.jobs.opening import find_missing_ledger, open_library
from papertape.tape.library import Library
from papertape.transfer.stop import Stop
from papertape.version import __version__

DEBUG = "PAPERTAPE_DEBUG"
EPILOG = (
    "\b\nExit codes:\n"
    + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES)
    + "\n\n\b\nThe config is the first of: --config, $PAPERTAPE_CONFIG, ./papertape.toml,\n"
    "~/.config/papertape/papertape.toml, /etc/papertape/papertape.toml."
)


@dataclass
class App:
    """The options before the command."""

    config_path: str | None = None
    json: bool = False

    def config(self) -> Config:
        """Read the config; raises ConfigError."""
        return read_config(find_config(self.config_path))

    @contextlib.contextmanager
    def archive(
        self,
        config: Config | None = None,
        *,
        tell: Tell | None = None,
        stop: Stop | None = None,
        mount: str | None = None,
    ) -> Iterator[Archive]:
        """Open the config's archive for the block of a command that moves no tape.

        A note on standard error says if the ledger had to be made.
        """
        config = config or self.config()
        missing = find_missing_ledger(config)
        with api.open(config, tell=tell, stop=stop, mount=mount) as archive:
            if missing:
                note(f"papertape: there was no ledger at {missing}; a new, empty one was made there")
            yield archive

    @contextlib.contextmanager
    def running(self, replies: Replies, config: Config | None = None, mount: str | None = None) -> Iterator[Archive]:
        """The same for a command that runs a job: with progress; ``replies`` says how Ctrl-C stops the job."""
        tally, stop = Tally(), Stop()
        with (
            stoppable(stop, tally, replies),
            open_progress() as progress,
            self.archive(config, tell=tell_all(tally, progress), stop=stop, mount=mount) as archive,
        ):
            yield archive

    @contextlib.contextmanager
    def library(self) -> Iterator[Library]:
        """Open the config's library for the block, without a ledger; Ctrl-C waits until cartridges are home."""
        tally = Tally()
        with stoppable(Stop(), tally, MOVING), open_progress() as progress:
            yield open_library(self.config(), tell_all(tally, progress))

    def show(self, value: object, *lines: str) -> None:
        """Print a result: ``value`` as JSON with --json, else the lines."""
        if self.json:
            print_json(value)
        else:
            say(*lines)


def find_app(context: click.Context, *, as_json: bool) -> App:
    """Return the App of the running command line; --json counts before and after the command."""
    app = context.find_object(App) or App()
    app.json = app.json or as_json
    return app


@click.group(
    epilog=EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="papertape")
@click.option("--config", "config_path", metavar="FILE", help="The config file to use.")
@json_option
@click.pass_context
def papertape(context: click.Context, config_path: str | None, as_json: bool) -> None:
    """Write every data set to two tapes at once, read both back, and only then say that the disk copy may be deleted.

    \b
    A night's data:
      papertape init /srv/papertape        once: a library in a folder, and a ledger
      papertape add /data/2459000/*.uvh5   register the data sets to archive
      papertape dump                       write a pair of volumes, verify both, record it
      papertape status                     what may be deleted from disk
    """
    context.obj = App(config_path, as_json)


def command(
    name: str, *, short: str, examples: str, **settings: Any
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a function a command: it gets the App, accepts ``--json``, and may return an exit code (None is 0)."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **options: Any) -> int:
            return function(find_app(click.get_current_context(), as_json=as_json), *args, **options) or 0

        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
        made: Callable[[Callable[..., int]], click.Command] = click.command(
            name, short_help=short, epilog=epilog, **settings
        )
        return made(json_option(run))

    return decorate


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; an error is one sentence on standard error."""
    try:
        result = papertape.main(arguments, prog_name="papertape", standalone_mode=False)
        finish()
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        see = f"; see `{context.command_path} --help`" if context else ""
        note(f"papertape: {' '.join(error.format_message().split()).rstrip('.')}{see}")
        return UserError.exit_code
    except (click.Abort, KeyboardInterrupt):
        tell_error(Interrupted("interrupted"))
        return Interrupted.exit_code
    except PapertapeError as error:
        tell_error(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the last resort: a bug must not look like anything else
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        sentence = f"{type(error).__name__}: {error}".splitlines()[0]
        note(f"papertape: unexpected: {sentence} (this is a bug; {DEBUG}=1 shows where)")
        return PapertapeError.exit_code
    return result if isinstance(result, int) else 0
