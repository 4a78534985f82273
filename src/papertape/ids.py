"""Names of things, each a type of its own, so that one cannot be passed for another."""

from __future__ import annotations

from typing import NewType

DumpId = NewType("DumpId", int)
"""The number of a dump in this ledger, as people type it."""
DumpUuid = NewType("DumpUuid", str)
"""The identity of a dump on tape, the same in every ledger."""
VolumeTag = NewType("VolumeTag", str)
"""The barcode of a cartridge, which names its volume (SMC: volume tag)."""
VolumeUuid = NewType("VolumeUuid", str)
"""The identity of one recording on a volume, written in its label: a tape that is written again has another."""
