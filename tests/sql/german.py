"""Servers that write German, and take few connections."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from servers import MariaDB, PostgreSQL

LOCALE = "de_DE.UTF-8"
CONNECTIONS = 10


class GermanPostgreSQL(PostgreSQL):
    """A PostgreSQL with ``lc_messages``, and the locale for it in its folder."""

    @classmethod
    def missing(cls) -> str | None:
        """Name the packages that must be installed first, None if there are none."""
        messages = list(Path("/usr/share/locale/de/LC_MESSAGES").glob("postgres-*.mo"))
        if not messages or not Path("/usr/share/i18n/locales/de_DE").exists():
            return "no German messages of PostgreSQL, or no source of the locale: apt-get install locales"
        return super().missing()

    def _prepare(self) -> None:
        made = ["localedef", "-i", "de_DE", "-f", "UTF-8", f"{self.folder}/{LOCALE}"]
        subprocess.run(made, capture_output=True, check=True)
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
