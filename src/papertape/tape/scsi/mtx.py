"""A changer by way of the program ``mtx``: its ``status`` read, its moves run, its sentences put into our words.

mtx opens the device for each run, asks for the state of every element, does one command and ends. Statements about mtx
here are from the source of its release 1.3.12, before Debian's patches.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from papertape.errors import InventoryUnknown, MoveFailed, PapertapeError, SourceEmpty, UserError
from papertape.ids import VolumeTag
from papertape.tape.changer import Element, ElementKind, ElementStatus, Inventory
from papertape.tape.scsi.sense import explain, means_no_changer

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where mtx lies: Debian does not search these for ordinary users."""

GRACE_SECONDS = 5.0
"""How long a killed mtx is waited for: inside the kernel's driver it dies only when the changer answers."""


@dataclass(frozen=True)
class Limits:
    """How long a run of mtx may take, in seconds; mtx itself gives a SCSI command up after 300."""

    status: float = 120.0
    move: float = 600.0


LIMITS = Limits()

DRIVE, STORAGE, IMPORT_EXPORT = ElementKind.DRIVE, ElementKind.STORAGE, ElementKind.IMPORT_EXPORT

_N = "([0-9]{1,6})"
_TAGS = r"(?::VolumeTag ?= ?(?P<tag>.*?))?(?::AlternateVolumeTag ?= ?.*)?"
_HEADER = re.compile(rf" *Storage Changer .*:{_N} Drives, {_N} Slots \( *{_N} Import/Export \) *")
_DRIVE = re.compile(
    rf" *Data Transfer Element {_N}:"
    rf"(?:Empty|(?P<full>Full) \((?:Storage Element (?P<home>[0-9]{{1,6}})|Unknown Storage Element) Loaded\)){_TAGS} *"
)
_SLOT = re.compile(rf" *Storage Element {_N}(?P<mail> IMPORT/EXPORT)?:(?:Empty|(?P<full>Full) ?){_TAGS} *")


def parse_status(text: str) -> Inventory:
    """Return the inventory that ``mtx status`` printed as ``text``; raises InventoryUnknown if it is not whole.

    Volume tags come without the blanks around them, and as ASCII: anything else in them, and a backslash, is escaped as
    in Python. ``home`` is only a hint: where the changer does not know it, mtx names some empty slot.
    """
    # Not ``splitlines``, which would split inside volume tags, too.
    lines = [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line.strip(" ")]
    if not lines:
        raise InventoryUnknown('"mtx status" printed nothing')
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise InventoryUnknown(f'"mtx status" printed {_show(lines[0])}, which is not understood')
    if not text.endswith("\n"):
        raise InventoryUnknown(f'"mtx status" is cut off at {_show(lines[-1])}')
    drives = int(header[1])
    loaded = [_match(_DRIVE, line, number) for number, line in enumerate(lines[1 : drives + 1])]
    stored = [_match(_SLOT, line, number) for number, line in enumerate(lines[drives + 1 :], 1)]
    said = tuple(int(count) for count in header.groups())
    found = (len(loaded), len(stored), sum(match["mail"] is not None for match in stored))
    if found != said:
        counts = "{} drives and {} slots, of them {} mail slots"
        raise InventoryUnknown(f'"mtx status" announces {counts.format(*said)}, but lists {counts.format(*found)}')
    storage = [_status(match, IMPORT_EXPORT if match["mail"] else STORAGE, {}) for match in stored]
    homes = {str(status.element.number): status.element for status in storage}
    return Inventory((*(_status(match, DRIVE, homes) for match in loaded), *storage))


def _match(pattern: re.Pattern[str], line: str, number: int) -> re.Match[str]:
    match = pattern.fullmatch(line)
    if match is None or int(match[1]) != number:
        raise InventoryUnknown(f'"mtx status" printed {_show(line)}, which is not understood')
    return match


def _status(match: re.Match[str], kind: ElementKind, homes: Mapping[str, Element]) -> ElementStatus:
    element = Element(kind, int(match[1]))
    if not match["full"]:
        return ElementStatus(element, full=False)
    tag = (match["tag"] or "").strip(" ").encode("unicode_escape").decode("ascii")
    return ElementStatus(element, True, VolumeTag(tag) if tag else None, homes.get(match["home"]) if homes else None)


def _show(line: str, room: int = 80) -> str:
    """Return ``line`` in quotes, short and fit to be printed."""
    text = line.strip(" ").encode("unicode_escape").decode("ascii")
    return f'"{text}"' if len(text) <= room else f'"{text[: room - 3]}..."'


_UNKNOWN = "the robot's state is unknown: look into the library"
_CANNOT_OPEN = re.compile(r"cannot open SCSI device '.*' - (.*)")
_CORRECT = 'correct "changer" in the config'
_OPENING = {
    os.strerror(errno.ENOENT): f"there is no such device: is the library on and connected? If so, {_CORRECT}",
    os.strerror(errno.EACCES): 'no permission to use it: the user must be in the group "tape"',
    os.strerror(errno.EISDIR): f"it is a folder, not a changer: {_CORRECT}",
}


def _cannot_open(device: Path, words: str) -> PapertapeError:
    """Return what ``words``, of strerror on opening ``device``, mean to the operator."""
    if words in _OPENING:
        return UserError(f"{device}: {_OPENING[words]}")
    return InventoryUnknown(f"{device} cannot be opened: {words}")


