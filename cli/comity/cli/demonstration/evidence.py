"""What each end holds about one exchange, and a search for content where there must be none."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.openings import read_openings
from comity.audit.tiles import TileFolder
from comity.policy.plates import MAX_PLATE_CHARACTERS, fold

_DIGEST = re.compile(r"\b([0-9a-f]{16})[0-9a-f]{48}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One log entry of an exchange, with the private values that this end can open."""

    index: int
    entry: LoggedEntry
    opened: Mapping[str, str]


def records_of(home: Path, exchange: bytes) -> list[Record]:
    """Return the entries about one exchange in an end's log, opened where its own store has the openings."""
    log = home / "log"
    size = peek_checkpoint((log / "checkpoint").read_bytes()).size
    store = home / "state.db"
    openings = read_openings(store) if store.exists() else {}
    found = []
    for index, leaf in TileFolder(log).all_entries(size):
        entry = parse_entry(leaf)
        if entry.exchange == exchange:
            own = openings.get(index, {})
            opened = {name: entry.open(opening) for name, opening in own.items()}
            found.append(Record(index=index, entry=entry, opened=opened))
    return found


def as_lines(record: Record) -> Iterator[str]:
    """Yield all that one record says, a field a line: public ones, then private ones, opened or closed.

    Digests are shown by their first 16 digits; nothing else is left out.
    """
    for name, value in record.entry.public.items():
        yield f"{name}: {_shorter(value if isinstance(value, str) else json.dumps(value))}"
    for name in record.entry.commitments:
        opened = record.opened.get(name)
        yield f"{name}: (closed commitment)" if opened is None else f"{name}: {_shorter(opened)}"


def _shorter(text: str) -> str:
    return _DIGEST.sub(r"\1…", text)


def spellings(value: str) -> dict[str, bytes]:
    """Return the byte forms under which a value could hide.

    As typed, folded, UTF-16, and base64 at each of the three offsets at which it can begin: there only
    the characters that the value alone determines.
    """
    raw = value.encode()
    forms = {
        "as typed": raw,
        "folded": fold(value).encode() if len(value) <= MAX_PLATE_CHARACTERS else raw.upper(),
        "UTF-16": value.encode("utf-16-le"),
    }
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw)
        forms[f"base64+{offset}"] = encoded[-(-8 * offset // 6) : 8 * (offset + len(raw)) // 6]
    return forms


def find_values(files: Iterable[Path], values: Iterable[str]) -> tuple[int, list[str]]:
    """Return the bytes searched, and one line for each value found: its place and form, not the value."""
    wanted = [
        (number, form, needle)
        for number, value in enumerate(values)
        for form, needle in spellings(value).items()
    ]
    searched = 0
    found: list[str] = []
    for path in files:
        try:
            data = path.read_bytes()
        except OSError:
            continue
        searched += len(data)
        found.extend(
            f"value {number} {form} in `{path.name}`"
            for number, form, needle in wanted
            if _holds(data, needle)
        )
    return searched, found


def _holds(data: bytes, needle: bytes) -> bool:
    """Return whether a form of a value is there; one of digits alone, not within a longer number or id.

    Six digits are met by chance among the times and ids of a long run.
    """
    if not needle.isdigit():
        return needle in data
    return re.search(rb"(?<![0-9A-Fa-f])" + needle + rb"(?![0-9A-Fa-f])", data) is not None


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
