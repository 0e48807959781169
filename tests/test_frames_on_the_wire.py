"""Garbage over real gRPC and real mTLS: at the gateway's API, at the broker's link, at an end's link.

Each gets the error of the catalogue, nothing is logged as a fault, and the next honest caller is served. What
gRPC itself refuses, by size, it refuses before any of our code.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.broker.config import load_config as load_broker
from comity.broker.server import Broker
from comity.certs.assertions import DemoIdentityProvider
from comity.certs.clock import utc_now
from comity.certs.credentials import load_end
from comity.certs.instants import from_instant
from comity.certs.x509 import load_ca, split_pem
from comity.gateway import server as gateway_server
from comity.gateway.config import load_config as load_gateway
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig
from comity.v1 import common_pb2, link_pb2, query_service_pb2
from tests.certs.test_leaf_verification import P256, Issuer, mint
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.garbage import garbage
from tests.support.links import RecordingEvents

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Code = grpc.StatusCode


def as_is(data: bytes) -> bytes:
    return data


@dataclass
class Served:
    """A broker and the sheriff's gateway on loopback."""

    made: FederationOnDisk
    broker: Broker
    gateway: str

    def request(self, **changes: Any) -> query_service_pb2.SearchRequest:
        now = utc_now()
        return query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
            period=common_pb2.Period(start=from_instant(now - timedelta(days=2)), end=from_instant(now)),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="26-0417",
            reason_text="series of burglaries",
            for_self=True,
            timeout={"seconds": 1},
            **changes,
        )

    def channel(self, leaf: bytes | None = None, key: bytes | None = None) -> grpc.aio.Channel:
        folder = self.made.client_config("sheriff").parent
        credentials = grpc.ssl_channel_credentials(
            (self.made.home("sheriff") / "ca.pem").read_bytes(),
            key or (folder / "leaf.key").read_bytes(),
            leaf or (folder / "leaf.pem").read_bytes(),
        )
        options = [("grpc.ssl_target_name_override", "gateway.sheriff.example")]
        return grpc.aio.secure_channel(self.gateway, credentials, options)

    async def call(
        self, channel: grpc.aio.Channel, raw: bytes, authorization: str | None = None
    ) -> tuple[grpc.StatusCode, str, list[query_service_pb2.SearchResponse]]:
        """Send these bytes as a request; return status, the catalogue's reason and what was answered."""
        if authorization is None:
            authorization = f"Bearer {self.made.assertion('sheriff', utc_now())}"
        search = channel.unary_stream(
            "/comity.v1.QueryService/Search", request_serializer=as_is, response_deserializer=as_is
        )
        got: list[query_service_pb2.SearchResponse] = []
        try:
            async for data in search(raw, metadata=(("authorization", authorization),)):
                got.append(query_service_pb2.SearchResponse.FromString(data))
        except grpc.aio.AioRpcError as error:
            for name, value in error.trailing_metadata() or ():
                if name == "grpc-status-details-bin":
                    info = error_details_pb2.ErrorInfo()
                    status = status_pb2.Status.FromString(value)  # type: ignore[arg-type]
                    assert any(detail.Unpack(info) for detail in status.details)
                    return error.code(), info.reason, got
            return error.code(), "", got
        return Code.OK, "", got

    def link(self) -> grpc.aio.Channel:
        """The channel of LAPD's adapter to the broker."""
        leaf = load_end(self.made.adapter_home("lapd"))
        credentials = grpc.ssl_channel_credentials(self.operator_ca, leaf.key_pem, leaf.chain_pem)
        options = [("grpc.ssl_target_name_override", "broker.operator.example")]
        return grpc.aio.secure_channel(self.broker.address, credentials, options)

    @property
    def operator_ca(self) -> bytes:
        return (self.made.root / "operator" / "ca.pem").read_bytes()

    @property
    def hello(self) -> bytes:
        leaf = load_end(self.made.adapter_home("lapd"))
        hello = link_pb2.Hello(
            versions=[1],
            spiffe_id=leaf.spiffe_id,
            role=common_pb2.END_ROLE_ADAPTER,
            chain=split_pem(leaf.chain_pem),
            roster_version=1,
        )
        return link_pb2.LinkRequest(frames=[link_pb2.LinkFrame(hello=hello)]).SerializeToString()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    made = build_federation(tmp_path_factory.mktemp("wire") / "f", utc_now(), ("sheriff", "lapd"))
    broker = await Broker.start(replace(load_broker(made.broker_home / "broker.toml"), listen="127.0.0.1:0"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    config = load_gateway(made.gateway_home("sheriff") / "gateway.toml")
    config = replace(config, listen=listen, broker=broker.address)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(gateway_server.serve(config, ready=lambda line: ready.set(), stop=stop))
    await ready.wait()
    yield Served(made, broker, listen)
    stop.set()
    await serving
    await broker.stop()


@pytest.fixture(autouse=True)
def no_fault_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a stranger sends is an error of ours: neither of the product nor within gRPC."""
    caplog.set_level(logging.WARNING)
    yield
    found = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [f"{record.name}: {record.getMessage()}" for record in found] == []


# -- the gateway's API -------------------------------------------------------------------------------


GOOD_REQUEST = query_service_pb2.SearchRequest(
    plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
    case_number="26-0417",
    reason_text="series of burglaries",
    providers=["lapd"],
).SerializeToString()


@EXAMPLES
@given(raw=garbage(GOOD_REQUEST))
async def test_request_of_any_bytes_gets_the_catalogues_answer(served: Served, raw: bytes) -> None:
    """By a person who may ask: REQUEST_INVALID with the fields that are missing, or too large for gRPC."""
    async with served.channel() as channel:
        code, reason, got = await served.call(channel, raw)
    assert (code, reason) in ((Code.INVALID_ARGUMENT, "REQUEST_INVALID"), (Code.RESOURCE_EXHAUSTED, ""))
    assert got == []


@EXAMPLES
@given(token=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=400))
async def test_any_authorization_that_is_no_assertion_is_unauthenticated(served: Served, token: str) -> None:
    """Whatever stands in the metadata; the line that comes back doesn't repeat it."""
    async with served.channel() as channel:
        code, reason, got = await served.call(channel, GOOD_REQUEST, f"Bearer {token}".strip())
    assert (code, reason, got) == (Code.UNAUTHENTICATED, "ASSERTION_INVALID", [])


async def test_assertion_for_another_certificate_or_past_its_time_is_unauthenticated(served: Served) -> None:
    """A copied assertion is worth nothing on another connection (RFC 8705), an old one on none."""
    made, now = served.made, utc_now()
    leaf = load_end(made.gateway_home("sheriff"))
    copied = DemoIdentityProvider(made.home("sheriff") / "idp").issue(
        made.user("sheriff"), split_pem(leaf.chain_pem)[0], now
    )
    old = made.assertion("sheriff", now - timedelta(minutes=20))
    foreign = made.assertion("lapd", now)
    async with served.channel() as channel:
        for assertion in (copied, old, foreign):
            code, reason, _ = await served.call(channel, GOOD_REQUEST, f"Bearer {assertion}")
            assert (code, reason) == (Code.UNAUTHENTICATED, "ASSERTION_INVALID")


SYSTEM = "spiffe://sheriff.example/system/desk"


@pytest.mark.parametrize(
    "names",
    [
        (SYSTEM, "spiffe://sheriff.example/system/other"),
        (SYSTEM.replace("sheriff", "Sheriff"),),
        (SYSTEM.replace(".example", ".example:443"),),
        ("spiffe://sheriff.example/adapter",),
        ("spiffe://sheriff.example/system",),
    ],
    ids=["two SPIFFE ids", "other case", "a port", "another end", "no system"],
)
async def test_certificate_that_is_not_exactly_a_systems_is_unauthenticated(
    served: Served, names: tuple[str, ...]
) -> None:
    """The agency's own CA signed it, and gRPC let it in: the leaf is judged again, byte for byte."""
    code, reason = await _with_leaf(served, *(x509.UniformResourceIdentifier(name) for name in names))
    assert (code, reason) == (Code.UNAUTHENTICATED, "ASSERTION_INVALID")


async def test_mail_address_beside_a_systems_name_is_unauthenticated(served: Served) -> None:
    """A kind of name that constraints don't mention would be free for anybody's use."""
    names = x509.UniformResourceIdentifier(SYSTEM), x509.RFC822Name("desk@sheriff.example")
    assert (await _with_leaf(served, *names))[0] == Code.UNAUTHENTICATED


async def test_systems_name_alone_passes_the_same_tool(served: Served) -> None:
    """Without an oddity only the assertion is wrong, which is bound to another leaf: the tests above hold."""
    code, _ = await _with_leaf(served, x509.UniformResourceIdentifier(SYSTEM), bound=True)
    assert code == Code.INVALID_ARGUMENT


async def _with_leaf(served: Served, *names: x509.GeneralName, bound: bool = False) -> tuple[Code, str]:
    home, now = served.made.home("sheriff"), utc_now()
    ca = Issuer(*load_ca(home / "ca.pem", home / "ca.key"))
    der = mint(ca, *names, start=now - timedelta(minutes=1), end=now + timedelta(hours=1))
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    key = P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    idp = DemoIdentityProvider(home / "idp")
    assertion = idp.issue(served.made.user("sheriff"), der, now)
    async with served.channel(pem, key) as channel:
        code, reason, _ = await served.call(channel, GOOD_REQUEST, f"Bearer {assertion}")
    return code, reason


async def test_honest_request_is_served_after_all_that(served: Served) -> None:
    """Plan and summary come: that LAPD has no link now is the answer, not an error of the API."""
    async with served.channel() as channel, asyncio.timeout(60):
        reason = "BROKER_UNAVAILABLE"
        while reason == "BROKER_UNAVAILABLE":  # its own link may still be on its way
            code, reason, got = await served.call(channel, served.request().SerializeToString())
    assert [message.WhichOneof("part") for message in got] == ["plan", "outcome", "summary"], (code, reason)
    assert got[1].outcome.kind == common_pb2.OUTCOME_KIND_UNREACHABLE


# -- the broker's link ---------------------------------------------------------------------------------


GOOD_FRAMES = link_pb2.LinkRequest(
    frames=[
        link_pb2.LinkFrame(session_data=link_pb2.SessionData(session_id=1, sequence=0, records=b"r" * 60)),
        link_pb2.LinkFrame(session_credit=link_pb2.SessionCredit(session_id=1, bytes=60)),
        link_pb2.LinkFrame(session_close=link_pb2.SessionClose(session_id=1)),
    ]
).SerializeToString()


async def _dial(served: Served, *messages: bytes) -> tuple[grpc.StatusCode, list[str]]:
    """Send these messages on a link of LAPD's adapter; return its status and the frames that came."""
    words: list[str] = []
    async with served.link() as channel:
        call = channel.stream_stream(
            "/comity.v1.BrokerService/Link", request_serializer=as_is, response_deserializer=as_is
        )()
        try:
            for number, data in enumerate(messages):
                await call.write(data)
                if number == 0 and len(messages) > 1:
                    words += _words(await call.read())
            await call.done_writing()
            while (data := await call.read()) is not grpc.aio.EOF:
                words += _words(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        return await call.code(), words


def _words(data: bytes) -> list[str]:
    return [str(frame.WhichOneof("frame")) for frame in link_pb2.LinkResponse.FromString(data).frames]


@EXAMPLES
@given(raw=garbage(GOOD_FRAMES, large=1_500_000))
async def test_first_message_of_any_bytes_opens_no_link(served: Served, raw: bytes) -> None:
    """From an end that was not admitted: a goodbye and INVALID_ARGUMENT, or too large for gRPC."""
    code, words = await _dial(served, raw)
    if raw:
        assert (code, words) in ((Code.INVALID_ARGUMENT, ["goodbye"]), (Code.RESOURCE_EXHAUSTED, []))
    else:  # a message without a frame says nothing, and so did its end
        assert (code, words) == (Code.OK, [])


@EXAMPLES
@given(raw=garbage(GOOD_FRAMES, large=1_500_000))
async def test_any_bytes_of_an_admitted_end_cost_at_most_its_link(served: Served, raw: bytes) -> None:
    """Welcomed, then garbage: what is no frame ends the link with a goodbye, what is one is ignored."""
    code, words = await _dial(served, served.hello, raw)
    assert words[0] == "welcome"
    assert code in (Code.OK, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
    if code == Code.INVALID_ARGUMENT:
        assert words[-1] == "goodbye"


async def test_undecodable_message_is_answered_as_a_broken_protocol(served: Served) -> None:
    """Before and after the welcome: the end reads why, as of every other fault of its own."""
    assert await _dial(served, b"\xff\xff") == (Code.INVALID_ARGUMENT, ["goodbye"])
    code, words = await _dial(served, served.hello, b"\x0b" * 30_000)
    assert code == Code.INVALID_ARGUMENT and words[-1] == "goodbye"


async def test_honest_end_is_welcomed_after_all_that(served: Served) -> None:
    """The broker serves the next one."""
    code, words = await _dial(served, served.hello, link_pb2.LinkRequest().SerializeToString())
    assert code == Code.OK and words[0] == "welcome"


# -- an end's link ---------------------------------------------------------------------------------------


@dataclass
class FalseBroker:
    """What LAPD's adapter dials: it answers with whatever bytes a test says."""

    answers: list[bytes] = field(default_factory=list)
    dialled: int = 0
    address: str = ""

    async def link(self, requests: object, context: Any) -> None:
        await context.read()
        self.dialled += 1
        for data in self.answers:
            await context.write(data)
        await context.read()


WELCOME = link_pb2.LinkResponse(
    frames=[
        link_pb2.LinkFrame(
            welcome=link_pb2.Welcome(
                version=1, session_window=1 << 20, max_frame_bytes=1 << 19, roster_version=1
            )
        )
    ]
).SerializeToString()
GOOD_ANSWER = link_pb2.LinkResponse(
    frames=[
        link_pb2.LinkFrame(presence=link_pb2.Presence(providers=["lapd"])),
        link_pb2.LinkFrame(session_open=link_pb2.SessionOpen(session_id=1, peer="sheriff", lane=1)),
        link_pb2.LinkFrame(session_data=link_pb2.SessionData(session_id=1, records=b"r" * 50)),
    ]
).SerializeToString()


@pytest_asyncio.fixture(loop_scope="module")
async def false_broker(served: Served) -> AsyncIterator[FalseBroker]:
    """It has the broker's own key and certificate: what it says is all that is wrong with it."""
    broker = FalseBroker()
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(
        broker.link, request_deserializer=as_is, response_serializer=as_is
    )
    handler = grpc.method_handlers_generic_handler("comity.v1.BrokerService", {"Link": method})
    server.add_generic_rpc_handlers((handler,))
    own = load_end(served.made.broker_home)
    lapd = (served.made.home("lapd") / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(own.key_pem, own.chain_pem)], lapd, True)
    broker.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    yield broker
    await server.stop(0)


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(served: Served, false_broker: FalseBroker) -> AsyncIterator[RecordingEvents]:
    leaf, events = load_end(served.made.adapter_home("lapd")), RecordingEvents()
    config = LinkConfig(
        broker=false_broker.address,
        broker_name="broker.operator.example",
        operator_ca_pem=served.operator_ca,
        leaf_chain_pem=leaf.chain_pem,
        leaf_key_pem=leaf.key_pem,
        spiffe_id=leaf.spiffe_id,
        role=common_pb2.END_ROLE_ADAPTER,
        roster_version=1,
    )
    quick = Backoff(first=timedelta(milliseconds=1), longest=timedelta(milliseconds=1))
    client = LinkClient(config, events, utc_now, backoff=quick)
    running = asyncio.create_task(client.run())
    yield events
    await client.close()
    await running


@pytest.mark.parametrize("welcomed", [False, True], ids=["instead of the welcome", "after the welcome"])
@EXAMPLES
@given(raw=garbage(GOOD_ANSWER, large=1_500_000))
async def test_any_bytes_of_a_broker_cost_an_end_at_most_its_link(
    false_broker: FalseBroker, adapter: RecordingEvents, raw: bytes, welcomed: bool
) -> None:
    """Its link ends with the protocol broken, or goes on; it dials again by itself either way."""
    false_broker.answers = [WELCOME, raw] if welcomed else [raw]
    dialled = false_broker.dialled
    false_broker.answers.append(b"\xff\xff")  # ends every link that is still there
    async with asyncio.timeout(30):
        while false_broker.dialled < dialled + 2:
            await asyncio.sleep(0.002)


async def test_honest_broker_is_linked_with_after_all_that(
    false_broker: FalseBroker, adapter: RecordingEvents
) -> None:
    """The next welcome is taken."""
    false_broker.answers = [b"\xff\xff"]
    async with asyncio.timeout(30):
        while false_broker.dialled < 2:
            await asyncio.sleep(0.002)
        false_broker.answers = [WELCOME]
        while not adapter.welcomes:
            await asyncio.sleep(0.002)
