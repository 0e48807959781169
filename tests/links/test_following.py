"""A link that is to follow another one, and what goes wrong meanwhile: two connections over loopback gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from comity.certs.clock import utc_now
from comity.links import client as links_client
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig
from comity.links.server import LinkPeer
from comity.v1.link_pb2 import CloseReason, Handover, Hello, LinkFrame, Welcome
from tests.links.test_client_and_server import Running, until
from tests.support.links import LoopbackBroker, RecordingEvents, RecordingHandler


@dataclass
class FollowedHandler(RecordingHandler):
    """A broker that lets a newer link follow; `door` holds back the greeting of such a one."""

    door: asyncio.Event = field(default_factory=asyncio.Event)
    knocked: int = 0

    async def greeted(self, peer: LinkPeer, hello: Hello) -> Welcome:
        if hello.follows:
            self.knocked += 1
            await self.door.wait()
        return peer.make_welcome(roster_version=3, ends_at=self.ends_at, follows=hello.follows)

    @property
    def up(self) -> int:
        return len(self.peers) - len(self.ends)


@pytest.fixture
async def handler(loopback: LoopbackBroker) -> AsyncIterator[FollowedHandler]:
    loopback.handler = FollowedHandler()
    yield loopback.handler
    loopback.handler.door.set()


async def test_close_while_a_follower_is_dialled_returns(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """A link that is welcomed while the older one says goodbye is nobody's: it is closed, and all is over."""
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.renew()
        await until(lambda: handler.knocked)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        handler.door.set()
        await asyncio.wait_for(closing, 20)
    await until(lambda: handler.up == 0)
    assert len(recording.welcomes) == 1


async def test_barred_broker_is_not_followed(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """A broker that was refused while a follower was dialled gets no link by it."""
    why = ""
    quick = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=200))
    client = LinkClient(
        loopback.config(), recording, utc_now, limits=loopback.limits, backoff=quick, barred=lambda: why
    )
    async with Running(client):
        await until(lambda: client.is_up)
        client.renew()
        await until(lambda: handler.knocked)
        why = "its log contradicted itself"
        client.hang_up(CloseReason.CLOSE_REASON_CREDENTIALS, why)
        handler.door.set()
        await until(lambda: handler.up == 0 and client._following is not None and client._following.done())
        assert not client.is_up
        assert len(recording.welcomes) == len(recording.ends) == 1


async def test_older_link_that_is_lost_in_a_handover_takes_the_newer_with_it(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """The broker hears of the loss by the newer link's end, and can tell the peers of its sessions."""
    handler.door.set()
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.renew()
        await until(lambda: handler.got)
        assert [frame.WhichOneof("frame") for frame in handler.got] == ["handover"]
        handler.peers[0].close(CloseReason.CLOSE_REASON_UNSPECIFIED, "lost before its own handover")
        await until(lambda: len(handler.ends) == 2)
        await until(lambda: len(recording.welcomes) == 2 and client.is_up)
        assert len(recording.ends) == 1
        assert handler.peers[2].is_up


async def test_handover_and_goodbye_in_one_message_end_nothing(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """The broker hangs up the older link itself right after its last frame: the newer one goes on."""
    handler.door.set()
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        client.renew()
        await until(lambda: handler.got)
        handler.peers[0].send(LinkFrame(handover=Handover()))
        handler.peers[0].close(CloseReason.CLOSE_REASON_RENEWAL, "followed by a newer link")
        await until(lambda: handler.ends)
        await until(lambda: client._line is not None and client._line.released is not None)
        await until(lambda: client._line.released.is_set())  # type: ignore[union-attr]
        assert client.is_up
        assert recording.ends == []
        assert len(recording.welcomes) == 1


def client_under(
    loopback: LoopbackBroker, recording: RecordingEvents, before: list[str], now: list[str]
) -> LinkClient:
    """Return a client that dials under some authorities' CAs first, and has others in its roster then."""

    def config(names: list[str]) -> LinkConfig:
        pem = b"".join(loopback.authorities[name].pem for name in names)
        return replace(loopback.config(), operator_ca_pem=pem)

    quick = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=200))
    return LinkClient(
        config(before),
        recording,
        utc_now,
        limits=loopback.limits,
        backoff=quick,
        renewed=lambda: config(now),
    )


