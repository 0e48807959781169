"""What an entry can't hold is stored beside the log, and its digest logged (C2SP tlog-tiles, `Log entries`).

An entry bundle gives an entry's length in 16 bits. Of an entry that would be longer the largest public values
stand in files of their own, named by their digest, and the entry has digest and length in their place::

    log/beside/9f2c…e1        the value as RFC 8785 JSON
    {"at":…,"beside":{"asked":{"bytes":70112,"sha256":"9f2c…e1"}},"kind":"asked",…}

A file is written, durable, before the entry: whoever has the entry's log folder has its values, and one that
was changed or is missing is found by its digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from comity.audit.canonical import JsonValue, canonical
from comity.audit.entry import (
    MAX_BESIDE_BYTES,
    BesideValue,
    LoggedEntry,
    parse_entry,
    parse_json,
    read_entry,
)
from comity.audit.errors import BesideInvalid, EntryInvalid

FOLDER = "beside"
"""The folder of these values, in a log's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideFolder:
    """Reads the values that a log's entries name; `folder` is the log's, or one with copies of them."""

    folder: Path

    def value(self, kind: str, name: str, wanted: BesideValue) -> JsonValue:
        """Return a value that an entry of this kind names. Raises `BesideInvalid`."""
        return parse_value(self.read(kind, name, wanted))

    def read(self, kind: str, name: str, wanted: BesideValue) -> bytes:
        """Return the bytes of a value, checked against its digest. Raises `BesideInvalid`."""
        what = f"entry `{kind}`: `{name}`, which stands beside the log in `{FOLDER}/{wanted.file}`,"
        path = self.folder / FOLDER / wanted.file
        try:
            if path.stat().st_size != wanted.size:
                raise BesideInvalid(f"{what} was changed: its length is not {wanted.size}")
            data = path.read_bytes()
        except FileNotFoundError as problem:
            raise BesideInvalid(f"{what} is missing") from problem
        except OSError as problem:
            raise BesideInvalid(f"{what} can't be read: {problem.strerror}") from problem
        if sha256(data).digest() != wanted.digest:
            raise BesideInvalid(f"{what} was changed: its digest is another one")
        return data

    def complete(self, entry: LoggedEntry) -> LoggedEntry:
        """Return an entry with the public values that stand beside it. Raises `BesideInvalid`."""
        if not entry.beside:
            return entry
        values = {name: self.value(entry.kind, name, wanted) for name, wanted in entry.beside.items()}
        return replace(entry, public={**entry.public, **values})


def parse_value(data: bytes) -> JsonValue:
    """Return the value in a file's bytes; raise `BesideInvalid` if it isn't in the form that values have."""
    try:
        value = parse_json(data)
        if canonical(value) != data:
            raise ValueError
    except (ValueError, EntryInvalid, RecursionError) as problem:
        raise BesideInvalid("a value that stands beside the log is not RFC 8785 JSON") from problem
    return value


def whole_entry(leaf: bytes, log: Path, *, is_checked: bool = False) -> LoggedEntry:
    """Return an entry of the log in a folder with all its public values.

    `is_checked`: a checked root covers the bytes, so that their form isn't judged (`read_entry`). Raises
    `EntryInvalid`, among it `BesideInvalid`.
    """
    return BesideFolder(folder=log).complete((read_entry if is_checked else parse_entry)(leaf))


def files_of(beside: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return the files, by path below the log's folder, that hold these values, which come by digest."""
    return {f"{FOLDER}/{digest.hex()}": data for digest, data in beside.items()}


__all__ = [
    "FOLDER",
    "MAX_BESIDE_BYTES",
    "BesideFolder",
    "BesideValue",
    "files_of",
    "parse_value",
    "whole_entry",
]
