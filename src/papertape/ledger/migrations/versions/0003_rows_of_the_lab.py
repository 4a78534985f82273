"""The rows of the lab's own tables that belong to data sets and volumes, and the claims on them.

Types are written out again: a migration stays as it was, whatever ``schema.py`` becomes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = (
    sa.Text()
    .with_variant(sa.Text(collation="C"), "postgresql")
    .with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
)
UTF8 = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
OPTIONS: dict[str, Any] = {f"{name}_{key}": value for name in ("mysql", "mariadb") for key, value in UTF8.items()}
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "lab_rows",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("name_key", sa.String(length=64), nullable=False),
        sa.Column("source_key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("job", sa.BigInteger(), nullable=True),
        sa.Column("dump_id", NUMBER, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["dump_id"], ["dumps.id"], name=op.f("lab_rows_dump_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("lab_rows_pkey")),
        sa.UniqueConstraint("kind", "name_key", name=op.f("lab_rows_kind_name_key_key")),
        sa.UniqueConstraint("kind", "source_key", name=op.f("lab_rows_kind_source_key_key")),
        **OPTIONS,
    )
    op.create_index(op.f("lab_rows_job"), "lab_rows", ["job"])
    op.create_index(op.f("lab_rows_state"), "lab_rows", ["state"])
    op.create_index(op.f("lab_rows_dump_id"), "lab_rows", ["dump_id"])
