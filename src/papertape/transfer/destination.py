"""The folder that data sets come back to: nothing half-written bears a final name, nothing leads out of it.

Every path is walked component by component from the folder's own descriptor, and no symbolic link is followed on the
way (``O_NOFOLLOW``, ``man 2 open``): what a tape says can never write outside, whatever it says.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from papertape.errors import HostError, Obstacle, UserError
from papertape.volume.header import DIRECTORY, FILE, LINK, Attributes
from papertape.volume.names import quote

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
PREFIX = b".papertape-"
"""What the names of things begin with that are not whole yet."""
_UNNAMEABLE = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""What a file system says of names that it cannot have; another one may."""
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
"""What a file system says where something stands that a renaming cannot replace."""
_MOST_SECONDS = 2**62
_MOST_OWNER = 2**32 - 1
SYNCED = 1024 * 1024
"""Bytes from which on a file is brought to the disk itself before it gets its name."""


class Wanted(NamedTuple):
    """A regular file as it has to be: a digest of it in hexadecimal digits, its size in bytes, None if not known."""

    algorithm: str
    digest: str
    size: int | None = None


class Destination:
    """The folder at ``path``, made if it is missing, for one restoring process alone.

    ``overwrite`` lets files in it be replaced. Use it as a context manager. Raises UserError, HostError.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.overwrite = overwrite
        self.descriptor = -1

    def __enter__(self) -> Self:
        with self.told():
            self.path.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise UserError(f"{self.path}: another process restores into it; wait for it, or name another") from None
        except OSError:  # a file system without locks
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.descriptor)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Make one sentence of what the disk says against it. Raises HostError."""
        try:
            yield
        except OSError as error:
            remedy = "make room, or mend what is wrong, and run the same command again: it goes on where it stopped"
            raise HostError(str(self.path), f"cannot be written ({error.strerror}); {remedy}") from error

    def begin(self, source: str, host: str, path: bytes, kind: str) -> Restoration:
        """Return the way back of the data set ``source``, a ``kind`` (file or directory) at ``path`` on ``host``.

        Raises Obstacle for a name that no data set has.
        """
        parts = [host.encode("utf-8", "surrogatepass"), *path.strip(b"/").split(b"/")]
        check_parts(source, parts)
        return Restoration(self, source, parts, single=kind == FILE)


def check_parts(source: str, parts: list[bytes]) -> None:
    """Raise Obstacle unless these can be the names of folders in folders."""
    if not all(parts) or {b".", b".."} & set(parts) or any(b"/" in part or b"\0" in part for part in parts):
        raise Obstacle(source, f"{quote(b'/'.join(parts))} would lead out of its folder, and is no name of papertape's")


def check_attributes(source: str, attributes: Attributes) -> None:
    """Raise Obstacle for what no file on any disk can have: such headers were never written by papertape."""
    _, _, mtime, uid, gid, _, _, target = attributes
    no_target = attributes.kind == LINK and (not target or b"\0" in target)
    if no_target or abs(mtime) > _MOST_SECONDS * 10**9 or max(uid, gid) > _MOST_OWNER:
        raise Obstacle(source, "it has a member with a time, an owner or a target that no file can have")


