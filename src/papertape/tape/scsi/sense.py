"""Why a changer did not do it: SCSI sense data and the sentences of ``mtx``, in our words.

The codes are T10's (SPC, annex of additional sense codes; SMC for changers, SSC for tapes), the sentences those of mtx
1.3.12, which prints them, and the sense data line by line, to stderr.
"""

from __future__ import annotations

import re

from papertape.tape.changer import Element, ElementKind

KEYS = (
    "No Sense",
    "Recovered Error",
    "Not Ready",
    "Medium Error",
    "Hardware Error",
    "Illegal Request",
    "Unit Attention",
    "Data Protect",
    "Blank Check",
    "Vendor Specific",
    "Copy Aborted",
    "Aborted Command",
    "Reserved",
    "Volume Overflow",
    "Miscompare",
    "Completed",
)
"""The sense keys by number."""

_RECOVERED_ERROR = 1
_NOT_READY = 2
_UNIT_ATTENTION = 6

_CODES: dict[tuple[int, int | None], str] = {
    (0x00, 0x00): "the changer gives no reason: the connection to it may be broken, the kernel's log says more",
    (0x04, 0x01): "the library is becoming ready: wait a minute and try again",
    (0x04, 0x02): 'the library has to take stock first: "mtx inventory" makes it',
    (0x04, 0x03): "the library needs a human: its panel says what for",
    (0x04, 0x07): "the library is busy with something else: wait and try again",
    (0x04, 0x09): "the library is testing itself: wait and try again",
    (0x04, 0x12): "the library is offline: set it online at its panel",
    (0x04, 0x20): "the library has to be reset",
    (0x04, 0x21): "the library has to be reset",
    (0x04, 0x22): "the library has to be switched off and on again",
    (0x04, None): "the library is not ready",
    (0x08, None): "a part of the library does not answer the others",
    (0x15, None): "the robot cannot find its position",
    (0x20, None): "the device does not know the command: it is not a changer",
    (0x21, 0x01): "the library has no such element",
    (0x24, None): "the changer does not take the command as mtx sends it",
    (0x25, None): "there is no changer at this address",
    (0x28, 0x00): "a cartridge may have been changed meanwhile",
    (0x28, 0x01): "the mail slot has been opened meanwhile",
    (0x29, None): "the library has been switched on or reset meanwhile",
    (0x2A, None): "the library's settings have been changed meanwhile",
    (0x2F, None): "another host has broken it off",
    (0x30, 0x00): "the cartridge is of a kind that the drive cannot use",
    (0x30, 0x03): "the drive holds a cleaning cartridge",
    (0x30, 0x07): "cleaning the drive failed: the cleaning cartridge may be used up",
    (0x30, None): "the drive cannot use the cartridge",
    (0x3A, None): "there is no cartridge that could be moved",
    (0x3B, 0x0D): "the destination is full",
    (0x3B, 0x0E): "the source is empty",
    (0x3B, 0x11): "the magazine cannot be reached",
    (0x3B, 0x12): "the magazine has been taken out",
    (0x3B, 0x13): "a magazine has been put in meanwhile",
    (0x3B, 0x14): "the magazine is locked",
    (0x3B, 0x15): "the magazine is unlocked",
    (0x3B, 0x1A): "the drive has been taken out of the library",
    (0x3B, 0x1B): "a drive has been put into the library meanwhile",
    (0x3E, None): "the library has not found its own parts",
    (0x3F, None): "the library's firmware or configuration has changed meanwhile",
    (0x40, None): "a part of the library failed its test",
    (0x44, None): "an internal failure of the library",
    (0x4C, None): "the library failed to set itself up",
    (0x52, None): "the cartridge is damaged",
    (0x53, 0x00): "a cartridge could not be put in or taken out: it may be stuck",
    (0x53, 0x01): "the drive could not unload its cartridge",
    (0x53, 0x02): "the drive has not been unloaded, or something holds the cartridge locked",
    (0x53, 0x03): "the drive has not been unloaded, or it holds its cartridge locked",
    (0x53, 0x04): "the drive could not thread or unthread the tape: the cartridge may be damaged",
    (0x53, 0x08): "the library does not know what lies there",
    (0x5A, 0x01): "someone at the panel asks for the cartridge",
    (0x5A, None): "someone is at the library's panel",
    (0x83, None): "a message that only the library's maker explains: see its panel and its manual",
}
"""A clause for each code and qualifier; qualifier None stands for all others of the code."""


