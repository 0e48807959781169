"""Whether an order is this peer's, for this provider, fresh, and about exactly these bytes.

Rules, in order; the first that fails decides, and each has its reason:

1. the order is signed by a statement key of the agency at the other end of the session, in force when
   it was signed: an order that another agency signed can't be brought by its carrier;
2. the broker announced the exchange, as this requester's: the middle has it in its account;
3. order and ask name one exchange, and the order names the session's peer as requester;
4. it was issued within 120 s (5 s of skew), and its deadline, at most 120 s later, has not passed;
5. the leaf names this provider, and stands under the order's root: nobody can pass a question that was
   meant for one provider to another;
6. the leaf's digest is that of the query's bytes as they came;
7. the query itself names the same exchange, requester and provider.

Pure: bytes and plain values in, a verified value or `Rejected` out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.message import DecodeError

from comity.adapters.errors import Rejected, RejectReason
from comity.audit import merkle
from comity.audit.errors import ProofInvalid
from comity.certs.envelope import digest, open_envelope
from comity.certs.errors import CertsError
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.roster import MemberView
from comity.v1.envelope_pb2 import Envelope
from comity.v1.link_pb2 import Announcement
from comity.v1.query_pb2 import Order, OrderLeaf, Query
from comity.v1.session_pb2 import Ask

FRESHNESS: Final = timedelta(seconds=120)
"""How long after signing an order is served, and so how long replays must be remembered."""

MAX_LEAVES: Final = 64
EXCHANGE_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """An order whose signature is the session peer's; nothing else of it is checked yet."""

    exchange_id: bytes
    requester: str
    issued_at: datetime
    deadline: datetime
    root: bytes
    leaf_count: int
    digest: bytes
    """SHA-256 of the order's payload."""

    @property
    def replay_until(self) -> datetime:
        """Until when a second arrival could still look fresh."""
        return self.issued_at + FRESHNESS + 2 * CLOCK_SKEW


def open_order(envelope: Envelope, member: MemberView) -> SignedOrder:
    """Return the order in `envelope`, signed by `member`; raise `Rejected` (forged) if it isn't (rule 1).

    By no key that is revoked, whenever the order says that it was signed.
    """
    keys = member.key_set.statement_keys
    try:
        opened = open_envelope(envelope, Order, [valid.key for valid in keys])
        order = opened.message
        issued_at, deadline = to_instant(order, "issued_at"), to_instant(order, "deadline")
    except (CertsError, ValueError) as error:
        raise Rejected(RejectReason.FORGED) from error
    if opened.key_id not in {key.key_id for key in member.believed_keys_at(issued_at)}:
        raise Rejected(RejectReason.FORGED)
    return SignedOrder(
        exchange_id=order.exchange_id,
        requester=order.requester,
        issued_at=issued_at,
        deadline=deadline,
        root=order.root,
        leaf_count=order.leaf_count,
        digest=opened.digest,
    )


def check_announced(order: SignedOrder, announcement: Announcement | None, *, peer: str) -> None:
    """Raise `Rejected` unless the broker announced this order as `peer`'s (rule 2)."""
    if announcement is None or announcement.requester != peer:
        raise Rejected(
            RejectReason.UNANNOUNCED, "exchange_id: the broker did not announce it; place the order first"
        )


def check_fresh(order: SignedOrder, *, now: datetime) -> None:
    """Raise `Rejected` unless the order is fresh and its deadline still to come (rule 4)."""
    if order.issued_at > now + CLOCK_SKEW:
        raise Rejected(RejectReason.EXPIRED, "order.issued_at: lies in the future")
    if order.issued_at < now - FRESHNESS - CLOCK_SKEW:
        raise Rejected(RejectReason.EXPIRED, "order.issued_at: older than 120 seconds; ask anew")
    if order.deadline <= now:
        raise Rejected(RejectReason.EXPIRED, "order.deadline: has passed")
    if order.deadline > order.issued_at + FRESHNESS:
        raise Rejected(RejectReason.MALFORMED, "order.deadline: at most 120 seconds after `issued_at`")


def check_addressed(order: SignedOrder, ask: Ask, *, peer: str, own: str) -> Query:
    """Return the query that `peer` ordered of `own` with this order, parsed but not yet validated.

    Raises `Rejected` (readdressed or malformed) by rules 3 and 5 to 7.
    """
    if len(order.exchange_id) != EXCHANGE_ID_BYTES or order.exchange_id != ask.exchange_id:
        raise Rejected(RejectReason.MALFORMED, "exchange_id: expected the 16 bytes of the order")
    if order.requester != peer:
        raise Rejected(RejectReason.READDRESSED, "order.requester: expected the agency of this session")
    if not 1 <= order.leaf_count <= MAX_LEAVES:
        raise Rejected(RejectReason.MALFORMED, f"order.leaf_count: expected 1 to {MAX_LEAVES}")
    leaf = _leaf(ask.inclusion.leaf)
    if leaf.provider != own:
        raise Rejected(RejectReason.READDRESSED, "inclusion.leaf: is addressed to another provider")
    try:
        merkle.verify_inclusion(
            leaf_hash=merkle.leaf_hash(ask.inclusion.leaf),
            index=ask.inclusion.index,
            size=order.leaf_count,
            path=tuple(ask.inclusion.path),
            root=order.root,
        )
    except ProofInvalid as error:
        raise Rejected(
            RejectReason.READDRESSED, "inclusion.path: does not lead from the leaf to the order's root"
        ) from error
    if leaf.query_digest != digest(ask.query):
        raise Rejected(RejectReason.READDRESSED, "query: its digest is not the one that was ordered")
    try:
        query = Query.FromString(ask.query)
    except DecodeError as error:
        raise Rejected(RejectReason.MALFORMED, "query: can't be parsed") from error
    named = (query.exchange_id, query.requester, query.provider)
    if named != (order.exchange_id, peer, own):
        raise Rejected(
            RejectReason.READDRESSED, "query: names another exchange, requester or provider than the order"
        )
    return query


def _leaf(data: bytes) -> OrderLeaf:
    """Return the leaf in `data`; raise `Rejected` if it is none."""
    try:
        return OrderLeaf.FromString(data)
    except DecodeError as error:
        raise Rejected(RejectReason.MALFORMED, "inclusion.leaf: can't be parsed") from error
