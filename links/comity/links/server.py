"""The broker's side of one link: greet, carry frames, say goodbye. Who may link is the broker's to judge.

A servicer's `Link` is one line: `await LinkPeer(context, handler, clock).run()`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.timestamp_pb2 import Timestamp

from comity.certs.clock import Clock
from comity.links.errors import LinkRefused
from comity.links.frames import PROTOCOL_VERSION, LinkLimits, reason_name
from comity.links.state import Delivered, Ended, Event, Greeted, Linked, LinkMachine, LinkState
from comity.links.stream import LinkStream, channel_options
from comity.v1.link_pb2 import CloseReason, Hello, LinkFrame, LinkRequest, LinkResponse, Welcome

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[LinkRequest, LinkResponse]

_STATUS = {
    CloseReason.CLOSE_REASON_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    CloseReason.CLOSE_REASON_PROTOCOL: grpc.StatusCode.INVALID_ARGUMENT,
    CloseReason.CLOSE_REASON_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloseReason.CLOSE_REASON_IDLE: grpc.StatusCode.DEADLINE_EXCEEDED,
    CloseReason.CLOSE_REASON_SHUTDOWN: grpc.StatusCode.UNAVAILABLE,
}


def server_options(limits: LinkLimits | None = None) -> list[tuple[str, int]]:
    """Return the channel arguments of the broker's gRPC server: keepalive, and the cap on a message."""
    return channel_options(limits or LinkLimits())


class LinkHandler(Protocol):
    """What the broker does with its links."""

    async def greeted(self, peer: LinkPeer, hello: Hello) -> Welcome:
        """Judge an end's greeting: verify `hello.chain`, whose leaf is already known to be the one of TLS.

        Return `peer.make_welcome(…)`; raise `LinkRefused` with the reason and the line that the end gets.
        The peer may be gone when this returns: `linked` tells that it is not.
        """

    def linked(self, peer: LinkPeer) -> None:
        """Tell that the link is up; what is sent from here on follows `welcome`."""

    def frames(self, peer: LinkPeer, frames: Sequence[LinkFrame]) -> Awaitable[None] | None:
        """Take the frames of one message, in order. Nothing more is read until a returned awaitable is done.

        Raising `ProtocolViolation` closes the link with its reason, any other exception as a fault.
        """

    def unlinked(self, peer: LinkPeer, reason: CloseReason, text: str) -> None:
        """Tell that a link that was up is over. Called exactly once for each `linked`."""


class LinkPeer:
    """One accepted stream.

    `hello` is set once the end has greeted, `max_frame_bytes` is the largest frame that may be sent.
    Hashable by identity, so that it can be the key of a `SessionRelay`.
    """

    def __init__(
        self, context: _Context, handler: LinkHandler, clock: Clock, *, limits: LinkLimits | None = None
    ) -> None:
        self.hello: Hello | None = None
        self._context = context
        self._handler = handler
        self._clock = clock
        self._limits = limits or LinkLimits()
        self._released: asyncio.Event | None = None
        self._machine = LinkMachine(limits=self._limits, hello=None)
        self._stream = LinkStream(self._machine, _ContextTransport(context), clock, self._on_event)

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""
        return self._machine.state is LinkState.UP

    @property
    def waiting(self) -> int:
        """Frames that wait to be written to this end."""
        return self._machine.waiting

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written to this end."""
        return self._machine.waiting_bytes

    def hold(self) -> None:
        """Have frames of this link wait until `release`: those of an older link of its end come first."""
        self._released = asyncio.Event()

    def release(self) -> None:
        """Hand on what waited, and all that comes."""
        if self._released is not None:
            self._released.set()

    async def _held(self, released: asyncio.Event, frames: Sequence[LinkFrame]) -> None:
        await released.wait()
        waiting = self._handler.frames(self, frames)
        if waiting is not None:
            await waiting

    def make_welcome(self, *, roster_version: int, ends_at: datetime, follows: bool = False) -> Welcome:
        """Return the welcome with this link's limits; the link closes with RENEWAL at `ends_at` (aware)."""
        if ends_at.tzinfo is None:
            raise ValueError("the link's end needs an aware time")
        ends = Timestamp()
        ends.FromDatetime(ends_at)
        return Welcome(
            version=PROTOCOL_VERSION,
            session_window=self._limits.session_window,
            max_frame_bytes=self._limits.max_frame_bytes,
            roster_version=roster_version,
            ends_at=ends,
            follows=follows,
            takes_revocations=True,
        )

    async def run(self) -> None:
        """Serve the stream until it is over. The RPC ends when this returns.

        A link that this side ends has, after the goodbye, a gRPC status whose details are the same line.
        """
        await self._stream.run()

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames, in order; never waits. Frames for a link that isn't up any more are let go.

        Raises `FrameTooLarge`. A queue that is over its limits closes the link with LIMIT.
        """
        if frames and self.is_up:
            self._stream.send(frames)

    def close(self, reason: CloseReason, text: str) -> None:
        """Say goodbye after what is queued, with `text` as its public line, and hang up.

        `unlinked` follows on the loop's next turn. Does nothing the second time.
        """
        self._stream.close(reason, text)

    def _on_event(self, event: Event) -> Awaitable[None] | None:
        match event:
            case Greeted(hello=hello):
                return self._greet(hello)
            case Linked():
                self._handler.linked(self)
            case Delivered(frames=frames):
                if self._released is not None and not self._released.is_set():
                    return self._held(self._released, frames)
                return self._handler.frames(self, frames)
            case Ended(reason=reason, text=text, was_up=was_up, public=public):
                if self._machine.state is LinkState.CLOSING:
                    self._context.set_code(_STATUS.get(reason, grpc.StatusCode.UNAVAILABLE))
                    self._context.set_details(public)
                if was_up:
                    self._handler.unlinked(self, reason, text)
                else:
                    _log.info("link was not accepted: %s, %s", reason_name(reason), text)
        return None

    async def _greet(self, hello: Hello) -> None:
        self.hello = hello
        if not hello.chain or hello.chain[0] != transport_leaf(self._context):
            text = "the chain's leaf is not the certificate of the connection"
            raise LinkRefused(CloseReason.CLOSE_REASON_CREDENTIALS, text)
        welcome = await self._handler.greeted(self, hello)
        for event in self._machine.welcome(welcome, self._clock()):
            self._on_event(event)


class _ContextTransport:
    """The servicer's context, as a `Transport`."""

    def __init__(self, context: _Context) -> None:
        self._context = context

    async def read(self) -> Sequence[LinkFrame] | None:
        try:
            message = await self._context.read()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return None
        return message.frames if isinstance(message, LinkRequest) else None

    async def write(self, frames: Sequence[LinkFrame]) -> bool:
        try:
            await self._context.write(LinkResponse(frames=frames))
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return False
        return True

    async def finish(self) -> None:
        """Do nothing: the RPC ends when the servicer returns."""


def transport_leaf(context: _Context) -> bytes:
    """Return the certificate, DER, whose key the other side of the connection has proven to hold.

    Raises `LinkRefused` when there is none: the server must require client certificates.
    """
    found = list(context.auth_context().get("x509_pem_cert", []))
    if len(found) != 1:
        raise LinkRefused(CloseReason.CLOSE_REASON_CREDENTIALS, "a link needs a client certificate")
    return x509.load_pem_x509_certificate(found[0]).public_bytes(Encoding.DER)
