"""The first ledger.

Types are written out again: a migration stays as it was, whatever ``schema.py`` becomes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = (
    sa.Text()
    .with_variant(sa.Text(collation="C"), "postgresql")
    .with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
HEAD = {"source": 700}
TAG = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
UTF8 = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
OPTIONS: dict[str, Any] = {f"{name}_{key}": value for name in ("mysql", "mariadb") for key, value in UTF8.items()}


def upgrade() -> None:
    _dumps()
    _datasets()
    _rejections()
    _members()
    _tape_files()
    _volumes()
    _copies()
    _verifications()


def _dumps() -> None:
    op.create_table(
        "dumps",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner_host", sa.String(length=255), nullable=True),
        sa.Column("owner_pid", sa.BigInteger(), nullable=True),
        sa.Column("owner_started", sa.String(length=255), nullable=True),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("datasets", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("block_size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("dumps_pkey")),
        sa.UniqueConstraint("uuid", name=op.f("dumps_uuid_key")),
        **OPTIONS,
    )
    op.create_index(op.f("dumps_state"), "dumps", ["state"])


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("source_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("tape_bytes", sa.BigInteger(), nullable=False),
        sa.Column("catalog_bytes", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(length=255), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column("dump_id", NUMBER, nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("tape_file", sa.Integer(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("datasets_dump_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("datasets_pkey")),
        sa.UniqueConstraint("source_key", "version", name=op.f("datasets_source_key_version_key")),
        sqlite_autoincrement=True,
        **OPTIONS,
    )
    op.create_index(op.f("datasets_dump_id_number"), "datasets", ["dump_id", "number"])
    op.create_index(op.f("datasets_source"), "datasets", ["source"], mysql_length=HEAD, mariadb_length=HEAD)
    op.create_index(
        op.f("datasets_state_source"), "datasets", ["state", "source"], mysql_length=HEAD, mariadb_length=HEAD
    )


def _rejections() -> None:
    op.create_table(
        "rejections",
        sa.Column("dump_id", NUMBER, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("rejections_dump_id_fkey")),
        sa.PrimaryKeyConstraint("dump_id", "number", name=op.f("rejections_pkey")),
        **OPTIONS,
    )


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("dump_id", NUMBER, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tape_file", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("header", sa.String(length=8), nullable=False),
        sa.Column("dataset", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("members_dump_id_fkey")),
        sa.PrimaryKeyConstraint("dump_id", "seq", name=op.f("members_pkey")),
        sqlite_with_rowid=False,
        **OPTIONS,
    )
    op.create_index(op.f("members_dump_id_dataset"), "members", ["dump_id", "dataset"])


def _tape_files() -> None:
    op.create_table(
        "tape_files",
        sa.Column("dump_id", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("structure", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("tape_files_dump_id_fkey")),
        sa.PrimaryKeyConstraint("dump_id", "number", name=op.f("tape_files_pkey")),
        **OPTIONS,
    )


def _volumes() -> None:
    op.create_table(
        "volumes",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("tag", TAG, nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=True),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column("dump_id", NUMBER, nullable=True),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("volumes_dump_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("volumes_pkey")),
        sa.UniqueConstraint("tag", name=op.f("volumes_tag_key")),
        **OPTIONS,
    )
    op.create_index(op.f("volumes_dump_id"), "volumes", ["dump_id"])
    op.create_index(op.f("volumes_state_copy_tag"), "volumes", ["state", "copy", "tag"])


def _copies() -> None:
    op.create_table(
        "copies",
        sa.Column("dump_id", NUMBER, nullable=False),
        sa.Column("volume_id", NUMBER, nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("touched", sa.Boolean(), nullable=False),
        sa.Column("written_at", MOMENT, nullable=True),
        sa.Column("flushed_at", MOMENT, nullable=True),
        sa.Column("verified_at", MOMENT, nullable=True),
        sa.Column("write_drive", sa.Integer(), nullable=True),
        sa.Column("write_serial", sa.String(length=255), nullable=True),
        sa.Column("verify_drive", sa.Integer(), nullable=True),
        sa.Column("verify_serial", sa.String(length=255), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("label", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("copies_dump_id_fkey")),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("copies_volume_id_fkey")),
        sa.PrimaryKeyConstraint("dump_id", "volume_id", name=op.f("copies_pkey")),
        **OPTIONS,
    )
    op.create_index(op.f("copies_volume_id"), "copies", ["volume_id"])


def _verifications() -> None:
    op.create_table(
        "verifications",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("volume_id", NUMBER, nullable=False),
        sa.Column("dump_id", NUMBER, nullable=True),
        sa.Column("drive", sa.Integer(), nullable=False),
        sa.Column("drive_serial", sa.String(length=255), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("findings_count", sa.BigInteger(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("verifications_dump_id_fkey")),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("verifications_volume_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("verifications_pkey")),
        **OPTIONS,
    )
    op.create_index(op.f("verifications_dump_id"), "verifications", ["dump_id"])
    op.create_index(op.f("verifications_volume_id"), "verifications", ["volume_id"])
