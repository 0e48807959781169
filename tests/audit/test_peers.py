"""Peers hold each other to their checkpoints, without talking for ever (L2)."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.cosignature import Cosigner, cosign, cosignatures
from comity.audit.cosigned import CosignedCheckpoints
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.errors import NoteInvalid, PeerContradiction, PeerUnproven
from comity.audit.log import SignedLog
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey
from comity.audit.peers import MAX_INDEXES, PASSED, PATIENCE, PeerCheckpoints
from comity.audit.shown import ShownCheckpoints
from comity.audit.tiles import TileFolder
from comity.v1.audit_pb2 import (
    ConsistencyProof,
    Cosignature,
    LogPromise,
    ProofDelivery,
    ProofRequest,
)
from tests.support.logs import NOON, asked
from tests.support.trees import proofs_of

BROKER = LogKey.generate("operator.example/broker")
PEER = LogKey.generate("lapd.example/adapter")


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class End:
    home: Path
    watch: Watch
    log: SignedLog
    peers: PeerCheckpoints
    shown: ShownCheckpoints

    async def entries(self) -> list[LoggedEntry]:
        await self.log.publish()
        leaves = TileFolder(self.home / "log").all_entries(self.log.size)
        return [parse_entry(leaf) for _, leaf in leaves]

    async def kinds(self) -> list[str]:
        return [entry.kind for entry in await self.entries()]


async def make_end(home: Path, key: LogKey) -> End:
    watch = Watch()
    log = await SignedLog.open(home, origin=key.origin, key=key, clock=watch)
    return End(
        home=home,
        watch=watch,
        log=log,
        peers=PeerCheckpoints(log, watch),
        shown=ShownCheckpoints(log, watch),
    )


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[End]:
    end = await make_end(tmp_path / "broker", BROKER)
    yield end
    await end.log.close()


@dataclass(slots=True)
class Tree:
    """A peer's log as a list of leaves: what it shows of it, and the proofs that it gives."""

    leaves: list[bytes] = field(default_factory=lambda: [b"%d" % number for number in range(200)])

    @property
    def hashes(self) -> list[bytes]:
        return [leaf_hash(leaf) for leaf in self.leaves]

    def note(self, size: int, key: LogKey = PEER) -> bytes:
        return Checkpoint(origin=PEER.origin, size=size, root=merkle.root(self.hashes[:size])).sign(key)

    def proofs(self, request: ProofRequest) -> ProofDelivery:
        return proofs_of(self.hashes, request)

    def promise(self, index: int) -> LogPromise:
        return LogPromise(origin=PEER.origin, index=index, leaf_hash=self.hashes[index])


TREE = Tree()
FORK = Tree([*TREE.leaves[:3], b"rewritten", *TREE.leaves[4:]])


async def show(end: End, size: int, tree: Tree = TREE) -> ProofRequest | None:
    """Show a checkpoint; return what is asked."""
    answers = await end.peers.saw(PEER.origin, tree.note(size), PEER.verifier_key)
    return next((one for one in answers if isinstance(one, ProofRequest)), None)


async def accept(end: End, *sizes: int, tree: Tree = TREE) -> None:
    """Show checkpoints and prove each, as an honest peer does."""
    for size in sizes:
        request = await show(end, size, tree)
        if request is not None:
            await end.peers.proven(PEER.origin, tree.proofs(request))


def promised(end: End, *indexes: int, tree: Tree = TREE) -> None:
    for index in indexes:
        end.peers.promised(PEER.origin, tree.promise(index), exchange=b"e" * 16, statement=b"s" * 32)


async def test_the_first_checkpoint_is_logged_and_cosigned_with_its_note(broker: End) -> None:
    """The entry holds origin, size, root, the whole note and our cosignature: nobody's word is needed."""
    (told,) = await broker.peers.saw(PEER.origin, TREE.note(5), PEER.verifier_key)
    (entry,) = await broker.entries()
    assert entry.kind == "checkpoint_seen"
    assert (entry.public["peer_origin"], entry.public["size"]) == (PEER.origin, 5)
    assert (entry.public["note"], entry.public["from_size"]) == (TREE.note(5).decode(), 0)
    assert isinstance(told, Cosignature) and told.size == 5
    assert told.line.decode() == f"{entry.public['cosignature']}\n"
    (found,) = cosignatures(TREE.note(5) + told.line, [Cosigner(key=BROKER.verifier)])
    assert found.at == NOON


