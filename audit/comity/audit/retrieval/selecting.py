"""Which entries of a provider's log are about one agency's users, and what leaves with each (L3, L6).

An entry is an agency's if its public field `peer`, which the provider wrote from the session's certificate,
names it: no name of a user decides, for two agencies may have users of one name. What the user entered and
what was released is opened; the provider's own grounds for its decision stay closed, or a refusal that its
policy disguises would show (A1).
"""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.audit.canonical import JsonValue
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, Opening, parse_entry, to_milliseconds
from comity.audit.errors import RecordsInvalid
from comity.audit.log import Promise
from comity.audit.merkle import RunningRoot, leaf_hash
from comity.audit.proofs import TreeProver
from comity.audit.tiles import TileFolder
from comity.certs.instants import from_instant
from comity.v1.audit_pb2 import LogPromise
from comity.v1.audit_pb2 import Opening as OpeningMessage
from comity.v1.common_pb2 import Period
from comity.v1.records_pb2 import KeptBeside, LogRecord, RecordsStatement

OWN_KINDS: Final = frozenset(
    {
        "received",
        "decided",
        "released",
        "rejected",
        "answered",
        "acknowledged",
        "unacknowledged",
        "cancelled",
    }
)
"""Kinds of entries that are about what an agency's user asked."""
OPENED_KINDS: Final = frozenset({"received", "released"})
"""Of these the openings leave; what grounds a decision had is the provider's own."""
KEPT: Final[Mapping[str, frozenset[str]]] = {
    "received": frozenset({"order", "query"}),
    "rejected": frozenset({"order"}),
    "answered": frozenset({"receipt"}),
    "acknowledged": frozenset({"acknowledgement"}),
}
"""Evidence that leaves with an entry of a kind: what its agency signed, or was given."""
MAX_RECORD_BYTES: Final = 512 << 10
"""Of one record; evidence that would make it longer stays, and the entry still names its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose records, of which period: entries from `start` on and before `end`."""

    provider: str
    requester: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise RecordsInvalid("period: a start and a later end are expected, both with a zone (Q2)")

    def includes(self, entry: LoggedEntry) -> bool:
        """Return whether an entry is one of these records."""
        return is_about(entry, provider=self.provider, requester=self.requester) and (
            self.start <= entry.at < self.end
        )


def is_about(entry: LoggedEntry, *, provider: str, requester: str) -> bool:
    """Return whether an entry of the provider's log is about what a user of the requester asked."""
    return (
        entry.kind in OWN_KINDS
        and entry.public.get("agency") == provider
        and entry.public.get("peer") == requester
    )


def exported(wanted: Wanted, found: RunningRoot, size: int) -> dict[str, JsonValue]:
    """Return the public fields of a provider's entry `exported`, which is durable before a record leaves."""
    return {
        "agency": wanted.provider,
        "peer": wanted.requester,
        "from": to_milliseconds(wanted.start),
        "to": to_milliseconds(wanted.end),
        "count": found.size,
        "root": found.root().hex(),
        "size": size,
    }


def make_statement(
    wanted: Wanted,
    found: RunningRoot,
    note: bytes,
    promise: Promise,
    *,
    request_id: bytes,
    at: datetime,
) -> RecordsStatement:
    """Return what the provider signs about the records that it gives."""
    return RecordsStatement(
        nonce=secrets.token_bytes(16),
        request_id=request_id,
        provider=wanted.provider,
        requester=wanted.requester,
        period=Period(start=from_instant(wanted.start), end=from_instant(wanted.end)),
        count=found.size,
        root=found.root(),
        checkpoint=note,
        made_at=from_instant(at),
        promise=LogPromise(origin=promise.origin, index=promise.index, leaf_hash=promise.leaf_hash),
    )


class Selection:
    """The records of a provider's own log that are wanted, under one checkpoint of it."""

    def __init__(self, *, log: Path, state: Path, note: bytes, wanted: Wanted) -> None:
        """`log` is the folder with the tiles, `state` the end's `state.db`, `note` its checkpoint."""
        self._tiles = TileFolder(log)
        self._state = state
        self._wanted = wanted
        self._mark = f'"peer":"{wanted.requester}"'.encode()
        self.size = peek_checkpoint(note).size

    def survey(self) -> RunningRoot:
        """Return how many records there are, and the root over them. Raises `AuditError`."""
        found = RunningRoot()
        for _, leaf, _ in self._entries():
            found.add(leaf_hash(leaf))
        return found

    def records(self) -> Iterator[LogRecord]:
        """Yield the records with proofs, openings and evidence, in the log's order. Raises `AuditError`."""
        prover = TreeProver(self._tiles, self.size)
        with _reading(self._state) as connection:
            for index, leaf, entry in self._entries():
                record = LogRecord(index=index, entry=leaf, path=prover.inclusion(index))
                if connection is not None:
                    _add_openings(record, entry, connection)
                    _add_kept(record, entry, connection)
                yield record

    def _entries(self) -> Iterator[tuple[int, bytes, LoggedEntry]]:
        for index, leaf in self._tiles.all_entries(self.size):
            if self._mark in leaf:
                entry = parse_entry(leaf)
                if self._wanted.includes(entry):
                    yield index, leaf, entry


@contextmanager
def _reading(state: Path) -> Iterator[sqlite3.Connection | None]:
    """Give a connection that reads what an end has kept; None if that is nothing. Raises `RecordsInvalid`."""
    try:
        if not state.exists():
            yield None
            return
        address = f"file:{state}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
            tables = set(connection.execute("select name from sqlite_master where type = 'table'"))
            yield connection if {("openings",), ("envelopes",)} <= tables else None
    except sqlite3.Error as problem:
        raise RecordsInvalid(f"`{state.name}` can't be read ({problem})") from problem


def _add_openings(record: LogRecord, entry: LoggedEntry, connection: sqlite3.Connection) -> None:
    if entry.kind not in OPENED_KINDS:
        return
    query = 'select name, salt, value from openings where "index" = ? order by name'
    for name, salt, value in connection.execute(query, (record.index,)):
        entry.open(Opening(name=name, salt=salt, value=value))
        record.openings.append(
            OpeningMessage(
                index=record.index, name=name, salt=salt, value=value, entered_at=from_instant(entry.at)
            )
        )


def _add_kept(record: LogRecord, entry: LoggedEntry, connection: sqlite3.Connection) -> None:
    names = KEPT.get(entry.kind, frozenset())
    if not names:
        return
    query = 'select name, payload from envelopes where "index" = ? order by name'
    for name, payload in connection.execute(query, (record.index,)):
        if name in names and record.ByteSize() + len(payload) <= MAX_RECORD_BYTES:
            record.kept.append(KeptBeside(name=name, payload=payload))
