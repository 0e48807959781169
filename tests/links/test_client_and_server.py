"""A link over a real loopback gRPC connection with mutual TLS: both shells around the pure machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import grpc
import grpc.aio
import pytest

from comity.certs.clock import utc_now
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig, _hello
from comity.links.errors import ConfigUnusable, LinkDown, LinkRefused, ProtocolViolation
from comity.links.frames import LinkLimits
from comity.v1.audit_pb2 import Checkpoint
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import Announcement, CloseReason, LinkFrame, LinkRequest, Presence
from comity.v1.link_pb2_grpc import BrokerServiceStub
from tests.support import patience
from tests.support.links import FreezingPath, LoopbackBroker


def checkpoint(text: str) -> LinkFrame:
    return LinkFrame(checkpoint=Checkpoint(note=text.encode()))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is true; a test that waits in vain fails."""
    async with asyncio.timeout(patience.SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


class Running:
    def __init__(self, client: LinkClient) -> None:
        self.client = client

    async def __aenter__(self) -> LinkClient:
        self.task = asyncio.create_task(self.client.run())
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.task


async def test_frames_travel_both_ways_in_order(loopback, recording) -> None:
    """What both sides send arrives in order, and the welcome comes first."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up and loopback.handler.peers)
        for number in range(500):
            client.send(checkpoint(f"up {number}"))
            loopback.handler.peers[0].send(checkpoint(f"down {number}"))
        await until(lambda: len(loopback.handler.got) == len(recording.got) == 500)
    assert [frame.checkpoint.note for frame in loopback.handler.got] == [b"up %d" % n for n in range(500)]
    assert [frame.checkpoint.note for frame in recording.got] == [b"down %d" % n for n in range(500)]
    assert recording.welcomes[0].roster_version == 3


async def test_what_waits_leaves_together(loopback, recording) -> None:
    """Frames sent in one turn of the loop travel in far fewer messages."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        for number in range(1_000):
            client.send(checkpoint(str(number)))
        await until(lambda: len(loopback.handler.got) == 1_000)
    assert loopback.handler.messages <= 3


async def test_close_says_goodbye_after_what_was_queued(loopback, recording) -> None:
    """A closing end's last frames arrive, and the broker learns SHUTDOWN, not a lost stream."""
    running = Running(loopback.client(recording))
    async with running as client:
        await until(lambda: client.is_up)
        client.send(checkpoint("last words"))
    await until(lambda: loopback.handler.ends)
    assert [frame.checkpoint.note for frame in loopback.handler.got] == [b"last words"]
    assert loopback.handler.ends[0][0] == CloseReason.CLOSE_REASON_SHUTDOWN
    assert recording.ends[0][0] == CloseReason.CLOSE_REASON_SHUTDOWN
    with pytest.raises(LinkDown):
        client.send(checkpoint("too late"))


async def test_broker_goodbye_is_told_and_the_end_dials_again(loopback, recording) -> None:
    """A link that the broker closes is over with the broker's reason; the end comes back by itself."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up and loopback.handler.peers)
        loopback.handler.peers[0].close(CloseReason.CLOSE_REASON_RENEWAL, "new certificate")
        await until(lambda: len(recording.welcomes) == 2)
        assert recording.ends == [(CloseReason.CLOSE_REASON_RENEWAL, "goodbye: new certificate")]
        assert client.is_up
    assert len(loopback.handler.ends) == 2


async def test_stopped_broker_is_dialled_until_it_returns(loopback, recording) -> None:
    """A broker that vanishes without a goodbye costs the link; the end keeps trying until it is back."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        await loopback.stop()
        await until(lambda: recording.ends)
        assert recording.ends[0][0] == CloseReason.CLOSE_REASON_UNSPECIFIED
        assert not client.is_up
        await asyncio.sleep(0.1)
        await loopback.start()
        await until(lambda: client.is_up)


async def test_close_while_dialling_returns(authorities, loopback, recording) -> None:
    """An end that can't reach its broker still stops when asked."""
    await loopback.stop()
    async with Running(loopback.client(recording)):
        await asyncio.sleep(0.05)
    assert recording.welcomes == []
    await loopback.start()


async def test_refused_end_gets_the_reason(loopback, recording, caplog) -> None:
    """A greeting that the broker refuses never counts as a link, and the end's log has the line."""
    loopback.handler.refuse_with = LinkRefused(CloseReason.CLOSE_REASON_CREDENTIALS, "not a member")
    async with Running(loopback.client(recording)) as client:
        await until(lambda: "not a member" in caplog.text)
        assert not client.is_up
    assert recording.welcomes == recording.ends == []
    assert loopback.handler.peers == loopback.handler.ends == []


async def test_reason_that_stays_the_same_is_logged_once(loopback, recording, caplog) -> None:
    """A broker that is away for an hour fills no log: one line a reason, however often the end dials."""
    loopback.handler.refuse_with = LinkRefused(CloseReason.CLOSE_REASON_CREDENTIALS, "not a member")
    async with Running(loopback.client(recording)):
        await until(lambda: "not a member" in caplog.text)
        await asyncio.sleep(0.3)
        loopback.handler.refuse_with = LinkRefused(CloseReason.CLOSE_REASON_CREDENTIALS, "suspended")
        await until(lambda: "suspended" in caplog.text)
    assert len([text for text in caplog.messages if text.startswith("no link to")]) == 2


async def test_chain_of_another_certificate_is_refused(loopback, recording, caplog) -> None:
    """The chain in a greeting must begin with the certificate whose key the connection proved."""
    client = loopback.client(recording)
    stranger = loopback.config(agency="dea")
    client._hello.chain[:] = LinkClient(stranger, recording, client._clock)._hello.chain
    async with Running(client):
        await until(lambda: "the chain's leaf is not the certificate" in caplog.text)
    assert loopback.handler.peers == []


async def test_broker_of_another_s_ca_is_not_trusted(loopback, recording, authorities) -> None:
    """A link trusts one CA for its broker: the right name from another CA is no broker."""
    config = replace(loopback.config(), operator_ca_pem=authorities["dea"].pem)
    async with Running(LinkClient(config, recording, utc_now)) as client:
        await asyncio.sleep(0.3)
        assert not client.is_up
    assert loopback.handler.peers == []


async def test_broker_of_another_name_is_not_trusted(loopback, recording) -> None:
    """The broker's certificate must have the name that the end expects."""
    config = replace(loopback.config(), broker_name="other.operator.example")
    async with Running(LinkClient(config, recording, utc_now)) as client:
        await asyncio.sleep(0.3)
        assert not client.is_up
    assert loopback.handler.peers == []


async def test_broker_s_frame_from_an_end_closes_the_link(loopback, recording) -> None:
    """A frame that this role may not send is a violation: the link closes with PROTOCOL."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.send(LinkFrame(presence=Presence(providers=["cbp"])))
        await until(lambda: loopback.handler.ends)
        await until(lambda: recording.ends)
    assert loopback.handler.ends[0][0] == CloseReason.CLOSE_REASON_PROTOCOL
    assert recording.ends[0] == (CloseReason.CLOSE_REASON_PROTOCOL, "goodbye: the protocol was broken")


async def test_violation_that_the_broker_finds_closes_the_link(loopback, recording) -> None:
    """What the broker's own checks find closes with their reason; the internal text stays with it."""

    def reject(peer: object, frames: Sequence[LinkFrame]) -> None:
        raise ProtocolViolation(CloseReason.CLOSE_REASON_LIMIT, "internal text")

    loopback.handler.on_frames = reject
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.send(checkpoint("x"))
        await until(lambda: recording.ends)
    assert recording.ends[0][0] == CloseReason.CLOSE_REASON_LIMIT
    assert "internal" not in recording.ends[0][1]


async def test_fault_of_the_handler_closes_its_link_only(loopback, recording, caplog) -> None:
    """A fault of our own code costs one link, and its text, which could name a person, isn't logged."""

    def fail(peer: object, frames: Sequence[LinkFrame]) -> None:
        raise KeyError("8ABC123")

    loopback.handler.on_frames = fail
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.send(checkpoint("x"))
        await until(lambda: recording.ends)
        loopback.handler.on_frames = None
        await until(lambda: client.is_up)
    assert "KeyError" in caplog.text
    assert "8ABC123" not in caplog.text


async def test_awaited_frames_hold_back_the_next_read(loopback, recording) -> None:
    """Nothing more is read from a link until the broker is done with what it has."""
    gate = asyncio.Event()

    async def wait(peer: object, frames: Sequence[LinkFrame]) -> None:
        await gate.wait()

    loopback.handler.on_frames = wait
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.send(checkpoint("first"))
        await until(lambda: loopback.handler.got)
        client.send(checkpoint("second"))
        await asyncio.sleep(0.05)
        assert len(loopback.handler.got) == 1
        gate.set()
        await until(lambda: len(loopback.handler.got) == 2)


async def test_end_that_stops_reading_is_cut_off(authorities) -> None:
    """A link whose queue passes its limit closes with LIMIT: what it may cost in memory is bounded."""
    broker = LoopbackBroker(authorities, LinkLimits(queue_bytes=2 * 1024 * 1024))
    await broker.start()
    config = broker.config()
    credentials = grpc.ssl_channel_credentials(
        config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem
    )
    options = [("grpc.ssl_target_name_override", config.broker_name)]
    async with grpc.aio.secure_channel(config.broker, credentials, options=options) as channel:
        call = BrokerServiceStub(channel).Link()
        await call.write(LinkRequest(frames=[LinkFrame(hello=_hello(config))]))
        await until(lambda: broker.handler.peers)
        (peer,) = broker.handler.peers
        sent = 0
        while peer.is_up:
            peer.send(checkpoint("x" * 100_000))
            sent += 100_000
            assert peer.waiting_bytes <= 2 * 1024 * 1024
            assert sent < 64 * 1024 * 1024
            await asyncio.sleep(0)
        await until(lambda: broker.handler.ends)
        assert broker.handler.ends[0][0] == CloseReason.CLOSE_REASON_LIMIT
    await broker.stop()


async def test_end_that_never_greets_is_hung_up_on(authorities) -> None:
    """A connection that says nothing doesn't stay: it gets a goodbye and a status that says why."""
    broker = LoopbackBroker(authorities, LinkLimits(greeting_timeout=timedelta(seconds=0.1)))
    await broker.start()
    config = broker.config()
    credentials = grpc.ssl_channel_credentials(
        config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem
    )
    options = [("grpc.ssl_target_name_override", config.broker_name)]
    async with grpc.aio.secure_channel(config.broker, credentials, options=options) as channel:
        call = BrokerServiceStub(channel).Link()
        message = await call.read()
        assert message.frames[0].goodbye.reason == CloseReason.CLOSE_REASON_IDLE
        assert await call.details() == "no greeting in time"
    await broker.stop()


async def test_frozen_peer_is_noticed_by_both_sides(authorities, recording) -> None:
    """A path or peer that freezes, its connection still open, costs the link within the keepalive's time."""
    limits = LinkLimits(keepalive=timedelta(seconds=0.3), keepalive_timeout=timedelta(seconds=0.3))
    broker = LoopbackBroker(authorities, limits)
    await broker.start()
    path = FreezingPath(broker.port)
    await path.start()
    config = replace(broker.config(), broker=f"127.0.0.1:{path.port}")
    async with Running(LinkClient(config, recording, utc_now, limits=limits)) as client:
        await until(lambda: client.is_up)
        path.moving.clear()
        await until(lambda: recording.ends and broker.handler.ends)
        assert recording.ends[0][0] == broker.handler.ends[0][0] == CloseReason.CLOSE_REASON_UNSPECIFIED
        path.moving.set()
        await until(lambda: client.is_up)
    await path.stop()
    await broker.stop()


async def test_link_ends_with_the_leaf(loopback, recording) -> None:
    """At the end of the leaf the broker's side closes with RENEWAL."""
    loopback.handler.ends_at = utc_now() + timedelta(seconds=0.3)
    async with Running(loopback.client(recording)):
        await until(lambda: recording.ends)
    assert recording.ends[0][0] == CloseReason.CLOSE_REASON_RENEWAL


async def test_renewed_leaf_opens_the_next_link(authorities, loopback, recording) -> None:
    """A link that ended with its leaf is dialled again with the one that lies on disk now, by itself."""
    first, second = loopback.config(), loopback.config()
    loopback.handler.ends_at = utc_now() + timedelta(seconds=0.3)
    quick = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=200))
    client = LinkClient(first, recording, utc_now, backoff=quick, renewed=lambda: second)
    async with Running(client):
        await until(lambda: recording.ends)
        loopback.handler.ends_at = utc_now() + timedelta(hours=1)
        await until(lambda: len(loopback.handler.peers) >= 2 and client.is_up)
        chains = [list(peer.hello.chain) for peer in loopback.handler.peers]
    assert chains[0] == list(_hello(first).chain) and chains[-1] == list(_hello(second).chain) != chains[0]


