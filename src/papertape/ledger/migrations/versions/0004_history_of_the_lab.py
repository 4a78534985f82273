"""Where data sets lie by the word of the lab's own table of files.

Types are written out again: a migration stays as it was, whatever ``schema.py`` becomes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = (
    sa.Text()
    .with_variant(sa.Text(collation="C"), "postgresql")
    .with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTF8 = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
OPTIONS: dict[str, Any] = {f"{name}_{key}": value for name in ("mysql", "mariadb") for key, value in UTF8.items()}
HEAD = {"source": 700}


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("source_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=8), nullable=False),
        sa.Column("labels", sa.String(length=100), nullable=False),
        sa.Column("archive", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.BigInteger(), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("history_pkey")),
        sa.UniqueConstraint("source_key", name=op.f("history_source_key_key")),
        **OPTIONS,
    )
    op.create_index(op.f("history_source"), "history", ["source"], mysql_length=HEAD, mariadb_length=HEAD)
