"""A ledger's tables, as they have to be again when it was lost: no ids, and no moments that no tape tells."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text

from ledgers import behind_its_back
from stories import Lab

TABLES = {
    "datasets": "SELECT d.*, u.uuid AS dump FROM datasets d LEFT JOIN dumps u ON u.id = d.dump_id",
    "volumes": "SELECT v.*, u.uuid AS dump FROM volumes v LEFT JOIN dumps u ON u.id = v.dump_id "
    " WHERE v.uuid IS NOT NULL",
    "dumps": "SELECT * FROM dumps",
    "copies": "SELECT c.*, v.tag, u.uuid AS dump FROM copies c JOIN volumes v ON v.id = c.volume_id"
    " JOIN dumps u ON u.id = c.dump_id",
    "tape_files": "SELECT t.*, u.uuid AS dump FROM tape_files t JOIN dumps u ON u.id = t.dump_id",
    "rejections": "SELECT r.*, u.uuid AS dump FROM rejections r JOIN dumps u ON u.id = r.dump_id",
    "members": "SELECT m.*, u.uuid AS dump FROM members m JOIN dumps u ON u.id = m.dump_id",
}
IDS = {"id", "dump_id", "volume_id"}
MOMENTS = {"registered_at", "started_at", "ended_at", "heartbeat_at", "written_at", "flushed_at", "verified_at"}
UNTOLD = {"tape_bytes", "catalog_bytes", "write_drive", "verify_drive", "verify_serial"}


def tables(lab: Lab, *but: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that the tapes tell of, without the columns ``but``."""
    left_out = IDS | MOMENTS | UNTOLD | set(but)
    found = {}
    with behind_its_back(lab.url) as connection:
        for table, query in TABLES.items():
            found[table] = []
            for row in connection.execute(text(query)).mappings():
                found[table].append({key: str(value) for key, value in row.items() if key not in left_out})
            found[table].sort(key=lambda row: json.dumps(row, sort_keys=True))
    return found
