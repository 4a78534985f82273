"""Servers that write German, and take few connections."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from servers import MariaDB, PostgreSQL

LOCALE = "de_DE.UTF-8"
CONNECTIONS = 10


class GermanPostgreSQL(PostgreSQL):
    """A PostgreSQL with ``lc_messages``, and the locale for it in its folder."""

    def _prepare(self) -> None:
        messages = sorted(Path("/usr/share/locale/de/LC_MESSAGES").glob("postgres-*.mo"))
        if not messages or shutil.which("localedef") is None:
            pytest.skip("no German messages of PostgreSQL, or no localedef: apt-get install locales")
        made = ["localedef", "-i", "de_DE", "-f", "UTF-8", f"{self.folder}/{LOCALE}"]
        process = subprocess.run(made, capture_output=True, check=False)
        if process.returncode:
            pytest.skip(f"localedef makes no {LOCALE}: {process.stderr.decode()}")
        super()._prepare()

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        options["env"] = {**options.get("env", {}), "LOCPATH": str(self.folder)}
        return super()._popen(command, **options)

    def _command(self) -> list[str]:
        few = ["--superuser_reserved_connections=0", f"--max_connections={CONNECTIONS}", "--max_wal_senders=0"]
        return [*super()._command(), f"--lc_messages={LOCALE}", *few]


class GermanMariaDB(MariaDB):
    """A MariaDB with ``lc_messages``."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--lc-messages=de_DE", f"--max-connections={CONNECTIONS}"]
