"""``papertape doctor``: proves that a set-up works, before the first night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.options import SIZE
from papertape.cli.output import print_json, say
from papertape.cli.progress import Tally, open_progress
from papertape.cli.stopping import Wishes as Words
from papertape.cli.stopping import stoppable
from papertape.config import Config, find_config, read_config
from papertape.doctor.checkup import Wishes, examine
from papertape.doctor.findings import SetUp, exit_code, fault
from papertape.errors import ConfigError, PapertapeError
from papertape.events import tell_all
from papertape.ids import VolumeTag
from papertape.jobs.opening import find_missing_ledger, open_config_ledger
from papertape.ledger import Ledger
from papertape.tape.checks import Check, Verdict, ok, warning
from papertape.transfer.stop import Stop
from papertape.words import count

WORDS = {Verdict.OK: "ok", Verdict.WARNING: "look", Verdict.PROBLEM: "WRONG", Verdict.SKIPPED: "-"}
STOPPING = Words(b"the check-up ends here; cartridges are brought home first", b"cartridges are brought home first")


@command(
    "doctor",
    short="Prove that the set-up works.",
    examples="""
papertape doctor
papertape doctor --load PAPR1001 --source /data/2459000
papertape doctor --scratch SCR001 --scratch-size 10GB
papertape doctor --json
""",
)
@click.option("--load", metavar="VOLUME", help="Load it into each drive, to see which drive is which.")
@click.option("--scratch", metavar="VOLUME", help="Write to this one too, which must be blank and not registered.")
@click.option(
    "--scratch-size", type=SIZE, default="2GB", show_default=True, metavar="SIZE", help="How much is written."
)
@click.option("--source", metavar="DIR", help="Read here for the source's speed.  [default: what waits to be dumped]")
def doctor(app: App, load: VolumeTag | None, scratch: VolumeTag | None, scratch_size: int, source: str | None) -> int:
    """Look at everything that papertape takes for granted, and say of each thing whether it is right, and if not, what
    to change: config, programs, memory, spool, ledger, the source's speed, changer, volumes, each drive with its
    rights, driver options and block size, and, with --load or --scratch, which drive is which.

    No tape is written to but --scratch's: its volume is filled with noise in each drive, read back, and made blank
    again if the drive can do that. A volume that is registered, or that holds anything, is refused.

    Each line begins with ok, look (it works, but), WRONG, or - (not looked at). Exit code 0: nothing is wrong. Else
    that of the worst, in this order: 2 the set-up (config, programs, rights, swapped drives, block size), 7 the
    changer, 6 a drive, 5 a volume, 1 the host or the ledger.
    """
    found: list[Check] = []
    wishes = Wishes(load, scratch, scratch_size, Path(source) if source else None)
    try:
        for check in _examine(app, wishes):
            found.append(check)
            if not app.json:
                say(_show(check))
    finally:
        if app.json:
            print_json([_describe(check) for check in found])
    if not app.json:
        say(_sum_up(found))
    return exit_code(found)


def _examine(app: App, wishes: Wishes) -> Iterator[Check]:
    """Yield what is found; without a config that can be read there is nothing else to look at."""
    try:
        path = find_config(app.config_path)
        config = read_config(path)
    except ConfigError as error:
        yield fault("config", error)
        return
    yield ok("config", f"{path}: {config.library.describe()}")
    with ExitStack() as held:
        tally, stop = Tally(), Stop()
        held.enter_context(stoppable(stop, tally, STOPPING))
        tell = tell_all(tally, held.enter_context(open_progress()))
        ledger, devices = None, None
        troubles: list[Check] = []
        with _told("ledger", troubles):
            ledger = _open_ledger(config, held, troubles)
        with _told("library", troubles):
            devices = config.library.open(tell, patient=False)  # doctor looks again and again by itself
        yield from troubles
        file = _ledger_file(config)
        setup = SetUp(
            kind=config.library,
            settings=config.settings,
            prefixes=config.prefixes,
            devices=devices,
            ledger=ledger,
            ledger_file=file,
            tell=tell,
            stop=stop,
        )
        yield from examine(setup, wishes)


@contextmanager
def _told(name: str, troubles: list[Check]) -> Iterator[None]:
    """Add an error in the block to ``troubles``."""
    try:
        yield
    except PapertapeError as error:
        troubles.append(fault(name, error))


def _open_ledger(config: Config, held: ExitStack, troubles: list[Check]) -> Ledger | None:
    """Return the ledger, open as long as ``held``; one that is not there is not made."""
    missing = find_missing_ledger(config)
    if missing is not None:
        remedy = "if there was one, mend `ledger` in the config: the next command makes a new one, empty"
        troubles.append(warning("ledger", f"there is no ledger at {missing}", remedy))
        return None
    return held.enter_context(open_config_ledger(config))


def _ledger_file(config: Config) -> Path | None:
    scheme, _, name = config.ledger.partition("///")
    return Path(name.partition("?")[0]) if scheme.startswith("sqlite") and name else None


def _show(check: Check) -> str:
    remedy = f": {check.remedy}" if check.remedy else ""
    return f"{WORDS[check.verdict]:<5}  {check.name}: {check.sentence}{remedy}"


def _describe(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "verdict": check.verdict.value,
        "sentence": check.sentence,
        "remedy": check.remedy,
        "exit_code": check.code,
    }


def _sum_up(found: list[Check]) -> str:
    problems = sum(check.verdict is Verdict.PROBLEM for check in found)
    warnings = sum(check.verdict is Verdict.WARNING for check in found)
    looked = f"; {count(warnings, 'thing')} to look at" if warnings else ""
    return f"{count(problems, 'problem')}{looked}" if problems else f"nothing is wrong{looked}"
