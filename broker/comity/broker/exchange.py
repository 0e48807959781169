"""The pure state of one exchange: what was asked of whom, and what became of each.

    order accepted ─▶ each provider: awaited, or UNREACHABLE at once; once routed: announced
    announced ─▶ a receipt that verifies        ─▶ stamped with the receipt's own kind
              ─▶ a receipt that does not verify ─▶ BAD_RECEIPT
              ─▶ its link is lost               ─▶ UNREACHABLE
              ─▶ the asker cancels              ─▶ CANCELLED
              ─▶ the deadline passes            ─▶ TIMED_OUT
    every provider settled ─▶ account: each provider of the order exactly once, in its order

The first thing that happens to a provider stays: a later receipt never changes an outcome
(design 5). There is no clock, socket or log here; times come in as arguments.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto, unique
from typing import Final

from comity.v1 import account_pb2, audit_pb2, common_pb2

OutcomeKind = common_pb2.OutcomeKind

AWAITED: Final = common_pb2.OUTCOME_KIND_UNSPECIFIED
"""The kind of a provider of which nothing is known yet; never in an account."""

SIGNED_KINDS: Final = frozenset(
    {
        common_pb2.OUTCOME_KIND_RESPONDED,
        common_pb2.OUTCOME_KIND_REFUSED,
        common_pb2.OUTCOME_KIND_REFERRED,
        common_pb2.OUTCOME_KIND_RATE_LIMITED,
        common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE,
        common_pb2.OUTCOME_KIND_MALFORMED,
    }
)
"""Kinds that a provider may sign; every other one is attested by broker or gateway (design 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One provider of an order: its leaf, and the ceiling lodged for the pair."""

    provider: str
    query_digest: bytes
    ceiling: bytes
    agreement_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedOrder:
    """An order that passed every check of `orders.verify_order`. Providers in leaf order."""

    exchange_id: bytes
    requester: str
    digest: bytes
    issued_at: datetime
    deadline: datetime
    asked: tuple[Asked, ...]


@unique
class Arrival(Enum):
    """What a receipt's arrival means to an exchange."""

    FIRST = auto()
    """Nothing came from this provider before: judge it."""
    REPEATED = auto()
    """The same statement once more: ignore it."""
    CONTRADICTION = auto()
    """Another statement than the first: the provider says two things."""
    LATE = auto()
    """The provider was settled without a receipt before: ignore it, the account stands."""
    NOT_ANNOUNCED = auto()
    """The exchange was not announced to this provider: ignore it."""


@dataclass(slots=True, kw_only=True)
class _Standing:
    """What is known of one provider."""

    asked: Asked
    announced: bool
    kind: OutcomeKind
    statement: bytes | None = None
    stamp: account_pb2.Stamp | None = None
    contradicted: bool = False


class Exchange:
    """One exchange from its accepted order to its account.

    `present` are the agencies whose adapter has a link at that moment; every other provider is
    UNREACHABLE from the start.
    """

    __slots__ = ("_awaited", "_standing", "order", "routed_at")

    def __init__(self, order: AcceptedOrder, *, present: Collection[str], routed_at: datetime) -> None:
        self.order = order
        self.routed_at = routed_at
        self._standing = {
            asked.provider: _Standing(
                asked=asked,
                announced=False,
                kind=AWAITED if asked.provider in present else common_pb2.OUTCOME_KIND_UNREACHABLE,
            )
            for asked in order.asked
        }
        self._awaited = sum(1 for standing in self._standing.values() if standing.kind == AWAITED)

    @property
    def is_settled(self) -> bool:
        """Whether every provider has its outcome."""
        return self._awaited == 0

    @property
    def awaited(self) -> tuple[str, ...]:
        """Providers of which nothing is known yet, in leaf order."""
        return tuple(name for name, standing in self._standing.items() if standing.kind == AWAITED)

    def asked(self, provider: str) -> Asked:
        """Return what the order asks of a provider. Raises KeyError if it asks nothing of it."""
        return self._standing[provider].asked

    def announce(self) -> tuple[str, ...]:
        """Count all who are awaited as told, and return them: they are to be sent the announcement."""
        told = self.awaited
        for provider in told:
            self._standing[provider].announced = True
        return told

    def arrival(self, provider: str, statement: bytes) -> Arrival:
        """Say what it means that a receipt came on the link of `provider`.

        `statement` is the digest of what came: of the receipt's payload, so that a signature
        encoded another way is the same statement. The first one is remembered.
        A provider's contradictions after the first are reported as REPEATED, so that a provider
        cannot fill the log with them.
        """
        standing = self._standing.get(provider)
        if standing is None or not standing.announced:
            return Arrival.NOT_ANNOUNCED
        if standing.kind == AWAITED:
            standing.statement = statement
            return Arrival.FIRST
        if standing.statement is None:
            return Arrival.LATE
        if standing.statement == statement or standing.contradicted:
            return Arrival.REPEATED
        standing.contradicted = True
        return Arrival.CONTRADICTION

    def stamp(
        self, provider: str, *, kind: OutcomeKind, receipt_digest: bytes, now: datetime
    ) -> account_pb2.Stamp:
        """Settle a provider with its verified receipt, and return the stamp.

        Raises ValueError if the provider is settled, or if `kind` is none that a provider signs.
        """
        if kind not in SIGNED_KINDS:
            raise ValueError(f"a provider cannot sign outcome kind {kind}")
        standing = self._settle(provider, kind)
        stamp = account_pb2.Stamp(
            exchange_id=self.order.exchange_id,
            provider=provider,
            ceiling_marking=standing.asked.ceiling,
            receipt_digest=receipt_digest,
        )
        stamp.stamped_at.FromDatetime(now)
        standing.stamp = stamp
        return stamp

    def bad_receipt(self, provider: str) -> None:
        """Settle a provider whose receipt does not verify. Raises ValueError if it is settled."""
        self._settle(provider, common_pb2.OUTCOME_KIND_BAD_RECEIPT)

    def lost(self, provider: str) -> bool:
        """Settle a provider whose link is gone as UNREACHABLE; False if nothing was awaited of it."""
        standing = self._standing.get(provider)
        if standing is None or standing.kind != AWAITED:
            return False
        self._settle(provider, common_pb2.OUTCOME_KIND_UNREACHABLE)
        return True

    def expire(self) -> tuple[str, ...]:
        """Settle all who are awaited as TIMED_OUT, and return them: they are to be cancelled."""
        return self._settle_rest(common_pb2.OUTCOME_KIND_TIMED_OUT)

    def cancel(self) -> tuple[str, ...]:
        """Settle all who are awaited as CANCELLED, and return them: they are to be cancelled."""
        return self._settle_rest(common_pb2.OUTCOME_KIND_CANCELLED)

    def entries(self) -> tuple[account_pb2.AccountEntry, ...]:
        """Return every provider of the order exactly once, in leaf order.

        Raises ValueError while a provider is still awaited: an account never leaves one out.
        """
        if not self.is_settled:
            raise ValueError("an exchange is accounted for once every provider is settled")
        return tuple(
            account_pb2.AccountEntry(
                provider=name, kind=standing.kind, stamp=standing.stamp, announced=standing.announced
            )
            for name, standing in self._standing.items()
        )

    def outcomes(self) -> tuple[tuple[str, OutcomeKind], ...]:
        """Return every provider with what became of it, in leaf order."""
        return tuple((name, standing.kind) for name, standing in self._standing.items())

    def account(
        self, *, nonce: bytes, closed_at: datetime, promise: audit_pb2.LogPromise
    ) -> account_pb2.Account:
        """Return the account to be signed; `promise` is the log entry that holds it."""
        account = account_pb2.Account(
            nonce=nonce,
            exchange_id=self.order.exchange_id,
            requester=self.order.requester,
            order_digest=self.order.digest,
            entries=self.entries(),
            promise=promise,
        )
        account.routed_at.FromDatetime(self.routed_at)
        account.closed_at.FromDatetime(closed_at)
        return account

    def _settle(self, provider: str, kind: OutcomeKind) -> _Standing:
        standing = self._standing[provider]
        if standing.kind != AWAITED:
            raise ValueError(f"provider `{provider}` is settled")
        standing.kind = kind
        self._awaited -= 1
        return standing

    def _settle_rest(self, kind: OutcomeKind) -> tuple[str, ...]:
        rest = self.awaited
        for provider in rest:
            self._settle(provider, kind)
        return rest
