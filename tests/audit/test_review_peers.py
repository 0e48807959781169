"""What one peer can make another end write with its checkpoints: a bounded amount."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint
from comity.audit.errors import NoteInvalid
from comity.audit.log import SignedLog
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey, sign_note
from comity.audit.peers import BURST, MAX_NOTE_BYTES, PeerCheckpoints
from comity.v1.audit_pb2 import Cosignature, ProofRequest
from tests.support.logs import NOON
from tests.support.trees import proofs_of

OWN = LogKey.generate("operator.example/broker")
PEER = LogKey.generate("lapd.example/adapter")
LEAVES = [leaf_hash(b"%d" % number) for number in range(300)]


class Flooded:
    """An end and the clock by which it counts what its peer sends."""

    def __init__(self) -> None:
        self.now = NOON
        self.peers: PeerCheckpoints

    async def open(self, home: Path) -> SignedLog:
        log = await SignedLog.open(home, origin=OWN.origin, key=OWN, clock=lambda: self.now)
        self.peers = PeerCheckpoints(log, lambda: self.now)
        return log

    async def saw(self, size: int) -> bool:
        """Show a checkpoint and prove it if asked to; return whether it was taken."""
        first = LEAVES[:size]
        note = Checkpoint(origin=PEER.origin, size=size, root=merkle.root(first)).sign(PEER)
        answers = await self.peers.saw(PEER.origin, note, PEER.verifier_key)
        for request in answers:
            if isinstance(request, ProofRequest):
                answers = await self.peers.proven(PEER.origin, proofs_of(first, request))
        return any(isinstance(one, Cosignature) for one in answers)


@pytest.fixture
async def flooded(tmp_path: Path) -> AsyncIterator[Flooded]:
    end = Flooded()
    log = await end.open(tmp_path)
    yield end
    await log.close()


async def test_flood_of_checkpoints_is_logged_at_the_pace_of_honest_ones(flooded: Flooded) -> None:
    """A peer signs as many as it likes; an honest one sends one a second, and a few when links come back."""
    seen = [await flooded.saw(size) for size in range(1, 101)]
    assert seen.count(True) == BURST
    assert not await flooded.saw(200)
    flooded.now += timedelta(seconds=2)
    assert await flooded.saw(201)


async def test_checkpoint_beyond_any_honest_size_is_not_logged(flooded: Flooded) -> None:
    """Extension lines would make an entry of 60 kB a second."""
    text = Checkpoint(origin=PEER.origin, size=5, root=bytes(32)).text + "x" * MAX_NOTE_BYTES + "\n"
    with pytest.raises(NoteInvalid, match="bytes"):
        await flooded.peers.saw(PEER.origin, sign_note(text, PEER), PEER.verifier_key)