@dataclass(frozen=True)
class _Answer:
    """How a run of mtx ended and what it printed."""

    code: int
    out: str
    err: str

    def failure(self, device: Path, *places: Element) -> PapertapeError:
        """Return why the run failed; ``places`` are source and destination of a move."""
        unopened = _CANNOT_OPEN.search(self.err)
        if unopened:
            return _cannot_open(device, unopened[1])
        if means_no_changer(self.err):
            return UserError(f"{device}: it is not a changer: {_CORRECT}")
        known = explain(self.err, *places)
        if known:
            return InventoryUnknown(known)
        lines = [line for line in (self.err or self.out).split("\n") if line.strip()]
        said = f"said {_show(lines[-1])}" if lines else "said nothing"
        killed = f"; {_UNKNOWN}" if self.code < 0 else ""
        return InventoryUnknown(f"mtx ended with status {self.code} and {said}{killed}")


class MtxChanger:
    """The changer at ``device`` (see ``Changer``), by way of ``program``; one run at a time among all processes.

    Raises UserError where the set-up is wrong: no mtx, no such device, no permission, not a changer.
    """

    def __init__(self, device: Path, *, program: str = "mtx", limits: Limits = LIMITS) -> None:
        self._device = device
        self._program = program
        self._limits = limits

    def inventory(self) -> Inventory:
        """See ``Changer.inventory``."""
        with self._alone() as lock:
            return self._look(lock)

    def move(self, source: Element, destination: Element) -> None:
        """See ``Changer.move``.

        That mtx ends well proves nothing: a command that the connection lost counts as done for it.
        """
        try:
            with self._alone() as lock:
                _check(self._look(lock), source, destination)
                number, other = str(source.number), str(destination.number)
                command = ("transfer", number, other)
                if destination.kind is DRIVE:
                    command = ("load", number, other)
                elif source.kind is DRIVE:  # mtx unload SLOT DRIVE
                    command = ("unload", other, number)
                answer = self._run(lock, self._limits.move, *command)
                if answer.code != 0:
                    raise answer.failure(self._device, source, destination)
        except InventoryUnknown as error:
            raise MoveFailed(str(source), str(destination), error.reason) from error

    def _look(self, lock: int) -> Inventory:
        answer = self._run(lock, self._limits.status, "status")
        # With more slots than mtx has room for it ends well, but what it prints is not what is there.
        if answer.code != 0 or not answer.out.strip() or "Too Many Storage" in answer.err:
            raise answer.failure(self._device)
        return parse_status(answer.out)

    def _run(self, lock: int, seconds: float, *words: str) -> _Answer:
        return _undisturbed(lambda: self._wait(self._start(lock, *words), seconds))

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> _Answer:
        try:
            printed = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            _kill(process)  # its command may be under way in the library nevertheless
            raise InventoryUnknown(f"mtx did not answer within {seconds:g} s; {_UNKNOWN}") from error
        # Volume tags are bytes without an encoding; latin-1 keeps each apart.
        return _Answer(process.returncode, *(text.decode("latin-1") for text in printed))

    def _start(self, lock: int, *words: str) -> subprocess.Popen[bytes]:
        """Start mtx in a new session, where no Ctrl-C reaches it; it keeps ``lock`` even if this process dies."""
        program = shutil.which(self._program, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")
        if program is None:
            raise UserError(f"{self._program} is not installed: install the package mtx")
        try:
            return subprocess.Popen(
                [program, "-f", os.fspath(self._device), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},  # its sentences are recognized in English only
                start_new_session=True,
                pass_fds=[lock],  # flock belongs to the open file description: mtx holds it as long as it runs
            )
        except OSError as error:
            raise InventoryUnknown(f"{program} cannot be started: {error.strerror or error}") from error

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Hold the device alone and give the descriptor that does it."""
        try:
            descriptor = os.open(self._device, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise _cannot_open(self._device, error.strerror or str(error)) from error
        seconds = self._limits.status + self._limits.move  # another process may be in the middle of both
        deadline = time.monotonic() + seconds
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno != errno.EWOULDBLOCK or time.monotonic() > deadline:
                        reason = f"cannot be locked within {seconds:g} s ({error.strerror})"
                        raise InventoryUnknown(f"{self._device} {reason}: another process uses it") from error
                time.sleep(0.05)
            yield descriptor
        finally:
            os.close(descriptor)


def _check(inventory: Inventory, source: Element, destination: Element) -> None:
    """Raise MoveFailed if the move cannot be made; mtx would take a slot's number for a mail slot's."""
    for element in (source, destination):
        if inventory.at(element) is None:
            raise MoveFailed(str(source), str(destination), f"the library has no {element}")
    full = {status.element for status in inventory.elements if status.full}
    if source not in full:
        raise SourceEmpty(str(source), str(destination))
    if destination in full:
        raise MoveFailed(str(source), str(destination), f"{destination} is full")
    if source.kind is destination.kind is DRIVE:
        reason = "mtx cannot move from drive to drive: move it to a slot first"
        raise MoveFailed(str(source), str(destination), reason)


def _undisturbed(action: Callable[[], _Answer]) -> _Answer:
    """Do ``action`` in another thread, where no signal handler raises; a Ctrl-C is raised here when it is done."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(action)
        try:
            return running.result()
        except KeyboardInterrupt:
            # A move is under way, and somebody must learn how it ends: wait for it, however often Ctrl-C comes.
            while not running.done():
                with contextlib.suppress(KeyboardInterrupt):
                    wait([running])
            running.result()
            raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill ``process`` and what it started, and wait for it, but not for ever."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # mtx began a session: its group is its own, and not ours
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=GRACE_SECONDS)
    process.poll()
    for pipe in filter(None, (process.stdout, process.stderr)):
        pipe.close()
