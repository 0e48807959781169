"""A real broker on loopback with real links: mTLS, frames, log, stop. Ends are bare `LinkClient`s."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.rpc import error_details_pb2
from grpc.experimental.session_cache import ssl_session_cache_lru
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.errors import LogKeyMismatch
from comity.audit.note import LogKey
from comity.audit.tiles import TileFolder
from comity.broker import server
from comity.broker.capture import FROM_END, TO_END, read_capture
from comity.broker.config import BrokerConfig, load_config
from comity.broker.errors import ConfigInvalid
from comity.broker.server import Broker
from comity.certs.agency import AgencyHome
from comity.certs.authority import remove, suspend
from comity.certs.clock import utc_now
from comity.certs.credentials import EndCredentials, load_end
from comity.certs.envelope import digest, open_envelope, seal
from comity.certs.lodgements import LodgementBook
from comity.certs.x509 import certificate_pem, issue_leaf, load_ca, make_ca, split_pem
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig
from comity.v1 import account_pb2, audit_pb2, common_pb2, envelope_pb2, link_pb2, query_pb2, result_pb2
from comity.v1.link_pb2_grpc import BrokerServiceStub
from tests.support import patience
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.minting import DNS, URI, Issuer, mint
from tests.support.relayed_tls import client_context, relayed

AGENCIES = ("sheriff", "lapd", "cbp", "ice")
ROLES = {"gateway": common_pb2.END_ROLE_GATEWAY, "adapter": common_pb2.END_ROLE_ADAPTER}
BROKER_NAME = "broker.operator.example"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """A federation made once; each test works on a copy."""
    return build_federation(tmp_path_factory.mktemp("federation"), utc_now(), AGENCIES, broker="127.0.0.1:0")


@dataclass
class Recorder:
    """What an end was told."""

    frames_seen: list[link_pb2.LinkFrame] = field(default_factory=list)
    ups: int = 0
    downs: list[tuple[int, str]] = field(default_factory=list)

    def linked(self, welcome: link_pb2.Welcome) -> None:
        self.ups += 1

    def unlinked(self, reason: link_pb2.CloseReason, text: str) -> None:
        self.downs.append((reason, text))

    def frames(self, frames: Sequence[link_pb2.LinkFrame]) -> None:
        self.frames_seen += frames

    def all(self, kind: str) -> list[link_pb2.LinkFrame]:
        return [frame for frame in self.frames_seen if frame.WhichOneof("frame") == kind]


async def until(condition: Callable[[], Any], what: str) -> None:
    for _ in range(int(100 * patience.SECONDS)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


@dataclass
class End:
    """A gateway or adapter that is nothing but its link."""

    agency: str
    credentials: EndCredentials
    client: LinkClient
    seen: Recorder

    async def wait_for(self, kind: str, count: int = 1) -> list[link_pb2.LinkFrame]:
        await until(lambda: len(self.seen.all(kind)) >= count, f"{count} × {kind} at {self.agency}")
        return self.seen.all(kind)

    def send(self, **frame: Any) -> None:
        self.client.send(link_pb2.LinkFrame(**frame))


class Stage:
    """A broker and the ends that a test calls for."""

    def __init__(self, made: FederationOnDisk, stack: AsyncExitStack) -> None:
        self.made = made
        self.stack = stack
        self.broker: Broker
        self.config: BrokerConfig = load_config(made.broker_home / "broker.toml")

    async def start(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        self.broker = await Broker.start(self.config)

    def link_config(self, agency: str, end: str, **changes: Any) -> LinkConfig:
        credentials = load_end(self.made.home(agency) / end)
        return replace(
            LinkConfig(
                broker=self.broker.address,
                broker_name=BROKER_NAME,
                operator_ca_pem=(self.made.root / "operator" / "ca.pem").read_bytes(),
                leaf_chain_pem=credentials.chain_pem,
                leaf_key_pem=credentials.key_pem,
                spiffe_id=credentials.spiffe_id,
                role=ROLES[end],
                roster_version=1,
            ),
            **changes,
        )

    async def end(self, agency: str, role: str, *, wait: bool = True, **changes: Any) -> End:
        seen = Recorder()
        client = LinkClient(
            self.link_config(agency, role, **changes),
            seen,
            utc_now,
            backoff=Backoff(first=timedelta(seconds=60), longest=timedelta(seconds=60), draw=lambda: 0.99),
        )
        task = asyncio.create_task(client.run())

        async def close() -> None:
            await client.close()
            await task

        self.stack.push_async_callback(close)
        end = End(agency, load_end(self.made.home(agency) / role), client, seen)
        if wait:
            await until(lambda: seen.ups, f"link of {agency}")
        return end

    async def refused(
        self, agency: str, end: str, options: Sequence[tuple[str, Any]] = (), **changes: Any
    ) -> tuple[grpc.StatusCode, str]:
        """Greet by hand and return status and `ErrorInfo` reason of the refusal."""
        config = self.link_config(agency, end, **changes)
        credentials = grpc.ssl_channel_credentials(
            config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem
        )
        options = [("grpc.ssl_target_name_override", BROKER_NAME), *options]
        chain = changes.get("chain") or split_pem(config.leaf_chain_pem)
        hello = link_pb2.Hello(versions=[1], spiffe_id=config.spiffe_id, role=config.role, chain=chain)
        async with grpc.aio.secure_channel(config.broker, credentials, options) as channel:
            call = BrokerServiceStub(channel).Link()
            await say(call, hello)
            async for _ in _read(call):
                pass
            code = await call.code()
            status = await rpc_status.aio.from_call(call)
        if status is None:
            return code, ""
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert status.code == code.value[0]
        return code, info.reason

    def logged(self) -> list[LoggedEntry]:
        folder = self.made.broker_home / "log"
        size = peek_checkpoint((folder / "checkpoint").read_bytes()).size
        return [parse_entry(leaf) for _, leaf in TileFolder(folder).all_entries(size)]


OVERTAKEN = (grpc.StatusCode.INTERNAL, "")
"""What gRPC tells, now and then, of a refusal that came before the greeting had left."""


async def say(call: Any, hello: link_pb2.Hello) -> None:
    """Greet by hand. Who is refused may be so before its greeting has left."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(link_pb2.LinkRequest(frames=[link_pb2.LinkFrame(hello=hello)]))


