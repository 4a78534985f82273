"""Promise 2, on the tape's side: before papertape writes to a volume, it reads the tape to see whether it may."""

from __future__ import annotations

from papertape.errors import DriveError, FormatError, VolumeNotBlank, WriteProtected
from papertape.ids import VolumeTag
from papertape.plan import Volume
from papertape.tape.drive import Drive, Mark
from papertape.volume.label import Label, read_label
from papertape.volume.layout import MAXIMUM_BLOCK
from papertape.words import count


def check_writable(drive: Drive, volume: Volume, *, resumed: bool) -> None:
    """Return with the drive rewound if its volume may be written from BOT; raise VolumeNotBlank or WriteProtected.

    It may if it is blank or, for a ``resumed`` dump, if it has the label that this dump wrote. It is blank if the drive
    finds the end of data at BOT; a block that cannot be read proves nothing.
    """
    if drive.status().write_protected:
        raise WriteProtected(volume.tag, "its tab forbids writing; move the tab, or use another volume")
    buffer = memoryview(bytearray(MAXIMUM_BLOCK))
    first: int | Mark = Mark.END_OF_DATA
    try:
        drive.space(Mark.END_OF_DATA)
        if drive.position() > 0:
            drive.rewind()
            first = drive.read_block(buffer)
    except DriveError as error:
        raise VolumeNotBlank(volume.tag, f"is not known to be blank ({error}); nothing was written to it") from error
    if first is not Mark.END_OF_DATA:
        label = _find_label(first, buffer)
        is_own = label is not None and (label.volume_tag, label.volume_uuid) == (volume.tag, volume.uuid)
        if not (resumed and is_own):
            found = _describe(first, buffer, label)
            reason = f"the ledger says that it is blank, but it holds {found}; nothing was written to it"
            raise VolumeNotBlank(volume.tag, reason)
    drive.rewind()


def _find_label(first: int | Mark, buffer: memoryview) -> Label | None:
    if isinstance(first, Mark):
        return None
    try:
        return read_label(bytes(buffer[:first]), VolumeTag(""))
    except FormatError:
        return None


def _describe(first: int | Mark, buffer: memoryview, label: Label | None) -> str:
    if isinstance(first, Mark):
        return "a filemark"
    if label is not None:
        return f"papertape's volume {label.volume_tag} of {label.created:%Y-%m-%d}"
    if bytes(buffer[257:262]) == b"ustar":  # the magic of a tar header (POSIX.1-2017, pax)
        return "a tar archive of someone else's"
    return f"{count(first, 'byte')} of someone else's data"
