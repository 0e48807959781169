"""Our own checkpoints as peers are shown them: when one is due, what is proven of it, and who cosigned it.

A peer asks for proofs about the checkpoints that it was given, and for nothing else; so what it can make this
end compute is bounded by how often a checkpoint is sent, which is this end's to say.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.cosignature import Cosigner, cosignatures, with_cosignatures
from comity.audit.cosigned import CosignedCheckpoints
from comity.audit.errors import NoteInvalid, ProofInvalid
from comity.audit.log import SignedLog
from comity.audit.note import VerifierKey
from comity.audit.peers import MAX_INDEXES, MIN_INTERVAL
from comity.audit.proofs import TreeProver
from comity.audit.tiles import TileFolder
from comity.certs.clock import Clock
from comity.v1.audit_pb2 import ConsistencyProof, Cosignature, InclusionProof, ProofDelivery, ProofRequest

MAX_LINE_BYTES = 512
"""A longer cosignature is refused unread."""
ANSWERS = 2
"""How often one checkpoint that was sent is answered for."""
SENT = 4
"""Checkpoints sent to a peer, the newest, that may still be asked about."""


@dataclass(slots=True, kw_only=True)
class _Sent:
    """A checkpoint of this log that a peer was given."""

    note: bytes
    size: int
    root: bytes
    substantive: int
    at: datetime
    answered: int = 0
    is_cosigned: bool = False


class ShownCheckpoints:
    """When this log's newest checkpoint is due at a peer (damped), and the proofs that go with it.

    Without the damping two ends would send each other checkpoints for ever, each for the entry in which it
    logged the other's.
    """

    def __init__(self, log: SignedLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._cosigned = CosignedCheckpoints(log.folder)
        self._sent: dict[str, list[_Sent]] = {}

    def due(self, peer_origin: str) -> bytes | None:
        """Return the newest checkpoint if the peer should get it now, and count it as sent; else None.

        Due means: it covers entries other than `checkpoint_seen` that the last one sent there did not, and
        the last was sent at least a second ago. `forget` a peer when its link or session ends.
        """
        substantive, now = self._log.published_substantive_size, self._clock()
        sent = self._sent.setdefault(peer_origin, [])
        if substantive == 0:
            return None
        if sent:
            last = sent[-1]
            if last.substantive >= substantive or abs(now - last.at) < MIN_INTERVAL:
                return None
        note = self._log.checkpoint()
        said = peek_checkpoint(note)
        sent.append(_Sent(note=note, size=said.size, root=said.root, substantive=substantive, at=now))
        del sent[:-SENT]
        return note

    def forget(self, peer_origin: str) -> None:
        """Send the newest checkpoint again when next asked: the connection to the peer is a new one."""
        self._sent.pop(peer_origin, None)

    async def prove(self, peer_origin: str, request: ProofRequest) -> ProofDelivery | None:
        """Return the proofs that a peer asks for, or None where nothing is owed.

        Owed is an answer about the last checkpoints that were sent to it on this connection, twice for each:
        so a peer has proofs computed no faster than checkpoints are sent. Tiles are read on a thread. Raises
        `ProofInvalid` or `TileInvalid` if the own tiles don't lead to the own checkpoint.
        """
        sent = self._find(peer_origin, request.new_size)
        if sent is None or sent.answered >= ANSWERS:
            return None
        if request.old_size > sent.size or len(request.indexes) > MAX_INDEXES:
            return None
        if any(index >= sent.size for index in request.indexes):
            return None
        sent.answered += 1
        return await asyncio.to_thread(self._proofs, sent, request.old_size, list(request.indexes))

    async def cosigned(self, peer_origin: str, cosignature: Cosignature, *verifier_keys: str) -> bool:
        """Keep a peer's cosignature of a checkpoint that it was sent; return whether it was one.

        The keys are those of the peer's own log. A cosignature of anything else is ignored; raises
        `NoteInvalid` if one of these keys didn't make it over that checkpoint.
        """
        sent = self._find(peer_origin, cosignature.size)
        if sent is None or sent.is_cosigned:
            return False
        line = cosignature.line
        if len(line) > MAX_LINE_BYTES or line.count(b"\n") != 1 or not line.endswith(b"\n"):
            raise NoteInvalid(f"cosignature of `{peer_origin}`: one signature line is right")
        cosigners = [Cosigner(key=VerifierKey.parse(key)) for key in verifier_keys]
        found = cosignatures(with_cosignatures(sent.note, [line]), cosigners)
        if not any(one.cosigner.name == peer_origin for one in found):
            raise NoteInvalid(f"cosignature of `{peer_origin}`: no key of its log made it")
        sent.is_cosigned = True
        await asyncio.to_thread(self._cosigned.add, sent.note, line)
        return True

    def _find(self, origin: str, size: int) -> _Sent | None:
        """Return what a peer was sent lately, by its size."""
        return next((one for one in self._sent.get(origin, ()) if one.size == size), None)

    def _proofs(self, sent: _Sent, old_size: int, indexes: Sequence[int]) -> ProofDelivery:
        """Compute proofs out of the own tiles; on a thread. Raises `ProofInvalid`, `TileInvalid`."""
        prover = TreeProver(TileFolder(self._log.folder), sent.size)
        if prover.root() != sent.root:
            raise ProofInvalid(f"own tiles don't lead to the root of the own checkpoint of size {sent.size}")
        consistency = ConsistencyProof(
            old_size=old_size, new_size=sent.size, path=prover.consistency(old_size)
        )
        inclusions = [
            InclusionProof(index=index, size=sent.size, path=prover.inclusion(index)) for index in indexes
        ]
        return ProofDelivery(consistency=consistency, inclusions=inclusions)
