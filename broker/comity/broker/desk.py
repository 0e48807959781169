"""The exchanges in flight: placed, announced, stamped, accounted.

Everything that the broker does about an exchange passes here, in this order: an order is checked
(`orders`), remembered against replay, logged durably as `routed`, and only then announced; receipts
are checked (`receipts`) and stamped as they arrive; once every provider is settled, the account is
logged durably, signed and delivered. The desk knows links only as `Post`, which delivers frames.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Protocol

from opentelemetry.trace import Span, SpanKind

from comity.audit.errors import AuditError
from comity.audit.log import Promise, SignedLog
from comity.broker import journal
from comity.broker.errors import OrderRefusal, OrderRefused, ReceiptRejected
from comity.broker.exchange import AcceptedOrder, Arrival, Exchange
from comity.broker.orders import claimed_exchange_id, verify_order
from comity.broker.receipts import verify_receipt
from comity.broker.replay import SeenExchanges
from comity.broker.scribe import Scribe
from comity.broker.telemetry import METERING, TRACING, count_outcomes
from comity.broker.trust import Trust
from comity.certs.clock import Clock
from comity.certs.envelope import digest, seal
from comity.certs.keys import SigningKey
from comity.links.telemetry.context import parse_traceparent, traceparent
from comity.links.telemetry.facts import facts, outcome_name
from comity.links.telemetry.metrics import Stopwatch
from comity.links.telemetry.spans import NO_SPAN, failed
from comity.v1 import audit_pb2, common_pb2, link_pb2

logger = logging.getLogger("comity.broker")

LinkFrame = link_pb2.LinkFrame


class Post(Protocol):
    """Delivers frames to the ends that have a link now; to one that has none, nothing."""

    def to_gateway(self, agency: str, *frames: LinkFrame) -> None:
        """Send frames to an agency's gateway."""

    def to_adapter(self, agency: str, *frames: LinkFrame) -> None:
        """Send frames to an agency's adapter."""

    def present(self) -> Collection[str]:
        """Agencies whose adapter has a link now."""


