"""The public interface: ``papertape.open(config)`` gives an ``Archive``, with the verbs of the command line.

::

    import papertape

    with papertape.open("/srv/papertape/papertape.toml", tell=print) as archive:
        archive.add(["/data/2459000"])
        outcomes = archive.dump()

Only this module, ``papertape.events`` and ``papertape.errors`` are public, and the types of what they return. The
command line is the first user of this interface.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from papertape.config import FILE_NAME, Config, check_host, find_config, read_config
from papertape.errors import NothingToDo, UserError
from papertape.events import Note, Tell, tell_all
from papertape.evidence import Verification
from papertape.ids import DumpId, VolumeTag
from papertape.jobs import dump as dumping
from papertape.jobs import explain as explaining
from papertape.jobs import imports, register, setup
from papertape.jobs import recopy as recopying
from papertape.jobs import restore as restoring
from papertape.jobs import verify as verifying
from papertape.jobs.context import Context, Outcome
from papertape.jobs.deletable import Candidate, find_deletable
from papertape.jobs.lab.databases import LabDatabases, Settled, open_lab
from papertape.jobs.lab.history import Remembered, import_history
from papertape.jobs.lab.pull import Pulled, PulledLabels, pull, pull_labels
from papertape.jobs.lab.unimported import Unimported, find_unimported, import_unimported, names_unknown_volume
from papertape.jobs.opening import open_config_ledger, open_library
from papertape.jobs.register import Registered, read_md5sums
from papertape.jobs.restore import Plan, Restored, Wish
from papertape.ledger import Found, FoundFile, Listed, Status, VolumeStatus
from papertape.plan import Batch
from papertape.settings import MOUNTS
from papertape.tape.generations import GENERATIONS
from papertape.transfer.stop import Stop
from papertape.trial.testdata import MD5SUMS, Built, Sizes
from papertape.trial.testdata import build_testdata as build

__all__ = ["Archive", "Stop", "build_testdata", "init", "open"]

DEFAULT_CAPACITY = 2_500_000_000_000
"""Bytes of a volume that is new to the ledger, if nobody says otherwise: an LTO-6 cartridge."""

AnyPath = str | bytes | os.PathLike[str]


@dataclass(frozen=True)
class Archive(Context):
    """papertape with one config: its ledger is open, its library is opened when a verb first needs it.

    A context manager: at the end of the block the ledger is closed. Every verb raises only errors of
    ``papertape.errors``. An archive may be used by one thread at a time; ``stop`` may be asked from any thread.
    """

    config: Config

    dump = dumping.dump
    recover = dumping.recover
    recopy = recopying.recopy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ledger.close()

    def add(
        self,
        paths: Iterable[AnyPath],
        *,
        md5s: Mapping[bytes, str] | AnyPath | None = None,
        host: str | None = None,
        show: Callable[[Registered], None] = lambda _: None,
    ) -> list[Registered]:
        """Register each path as a data set, and return the results; a path that cannot be registered has an error.

        ``md5s`` are declared digests by absolute path, or a file in the form that ``md5sum`` writes. The paths are
        registered under ``host``, by default the config's. ``show`` gets each result at once. Raises UserError for a
        path inside another data set; those that ``show`` got stay registered.
        """
        try:
            name = check_host(host) if host else self.config.host
        except ValueError as error:
            raise UserError(f"host: {error}") from error
        declared = md5s if isinstance(md5s, Mapping) else read_md5sums(Path(os.fsdecode(md5s))) if md5s else {}
        results = []
        for result in register.register(self.ledger, name, map(os.fsencode, paths), declared):
            results.append(result)
            show(result)
        return results

    def plan(self) -> tuple[Batch, bool]:
        """Return the plan of the next dump; changes nothing.

        The second value says whether that dump continues one that was interrupted while it was written. Raises
        NothingToDo if no data set waits, NoBlankVolume if a copy has no blank volume.
        """
        return dumping.plan_next(self.ledger, self.library, self.settings)

    def dump_all(self) -> Iterator[list[Outcome]]:
        """Dump until nothing waits, an error ends it, or ``stop`` is asked; yield the outcomes of each ``dump``.

        Raises NothingToDo if there is nothing to do at all.
        """
        outcomes = self.dump()
        yield outcomes
        while not outcomes[-1].error and not self.stop.soon:
            try:
                outcomes = self.dump()
            except NothingToDo:
                return
            yield outcomes

    def verify(self, *volumes: str) -> list[Verification]:
        """Read volumes back whole, as many at once as there are drives, and record what was found.

        Asked to stop, it returns after the volumes in drives. Raises UserError for a volume that is unknown or holds no
        finished dump; VolumeError, DriveError, ChangerError if a volume cannot be brought to a drive.
        """
        return list(verifying.verify(self, list(map(VolumeTag, volumes))))

    def status(self) -> Status:
        """Count data sets, volumes and dumps by their states."""
        return self.ledger.status()

    def deletable(self) -> Iterator[Candidate]:
        """Yield this host's data sets that are good on every copy, each with what is on disk now (see ``on_disk``)."""
        return find_deletable(self.ledger, self.config.host)

    def find(self, pattern: str) -> Iterator[Found | Listed]:
        """Yield data sets by a part of ``host:/path``, or by a glob over it (over the path, if it begins with a slash).

        A ``Listed`` one is known only from the lab's own table; these come last.
        """
        return chain(self.ledger.search.find(pattern), self.ledger.history.find(pattern))

    def files(self, found: Found) -> Iterator[FoundFile]:
        """Yield the files of a data set that was found, in tape order, with size in bytes and SHA-256."""
        return self.ledger.search.files(found)

    def restore(
        self,
        *patterns: str,
        to: AnyPath,
        volume: str | None = None,
        at: datetime | None = None,
        dump: int | None = None,
        overwrite: bool = False,
        show_plan: Callable[[Plan], None] = lambda _: None,
    ) -> Restored:
        """Restore the newest version of each data set that matches a pattern, as ``to``/HOST/PATH.

        ``volume`` is read first, and only data sets on it are restored. ``at`` (UTC if it has no zone) and ``dump``
        choose an older version. ``overwrite`` replaces files that differ. Volumes that only the lab's table knows are
        imported first. ``show_plan`` gets the plan before anything moves. Lost data sets and files in the way are in
        the result's ``error``. Raises NothingToDo if nothing matches, UserError if something is in the way, HostError
        if ``to`` cannot be written, ChangerError, DriveError, Interrupted; the same call continues where it stopped.
        """
        wish = _make_wish(patterns, volume, at, dump)
        results, missing = import_unimported(self, wish, DEFAULT_CAPACITY, self.config.copy_of)
        for result in results:
            self.tell(Note(sentence=str(result.error or f"imported {result.volume}")))
        if missing and names_unknown_volume(self.ledger, wish):
            raise missing
        try:
            return restoring.restore(self, wish, Path(os.fsdecode(to)), show_plan, overwrite=overwrite, missing=missing)
        except NothingToDo as nothing:
            raise missing or nothing from None

    def plan_restore(
        self,
        *patterns: str,
        to: AnyPath,
        volume: str | None = None,
        at: datetime | None = None,
        dump: int | None = None,
        overwrite: bool = False,
    ) -> tuple[Plan, list[Unimported]]:
        """Return the plan of the same ``restore``, and the volumes that it would import first; changes nothing."""
        wish = _make_wish(patterns, volume, at, dump)
        unimported = find_unimported(self.ledger, wish)
        nothing = Plan((), (), (), {})
        if unimported and names_unknown_volume(self.ledger, wish):
            return nothing, unimported
        try:
            return restoring.plan_only(self, wish, Path(os.fsdecode(to)), overwrite=overwrite), unimported
        except NothingToDo:
            if not unimported:
                raise
            return nothing, unimported

    def explain(self, volume: str, pattern: str | None = None) -> str:
        """Return a shell script that gets back a volume, or the data sets on it that match ``pattern``, by hand.

        Raises UserError for an unknown volume or one without a finished dump, NothingToDo if nothing matches.
        """
        origin = explaining.find_origin(self.config.library, VolumeTag(volume))
        return "".join(explaining.explain(self.ledger, VolumeTag(volume), pattern, origin))

    def volumes(self) -> tuple[VolumeStatus, ...]:
        """Return every volume, ordered by tag."""
        return self.ledger.volumes.all()

    def add_volumes(self, *tags: str, capacity: int = DEFAULT_CAPACITY, cartridges: bool = False) -> None:
        """Register blank volumes of ``capacity`` bytes each, all of them or none.

        ``cartridges`` puts new blank cartridges into a virtual library, too. Raises UserError for a tag that is not
        valid, that has none of the config's prefixes, or that is registered.
        """
        added = list(map(VolumeTag, tags))
        setup.register_volumes(self.config, added, capacity)
        if cartridges:
            for tag in added:
                self.config.library.add_cartridge(tag, capacity)

    def retire_volume(self, tag: str, reason: str = "retired by hand") -> None:
        """Take a volume out of service; raises UserError if it is unknown or a dump has it."""
        self.ledger.volumes.retire(VolumeTag(tag), reason)

    def place_volumes(self, *tags: str, place: str) -> None:
        """Note where volumes lie outside the library ("" for nowhere), all or none; raises UserError."""
        placed = list(map(VolumeTag, tags))
        for tag in placed:
            self.ledger.volumes.one(tag)  # raises before anything is changed
        for tag in placed:
            self.ledger.volumes.place(tag, place)

    def import_volumes(self, *tags: str, capacity: int = DEFAULT_CAPACITY) -> Iterator[imports.Result]:
        """Enter volumes in the ledger from their labels and catalogs, and yield each result.

        Works while the results are taken. Without ``tags``: every volume in the library that the ledger knows nothing
        of. ``capacity`` in bytes is for volumes that are new. Raises NothingToDo, DriveError, ChangerError, HostError,
        Interrupted.
        """
        wanted = list(map(VolumeTag, dict.fromkeys(tags))) or imports.choose_all(self.ledger, self.library)
        return imports.import_volumes(self, wanted, capacity, self.config.copy_of)

    def pull(self) -> tuple[PulledLabels, Iterator[Pulled]]:
        """Register the lab's free tapes, and the rows that the lab wants on tape, which may be a million.

        The rows are registered while their results are taken from the iterator.
        """
        bridge = self.config.needed_bridge()
        return pull_labels(self.ledger, bridge), pull(self.ledger, bridge, self.config.host)

    def push(self) -> Settled:
        """Release in the lab's databases what no dump has any more, and report there what is archived."""
        return LabDatabases(self.ledger, self.config.needed_bridge(), self.tell).settle()

    def import_history(self, pattern: str = "*", *, dry_run: bool = False) -> Iterator[Remembered]:
        """Remember the places on tape that the lab's table names, and yield the result of each row.

        Works while the results are taken: there may be a million.
        """
        return import_history(self.ledger, self.config.needed_bridge(), pattern, dry_run=dry_run)