async def test_link_under_the_operators_new_ca_follows_the_one_under_the_old(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """A CA that left the roster is left without a break; one that came alone changes nothing."""

    def hand_over(peer: LinkPeer, frames: Sequence[LinkFrame]) -> None:
        peer.send(LinkFrame(handover=Handover()))
        peer.close(CloseReason.CLOSE_REASON_RENEWAL, "followed by a newer link")

    handler.door.set()
    handler.on_frames = hand_over
    now = ["operator", "cbp"]
    async with Running(client_under(loopback, recording, ["operator", "cbp"], now)) as client:
        await until(lambda: client.is_up)
        client.leave_distrusted()
        assert client._following is None
        now.remove("cbp")
        client.leave_distrusted()
        await until(lambda: handler.ends and client.is_up)
        assert not client._is_distrusted(client._line)  # type: ignore[arg-type]
        assert recording.ends == []


async def test_operators_ca_that_is_replaced_twice_in_a_row_breaks_no_link(
    loopback: LoopbackBroker,
    recording: RecordingEvents,
    handler: FollowedHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second CA leaves the roster before links under the first are closed: its link is followed, too."""

    def hand_over(peer: LinkPeer, frames: Sequence[LinkFrame]) -> None:
        peer.send(LinkFrame(handover=Handover()))
        peer.close(CloseReason.CLOSE_REASON_RENEWAL, "followed by a newer link")

    monkeypatch.setattr(links_client, "LEAVE_SECONDS", 30.0)
    handler.door.set()
    handler.on_frames = hand_over
    now = ["operator", "cbp", "dea"]
    async with Running(client_under(loopback, recording, list(now), now)) as client:
        await until(lambda: client.is_up)
        for number, name in enumerate(("cbp", "dea"), start=1):
            now.remove(name)
            client.leave_distrusted()
            await until(lambda number=number: len(handler.ends) == number and client.is_up)  # type: ignore[misc]
            assert not client._is_distrusted(client._line)  # type: ignore[arg-type]
        assert client._leaving is not None
        client._leaving.cancel()
        client._leave()
        assert client.is_up and recording.ends == []


async def test_link_under_the_operators_old_ca_is_closed_though_none_follows(
    loopback: LoopbackBroker,
    recording: RecordingEvents,
    handler: FollowedHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever holds an open link with a stolen leaf of the old CA loses it, and gets no other."""
    monkeypatch.setattr(links_client, "LEAVE_SECONDS", 0.1)
    handler.door.set()
    async with Running(client_under(loopback, recording, ["operator"], ["cbp"])) as client:
        await until(lambda: client.is_up)
        client.leave_distrusted()
        await until(lambda: recording.ends)
        assert recording.ends[0][0] == CloseReason.CLOSE_REASON_CREDENTIALS
        assert not client.is_up


async def test_link_is_closed_at_once_where_no_ca_of_the_operator_counts(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """Each was revoked: nothing to move to is left, and gRPC would trust any root of the host."""
    handler.door.set()
    now = ["operator"]
    async with Running(client_under(loopback, recording, ["operator"], now)) as client:
        await until(lambda: client.is_up)
        now.clear()
        client.leave_distrusted()
        await until(lambda: recording.ends)
        assert recording.ends[0][0] == CloseReason.CLOSE_REASON_CREDENTIALS
        await until(lambda: "every CA of the operator is revoked" in client._complaint)
        assert len(handler.peers) == 1 and not client.is_up
        now.append("operator")
        await until(lambda: client.is_up)


async def test_handover_that_nobody_asked_for_ends_the_link(
    loopback: LoopbackBroker, recording: RecordingEvents, handler: FollowedHandler
) -> None:
    """A broker can't have an end drop a link that no newer one follows, and keep it without one."""
    handler.door.set()
    async with Running(loopback.client(recording)) as client:
        await until(lambda: client.is_up)
        handler.peers[0].send(LinkFrame(handover=Handover()))
        await until(lambda: recording.ends)
        assert recording.ends[0][0] == CloseReason.CLOSE_REASON_PROTOCOL
