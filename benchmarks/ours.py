"""What the benchmark measures of papertape, in a process of its own: ``python ours.py STEP FOLDER [OPTION=VALUE ...]``.

The seconds are those of the step itself, without starting Python or planning.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from stock import MIB, Answer, run
from tapes import TAGS, two_drives

from papertape.events import tell_all
from papertape.plan import Volume, plan_batch
from papertape.transfer.source import scan
from papertape.transfer.stop import Stop
from papertape.transfer.verify import verify_volumes
from papertape.transfer.write import write_volumes

ARCHIVE_SIZE = 5 * 10**9


def write(folder: Path, md5: int, ring: int, virtual: int) -> Answer:
    """Write two copies of the folder, one data set, as tar does; ``ring`` is in bytes.

    With ``md5``, every file is a data set with a declared MD5.
    """
    declared = json.loads((folder / "md5s.json").read_bytes())
    paths = declared if md5 else {str(Path(path).parent): None for path in declared}
    datasets = [scan("bench", os.fsencode(path))._replace(md5=known) for path, known in paths.items()]
    capacity = sum(dataset.tape_bytes + dataset.catalog_bytes for dataset in datasets) * 2 + 10**9
    volumes = [Volume(tag, f"uuid-{tag}", copy, capacity) for copy, tag in enumerate(TAGS, 1)]
    batch = plan_batch("bench", datasets, volumes, archive_size=ARCHIVE_SIZE, block_size=MIB)
    with two_drives(folder, virtual=bool(virtual)) as drives, measured() as answer:
        writing = write_volumes(
            batch,
            drives,
            spool=folder / "spool",
            ring=ring,
            created=datetime.now(UTC),
            tell=tell_all(),
            stop=Stop(),
        )
    if writing.rejected or writing.catalog is None or any(copy.error for copy in writing.copies):
        sys.exit(f"the writing failed: {writing}")
    (folder / "catalog.pickle").write_bytes(pickle.dumps(writing.catalog))
    return answer


def verify(folder: Path, virtual: int) -> Answer:
    """Verify both copies at once."""
    catalog = pickle.loads((folder / "catalog.pickle").read_bytes())
    with two_drives(folder, virtual=bool(virtual)) as drives, measured() as answer:
        results = verify_volumes(catalog.expected(), TAGS, drives, tell_all(), Stop())
    if not all(result.ok and result.files == catalog.files for result in results):
        sys.exit(f"the verification failed: {results}")
    return answer


@contextmanager
def measured() -> Iterator[Answer]:
    """Measure the block: wall clock seconds, CPU seconds of all threads, and the process's peak memory in MiB."""
    answer: Answer = {}
    cpu, began = time.process_time(), time.perf_counter()
    yield answer
    answer["seconds"] = time.perf_counter() - began
    answer["cpu"] = time.process_time() - cpu
    answer["peak"] = peak_memory()


def peak_memory() -> float:
    """Return the most memory, in MiB, that this process ever had; getrusage would count its parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    run(sys.argv[1:], {"write": write, "verify": verify})
