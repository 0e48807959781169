"""What a log must know of its own entries without reading them all: how many are substantive, the newest
checkpoint that was seen of each peer, which peers are refused because their log contradicted itself,
where its own key was replaced, and which policy bundle is in force at its end.

`wal/summary.json` is a copy of what the entries say, so that a long log opens quickly. It is no evidence: it
is made anew from the entries when it is missing or makes no sense.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from comity.audit.entry import (
    CHECKPOINT_SEEN,
    CONTRADICTION,
    KEY_ROTATED,
    PARDONED,
    POLICY_ACTIVATED,
    POLICY_APPROVED,
    LoggedEntry,
    SealedEntry,
    parse_entry,
)
from comity.audit.tiles import TileFolder

_FILE = "summary.json"
_SUMMED = frozenset(
    {CHECKPOINT_SEEN, CONTRADICTION, PARDONED, KEY_ROTATED, POLICY_ACTIVATED, POLICY_APPROVED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedKey:
    """Where the log's key was replaced: the entry's index, and the verifier key lines."""

    index: int
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The policy bundle that a log has in force: the last that it says was activated."""

    policy: str
    """Its digest, hex; empty: none was activated yet."""
    version: str
    index: int
    """Of the entry since which it is in force."""
    approved: tuple[str, ...] = ()
    """Digests that an administrator approved since, for activation also in the place of a newer version."""

    def after(self, index: int, entry: LoggedEntry) -> "Law":
        """Return what is in force after a `policy_activated` or `policy_approved`."""
        policy = str(entry.public.get("policy"))
        if entry.kind == POLICY_APPROVED:
            return replace(self, approved=(*self.approved, policy))
        if policy == self.policy:
            return self  # an end says at each start what is in force
        return Law(policy=policy, version=str(entry.public.get("version")), index=index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Sums over the first `size` entries. `seen`: by origin, the newest note of a peer.

    `refused`: by origin, the index of the `contradiction` for which a peer's log is refused; a later
    `pardoned` takes it out, and what was seen of that log with it.
    """

    size: int = 0
    substantive: int = 0
    seen: Mapping[str, bytes] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    replaced: tuple[ReplacedKey, ...] = ()
    """Each replacement of the log's key, in order."""
    law: Law = Law(policy="", version="", index=-1)
    """The policy bundle in force."""

    def after(self, entries: Iterable[SealedEntry]) -> "Summary":
        """Return the summary after more entries."""
        return self._after((sealed.kind, sealed.leaf) for sealed in entries)

    def write(self, folder: Path) -> None:
        """Write the file, whole, but without a sync: losing it costs a slower start."""
        notes = {origin: note.decode() for origin, note in self.seen.items()}
        record = {
            "size": self.size,
            "substantive": self.substantive,
            "seen": notes,
            "refused": dict(self.refused),
            "replaced": [[one.index, one.old, one.new] for one in self.replaced],
            "law": [self.law.policy, self.law.version, self.law.index, *self.law.approved],
        }
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
        refused, replaced, law = self.refused, self.replaced, self.law
        for kind, leaf in entries:
            size += 1
            substantive += kind != CHECKPOINT_SEEN
            if kind not in _SUMMED:
                continue
            entry = parse_entry(leaf)
            public = entry.public
            if kind in (POLICY_ACTIVATED, POLICY_APPROVED):
                law = law.after(size - 1, entry)
                continue
            if kind == KEY_ROTATED:
                old, new = str(public.get("old_key")), str(public.get("new_key"))
                replaced = (*replaced, ReplacedKey(index=size - 1, old=old, new=new))
                continue
            origin, note = public.get("peer_origin"), public.get("note")
            if not isinstance(origin, str):
                continue
            if kind == CONTRADICTION:
                refused = {**refused, origin: size - 1}
            elif kind == PARDONED:
                refused = {one: index for one, index in refused.items() if one != origin}
                seen = {one: newest for one, newest in seen.items() if one != origin}
            elif isinstance(note, str):
                seen = {**seen, origin: note.encode()}
        return Summary(
            size=size, substantive=substantive, seen=seen, refused=refused, replaced=replaced, law=law
        )


def _read_file(path: Path) -> Summary:
    try:
        record = json.loads(path.read_bytes())
        policy, version, index, *approved = record["law"]
        return Summary(
            size=int(record["size"]),
            substantive=int(record["substantive"]),
            seen={str(origin): str(note).encode() for origin, note in record["seen"].items()},
            refused={str(origin): int(index) for origin, index in record["refused"].items()},
            replaced=tuple(
                ReplacedKey(index=int(index), old=str(old), new=str(new))
                for index, old, new in record["replaced"]
            ),
            law=Law(
                policy=str(policy), version=str(version), index=int(index), approved=tuple(map(str, approved))
            ),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Summary()
