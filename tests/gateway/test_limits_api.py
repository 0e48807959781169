"""The API's own limits over real gRPC with mTLS: requests, metadata, calls, callers that do not read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from comity.certs.clock import utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.instants import from_instant
from comity.cli.asking import load_client
from comity.cli.demonstration.prepare import free_ports
from comity.gateway.calls import OpenCalls
from comity.gateway.errors import UserBusy
from comity.gateway.limits import GatewayLimits
from comity.gateway.server import _grpc_server
from comity.v1 import common_pb2, query_service_pb2, query_service_pb2_grpc, result_pb2
from tests.support.federation import FederationOnDisk, build_federation

PAGE = bytes(256 * 1024)
PAGES = 400
"""100 MB: far more than any buffer between gateway and caller takes."""


@pytest.fixture(scope="session")
def sheriffs(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("api"), utc_now(), ("sheriff", "lapd"))


@dataclass
class Answering:
    """A gateway behind the API that answers as a test tells it to, page by page."""

    made: FederationOnDisk
    agency: str = "sheriff"
    pages: int = 1
    seconds: float = 5.0
    error: Exception | None = None
    yielded: list[int] = field(default_factory=list)
    over: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.member = self.made.federation(utc_now()).member(self.agency)
        self.standing = SimpleNamespace(own=lambda agency: self.member)
        self.calls = OpenCalls()
        self.people = SimpleNamespace(require_access=lambda claims: None)
        self.published = None
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, work: Any) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def search(
        self, question: object, claims: object, assertion: str, *, span: object = None
    ) -> AsyncGenerator[query_service_pb2.SearchResponse, None]:
        if self.error is not None:
            raise self.error
        self.yielded.append(0)
        self.over.append(False)
        at = len(self.over) - 1
        try:
            plan = query_service_pb2.Plan(deadline=from_instant(utc_now() + timedelta(seconds=self.seconds)))
            yield query_service_pb2.SearchResponse(plan=plan)
            for _ in range(self.pages):
                page = query_service_pb2.ProviderPage(agency="lapd", page=result_pb2.Page(nonce=PAGE))
                yield query_service_pb2.SearchResponse(page=page)
                self.yielded[at] += 1
            yield query_service_pb2.SearchResponse(summary=query_service_pb2.Summary(complete=True))
        finally:
            self.over[at] = True


class Api:
    """The served API and a caller's channel to it."""

    def __init__(self, gateway: Answering, stub: Any, assertion: str) -> None:
        self.gateway = gateway
        self.stub = stub
        self.assertion = assertion

    def call(self, request: query_service_pb2.SearchRequest | None = None, assertion: str = "") -> Any:
        metadata = (("authorization", f"Bearer {assertion or self.assertion}"),)
        return self.stub.Search(request or good(), metadata=metadata)

    async def read(self, call: Any) -> list[str]:
        """Read to the end and return what came; raises `AioRpcError`."""
        seen = []
        while (message := await call.read()) is not grpc.aio.EOF:
            seen.append(str(message.WhichOneof("part")))
        assert await call.code() is grpc.StatusCode.OK
        return seen

    async def refusal(self, call: Any) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.read(call)
        return caught.value.code()

    async def works(self) -> None:
        """Another caller is served in full."""
        self.gateway.pages = 1
        self.gateway.error = None
        assert await self.read(self.call()) == ["plan", "page", "summary"]

    async def works_again(self) -> None:
        """Another caller is served in full once gRPC has counted the ended calls out: in a moment."""
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.works()
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    await asyncio.sleep(0.1)


def good(text: str = "series of burglaries") -> query_service_pb2.SearchRequest:
    now = utc_now()
    return query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(now - timedelta(days=2)), end=from_instant(now)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text=text,
        for_self=True,
    )


@asynccontextmanager
async def served(made: FederationOnDisk, **limits: int) -> AsyncIterator[Api]:
    (port,) = free_ports(1)
    gateway = Answering(made)
    client = load_client(made.client_config("sheriff"))
    config = SimpleNamespace(
        agency="sheriff", listen=f"127.0.0.1:{port}", limits=GatewayLimits(**limits), home=made.root
    )
    credentials = EndCredentials.load(made.gateway_home("sheriff"))
    own = SimpleNamespace(on_health=[])
    end: Any = SimpleNamespace(
        config=config, gateway=gateway, credentials=credentials, clock=utc_now, fronts=[], own=own
    )
    server = _grpc_server(end)
    await server.start()
    tls = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
    options = [("grpc.ssl_target_name_override", client.gateway_name)]
    try:
        async with grpc.aio.secure_channel(config.listen, tls, options) as channel:
            stub = query_service_pb2_grpc.QueryServiceStub(channel)
            yield Api(gateway, stub, made.assertion("sheriff", utc_now()))
    finally:
        await server.stop(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_request_over_the_limit_is_refused_unread(sheriffs: FederationOnDisk) -> None:
    """RESOURCE_EXHAUSTED, before anything is parsed; the next request is served."""
    async with served(sheriffs, max_request_bytes=8_192) as api:
        assert await api.refusal(api.call(good("x" * 9_000))) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert api.gateway.over == []
        await api.works()


async def test_metadata_over_the_limit_is_refused_unread(sheriffs: FederationOnDisk) -> None:
    """RESOURCE_EXHAUSTED; the longest assertion that is ever accepted passes, to be judged."""
    async with served(sheriffs) as api:
        code = await api.refusal(api.call(assertion="x" * 40_000))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        code = await api.refusal(api.call(assertion="x" * 8_192))
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert api.gateway.over == []
        await api.works()


async def test_limit_crosses_the_wire_with_retry_info(sheriffs: FederationOnDisk) -> None:
    """A caller's library sees RESOURCE_EXHAUSTED, when to come again and which limit, and no user."""
    async with served(sheriffs) as api:
        api.gateway.error = UserBusy("this user has too many exchanges in flight; try again in a second")
        call = api.call()
        assert await api.refusal(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = await rpc_status.aio.from_call(call)
        assert status is not None
        retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(retry) and status.details[1].Unpack(info)
        assert retry.retry_delay.seconds == 1 and info.reason == "USER_BUSY"
        assert "ortega" not in str(status)
        await api.works()


async def test_calls_over_the_limit_are_refused_until_others_end(sheriffs: FederationOnDisk) -> None:
    """Callers that hang cannot pile up: beyond twice the exchanges in flight and some, calls are refused."""
    async with served(sheriffs, max_in_flight=1) as api:
        api.gateway.pages = PAGES
        hanging = [api.call() for _ in range(GatewayLimits(max_in_flight=1).max_calls)]
        await until(lambda: len(api.gateway.over) == len(hanging))
        assert await api.refusal(api.call()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in hanging:
            call.cancel()
        await until(lambda: all(api.gateway.over))
        await api.works_again()


async def test_caller_that_does_not_read_holds_nothing_after_its_time(sheriffs: FederationOnDisk) -> None:
    """Pages wait for the caller, not in the gateway's buffers; its time over, the rest is let go.

    Meanwhile another caller is served; when the slow one reads on, it learns why there is no more.
    """
    async with served(sheriffs, read_seconds=1) as api:
        api.gateway.pages, api.gateway.seconds = PAGES, 0.5
        began = time.monotonic()
        call = api.call()
        assert (await call.read()).HasField("plan")
        await until(lambda: all(api.gateway.over))
        assert time.monotonic() - began > 1.4
        assert api.gateway.yielded[0] < PAGES // 2
        await api.works()
        assert await api.refusal(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = await rpc_status.aio.from_call(call)
        assert status is not None and "CALLER_TOO_SLOW" in str(status)