async def _read(call: Any) -> AsyncIterator[Any]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError:
        return


@pytest.fixture
async def stage(built: FederationOnDisk, tmp_path: Path) -> AsyncIterator[Stage]:
    shutil.copytree(built.root, tmp_path / "f")
    async with AsyncExitStack() as stack:
        opened = Stage(replace(built, root=tmp_path / "f"), stack)
        await opened.start()
        yield opened
        await stack.aclose()
        await opened.broker.stop()


def place(gateway: End, *providers: str, seconds: float = 10) -> tuple[bytes, dict[str, bytes]]:
    """Sign and place an order; return the exchange id and each provider's query digest."""
    digests = {p: digest(p.encode()) for p in providers}
    exchange_id = secrets.token_bytes(16)
    leaves = [
        query_pb2.OrderLeaf(
            provider=p, query_digest=digests[p], salt=secrets.token_bytes(16)
        ).SerializeToString()
        for p in providers
    ]
    order = query_pb2.Order(
        exchange_id=exchange_id,
        requester=gateway.agency,
        roster_version=1,
        root=merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]),
        leaf_count=len(leaves),
        nonce=secrets.token_bytes(16),
    )
    order.issued_at.FromDatetime(utc_now())
    order.deadline.FromDatetime(utc_now() + timedelta(seconds=seconds))
    envelope = seal(order, gateway.credentials.statement)
    gateway.send(order=link_pb2.OrderPlacement(order=envelope, leaves=leaves))
    return exchange_id, digests