class ExchangeDesk:
    """All exchanges in flight of one broker."""

    def __init__(
        self,
        *,
        post: Post,
        trust: Trust,
        log: SignedLog,
        scribe: Scribe,
        seen: SeenExchanges,
        key: SigningKey,
        clock: Clock,
        max_per_agency: int,
        max_exchanges: int,
    ) -> None:
        self._post = post
        self._trust = trust
        self._log = log
        self._scribe = scribe
        self._seen = seen
        self.key = key
        """The statement key in force: it signs accounts."""
        self._clock = clock
        self._max_per_agency = max_per_agency
        self._max_exchanges = max_exchanges
        self._exchanges: dict[bytes, Exchange] = {}
        self._in_flight: dict[str, int] = {}
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._spans: dict[bytes, Span] = {}
        self._stopping = False

    def __len__(self) -> int:
        """Return how many exchanges are in flight."""
        return len(self._exchanges)

    async def place(
        self, agency: str, placements: Sequence[link_pb2.OrderPlacement], traceparents: Sequence[str] = ()
    ) -> None:
        """Take the orders of one message from an agency's gateway, with one append for all of them.

        When this returns, every provider of an accepted order that has a link has been told. `traceparents`
        are those of their frames, in the same order, or none.
        """
        accepted: list[Exchange] = []
        for placement, parent in zip(placements, traceparents or [""] * len(placements), strict=True):
            try:
                accepted.append(self._admit(agency, placement, parent))
            except OrderRefused as refused:
                self._refuse(agency, placement, refused)
        if not accepted:
            return
        try:
            await self._log_routed(accepted)
        except AuditError as error:
            logger.error("orders refused, log cannot be written: %s", error)
            for exchange in accepted:
                self._drop(exchange)
                self._end_span(exchange, "log_unwritable")
                unlogged = OrderRefused(OrderRefusal.LOG)
                self._reject(agency, exchange.order.exchange_id, unlogged)
            return
        for exchange in accepted:
            self._announce(exchange)

    def receipt(self, provider: str, delivery: link_pb2.ReceiptDelivery, parent: str = "") -> None:
        """Take a receipt that came on the link of `provider`'s adapter; `parent` is the frame's context."""
        exchange = self._exchanges.get(delivery.exchange_id)
        if exchange is None:
            return
        statement = digest(delivery.receipt.payload)
        match exchange.arrival(provider, statement):
            case Arrival.FIRST:
                self._judge(exchange, provider, delivery, parent)
            case Arrival.CONTRADICTION:
                logger.warning("`%s` made two statements about one exchange", provider)
                entry = journal.contradiction(
                    self._clock(), peer=provider, exchange_id=delivery.exchange_id, statement=statement
                )
                self._scribe.write(entry)
            case Arrival.REPEATED | Arrival.LATE | Arrival.NOT_ANNOUNCED:
                pass

    def cancel(self, agency: str, exchange_id: bytes) -> None:
        """End an exchange at the word of the agency that placed it; of any other, nothing happens."""
        exchange = self._exchanges.get(exchange_id)
        if exchange is None or exchange.order.requester != agency:
            return
        self._tell_cancelled(exchange, exchange.cancel(), deadline_passed=False)
        self._close(exchange, "cancelled")

    def gateway_lost(self, agency: str) -> None:
        """Cancel every exchange of an agency whose gateway has no link any more."""
        mine = [i for i, exchange in self._exchanges.items() if exchange.order.requester == agency]
        for exchange_id in mine:
            self.cancel(agency, exchange_id)

    def adapter_lost(self, agency: str) -> None:
        """Settle, in every exchange that awaits it, a provider whose adapter's link is gone."""
        for exchange in list(self._exchanges.values()):
            if exchange.lost(agency):
                self._close_if_settled(exchange)

    def stop(self) -> None:
        """Take no more orders, and account for every exchange in flight: their links end now."""
        self._stopping = True
        for exchange in list(self._exchanges.values()):
            waiting = exchange.awaited
            for provider in waiting:
                exchange.lost(provider)
            self._tell_cancelled(exchange, waiting, deadline_passed=False)
            self._close(exchange, "shutdown")

    def _admit(self, agency: str, placement: link_pb2.OrderPlacement, parent: str) -> Exchange:
        """Take one order, with the span that lasts until its account; raise OrderRefused."""
        span = TRACING.begin(
            "exchange",
            parent=parse_traceparent(parent),
            kind=SpanKind.SERVER,
            facts=facts(requester=agency),
        )
        try:
            with TRACING.step(span, "verify order"):
                exchange = self._take(agency, placement)
        except OrderRefused as refused:
            failed(span, refused.refusal.name.lower())
            span.end()
            raise
        order = exchange.order
        span.set_attributes(facts(exchange=order.exchange_id, asked=len(order.asked)))
        self._spans[order.exchange_id] = span
        return exchange

    async def _log_routed(self, exchanges: Sequence[Exchange]) -> None:
        """Make it durable that these exchanges were routed."""
        watch = Stopwatch()
        with ExitStack() as steps:
            for exchange in exchanges:
                steps.enter_context(TRACING.step(self._span(exchange), "log routed"))
            await self._log.append(*(journal.routed(exchange) for exchange in exchanges))
        METERING.appended(watch.seconds)

    def _take(self, agency: str, placement: link_pb2.OrderPlacement) -> Exchange:
        now = self._clock()
        if self._stopping:
            raise OrderRefused(OrderRefusal.STOPPING)
        if not self._trust.is_current(now):
            raise OrderRefused(OrderRefusal.ROSTER_EXPIRED)
        if not self._trust.may_sign(self.key.public):  # nobody would believe the account
            raise OrderRefused(OrderRefusal.KEY)
        self._require_room(agency)  # before any signature is verified: a flood must cost less than an order
        order = verify_order(
            placement,
            agency=agency,
            statement_keys=self._trust.statement_keys(agency, now),
            seen=lambda exchange_id: self._seen.has(exchange_id, now),
            ceiling_of=lambda provider: self._trust.ceiling(provider=provider, requester=agency, now=now),
            now=now,
        )
        return self._open(order, now)

    def _require_room(self, agency: str) -> None:
        if self._in_flight.get(agency, 0) >= self._max_per_agency:
            raise OrderRefused(OrderRefusal.LIMIT)
        if len(self._exchanges) >= self._max_exchanges:
            raise OrderRefused(OrderRefusal.FULL)

    def _open(self, order: AcceptedOrder, now: datetime) -> Exchange:
        """Enter an exchange before its log entry is awaited: a second one must find it already."""
        self._seen.add(order.exchange_id, now)
        exchange = Exchange(order, present=self._post.present(), routed_at=now)
        self._exchanges[order.exchange_id] = exchange
        self._in_flight[order.requester] = self._in_flight.get(order.requester, 0) + 1
        return exchange

    def _announce(self, exchange: Exchange) -> None:
        order = exchange.order
        if order.exchange_id not in self._exchanges:
            return
        announcement = link_pb2.Announcement(exchange_id=order.exchange_id, requester=order.requester)
        announcement.deadline.FromDatetime(order.deadline)
        with TRACING.step(self._span(exchange), "announce") as step:
            frame = LinkFrame(announcement=announcement, traceparent=traceparent(step))
            for provider in exchange.announce():
                self._post.to_adapter(provider, frame)
        seconds = (order.deadline - self._clock()).total_seconds()
        timer = asyncio.get_running_loop().call_later(max(seconds, 0), self._deadline, order.exchange_id)
        self._timers[order.exchange_id] = timer
        self._close_if_settled(exchange)

    def _judge(
        self, exchange: Exchange, provider: str, delivery: link_pb2.ReceiptDelivery, parent: str
    ) -> None:
        now = self._clock()
        step = TRACING.child(
            self._span(exchange),
            "stamp",
            links=(parse_traceparent(parent),),
            facts=facts(exchange=exchange.order.exchange_id, provider=provider),
        )
        try:
            opened = verify_receipt(
                delivery,
                order=exchange.order,
                asked=exchange.asked(provider),
                statement_keys=self._trust.statement_keys(provider, now),
                now=now,
            )
        except ReceiptRejected as rejected:
            logger.warning("receipt of `%s` is not stamped: %s", provider, rejected)
            failed(step, rejected)
            exchange.bad_receipt(provider)
            outcome = outcome_name(common_pb2.OUTCOME_KIND_BAD_RECEIPT)
        else:
            stamp = exchange.stamp(provider, kind=opened.message.kind, receipt_digest=opened.digest, now=now)
            delivered = link_pb2.StampDelivery(stamp=stamp, receipt=delivery.receipt)
            frame = LinkFrame(stamp=delivered, traceparent=traceparent(step))
            self._post.to_gateway(exchange.order.requester, frame)
            outcome = outcome_name(opened.message.kind)
        step.set_attributes(facts(outcome=outcome))
        step.end()
        seconds = (now - exchange.routed_at).total_seconds()
        METERING.took(facts(provider=provider, outcome=outcome), seconds)
        self._close_if_settled(exchange)

    def _deadline(self, exchange_id: bytes) -> None:
        exchange = self._exchanges.get(exchange_id)
        if exchange is not None:
            self._tell_cancelled(exchange, exchange.expire(), deadline_passed=True)
            self._close(exchange, "deadline")

    def _close_if_settled(self, exchange: Exchange) -> None:
        if exchange.is_settled:
            self._close(exchange, "complete")

    def _close(self, exchange: Exchange, reason: str) -> None:
        """Log the account of a settled exchange; sign and deliver it once the entry is durable."""
        self._drop(exchange)
        now = self._clock()
        count_outcomes(exchange)
        step = TRACING.child(self._span(exchange), "account")

        def written(promise: Promise) -> None:
            self._deliver(exchange, now, promise, traceparent(step))
            step.end()
            self._end_span(exchange, reason)

        self._scribe.write(journal.accounted(now, exchange, reason=reason), written)

    def _deliver(self, exchange: Exchange, closed_at: datetime, promise: Promise, parent: str) -> None:
        account = exchange.account(
            nonce=secrets.token_bytes(16),
            closed_at=closed_at,
            promise=audit_pb2.LogPromise(
                origin=promise.origin, index=promise.index, leaf_hash=promise.leaf_hash
            ),
        )
        delivery = link_pb2.AccountDelivery(
            exchange_id=exchange.order.exchange_id, account=seal(account, self.key)
        )
        self._post.to_gateway(exchange.order.requester, LinkFrame(account=delivery, traceparent=parent))

    def _tell_cancelled(self, exchange: Exchange, providers: Sequence[str], *, deadline_passed: bool) -> None:
        cancel = link_pb2.ExchangeCancel(
            exchange_id=exchange.order.exchange_id, deadline_passed=deadline_passed
        )
        for provider in providers:
            self._post.to_adapter(provider, LinkFrame(cancel=cancel))

    def _drop(self, exchange: Exchange) -> None:
        exchange_id, requester = exchange.order.exchange_id, exchange.order.requester
        if self._exchanges.pop(exchange_id, None) is None:
            return
        timer = self._timers.pop(exchange_id, None)
        if timer is not None:
            timer.cancel()
        self._in_flight[requester] -= 1
        if not self._in_flight[requester]:
            del self._in_flight[requester]

    def _span(self, exchange: Exchange) -> Span:
        return self._spans.get(exchange.order.exchange_id, NO_SPAN)

    def _end_span(self, exchange: Exchange, outcome: str) -> None:
        span = self._spans.pop(exchange.order.exchange_id, NO_SPAN)
        span.set_attributes(facts(outcome=outcome))
        span.end()

    def _refuse(self, agency: str, placement: link_pb2.OrderPlacement, refused: OrderRefused) -> None:
        exchange_id = refused.exchange_id or claimed_exchange_id(placement)
        logger.warning("order of `%s` refused (%s): %s", agency, refused.refusal.name, refused.detail)
        entry = journal.order_refused(
            self._clock(),
            agency=agency,
            exchange_id=exchange_id,
            refusal=refused.refusal,
            provider=refused.provider,
        )
        self._scribe.write(entry)
        self._reject(agency, exchange_id, refused)

    def _reject(self, agency: str, exchange_id: bytes, refused: OrderRefused) -> None:
        rejection = link_pb2.OrderRejection(
            exchange_id=exchange_id, text=refused.text, reason=refused.refusal.reason
        )
        self._post.to_gateway(agency, LinkFrame(order_rejection=rejection))
