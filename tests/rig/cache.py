"""What the rig is built from, once per machine: the guest's kernel, its initramfs, and the patched tgt."""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rig.processes import Processes

HERE = Path(__file__).parent
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian has administrators' programs, and where an ordinary user's PATH does not look."""

PATH = os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), *SBIN])

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "block-iscsi.so": "qemu-block-extra",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "mtx": "mtx",
    "mt": "mt-st",
    "mkfs.ext4": "e2fsprogs",
    "gcc": "gcc",
    "make": "make",
    "patch": "patch",
    "apt-get": "apt",
    "dpkg": "dpkg",
}
"""What must be installed: programs, one library of qemu's, and the Debian packages that have them."""

KERNEL = "linux-image-amd64"
TAPE_MODULES = ("st", "sg", "virtio_scsi")
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay", *TAPE_MODULES)
DISK_MODULES = ("virtio_blk", "crc32c_generic", "ext4")  # ext4 asks modprobe for crc32c, which the guest has not


class RigError(Exception):
    """The rig itself failed, not what was run in it."""


class Parts(NamedTuple):
    """Where the built parts are; ``tgt`` is a folder with tgtd, tgtadm and tgtimg."""

    kernel: Path
    initramfs: Path
    tgt: Path


def missing() -> list[str]:
    """Return what is not installed, one line each; empty where the rig can run."""
    other = [] if platform.machine() == "x86_64" else ["the rig needs a machine that is x86_64"]
    return other + [f"{name} is missing (package {PACKAGES[name]})" for name in PACKAGES if not _is_there(name)]


def install_command() -> str:
    """Return the line that installs what is missing."""
    return "apt-get install " + " ".join(PACKAGES[name] for name in PACKAGES if not _is_there(name))


def _is_there(name: str) -> bool:
    if name.endswith(".so"):
        return any(Path("/usr/lib").glob(f"*/qemu/{name}"))
    found = shutil.which(name, path=PATH)
    if name == "busybox" and found:  # the one of package busybox asks for shared libraries, which no initramfs has
        with open(found, "rb") as file:
            return b"/ld-linux" not in file.read(4096)
    return found is not None


def build() -> Parts:
    """Return the parts, after downloading and building those that are not there or were made from something else.

    Raises:
        RigError: something is not installed, or a step failed; nothing half made is left.
    """
    if lacking := missing():
        raise RigError("\n".join([*lacking, install_command()]))
    busybox = Path(shutil.which("busybox", path=PATH) or "").read_bytes()
    modules = " ".join((KERNEL, *BOOT_MODULES, *DISK_MODULES)).encode()
    with _locked(_folder()) as folder:
        kernel = _part(folder, "kernel", [modules], _make_kernel)
        inputs = [kernel.name.encode(), busybox, (HERE / "init").read_bytes()]
        initramfs = _part(folder, "initramfs", inputs, lambda shop, new: _make_initramfs(shop, new, kernel, busybox))
        tgt = _part(folder, "tgt", [(HERE / "tgt-ssc.patch").read_bytes()], _make_tgt)
    return Parts(kernel / "image", initramfs / "image", tgt)