def receipt(
    stage: Stage, adapter: End, exchange_id: bytes, query_digest: bytes, requester: str
) -> envelope_pb2.Envelope:
    federation = stage.made.federation(utc_now())
    lodged = LodgementBook.load(stage.made.lodgements, federation).ceiling(
        adapter.agency, requester, utc_now()
    )
    assert lodged is not None
    made = result_pb2.Receipt(
        nonce=b"n" * 16,
        exchange_id=exchange_id,
        query_digest=query_digest,
        provider=adapter.agency,
        requester=requester,
        kind=common_pb2.OUTCOME_KIND_RESPONDED,
        agreement_digest=lodged.agreement_digest,
        ceiling_marking=lodged.ceiling,
        content_root=b"r" * 32,
    )
    made.promise.origin = "x"
    made.signed_at.FromDatetime(utc_now())
    return seal(made, adapter.credentials.statement)


async def test_exchange_over_real_links(stage: Stage) -> None:
    """Order, announcement, receipt, stamp, signed account: over mTLS, with the absent one named."""
    gateway = await stage.end("sheriff", "gateway")
    adapter = await stage.end("lapd", "adapter")
    exchange_id, digests = place(gateway, "lapd", "cbp")
    (announced,) = await adapter.wait_for("announcement")
    assert announced.announcement.exchange_id == exchange_id
    assert announced.announcement.requester == "sheriff"
    envelope = receipt(stage, adapter, exchange_id, digests["lapd"], "sheriff")
    adapter.send(receipt=link_pb2.ReceiptDelivery(exchange_id=exchange_id, receipt=envelope))
    (stamped,) = await gateway.wait_for("stamp")
    assert stamped.stamp.receipt == envelope
    (delivered,) = await gateway.wait_for("account")
    operator = stage.made.federation(utc_now()).operator
    opened = open_envelope(
        delivered.account.account,
        account_pb2.Account,
        operator.key_set.statement_keys_at(utc_now()),
    )
    kinds = {entry.provider: entry.kind for entry in opened.message.entries}
    assert kinds == {
        "lapd": common_pb2.OUTCOME_KIND_RESPONDED,
        "cbp": common_pb2.OUTCOME_KIND_UNREACHABLE,
    }
    assert opened.message.entries[0].stamp == stamped.stamp.stamp
    assert opened.message.promise.origin == "operator.example/broker"


async def test_announcement_never_comes_after_what_follows_the_order(stage: Stage) -> None:
    """Records that a gateway sends after its order reach the adapter after the announcement."""
    gateway = await stage.end("sheriff", "gateway")
    adapter = await stage.end("lapd", "adapter")
    gateway.send(session_open=link_pb2.SessionOpen(reference=7, peer="lapd", lane=link_pb2.LANE_INTERACTIVE))
    (opened,) = await gateway.wait_for("session_open")
    session = opened.session_open.session_id
    assert opened.session_open.reference == 7
    for number in range(5):
        place(gateway, "lapd")
        data = link_pb2.SessionData(session_id=session, sequence=number, records=b"\x17record")
        gateway.send(session_data=data)
    await adapter.wait_for("session_data", 5)
    order = [frame.WhichOneof("frame") for frame in adapter.seen.frames_seen]
    for number in range(1, 6):
        nth_announcement = [i for i, kind in enumerate(order) if kind == "announcement"][number - 1]
        nth_data = [i for i, kind in enumerate(order) if kind == "session_data"][number - 1]
        assert nth_announcement < nth_data


async def test_session_without_a_lodged_ceiling_is_closed_for_want_of_agreement(stage: Stage) -> None:
    """ICE and LAPD have no agreement: the broker carries no byte between them."""
    gateway = await stage.end("ice", "gateway")
    adapter = await stage.end("lapd", "adapter")
    gateway.send(session_open=link_pb2.SessionOpen(reference=1, peer="lapd", lane=link_pb2.LANE_INTERACTIVE))
    (closed,) = await gateway.wait_for("session_close")
    assert closed.session_close.reason == link_pb2.CLOSE_REASON_NO_AGREEMENT
    place(gateway, "lapd")
    (rejected,) = await gateway.wait_for("order_rejection")
    assert "`lapd`" in rejected.order_rejection.text
    assert not adapter.seen.all("announcement")
    assert not adapter.seen.all("session_open")


