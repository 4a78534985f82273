"""What must be true of ledger and tapes at any moment, and what at the end; asked of a machine from outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .machine import Machine

PROOFS = (
    "SELECT d.id, v.tag, v.state, c.written_at, c.flushed_at, c.verified_at, c.error,"
    " (SELECT count(*) FROM verifications p WHERE p.ok AND p.dump_id = d.id AND p.volume_id = v.id)"
    " FROM dumps d JOIN copies c ON c.dump_id = d.id JOIN volumes v ON v.id = c.volume_id WHERE d.state = 'archived'"
)
SETS = "SELECT s.source, u.state FROM datasets s LEFT JOIN dumps u ON u.id = s.dump_id WHERE s.state = 'archived'"


def check_nothing_unproven(machine: Machine) -> set[str]:
    """Nothing is called archived but what was verified on both twins; return the good volumes."""
    for source, state in machine.rows(SETS):
        assert state == "archived", source
    copies: dict[int, dict[str, str]] = {}
    for dump, tag, state, written, flushed, verified, error, proofs in machine.rows(PROOFS):
        assert state in {"archived", "aside"}, tag  # aside if it was archived, and did not read back later
        assert state == "aside" or all((written, flushed, verified, proofs)), (tag, written, flushed, verified, proofs)
        assert not error, (tag, error)
        copies.setdefault(dump, {})[tag] = state
    assert all(len(pair) == 2 for pair in copies.values()), copies
    tags = {tag for pair in copies.values() for tag, state in pair.items() if state == "archived"}
    assert tags == {tag for tag, state in machine.volumes().items() if state == "archived"}
    return tags


def check_all_archived(machine: Machine) -> None:
    """Everything that was registered is archived, reads back, and nothing is claimed or in a drive any more."""
    assert set(machine.states("datasets")) == {"archived"}
    assert set(machine.states("volumes")) <= {"archived", "blank"}
    tags = sorted(check_nothing_unproven(machine))
    assert machine.in_drives() == []
    said = machine.ok("verify", *tags)
    assert all(f"{tag}  verified" in said for tag in tags), said
    assert machine.in_drives() == []


def restore_by_hand(machine: Machine, slot: int, folder: str = "/srv/restored") -> dict[str, str]:
    """Take all archives of a volume back with mt and tar alone; return the digest of each file by the end of its name.

    Archives begin with tape file 2; what they are followed by, the catalog, ends the loop by having no ``data/``.
    """
    machine.mtx("load", slot, 0)
    restore = (
        f"mkdir -p {folder}; cd {folder}; mt -f /dev/nst0 rewind; mt -f /dev/nst0 fsf 2; "
        "while tar -b 128 -xf /dev/nst0 && [ ! -e catalog.json ]; do mt -f /dev/nst0 fsf 1; done; "
        "mt -f /dev/nst0 offline; find data -type f -exec sha256sum {} +"
    )
    lines = machine.sh(restore).splitlines()
    machine.mtx("unload", slot, 0)
    return {line[66:]: line[:64] for line in lines}


def digest_files(paths: list[str]) -> dict[str, str]:
    """Return the digest of every file of these data sets, by its path."""
    files = [file for path in map(Path, paths) for file in (path.rglob("*") if path.is_dir() else [path])]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
