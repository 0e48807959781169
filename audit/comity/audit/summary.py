"""What a log must know of its own entries without reading them all: how many are substantive, and the newest
checkpoint that was seen of each peer.

`wal/summary.json` is a copy of what the entries say, so that a long log opens quickly. It is no evidence: it
is made anew from the entries when it is missing or makes no sense.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit.entry import CHECKPOINT_SEEN, SealedEntry, parse_entry
from comity.audit.tiles import TileFolder

_FILE = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Sums over the first `size` entries. `seen`: by origin, the newest note of a peer."""

    size: int = 0
    substantive: int = 0
    seen: Mapping[str, bytes] = field(default_factory=dict)

    def after(self, entries: Iterable[SealedEntry]) -> "Summary":
        """Return the summary after more entries."""
        return self._after((sealed.kind, sealed.leaf) for sealed in entries)

    def write(self, folder: Path) -> None:
        """Write the file, whole, but without a sync: losing it costs a slower start."""
        notes = {origin: note.decode() for origin, note in self.seen.items()}
        record = {"size": self.size, "substantive": self.substantive, "seen": notes}
        temporary = folder / f".{_FILE}.tmp"
        temporary.write_text(json.dumps(record))
        temporary.replace(folder / _FILE)

    @classmethod
    def read(cls, folder: Path, tiles: TileFolder, size: int) -> "Summary":
        """Return the summary of the first `size` entries, from the file and the entries after it.

        Raises `TileInvalid` or `EntryInvalid` if entries can't be read.
        """
        known = _read_file(folder / _FILE)
        if known.size > size:
            known = cls()
        leaves = (leaf for _, leaf in tiles.all_entries(size, known.size))
        return known._after((parse_entry(leaf).kind, leaf) for leaf in leaves)

    def _after(self, entries: Iterable[tuple[str, bytes]]) -> "Summary":
        size, substantive, seen = self.size, self.substantive, self.seen
        for kind, leaf in entries:
            size += 1
            if kind != CHECKPOINT_SEEN:
                substantive += 1
                continue
            public = parse_entry(leaf).public
            origin, note = public.get("peer_origin"), public.get("note")
            if isinstance(origin, str) and isinstance(note, str):
                seen = {**seen, origin: note.encode()}
        return Summary(size=size, substantive=substantive, seen=seen)


def _read_file(path: Path) -> Summary:
    try:
        record = json.loads(path.read_bytes())
        return Summary(
            size=int(record["size"]),
            substantive=int(record["substantive"]),
            seen={str(origin): str(note).encode() for origin, note in record["seen"].items()},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Summary()
