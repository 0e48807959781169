"""Peers hold each other's logs to what they said: checkpoints travel, are asked about, checked and cosigned.

A peer's newer checkpoint is logged, and cosigned with this log's key, only once a consistency proof showed
that it continues the last one that was logged, and inclusion proofs that what the peer promised stands where
it promised it. A log that shrank, forked or broke a promise is logged with both checkpoints
(`contradiction`), and its end is refused from then on, until a `pardoned` entry lifts it. A peer that owes a
proof and doesn't give it is told of (`unproven`), and none of its checkpoints counts meanwhile.

    they have news         we                                 they
    checkpoint 57   ──▶    seen before: 40
                           ProofRequest 40 → 57, 41    ──▶    a checkpoint is answered for twice at most
                           consistent, 41 included?    ◀──    ProofDelivery
                           log `checkpoint_seen`
                           Cosignature 57              ──▶    kept in log/cosigned/57
"""

import asyncio
import base64
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from comity.audit import merkle
from comity.audit.canonical import JsonValue
from comity.audit.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from comity.audit.entry import CHECKPOINT_SEEN, CONTRADICTION, UNPROVEN, Entry
from comity.audit.errors import AuditError, NoteInvalid, PeerContradiction, PeerUnproven, ProofInvalid
from comity.audit.key_history import check_goes_on
from comity.audit.log import SignedLog
from comity.certs.clock import Clock
from comity.v1.audit_pb2 import (
    Cosignature,
    InclusionProof,
    LogPromise,
    ProofDelivery,
    ProofRequest,
)

MIN_INTERVAL = timedelta(seconds=1)
BURST = 10
"""Checkpoints of a peer that are logged at once; further ones at one a `MIN_INTERVAL`."""
MAX_NOTE_BYTES = 8_192
"""A larger note is refused unread: an honest one has some hundred bytes, and every entry stays for ever."""
MAX_INDEXES = 64
"""Promised entries that one request asks for; of more, as many drawn at random: nobody knows which."""
MAX_PROMISES = 1_024
"""Promises of a peer that are remembered at a time; the oldest beyond are left to the auditor."""
MAX_PATH = 64
"""Hashes of a proof that an entry keeps; a tree of 2^63 entries needs no more."""
PATIENCE = 30
"""Ticks (seconds while the peer is connected) after which a proof that is owed is told of as missing."""
PASSED = 5
"""Checkpoints that may come while a proof is owed, or connections on which it was, before that is told."""
ASK_AGAIN = 5
"""Ticks after which a promise that a checkpoint covers is asked for by itself."""

Answer = ProofRequest | Cosignature
"""What a peer gets for its checkpoint, or for its proof."""
_Seen = tuple[Checkpoint, bytes]
"""A verified checkpoint with its note."""


@dataclass(slots=True, kw_only=True)
class _Promise:
    """A peer's signed word that an entry stands at an index of its log."""

    exchange: bytes
    statement: bytes
    """SHA-256 of the payload of the statement that holds it."""
    leaf_hash: bytes
    ticks: int = 0

    def public(self, index: int) -> dict[str, JsonValue]:
        """Return the fields of an entry about it."""
        return {"index": index, "leaf": self.leaf_hash.hex(), "statement": self.statement.hex()}


@dataclass(slots=True, kw_only=True)
class _Open:
    """A request that waits for its proofs."""

    checkpoint: Checkpoint
    note: bytes
    indexes: tuple[int, ...]
    waiting: _Seen | None = None
    ticks: int = 0


@dataclass(slots=True, kw_only=True)
class _Peer:
    """What is known of one peer and its log, besides what the own log holds."""

    allowed: float = BURST
    allowed_at: datetime | None = None
    open: _Open | None = None
    passed: int = 0
    """Checkpoints that came, and connections that ended, while a proof was owed."""
    promises: dict[int, _Promise] = field(default_factory=dict)


