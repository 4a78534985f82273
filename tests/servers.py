"""Database servers for tests: MariaDB and PostgreSQL from Debian's packages, each in a folder, on a socket in it.

Nothing of the system's own servers is used. A server belongs to the process that started it: it ends with the ``with``
block, and is killed by the kernel if that process dies. Both refuse to be root's, so root starts them as ``nobody``.

They are told not to wait for the disk: what a process has written outlives its SIGKILL, and no test cuts the power.
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest
from sqlalchemy import URL, create_engine, inspect, text

USER = "papertape"
"""The server's administrator for the tests; it needs no password."""
DEMANDED = "PAPERTAPE_SERVERS"
"""With this environment variable set, tests fail where they would be skipped for want of a server."""
PATIENCE = 60.0
"""Seconds that a server may take to start or to stop, on a machine that is busy."""
_NUMBERS = count(1)


def find_program(name: str) -> str | None:
    """Return where ``name`` is, also where Debian keeps what only servers need."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *map(str, places)]))


class Server(ABC):
    """One server in ``folder``, empty at first; ``with`` starts it, and stops it in the end whatever happened.

    The folder must be short (a socket's path has 107 bytes at most), and in a place that everybody may enter.
    """

    package: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    death: ClassVar[signal.Signals]
    """What the server gets if the process dies that started it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed before this server can be started, None if nothing."""
        absent = [program for program in (*cls.programs, "setpriv") if find_program(program) is None]
        return f"no {' and no '.join(absent)}: apt-get install {cls.package}" if absent else None

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self.folder, _nobody().pw_uid, _nobody().pw_gid)
        self._prepare()
        try:
            self.start()
            self._open_up()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server on what its folder holds, and wait until it takes connections."""
        ready = self.folder / "notify"
        ready.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, (self.folder / "log").open("ab") as log:
            heard.bind(str(ready))
            ready.chmod(0o666)
            self._process = self._popen(self._command(), stdout=log, stderr=log, env={"NOTIFY_SOCKET": str(ready)})
            self._await_ready(heard)

    def _await_ready(self, heard: socket.socket) -> None:
        """Wait for the server's word, the one that systemd would hear, looking now and then whether it still lives."""
        assert self._process is not None
        heard.settimeout(0.2)
        for _ in range(int(PATIENCE / 0.2)):
            try:
                if b"READY=1" in heard.recv(4096):
                    return
            except TimeoutError:
                if self._process.poll() is not None:
                    break
        raise RuntimeError(f"{type(self).__name__} did not start: {self.log()[-2000:]}")

    def log(self) -> str:
        """Return what the server has said since it was first started."""
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would, and wait until none of its processes is left."""
        process, self._process = self._process, None
        if process is None:
            return
        children = _children(process.pid)
        process.kill()
        process.wait(PATIENCE)
        for pid in children:
            await_end(pid)

    @abstractmethod
    def url(self, database: str, user: str = USER) -> str:
        """Return the url of a database on this server, as the config has it: without a password."""

    def create(self, database: str) -> str:
        """Make a new, empty database, and return its url."""
        self.execute(f"CREATE DATABASE {database}{self._collation}")
        return self.url(database)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Have a new, empty database, and give its url; it is removed in the end."""
        name = f"test{next(_NUMBERS)}"
        url = self.create(name)
        yield url
        if self._process is None:  # a test that failed has left it so
            self.start()
        self.drop(name)

    @abstractmethod
    def copy(self, database: str, new: str) -> None:
        """Make the database ``new`` with all that is in ``database``, to which nobody must be connected."""

    def drop(self, database: str) -> None:
        """Remove a database with all that is in it, whoever is connected to it."""
        self.execute(f"DROP DATABASE {database}{self._forced}")

    def execute(self, *statements: str) -> None:
        """Have the administrator do something, outside of any transaction."""
        engine = create_engine(self.url(self._own), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        finally:
            engine.dispose()

    _own: ClassVar[str]
    """A database that is always there."""
    _collation: ClassVar[str]
    """A collation that sorts as people do, and takes A for a where the server knows one: the ledger must not care."""
    _forced: ClassVar[str] = ""

    @abstractmethod
    def _prepare(self) -> None:
        """Lay the server's own files into the folder."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def _open_up(self) -> None:
        """Do once, on the running server, what it has not by itself."""

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        program = find_program(command[0])
        assert program is not None
        became = ["setpriv", f"--pdeathsig={self.death.name.removeprefix('SIG')}"]
        if os.geteuid() == 0:
            became += [f"--reuid={_nobody().pw_uid}", f"--regid={_nobody().pw_gid}", "--clear-groups"]
        environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            **options.pop("env", {}),
        }
        return subprocess.Popen(
            [*became, program, *command[1:]], cwd=self.folder, stdin=subprocess.DEVNULL, env=environment, **options
        )

    def _run(self, *command: str) -> None:
        """Run one of the server's programs to its end; raises RuntimeError with what it said if it fails."""
        process = self._popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{command[0]}: {said.decode(errors='replace')[-2000:]}")


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def await_end(pid: int) -> None:
    """Wait for the end of a process that is nobody's child here; a PostgreSQL's ends by itself when its parent does."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], PATIENCE)[0]:
            raise RuntimeError(f"process {pid} of a killed server does not end")
    finally:
        os.close(descriptor)


class MariaDB(Server):
    """A MariaDB server."""

    package = "mariadb-server"
    programs = ("mariadbd", "mariadb-install-db")
    death = signal.SIGKILL
    _own = "mysql"
    _collation = " CHARACTER SET latin1 COLLATE latin1_swedish_ci"

    def url(self, database: str, user: str = USER) -> str:
        """See ``Server.url``."""
        query = {"unix_socket": str(self.folder / "socket")}
        return URL.create("mysql+pymysql", user, database=database, query=query).render_as_string()

    def copy(self, database: str, new: str) -> None:
        """See ``Server.copy``."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            made = [connection.execute(text(f"SHOW CREATE TABLE {table}")).one()[1] for table in tables]
            self.create(new)
            for statement in ("SET foreign_key_checks = 0", f"USE {new}", *made):
                connection.execute(text(statement))
            for table in tables:
                connection.execute(text(f"INSERT INTO {table} SELECT * FROM {database}.{table}"))
        engine.dispose()

    def create_user(self, user: str, password: str) -> None:
        """Make one who may do everything in every database, and needs the password."""
        secret = password.replace("\\", "\\\\").replace("'", "\\'").replace(":", "\\:")
        self.execute(
            f"CREATE OR REPLACE USER {user}@localhost IDENTIFIED BY '{secret}'", f"GRANT ALL ON *.* TO {user}@localhost"
        )

    def _prepare(self) -> None:
        data = f"--datadir={self.folder}/data"
        normal = "--auth-root-authentication-method=normal"
        self._run("mariadb-install-db", "--no-defaults", data, normal, "--skip-test-db", "--skip-name-resolve", *_HASTY)

    def _command(self) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            "--skip-networking",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=64M",
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--innodb-flush-log-at-trx-commit=2",  # written at each commit, and not waited for
            "--performance-schema=OFF",
            *_HASTY,
        ]

    def _open_up(self) -> None:
        engine = create_engine(self.url("mysql", "root"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE USER {USER}@localhost"))
            connection.execute(text(f"GRANT ALL ON *.* TO {USER}@localhost WITH GRANT OPTION"))
        engine.dispose()


_HASTY = ("--innodb-flush-method=nosync", "--skip-sync-frm", "--innodb-log-file-size=16M")


class PostgreSQL(Server):
    """A PostgreSQL server."""

    package = "postgresql"
    programs = ("postgres", "initdb")
    death = signal.SIGQUIT
    _own = "postgres"
    _collation = " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
    _forced = " WITH (FORCE)"

    def url(self, database: str, user: str = USER) -> str:
        """See ``Server.url``."""
        query = {"host": str(self.folder)}
        return URL.create("postgresql+psycopg", user, database=database, query=query).render_as_string()

    def copy(self, database: str, new: str) -> None:
        """See ``Server.copy``."""
        self.execute(f"CREATE DATABASE {new} TEMPLATE {database}")

    def create_user(self, user: str, password: str) -> None:
        """Make one who may do everything in every database, and needs the password."""
        secret = password.replace("'", "''").replace(":", "\\:")
        self.execute(f"CREATE USER {user} SUPERUSER PASSWORD '{secret}'")

    def _prepare(self) -> None:
        trusting = ("--auth=trust", f"--username={USER}")
        self._run(
            "initdb", f"--pgdata={self.folder}/data", "--no-sync", *trusting, "--encoding=UTF8", "--locale=C.UTF-8"
        )
        rules = f"local all {USER} trust\nlocal all all scram-sha-256\n"
        (self.folder / "data" / "pg_hba.conf").write_text(rules)

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",
            "max_connections": "50",
            "jit": "off",
        }
        return ["postgres", "-D", f"{self.folder}/data", *(f"--{name}={value}" for name, value in settings.items())]

    def _open_up(self) -> None:
        """Nothing: initdb has made the administrator."""


@contextmanager
def run_server(kind: type[Server]) -> Iterator[Any]:
    """Have a server of that kind in a temporary folder; skips the test, or fails if demanded, where it is missing."""
    missing = kind.missing()
    if missing and os.environ.get(DEMANDED):
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
    with (
        tempfile.TemporaryDirectory(prefix="papertape-", ignore_cleanup_errors=True) as folder,
        kind(Path(folder)) as server,
    ):
        yield server
