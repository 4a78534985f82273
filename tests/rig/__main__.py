"""The rig by hand: one command in a guest, with a library of its own."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from rig import cache
from rig.cache import RigError
from rig.guest import MOUNT_POINT, Guest
from rig.library import TapeLibrary

TIMED_OUT, RIG_FAILED, INTERRUPTED = 124, 125, 130

EXAMPLE = f"""
A Linux guest with the real st driver runs COMMAND in this folder, as root. It has the drives /dev/nst0 and /dev/nst1, a
changer whose device is in $CHANGER, and this machine's files: it can write them all, but what it writes is gone at the
end, except in folders given by --share and on the disk given by --disk.

example:
  PYTHONPATH=tests python -m rig --cartridges "PAPR1001:64 PAPR1002" --share results -- \\
      sh -c 'mtx -f $CHANGER load 1 0; tar cf /dev/nst0 src; mt -f /dev/nst0 rewind; tar tf /dev/nst0 >results/list'

exit status: COMMAND's; {TIMED_OUT} timed out, {RIG_FAILED} the rig failed, {INTERRUPTED} interrupted, 2 wrong options.
"""


def main() -> int:
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments = _parser().parse_args(words[:end])
    if arguments.check:
        lacking = cache.missing()
        print("\n".join([*lacking, cache.install_command()]) if lacking else "nothing is missing")
        return 1 if lacking else 0
    try:
        return _run(arguments, words[end + 1 :])
    except RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        return RIG_FAILED
    except subprocess.TimeoutExpired as error:
        print(f"rig: timed out after {error.timeout:g} s", file=sys.stderr)
        return TIMED_OUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rig",
        usage="%(prog)s [options] -- COMMAND [ARGUMENT ...]\n       %(prog)s --check",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--check", action="store_true", help="say what must be installed first, and end with 0 if nothing, else 1")
    add("--cartridges", default="PAPR1001 PAPR2001", metavar="LIST", help="barcodes, each with :MIB or of 512 MiB")
    add("--slots", type=int, default=12, metavar="N", help="slots besides the one mail slot (%(default)s)")
    add("--drives", type=int, default=2, metavar="N", help="drives (%(default)s)")
    add("--max-block", type=int, metavar="BYTES", help="the longest block that the drives take (8 MiB)")
    add("--images", type=Path, metavar="DIR", help="folder for the cartridges, to be kept; else they are in memory")
    add("--disk", type=Path, metavar="FILE", help=f"an ext4 disk, made if it is not there; mounted at {MOUNT_POINT}")
    add("--share", type=Path, action="append", default=[], metavar="DIR", help="a folder that the guest may write to")
    add(
        "--env",
        type=lambda text: text.partition("="),
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable for the command; without a value, as it is here",
    )
    add("--memory", default="4G", metavar="SIZE", help="of the guest, taken as it is used (%(default)s)")
    add("--timeout", type=float, default=900, metavar="S", help="cut the power after so many seconds (%(default)s)")
    return parser


def _run(arguments: argparse.Namespace, command: list[str]) -> int:
    if not command:
        raise RigError("no COMMAND after --; see --help")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    library = TapeLibrary(
        arguments.images,
        drives=arguments.drives,
        slots=arguments.slots,
        cartridges=_cartridges(arguments.cartridges),
        max_block=arguments.max_block,
    )
    env = {name: value if given else os.environ.get(name, "") for name, given, value in arguments.env}
    with library:
        guest = Guest(library, shares=arguments.share, disk=arguments.disk, env=env, memory=arguments.memory)
        with guest.start(command) as running:
            return running.relay(arguments.timeout, sys.stdout.buffer, sys.stderr.buffer)


def _cartridges(text: str) -> dict[str, int]:
    """Return barcodes and sizes in MiB from "PAPR1001:64 PAPR1002"."""
    cartridges = {}
    for item in text.split():
        barcode, _, size = item.partition(":")
        if size and not size.isdigit():
            raise RigError(f"not a number of MiB: {item}")
        cartridges[barcode] = int(size or 512)
    return cartridges


if __name__ == "__main__":
    sys.exit(main())