def describe_sense(key: int, asc: int, ascq: int) -> str:
    """Return what sense key ``key`` with code ``asc`` and qualifier ``ascq`` means, as a clause."""
    code = f"code {asc:02X}h/{ascq:02X}h"
    words = _CODES.get((asc, ascq)) or _CODES.get((asc, None))
    if words is None:
        return f"sense key {KEYS[key & 15]}, {code}"
    if key == _UNIT_ATTENTION:
        return f"{words}: nothing was done, try again ({code})"
    if key == _RECOVERED_ERROR:
        return f"it may have been done, but not without trouble: {words} ({code})"
    return f"{words} ({code})"


_NUMBER = "argument '[0-9]+' to"
_SENTENCES = (
    (r"Transfer Element [0-9]+ is Empty|Source Element Address [0-9]+ is Empty", "{source} is empty"),
    (r"Element (?:Address )?[0-9]+ is Already Full|Drive [0-9]+ Full", "{destination} is full"),
    (rf"<s.*> {_NUMBER} 'load'|<d.*> {_NUMBER} 'unload'|Invalid source", "the library has no {source}"),
    (rf"<d.*> {_NUMBER} 'load'|<s.*> {_NUMBER} 'unload'|Invalid destination", "the library has no {destination}"),
    (r"Cleaning Cartridge Installed and Ejected", "a cleaning cartridge was put in and has been ejected"),
    (r"no Data Transfer Element reported", "the changer reports no drive: the connection to it may be broken"),
    (r"no Storage Elements reported", "the changer reports no slot: the connection to it may be broken"),
    (r"Too many Data Transfer Elements Reported", "the changer reports more drives than it says it has"),
    (r"Too Many Storage Elements Reported", "the changer reports more slots than it says it has"),
    (r"Descriptor Length too short|illegal Element Type Code", "mtx does not understand what the changer reports"),
)
"""The sentences with which mtx gives up, and their meaning."""

_OFFLINE = "Drive needs offline before move"
"""mtx's words for the sense code 3A/00 after a move, whatever the source is."""
_KEY_NUMBERS = {name: key for key, name in enumerate(KEYS)} | {f"0x{key:02x}": key for key in range(16)}
_NO_MEDIUM = (0x3A, 0x00)
_HELD = {_NO_MEDIUM, (0x53, 0x02), (0x53, 0x03)}
_UNKNOWN_COMMAND = 0x20


def explain(text: str, source: Element | None = None, destination: Element | None = None) -> str | None:
    """Return why mtx, which printed ``text``, did not make the move, as a clause; None if ``text`` does not tell."""
    for pattern, words in _SENTENCES:
        if re.search(pattern, text):
            return words.format(source=source or "the source", destination=destination or "the destination")
    sense = _read_sense(text)
    if sense and source and source.kind is ElementKind.DRIVE and sense[1:] in _HELD:
        code = f"code {sense[1]:02X}h/{sense[2]:02X}h"
        return f"{source} has not been unloaded, or it holds its cartridge locked ({code})"
    return describe_sense(*sense) if sense else None


def means_no_changer(text: str) -> bool:
    """Tell whether mtx, which printed ``text``, was let loose on something else than a changer."""
    sense = _read_sense(text)
    return "is not an sg device" in text or (sense is not None and sense[1] == _UNKNOWN_COMMAND)


def _read_sense(text: str) -> tuple[int, int, int] | None:
    """Return key, code and qualifier of the sense data at the end of ``text``: mtx went on after any before."""
    if _OFFLINE in text:
        return _NOT_READY, *_NO_MEDIUM
    # "Mode sense ... failed", in small letters, ends what mtx does without.
    if not text.rstrip().endswith("Failed"):
        return None
    keys = re.findall(r"Sense Key=(.*)", text)
    codes = re.findall(r"Additional Sense Code = ([0-9A-F]{2})", text)
    qualifiers = re.findall(r"Additional Sense Qualifier = ([0-9A-F]{2})", text)
    if not (keys and codes and qualifiers):
        return None
    return _KEY_NUMBERS.get(keys[-1].strip(), 0), int(codes[-1], 16), int(qualifiers[-1], 16)