async def test_gateways_are_told_who_comes_and_goes(stage: Stage) -> None:
    """Presence after the welcome, and again whenever an adapter's link opens or ends."""
    gateway = await stage.end("sheriff", "gateway")
    assert list((await gateway.wait_for("presence"))[-1].presence.providers) == []
    adapter = await stage.end("lapd", "adapter")
    assert list((await gateway.wait_for("presence", 2))[-1].presence.providers) == ["lapd"]
    await adapter.client.close()
    assert list((await gateway.wait_for("presence", 3))[-1].presence.providers) == []


async def test_newest_link_of_an_end_takes_the_place_of_the_older(stage: Stage) -> None:
    """A restarted adapter is not locked out by its own dead link; the older one is told why it ends."""
    gateway = await stage.end("sheriff", "gateway")
    older = await stage.end("lapd", "adapter")
    newer = await stage.end("lapd", "adapter")
    await until(lambda: older.seen.downs, "goodbye to the older link")
    assert older.seen.downs[0][0] == link_pb2.CLOSE_REASON_RENEWAL
    place(gateway, "lapd")
    await newer.wait_for("announcement")
    assert not older.seen.all("announcement")


async def test_another_agencys_ca_that_mints_this_agencys_name_is_refused(stage: Stage) -> None:
    """gRPC accepts any member's CA; the broker verifies the leaf again under its own domain's CA alone."""
    certificate, key = load_ca(stage.made.home("cbp") / "ca.pem", stage.made.home("cbp") / "ca.key")
    own = issue_leaf(
        certificate, key, spiffe_id="spiffe://cbp.example/gateway", now=utc_now(), lifetime=timedelta(days=1)
    )
    answer = await stage.refused("lapd", "gateway", leaf_chain_pem=own.chain_pem, leaf_key_pem=own.key_pem)
    assert answer == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE")


async def test_chain_of_another_end_without_its_key_is_refused(stage: Stage) -> None:
    """Who shows `lapd`'s chain over `cbp`'s connection has not got `lapd`'s key."""
    cbp = load_end(stage.made.home("cbp") / "gateway")
    config = stage.link_config("lapd", "gateway")
    credentials = grpc.ssl_channel_credentials(config.operator_ca_pem, cbp.key_pem, cbp.chain_pem)
    hello = link_pb2.Hello(
        versions=[1], spiffe_id=config.spiffe_id, role=config.role, chain=split_pem(config.leaf_chain_pem)
    )
    options = [("grpc.ssl_target_name_override", BROKER_NAME)]
    async with grpc.aio.secure_channel(config.broker, credentials, options) as channel:
        call = BrokerServiceStub(channel).Link()
        await say(call, hello)
        async for _ in _read(call):
            pass
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        status = await rpc_status.aio.from_call(call)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == "IDENTITY"
    await until(
        lambda: [e for e in stage.logged() if e.kind == "link_refused"], "the refusal stands in the log"
    )


async def test_role_that_the_certificate_does_not_name_is_refused(stage: Stage) -> None:
    """An adapter's leaf opens no gateway's link; a member that doesn't provide has no adapter."""
    assert await stage.refused("lapd", "adapter", role=common_pb2.END_ROLE_GATEWAY) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "ROLE",
    )
    ice = AgencyHome.load(stage.made.home("ice"))
    certificate, key = load_ca(ice.home / "ca.pem", ice.home / "ca.key")
    leaf = issue_leaf(
        certificate, key, spiffe_id="spiffe://ice.example/adapter", now=utc_now(), lifetime=timedelta(days=1)
    )
    answer = await stage.refused(
        "ice",
        "gateway",
        role=common_pb2.END_ROLE_ADAPTER,
        spiffe_id="spiffe://ice.example/adapter",
        leaf_chain_pem=leaf.chain_pem,
        leaf_key_pem=leaf.key_pem,
    )
    assert answer == (grpc.StatusCode.PERMISSION_DENIED, "NOT_THIS_ROLE")


