"""The folder that data sets are restored to: no incomplete file has a final name, and no name leads out of the folder.

Every path is opened component by component from the descriptor of the folder, and no symbolic link is followed
(``O_NOFOLLOW``, ``man 2 open``): whatever names lie on a tape, nothing is written outside.
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
"""Names that begin so are of files and directories that are not whole yet."""
_UNNAMEABLE = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""A file system answers so to a name that it cannot hold; another file system may be able to."""
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
"""rename() answers so if something is there that it cannot replace (``man 2 rename``)."""
_MOST_SECONDS = 2**62
_MOST_OWNER = 2**32 - 1
SYNCED = 1024 * 1024
"""Bytes from which on a file is synced to the disk before it gets its name; to sync every small one takes too long."""


class Wanted(NamedTuple):
    """A regular file as it must be: its digest in hexadecimal digits, its size in bytes (None if not known)."""

    algorithm: str
    digest: str
    size: int | None = None


class Destination:
    """The folder at ``path``, made if it is missing, locked for one restoring process; use it as a context manager.

    ``overwrite`` allows files in it to be replaced. Raises UserError if another process has it, HostError.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.overwrite = overwrite
        self.descriptor = -1

    def __enter__(self) -> Self:
        with self.host_errors():
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
    def host_errors(self) -> Iterator[None]:
        """Turn an OSError of the block into a HostError with a remedy."""
        try:
            yield
        except OSError as error:
            remedy = "make room or repair the disk, then run the same command again: it goes on where it stopped"
            raise HostError(str(self.path), f"cannot be written ({error.strerror}); {remedy}") from error

    def begin(self, source: str, host: str, path: bytes, kind: str) -> Restoration:
        """Begin to restore the data set ``source``, a ``kind`` (file or directory) that was at ``path`` on ``host``.

        Raises Obstacle for a name that no data set can have.
        """
        parts = [host.encode("utf-8", "surrogatepass"), *path.strip(b"/").split(b"/")]
        check_parts(source, parts)
        return Restoration(self, source, parts, single=kind == FILE)


def check_parts(source: str, parts: list[bytes]) -> None:
    """Raise Obstacle unless ``parts`` can be names of folders, each in the one before."""
    if not all(parts) or {b".", b".."} & set(parts) or any(b"/" in part or b"\0" in part for part in parts):
        raise Obstacle(source, f"{quote(b'/'.join(parts))} would lead out of its folder, and is no name of papertape's")


def check_attributes(source: str, attributes: Attributes) -> None:
    """Raise Obstacle for a time, an owner or a target that no file on any disk has: papertape never wrote those."""
    _, _, mtime, uid, gid, _, _, target = attributes
    no_target = attributes.kind == LINK and (not target or b"\0" in target)
    if no_target or abs(mtime) > _MOST_SECONDS * 10**9 or max(uid, gid) > _MOST_OWNER:
        raise Obstacle(source, "it has a member with a time, an owner or a target that no file can have")


class Restoration:
    """One data set that is being restored.

    A directory is made under another name in the same folder, and renamed when it is whole; in a directory that exists
    already, only missing members are made. Files are written under other names, and renamed when they are proven.
    ``relative`` is the name of a member within the data set, b"" for the data set itself. All methods raise Obstacle
    and HostError.
    """

    def __init__(self, destination: Destination, source: str, parts: list[bytes], *, single: bool) -> None:
        self.source = source
        self._destination = destination
        self._above, self._name = parts[:-1], parts[-1]
        self._key = hashlib.sha256(b"/".join(parts)).hexdigest()[:16].encode()
        self._directories: dict[bytes, Attributes] = {}
        self._root = self._name
        if not single:
            with self._folder(b"", make=False) as (folder, name):
                if folder < 0 or _kind_of(folder, name) is None:
                    self._root = PREFIX + self._key

    @property
    def path(self) -> bytes:
        """The path of the data set when it is restored."""
        return os.path.join(os.fsencode(self._destination.path), *self._above, self._name)

    @property
    def is_staged(self) -> bool:
        """Whether it is a directory that still has another name."""
        return self._root != self._name

    @property
    def is_directory(self) -> bool:
        """Whether a directory is there, whole or not."""
        with self._folder(b"", make=False) as (folder, name):
            return folder >= 0 and _kind_of(folder, name) == DIRECTORY

    @property
    def part(self) -> str:
        """The path of the incomplete directory, "" if there is none."""
        path = os.path.join(os.path.dirname(self.path), self._root)
        return quote(path) if self.is_staged and os.path.lexists(path) else ""

    def holds(self, relative: bytes, kind: str, wanted: Wanted | None = None, target: bytes | None = None) -> bool:
        """Return whether this member is there already: a file with the bytes ``wanted``, a link with this ``target``.

        Raises Obstacle if something else is there that may not be replaced.
        """
        with self._folder(relative, make=False) as (folder, name):
            found = _kind_of(folder, name) if folder >= 0 else None
            if found is None or (found == kind and _is_same(folder, name, wanted, target)):
                return found is not None
        if DIRECTORY in {found, kind} or found == "":
            raise Obstacle(self.source, f"{self._show(relative)} is in the way; move it, or restore elsewhere")
        if not self.is_staged and not self._destination.overwrite:
            remedy = "--overwrite replaces it, or restore elsewhere"
            raise Obstacle(self.source, f"{self._show(relative)} exists and is not the same; {remedy}")
        return False

    def make_directory(self, relative: bytes, attributes: Attributes) -> None:
        """Make a directory; it gets its mode and time in ``end``, since each file made in it changes the time."""
        check_attributes(self.source, attributes)
        self._directories[relative] = attributes
        with self._folder(relative, make=True) as (folder, name):
            _make_folder(folder, name)
            if self.is_staged:
                # An earlier attempt that was interrupted in end() may have left a mode that does not let us in.
                handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    if os.fstat(handle).st_mode & 0o700 != 0o700:
                        # The folder itself: by its name it could be another one by now.
                        Path(f"/proc/self/fd/{handle}").chmod(0o700)
                finally:
                    os.close(handle)

    def make_link(self, relative: bytes, attributes: Attributes) -> None:
        """Make a symbolic link with its old target, wherever that leads; nothing follows it here."""
        check_attributes(self.source, attributes)
        with self._folder(relative, make=True) as (folder, name):
            new = self._temporary(relative)
            _remove(folder, new)
            os.symlink(attributes.target, new, dir_fd=folder)
            _set_owner(new, folder, attributes)
            os.utime(new, ns=(attributes.mtime, attributes.mtime), dir_fd=folder, follow_symlinks=False)
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)

    def make_file(self, relative: bytes, attributes: Attributes) -> NewFile:
        """Return a new file to be written, and proven or dropped."""
        check_attributes(self.source, attributes)
        with self._folder(relative, make=True) as (folder, name):
            _kind_of(folder, name)  # raises for a name that the disk cannot hold, before the data is written
            new = self._temporary(relative)
            _remove(folder, new)  # never opened as it is: it could be a link or a pipe, or a hard link to another file
            descriptor = os.open(new, _NEW, 0o600, dir_fd=folder)
            return NewFile(
                self._destination,
                descriptor=descriptor,
                folder=os.dup(folder),
                new=new,
                name=name,
                attributes=attributes,
            )

    def end(self) -> None:
        """Give the directories their modes and times, and the data set its name; all of it is there and proven."""
        # The innermost first: a rename or a file made in a directory would change the time that it was given.
        for relative in sorted(self._directories, reverse=True):
            attributes = self._directories[relative]
            with self._folder(relative, make=False) as (folder, name):
                descriptor = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    _set_owner(descriptor, None, attributes)
                    os.fchmod(descriptor, attributes.mode & 0o7777)
                    os.utime(descriptor, ns=(attributes.mtime, attributes.mtime))
                finally:
                    os.close(descriptor)
        if self.is_staged:
            with self._folder(b"", make=False) as (folder, name):
                try:
                    os.rename(name, self._name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError as error:
                    if error.errno not in _TAKEN:
                        raise
                    way = (
                        f"{self._show(b'')} was made by someone else meanwhile; move it, and run the same command again"
                    )
                    raise Obstacle(self.source, way) from error
            self._root = self._name

    def discard(self) -> None:
        """Remove the directory if it still has another name."""
        if self.is_staged:
            with self._folder(b"", make=False) as (folder, name):
                if folder >= 0 and _kind_of(folder, name) == DIRECTORY:
                    shutil.rmtree(os.fsdecode(name), dir_fd=folder)

    def _show(self, relative: bytes) -> str:
        return quote(os.path.join(self.path, relative) if relative else self.path)

    def _temporary(self, relative: bytes) -> bytes:
        """Return the name of the member before it is proven: every attempt uses the same one, and leaves no rest."""
        return PREFIX + self._key + b"-" + hashlib.sha256(relative).hexdigest()[:16].encode()

    @contextlib.contextmanager
    def _folder(self, relative: bytes, *, make: bool) -> Iterator[tuple[int, bytes]]:
        """Yield the descriptor of the folder that the member is in, -1 if there is none, and its name there."""
        inner = relative.split(b"/") if relative else []
        check_parts(self.source, [self._root, *inner])
        path = [*self._above, self._root, *inner]
        folders, name = path[:-1], path[-1]
        with self._destination.host_errors():
            descriptor = self._descend(folders, make=make)
            try:
                yield descriptor, name
            except OSError as error:
                self._check_nameable(error, path)
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
                self._check_nameable(error, folders)
                raise
            finally:
                os.close(above)
        return descriptor

    def _check_nameable(self, error: OSError, path: list[bytes]) -> None:
        """Raise Obstacle if the disk cannot hold a name: the names of other data sets may be fine."""
        if error.errno in _UNNAMEABLE:
            way = f"{quote(b'/'.join(path))} cannot be made there ({error.strerror}); restore to another file system"
            raise Obstacle(self.source, way) from error


class NewFile:
    """A file called ``new``, which gets its ``name`` in ``prove``, or is removed in ``drop``: call one of them.

    Both close the descriptors of the file and its folder. Methods raise HostError.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        descriptor: int,
        folder: int,
        new: bytes,
        name: bytes,
        attributes: Attributes,
    ) -> None:
        self._destination = destination
        self._descriptor, self._folder = descriptor, folder
        self._new, self._name = new, name
        self._attributes = attributes
        self._size = 0

    def write(self, data: memoryview) -> None:
        """Append ``data``."""
        with self._destination.host_errors():
            while data:
                count = os.write(self._descriptor, data)
                self._size += count
                data = data[count:]

    def prove(self) -> None:
        """Give the file its mode, time and name, since every byte is right."""
        with self._destination.host_errors(), self._closing():
            if self._size >= SYNCED:
                os.fsync(self._descriptor)
            _set_owner(self._descriptor, None, self._attributes)
            os.fchmod(self._descriptor, self._attributes.mode & 0o7777)
            os.utime(self._descriptor, ns=(self._attributes.mtime, self._attributes.mtime))
            # Last: whoever sees the name sees the whole file. rename() replaces an older one in one step.
            os.rename(self._new, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def drop(self) -> None:
        """Remove the file."""
        with self._destination.host_errors(), self._closing():
            os.unlink(self._new, dir_fd=self._folder)

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            os.close(self._descriptor)
            os.close(self._folder)


def _kind_of(folder: int, name: bytes) -> str | None:
    """Return the kind of a name: "" for a socket, a pipe or a device, None if nothing is there."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    kinds = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: LINK}
    return kinds.get(stat.S_IFMT(mode), "")


def _is_same(folder: int, name: bytes, wanted: Wanted | None, target: bytes | None) -> bool:
    """Return whether a member of the right kind has the bytes ``wanted``, or this ``target``, if they are known."""
    if target is not None:
        return os.readlink(name, dir_fd=folder) == target
    if wanted is None:
        return True
    with open(os.open(name, _READ, dir_fd=folder), "rb", buffering=0) as file:
        if wanted.size is not None and os.fstat(file.fileno()).st_size != wanted.size:
            return False
        return hashlib.file_digest(file, wanted.algorithm).hexdigest() == wanted.digest


def _remove(folder: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _make_folder(above: int, name: bytes, mode: int = 0o700) -> None:
    try:
        os.mkdir(name, mode, dir_fd=above)
    except FileExistsError:
        if _kind_of(above, name) != DIRECTORY:
            raise


def _set_owner(what: int | bytes, folder: int | None, attributes: Attributes) -> None:
    """Give a file back to its owner, by number, as only root can."""
    if os.geteuid():
        return
    if isinstance(what, int):
        os.fchown(what, attributes.uid, attributes.gid)
    else:
        os.chown(what, attributes.uid, attributes.gid, dir_fd=folder, follow_symlinks=False)
