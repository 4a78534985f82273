"""Codes of errors that no test brings a server to."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from papertape.sql.dialect import Trouble
from papertape.sql.mysql import MySQL
from papertape.sql.postgresql import PostgreSQL
from papertape.sql.sqlite import SQLite


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        ((1205, "Wartezeit"), Trouble.BUSY),
        ((3, "Fehler beim Schreiben der Datei '/tmp/x' (Errcode: 28 \"Kein Platz\")"), Trouble.FULL),
        ((1030, "Fehler 28 von der Speicher-Engine InnoDB"), Trouble.FULL),
        ((1030, "Fehler 128 von der Speicher-Engine InnoDB"), None),
        ((1114, "Die Tabelle ist voll"), Trouble.FULL),
        ((1142, "verweigert"), Trouble.DENIED),
        ((1053, "wird heruntergefahren"), Trouble.AWAY),
        ((1213, "Deadlock"), None),
        ((), None),
        (("cryptography is required",), None),
    ],
)
def test_a_number_of_mysql_says_what_the_trouble_is(error: tuple[object, ...], trouble: Trouble | None) -> None:
    assert MySQL().find_trouble(RuntimeError(*error)) is trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("55P03", Trouble.BUSY),
        ("53100", Trouble.FULL),
        ("57P03", Trouble.AWAY),
        ("08006", Trouble.AWAY),
        ("42501", Trouble.DENIED),
        ("40P01", None),
        (None, None),
    ],
)
def test_an_sqlstate_says_what_the_trouble_is(code: str | None, trouble: Trouble | None) -> None:
    wrapped: Any = SimpleNamespace(orig=SimpleNamespace(sqlstate=code))
    assert PostgreSQL().find_trouble(wrapped) is trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Trouble.BUSY),
        (sqlite3.SQLITE_READONLY_DIRECTORY, Trouble.READ_ONLY),
        (sqlite3.SQLITE_CORRUPT_INDEX, Trouble.DAMAGED),
        (sqlite3.SQLITE_IOERR_FSYNC, Trouble.DISK_ERROR),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, None),
    ],
)
def test_an_extended_code_of_sqlite_counts_as_its_primary_code(code: int, trouble: Trouble | None) -> None:
    error: Any = sqlite3.OperationalError("gesperrt")
    error.sqlite_errorcode = code
    assert SQLite().find_trouble(error) is trouble