async def test_a_newer_checkpoint_is_logged_once_its_proof_has_come(broker: End) -> None:
    """From the size that was seen last to the new one; until then it is not logged, nor cosigned."""
    await accept(broker, 5)
    request = await show(broker, 90)
    assert request == ProofRequest(old_size=5, new_size=90)
    assert await broker.kinds() == ["checkpoint_seen"]
    (told,) = await broker.peers.proven(PEER.origin, TREE.proofs(request))
    assert isinstance(told, Cosignature) and told.size == 90
    newest = (await broker.entries())[-1]
    assert (newest.public["size"], newest.public["from_size"]) == (90, 5)
    assert peek_checkpoint(broker.log.last_seen(PEER.origin) or b"").size == 90


async def test_the_same_checkpoint_is_logged_once(broker: End) -> None:
    """What is known already adds no entry, also when two arrive at the same time; it is cosigned again."""
    await asyncio.gather(*[broker.peers.saw(PEER.origin, TREE.note(5), PEER.verifier_key) for _ in range(3)])
    (told,) = await broker.peers.saw(PEER.origin, TREE.note(5), PEER.verifier_key)
    assert isinstance(told, Cosignature)
    assert await broker.kinds() == ["checkpoint_seen"]


async def test_a_shrunk_log_is_a_contradiction_and_logged(broker: End) -> None:
    """A smaller checkpoint than one seen before is evidence: both are logged, and the peer is refused."""
    await accept(broker, 5)
    with pytest.raises(PeerContradiction, match="shrank from 5 to 4"):
        await show(broker, 4)
    seen, found = await broker.entries()
    assert (seen.kind, found.kind) == ("checkpoint_seen", "contradiction")
    assert (found.public["note"], found.public["last_note"]) == (TREE.note(4).decode(), TREE.note(5).decode())
    assert broker.peers.is_refused(PEER.origin)


async def test_two_roots_for_one_size_are_a_contradiction(broker: End) -> None:
    """A forked log signs two trees of one size; whoever sees both has the proof."""
    await accept(broker, 5)
    with pytest.raises(PeerContradiction, match="two roots for 5"):
        await show(broker, 5, FORK)


async def test_a_fork_that_keeps_growing_is_a_contradiction(broker: End) -> None:
    """No size is shown twice; that entry 3 is another one shows in the proof, which is logged."""
    await accept(broker, 5)
    request = await show(broker, 90, FORK)
    assert request is not None
    with pytest.raises(PeerContradiction, match="90 entries does not continue its 5"):
        await broker.peers.proven(PEER.origin, FORK.proofs(request))
    found = (await broker.entries())[-1]
    assert (found.kind, found.public["how"]) == ("contradiction", "inconsistent")
    assert (found.public["note"], found.public["last_note"]) == (
        FORK.note(90).decode(),
        TREE.note(5).decode(),
    )
    path = found.public["proof"]
    assert isinstance(path, list) and len(path) == len(FORK.proofs(request).consistency.path)
    assert broker.peers.is_refused(PEER.origin)


@pytest.mark.parametrize("size", [4, 5, 7, 64, 65, 128, 199])
async def test_an_entry_rewritten_before_a_checkpoint_is_found_at_any_size(broker: End, size: int) -> None:
    """The proof of a rewritten log leads to one root at most, at powers of two and beside them."""
    await accept(broker, 4)
    with pytest.raises(PeerContradiction):
        await accept(broker, size if size > 4 else 4, tree=FORK)


def _cut(path: list[bytes]) -> list[bytes]:
    return path[:-1]


