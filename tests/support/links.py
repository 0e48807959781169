"""Certificates of a small federation, and a real broker-side gRPC server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
from cryptography.hazmat.primitives.serialization import Encoding

from comity.certs.clock import utc_now
from comity.certs.x509 import IssuedLeaf, issue_leaf, make_ca
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig
from comity.links.errors import LinkRefused
from comity.links.frames import LinkLimits
from comity.links.server import LinkPeer, server_options
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import CloseReason, Hello, LinkFrame, LinkRequest, LinkResponse, Welcome
from comity.v1.link_pb2_grpc import BrokerServiceServicer, add_BrokerServiceServicer_to_server

BROKER_NAME = "broker.operator.example"


class CertAuthority:
    """One domain's CA, for tests."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.certificate, self.key = make_ca(domain, datetime.now(UTC), timedelta(days=30))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def leaf(self, path: str, *dns_names: str, lifetime: timedelta = timedelta(days=1)) -> IssuedLeaf:
        return issue_leaf(
            self.certificate,
            self.key,
            spiffe_id=f"spiffe://{self.domain}/{path}",
            dns_names=dns_names,
            now=datetime.now(UTC),
            lifetime=lifetime,
        )


@dataclass
class RecordingEvents:
    """Remembers what a link told its end."""

    welcomes: list[Welcome] = field(default_factory=list)
    ends: list[tuple[CloseReason, str]] = field(default_factory=list)
    got: list[LinkFrame] = field(default_factory=list)

    def linked(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)

    def unlinked(self, reason: CloseReason, text: str) -> None:
        self.ends.append((reason, text))

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        self.got += frames


@dataclass
class RecordingHandler:
    """A broker that accepts every end and remembers its links."""

    ends_at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=1))
    refuse_with: LinkRefused | None = None
    peers: list[LinkPeer] = field(default_factory=list)
    ends: list[tuple[CloseReason, str]] = field(default_factory=list)
    got: list[LinkFrame] = field(default_factory=list)
    messages: int = 0
    on_frames: Callable[[LinkPeer, Sequence[LinkFrame]], Awaitable[None] | None] | None = None

    async def greeted(self, peer: LinkPeer, hello: Hello) -> Welcome:
        if self.refuse_with is not None:
            raise self.refuse_with
        return peer.make_welcome(roster_version=3, ends_at=self.ends_at)

    def linked(self, peer: LinkPeer) -> None:
        self.peers.append(peer)

    def frames(self, peer: LinkPeer, frames: Sequence[LinkFrame]) -> Awaitable[None] | None:
        self.messages += 1
        self.got += frames
        return None if self.on_frames is None else self.on_frames(peer, frames)

    def unlinked(self, peer: LinkPeer, reason: CloseReason, text: str) -> None:
        self.ends.append((reason, text))


class LoopbackBroker(BrokerServiceServicer):
    """A real gRPC server with mutual TLS, whose links go to a `RecordingHandler`."""

    def __init__(self, authorities: dict[str, CertAuthority], limits: LinkLimits | None = None) -> None:
        self.authorities = authorities
        self.handler = RecordingHandler()
        self.limits = limits or LinkLimits()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def Link(
        self, request_iterator: object, context: grpc.aio.ServicerContext[LinkRequest, LinkResponse]
    ) -> None:
        await LinkPeer(context, self.handler, utc_now, limits=self.limits).run()

    async def start(self) -> None:
        operator = self.authorities["operator"]
        leaf = operator.leaf("broker", BROKER_NAME)
        roots = b"".join(authority.pem for authority in self.authorities.values())
        credentials = grpc.ssl_server_credentials(
            [(leaf.key_pem, leaf.chain_pem)], root_certificates=roots, require_client_auth=True
        )
        self._server = grpc.aio.server(options=server_options(self.limits))
        add_BrokerServiceServicer_to_server(self, self._server)
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        assert self._server is not None
        await self._server.stop(grace)

    def config(
        self, role: str = "gateway", agency: str = "cbp", leaf: IssuedLeaf | None = None
    ) -> LinkConfig:
        leaf = leaf or self.authorities[agency].leaf(role)
        return LinkConfig(
            broker=f"127.0.0.1:{self.port}",
            broker_name=BROKER_NAME,
            operator_ca_pem=self.authorities["operator"].pem,
            leaf_chain_pem=leaf.chain_pem,
            leaf_key_pem=leaf.key_pem,
            spiffe_id=f"spiffe://{agency}.example/{role}",
            role=EndRole.Value(f"END_ROLE_{role.upper()}"),
            roster_version=3,
        )

    def client(self, events: RecordingEvents, **options: object) -> LinkClient:
        quick = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=200))
        return LinkClient(self.config(**options), events, utc_now, limits=self.limits, backoff=quick)  # type: ignore[arg-type]


class FreezingPath:
    """A TCP path to the broker that can freeze: connections stay open, and no byte moves any more."""

    def __init__(self, port: int) -> None:
        self.to_port = port
        self.moving = asyncio.Event()
        self.moving.set()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self.to_port)
        for pair in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._carry(*pair))
            self._tasks.add(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.moving.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
