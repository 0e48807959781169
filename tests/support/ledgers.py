"""Logs of three ends that agree, made quickly, for reconciliation to be tried on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import Entry, seal_entry
from comity.audit.note import LogKey
from comity.audit.policy_file import write_policy
from comity.audit.tiles import TILE_WIDTH, Edge, TileName

SHERIFF = LogKey.generate("sheriff.example/gateway")
BROKER = LogKey.generate("operator.example/broker")
LAPD = LogKey.generate("lapd.example/adapter")
ENDS = {"requester": SHERIFF, "broker": BROKER, "provider": LAPD}
BEGIN = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)

POLICY = "d1" * 32
"""Digest of the bundle by which the provider decides."""

Logs = dict[str, list[Entry]]


def write_trust(path: Path) -> Path:
    """Write a policy file that names the three logs."""
    path.write_bytes(write_policy([SHERIFF.verifier, BROKER.verifier, LAPD.verifier], {}))
    return path


@dataclass(kw_only=True)
class Ledger:
    """The entries of three ends, still to be written; tests change them first."""

    logs: Logs = field(default_factory=lambda: {"requester": [], "broker": [], "provider": []})
    exchanges: list[bytes] = field(default_factory=list)
    before: int = 0
    """Entries that the provider's log has before these."""

    @classmethod
    def of(cls, count: int, *, every: timedelta = timedelta(seconds=1)) -> Ledger:
        """Return the entries of so many exchanges, all of them whole."""
        ledger = cls()
        ledger.logs["provider"].append(Entry(kind="link_opened", at=BEGIN, public={"peer": "operator"}))
        ledger.logs["provider"].append(activation())
        for number in range(count):
            ledger.add(secrets.token_bytes(16), BEGIN + every * (number + 10))
        end = BEGIN + every * (count + 10) + timedelta(minutes=10)
        for entries in ledger.logs.values():
            entries.append(Entry(kind="stopped", at=end))
        return ledger

    def add(self, exchange: bytes, at: datetime) -> None:
        """Add one whole exchange."""
        self.exchanges.append(exchange)
        order, query, receipt = (exchange.hex() + name * 32 for name in ("a", "b", "c"))
        deadline = int(at.timestamp() * 1000) + 5_000

        def put(end: str, kind: str, seconds: float, **public: object) -> Entry:
            entry = Entry(
                kind=kind,
                at=at + timedelta(seconds=seconds),
                exchange=exchange,
                public=public,  # type: ignore[arg-type]
            )
            self.logs[end].append(entry)
            return entry

        put("requester", "asked", 0.0, agency="sheriff", order=order, asked={"lapd": query})
        put(
            "broker",
            "routed",
            0.1,
            agency="sheriff",
            order=order,
            deadline=deadline,
            providers=["lapd"],
            absent=[],
        )
        ours = {"agency": "lapd", "peer": "sheriff", "query": query}
        put("provider", "received", 0.2, **ours, order=order)
        put("provider", "decided", 0.2, **ours, outcome="responded", policy=POLICY)
        released = put("provider", "released", 0.3, **ours, outcome="responded", hit=True, policy=POLICY)
        place = self.before + len(self.logs["provider"]) - 1
        leaf = merkle.leaf_hash(seal_entry(released).leaf).hex()
        put("provider", "answered", 0.3, **ours, outcome="responded", receipt=receipt)
        put(
            "broker",
            "accounted",
            0.5,
            agency="sheriff",
            order=order,
            outcomes={"lapd": "responded"},
            receipts={"lapd": receipt},
        )
        put(
            "requester",
            "delivered",
            0.6,
            agency="sheriff",
            peer="lapd",
            outcome="responded",
            hit=True,
            receipt=receipt,
            policy=POLICY,
            index=place,
            leaf=leaf,
        )
        put("requester", "concluded", 0.7, agency="sheriff", outcomes={"lapd": "responded"})
        put("provider", "acknowledged", 0.9, agency="lapd", peer="sheriff", receipt=receipt)

    def find(self, end: str, kind: str, number: int = 0) -> int:
        """Return the place of an entry of an exchange in an end's log."""
        exchange = self.exchanges[number]
        found = (i for i, e in enumerate(self.logs[end]) if (e.kind, e.exchange) == (kind, exchange))
        return next(found)

    def change(self, end: str, kind: str, number: int = 0, **public: object) -> None:
        """Change public fields of an entry before it is written: the end itself says so."""
        self.change_at(end, self.find(end, kind, number), **public)

    def change_at(self, end: str, place: int, **public: object) -> None:
        """Change public fields of the entry at a place before it is written."""
        entry = self.logs[end][place]
        self.logs[end][place] = replace(entry, public={**entry.public, **public})  # type: ignore[dict-item]

    def drop(self, end: str, *kinds: str, number: int = 0) -> None:
        """Leave entries of an exchange out, all of them if no kind is given."""
        exchange = self.exchanges[number]
        self.logs[end] = [
            entry
            for entry in self.logs[end]
            if not (entry.exchange == exchange and (not kinds or entry.kind in kinds))
        ]

    def write(self, root: Path, *, seen: bool = True) -> dict[str, Path]:
        """Write the three logs below `root`; each holds a checkpoint of the others' shorter logs."""
        folders: dict[str, Path] = {}
        for end, key in ENDS.items():
            entries = list(self.logs[end])
            if seen and end != "provider":
                entries.append(checkpoint_seen("provider", self.logs["provider"], BEGIN))
            folders[end] = write_log(root / end / "log", key, (seal_entry(entry).leaf for entry in entries))
        return folders


def activation(policy: str = POLICY) -> Entry:
    """Return what a provider writes when a policy bundle is in force from there on."""
    return Entry(
        kind="policy_activated", at=BEGIN, public={"agency": "lapd", "policy": policy, "version": "1"}
    )


def checkpoint_seen(end: str, entries: Sequence[Entry], at: datetime) -> Entry:
    """Return what a peer writes when it sees a checkpoint over these entries."""
    hashes = [merkle.leaf_hash(seal_entry(entry).leaf) for entry in entries]
    checkpoint = Checkpoint(origin=ENDS[end].origin, size=len(hashes), root=merkle.root(hashes))
    return Entry(
        kind="checkpoint_seen",
        at=at,
        public={
            "peer_origin": checkpoint.origin,
            "size": checkpoint.size,
            "note": checkpoint.sign(ENDS[end]).decode(),
        },
    )


def write_log(folder: Path, key: LogKey, leaves: Iterator[bytes], *, stretch: int = 65_536) -> Path:
    """Write a log's folder from its leaves, in flat memory."""
    edge, batch = Edge(), list[bytes]()
    files: dict[str, bytes] = {}

    def extend() -> None:
        nonlocal edge, files
        edge, files = edge.extend(batch)
        batch.clear()
        for path, data in files.items():
            if ".p/" not in path:
                _put(folder / path, data)

    for leaf in leaves:
        batch.append(leaf)
        if len(batch) == stretch:
            extend()
    extend()
    for path, data in files.items():
        _put(folder / path, data)
    for level, hashes in enumerate(edge.levels):  # a partial tile that the last stretch didn't change
        if hashes:
            index = edge.size // TILE_WIDTH ** (level + 1)
            _put(folder / TileName(level=level, index=index, width=len(hashes)).path, b"".join(hashes))
    _put(folder / "vkey", (key.verifier_key + "\n").encode())
    _put(folder / "checkpoint", Checkpoint(origin=key.origin, size=edge.size, root=edge.root).sign(key))
    return folder


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


Change = Callable[[Ledger], object]