def open(  # noqa: A001  papertape.open, as gzip.open or tarfile.open
    config: str | os.PathLike[str] | Config | None = None,
    *,
    tell: Tell | None = None,
    stop: Stop | None = None,
    mount: str | None = None,
) -> Archive:
    """Open the archive of a config: a path, or None for the first config file that is found as on the command line.

    ``tell`` gets every event (``papertape.events``) on the thread on which it happens, and must return at once.
    ``stop`` is asked to end a job. ``mount`` replaces the config's. Raises ConfigError, UserError, HostError.
    """
    chosen = config if isinstance(config, Config) else read_config(find_config(None if config is None else str(config)))
    settings = chosen.settings
    if mount is not None:
        if mount not in MOUNTS:
            raise UserError(f"mount {mount!r} is none of {', '.join(MOUNTS)}")
        settings = replace(settings, mount=mount)
    heard = tell_all(tell) if tell else tell_all()
    ledger = open_config_ledger(chosen)
    return Archive(
        ledger=ledger,
        open_library=functools.cache(functools.partial(open_library, chosen, heard)),
        settings=settings,
        tell=heard,
        stop=stop or Stop(),
        lab=open_lab(ledger, chosen.bridge, heard),
        config=chosen,
    )


def init(
    folder: AnyPath, *, drives: int = 2, slots: int = 12, capacity: int | None = None, generation: str = "LTO-6"
) -> Path:
    """Make a config, a ledger and a virtual library in ``folder``, and return the config's path.

    ``capacity`` in bytes is that of each cartridge, by default the generation's. Raises UserError if something is there
    already, or cannot be made: then nothing is made. (`papertape init` sets up real libraries, too.)
    """
    if generation not in GENERATIONS:
        raise UserError(f"generation {generation!r} is none of {', '.join(GENERATIONS)}")
    path = Path(os.fsdecode(folder))
    setup.set_up_virtual(
        path,
        drives=drives,
        slots=slots,
        capacity=capacity or GENERATIONS[generation].capacity,
        generation=generation,
    )
    return path / FILE_NAME


def build_testdata(folder: AnyPath, sizes: Sizes | None = None, seed: int = 1) -> tuple[list[Built], Path]:
    """Build a night of test data in ``folder``: the same seed and sizes give the same bytes, names and times.

    Returns the data sets, and the file of their declared MD5s for ``Archive.add``. Raises UserError, HostError.
    """
    path = Path(os.fsdecode(folder))
    return build(path, sizes or Sizes(), seed, tell_all()), path / MD5SUMS


def _make_wish(patterns: tuple[str, ...], volume: str | None, at: datetime | None, dump: int | None) -> Wish:
    zoned = at.replace(tzinfo=UTC) if at and at.tzinfo is None else at
    return Wish(patterns, VolumeTag(volume) if volume else None, zoned, None if dump is None else DumpId(dump))
