"""Limits passed at a real broker over real links: the right answer, nobody else is hurt, and it recovers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from comity.certs.x509 import split_pem
from comity.v1 import audit_pb2, link_pb2
from comity.v1.link_pb2_grpc import BrokerServiceStub
from tests.broker.test_broker_loopback import (  # noqa: F401 (fixtures)
    BROKER_NAME,
    End,
    Stage,
    built,
    place,
    stage,
    until,
)

KIB = 1024
LIMIT = link_pb2.CLOSE_REASON_LIMIT


@asynccontextmanager
async def bare(stage: Stage, agency: str, role: str) -> AsyncIterator[Any]:  # noqa: F811
    """An end that greeted and does from then on as the test likes: it keeps no limit of its own."""
    config = stage.link_config(agency, role)
    credentials = grpc.ssl_channel_credentials(
        config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem
    )
    chain = split_pem(config.leaf_chain_pem)
    hello = link_pb2.Hello(versions=[1], spiffe_id=config.spiffe_id, role=config.role, chain=chain)
    options = [("grpc.ssl_target_name_override", BROKER_NAME)]
    async with grpc.aio.secure_channel(config.broker, credentials, options) as channel:
        call = BrokerServiceStub(channel).Link()
        await call.write(link_pb2.LinkRequest(frames=[link_pb2.LinkFrame(hello=hello)]))
        assert (await call.read()).frames[0].HasField("welcome")
        yield call


async def goodbye_to(call: Any, *frames: link_pb2.LinkFrame) -> link_pb2.Goodbye | None:
    """Send frames of one message; return the goodbye, if one came, maybe before all have left."""
    reading = asyncio.create_task(goodbye_of(call))
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(link_pb2.LinkRequest(frames=frames))
    return await reading


async def goodbye_of(call: Any) -> link_pb2.Goodbye | None:
    """Read until the stream is over; return the goodbye, if one came."""
    said = None
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            for frame in message.frames:
                if frame.HasField("goodbye"):
                    said = frame.goodbye
    except grpc.aio.AioRpcError:
        pass
    return said


async def still_works(gateway: End, adapter: End) -> None:
    """An order of `gateway` reaches `adapter`."""
    before = len(adapter.seen.all("announcement"))
    place(gateway, adapter.agency)
    await adapter.wait_for("announcement", before + 1)
    assert not gateway.seen.downs and not adapter.seen.downs


async def test_link_over_the_limit_is_refused_until_another_one_ends(stage: Stage) -> None:  # noqa: F811
    """RESOURCE_EXHAUSTED with a time to come again; those that are linked go on."""
    await stage.broker.stop()
    await stage.start(max_links=2)
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("lapd", "adapter")
    config = stage.link_config("cbp", "adapter")
    credentials = grpc.ssl_channel_credentials(
        config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem
    )
    chain = split_pem(config.leaf_chain_pem)
    hello = link_pb2.Hello(versions=[1], spiffe_id=config.spiffe_id, role=config.role, chain=chain)
    options = [("grpc.ssl_target_name_override", BROKER_NAME)]
    async with grpc.aio.secure_channel(config.broker, credentials, options) as channel:
        call = BrokerServiceStub(channel).Link()
        said = await goodbye_to(call, link_pb2.LinkFrame(hello=hello))
        assert said is not None and said.reason == LIMIT
        status = await rpc_status.aio.from_call(call)
    assert status is not None and status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(retry)
    assert info.reason == "LIMIT" and retry.retry_delay.seconds >= 1
    await still_works(gateway, adapter)
    await adapter.client.close()
    assert await stage.end("cbp", "adapter")


async def test_session_over_the_limit_is_refused_until_another_one_ends(stage: Stage) -> None:  # noqa: F811
    """The session is refused with LIMIT; those that are open carry on, and so does the link."""
    await stage.broker.stop()
    await stage.start(max_sessions_per_link=1)
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("lapd", "adapter")
    lane = link_pb2.LANE_INTERACTIVE
    gateway.send(session_open=link_pb2.SessionOpen(reference=1, peer="lapd", lane=lane))
    (opened,) = await gateway.wait_for("session_open")
    session = opened.session_open.session_id
    gateway.send(session_open=link_pb2.SessionOpen(reference=2, peer="lapd", lane=lane))
    (closed,) = await gateway.wait_for("session_close")
    assert (closed.session_close.reference, closed.session_close.reason) == (2, LIMIT)
    gateway.send(session_data=link_pb2.SessionData(session_id=session, sequence=0, records=b"\x17record"))
    await adapter.wait_for("session_data")
    gateway.send(session_close=link_pb2.SessionClose(session_id=session))
    gateway.send(session_open=link_pb2.SessionOpen(reference=3, peer="lapd", lane=lane))
    assert (await gateway.wait_for("session_open", 2))[1].session_open.reference == 3
    await still_works(gateway, adapter)


async def test_frame_over_the_limit_closes_its_link_alone(stage: Stage) -> None:  # noqa: F811
    """A frame of more than `max_frame_bytes` costs its sender the link, with LIMIT, and nobody else."""
    await stage.broker.stop()
    await stage.start(max_frame_bytes=64 * KIB)
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("lapd", "adapter")
    async with bare(stage, "cbp", "adapter") as call:
        large = link_pb2.LinkFrame(checkpoint=audit_pb2.Checkpoint(note=bytes(65 * KIB)))
        said = await goodbye_to(call, large)
        assert said is not None and said.reason == LIMIT
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await still_works(gateway, adapter)
    assert await stage.end("cbp", "adapter"), "it may link again"


async def test_message_over_the_limit_ends_its_stream_alone(stage: Stage) -> None:  # noqa: F811
    """A gRPC message of more than a batch is not even parsed."""
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("lapd", "adapter")
    async with bare(stage, "cbp", "adapter") as call:
        frames = [
            link_pb2.LinkFrame(checkpoint=audit_pb2.Checkpoint(note=bytes(500 * KIB))) for _ in range(3)
        ]
        await goodbye_to(call, *frames)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await still_works(gateway, adapter)
    assert await stage.end("cbp", "adapter"), "it may link again"


async def test_adapter_that_stops_reading_costs_a_bounded_queue_and_its_own_link(
    stage: Stage,  # noqa: F811
) -> None:
    """What waits for it never passes `queue_bytes`; then it is cut off, and only its sessions end."""
    await stage.broker.stop()
    queue = 128 * KIB
    await stage.start(queue_bytes=queue, max_frame_bytes=64 * KIB, session_window=1024 * KIB)
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("lapd", "adapter")
    lane = link_pb2.LANE_INTERACTIVE
    async with bare(stage, "cbp", "adapter"):
        (slow,) = [link.peer for link in stage.broker._table if link.end.agency == "cbp"]
        for reference, peer in ((1, "lapd"), *((number, "cbp") for number in range(2, 14))):
            gateway.send(session_open=link_pb2.SessionOpen(reference=reference, peer=peer, lane=lane))
        opened = {
            frame.session_open.reference: frame.session_open.session_id
            for frame in await gateway.wait_for("session_open", 13)
        }
        most = 0
        for sequence in range(16):
            for reference in range(2, 14):
                data = link_pb2.SessionData(
                    session_id=opened[reference], sequence=sequence, records=bytes(60 * KIB)
                )
                if slow.is_up:
                    gateway.send(session_data=data)
                    await until(lambda: gateway.client._machine.waiting == 0, "sent")
                    most = max(most, slow.waiting_bytes)
        await until(lambda: not slow.is_up, "the slow link is cut off")
        assert 0 < most <= queue
        closed = {frame.session_close.reference for frame in await gateway.wait_for("session_close", 12)}
        assert closed == set(range(2, 14)), "its sessions, and not the one with another provider"
    gateway.send(session_data=link_pb2.SessionData(session_id=opened[1], sequence=0, records=b"\x17record"))
    await adapter.wait_for("session_data")
    await still_works(gateway, adapter)
    assert await stage.end("cbp", "adapter"), "it may link again"


async def test_agency_over_its_limit_of_exchanges_is_told_until_one_ends(stage: Stage) -> None:  # noqa: F811
    """The order is rejected for LIMIT, the link stays; what is cancelled makes room."""
    await stage.broker.stop()
    await stage.start(max_exchanges_per_agency=2)
    gateway, adapter = await stage.end("sheriff", "gateway"), await stage.end("cbp", "adapter")
    first, _ = place(gateway, "cbp")
    place(gateway, "cbp")
    refused, _ = place(gateway, "cbp")
    (rejected,) = await gateway.wait_for("order_rejection")
    assert rejected.order_rejection.exchange_id == refused
    assert rejected.order_rejection.reason == link_pb2.ORDER_REJECTION_REASON_LIMIT
    gateway.send(cancel=link_pb2.ExchangeCancel(exchange_id=first))
    await gateway.wait_for("account")
    place(gateway, "cbp")
    await adapter.wait_for("announcement", 3)
    assert len(gateway.seen.all("order_rejection")) == 1
