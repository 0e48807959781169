"""A gateway's front over real sockets and real TLS: who is revoked is cut, TLS 1.2 refused (design 4)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.searching.walk import LogWalk
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.certs.pairs import LeafPair
from comity.certs.revocations import serial_bytes
from comity.certs.revoking import revoke_own
from comity.gateway import config as gateway_config
from comity.gateway import end as gateway_end
from comity.gateway import server as gateway_server
from comity.gateway import service as gateway_service
from comity.v1 import query_service_pb2
from comity.v1.federation_pb2 import REVOCATION_REASON_KEY_COMPROMISE, Revocation
from comity.v1.query_service_pb2_grpc import QueryServiceStub
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.relayed_tls import client_context, relayed
from tests.test_log_key_while_serving import until

pytestmark = pytest.mark.long
NAME = "gateway.sheriff.example"


@dataclass(frozen=True)
class Front:
    """A gateway that serves, at which every question waits for an answer that never comes."""

    made: FederationOnDisk
    address: str

    @property
    def agency(self) -> Path:
        return self.made.home("sheriff")

    @property
    def system(self) -> Path:
        return self.agency / "clients" / "desk"

    def logged(self, kind: str) -> list[LoggedEntry]:
        log = self.made.gateway_home("sheriff") / "log"
        entries = [parse_entry(leaf) for _, leaf in LogWalk(log).entries()]
        return [entry for entry in entries if entry.kind == kind]


@pytest.fixture
async def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    async def answer(
        request: object, *, certificate_der: Callable[[], bytes], **rest: object
    ) -> AsyncGenerator[query_service_pb2.SearchResponse, None]:
        certificate_der()
        yield query_service_pb2.SearchResponse()
        await asyncio.Event().wait()

    monkeypatch.setattr(gateway_service, "answer_to", answer)
    monkeypatch.setattr(gateway_end, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr("comity.audit.log.PUBLISH_DELAY", 0.01)
    made = build_federation(tmp_path / "f", utc_now(), ("sheriff", "lapd"), broker="127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        unused = taken.getsockname()[1]
    settings = gateway_config.load_config(made.gateway_home("sheriff") / "gateway.toml")
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        gateway_server.serve(
            replace(settings, listen=f"127.0.0.1:{unused}"), ready=lambda line: ready.set(), stop=stop
        )
    )
    try:
        await asyncio.wait_for(ready.wait(), 30)
        yield Front(made, f"127.0.0.1:{unused}")
    finally:
        stop.set()
        await asyncio.wait_for(serving, 30)


async def test_call_under_way_is_cut_once_its_certificate_is_revoked(front: Front) -> None:
    """By the agency's own list, as its admin signs it: the waiting caller is told, and the log has why."""
    credentials = grpc.ssl_channel_credentials(
        (front.agency / "ca.pem").read_bytes(),
        (front.system / "leaf.key").read_bytes(),
        (front.system / "leaf.pem").read_bytes(),
    )
    options = [("grpc.ssl_target_name_override", NAME)]
    async with grpc.aio.secure_channel(front.address, credentials, options) as channel:
        call = QueryServiceStub(channel).Search(query_service_pb2.SearchRequest())
        assert await call.read() is not grpc.aio.EOF
        home, now = AgencyHome.load(front.agency), utc_now()
        serial = LeafPair.load(front.system).serial
        entry = Revocation(
            agency="sheriff",
            serial=serial_bytes(serial),
            revoked_at=from_instant(now),
            reason=REVOCATION_REASON_KEY_COMPROMISE,
        )
        revoke_own(home, [entry], now, lifetime=timedelta(days=1), identity=home.identity())
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "revoked: nothing more is shown" in (ended.value.details() or "")
        with pytest.raises(grpc.aio.AioRpcError, match="revoked"):
            await QueryServiceStub(channel).Search(query_service_pb2.SearchRequest()).read()
    await until(lambda: front.logged("call_cut"))
    (cut,) = front.logged("call_cut")
    assert (cut.public["certificate"], cut.public["reason"]) == (f"{serial:x}", "key_compromise")


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_call_over_tls_1_2_is_refused(front: Front, most: ssl.TLSVersion) -> None:
    """One of the agency's own systems, with its own leaf; the same way with TLS 1.3 it is answered."""
    context = client_context(
        ca_pem=(front.agency / "ca.pem").read_bytes(),
        chain=str(front.system / "leaf.pem"),
        key=str(front.system / "leaf.key"),
        most=most,
    )
    async with (
        relayed(front.address, context, name=NAME) as (address, versions),
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = QueryServiceStub(channel).Search(query_service_pb2.SearchRequest())
        if most is ssl.TLSVersion.TLSv1_3:
            assert await call.read() is not grpc.aio.EOF and versions == ["TLSv1.3"]
            return
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert await call.read() is grpc.aio.EOF
        code, details = await call.code(), await call.details()
    if versions:  # gRPC was in use in this process before it was told to refuse the handshake
        assert versions == ["TLSv1.2"] and "older than 1.3" in details
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
