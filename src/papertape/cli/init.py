"""``papertape init``: a config and a ledger in a folder, for a virtual library there or for a real one."""

from __future__ import annotations

from pathlib import Path

import click

from papertape.cli.app import App, command
from papertape.cli.options import SIZE
from papertape.cli.output import print_json, say
from papertape.config import FILE_NAME
from papertape.jobs.setup import LEDGER, PREFIXES, RING, set_up_scsi, set_up_virtual
from papertape.tape.generations import GENERATIONS
from papertape.words import count, show_size, show_text


@command(
    "init",
    short="Make a config and a ledger, and a virtual library.",
    examples="""
papertape init /srv/papertape
papertape init --slots 24 --generation LTO-8 --capacity 12TB
papertape init /srv/papertape --changer /dev/sg3 --drive /dev/nst0 --drive /dev/nst1
papertape init --changer /dev/sg3 --drive /dev/nst0 --drive /dev/nst1 --prefix H0C1 --prefix H0C2
papertape init --ledger postgresql+psycopg://papertape@dbhost/papertape
""",
)
@click.argument("folder", metavar="[DIR]", default=".")
@click.option(
    "--drives",
    default=2,
    show_default=True,
    type=click.IntRange(1, 64),
    metavar="N",
    help="The number of virtual drives, 1 to 64.",
)
@click.option(
    "--slots",
    default=12,
    show_default=True,
    type=click.IntRange(2, 998),
    metavar="N",
    help="The number of virtual slots, 2 to 998.",
)
@click.option(
    "--capacity", type=SIZE, metavar="SIZE", help="The capacity of each cartridge.  [default: the generation's]"
)
@click.option(
    "--generation",
    default="LTO-6",
    show_default=True,
    type=click.Choice(list(GENERATIONS)),
    help="The LTO generation of drives and cartridges.",
)
@click.option(
    "--ring", default=RING, show_default=True, metavar="SIZE", help="The size of the memory between disk and drives."
)
@click.option("--changer", metavar="DEVICE", help="The changer of a real library; no virtual library is made.")
@click.option(
    "--drive",
    "nodes",
    multiple=True,
    metavar="DEVICE",
    help="A drive of the real library; repeat it in element order.",
)
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    default=PREFIXES,
    show_default=True,
    metavar="TAG",
    help="How the volume tags of a copy begin; repeat the option for each copy.",
)
@click.option(
    "--ledger",
    default=LEDGER,
    metavar="URL",
    help="A ledger on a database server, which several hosts can share.  [default: a file in DIR]",
)
def init(
    app: App,
    folder: str,
    drives: int,
    slots: int,
    capacity: int | None,
    generation: str,
    ring: str,
    changer: str | None,
    nodes: tuple[str, ...],
    prefixes: tuple[str, ...],
    ledger: str,
) -> None:
    """Make a config, a ledger and a virtual library in DIR (default: the current folder).

    The slots of the virtual library get blank volumes, which are registered: one half has the tags PAPR1001 and so on,
    the other half PAPR2001 and so on.

    With --changer and --drive, the library is a real one. Its cartridges whose tags begin with a prefix are registered
    as blank volumes. Before papertape writes to a volume, it reads the tape to make sure that it is blank.
    """
    capacity = capacity or GENERATIONS[generation].capacity
    if changer or nodes:
        made = set_up_scsi(
            Path(folder),
            changer=changer or "",
            drives=nodes,
            capacity=capacity,
            ring=ring,
            prefixes=prefixes,
            ledger=ledger,
        )
        library = f"the library at {changer} with {count(len(nodes), 'drive')}"
    else:
        made = set_up_virtual(
            Path(folder),
            drives=drives,
            slots=slots,
            capacity=capacity,
            generation=generation,
            ring=ring,
            prefixes=prefixes,
            ledger=ledger,
        )
        library = f"a virtual library with {count(drives, 'drive')} and {count(slots, 'slot')}"
    config, tags = made
    if app.json:
        print_json({"config": show_text(str(config.folder / FILE_NAME)), "volumes": tags, "capacity": capacity})
        return
    volumes = f"{count(len(tags), 'blank volume')} of {show_size(capacity)}"
    range_ = f" ({tags[0]} to {tags[-1]})" if tags else ""
    say(
        f"{config.folder}: {library}, {volumes}{range_}, and a ledger",
        f"Next: cd {config.folder} && papertape add PATH... && papertape dump",
    )