async def test_operators_own_leaf_is_no_member(stage: Stage) -> None:
    """The operator runs the broker; it can't open an end's link to it."""
    operator = stage.made.root / "operator"
    certificate, key = load_ca(operator / "ca.pem", operator / "ca.key")
    spiffe_id = "spiffe://operator.example/gateway"
    leaf = issue_leaf(certificate, key, spiffe_id=spiffe_id, now=utc_now(), lifetime=timedelta(days=1))
    answer = await stage.refused(
        "lapd", "gateway", spiffe_id=spiffe_id, leaf_chain_pem=leaf.chain_pem, leaf_key_pem=leaf.key_pem
    )
    assert answer == (grpc.StatusCode.PERMISSION_DENIED, "NOT_A_MEMBER")


async def test_member_that_is_suspended_loses_its_link_and_gets_no_other(stage: Stage) -> None:
    """A newer roster closes the links that it touches, and those alone."""
    gateway = await stage.end("sheriff", "gateway")
    adapter = await stage.end("lapd", "adapter")
    suspend(stage.made.root, "lapd", utc_now())
    await until(lambda: adapter.seen.downs, "the suspended member's link is closed")
    assert adapter.seen.downs[0][0] == link_pb2.CLOSE_REASON_CREDENTIALS
    assert not gateway.seen.downs
    assert await stage.refused("lapd", "gateway") == (grpc.StatusCode.PERMISSION_DENIED, "SUSPENDED")
    remove(stage.made.root, "lapd", utc_now())
    await until(
        lambda: [e.public["roster"] for e in stage.logged() if e.kind == "roster_activated"] == [3, 4],
        "the roster without it stands in the log",
    )
    refused = await stage.refused("lapd", "gateway")
    assert refused == (grpc.StatusCode.UNAVAILABLE, ""), "its CA is nobody's: no TLS with it"
    await until(
        lambda: [e for e in stage.logged() if e.kind == "roster_activated"], "the roster stands in the log"
    )


async def test_real_listener_takes_no_bad_leaf(stage: Stage) -> None:
    """Of LAPD's own CA and of another's, each with one fault: none gets a link, in TLS or behind it."""
    home = stage.made.home("lapd")
    ours = Issuer(*load_ca(home / "ca.pem", home / "ca.key"))
    now = utc_now()
    names = (URI("spiffe://lapd.example/adapter"), DNS("adapter.lapd.example"))
    good: dict[str, Any] = {"start": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
    stranger = Issuer(*make_ca("lapd.example", now, timedelta(days=9)))
    rsa_key = rsa.generate_private_key(65537, 2048)
    faults: list[tuple[Issuer, tuple[x509.GeneralName, ...], dict[str, Any]]] = [
        (ours, names, {"end": now - timedelta(minutes=1)}),
        (ours, names, {"start": now + timedelta(minutes=30)}),
        (ours, (*names, URI("spiffe://lapd.example/gateway")), {}),
        (ours, (*names, DNS("broker.operator.example")), {}),
        (ours, names, {"extended": [ExtendedKeyUsageOID.CLIENT_AUTH]}),
        (ours, names, {"key": rsa_key}),
        (stranger, names, {}),
    ]
    for issuer, spoken, fault in faults:
        key = fault.pop("key", None) or ec.generate_private_key(ec.SECP256R1())
        leaf = mint(issuer, *spoken, key=key, **(good | fault))
        pem = certificate_pem(x509.load_der_x509_certificate(leaf)) + certificate_pem(issuer.certificate)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        changes = {"leaf_chain_pem": pem, "leaf_key_pem": secret}
        try:
            code, _ = await stage.refused("lapd", "adapter", **changes)
        except grpc.aio.AioRpcError as error:
            code = error.code()
        assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED), fault
    assert not [entry for entry in stage.logged() if entry.kind == "link_opened"]
    await stage.end("lapd", "adapter")


