"""Where a volume lies outside the library, and in which format a dump is.

Types are written out again: a migration stays as it was, whatever ``schema.py`` becomes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("volumes", sa.Column("location", sa.String(length=255), nullable=False, server_default=sa.text("''")))
    op.add_column(
        "dumps", sa.Column("format", sa.String(length=16), nullable=False, server_default=sa.text("'papertape'"))
    )
