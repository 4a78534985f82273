"""Faults injected in front of drives and a changer, to try out what papertape does when devices fail.

::

    faults = Faults(fail_at=7)
    library = Library(faults.changer(changer), [faults.drive(drive) for drive in drives], locks, tell)
    with faults:                    # AssertionError if the fault never fired: such a test tests nothing
        ...

Every call of a device counts, in the order in which they come, over all devices: ``open``, each method of ``Drive``
and of ``Changer``. A call that fails does not reach the device; only ``close`` does, because a close that reports an
error has closed the device nevertheless.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple

from papertape.errors import DriveError, InventoryUnknown, MoveFailed
from papertape.ids import VolumeTag
from papertape.tape.changer import Changer, Element, Inventory
from papertape.tape.drive import Drive, DriveStatus, Mark
from papertape.tape.library import DriveSource


class Call(NamedTuple):
    """A call of a device; ``drive`` is None for the changer."""

    method: str
    drive: int | None


@dataclass
class _Fault:
    """Fires at the ``at``-th call that fits, and, if ``lasting``, at all later ones of the same device."""

    at: int
    method: str | None
    drive: int | None
    error: BaseException | None
    lasting: bool
    seen: int = 0
    fired_on: list[Call] = field(default_factory=list)

    def meets(self, call: Call) -> bool:
        if self.method not in {None, call.method} or self.drive not in {None, call.drive}:
            return False
        self.seen += 1
        again = self.lasting and self.fired_on and self.fired_on[0].drive == call.drive
        if self.seen != self.at and not again:
            return False
        self.fired_on.append(call)
        return True


class Faults:
    """Counts and logs the calls of all devices that it wraps, and makes chosen ones fail.

    ``fail_at`` is the number, from 1, of the call that fails. The device works again afterwards; with ``lasting`` that
    device fails from then on. ``calls`` is how many there were, ``log`` what they were.
    """

    def __init__(self, fail_at: int | None = None, *, lasting: bool = False) -> None:
        self.log: list[Call] = []
        self._guard = threading.Lock()
        self._faults: list[_Fault] = []
        if fail_at is not None:
            self._faults.append(_Fault(fail_at, None, None, None, lasting))

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return len(self.log)

    @property
    def fired(self) -> bool:
        """Whether every fault that was asked for has happened."""
        return all(fault.fired_on for fault in self._faults)

    def fail(
        self,
        method: str,
        *,
        at: int = 1,
        drive: int | None = None,
        error: BaseException | None = None,
        lasting: bool = False,
    ) -> Faults:
        """Let the ``at``-th call of ``method`` (of one drive, or of any) fail, with ``error`` if given; return self."""
        self._faults.append(_Fault(at, method, drive, error, lasting))
        return self

    def drive(self, source: DriveSource) -> FaultyDriveSource:
        """Return ``source`` with the faults in front of it."""
        return FaultyDriveSource(self, source)

    def changer(self, changer: Changer) -> FaultyChanger:
        """Return ``changer`` with the faults in front of it."""
        return FaultyChanger(self, changer)

    def meet(self, call: Call, kind: Callable[[str], BaseException]) -> None:
        """Count ``call``; raise what was asked for, or ``kind`` of a sentence, if it is to fail."""
        with self._guard:  # both drives' threads count here
            self.log.append(call)
            met = [fault for fault in self._faults if fault.meets(call)]
            number = len(self.log)
        if met:
            raise met[0].error or kind(f"injected fault in {call.method}, call {number}")

    def __enter__(self) -> Faults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and not self.fired:
            raise AssertionError(f"an injected fault never fired in {self.calls} calls: the test proves nothing")


class FaultyDriveSource:
    """A ``DriveSource`` whose drives fail as ``Faults`` says."""

    def __init__(self, faults: Faults, source: DriveSource) -> None:
        self.number = source.number
        self._faults = faults
        self._source = source

    def open(self, volume_tag: VolumeTag | None = None) -> FaultyDrive:
        """See ``DriveSource.open``."""
        self._faults.meet(Call("open", self.number), lambda reason: DriveError(self.number, reason))
        return FaultyDrive(self._faults, self._source.open(volume_tag))


class FaultyDrive:
    """A ``Drive`` that fails as ``Faults`` says."""

    def __init__(self, faults: Faults, drive: Drive) -> None:
        self.number = drive.number
        self.serial = drive.serial
        self._faults = faults
        self._drive = drive

    def load(self) -> None:
        """See ``Drive.load``."""
        self._reach("load").load()

    def status(self) -> DriveStatus:
        """See ``Drive.status``."""
        return self._reach("status").status()

    def rewind(self) -> None:
        """See ``Drive.rewind``."""
        self._reach("rewind").rewind()

    def locate(self, address: int) -> None:
        """See ``Drive.locate``."""
        self._reach("locate").locate(address)

    def space(self, filemarks: int | Literal[Mark.END_OF_DATA]) -> None:
        """See ``Drive.space``."""
        self._reach("space").space(filemarks)

    def read_block(self, buffer: memoryview) -> int | Mark:
        """See ``Drive.read_block``."""
        return self._reach("read_block").read_block(buffer)

    def write_block(self, block: memoryview) -> bool:
        """See ``Drive.write_block``."""
        return self._reach("write_block").write_block(block)

    def write_filemark(self, *, flush: bool) -> bool:
        """See ``Drive.write_filemark``."""
        return self._reach("write_filemark").write_filemark(flush=flush)

    def position(self) -> int:
        """See ``Drive.position``."""
        return self._reach("position").position()

    def unload(self) -> None:
        """See ``Drive.unload``."""
        self._reach("unload").unload()

    def close(self) -> None:
        """See ``Drive.close``."""
        try:
            self._reach("close")
        finally:
            self._drive.close()

    def _reach(self, method: str) -> Drive:
        self._faults.meet(Call(method, self.number), lambda reason: DriveError(self.number, reason))
        return self._drive


class FaultyChanger:
    """A ``Changer`` that fails as ``Faults`` says."""

    def __init__(self, faults: Faults, changer: Changer) -> None:
        self._faults = faults
        self._changer = changer

    def inventory(self) -> Inventory:
        """See ``Changer.inventory``."""
        self._faults.meet(Call("inventory", None), InventoryUnknown)
        return self._changer.inventory()

    def move(self, source: Element, destination: Element) -> None:
        """See ``Changer.move``."""
        self._faults.meet(Call("move", None), lambda reason: MoveFailed(str(source), str(destination), reason))
        self._changer.move(source, destination)