async def test_leaf_that_cannot_be_read_keeps_the_old_one(loopback, recording, caplog) -> None:
    """A certificate that is being replaced costs a line in the log, never the link."""

    def unreadable() -> LinkConfig:
        raise ConfigUnusable("`keys/leaf.key` is not the key of the leaf")

    client = loopback.client(recording)
    client._renewed = unreadable
    async with Running(client):
        await until(lambda: client.is_up)
        loopback.handler.peers[0].close(CloseReason.CLOSE_REASON_RENEWAL, "again")
        await until(lambda: len(recording.welcomes) == 2)
    assert "keeps its old certificate" in caplog.text


class WatchedBackoff(Backoff):
    """Remembers after how many failures each wait was asked for."""

    asked: ClassVar[list[int]] = []

    def wait(self, failures: int) -> timedelta:
        self.asked.append(failures)
        return super().wait(failures)


async def test_link_that_is_welcomed_and_lost_again_and_again_is_dialled_ever_more_slowly(
    loopback, recording
) -> None:
    """Two processes with one certificate take each other's place for ever: not without a pause."""
    watched = WatchedBackoff(first=timedelta(milliseconds=1), longest=timedelta(seconds=10))
    watched.asked.clear()
    client = LinkClient(loopback.config(), recording, utc_now, backoff=watched)
    loopback.handler.linked = lambda peer: peer.close(  # type: ignore[method-assign]
        CloseReason.CLOSE_REASON_RENEWAL, "a newer link of this end takes its place"
    )
    async with Running(client):
        await until(lambda: len(watched.asked) >= 5)
    assert watched.asked[:5] == [0, 1, 2, 3, 4]
    assert len(recording.ends) >= 4


async def test_role_of_an_adapter(loopback, recording) -> None:
    """An adapter's link takes announcements; the broker knows its role from the greeting."""
    async with Running(loopback.client(recording, role="adapter")) as client:
        await until(lambda: client.is_up and loopback.handler.peers)
        assert loopback.handler.peers[0].hello.role == EndRole.END_ROLE_ADAPTER
        loopback.handler.peers[0].send(LinkFrame(announcement=Announcement(exchange_id=b"e" * 16)))
        await until(lambda: recording.got)
