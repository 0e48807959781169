"""Whether an order is taken: every check between an `OrderPlacement` and its announcement.

In this order, each refusing with an `OrderRefusal` of its own:

1. sizes, and the envelope: signed by a statement key of the link's own agency that is valid now;
2. the order names that agency as its requester: nobody places another agency's order;
3. the exchange id is 16 bytes and was never placed before, under whatever signature: replay is
   keyed on what is signed, because ECDSA signatures can be encoded anew (design 3);
4. issued within the last 120 s (5 s of skew), deadline ahead by 120 s at most;
5. 1 to 64 leaves that stand under the order's root, each naming a provider that is not yet named;
6. each provider has lodged a ceiling for this requester: no agreement, no order.

Nothing in an order is content: who, when, and digests that a nonce keeps from being guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from comity.audit import merkle
from comity.broker.errors import OrderRefusal, OrderRefused
from comity.broker.exchange import AcceptedOrder, Asked
from comity.certs.envelope import Opened, open_envelope
from comity.certs.errors import EnvelopeInvalid
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.keys import VerifyKey
from comity.certs.words import agency_id
from comity.v1 import envelope_pb2, link_pb2, query_pb2

FRESHNESS: Final = timedelta(seconds=120)
"""How long an order is fresh after it was signed, and how far ahead its deadline may lie."""

REPLAY_MEMORY: Final = FRESHNESS + 2 * CLOCK_SKEW
"""How long an exchange id must be remembered after it was routed: an order issued `CLOCK_SKEW` ahead of
our clock is fresh until `FRESHNESS + CLOCK_SKEW` after its issue."""

MAX_PROVIDERS: Final = 64
ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
MAX_ORDER_BYTES: Final = 512
"""An honest order is about 150 bytes; there is no room to hide anything in it."""
MAX_LEAF_BYTES: Final = 128
"""An honest leaf is at most 86 bytes."""


class Ceiling(Protocol):
    """A ceiling marking that a provider lodged, and the agreement that it stands for."""

    @property
    def ceiling(self) -> bytes:
        """The serialized `Marking`, byte for byte as lodged."""

    @property
    def agreement_digest(self) -> bytes:
        """SHA-256 of the agreement's payload."""


CeilingOf = Callable[[str], Ceiling | None]
"""The ceiling that is lodged by a provider for the requester at hand, in force now, or None."""


def verify_order(
    placement: link_pb2.OrderPlacement,
    *,
    agency: str,
    statement_keys: Iterable[VerifyKey],
    seen: Callable[[bytes], bool],
    ceiling_of: CeilingOf,
    now: datetime,
) -> AcceptedOrder:
    """Return the order that `agency` places on its link, or raise OrderRefused.

    `statement_keys` are the agency's keys valid at `now`; `seen` tells whether an exchange id was
    placed before.
    """
    opened = _open(placement.order, statement_keys)
    order = opened.message
    exchange_id = order.exchange_id
    try:
        if order.requester != agency:
            raise OrderRefused(OrderRefusal.REQUESTER)
        if len(exchange_id) != ID_BYTES or len(order.nonce) != ID_BYTES:
            raise OrderRefused(OrderRefusal.MALFORMED)
        if seen(exchange_id):
            raise OrderRefused(OrderRefusal.REPLAYED)
        issued_at, deadline = _times(order, now)
        leaves = _leaves(order, placement.leaves)
        asked = tuple(_asked(leaf, ceiling_of) for leaf in leaves)
    except OrderRefused as refused:
        refused.exchange_id = exchange_id if len(exchange_id) == ID_BYTES else b""
        raise
    return AcceptedOrder(
        exchange_id=exchange_id,
        requester=agency,
        digest=opened.digest,
        issued_at=issued_at,
        deadline=deadline,
        asked=asked,
    )


def claimed_exchange_id(placement: link_pb2.OrderPlacement) -> bytes:
    """Return the exchange id that an order claims, verified or not, so that its sender can tell
    which of its orders was refused; empty if it cannot be read.
    """
    if len(placement.order.payload) > MAX_ORDER_BYTES:
        return b""
    try:
        claimed = query_pb2.Order.FromString(placement.order.payload).exchange_id
    except DecodeError:
        return b""
    return claimed if len(claimed) == ID_BYTES else b""


def _open(envelope: envelope_pb2.Envelope, keys: Iterable[VerifyKey]) -> Opened[query_pb2.Order]:
    if len(envelope.payload) > MAX_ORDER_BYTES:
        raise OrderRefused(OrderRefusal.MALFORMED, detail="the order is too large")
    try:
        return open_envelope(envelope, query_pb2.Order, keys)
    except EnvelopeInvalid as error:
        raise OrderRefused(OrderRefusal.SIGNATURE, detail=str(error)) from error


def _times(order: query_pb2.Order, now: datetime) -> tuple[datetime, datetime]:
    try:
        issued_at, deadline = to_instant(order, "issued_at"), to_instant(order, "deadline")
    except ValueError as error:
        raise OrderRefused(OrderRefusal.MALFORMED, detail=str(error)) from error
    if not now - FRESHNESS - CLOCK_SKEW <= issued_at <= now + CLOCK_SKEW:
        raise OrderRefused(OrderRefusal.STALE)
    if not now < deadline <= now + FRESHNESS + CLOCK_SKEW:
        raise OrderRefused(OrderRefusal.DEADLINE)
    return issued_at, deadline


def _leaves(order: query_pb2.Order, leaves: Sequence[bytes]) -> list[query_pb2.OrderLeaf]:
    if not 1 <= len(leaves) <= MAX_PROVIDERS or order.leaf_count != len(leaves):
        raise OrderRefused(OrderRefusal.PROVIDERS)
    if any(len(leaf) > MAX_LEAF_BYTES for leaf in leaves):
        raise OrderRefused(OrderRefusal.LEAVES)
    if merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]) != order.root:
        raise OrderRefused(OrderRefusal.LEAVES)
    try:
        parsed = [query_pb2.OrderLeaf.FromString(leaf) for leaf in leaves]
    except DecodeError as error:
        raise OrderRefused(OrderRefusal.LEAVES) from error
    for leaf in parsed:
        _check_leaf(leaf)
    if len({leaf.provider for leaf in parsed}) != len(parsed):
        raise OrderRefused(OrderRefusal.PROVIDERS)
    return parsed


def _check_leaf(leaf: query_pb2.OrderLeaf) -> None:
    """Refuse a leaf whose provider could not be an agency: its name goes into logs and replies."""
    try:
        agency_id(leaf.provider, "provider")
    except ValueError as error:
        raise OrderRefused(OrderRefusal.LEAVES, detail=str(error)) from error
    if len(leaf.query_digest) != DIGEST_BYTES or len(leaf.salt) != ID_BYTES:
        raise OrderRefused(OrderRefusal.LEAVES)


def _asked(leaf: query_pb2.OrderLeaf, ceiling_of: CeilingOf) -> Asked:
    lodged = ceiling_of(leaf.provider)
    if lodged is None:
        raise OrderRefused(OrderRefusal.NO_CEILING, provider=leaf.provider)
    return Asked(
        provider=leaf.provider,
        query_digest=leaf.query_digest,
        ceiling=lodged.ceiling,
        agreement_digest=lodged.agreement_digest,
    )
