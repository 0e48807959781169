"""What can go wrong in the broker.

BrokerError
├── ConfigInvalid     the configuration is wrong; one line that says what would have been right
├── LinkRefused       an end's link is not opened; carries a `LinkRefusal`
├── OrderRefused      an order is not taken; carries an `OrderRefusal`
└── ReceiptRejected   a receipt is not stamped; the account says BAD_RECEIPT

`LinkRefused` and `OrderRefused` hold two texts: `detail` for the operator's own eyes, and the
catalogue's text, which is all that crosses the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from comity.v1 import link_pb2


class BrokerError(Exception):
    """Root of everything that the broker raises on purpose."""


class ConfigInvalid(BrokerError):
    """The configuration cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """What a peer is told: a gRPC status name, reasons for machines, a line for people."""

    status: str
    """The name of a gRPC status code."""
    reason: str
    """`google.rpc.ErrorInfo.reason`."""
    text: str
    """One line without anything internal."""
    close: link_pb2.CloseReason = link_pb2.CLOSE_REASON_CREDENTIALS
    """The reason in the link's goodbye."""
    retry_seconds: int = 0
    """After so many seconds it may be tried again; 0: nothing is said."""


@unique
class LinkRefusal(Enum):
    """Why a link does not open. The value is what the peer is told."""

    NO_HELLO = Public(
        status="INVALID_ARGUMENT",
        reason="NO_HELLO",
        text="the first frame of a link must be `hello`",
        close=link_pb2.CLOSE_REASON_PROTOCOL,
    )
    VERSION = Public(
        status="FAILED_PRECONDITION",
        reason="VERSION",
        text="this broker speaks protocol version 1",
        close=link_pb2.CLOSE_REASON_PROTOCOL,
    )
    ROLE = Public(
        status="INVALID_ARGUMENT",
        reason="ROLE",
        text="a link is a gateway's or an adapter's, as its identity says",
        close=link_pb2.CLOSE_REASON_PROTOCOL,
    )
    CERTIFICATE = Public(
        status="UNAUTHENTICATED",
        reason="CERTIFICATE",
        text="the certificate chain does not verify against the CA of its own domain",
    )
    IDENTITY = Public(
        status="UNAUTHENTICATED",
        reason="IDENTITY",
        text="the chain, the identity in `hello` and the certificate of the connection must be one",
    )
    TLS_VERSION = Public(status="UNAUTHENTICATED", reason="TLS_VERSION", text="a link needs TLS 1.3")
    RESUMED = Public(
        status="UNAUTHENTICATED",
        reason="RESUMED",
        text="a link needs a handshake of its own, and no resumed session",
    )
    REVOKED = Public(
        status="UNAUTHENTICATED",
        reason="REVOKED",
        text="the certificate, its key or the agency is revoked: a signed list says why",
        close=link_pb2.CLOSE_REASON_REVOKED,
    )
    NOT_A_MEMBER = Public(
        status="PERMISSION_DENIED", reason="NOT_A_MEMBER", text="the roster has no such member"
    )
    SUSPENDED = Public(status="PERMISSION_DENIED", reason="SUSPENDED", text="the member is suspended")
    NOT_THIS_ROLE = Public(
        status="PERMISSION_DENIED",
        reason="NOT_THIS_ROLE",
        text="the roster does not let this member ask with a gateway or provide with an adapter",
    )
    ROSTER_EXPIRED = Public(
        status="UNAVAILABLE",
        reason="ROSTER_EXPIRED",
        text="the roster at the broker is past its date",
        close=link_pb2.CLOSE_REASON_UNSPECIFIED,
    )
    LIMIT = Public(
        status="RESOURCE_EXHAUSTED",
        reason="LIMIT",
        text="no more links can be held now",
        close=link_pb2.CLOSE_REASON_LIMIT,
        retry_seconds=5,
    )
    STOPPING = Public(
        status="UNAVAILABLE",
        reason="STOPPING",
        text="the broker is stopping",
        close=link_pb2.CLOSE_REASON_SHUTDOWN,
    )
    LOG_CONTRADICTED = Public(
        status="PERMISSION_DENIED",
        reason="LOG_CONTRADICTED",
        text="this end's log contradicts what it showed before; only the broker's operator can lift that",
        close=link_pb2.CLOSE_REASON_LOG_CONTRADICTED,
    )
    LOG = Public(
        status="UNAVAILABLE",
        reason="LOG",
        text="the broker's log cannot be written, so nothing is opened",
        close=link_pb2.CLOSE_REASON_UNSPECIFIED,
    )