async def test_resumed_tls_opens_no_link(stage: Stage) -> None:
    """A client that keeps a ticket skips the handshake's proof; TLS lets it in, and it gets no link."""
    ticket = [("grpc.ssl_session_cache", ssl_session_cache_lru(4)), ("grpc.use_local_subchannel_pool", 1)]
    stranger = {"spiffe_id": "spiffe://lapd.example/adapter"}
    first = await stage.refused("lapd", "gateway", ticket, **stranger)
    assert first[1] not in ("", "RESUMED")
    for _ in range(20):
        again = await stage.refused("lapd", "gateway", ticket, **stranger)
        if again != OVERTAKEN:
            break
    assert again == (grpc.StatusCode.UNAUTHENTICATED, "RESUMED")
    assert not [entry for entry in stage.logged() if entry.kind == "link_opened"]


@pytest.mark.long
@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_link_over_tls_1_2_is_refused(stage: Stage, most: ssl.TLSVersion) -> None:
    """A real end with its own leaf, whose TLS is 1.2 at most; the same way with TLS 1.3 it has its link."""
    home = stage.made.home("lapd") / "adapter" / "keys"
    operator = (stage.made.root / "operator" / "ca.pem").read_bytes()
    context = client_context(
        ca_pem=operator, chain=str(home / "leaf.pem"), key=str(home / "leaf.key"), most=most
    )
    hello = link_pb2.Hello(
        versions=[1],
        spiffe_id="spiffe://lapd.example/adapter",
        role=ROLES["adapter"],
        chain=split_pem((home / "leaf.pem").read_bytes()),
    )
    async with (
        relayed(stage.broker.address, context, name=BROKER_NAME) as (address, versions),
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = BrokerServiceStub(channel).Link()
        await say(call, hello)
        if most is ssl.TLSVersion.TLSv1_3:
            answer = await call.read()
            assert answer.frames[0].HasField("welcome") and versions == ["TLSv1.3"]
            return
        code = await call.code()
        status = await rpc_status.aio.from_call(call)
    if versions and code is not OVERTAKEN[0]:
        # gRPC was in use in this process before it was told to refuse the handshake
        assert versions == ["TLSv1.2"] and status is not None and "TLS_VERSION" in str(status.details[0])
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED, OVERTAKEN[0])
    assert not [entry for entry in stage.logged() if entry.kind == "link_opened"]


async def test_checkpoints_travel_both_ways_once(stage: Stage) -> None:
    """An end gets the broker's checkpoint, and its own is logged; a forged one is not."""
    adapter = await stage.end("lapd", "adapter")
    (got,) = (await adapter.wait_for("checkpoint"))[:1]
    assert peek_checkpoint(got.checkpoint.note).origin == "operator.example/broker"
    origin = "lapd.example/adapter"
    forged = Checkpoint(origin=origin, size=9, root=b"f" * 32).sign(LogKey.generate(origin))
    key = LogKey.load(adapter.credentials.log_key, origin)
    good = Checkpoint(origin=origin, size=3, root=b"g" * 32).sign(key)
    for note in (forged, good, good):
        adapter.send(checkpoint=audit_pb2.Checkpoint(note=note))
    await until(lambda: [e for e in stage.logged() if e.kind == "checkpoint_seen"], "it is logged")
    seen = [entry.public["size"] for entry in stage.logged() if entry.kind == "checkpoint_seen"]
    assert seen == [3]


async def test_stop_says_goodbye_accounts_and_logs(stage: Stage) -> None:
    """An orderly stop leaves nobody waiting: account, goodbye, `stopped` as the log's last entry."""
    gateway = await stage.end("sheriff", "gateway")
    await stage.end("lapd", "adapter")
    place(gateway, "lapd")
    await until(lambda: len([e for e in stage.logged() if e.kind == "routed"]) == 1, "routed")
    await stage.broker.stop()
    assert gateway.seen.downs[0][0] == link_pb2.CLOSE_REASON_SHUTDOWN
    assert gateway.seen.all("account")
    kinds = [entry.kind for entry in stage.logged() if entry.kind != "checkpoint_seen"]
    links = ["link_opened"] * 2, ["link_closed"] * 2
    assert kinds == ["started", *links[0], "routed", "accounted", *links[1], "stopped"]
    await stage.start()


