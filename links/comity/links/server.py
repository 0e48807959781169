"""The broker's side of one link: greet, carry frames, say goodbye. Who may link is the broker's to judge.

A servicer's `Link` is one line: `await LinkPeer(context, handler, clock).run()`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import grpc.aio

from comity.certs.clock import Clock
from comity.links.frames import LinkLimits
from comity.v1.link_pb2 import CloseReason, Hello, LinkFrame, LinkRequest, LinkResponse, Welcome


def server_options(limits: LinkLimits | None = None) -> list[tuple[str, int]]:
    """Return the channel arguments of the broker's gRPC server: keepalive, and the cap on a message."""
    raise NotImplementedError


class LinkHandler(Protocol):
    """What the broker does with its links."""

    async def greeted(self, peer: LinkPeer, hello: Hello) -> Welcome:
        """Judge an end's greeting: verify `hello.chain`, whose leaf is already known to be the one of TLS.

        Return `peer.make_welcome(…)`; raise `LinkRefused` with the reason and the line that the end gets.
        The link is up for `send` as soon as this returns: `welcome` is always the first frame.
        """

    def linked(self, peer: LinkPeer) -> None:
        """Tell that the link is up; what is sent here follows `welcome` at once."""

    def frames(self, peer: LinkPeer, frames: Sequence[LinkFrame]) -> Awaitable[None] | None:
        """Take the frames of one message, in order. Nothing more is read until a returned awaitable is done.

        Raising `ProtocolViolation` closes the link with its reason.
        """

    def unlinked(self, peer: LinkPeer, reason: CloseReason, text: str) -> None:
        """Tell that a link that was up is over. Called exactly once for each `linked`."""


class LinkPeer:
    """One accepted stream.

    `hello` is set before `greeted`. Hashable by identity, so that it can be the key of a `SessionRelay`.
    """

    hello: Hello | None

    def __init__(
        self,
        context: grpc.aio.ServicerContext[LinkRequest, LinkResponse],
        handler: LinkHandler,
        clock: Clock,
        *,
        limits: LinkLimits | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""
        raise NotImplementedError

    def make_welcome(self, *, roster_version: int, ends_at: Any) -> Welcome:
        """Return the welcome with this link's limits; the link closes with RENEWAL at `ends_at` (aware)."""
        raise NotImplementedError

    async def run(self) -> None:
        """Serve the stream until it is over. The RPC ends when this returns.

        A refused greeting ends with a goodbye and a gRPC status whose details are its text.
        """
        raise NotImplementedError

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames, in order; never waits. Frames for a link that isn't up any more are let go.

        Raises `FrameTooLarge`. A queue that is over its limits closes the link with LIMIT.
        """
        raise NotImplementedError

    def close(self, reason: CloseReason, text: str) -> None:
        """Say goodbye after what is queued, and hang up; `unlinked` follows. Does nothing the second time."""
        raise NotImplementedError
