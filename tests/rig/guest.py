"""A throw-away Linux guest that has the library's drives as /dev/nst0, /dev/nst1 and its changer as $CHANGER."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rig import cache
from rig.cache import RigError
from rig.library import TapeLibrary
from rig.processes import Processes

HERE = Path(__file__).parent
PASSED_ON = ("HOME", "LANG")
MOUNT_POINT = "/srv"
"""Where the guest has its disk."""


class Guest:
    """How a guest is made; every ``run`` and ``start`` boots a new one, on the same library and the same disk.

    The guest sees this machine's files, read-only: what it writes is kept in its own memory and gone at its end. But
    ``shares`` are folders of this machine that it writes to. ``disk`` is the file of an ext4 disk, made with
    ``disk_size`` bytes if it is not there, which the guest has at /srv; what it has synced there survives ``kill``.
    ``env`` is set for the command, besides HOME, LANG, PATH and CHANGER.
    """

    def __init__(
        self,
        library: TapeLibrary,
        *,
        shares: Sequence[Path] = (),
        disk: Path | None = None,
        disk_size: int = 4 << 30,
        env: Mapping[str, str] | None = None,
        memory: str = "4G",
        cpus: int = 1,
    ) -> None:
        self.library = library
        self.shares = [share.resolve() for share in shares]
        self.disk = disk.absolute() if disk is not None else None
        self.disk_size = disk_size
        self.env = dict(env or {})
        self.memory = memory
        self.cpus = cpus

    def run(self, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Boot, run ``command`` in the current folder with no standard input, return its status and output.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds, booting included; the power is cut.
            RigError: the guest did not get as far as the command, or came to no orderly end.
        """
        with self.start(command) as running:
            status = running.wait(timeout)
            return subprocess.CompletedProcess(command, status, running.output(), running.errors())

    def start(self, command: Sequence[str]) -> RunningGuest:
        """Boot and begin to run ``command``, as ``run`` does; return at once."""
        parts = cache.build()
        if self.disk is not None and not self.disk.exists():
            _make_disk(self.disk, self.disk_size)
        processes = Processes()
        try:
            self._write_orders(processes.folder, command)
            qemu = processes.spawn(self._qemu(parts, processes.folder), "qemu", {"PATH": cache.PATH})
            return RunningGuest(command, processes, qemu)
        except BaseException:
            processes.end()
            raise

    def _write_orders(self, folder: Path, command: Sequence[str]) -> None:
        """Write what guest.sh reads, into the folder that it has as /run/rig."""
        orders = folder / "orders"
        orders.mkdir()
        shutil.copy(HERE / "guest.sh", orders)
        shares = " ".join(shlex.quote(str(share)) for share in self.shares)
        disk = "yes" if self.disk is not None else ""
        (orders / "settings").write_text(f"DRIVES={self.library.drives}\nSHARES=({shares})\nDISK={disk}\n")
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        variables |= {"PATH": cache.PATH, "TERM": "dumb", "CHANGER": "/dev/changer", **self.env}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines += [f"cd {shlex.quote(str(Path.cwd()))} || exit 125", f"exec {shlex.join(command)}"]
        (orders / "command").write_text("\n".join(lines) + "\n")
        for port in ("out", "err", "status", "console"):
            (folder / port).touch()
        for end in ("wake.in", "wake.out"):
            os.mkfifo(folder / end)

    def _qemu(self, parts: cache.Parts, folder: Path) -> list[str]:
        modules = cache.BOOT_MODULES + (cache.DISK_MODULES if self.disk is not None else ())
        # KASLR and the like cost a second of the boot, zeroing every page much of the rest.
        kernel = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off init_on_alloc=0"
        words = ["qemu-system-x86_64", *_accelerator(), "-smp", str(self.cpus), "-m", self.memory]
        words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
        words += ["-kernel", str(parts.kernel), "-initrd", str(parts.initramfs)]
        words += ["-append", f"{kernel} RIG_MODULES={','.join(modules)}"]
        words += ["-serial", f"file:{_quoted(folder)}/console", "-device", "virtio-rng-pci"]
        words += [*_mount("host", Path("/"), "on"), *_mount("rig", folder / "orders", "on")]
        for number, share in enumerate(self.shares):
            words += _mount(f"share{number}", share, "off")
        if self.disk is not None:
            words += ["-drive", f"file={_quoted(self.disk)},if=none,id=disk,format=raw,cache=writeback"]
            words += ["-device", "virtio-blk-pci,drive=disk"]
        words += ["-device", "virtio-scsi-pci,id=scsi,num_queues=1"]
        for lun in range(self.library.drives + 1, 0, -1):  # the guest finds the last one first
            words += ["-drive", f"file={self.library.lun(lun)},if=none,id=lun{lun},format=raw"]
            words += ["-device", f"scsi-generic,drive=lun{lun},bus=scsi.0,channel=0,scsi-id=0,lun={lun}"]
        words += ["-device", "virtio-serial-pci"]
        for port in ("out", "err", "status"):
            words += ["-chardev", f"file,id={port},path={_quoted(folder)}/{port}"]
            words += ["-device", f"virtserialport,chardev={port},name=rig.{port}"]
        words += ["-chardev", f"pipe,id=wake,path={_quoted(folder)}/wake"]
        words += ["-device", "virtserialport,chardev=wake,name=rig.wake"]
        return words


