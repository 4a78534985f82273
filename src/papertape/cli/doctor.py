"""``papertape doctor``: checks that a set-up works, before the first night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.options import SIZE
from papertape.cli.output import print_json, say
from papertape.cli.progress import Tally, open_progress
from papertape.cli.stopping import Replies, stoppable
from papertape.config import find_config, read_config
from papertape.doctor.checkup import Wishes, examine
from papertape.doctor.findings import SetUp, exit_code, fault
from papertape.errors import ConfigError, PapertapeError
from papertape.events import tell_all
from papertape.ids import VolumeTag
from papertape.jobs.opening import find_missing_ledger, open_config_ledger
from papertape.tape.checks import Check, Verdict, ok, warning
from papertape.transfer.stop import Stop
from papertape.words import count

WORDS = {Verdict.OK: "ok", Verdict.WARNING: "look", Verdict.PROBLEM: "WRONG", Verdict.SKIPPED: "-"}
STOPPING = Replies(*[b"stopping after the cartridges are back in their slots"] * 2)


@command(
    "doctor",
    short="Check that the set-up works.",
    examples="""
papertape doctor
papertape doctor --load PAPR1001 --source /data/2459000
papertape doctor --scratch SCR001 --scratch-size 10GB
papertape doctor --json
""",
)
@click.option("--load", metavar="VOLUME", help="Load this volume into each drive, to see which drive is which.")
@click.option(
    "--scratch", metavar="VOLUME", help="Also write to this volume, which must be blank and must not be registered."
)
@click.option(
    "--scratch-size", type=SIZE, default="2GB", show_default=True, metavar="SIZE", help="How much --scratch writes."
)
@click.option(
    "--source", metavar="DIR", help="Measure the reading speed of this folder.  [default: of the waiting data sets]"
)
def doctor(app: App, load: VolumeTag | None, scratch: VolumeTag | None, scratch_size: int, source: str | None) -> int:
    """Check that everything is set up correctly, and say what to change if it is not.

    doctor checks the config, programs, memory, spool, ledger, the reading speed of the source, the changer, the
    volumes, and the permissions, driver options and block size of each drive. With --load or --scratch, it also checks
    which drive is which.

    Only --scratch writes to a tape: it fills its volume with random bytes in each drive, reads them back, and makes the
    volume blank again if the drive can do that. It refuses a volume that is registered or not blank.

    Each line begins with ok, look (it works, but ...), WRONG, or - (not checked). The exit code is 0 if nothing is
    wrong. Otherwise it is the first of these that applies: 2 the set-up (config, programs, permissions, swapped drives,
    block size), 7 the changer, 6 a drive, 5 a volume, 1 the host or the ledger.
    """
    found: list[Check] = []
    wishes = Wishes(load, scratch, scratch_size, Path(source) if source else None)
    try:
        for check in _examine(app, wishes):
            found.append(check)
            remedy = f": {check.remedy}" if check.remedy else ""
            if not app.json:
                say(f"{WORDS[check.verdict]:<5}  {check.name}: {check.sentence}{remedy}")
    finally:  # what was found is printed even if the check-up is interrupted
        if app.json:
            print_json(
                [
                    {
                        "name": check.name,
                        "verdict": check.verdict.value,
                        "sentence": check.sentence,
                        "remedy": check.remedy,
                        "exit_code": check.code,
                    }
                    for check in found
                ]
            )
    if not app.json:
        problems = sum(check.verdict is Verdict.PROBLEM for check in found)
        warnings = sum(check.verdict is Verdict.WARNING for check in found)
        look = f"; {count(warnings, 'thing')} to look at" if warnings else ""
        say(f"{count(problems, 'problem')}{look}" if problems else f"nothing is wrong{look}")
    return exit_code(found)


def _examine(app: App, wishes: Wishes) -> Iterator[Check]:
    """Yield all checks; without a readable config there is only one."""
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
        with _collecting("ledger", troubles):
            missing = find_missing_ledger(config)
            if missing is None:
                ledger = held.enter_context(open_config_ledger(config))
            else:  # and it is not made: a wrong path in the config would look right from then on
                remedy = "if there was one, correct `ledger` in the config: the next command makes a new, empty one"
                troubles.append(warning("ledger", f"there is no ledger at {missing}", remedy))
        with _collecting("library", troubles):
            devices = config.library.open(tell, patient=False)  # doctor looks again and again by itself
        yield from troubles
        scheme, _, name = config.ledger.partition("///")
        setup = SetUp(
            kind=config.library,
            settings=config.settings,
            prefixes=config.prefixes,
            devices=devices,
            ledger=ledger,
            ledger_file=Path(name.partition("?")[0]) if scheme.startswith("sqlite") and name else None,
            tell=tell,
            stop=stop,
        )
        yield from examine(setup, wishes)


@contextmanager
def _collecting(name: str, troubles: list[Check]) -> Iterator[None]:
    """Turn an error in the block into one more of ``troubles``."""
    try:
        yield
    except PapertapeError as error:
        troubles.append(fault(name, error))
