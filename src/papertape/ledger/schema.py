"""The ledger's tables; ``migrations/`` builds the very same, which a test compares.

Types are those that SQLite, PostgreSQL and MariaDB share. Names are in text form (``volume/names.py``) and compared
byte for byte. A name is too long for a unique index on some servers, so ``source_key``, its SHA-256, is unique instead.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeDecorator

from papertape.states import DataSetState, DumpState, Format, LabKind, LabState, VolumeState
from papertape.volume.names import Source

E = TypeVar("E", bound=StrEnum)


class Moment(TypeDecorator[datetime]):
    """A time, aware in Python, stored in UTC without a zone: SQLite and MariaDB know no zones."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time in UTC, without a zone; raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes no time without a zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time in UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Word(TypeDecorator[E]):
    """One of a closed set of words: an enum in Python, text of at most 16 characters in the database."""

    impl = String(16)
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self.words = words  # with the parameter's name: by it SQLAlchemy decides whether two such types are equal

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the word as text."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002
        """Return the word; raises ValueError for one that this program does not know."""
        return None if value is None else self.words(value)


def source_key(source: Source | str) -> str:
    """Return the key under which ``source`` is unique: the SHA-256 of its text form."""
    return hashlib.sha256(str(source).encode()).hexdigest()


Name = (
    Text()
    .with_variant(Text(collation="C"), "postgresql")
    .with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
)
Number = BigInteger().with_variant(Integer(), "sqlite")

NAMING = {
    "ix": "%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
METADATA = MetaData(naming_convention=NAMING)
Tag = String(64).with_variant(String(64, collation="C"), "postgresql")

_UTF8 = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
_OPTIONS: dict[str, Any] = {f"{name}_{key}": value for name in ("mysql", "mariadb") for key, value in _UTF8.items()}
"""Independent of the defaults of a MySQL server: all of Unicode, and no two letters are equal."""


def _table(name: str, *columns: SchemaItem, **options: Any) -> Table:
    return Table(name, METADATA, *columns, **_OPTIONS, **options)


def _dump(**options: Any) -> Column[int]:
    return Column("dump_id", Number, ForeignKey("dumps.id"), **options)


def _volume(**options: Any) -> Column[int]:
    return Column("volume_id", Number, ForeignKey("volumes.id"), nullable=False, **options)


DATASETS = _table(
    "datasets",
    Column("id", Number, primary_key=True),
    Column("source", Name, nullable=False),
    Column("source_key", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("tape_bytes", BigInteger, nullable=False),
    Column("catalog_bytes", BigInteger, nullable=False),
    Column("fingerprint", String(255), nullable=False),
    Column("md5", String(32)),
    Column("state", Word(DataSetState), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("registered_at", Moment, nullable=False),
    _dump(),
    Column("number", BigInteger),
    Column("tape_file", Integer),
    Column("offset", BigInteger),
    UniqueConstraint("source_key", "version"),
    Index(None, "state", "source", mysql_length={"source": 700}, mariadb_length={"source": 700}),
    Index(None, "source", mysql_length={"source": 700}, mariadb_length={"source": 700}),
    Index(None, "dump_id", "number"),
    sqlite_autoincrement=True,  # an id is never used twice: a plan made before a data set was replaced can't claim it
)

VOLUMES = _table(
    "volumes",
    Column("id", Number, primary_key=True),
    Column("tag", Tag, nullable=False, unique=True),
    Column("uuid", String(64)),
    Column("copy", Integer, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("state", Word(VolumeState), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("registered_at", Moment, nullable=False),
    _dump(index=True),
    Column("location", String(255), nullable=False, server_default=text("''")),
    Index(None, "state", "copy", "tag"),
)

DUMPS = _table(
    "dumps",
    Column("id", Number, primary_key=True),
    Column("uuid", String(64), nullable=False, unique=True),
    Column("state", Word(DumpState), nullable=False, index=True),
    Column("owner_host", String(255)),
    Column("owner_pid", BigInteger),
    Column("owner_started", String(255)),
    Column("heartbeat_at", Moment),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("created_at", Moment),
    Column("version", String(64), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("datasets", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("block_size", Integer, nullable=False),
    Column("format", Word(Format), nullable=False, server_default=text("'papertape'")),
)

COPIES = _table(
    "copies",
    _dump(primary_key=True),
    _volume(primary_key=True),
    Column("copy", Integer, nullable=False),
    Column("touched", Boolean, nullable=False, default=False),
    Column("written_at", Moment),
    Column("flushed_at", Moment),
    Column("verified_at", Moment),
    Column("write_drive", Integer),
    Column("write_serial", String(255)),
    Column("verify_drive", Integer),
    Column("verify_serial", String(255)),
    Column("bytes", BigInteger),
    Column("files", BigInteger),
    Column("version", String(64)),
    Column("error", Text),
    Column("label", JSON(none_as_null=True)),
    Index(None, "volume_id"),
)

VERIFICATIONS = _table(
    "verifications",
    Column("id", Number, primary_key=True),
    _volume(index=True),
    _dump(index=True),
    Column("drive", Integer, nullable=False),
    Column("drive_serial", String(255), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("version", String(64), nullable=False),
    Column("findings_count", BigInteger, nullable=False),
    Column("findings", JSON, nullable=False),
)

TAPE_FILES = _table(
    "tape_files",
    _dump(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("structure", String(64), nullable=False),
)

REJECTIONS = _table(
    "rejections",
    _dump(primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Name, nullable=False),
    Column("reason", Text, nullable=False),
)

MEMBERS = _table(
    "members",
    _dump(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tape_file", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("md5", String(32), nullable=False),
    Column("header", String(8), nullable=False),
    Column("dataset", BigInteger),  # the data set's number in the dump; null for papertape's own members
    Index(None, "dump_id", "dataset"),
    sqlite_with_rowid=False,  # tape order is the table's own order
)

LAB_ROWS = _table(
    "lab_rows",
    Column("id", Number, primary_key=True),
    Column("kind", Word(LabKind), nullable=False),
    Column("name", Name, nullable=False),
    Column("name_key", String(64), nullable=False),
    Column("source_key", String(64), nullable=False),
    Column("state", Word(LabState), nullable=False),
    Column("job", BigInteger, index=True),  # set while the lab's row has our mark, or may have it
    _dump(index=True),
    Column("reason", Text, nullable=False, default=""),
    UniqueConstraint("kind", "name_key"),
    UniqueConstraint("kind", "source_key"),
    Index(None, "state"),
)

HISTORY = _table(
    "history",
    Column("id", Number, primary_key=True),
    Column("source", Name, nullable=False),
    Column("source_key", String(64), nullable=False, unique=True),
    Column("version", String(8), nullable=False),
    Column("labels", String(100), nullable=False),  # between commas, so that LIKE finds a whole one: ,H0C10001,
    Column("archive", BigInteger, nullable=False),
    Column("item", BigInteger, nullable=False),
    Column("md5", String(32)),
    Column("size", BigInteger),
    Index(None, "source", mysql_length={"source": 700}, mariadb_length={"source": 700}),
)