def _folder() -> Path:
    if own := os.environ.get("PAPERTAPE_RIG_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "papertape-rig"


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _part(folder: Path, name: str, inputs: Sequence[bytes], make: Callable[[Workshop, Path], None]) -> Path:
    """Return the folder that ``make`` filled from these ``inputs``, with their digest in its name: whole, or absent."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(value).digest() for value in inputs)).hexdigest()
    part = folder / f"{name}-{digest[:12]}"
    if not part.is_dir():
        processes = Processes(str(folder))
        try:
            (new := processes.folder / name).mkdir()
            make(Workshop(processes), new)
            new.rename(part)
        finally:
            processes.end()
    return part


class Workshop:
    """A folder to build in. Its apt has the machine's sources, a state of its own, and no need of root."""

    def __init__(self, processes: Processes) -> None:
        self.folder = processes.folder
        self._environment = processes.environment({"PATH": PATH})

    def run(self, *command: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
        """Run a command, in this folder if not in ``cwd``; return its output."""
        where, env = cwd or self.folder, self._environment
        done = subprocess.run(command, cwd=where, input=stdin, capture_output=True, env=env, check=False)
        if done.returncode != 0:
            tail = (done.stdout + done.stderr)[-2000:].decode(errors="replace")
            raise RigError(f"{' '.join(map(str, command))[:200]}: status {done.returncode}\n{tail}")
        return done.stdout

    def apt(self, program: str, *words: str) -> bytes:
        """Run apt-get or apt-cache, the first time after an update."""
        state = self.folder / "apt"
        settings = {
            "Etc::SourceList": "sources.list",
            "Etc::SourceParts": "parts",
            "State::Lists": "lists",
            "Cache": "cache",
        }
        options = ["-qq", "-o", "APT::Sandbox::User="]
        for name, place in settings.items():
            options += ["-o", f"Dir::{name}={state / place}"]
        if not state.is_dir():
            for folder in ("parts", "lists/partial", "cache/archives/partial"):
                (state / folder).mkdir(parents=True)
            _copy_sources(state)
            self.run("apt-get", *options, "update")
        return self.run(program, *options, *words)


def _copy_sources(state: Path) -> None:
    release = re.search(r"(?m)^VERSION_CODENAME=\"?(\w+)", Path("/etc/os-release").read_text())
    name = release[1] if release else "stable"
    etc = Path("/etc/apt")
    for file in (etc / "sources.list", *etc.glob("sources.list.d/*.list")):
        lines = re.findall(rf"(?m)^deb (.*\s{name}\S*\s.*\bmain\b.*)", file.read_text()) if file.is_file() else []
        with (state / "sources.list").open("a") as own:
            own.writelines(f"deb {line}\ndeb-src {line}\n" for line in lines)
    for file in etc.glob("sources.list.d/*.sources"):
        text = re.sub(r"(?m)^#.*\n", "", file.read_text())
        entries = [
            re.sub(r"(?m)^Types:.*", "Types: deb deb-src", entry)
            for entry in re.split(r"\n\s*\n", text)
            if re.search(rf"(?m)^Suites:.*\b{name}", entry) and re.search(r"(?m)^Components:.*\bmain\b", entry)
        ]
        (state / "parts" / file.name).write_text("\n\n".join(entries) + "\n")


def _make_kernel(shop: Workshop, new: Path) -> None:
    """Fill ``new`` with the kernel as ``image``, the modules, and ``modules``: each that is wanted, and its order."""
    depends = shop.apt("apt-cache", "depends", KERNEL).decode()
    package = re.search(r"Depends: (linux-image\S+)", depends)
    if package is None:
        raise RigError(f"{KERNEL} depends on no kernel:\n{depends}")
    shop.apt("apt-get", "download", package[1])
    (archive,) = shop.folder.glob("*.deb")
    root = shop.folder / "root"
    shop.run("dpkg", "-x", archive, root)
    (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
    (new / "image").write_bytes(_bare_kernel(vmlinuz.read_bytes()))
    found = {path.name.partition(".")[0].replace("-", "_"): path for path in (root / "lib").rglob("*.ko*")}
    with (new / "modules").open("w") as order:
        for name in BOOT_MODULES + DISK_MODULES:
            print(name, *_copy_module(name, found, new), file=order)


def _bare_kernel(vmlinuz: bytes) -> bytes:
    """Return the ELF inside ``vmlinuz``, which qemu boots through PVH: no firmware, and no xz to undo in emulation."""
    for start in re.finditer(b"\xfd7zXZ\0", vmlinuz):
        try:
            image = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(vmlinuz[start.start() :])
        except lzma.LZMAError:
            continue
        if image.startswith(b"\x7fELF"):
            return image
    return vmlinuz  # compressed otherwise: it boots all the same, more slowly


def _copy_module(name: str, found: dict[str, Path], new: Path) -> list[str]:
    """Copy a module and those it needs; return their names in the order of loading: none if it is built in."""
    if name not in found:
        return []
    module = found[name].read_bytes()
    if found[name].suffix == ".xz":
        module = lzma.decompress(module)
    (new / f"{name}.ko").write_bytes(module)
    needs = re.search(rb"\0depends=([^\0]*)", module)
    order: list[str] = []
    for need in needs[1].decode().replace("-", "_").split(",") if needs else []:
        order += [other for other in _copy_module(need, found, new) if other not in order]
    return [*order, name]


def _make_initramfs(shop: Workshop, new: Path, kernel: Path, busybox: bytes) -> None:
    root = shop.folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox)
    (root / "bin/busybox").chmod(0o755)
    shutil.copy(HERE / "init", root / "init")
    (root / "init").chmod(0o755)
    for file in (*kernel.glob("*.ko"), kernel / "modules"):
        shutil.copy(file, root)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    (new / "image").write_bytes(shop.run("cpio", "-o", "-H", "newc", "--quiet", cwd=root, stdin=names.encode()))


def _make_tgt(shop: Workshop, new: Path) -> None:
    """Fill ``new`` with tgtd, tgtadm and tgtimg: Debian's source package, its patches, and ours."""
    shop.apt("apt-get", "source", "--download-only", "tgt")
    (source := shop.folder / "source").mkdir()
    (original,), (debian,) = shop.folder.glob("tgt_*.orig.tar.*"), shop.folder.glob("tgt_*.debian.tar.*")
    shop.run("tar", "xf", original, "--strip-components=1", cwd=source)
    shop.run("tar", "xf", debian, cwd=source)
    series = (source / "debian/patches/series").read_text().splitlines()
    patches = [source / "debian/patches" / line for line in series if line and not line.startswith("#")]
    for file in (*patches, HERE / "tgt-ssc.patch"):
        shop.run("patch", "-p1", "-s", cwd=source, stdin=file.read_bytes())
    shop.run("make", "-C", "usr", "tgtd", "tgtadm", "tgtimg", cwd=source)
    for name in ("tgtd", "tgtadm", "tgtimg"):
        shop.run("strip", source / "usr" / name, "-o", new / name)