@unique
class OrderRefusal(Enum):
    """Why an order is not taken. The value is the line that the gateway is told."""

    MALFORMED = "the order is not well formed"
    SIGNATURE = "the order is not signed by a valid statement key of this link's agency"
    REQUESTER = "the order names another requester than this link's agency"
    NOT_A_GATEWAY = "orders are placed on a gateway's link"
    STALE = "the order was not issued within the last 120 seconds"
    DEADLINE = "the deadline must lie ahead, by 120 seconds at most"
    REPLAYED = "an exchange with this id was placed before"
    LEAVES = "the leaves do not stand under the order's root"
    PROVIDERS = "1 to 64 providers, each once"
    NO_CEILING = "no ceiling is lodged for a provider"
    LIMIT = "limit: too many exchanges of this agency are in flight"
    FULL = "limit: too many exchanges are in flight at this broker"
    ROSTER_EXPIRED = "the roster at the broker is past its date"
    KEY = "the broker's statement key is revoked, so nothing is routed until it has another"
    LOG = "the broker's log cannot be written, so nothing is routed"
    STOPPING = "the broker is stopping"

    @property
    def reason(self) -> link_pb2.OrderRejectionReason:
        """What a machine at the gateway is told."""
        match self:
            case OrderRefusal.MALFORMED | OrderRefusal.LEAVES | OrderRefusal.PROVIDERS:
                return link_pb2.ORDER_REJECTION_REASON_MALFORMED
            case OrderRefusal.SIGNATURE | OrderRefusal.REQUESTER | OrderRefusal.NOT_A_GATEWAY:
                return link_pb2.ORDER_REJECTION_REASON_NOT_THE_REQUESTER
            case OrderRefusal.STALE | OrderRefusal.DEADLINE:
                return link_pb2.ORDER_REJECTION_REASON_TIME
            case OrderRefusal.REPLAYED:
                return link_pb2.ORDER_REJECTION_REASON_REPLAYED
            case OrderRefusal.NO_CEILING:
                return link_pb2.ORDER_REJECTION_REASON_NO_CEILING
            case OrderRefusal.LIMIT | OrderRefusal.FULL:
                return link_pb2.ORDER_REJECTION_REASON_LIMIT
            case OrderRefusal.ROSTER_EXPIRED | OrderRefusal.KEY | OrderRefusal.LOG | OrderRefusal.STOPPING:
                return link_pb2.ORDER_REJECTION_REASON_UNAVAILABLE


class LinkRefused(BrokerError):
    """A link is refused; `refusal` is for the peer, `detail` for the operator."""

    def __init__(self, refusal: LinkRefusal, *, detail: str = "") -> None:
        self.refusal = refusal
        self.detail = detail or refusal.value.text
        super().__init__(f"link refused ({refusal.value.reason}): {self.detail}")


class OrderRefused(BrokerError):
    """An order is refused; `text` is for the gateway and holds agency ids at most.

    `exchange_id` is empty when the order could not be read.
    """

    def __init__(
        self, refusal: OrderRefusal, *, exchange_id: bytes = b"", provider: str = "", detail: str = ""
    ) -> None:
        self.refusal = refusal
        self.exchange_id = exchange_id
        self.provider = provider
        self.text = f"{refusal.value}: `{provider}`" if provider else refusal.value
        self.detail = detail or self.text
        super().__init__(f"order refused ({refusal.name}): {self.detail}")


class ReceiptRejected(BrokerError):
    """A receipt is not stamped; the text is for the operator and holds no content."""