def _flipped(path: list[bytes]) -> list[bytes]:
    return [bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(_cut, id="cut"),
        pytest.param(_flipped, id="flipped"),
        pytest.param(lambda path: [*path, path[0]], id="too-long"),
        pytest.param(lambda path: [], id="empty"),
        pytest.param(lambda path: [one[:31] for one in path], id="short-hashes"),
        pytest.param(lambda path: [b"h" * 32] * 5_000, id="thousands"),
    ],
)
async def test_a_wrong_proof_is_a_contradiction(broker: End, wrong: object) -> None:
    """What does not lead from the one root to the other proves nothing, however it is wrong."""
    await accept(broker, 5)
    request = await show(broker, 90)
    assert request is not None and callable(wrong)
    delivery = TREE.proofs(request)
    path = wrong(list(delivery.consistency.path))
    del delivery.consistency.path[:]
    delivery.consistency.path.extend(path)
    with pytest.raises(PeerContradiction):
        await broker.peers.proven(PEER.origin, delivery)
    assert len(str((await broker.entries())[-1].public["proof"])) < 5_000


async def test_a_proof_for_other_sizes_or_of_nothing_asked_is_no_answer(broker: End) -> None:
    """It accuses nobody, for it may be late; what was asked for is still owed."""
    await accept(broker, 5)
    request = await show(broker, 90)
    assert request is not None
    for sizes in ((5, 91), (4, 90), (0, 90), (90, 5)):
        other = ProofDelivery(consistency=ConsistencyProof(old_size=sizes[0], new_size=sizes[1]))
        assert await broker.peers.proven(PEER.origin, other) == []
    assert await broker.peers.proven("dea.example/adapter", TREE.proofs(request)) == []
    assert await broker.kinds() == ["checkpoint_seen"]
    assert len(await broker.peers.proven(PEER.origin, TREE.proofs(request))) == 1


async def test_a_proof_that_does_not_come_is_told(broker: End) -> None:
    """Half a minute while the peer is connected, counted by ticks: then both notes are logged as unproven."""
    await accept(broker, 5)
    assert await show(broker, 90) is not None
    for _ in range(PATIENCE - 1):
        assert await broker.peers.tick(PEER.origin) == []
    with pytest.raises(PeerUnproven, match="no proof came that its 90 entries continue its 5"):
        await broker.peers.tick(PEER.origin)
    found = (await broker.entries())[-1]
    assert (found.kind, found.public["size"], found.public["last_size"]) == ("unproven", 90, 5)
    assert not broker.peers.is_refused(PEER.origin)
    await accept(broker, 91)
    assert peek_checkpoint(broker.log.last_seen(PEER.origin) or b"").size == 91


@pytest.mark.parametrize("reconnects", [False, True])
async def test_a_peer_that_sends_checkpoints_and_no_proof_is_told_of(broker: End, reconnects: bool) -> None:
    """So many without a proof, in one connection or over several: it can't run away from what it owes."""
    await accept(broker, 5)
    for size in range(6, 7 + PASSED):
        broker.watch.passes(2)
        await show(broker, size)
        if reconnects:
            broker.peers.forget(PEER.origin)
    with pytest.raises(PeerUnproven):
        await broker.peers.tick(PEER.origin)
    assert (await broker.kinds())[-1] == "unproven"


async def test_checkpoints_that_come_meanwhile_wait_and_the_newest_is_asked_about(broker: End) -> None:
    """One request at a time; and one that is smaller than another that waits contradicts it at once."""
    await accept(broker, 5)
    first = await show(broker, 90)
    assert first is not None
    for size in (91, 93):
        broker.watch.passes(2)
        assert await show(broker, size) is None
    cosigned, second = await broker.peers.proven(PEER.origin, TREE.proofs(first))
    assert isinstance(cosigned, Cosignature) and second == ProofRequest(old_size=90, new_size=93)
    with pytest.raises(PeerContradiction, match="shrank from 93 to 92"):
        await show(broker, 92)


async def test_a_refused_peer_is_not_heard_after_a_restart_either(tmp_path: Path) -> None:
    """The refusal is the `contradiction` in our own log, also without the file that sums it up."""
    end = await make_end(tmp_path, BROKER)
    await accept(end, 5)
    with pytest.raises(PeerContradiction):
        await show(end, 4)
    await end.log.close()
    for remove_summary in (False, True):
        if remove_summary:
            (tmp_path / "wal/summary.json").unlink()
        end = await make_end(tmp_path, BROKER)
        assert end.peers.is_refused(PEER.origin)
        assert await end.peers.saw(PEER.origin, TREE.note(90), PEER.verifier_key) == []
        assert await end.kinds() == ["checkpoint_seen", "contradiction"]
        await end.log.close()


