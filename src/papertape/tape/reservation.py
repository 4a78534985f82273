"""Exclusive use of drives among threads and processes, by locks that die with whoever holds them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from papertape.errors import DriveError, HostError, TooFewDrives
from papertape.events import Tell, Waiting
from papertape.tape.locks import locked, try_lock
from papertape.words import be, enumerate_names

POLL_SECONDS = 0.1


def lock_path(locks: Path, drive: int) -> Path:
    """Return the file that is locked by who has ``drive``; it holds the owner's process id and host."""
    return locks / f"drive-{drive}.lock"


def listed(numbers: Sequence[int]) -> str:
    """Return drive numbers in words: "drive 0 and drive 1"."""
    return enumerate_names(f"drive {number}" for number in numbers)


def owner(locks: Path, drive: int) -> str:
    """Return who has, or last had, ``drive``: "process 1234", with its host if that is another one."""
    try:
        pid, _, host = lock_path(locks, drive).read_text().strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        pid, host = "", ""
    if not pid.isdigit():
        return "another process"
    return f"process {pid}" if host == socket.gethostname() else f"process {pid} on {host}"


@contextmanager
def reserved(locks: Path, among: Sequence[int], count: int, tell: Tell) -> Iterator[tuple[int, ...]]:
    """Hold ``count`` of the drives ``among``, waiting until so many are free at once; all or none.

    Tells once whom it waits for. Raises HostError if the folder ``locks`` cannot be used.
    """
    with ExitStack() as held:
        told = False
        while (numbers := _try(locks, among, count, held)) is None:
            if not told:
                tell(Waiting(reason=_who_has(locks, among)))
                told = True
            time.sleep(POLL_SECONDS)
        yield numbers


def is_reserved(locks: Path, drive: int) -> bool:
    """Tell whether somebody has ``drive``. Raises HostError."""
    try:
        with locked(locks / "reserve.lock"):  # trying takes the drive's lock for a moment: nobody may see that as use
            descriptor = try_lock(lock_path(locks, drive))
            if descriptor is not None:
                os.close(descriptor)
    except OSError as error:
        raise _unusable(locks, error) from error
    return descriptor is None


def _try(locks: Path, among: Sequence[int], count: int, held: ExitStack) -> tuple[int, ...] | None:
    """Take ``count`` drives into ``held``, or none."""
    try:
        locks.mkdir(parents=True, exist_ok=True)
        # One lock around all of them: two processes that each hold one drive and want two would wait for ever.
        with locked(locks / "reserve.lock"), ExitStack() as attempt:
            taken: list[int] = []
            for number in among:
                descriptor = try_lock(lock_path(locks, number)) if len(taken) < count else None
                if descriptor is None:
                    continue
                attempt.callback(os.close, descriptor)  # closing is unlocking
                taken.append(number)
                # The name is only for the one who waits: a full disk must not keep cartridges from being put away.
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
            if len(taken) < count:
                return None  # and ``attempt`` unlocks what it has
            held.enter_context(attempt.pop_all())
            return tuple(taken)
    except OSError as error:
        raise _unusable(locks, error) from error


def _who_has(locks: Path, among: Sequence[int]) -> str:
    busy = [number for number in among if is_reserved(locks, number)] or list(among)
    owners = {owner(locks, number): [n for n in busy if owner(locks, n) == owner(locks, number)] for number in busy}
    return enumerate_names(f"{listed(numbers)} {be(len(numbers))} in use by {name}" for name, numbers in owners.items())


def check_drives(count: int, numbers: Sequence[int] | None, present: Sequence[int]) -> tuple[Sequence[int], int]:
    """Return the drives to choose from and how many are needed. Raises TooFewDrives, DriveError."""
    if numbers is None:
        if count > len(present):
            raise TooFewDrives(count, len(present))
        return present, count
    for number in numbers:
        if number not in present:
            raise DriveError(number, f"missing: the library has {listed(present) or 'no drive'}")
    chosen = tuple(dict.fromkeys(numbers))
    return chosen, len(chosen)


def _unusable(locks: Path, error: OSError) -> HostError:
    return HostError(str(locks), f"the lock files of the drives cannot be used: {error.strerror or error}")
