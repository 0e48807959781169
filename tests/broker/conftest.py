"""Orders and receipts for the broker's tests, made as ends make them; each fault is one changed field."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from comity.audit import merkle
from comity.broker.exchange import AcceptedOrder, Asked
from comity.certs.envelope import digest, seal
from comity.certs.keys import SigningKey
from comity.v1 import common_pb2, envelope_pb2, link_pb2, query_pb2, result_pb2

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lodged:
    """A ceiling as `comity.certs.agreements` gives it."""

    ceiling: bytes
    agreement_digest: bytes


@dataclass(slots=True, kw_only=True)
class Statements:
    """Makes what the ends of `sheriff`, `lapd` and `cbp` would sign at `NOW`."""

    keys: dict[str, SigningKey] = field(
        default_factory=lambda: {name: SigningKey.generate() for name in ("sheriff", "lapd", "cbp", "dea")}
    )

    def ceiling(self, provider: str) -> Lodged:
        return Lodged(ceiling=b"ceiling of " + provider.encode(), agreement_digest=digest(provider.encode()))

    def leaf(self, provider: str) -> query_pb2.OrderLeaf:
        return query_pb2.OrderLeaf(
            provider=provider, query_digest=secrets.token_bytes(32), salt=secrets.token_bytes(16)
        )

    def placement(
        self,
        *providers: str,
        requester: str = "sheriff",
        signed_by: str = "sheriff",
        exchange_id: bytes | None = None,
        issued: timedelta = timedelta(),
        lasts: timedelta = timedelta(seconds=10),
        now: datetime = NOW,
        change: Callable[[query_pb2.Order], None] = lambda order: None,
    ) -> link_pb2.OrderPlacement:
        leaves = [self.leaf(provider).SerializeToString() for provider in providers]
        order = query_pb2.Order(
            exchange_id=secrets.token_bytes(16) if exchange_id is None else exchange_id,
            requester=requester,
            roster_version=1,
            root=merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]),
            leaf_count=len(leaves),
            nonce=secrets.token_bytes(16),
        )
        order.issued_at.FromDatetime(now + issued)
        order.deadline.FromDatetime(now + lasts)
        change(order)
        return link_pb2.OrderPlacement(order=seal(order, self.keys[signed_by]), leaves=leaves)

    def accepted(self, *providers: str) -> AcceptedOrder:
        return AcceptedOrder(
            exchange_id=secrets.token_bytes(16),
            requester="sheriff",
            digest=secrets.token_bytes(32),
            issued_at=NOW,
            deadline=NOW + timedelta(seconds=10),
            asked=tuple(
                Asked(
                    provider=provider,
                    query_digest=secrets.token_bytes(32),
                    ceiling=self.ceiling(provider).ceiling,
                    agreement_digest=self.ceiling(provider).agreement_digest,
                )
                for provider in providers
            ),
        )

    def receipt(
        self,
        order: AcceptedOrder,
        provider: str,
        *,
        signed_by: str | None = None,
        change: Callable[[result_pb2.Receipt], None] = lambda receipt: None,
    ) -> envelope_pb2.Envelope:
        asked = next(asked for asked in order.asked if asked.provider == provider)
        receipt = result_pb2.Receipt(
            nonce=secrets.token_bytes(16),
            exchange_id=order.exchange_id,
            query_digest=asked.query_digest,
            provider=provider,
            requester=order.requester,
            kind=common_pb2.OUTCOME_KIND_RESPONDED,
            agreement_digest=asked.agreement_digest,
            ceiling_marking=asked.ceiling,
            content_root=secrets.token_bytes(32),
        )
        receipt.promise.origin = f"{provider}.example/adapter"
        receipt.signed_at.FromDatetime(order.issued_at + timedelta(seconds=1))
        change(receipt)
        return seal(receipt, self.keys[signed_by or provider])


@pytest.fixture(scope="session")
def statements() -> Statements:
    """Keys made once: P-256 keys don't wear."""
    return Statements()
