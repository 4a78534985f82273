"""The lab's own tables of files and tapes, which other programs use too: rows are read, claimed, released, written."""

from papertape.bridges.claims import Claim, Left
from papertape.bridges.mtx import Label, LabelTable
from papertape.bridges.paperdata import FileTable, LabFile, OnTape, Placed
from papertape.bridges.server import Server
from papertape.sql.optionfile import Credentials, OptionFile, read_option_file

__all__ = [
    "Claim",
    "Credentials",
    "FileTable",
    "LabFile",
    "Label",
    "LabelTable",
    "Left",
    "OnTape",
    "OptionFile",
    "Placed",
    "Server",
    "read_option_file",
]
