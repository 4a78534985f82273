"""Child processes and a folder of their own, which end with the process that started them, however that ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# Reads until this process closes its end, or is gone, be it by SIGKILL. The children are found by their environment,
# so that none is missed that was started a moment ago, and no number is killed that has been given to another process.
# More than once, because what is being killed may start another, or write a file behind the back of rm.
GUARD = """
read -r _
for try in 1 2 3 4 5 6 7 8 9; do
    for file in $(grep -alsF "PAPERTAPE_RIG_FOLDER=$1" /proc/[0-9]*/environ); do
        pid=${file#/proc/}
        kill -KILL "${pid%%/*}"
        busy=1
    done
    rm -rf "$1" && [ -z "$busy" ] && break
    busy=
    sleep 0.05
done
"""


class Processes:
    """A temporary folder and the processes that work in it; ``end`` kills them and removes it.

    A guard, a process of its own, does it if this process cannot any more.
    """

    def __init__(self, parent: str | None = None) -> None:
        """Make the folder, in ``parent`` or where temporary files go."""
        self.folder = Path(tempfile.mkdtemp(prefix="papertape-rig.", dir=parent))
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            guard = subprocess.Popen(
                ["sh", "-c", GUARD, "rig-guard", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is for the tests alone
            )
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        self._end = weakref.finalize(self, _end, os.getpid(), guard, self._children)

    def spawn(self, command: Sequence[str | Path], log: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start ``command`` with its output in the file ``log`` of the folder and ``env`` besides the environment."""
        with (self.folder / log).open("wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(env),
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return this process's environment with ``env``, and with the mark by which the guard knows children."""
        return {**os.environ, **env, "PAPERTAPE_RIG_FOLDER": str(self.folder)}

    def end(self) -> None:
        """Kill what runs and remove the folder; once is enough, twice does no harm."""
        self._end()


def _end(owner: int, guard: subprocess.Popen[bytes], children: Iterable[subprocess.Popen[bytes]]) -> None:
    if os.getpid() != owner:  # a forked child of the tests, which comes to its own end
        return
    for child in children:
        child.kill()
        child.wait()
    with contextlib.suppress(OSError):
        guard.communicate()
