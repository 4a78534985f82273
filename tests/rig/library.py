"""A tape library, emulated by tgtd on this machine: what a guest sees as its drives and changer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rig import cache
from rig.cache import RigError
from rig.processes import Processes

TARGET = "papertape-rig"
FIRST_PORT = 3260
DRIVE_ELEMENT, ARM_ELEMENT, SLOT_ELEMENT, MAIL_ELEMENT = 4, 1, 2, 3
FIRST_ADDRESS = {DRIVE_ELEMENT: 1, ARM_ELEMENT: 500, SLOT_ELEMENT: 1000, MAIL_ELEMENT: 3000}
SEGMENTS = {  # tgt's default of 8 KiB per data segment halves the speed of writing
    "MaxRecvDataSegmentLength": "262144",
    "MaxXmitDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "4194304",
    "InitialR2T": "No",
}


class TapeLibrary:
    """Drives, slots, mail slots and cartridges; they stay as they are while guests come and go.

    ``cartridges`` are barcodes and their capacity in MiB, where early warning comes; the tape ends 16 MiB further on.
    They lie in slots 1, 2 ... at the start. Their images are files of ``folder``, each named by its barcode; those that
    are there already keep what is on them. Without ``folder`` they are in memory and gone after ``stop``.
    ``max_block`` in bytes is what the drives take at most, 8 MiB without it.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        drives: int = 2,
        slots: int = 12,
        mail_slots: int = 1,
        cartridges: Mapping[str, int] | None = None,
        max_block: int | None = None,
    ) -> None:
        self.drives = drives
        self.slots = slots
        self.mail_slots = mail_slots
        self.cartridges = dict(cartridges if cartridges is not None else {"PAPR1001": 64, "PAPR2001": 64})
        self.max_block = max_block
        self.port = 0
        self._folder = folder
        self._processes: Processes | None = None
        if len(self.cartridges) > slots:
            raise RigError(f"{len(self.cartridges)} cartridges do not go into {slots} slots")

    def __enter__(self) -> TapeLibrary:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> TapeLibrary:
        """Start tgtd, with every cartridge in its slot and both drives empty; return this library.

        Raises:
            RigError: the rig could not be built, or tgtd does not do as it is told.
        """
        if self._processes is not None:
            raise RigError("the library is running")
        self._tgt = cache.build().tgt
        self._processes = Processes("/dev/shm" if self._folder is None and Path("/dev/shm").is_dir() else None)
        try:
            self._make_images()
            with _ports_to_oneself():
                self._start_tgtd()
                self._furnish()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End tgtd; nothing happens if it is not running. The images stay if they have a folder of their own."""
        if self._processes is not None:
            self._processes.end()
            self._processes = None

    @property
    def folder(self) -> Path:
        """Where the images are."""
        return self._folder.absolute() if self._folder is not None else self._running().folder

    def lun(self, number: int) -> str:
        """Return how qemu calls logical unit ``number``: 1 and up are the drives, the last one is the changer."""
        self._running()
        return f"iscsi://127.0.0.1:{self.port}/{TARGET}/{number}"

    def image(self, barcode: str) -> Path:
        """Return the file that is the cartridge."""
        return self.folder / barcode

    def make(self, barcode: str, size: int) -> Path:
        """Make a blank cartridge of ``size`` MiB, in no slot yet; one that is there stays as it is."""
        return self._make_image(barcode, size, "data")

    def take_out(self, slot: int) -> None:
        """Take the cartridge out of ``slot``, as numbered by mtx: the mail slots come after the others."""
        self._furnish_element(*self._slot_address(slot), "clear_slot=1")

    def put_in(self, slot: int, image: str, label: str | None = None) -> None:
        """Put the cartridge whose file is ``image`` into ``slot``; ``label`` is what the robot reads, else its name."""
        if not self.image(image).is_file():
            raise RigError(f"no cartridge {image} in {self.folder}")
        what = f"barcode={image}," + (f"volume_tag={label}," if label is not None else "")
        self._furnish_element(*self._slot_address(slot), f"{what}sides=1")

    def protect(self, barcode: str, on: bool = True) -> None:
        """Move the write-protect tab; the drive looks at it when the cartridge is loaded."""
        self.image(barcode).chmod(0o444 if on else 0o644)

    def _running(self) -> Processes:
        if self._processes is None:
            raise RigError("the library is not running")
        return self._processes

    def _make_images(self) -> None:
        if len(os.fsencode(self.folder)) > 110 or set(",\n") & set(str(self.folder)):
            raise RigError(f"tgt cannot work with this folder, give it a shorter and simpler name: {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_image("NOTAPE", 1, "clean")  # what a drive is opened on while it is empty
        self.image("changer").write_bytes(bytes(1024))
        for barcode, size in self.cartridges.items():
            self.make(barcode, size)

    def _make_image(self, barcode: str, size: int, kind: str) -> Path:
        path = self.image(barcode)
        if not barcode.isalnum() or len(barcode) > 10:
            raise RigError(f"tgt takes barcodes of up to ten letters and digits: {barcode}")
        if not path.is_file() or path.stat().st_size == 0:
            words = ["--op", "new", "--device-type", "tape", "--barcode", barcode, "--size", str(size)]
            self._tell("tgtimg", *words, "--type", kind, "--file", str(path))
        return path

    def _start_tgtd(self) -> None:
        self.port = next(port for port in range(FIRST_PORT, 65536) if not _is_taken(port))
        command = [str(self._tgt / "tgtd"), "-f", "--iscsi", f"portal=127.0.0.1:{self.port}"]
        limit = {"TGT_MAX_BLOCK": str(self.max_block)} if self.max_block is not None else {}
        tgtd = self._running().spawn(command, "tgtd", {**self._environment(), **limit})
        deadline = time.monotonic() + 20
        while not _is_taken(self.port):
            if tgtd.poll() is not None or time.monotonic() > deadline:
                log = (self._running().folder / "tgtd").read_text(errors="replace")
                raise RigError(f"tgtd does not start\n{log[-2000:]}")
            time.sleep(0.02)

    def _furnish(self) -> None:
        """Tell tgtd of the target, its drives, its changer and what is in the slots."""
        self._admin("target", "new", "-T", TARGET)
        identity = "vendor_id=RIG,product_rev=0001"
        for number in range(1, self.drives + 1):
            self._unit("new", number, "-b", str(self.image("NOTAPE")), "--device-type", "tape")
            serial = f"product_id=ULTRIUM-TD,scsi_sn=RIGDRV{number}"
            self._unit("update", number, "--params", f"online=0,{identity},{serial}")
        changer = self.drives + 1
        self._unit("new", changer, "-b", str(self.image("changer")), "--device-type", "changer")
        own = f"product_id=LIBRARY,scsi_sn=RIGLIB1,media_home={self.folder}"
        self._unit("update", changer, "--params", f"{identity},{own}")
        counts = {DRIVE_ELEMENT: self.drives, ARM_ELEMENT: 1, SLOT_ELEMENT: self.slots, MAIL_ELEMENT: self.mail_slots}
        for kind, count in counts.items():
            if count:
                range_ = f"start_address={FIRST_ADDRESS[kind]},quantity={count}"
                self._unit("update", changer, "--params", f"element_type={kind},{range_}")
        for number in range(1, self.drives + 1):
            self._furnish_element(DRIVE_ELEMENT, number, f"tid=1,lun={number}")
        for slot, barcode in enumerate(self.cartridges, start=1):
            self.put_in(slot, barcode)
        for name, value in SEGMENTS.items():
            self._admin("target", "update", "--name", name, "--value", value)
        self._admin("target", "bind", "-I", "127.0.0.1")

    def _slot_address(self, slot: int) -> tuple[int, int]:
        if not 1 <= slot <= self.slots + self.mail_slots:
            raise RigError(f"there is no slot {slot}")
        if slot <= self.slots:
            return SLOT_ELEMENT, FIRST_ADDRESS[SLOT_ELEMENT] + slot - 1
        return MAIL_ELEMENT, FIRST_ADDRESS[MAIL_ELEMENT] + slot - self.slots - 1

    def _furnish_element(self, kind: int, address: int, what: str) -> None:
        self._unit("update", self.drives + 1, "--params", f"element_type={kind},address={address},{what}")

    def _unit(self, operation: str, number: int, *words: str) -> None:
        self._admin("logicalunit", operation, "--lun", str(number), *words)

    def _admin(self, mode: str, operation: str, *words: str) -> None:
        self._tell("tgtadm", "--lld", "iscsi", "--mode", mode, "--op", operation, "--tid", "1", *words)

    def _tell(self, program: str, *words: str) -> None:
        env = {**os.environ, **self._environment()}
        done = subprocess.run([self._tgt / program, *words], capture_output=True, text=True, check=False, env=env)
        if done.returncode != 0:
            raise RigError(f"{program} {' '.join(words)}: {(done.stdout + done.stderr).strip()}")

    def _environment(self) -> dict[str, str]:
        return {"TGT_IPC_SOCKET": str(self._running().folder / "socket")}  # one tgtd each, not the machine's


@contextmanager
def _ports_to_oneself() -> Iterator[None]:
    """Let one rig at a time look for a free port; the lock is a name that lives where ports do, and leaves no file."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as lock:
        while True:
            try:
                lock.bind("\0papertape-rig")
                break
            except OSError:
                time.sleep(0.02)
        yield


def _is_taken(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
