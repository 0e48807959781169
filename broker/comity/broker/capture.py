"""Copies of link messages as they travel: what the operator can show of what it sees.

A transparency aid, off unless the configuration names a folder. A file of records, each

    1 byte    `>` from an end to the broker, `<` from the broker to an end
    4 bytes   length of the message, big-endian
    …         the serialized `LinkRequest` or `LinkResponse`, exactly as on the wire

The broker can read none of the content in it, but it outlives what the broker forgets: TLS records
with their times and sizes. So it is announced loudly at every start, and it is nobody else's to
read (mode 0600).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILE_NAME: Final = "frames.bin"
FROM_END: Final = b">"
TO_END: Final = b"<"
_HEAD: Final = struct.Struct(">cI")


class Capture:
    """An open capture file. Records are flushed to the operating system one by one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / FILE_NAME
        self._file = os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0
        )
        os.fchmod(self._file.fileno(), 0o600)

    def record(self, direction: bytes, message: bytes) -> None:
        """Append one message."""
        self._file.write(_HEAD.pack(direction, len(message)) + message)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_capture(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield (direction, message) of each whole record; one torn by a crash is the end."""
    data = (folder / FILE_NAME).read_bytes()
    at = 0
    while at + _HEAD.size <= len(data):
        direction, length = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        if start + length > len(data):
            return
        yield direction, data[start : start + length]
        at = start + length
