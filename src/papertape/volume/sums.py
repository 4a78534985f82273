"""Lines of SHA256SUMS, in the form that ``sha256sum -c`` reads (GNU coreutils manual, "md5sum invocation")."""

from __future__ import annotations


def sums_line(sha256: str, name: bytes) -> bytes:
    """Return the line for one file, including its LF.

    A backslash, a line feed or a carriage return in the name is escaped; a backslash before the digest says so.
    """
    mark = b""
    if b"\\" in name or b"\n" in name or b"\r" in name:
        name = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\"
    return b"%b%b  %b\n" % (mark, sha256.encode(), name)
