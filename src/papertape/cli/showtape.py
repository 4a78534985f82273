"""``papertape volumes show --from-tape``: the label and the catalog of a volume, without a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from papertape.cli.app import App
from papertape.cli.output import say, tell_error, write
from papertape.cli.progress import Tally, open_progress
from papertape.cli.stopping import VERIFYING, stoppable
from papertape.events import tell_all
from papertape.ids import VolumeTag
from papertape.jobs.imports import inspect, name_kind
from papertape.jobs.opening import open_library
from papertape.transfer.inspect import Inspected
from papertape.transfer.stop import Stop
from papertape.volume.plan import PLAN_CSV, read_planned
from papertape.volume.recorded import Foreign, PredecessorVolume, Recorded, Torn, Whole
from papertape.words import count, enumerate_names, show_size


def show_tape(app: App, tag: VolumeTag) -> int:
    """Mount the volume, print its label and catalog, and return the exit code.

    Raises VolumeError, and the other errors of reading it, if neither can be read.
    """
    config = app.config()
    tally, stop = Tally(), Stop()
    code = 0
    with stoppable(stop, tally, VERIFYING), open_progress() as progress:
        library = open_library(config, tell_all(tally, progress))
        for inspected in inspect(library, [tag], config.settings.spool, stop):
            if inspected.recorded is None and inspected.error:
                raise inspected.error
            recorded = inspected.recorded
            if recorded is not None and app.json:
                _print_json(inspected, recorded)
            elif recorded is not None:
                say(*(f"{tag}: {line}" for line in _sentences(recorded)))
                for row in _rows(recorded):
                    say(f"  {_line(row)}")
                say(f"{show_size(inspected.bytes)} were read")
            if inspected.error:
                tell_error(inspected.error)
                code = inspected.error.exit_code
    return code


def _print_json(inspected: Inspected, recorded: Recorded) -> None:
    """Print one object, the data sets row by row: there may be a million."""
    head = {"volume": inspected.volume, "kind": name_kind(inspected), "bytes": inspected.bytes, **_describe(recorded)}
    write(msgspec.json.encode(head).decode()[:-1] + ',"datasets":[')
    for number, row in enumerate(_rows(recorded)):
        write((",\n " if number else "") + msgspec.json.encode(row).decode())
    write("]}\n")


def _describe(recorded: Recorded) -> dict[str, Any]:
    """Return the facts about the whole volume from its label and catalog, for JSON."""
    known: dict[str, Any] = {"whole": None, "reason": "", "label": None, "dump": None, "created": None}
    if isinstance(recorded, Foreign):
        known |= {"reason": f"holds {recorded.found}"}
    elif isinstance(recorded, PredecessorVolume):
        catalog = recorded.catalog
        known |= {"whole": not recorded.reason, "reason": recorded.reason, "dump": catalog.sha256}
        known |= {"created": catalog.created}
    elif isinstance(recorded, Whole):
        known |= {"whole": True, "label": recorded.label, "dump": recorded.catalog.dump}
        known |= {"created": recorded.catalog.created}
    elif isinstance(recorded, Torn):
        plan = recorded.plan
        known |= {"whole": False, "reason": recorded.reason, "label": recorded.label}
        known |= {"dump": plan.dump if plan else None, "created": recorded.label.created}
    return known


def _rows(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """Yield the data sets of a volume; for an unfinished one, those that were planned."""
    if isinstance(recorded, Whole):
        for item in recorded.catalog.dataset_records():
            place = {"source": str(item.source), "tape_file": item.tape_file, "offset": item.offset}
            yield {**place, "files": item.files, "bytes": item.size, "rejected": item.reason or None}
    elif isinstance(recorded, Torn) and recorded.plan:
        for planned in read_planned(recorded.folder / PLAN_CSV):
            place = {"source": str(planned.source), "tape_file": planned.tape_file}
            yield {**place, "files": planned.files, "bytes": planned.size, "whole": planned.tape_file <= recorded.last}
    elif isinstance(recorded, PredecessorVolume):
        for old in recorded.catalog.items:
            yield {
                "source": str(old.source),
                "tape_file": old.tape_index + 1,
                "item": old.archive_index,
                "md5": old.md5,
            }


def _sentences(recorded: Recorded) -> Iterable[str]:
    """Yield what the label and the catalog say of the volume as a whole."""
    if isinstance(recorded, Whole | Torn):
        label = recorded.label
        twins = enumerate_names(twin.volume_tag for twin in label.twins) or "none"
        made = f"written from {label.created:%Y-%m-%d %H:%M} UTC on by {label.written_by}"
        blocks = f"blocks of {label.block_size:,} bytes"
        yield f"volume {label.volume_uuid}, copy {label.copy}, {blocks}, {made}; twins: {twins}"
    if isinstance(recorded, Whole):
        catalog = recorded.catalog
        counts = f"{count(catalog.datasets, 'data set')}, {count(catalog.files, 'file')}, {show_size(catalog.size)}"
        yield f"dump {catalog.dump} of {catalog.created:%Y-%m-%d %H:%M} UTC, with its catalog: {counts}"
    elif isinstance(recorded, Torn):
        yield recorded.reason
        yield f"the plan of dump {recorded.plan.dump}:" if recorded.plan else "its plan cannot be read"
    elif isinstance(recorded, PredecessorVolume):
        catalog_ = recorded.catalog
        torn = f"; NOT WHOLE: {recorded.reason}" if recorded.reason else ""
        what = f"the predecessor's dump {catalog_.job} of {catalog_.created:%Y-%m-%d %H:%M}"
        yield f"{what}, {count(len(catalog_.items), 'data set')}{torn}"
    else:
        yield f"holds {recorded.found}" if isinstance(recorded, Foreign) else "blank"


def _line(row: dict[str, Any]) -> str:
    """Return one of ``_rows`` for people."""
    where = f"tape file {row['tape_file']}"
    if "item" in row:
        return f"{where}, number {row['item']}: {row['source']}  MD5 {row['md5']}"
    if "offset" in row:
        where = f"{where}, offset {row['offset']}"
    state = f"  REJECTED: {row['rejected']}" if row.get("rejected") else ""
    state = "  NOT WHOLE" if row.get("whole") is False else state
    return f"{where}: {row['source']}  {count(row['files'], 'file')}, {show_size(row['bytes'])}{state}"