async def test_a_refused_peer_is_heard_again_once_an_administrator_pardoned_it(tmp_path: Path) -> None:
    """The next checkpoint is the first of its log; what was seen before stays logged and counts no more."""
    end = await make_end(tmp_path, BROKER)
    await accept(end, 50)
    with pytest.raises(PeerContradiction):
        await show(end, 4)
    await end.log.append(end.log.entry("pardoned", public={"peer_origin": PEER.origin}))
    assert not end.peers.is_refused(PEER.origin)
    await accept(end, 6, 9)
    await end.log.close()
    end = await make_end(tmp_path, BROKER)
    assert not end.peers.is_refused(PEER.origin)
    kinds = ["checkpoint_seen", "contradiction", "pardoned", "checkpoint_seen", "checkpoint_seen"]
    assert await end.kinds() == kinds
    await end.log.close()


async def test_a_peer_is_refused_although_that_cannot_be_logged_now(
    broker: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal doesn't wait for the disk; the entry is written once that is possible."""
    await accept(broker, 5)
    with monkeypatch.context() as full:

        def no_space(records: Sequence[bytes]) -> int:
            raise OSError(28, "No space left on device")

        full.setattr(broker.log._store.wal, "write", no_space)
        with pytest.raises(PeerContradiction):
            await show(broker, 4)
        assert broker.peers.is_refused(PEER.origin)
    assert await broker.kinds() == ["checkpoint_seen"]
    await broker.peers.tick(PEER.origin)
    assert await broker.kinds() == ["checkpoint_seen", "contradiction"]
    assert broker.peers.is_refused(PEER.origin)


async def test_a_checkpoint_under_another_key_is_not_logged(broker: End) -> None:
    """A note that the roster's key didn't sign proves nothing and leaves no entry."""
    forged = TREE.note(5, key=LogKey.generate(PEER.origin))
    with pytest.raises(NoteInvalid):
        await broker.peers.saw(PEER.origin, forged, PEER.verifier_key)
    with pytest.raises(NoteInvalid):
        await broker.peers.saw("dea.example/adapter", TREE.note(5), PEER.verifier_key)
    assert await broker.kinds() == []


async def test_what_was_seen_survives_a_restart(tmp_path: Path) -> None:
    """After a restart a peer is asked from what was seen before it, even if the summary file is gone."""
    end = await make_end(tmp_path, BROKER)
    await end.log.append(asked(0))
    await accept(end, 5)
    await end.log.close()
    for remove_summary in (False, True):
        if remove_summary:
            (tmp_path / "wal/summary.json").unlink()
        end = await make_end(tmp_path, BROKER)
        assert (end.log.size, end.log.substantive_size) == (2, 1)
        assert await show(end, 8) == ProofRequest(old_size=5, new_size=8)
        await end.log.close()
    end = await make_end(tmp_path, BROKER)
    with pytest.raises(PeerContradiction):
        await show(end, 4)
    await end.log.close()


# -- promises ------------------------------------------------------------------------------------


async def test_what_a_receipt_promised_is_asked_for_with_the_checkpoint_that_covers_it(broker: End) -> None:
    """The entry is shown in its place; what lies beyond the checkpoint waits for the next."""
    await accept(broker, 5)
    promised(broker, 7, 60)
    request = await show(broker, 10)
    assert request is not None and list(request.indexes) == [7]
    await broker.peers.proven(PEER.origin, TREE.proofs(request))
    request = await show(broker, 90)
    assert request is not None and list(request.indexes) == [60]


@pytest.mark.parametrize("how", ["another entry there", "a wrong path", "short hashes"])
async def test_a_broken_promise_is_a_contradiction(broker: End, how: str) -> None:
    """The receipt names another entry than its place in the log has: the peer is refused, with the proof."""
    await accept(broker, 2)
    promised(broker, 3, tree=FORK if how == "another entry there" else TREE)
    request = await show(broker, 10)
    assert request is not None
    delivery = TREE.proofs(request)
    if how == "a wrong path":
        delivery.inclusions[0].path[0] = bytes(32)
    if how == "short hashes":
        delivery.inclusions[0].path[0] = b"short"
    with pytest.raises(PeerContradiction, match="does not hold entry 3 as promised"):
        await broker.peers.proven(PEER.origin, delivery)
    found = (await broker.entries())[-1]
    assert (found.kind, found.public["how"], found.public["index"]) == ("contradiction", "promise", 3)
    assert found.exchange == b"e" * 16 and found.public["statement"] == (b"s" * 32).hex()
    assert broker.peers.is_refused(PEER.origin)


@pytest.mark.parametrize("how", ["no inclusion proof", "no checkpoint", "proof in another tree"])
async def test_a_promise_that_nothing_shows_is_told(broker: End, how: str) -> None:
    """Neither a checkpoint that covers it nor a proof came in a minute: that is logged, with the exchange."""
    await accept(broker, 5)
    promised(broker, 7)
    if how != "no checkpoint":
        request = await show(broker, 10)
        assert request is not None
        delivery = TREE.proofs(request)
        if how == "no inclusion proof":
            del delivery.inclusions[:]
        else:
            delivery.inclusions[0].size = 9
        await broker.peers.proven(PEER.origin, delivery)
    told = []
    for _ in range(2 * PATIENCE + 1):
        try:
            for request in await broker.peers.tick(PEER.origin):
                assert isinstance(request, ProofRequest)
                assert (request.old_size, request.new_size, list(request.indexes)) == (10, 10, [7])
                told.append("asked again")
        except PeerUnproven:
            told.append("unproven")
    assert "unproven" in told
    entries = await broker.entries()
    found = next(one for one in reversed(entries) if "index" in one.public)
    assert (found.kind, found.public["index"], found.exchange) == ("unproven", 7, b"e" * 16)
    assert ("asked again" in told) == (how != "no checkpoint")


async def test_promises_are_proven_without_a_newer_checkpoint(broker: End) -> None:
    """What the last checkpoint covers is asked for by itself, and nothing is logged twice for it."""
    await accept(broker, 10)
    promised(broker, 7)
    asked_for: list[ProofRequest] = []
    for _ in range(10):
        asked_for += [one for one in await broker.peers.tick(PEER.origin) if isinstance(one, ProofRequest)]
    (request,) = asked_for
    assert await broker.peers.proven(PEER.origin, TREE.proofs(request)) == []
    for _ in range(2 * PATIENCE):
        assert await broker.peers.tick(PEER.origin) == []
    assert await broker.kinds() == ["checkpoint_seen"]


async def test_of_many_promises_as_many_as_fit_are_asked_for(broker: End) -> None:
    """Drawn at random; the others are left to the auditor, and no list grows for ever."""
    await accept(broker, 5)
    promised(broker, *range(10, 190))
    request = await show(broker, 199)
    assert request is not None and len(request.indexes) == MAX_INDEXES
    assert list(request.indexes) != list(range(10, 10 + MAX_INDEXES))
    await broker.peers.proven(PEER.origin, TREE.proofs(request))
    for _ in range(2 * PATIENCE):
        assert await broker.peers.tick(PEER.origin) == []


async def test_a_promise_of_another_log_is_not_held_against_this_one(broker: End) -> None:
    """A statement that names a log that isn't its signer's binds nobody."""
    await accept(broker, 5)
    other = LogPromise(origin="dea.example/adapter", index=7, leaf_hash=b"x" * 32)
    broker.peers.promised(PEER.origin, other, exchange=b"e" * 16, statement=b"s" * 32)
    request = await show(broker, 10)
    assert request is not None and not request.indexes


# -- our own checkpoints -------------------------------------------------------------------------


async def grown(end: End, *counts: int) -> None:
    """Append so many entries, publish and show after each."""
    for count in counts:
        await end.log.append(*[asked(number) for number in range(count)])
        await end.log.publish()
        end.watch.passes(2)
        assert end.shown.due(PEER.origin) is not None


async def test_nothing_is_due_before_there_is_something_to_say(broker: End) -> None:
    """An empty log, and one that only saw others' checkpoints, keeps quiet."""
    assert broker.shown.due(PEER.origin) is None
    await accept(broker, 5)
    await broker.log.publish()
    assert broker.shown.due(PEER.origin) is None


async def test_due_once_for_each_news_and_at_most_each_second(broker: End) -> None:
    """A peer gets the newest checkpoint when there is news, a second after the last at the earliest."""
    await broker.log.append(asked(0))
    await broker.log.publish()
    assert broker.shown.due(PEER.origin) == broker.log.checkpoint()
    assert broker.shown.due(PEER.origin) is None
    await broker.log.append(asked(1))
    await broker.log.publish()
    assert broker.shown.due(PEER.origin) is None
    assert broker.shown.due("dea.example/adapter") == broker.log.checkpoint()
    broker.watch.passes(1)
    assert broker.shown.due(PEER.origin) == broker.log.checkpoint()


async def test_a_peer_that_comes_back_is_told_again(broker: End) -> None:
    """With a new link or session the newest checkpoint travels again."""
    await broker.log.append(asked(0))
    await broker.log.publish()
    broker.shown.due(PEER.origin)
    broker.shown.forget(PEER.origin)
    assert broker.shown.due(PEER.origin) == broker.log.checkpoint()


async def test_what_is_asked_of_us_is_proven_out_of_our_tiles(broker: End) -> None:
    """Consistency and inclusion, also of a checkpoint that is not the newest any more."""
    await grown(broker, 3, 300, 40)
    notes = [one.note for one in broker.shown._sent[PEER.origin]]
    sizes = [peek_checkpoint(note) for note in notes]
    for old, new in ((sizes[0], sizes[1]), (sizes[1], sizes[2]), (sizes[0], sizes[2])):
        delivery = await broker.shown.prove(
            PEER.origin, ProofRequest(old_size=old.size, new_size=new.size, indexes=[0, new.size - 1])
        )
        assert delivery is not None
        merkle.verify_consistency(
            old_size=old.size,
            old_root=old.root,
            new_size=new.size,
            new_root=new.root,
            path=delivery.consistency.path,
        )
        leaves = [leaf for _, leaf in TileFolder(broker.home / "log").all_entries(new.size)]
        for proof in delivery.inclusions:
            merkle.verify_inclusion(
                leaf_hash=leaf_hash(leaves[proof.index]),
                index=proof.index,
                size=proof.size,
                path=proof.path,
                root=new.root,
            )


async def test_two_thousand_requests_have_two_proofs_computed(
    broker: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that was sent is answered for twice; another size, a stranger, or too much, never."""
    await grown(broker, 3, 5)
    computed, compute = list[int](), broker.shown._proofs
    monkeypatch.setattr(broker.shown, "_proofs", lambda *args: (computed.append(1), compute(*args))[1])
    draw = random.Random(7)
    for _ in range(2_000):
        await broker.shown.prove(PEER.origin, ProofRequest(old_size=draw.randrange(9), new_size=8))
    assert len(computed) == 2
    refused = (
        ProofRequest(old_size=0, new_size=7),
        ProofRequest(old_size=4, new_size=3),
        ProofRequest(old_size=0, new_size=3, indexes=[3]),
        ProofRequest(old_size=0, new_size=3, indexes=[0] * (MAX_INDEXES + 1)),
    )
    for request in refused:
        assert await broker.shown.prove(PEER.origin, request) is None
    assert await broker.shown.prove("dea.example/adapter", ProofRequest(new_size=3)) is None
    assert len(computed) == 2


async def test_a_cosignature_is_kept_beside_the_log(broker: End) -> None:
    """The note with the peer's line below it is what a tlog-policy file with witnesses asks for."""
    await grown(broker, 3)
    note = broker.log.checkpoint()
    line = cosign(note, PEER, NOON)
    assert await broker.shown.cosigned(PEER.origin, Cosignature(size=3, line=line), PEER.verifier_key)
    assert not await broker.shown.cosigned(PEER.origin, Cosignature(size=3, line=line), PEER.verifier_key)
    ((claimed, kept),) = CosignedCheckpoints(broker.home / "log").newest_first()
    assert (claimed.size, kept) == (3, note + line)


@pytest.mark.parametrize("how", ["by another key", "of another root", "in another name", "two lines", "long"])
async def test_a_forged_cosignature_is_not_kept(broker: End, how: str) -> None:
    """Only the peer's own log key counts, over exactly the checkpoint that it was sent."""
    await grown(broker, 3)
    note, key = broker.log.checkpoint(), PEER
    if how == "by another key":
        key = LogKey.generate(PEER.origin)
    if how == "in another name":
        key = LogKey.generate("dea.example/adapter")
    if how == "of another root":
        note = Checkpoint(origin=BROKER.origin, size=3, root=bytes(32)).sign(BROKER)
    line = cosign(note, key, NOON)
    line = {"two lines": line + line, "long": line[:-1] + b"=" * 600 + b"\n"}.get(how, line)
    with pytest.raises(NoteInvalid):
        await broker.shown.cosigned(PEER.origin, Cosignature(size=3, line=line), PEER.verifier_key)
    assert not list(CosignedCheckpoints(broker.home / "log").newest_first())


async def test_a_cosignature_of_what_was_not_sent_is_ignored(broker: End) -> None:
    """A size that this peer was not shown on this connection: nothing to keep, nobody to blame."""
    await grown(broker, 3)
    line = cosign(broker.log.checkpoint(), PEER, NOON)
    assert not await broker.shown.cosigned(PEER.origin, Cosignature(size=2, line=line), PEER.verifier_key)
    broker.shown.forget(PEER.origin)
    assert not await broker.shown.cosigned(PEER.origin, Cosignature(size=3, line=line), PEER.verifier_key)


async def test_two_ends_fall_silent(tmp_path: Path) -> None:
    """Ends that log each other's checkpoints stop by themselves once nothing else happens."""
    one = await make_end(tmp_path / "one", BROKER)
    two = await make_end(tmp_path / "two", PEER)
    await one.log.append(asked(0))
    await two.log.append(asked(0))
    sent = 0
    for _ in range(10):
        for sender, receiver in ((one, two), (two, one)):
            await sender.log.publish()
            sender.watch.passes(2)
            origin = sender.log.origin
            if (newest := sender.shown.due(receiver.log.origin)) is not None:
                sent += 1
                await receiver.peers.saw(origin, newest, sender.log.verifier_key)
    assert sent == 2
    assert peek_checkpoint(one.log.last_seen(PEER.origin) or b"").origin == PEER.origin
    await one.log.close()
    await two.log.close()


async def test_two_real_logs_hold_each_other_to_what_they_showed(tmp_path: Path) -> None:
    """Round after round, with restarts of either: all is proven and cosigned, and nobody is accused."""
    homes = {BROKER.origin: tmp_path / "one", PEER.origin: tmp_path / "two"}
    keys = {BROKER.origin: BROKER, PEER.origin: PEER}
    draw = random.Random(3)
    ends = {origin: await make_end(homes[origin], keys[origin]) for origin in homes}
    for _ in range(6):
        for mine, theirs in ((BROKER.origin, PEER.origin), (PEER.origin, BROKER.origin)):
            sender, receiver = ends[mine], ends[theirs]
            await sender.log.append(*[asked(number) for number in range(draw.randrange(1, 90))])
            await sender.log.publish()
            sender.watch.passes(2)
            note = sender.shown.due(theirs)
            assert note is not None
            answers = await receiver.peers.saw(mine, note, keys[mine].verifier_key)
            while answers:
                answer = answers.pop()
                if isinstance(answer, ProofRequest):
                    delivery = await sender.shown.prove(theirs, answer)
                    assert delivery is not None
                    answers += await receiver.peers.proven(mine, delivery)
                else:
                    assert await sender.shown.cosigned(theirs, answer, keys[theirs].verifier_key)
            assert receiver.log.last_seen(mine) == note
            if draw.randrange(3) == 0:
                await sender.log.close()
                ends[mine] = await make_end(homes[mine], keys[mine])
    for end in ends.values():
        kinds = await end.kinds()
        assert kinds.count("checkpoint_seen") == 6 and set(kinds) == {"asked", "checkpoint_seen"}
        await end.log.close()
