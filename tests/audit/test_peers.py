"""Peers hold each other to their checkpoints, without talking for ever (L2)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.entry import parse_entry
from comity.audit.errors import NoteInvalid, PeerContradiction
from comity.audit.log import SignedLog
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey
from comity.audit.peers import PeerCheckpoints
from comity.audit.tiles import TileFolder
from tests.support.logs import NOON, asked

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

    async def kinds(self) -> list[str]:
        await self.log.publish()
        leaves = TileFolder(self.home / "log").all_entries(self.log.size)
        return [parse_entry(leaf).kind for _, leaf in leaves]


async def make_end(home: Path, key: LogKey) -> End:
    watch = Watch()
    log = await SignedLog.open(home, origin=key.origin, key=key, clock=watch)
    return End(home=home, watch=watch, log=log, peers=PeerCheckpoints(log, watch))


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[End]:
    end = await make_end(tmp_path / "broker", BROKER)
    yield end
    await end.log.close()


def note(size: int, content: bytes = b"", key: LogKey = PEER) -> bytes:
    return Checkpoint(origin=PEER.origin, size=size, root=leaf_hash(b"%d" % size + content)).sign(key)


async def test_a_newer_checkpoint_is_logged_with_its_note(broker: End) -> None:
    """The entry holds origin, size, root and the whole note, so that an auditor needs nobody's word."""
    assert await broker.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    await broker.log.publish()
    [(_, leaf)] = TileFolder(broker.home / "log").all_entries(1)
    entry = parse_entry(leaf)
    assert entry.kind == "checkpoint_seen"
    assert (entry.public["peer_origin"], entry.public["size"]) == (PEER.origin, 5)
    assert entry.public["note"] == note(5).decode()


async def test_the_same_checkpoint_is_logged_once(broker: End) -> None:
    """What is known already adds no entry, also when two arrive at the same time."""
    results = await asyncio.gather(
        *[broker.peers.saw(PEER.origin, note(5), PEER.verifier_key) for _ in range(3)]
    )
    assert sorted(results) == [False, False, True]
    assert not await broker.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    assert await broker.kinds() == ["checkpoint_seen"]


async def test_a_shrunk_log_is_a_contradiction_and_logged(broker: End) -> None:
    """A smaller checkpoint than one seen before is evidence: it is logged, with its note, and raised."""
    await broker.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    with pytest.raises(PeerContradiction, match="shrank from 5 to 4"):
        await broker.peers.saw(PEER.origin, note(4), PEER.verifier_key)
    assert await broker.kinds() == ["checkpoint_seen", "contradiction"]


async def test_two_roots_for_one_size_are_a_contradiction(broker: End) -> None:
    """A forked log signs two trees of one size; whoever sees both has the proof."""
    await broker.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    with pytest.raises(PeerContradiction, match="two roots for 5"):
        await broker.peers.saw(PEER.origin, note(5, b"other"), PEER.verifier_key)


async def test_a_checkpoint_under_another_key_is_not_logged(broker: End) -> None:
    """A note that the roster's key didn't sign proves nothing and leaves no entry."""
    forged = note(5, key=LogKey.generate(PEER.origin))
    with pytest.raises(NoteInvalid):
        await broker.peers.saw(PEER.origin, forged, PEER.verifier_key)
    with pytest.raises(NoteInvalid):
        await broker.peers.saw("dea.example/adapter", note(5), PEER.verifier_key)
    assert await broker.kinds() == []


async def test_what_was_seen_survives_a_restart(tmp_path: Path) -> None:
    """After a restart a peer still can't show a shorter log, even if the summary file is gone."""
    end = await make_end(tmp_path, BROKER)
    await end.log.append(asked(0))
    await end.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    await end.log.close()
    for remove_summary in (False, True):
        if remove_summary:
            (tmp_path / "wal/summary.json").unlink()
        end = await make_end(tmp_path, BROKER)
        assert (end.log.size, end.log.substantive_size) == (2 + remove_summary, 1 + remove_summary)
        with pytest.raises(PeerContradiction):
            await end.peers.saw(PEER.origin, note(4), PEER.verifier_key)
        await end.log.close()


async def test_nothing_is_due_before_there_is_something_to_say(broker: End) -> None:
    """An empty log, and one that only saw others' checkpoints, keeps quiet."""
    assert broker.peers.due(PEER.origin) is None
    await broker.peers.saw(PEER.origin, note(5), PEER.verifier_key)
    await broker.log.publish()
    assert broker.peers.due(PEER.origin) is None


async def test_due_once_for_each_news_and_at_most_each_second(broker: End) -> None:
    """A peer gets the newest checkpoint when there is news, a second after the last at the earliest."""
    await broker.log.append(asked(0))
    await broker.log.publish()
    assert broker.peers.due(PEER.origin) == broker.log.checkpoint()
    assert broker.peers.due(PEER.origin) is None
    await broker.log.append(asked(1))
    await broker.log.publish()
    assert broker.peers.due(PEER.origin) is None
    assert broker.peers.due("dea.example/adapter") == broker.log.checkpoint()
    broker.watch.passes(1)
    assert broker.peers.due(PEER.origin) == broker.log.checkpoint()


async def test_a_peer_that_comes_back_is_told_again(broker: End) -> None:
    """With a new link or session the newest checkpoint travels again."""
    await broker.log.append(asked(0))
    await broker.log.publish()
    broker.peers.due(PEER.origin)
    broker.peers.forget(PEER.origin)
    assert broker.peers.due(PEER.origin) == broker.log.checkpoint()


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
            if (newest := sender.peers.due(receiver.log.origin)) is not None:
                sent += 1
                await receiver.peers.saw(origin, newest, sender.log.verifier_key)
    assert sent == 2
    assert peek_checkpoint(one.log.last_seen(PEER.origin) or b"").origin == PEER.origin
    await one.log.close()
    await two.log.close()
