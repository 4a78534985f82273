"""Runs the migrations on the connection, and in the transaction, that ``database.py`` gives."""

from alembic import context

from papertape.ledger.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
