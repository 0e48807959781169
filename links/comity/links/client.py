"""An end's side of a link: dial the broker, greet, carry frames, dial again when the link is lost.

Gateways and adapters each run one `LinkClient`. What comes is given to `LinkEvents` as plain calls, one
for all the frames of a message; what goes is queued by `send`, which never waits, and leaves in as few
messages as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from comity.certs.clock import Clock
from comity.links.backoff import Backoff
from comity.links.frames import LinkLimits
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import CloseReason, LinkFrame, Welcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What an end needs to open its link."""

    broker: str
    """Where the broker listens, `host:port`."""
    broker_name: str
    """The DNS name that the broker's certificate must have, `broker.operator.example`."""
    operator_ca_pem: bytes
    """The operator's CA, PEM: the only root that this link trusts."""
    leaf_chain_pem: bytes
    """The end's certificate chain, PEM, leaf first."""
    leaf_key_pem: bytes = field(repr=False)
    """The leaf's private key, PKCS#8 PEM."""
    spiffe_id: str
    """The end's SPIFFE id, byte for byte that of its leaf."""
    role: EndRole
    """`END_ROLE_GATEWAY` or `END_ROLE_ADAPTER`."""
    roster_version: int
    """The version of the roster that the end has."""


class LinkEvents(Protocol):
    """What an end is told of its link. Plain calls on the event loop: they must be quick and not raise."""

    def linked(self, welcome: Welcome) -> None:
        """Tell that the link is up, from now `send` works. The first call of each link."""

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """Tell that the link that was up is over: `reason` is the broker's or UNSPECIFIED for a lost one."""

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take the frames of one message, in order: all but `welcome` and `goodbye`."""


class LinkClient:
    """One end's link: `run()` keeps it up until `close()`."""

    def __init__(
        self,
        config: LinkConfig,
        events: LinkEvents,
        clock: Clock,
        *,
        limits: LinkLimits | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Raise `ConfigUnusable` if the chain is no PEM certificates."""
        raise NotImplementedError

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""
        raise NotImplementedError

    async def run(self) -> None:
        """Dial, and dial again with backoff and jitter whenever the link is lost, until `close()`.

        A refused or failed attempt is logged in one line and tried again: it never raises for what the
        broker or the network does.
        """
        raise NotImplementedError

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames, in order; never waits.

        Raises `LinkDown` when there is no link, `FrameTooLarge` for a frame that may never be sent (then
        none of these frames is). A queue that is over its limits closes the link with LIMIT.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Say goodbye with SHUTDOWN after what is queued, hang up, and let `run()` return."""
        raise NotImplementedError
