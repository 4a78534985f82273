"""Which databases there are."""

from __future__ import annotations

from sqlalchemy import URL, Connection

from papertape.errors import UserError
from papertape.sql.dialect import Dialect
from papertape.sql.mysql import MySQL
from papertape.sql.postgresql import PostgreSQL
from papertape.sql.sqlite import SQLite

UNKNOWN = (
    "ledger: this is no database url of SQLite, PostgreSQL, MariaDB or MySQL; write `sqlite:////folder/ledger.sqlite`"
)
_DIALECTS: dict[str, Dialect] = {
    "sqlite": SQLite(),
    "postgresql": PostgreSQL(),
    "mysql": MySQL(),
    "mariadb": MySQL(),
}
"""By SQLAlchemy's names."""


def find_dialect(database: URL | Connection) -> Dialect:
    """Return how to talk to the database of a url or a connection; raises UserError for one that is not known."""
    name = database.get_backend_name() if isinstance(database, URL) else database.dialect.name
    if name not in _DIALECTS:
        raise UserError(UNKNOWN)
    return _DIALECTS[name]