class Restoration:
    """One data set on its way back.

    A directory comes into being under another name in the same folder and gets its own when it is whole; where it
    exists already, what it lacks is put into it. Files are written under other names and renamed when they are proven.
    ``relative`` is a member's name within the data set, b"" for its own. All methods raise Obstacle and HostError.
    """

    def __init__(self, destination: Destination, source: str, parts: list[bytes], *, single: bool) -> None:
        self.source = source
        self._destination = destination
        self._above, self._name = parts[:-1], parts[-1]
        self._key = hashlib.sha256(b"/".join(parts)).hexdigest()[:16].encode()
        self._directories: dict[bytes, Attributes] = {}
        self._root = self._name if single or self._exists() else PREFIX + self._key

    @property
    def path(self) -> bytes:
        """The name that the data set will have, the destination's before it."""
        return os.path.join(os.fsencode(self._destination.path), *self._above, self._name)

    @property
    def is_staged(self) -> bool:
        """Whether it does not bear its own name yet."""
        return self._root != self._name

    @property
    def is_directory(self) -> bool:
        """Whether there is a directory under its name, whole or not."""
        with self._folder(b"", make=False) as (folder, name):
            return folder >= 0 and _kind_of(folder, name) == DIRECTORY

    @property
    def part(self) -> str:
        """Where to find what is there of a data set that could not be had whole, "" if there is nothing."""
        path = os.path.join(os.path.dirname(self.path), self._root)
        return quote(path) if self.is_staged and os.path.lexists(path) else ""

    def holds(self, relative: bytes, kind: str, wanted: Wanted | None = None, target: bytes | None = None) -> bool:
        """Tell whether that member is there already; of a file, with these bytes, of a link, with that ``target``.

        Raises Obstacle if something else is there that may not be replaced.
        """
        with self._folder(relative, make=False) as (folder, name):
            return folder >= 0 and self._look(folder, name, relative, kind, _Same(wanted, target))

    def make_directory(self, relative: bytes, attributes: Attributes) -> None:
        """Make a directory; it gets its mode and time at the end."""
        check_attributes(self.source, attributes)
        self._directories[relative] = attributes
        with self._folder(relative, make=True) as (folder, name):
            _make_folder(folder, name)
            if self.is_staged:  # an earlier attempt may have been cut off when it gave directories their modes
                _open_up(folder, name)

    def make_link(self, relative: bytes, attributes: Attributes) -> None:
        """Make a symbolic link, as it was, wherever it points."""
        check_attributes(self.source, attributes)
        with self._folder(relative, make=True) as (folder, name):
            new = self._temporary(relative)
            _remove(folder, new)
            os.symlink(attributes.target, new, dir_fd=folder)
            _set_owner(new, folder, attributes)
            os.utime(new, ns=(attributes.mtime, attributes.mtime), dir_fd=folder, follow_symlinks=False)
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)

    def make_file(self, relative: bytes, attributes: Attributes) -> NewFile:
        """Return a new file to write."""
        check_attributes(self.source, attributes)
        with self._folder(relative, make=True) as (folder, name):
            _kind_of(folder, name)  # a name that the disk cannot have is told now, and not when all is written
            new = self._temporary(relative)
            _remove(folder, new)  # never opened as it is: it could be a link or a pipe, or another name of another file
            descriptor = os.open(new, _NEW, 0o600, dir_fd=folder)
            return NewFile(self._destination, descriptor, os.dup(folder), new, name, attributes)

    def end(self) -> None:
        """All of it is there and proven: give directories their modes and times, and the data set its name."""
        for relative in sorted(self._directories, reverse=True):
            with self._folder(relative, make=False) as (folder, name):
                _finish_folder(folder, name, self._directories[relative])
        if self.is_staged:
            with self._folder(b"", make=False) as (folder, name):
                self._rename(folder, name)
            self._root = self._name

    def _rename(self, folder: int, name: bytes) -> None:
        try:
            os.rename(name, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            way = f"{self._show(b'')} has come into being meanwhile; move it, and run the same command again"
            raise Obstacle(self.source, way) from error

    def discard(self) -> None:
        """Take away what is there of it, if it does not bear its own name."""
        if self.is_staged:
            with self._folder(b"", make=False) as (folder, name):
                if folder >= 0 and _kind_of(folder, name) == DIRECTORY:
                    shutil.rmtree(os.fsdecode(name), dir_fd=folder)

    def _exists(self) -> bool:
        self._root = self._name
        with self._folder(b"", make=False) as (folder, name):
            return folder >= 0 and _kind_of(folder, name) is not None

    def _look(self, folder: int, name: bytes, relative: bytes, kind: str, same: _Same) -> bool:
        found = _kind_of(folder, name)
        if found is None or (found == kind and same.holds(folder, name)):
            return found is not None
        if DIRECTORY in {found, kind} or found == "":
            raise Obstacle(self.source, f"{self._show(relative)} is in the way; move it, or restore elsewhere")
        if not self.is_staged and not self._destination.overwrite:
            remedy = "--overwrite replaces it, or restore elsewhere"
            raise Obstacle(self.source, f"{self._show(relative)} exists and is not the same; {remedy}")
        return False

    def _show(self, relative: bytes) -> str:
        return quote(os.path.join(self.path, relative) if relative else self.path)

    def _temporary(self, relative: bytes) -> bytes:
        """Return the name that the member has before it is proven: the same one whenever it is tried again."""
        return PREFIX + self._key + b"-" + hashlib.sha256(relative).hexdigest()[:16].encode()

    @contextlib.contextmanager
    def _folder(self, relative: bytes, *, make: bool) -> Iterator[tuple[int, bytes]]:
        """Give the descriptor of the folder that the member is in, -1 if there is none, and its name there."""
        inner = relative.split(b"/") if relative else []
        check_parts(self.source, [self._root, *inner])
        path = [*self._above, self._root, *inner]
        folders, name = path[:-1], path[-1]
        with self._destination.told():
            descriptor = self._descend(folders, make=make)
            try:
                yield descriptor, name
            except OSError as error:
                self._tell_unnameable(error, path)
                raise
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def _descend(self, folders: list[bytes], *, make: bool) -> int:
        """Open the last of ``folders``, each in the one before, the first in the destination; -1 if it is missing."""
        descriptor = os.dup(self._destination.descriptor)
        for depth, name in enumerate(folders):
            above = descriptor
            try:
                if make:
                    _make_folder(above, name, 0o777 if depth < len(self._above) else 0o700)
                descriptor = os.open(name, _FOLDER, dir_fd=above)
            except FileNotFoundError:
                return -1
            except (NotADirectoryError, FileExistsError) as error:
                way = quote(b"/".join(folders[: depth + 1]))
                raise Obstacle(self.source, f"{way} in the destination is no folder; move it away") from error
            except OSError as error:
                self._tell_unnameable(error, folders)
                raise
            finally:
                os.close(above)
        return descriptor

    def _tell_unnameable(self, error: OSError, path: list[bytes]) -> None:
        """Raise Obstacle if a name is what the disk does not want: other data sets may have better ones."""
        if error.errno in _UNNAMEABLE:
            way = f"{quote(b'/'.join(path))} cannot be made there ({error.strerror}); restore to another file system"
            raise Obstacle(self.source, way) from error


class NewFile:
    """A file that does not bear its name yet; ``prove`` it, or ``drop`` it. Methods raise HostError."""

    def __init__(
        self, destination: Destination, descriptor: int, folder: int, new: bytes, name: bytes, attributes: Attributes
    ) -> None:
        self._destination = destination
        self._descriptor, self._folder = descriptor, folder
        self._new, self._name = new, name
        self._attributes = attributes
        self._size = 0

    def write(self, data: memoryview) -> None:
        """Append ``data``."""
        with self._destination.told():
            while data:
                count = os.write(self._descriptor, data)
                self._size += count
                data = data[count:]

    def prove(self) -> None:
        """Say that every byte is right: the file gets mode, time and name."""
        with self._destination.told(), self._closing():
            if self._size >= SYNCED:
                os.fsync(self._descriptor)
            _set_owner(self._descriptor, None, self._attributes)
            os.fchmod(self._descriptor, self._attributes.mode & 0o7777)
            os.utime(self._descriptor, ns=(self._attributes.mtime, self._attributes.mtime))
            os.rename(self._new, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def drop(self) -> None:
        """Take the file away."""
        with self._destination.told(), self._closing():
            os.unlink(self._new, dir_fd=self._folder)

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            os.close(self._descriptor)
            os.close(self._folder)


def _kind_of(folder: int, name: bytes) -> str | None:
    """Return the kind of what is there, "" for what no archive holds, None if nothing is there."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    kinds = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: LINK}
    return kinds.get(stat.S_IFMT(mode), "")


class _Same(NamedTuple):
    """What a member must be beside its kind, as far as it is known: a file's bytes, a link's target."""

    wanted: Wanted | None
    target: bytes | None

    def holds(self, folder: int, name: bytes) -> bool:
        """Tell whether what is there, of the right kind, is so."""
        if self.target is not None:
            return os.readlink(name, dir_fd=folder) == self.target
        return self.wanted is None or _equals(folder, name, self.wanted)


def _remove(folder: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _open_up(above: int, name: bytes) -> None:
    """Let its owner into a folder whatever its mode is, so that it can be filled."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)  # the folder itself: by its name it could be another by now
    finally:
        os.close(handle)


def _equals(folder: int, name: bytes, wanted: Wanted) -> bool:
    with open(os.open(name, _READ, dir_fd=folder), "rb", buffering=0) as file:
        if wanted.size is not None and os.fstat(file.fileno()).st_size != wanted.size:
            return False
        return hashlib.file_digest(file, wanted.algorithm).hexdigest() == wanted.digest


def _make_folder(above: int, name: bytes, mode: int = 0o700) -> None:
    try:
        os.mkdir(name, mode, dir_fd=above)
    except FileExistsError:
        if _kind_of(above, name) != DIRECTORY:
            raise


def _finish_folder(above: int, name: bytes, attributes: Attributes) -> None:
    descriptor = os.open(name, _FOLDER, dir_fd=above)
    try:
        _set_owner(descriptor, None, attributes)
        os.fchmod(descriptor, attributes.mode & 0o7777)
        os.utime(descriptor, ns=(attributes.mtime, attributes.mtime))
    finally:
        os.close(descriptor)


def _set_owner(what: int | bytes, folder: int | None, attributes: Attributes) -> None:
    """Give a file back to its owner, by number, as only root can."""
    if os.geteuid():
        return
    if isinstance(what, int):
        os.fchown(what, attributes.uid, attributes.gid)
    else:
        os.chown(what, attributes.uid, attributes.gid, dir_fd=folder, follow_symlinks=False)