class PeerCheckpoints:
    """What this end saw of its peers' logs, and which of them it refuses."""

    def __init__(self, log: SignedLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._peers: dict[str, _Peer] = {}
        self._unwritten: dict[str, Entry] = {}
        """By origin: contradictions that could not be logged yet; they count already."""
        self._turn = asyncio.Lock()
        self._random = random.SystemRandom()

    def is_refused(self, peer_origin: str) -> bool:
        """Return whether a peer's log contradicted itself, by this end's own log, without a pardon since."""
        return peer_origin in self._log.refused or peer_origin in self._unwritten

    def forget(self, peer_origin: str) -> None:
        """Wait no more for what was asked: the connection is a new one. That it did not come is counted."""
        peer = self._peer(peer_origin)
        if peer.open is not None:
            peer.open = None
            peer.passed += 1

    async def saw(self, peer_origin: str, note: bytes, *verifier_keys: str) -> list[Answer]:
        """Take a peer's checkpoint; return what it is asked or told for it.

        The keys are those that the roster gives for this origin, the older first while there are two: once
        the newer one signed, the older alone counts for nothing. The first one of a log is logged as
        `checkpoint_seen` at once, later ones once `proven`; a peer that sends more than honest ones do is not
        heard. Raises `NoteInvalid`; `PeerContradiction` if it shrank or has another root than one of the same
        size, after logging a `contradiction`; and what `SignedLog.append` raises.
        """
        if len(note) > MAX_NOTE_BYTES:
            raise NoteInvalid(f"checkpoint of `{peer_origin}`: {len(note)} bytes, at most {MAX_NOTE_BYTES}")
        checkpoint = open_checkpoint(note, origin=peer_origin, verifier_keys=verifier_keys)
        async with self._turn:
            if self.is_refused(peer_origin):
                return []
            peer, before = self._peer(peer_origin), self._newest(peer_origin)
            if before is None:
                if checkpoint.size == 0 or not self._may_log(peer):
                    return []
                return [await self._accept(checkpoint, note, from_size=0)]
            last = before[0]
            if (last.size, last.root) == (checkpoint.size, checkpoint.root):
                if peer.open is not None or not self._may_log(peer):
                    return []
                return [Cosignature(size=checkpoint.size, line=self._log.cosign(note))]
            if checkpoint.size <= last.size:
                how, words = "shrank", f"shrank from {last.size} to"
                if checkpoint.size == last.size:
                    how, words = "forked", "has two roots for"
                entry = self._entry(CONTRADICTION, checkpoint, note, last=before, how=how)
                await self._contradicted(entry, f"log `{peer_origin}` {words} {checkpoint.size} entries")
            check_goes_on(before[1], note, verifier_keys)
            if peer.open is not None:
                peer.open.waiting = checkpoint, note
                peer.passed += 1
                return []
            return [self._ask(peer_origin, peer, checkpoint, note)] if self._may_log(peer) else []

    async def proven(self, peer_origin: str, delivery: ProofDelivery) -> list[Answer]:
        """Take the proofs that were asked for; log the checkpoint, and return its cosignature.

        Proofs of anything else are ignored. Raises `PeerContradiction` if the log is not the one that was
        seen before, or an entry that was promised is not in its place, after logging a `contradiction`; and
        what `SignedLog.append` raises.
        """
        async with self._turn:
            peer, before = self._peer(peer_origin), self._seen(peer_origin)
            waits, proof = peer.open, delivery.consistency
            if waits is None or before is None or self.is_refused(peer_origin):
                return []
            last = before[0]
            if (proof.old_size, proof.new_size) != (last.size, waits.checkpoint.size):
                return []
            await self._verify_consistency(waits, before, proof.path)
            held = await self._verify_promises(peer, waits, before, delivery.inclusions)
            peer.open, peer.passed = None, 0
            for index in held:
                peer.promises.pop(index, None)
            if waits.checkpoint.size == last.size:
                return []
            answers: list[Answer] = [
                await self._accept(waits.checkpoint, waits.note, from_size=last.size),
            ]
            if waits.waiting is not None:
                answers.append(self._ask(peer_origin, peer, *waits.waiting))
            return answers

    def promised(self, peer_origin: str, promise: LogPromise, *, exchange: bytes, statement: bytes) -> None:
        """Remember what a verified statement of a peer promises of its log, until a proof shows it.

        `statement`: SHA-256 of the payload of the statement. A promise about another log is none of its own.
        """
        if promise.origin != peer_origin or self.is_refused(peer_origin):
            return
        peer = self._peer(peer_origin)
        if len(peer.promises) >= MAX_PROMISES:
            del peer.promises[next(iter(peer.promises))]
        peer.promises[promise.index] = _Promise(
            exchange=exchange, statement=statement, leaf_hash=promise.leaf_hash
        )

    async def tick(self, peer_origin: str) -> list[Answer]:
        """Count one more second in which the peer was connected; return what it is asked.

        By ticks and not by a clock, so that one that jumps accuses nobody. Raises `PeerUnproven` when a proof
        is overdue, or a checkpoint that covers a promise, after logging it as `unproven`; and what
        `SignedLog.append` raises.
        """
        async with self._turn:
            for origin, entry in list(self._unwritten.items()):
                await self._log.append(entry)
                del self._unwritten[origin]
            if self.is_refused(peer_origin):
                return []
            peer, seen = self._peer(peer_origin), self._seen(peer_origin)
            if peer.open is not None:
                peer.open.ticks += 1
            for promise in peer.promises.values():
                promise.ticks += 1
            if seen is not None and (peer.passed >= PASSED or (peer.open and peer.open.ticks >= PATIENCE)):
                await self._proof_overdue(peer_origin, peer, seen)
            await self._promises_overdue(peer_origin, peer, seen)
            if seen is None or peer.open is not None:
                return []
            covered = [
                index
                for index, one in peer.promises.items()
                if index < seen[0].size and one.ticks >= ASK_AGAIN
            ]
            return [self._ask(peer_origin, peer, *seen)] if covered else []

    # -- small parts ----------------------------------------------------------------------------

    def _peer(self, origin: str) -> _Peer:
        return self._peers.setdefault(origin, _Peer())

    def _seen(self, origin: str) -> _Seen | None:
        """Return the newest checkpoint of a peer that was logged."""
        note = self._log.last_seen(origin)
        return None if note is None else (peek_checkpoint(note), note)

    def _newest(self, origin: str) -> _Seen | None:
        """Return the newest checkpoint that a peer signed, whether its proof has come or not."""
        waits = self._peer(origin).open
        if waits is None:
            return self._seen(origin)
        return waits.waiting or (waits.checkpoint, waits.note)

    def _ask(self, origin: str, peer: _Peer, checkpoint: Checkpoint, note: bytes) -> ProofRequest:
        seen = self._seen(origin)
        indexes = [index for index in peer.promises if index < checkpoint.size]
        if len(indexes) > MAX_INDEXES:
            left_out = set(indexes) - set(chosen := self._random.sample(indexes, MAX_INDEXES))
            indexes = chosen
            for index in left_out:  # a checkpoint covers them: an auditor sees the rest
                del peer.promises[index]
        peer.open = _Open(checkpoint=checkpoint, note=note, indexes=tuple(indexes))
        old_size = 0 if seen is None else seen[0].size
        return ProofRequest(old_size=old_size, new_size=checkpoint.size, indexes=indexes)

    async def _accept(self, checkpoint: Checkpoint, note: bytes, *, from_size: int) -> Cosignature:
        """Cosign and log a checkpoint that was checked."""
        line = self._log.cosign(note)
        more: dict[str, JsonValue] = {"from_size": from_size, "cosignature": line.decode().rstrip("\n")}
        await self._log.append(self._entry(CHECKPOINT_SEEN, checkpoint, note, more=more))
        return Cosignature(size=checkpoint.size, line=line)

    async def _verify_consistency(self, waits: _Open, seen: _Seen, path: Sequence[bytes]) -> None:
        old, new = seen[0], waits.checkpoint
        try:
            _check_hashes(path)
            merkle.verify_consistency(
                old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, path=path
            )
        except ProofInvalid as problem:
            entry = self._entry(
                CONTRADICTION, new, waits.note, last=seen, how="inconsistent", more={"proof": _encode(path)}
            )
            text = f"log `{new.origin}` of {new.size} entries does not continue its {old.size}: {problem}"
            await self._contradicted(entry, text)

    async def _verify_promises(
        self, peer: _Peer, waits: _Open, seen: _Seen, inclusions: Sequence[InclusionProof]
    ) -> list[int]:
        """Return the indexes whose promise is shown to be kept."""
        held: list[int] = []
        new = waits.checkpoint
        for proof in inclusions[:MAX_INDEXES]:
            index, promise = proof.index, peer.promises.get(proof.index)
            if promise is None or index not in waits.indexes or proof.size != new.size:
                continue
            try:
                _check_hashes(proof.path)
                merkle.verify_inclusion(
                    leaf_hash=promise.leaf_hash, index=index, size=new.size, path=proof.path, root=new.root
                )
            except ProofInvalid as problem:
                entry = self._entry(
                    CONTRADICTION,
                    new,
                    waits.note,
                    last=seen,
                    how="promise",
                    exchange=promise.exchange,
                    more={"proof": _encode(proof.path), **promise.public(index)},
                )
                text = f"log `{new.origin}` does not hold entry {index} as promised: {problem}"
                await self._contradicted(entry, text)
            held.append(index)
        return held

    async def _contradicted(self, entry: Entry, text: str) -> None:
        """Refuse a peer, durably where the log can be written; raise `PeerContradiction`."""
        origin = str(entry.public["peer_origin"])
        self._unwritten[origin] = entry
        peer = self._peer(origin)
        peer.open, peer.passed, peer.promises = None, 0, {}
        with suppress(AuditError):  # `tick` tries anew
            await self._log.append(entry)
            del self._unwritten[origin]
        raise PeerContradiction(text)

    async def _proof_overdue(self, origin: str, peer: _Peer, seen: _Seen) -> None:
        waits = peer.open
        peer.open, peer.passed = None, 0
        if not self._may_log(peer):
            return
        checkpoint, note = seen if waits is None else (waits.checkpoint, waits.note)
        await self._log.append(self._entry(UNPROVEN, checkpoint, note, last=seen, how="no proof"))
        sizes = f"{checkpoint.size} entries continue its {seen[0].size}"
        raise PeerUnproven(f"log `{origin}`: no proof came that its {sizes}")

    async def _promises_overdue(self, origin: str, peer: _Peer, seen: _Seen | None) -> None:
        late = sorted(index for index, one in peer.promises.items() if one.ticks >= 2 * PATIENCE)
        if not late or not self._may_log(peer):
            return
        first = peer.promises[late[0]]
        for index in late:
            del peer.promises[index]
        public: dict[str, JsonValue] = {
            "peer_origin": origin,
            "how": "no checkpoint",
            "promises": len(late),
            **first.public(late[0]),
        }
        if seen is not None:
            public |= {"size": seen[0].size, "note": seen[1].decode()}
        entry = Entry(kind=UNPROVEN, at=self._clock(), exchange=first.exchange, public=public)
        await self._log.append(entry)
        raise PeerUnproven(f"log `{origin}`: entry {late[0]} was promised and is not shown, of {len(late)}")

    def _may_log(self, peer: _Peer) -> bool:
        """Return whether one more entry about a peer's log may be written now, and count it."""
        now = self._clock()
        passed = timedelta() if peer.allowed_at is None else max(timedelta(), now - peer.allowed_at)
        left = min(BURST, peer.allowed + passed / MIN_INTERVAL)
        peer.allowed, peer.allowed_at = (left - 1 if left >= 1 else left), now
        return left >= 1

    def _entry(
        self,
        kind: str,
        checkpoint: Checkpoint,
        note: bytes,
        *,
        last: _Seen | None = None,
        how: str | None = None,
        exchange: bytes | None = None,
        more: Mapping[str, JsonValue] | None = None,
    ) -> Entry:
        public: dict[str, JsonValue] = {
            "peer_origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": base64.b64encode(checkpoint.root).decode(),
            "note": note.decode(),
        }
        if last is not None:
            public |= {"last_size": last[0].size, "last_note": last[1].decode()}
        if how is not None:
            public["how"] = how
        return Entry(kind=kind, at=self._clock(), exchange=exchange, public={**public, **(more or {})})


def _check_hashes(path: Sequence[bytes]) -> None:
    if len(path) > MAX_PATH or any(len(one) != merkle.HASH_SIZE for one in path):
        raise ProofInvalid(f"at most {MAX_PATH} hashes of {merkle.HASH_SIZE} bytes are right")


def _encode(path: Sequence[bytes]) -> list[JsonValue]:
    return [base64.b64encode(one[: merkle.HASH_SIZE]).decode() for one in path[:MAX_PATH]]