async def test_health_is_served_to_members_alone(stage: Stage) -> None:
    """The health service answers over the same mutual TLS, and to nobody without a certificate."""
    config = stage.link_config("lapd", "adapter")
    options = [("grpc.ssl_target_name_override", BROKER_NAME)]
    request = health_pb2.HealthCheckRequest(service="comity.v1.BrokerService")
    member = grpc.ssl_channel_credentials(config.operator_ca_pem, config.leaf_key_pem, config.leaf_chain_pem)
    async with grpc.aio.secure_channel(config.broker, member, options) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stranger = grpc.ssl_channel_credentials(config.operator_ca_pem)
    async with grpc.aio.secure_channel(config.broker, stranger, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(request, timeout=3)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_capture_holds_what_travelled_and_warns(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """With `capture` on, the bytes of every message are kept, whole, and the start says so loudly."""
    await stage.broker.stop()
    folder = stage.made.broker_home / "capture"
    await stage.start(capture=folder)
    assert "CAPTURE IS ON" in caplog.text
    gateway = await stage.end("sheriff", "gateway")
    exchange_id, _ = place(gateway, "lapd")
    await gateway.wait_for("account")
    messages = list(read_capture(folder))
    requests = [link_pb2.LinkRequest.FromString(m) for direction, m in messages if direction == FROM_END]
    responses = [link_pb2.LinkResponse.FromString(m) for direction, m in messages if direction == TO_END]
    assert [f.WhichOneof("frame") for m in requests for f in m.frames] == ["hello", "order"]
    assert any(f.WhichOneof("frame") == "account" for m in responses for f in m.frames)
    assert any(exchange_id in message for _, message in messages)


async def test_wrong_keys_are_told_in_one_line(stage: Stage) -> None:
    """A broker whose keys aren't those of the roster doesn't start, and says which file it is."""
    await stage.broker.stop()
    keys = stage.made.broker_home / "keys"
    saved = (keys / "statement.key").read_bytes()
    shutil.copy(stage.made.home("lapd") / "adapter" / "keys" / "statement.key", keys / "statement.key")
    with pytest.raises(ConfigInvalid, match=r"keys/statement\.key"):
        await Broker.start(stage.config)
    (keys / "statement.key").write_bytes(saved)
    await stage.start()


async def test_port_that_is_taken_is_told_in_one_line(stage: Stage) -> None:
    """Two brokers never share a port in silence, as gRPC would let them."""
    taken = stage.broker.address
    await stage.broker.stop()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigInvalid, match="cannot be bound"):
            await Broker.start(replace(stage.config, listen=listen))
    assert not [entry for entry in stage.logged() if entry.kind == "started"][1:]
    await stage.start(listen=taken)


async def test_suspended_member_is_cut_off_though_the_log_key_cannot_be_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file or disk that fails the broker keeps no link up that a newer roster ends."""

    async def fails(*arguments: object) -> None:
        raise LogKeyMismatch("the key can't be read")

    adapter = await stage.end("lapd", "adapter")
    monkeypatch.setattr(server, "follow_roster", fails)
    suspend(stage.made.root, "lapd", utc_now())
    await until(lambda: adapter.seen.downs, "the suspended member's link is closed")


def test_tls_configuration_that_comes_while_one_is_fetched_is_not_lost() -> None:
    """gRPC asks on a thread of its own: what the event loop writes between a read and a write counts."""

    class Raced:
        coming: ClassVar[list[str]] = ["first", "second"]
        now: str | None = None
        _told_tls: str | None = None

        @property
        def _newest_tls(self) -> str | None:
            read, self.now = self.now, self.coming.pop(0) if self.coming else self.now
            return read

        @_newest_tls.setter
        def _newest_tls(self, value: str | None) -> None:
            self.now = value

    raced: Any = Raced()
    assert [Broker._fetch_tls(raced) for _ in range(4)] == [None, "first", "second", None]