class RunningGuest:
    """A guest that was started; leaving the ``with`` block, or ``close``, ends it and removes its files."""

    def __init__(self, command: Sequence[str], processes: Processes, qemu: subprocess.Popen[bytes]) -> None:
        self.command = command
        self.stdout = processes.folder / "out"
        self.stderr = processes.folder / "err"
        self._processes = processes
        self._qemu = qemu
        self._killed = False

    def __enter__(self) -> RunningGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wake(self) -> None:
        """Let whoever reads RIG_WAKE in the guest, a device, know that there is something to do."""
        with suppress(OSError):  # it is starting, or gone
            descriptor = os.open(self._processes.folder / "wake.in", os.O_WRONLY | os.O_NONBLOCK)
            os.write(descriptor, b"\n")
            os.close(descriptor)

    def kill(self) -> None:
        """Cut the power. What the command has said until then can still be read."""
        self._killed = self._killed or self._qemu.poll() is None
        self._qemu.kill()
        self._qemu.wait()

    def close(self) -> None:
        """Cut the power if it is still on, and remove everything but the disk."""
        self._processes.end()

    def poll(self) -> int | None:
        """Return the command's status, -SIGKILL after ``kill``, None while the guest runs.

        Raises:
            RigError: the guest ended without a status.
        """
        if self._qemu.poll() is None:
            return None
        status = (self._processes.folder / "status").read_text().strip()
        if status.isdigit():
            return int(status)
        if self._killed:
            return -signal.SIGKILL
        raise RigError("\n".join([f"the guest ended without a status {status}".strip(), *self._last_words()]))

    def wait(self, timeout: float) -> int:
        """Wait until the guest has ended; return as ``poll`` does.

        Raises:
            subprocess.TimeoutExpired: it runs after ``timeout`` seconds, and runs on.
            RigError: the guest ended without a status.
        """
        return self.relay(timeout)

    def relay(self, timeout: float, out: BinaryIO | None = None, err: BinaryIO | None = None) -> int:
        """Wait, and pass on to ``out`` and ``err`` meanwhile what the command writes."""
        deadline = time.monotonic() + timeout
        with self.stdout.open("rb") as stdout, self.stderr.open("rb") as stderr:
            while True:
                status = self.poll()
                for source, sink in ((stdout, out), (stderr, err)):
                    if sink is not None:
                        sink.write(source.read())
                        sink.flush()
                if status is not None:
                    return status
                self._nap(deadline, timeout)

    def lines(self, timeout: float) -> Iterator[str]:
        """Yield the lines of standard output as they come, until the guest has ended; the last may be incomplete.

        Raises:
            subprocess.TimeoutExpired: the guest runs on after ``timeout`` seconds.
            RigError: the guest ended without a status.
        """
        deadline = time.monotonic() + timeout
        rest = b""
        with self.stdout.open("rb") as stdout:
            while True:
                ended = self.poll() is not None
                *lines, rest = (rest + stdout.read()).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
                if ended:
                    break
                self._nap(deadline, timeout)
        if rest:
            yield rest.decode(errors="replace")

    def output(self) -> str:
        """Return what the command has written to standard output so far."""
        return self.stdout.read_text(errors="replace")

    def errors(self) -> str:
        """Return what the command has written to standard error so far."""
        return self.stderr.read_text(errors="replace")

    def _nap(self, deadline: float, timeout: float) -> None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(self.command, timeout, self.output(), self.errors())
        time.sleep(0.02)

    def _last_words(self) -> list[str]:
        texts = [(self._processes.folder / name).read_text(errors="replace") for name in ("qemu", "console")]
        return [line for text in texts for line in text.splitlines()[-25:]]


def _accelerator() -> list[str]:
    """Return KVM where it is real: under PVM it interprets an unmodified kernel, more slowly than qemu's emulation."""
    chosen = os.environ.get("PAPERTAPE_RIG_ACCEL")
    usable = os.access("/dev/kvm", os.W_OK) and not Path("/sys/module/kvm_pvm").exists()
    if chosen == "kvm" or (chosen is None and usable):
        return ["-accel", "kvm", "-cpu", "host"]
    # x86-64-v2, which numpy needs; with AVX2, which qemu emulates slowly, everything takes twice as long.
    return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem"]


def _mount(tag: str, path: Path, readonly: str) -> list[str]:
    options = f"mount_tag={tag},security_model=none,readonly={readonly},multidevs=remap"
    return ["-virtfs", f"local,path={_quoted(path)},{options}"]


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")


def _make_disk(path: Path, size: int) -> None:
    """Make an empty ext4 file system in a file with holes, whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.truncate(size)
        program = shutil.which("mkfs.ext4", path=cache.PATH) or "mkfs.ext4"
        done = subprocess.run([program, "-q", "-F", new], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RigError(f"mkfs.ext4: {done.stderr.strip()}")
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)
