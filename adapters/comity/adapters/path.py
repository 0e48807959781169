"""The provider's end: one path for every exchange, from a peer's bytes to a signed receipt.

Every question takes the steps of `ExchangePath._serve` in that order, and none can be skipped: each
needs what the one before it gave. Two of them write to the log, and each is on disk before the next begins:
**no store is touched before the decision is durable, and nothing leaves before its release is**.

What can come out:

- `RESPONDED`, `REFUSED`, `REFERRED`, and `RATE_LIMITED` by a budget of the policy: decided, logged, signed;
- `MALFORMED`, and `RATE_LIMITED` by what is in flight: turned away before a decision, signed, because the
  order's signature was good and its agency has a right to an answer;
- nothing at all: the order isn't signed by the session's peer, or its exchange was answered before. An
  exchange gets one receipt; a second would be a second truth;
- `AUDIT_UNAVAILABLE`: the log (or the state database) can't be written. Signed with the last checkpoint in
  the promise's place; no read is in it. The next question tries anew;
- `Late`: the deadline passed; nothing is sent.

No grpc, no sockets: a session's peer and message in, a `Reply` out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from opentelemetry.trace import Span

from comity.adapters import orders, records, searching
from comity.adapters.announcements import Announcements
from comity.adapters.content import Composer, Content
from comity.adapters.errors import (
    Crowded,
    Late,
    Rejected,
    RejectReason,
    Replayed,
    SourceError,
    StateUnwritable,
)
from comity.adapters.orders import FRESHNESS, SignedOrder
from comity.adapters.people import People
from comity.adapters.questions import Question, check_readings, parse_question
from comity.adapters.receipts import Grounds, Outcome, ReceiptSigner
from comity.adapters.replay import ReplayGuard, Write
from comity.adapters.ruling import Ruling, Store, Terms, facts_of, rule
from comity.adapters.searching import Found
from comity.adapters.spending import Spending
from comity.adapters.subjects import Subjects
from comity.adapters.telemetry import METERING, TRACING
from comity.adapters.threads import StoreThreads
from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise
from comity.certs.agreements import AgreementBook
from comity.certs.assertions import Claims, verify_assertion
from comity.certs.clock import Clock
from comity.certs.envelope import digest
from comity.certs.errors import AssertionInvalid
from comity.certs.roster import Federation, MemberView
from comity.links.telemetry.context import parse_traceparent
from comity.links.telemetry.facts import facts
from comity.links.telemetry.metrics import Stopwatch
from comity.links.telemetry.spans import NO_SPAN, failed, relate
from comity.policy.budgets import Spent
from comity.policy.decision import PolicyEngine
from comity.policy.facts import DecisionRequest, ReasonFacts
from comity.policy.reasons import Told, told_by
from comity.policy.written import write_facts
from comity.v1 import common_pb2
from comity.v1.common_pb2 import OutcomeKind
from comity.v1.envelope_pb2 import Envelope
from comity.v1.session_pb2 import Ask

ANNOUNCEMENT_SECONDS: Final = 2.0
"""How long a question waits for its announcement."""

LOGGER = logging.getLogger("comity.adapters")

UNSEARCHABLE: Final = "a store can't be searched at present; ask the contact"


class AuditLog(Protocol):
    """What the path needs of `SignedLog`."""

    async def append(self, *entries: Entry) -> list[Promise]:
        """Write entries durably; raise `LogUnwritable`."""

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force now: members, agreements, policy, stores. Replaced as a whole, never in part."""

    agency: str
    federation: Federation
    agreements: AgreementBook
    engine: PolicyEngine
    stores: tuple[Store, ...]

    def member(self, agency: str, now: datetime) -> MemberView:
        """Return the peer's entry in a roster that is still trusted, or raise `Rejected`."""
        member = self.federation.members.get(agency)
        if member is None:
            raise Rejected(RejectReason.FORGED)
        if now >= min(self.federation.expires_at, self.federation.timestamp_expires_at):
            raise Rejected(RejectReason.ROSTER_EXPIRED)
        return member

    def terms(self, requester: str, now: datetime) -> Terms | None:
        """Return the agreement in force under which `requester` asks us; None: there is none (A2)."""
        found = self.agreements.grant(provider=self.agency, requester=requester, now=now)
        return None if found is None else Terms(agreement=found[0], grant=found[1])

    def grounds(self, terms: Terms | None) -> Grounds:
        """Return what an outcome stands on."""
        bundle = self.engine.bundle
        if terms is None:
            return Grounds(policy_digest=bundle.digest, policy_version=bundle.version)
        return Grounds(
            policy_digest=bundle.digest,
            policy_version=bundle.version,
            agreement_digest=terms.agreement.digest,
            ceiling=terms.grant.ceiling,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished result: everything in it is signed for, and its release is durable."""

    exchange_id: bytes
    kind: OutcomeKind
    detail: bytes = field(repr=False)
    pages: tuple[bytes, ...] = field(repr=False)
    receipt: Envelope = field(repr=False)
    deadline: datetime
    announced: bool
    """Whether the broker waits for this receipt."""


@dataclass(slots=True, kw_only=True)
class _Work:
    """How far one exchange has come; each step sets what the next one needs."""

    peer: str
    ask: Ask = field(repr=False)
    standing: Standing = field(repr=False)
    query_digest: bytes
    span: Span = NO_SPAN
    terms: Terms | None = None
    order: SignedOrder | None = None
    announced: bool = False
    first: bool = False
    """Whether its exchange is new here, so that it may be given its one receipt."""
    remembered: bool = False
    """Whether that is on disk."""

    @property
    def grounds(self) -> Grounds:
        """What its outcome stands on."""
        return self.standing.grounds(self.terms)

    @property
    def exchange_id(self) -> bytes:
        """The signed order's; what the ask claims where no signature verified."""
        return self.ask.exchange_id if self.order is None else self.order.exchange_id


class ExchangePath:
    """The one path. `answer` never lets data out that isn't decided, logged and signed for."""

    def __init__(
        self,
        *,
        standing: Standing,
        log: AuditLog,
        replay: ReplayGuard,
        spending: Spending,
        announcements: Announcements,
        signer: ReceiptSigner,
        threads: StoreThreads,
        subjects: Subjects,
        people: People,
        clock: Clock,
        announcement_seconds: float = ANNOUNCEMENT_SECONDS,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.standing = standing
        self._log = log
        self._replay = replay
        self._spending = spending
        self._announcements = announcements
        self._signer = signer
        self._subjects = subjects
        self._people = people
        self._threads = threads
        self._clock = clock
        self._announcement_seconds = announcement_seconds
        self._random = random
        self._settled = asyncio.Event()
        self._settled.set()

    async def take_into_force(self, standing: Standing, entries: Sequence[Entry]) -> None:
        """Have all that is decided from here on stand on `standing`, once `entries` tell of it durably.

        Decisions wait for that moment and none is dropped, so in the log each stands after the activation of
        the policy that made it, and before the next. What was decided before is answered as it was decided.
        Raises `LogUnwritable`: then the old stays in force.
        """
        self._settled.clear()
        try:
            if entries:
                await self._log.append(*entries)
            self.standing = standing
        finally:
            self._settled.set()

    async def answer(
        self, peer: str, ask: Ask, *, crowded: bool = False, span: Span = NO_SPAN
    ) -> Reply | None:
        """Return what is said to `peer` (whom the session's TLS verified) about its `ask`; None: nothing.

        `crowded`: the requester is over its limit, which costs it the answer but not the receipt. Each step
        is a span below `span`. Raises `Late`. Never raises for what the peer sent.
        """
        now = self._clock()
        standing = self.standing
        work = _Work(
            peer=peer,
            ask=ask,
            standing=standing,
            query_digest=digest(ask.query),
            span=span,
            terms=standing.terms(peer, now),
        )
        try:
            try:
                return await self._serve(work, crowded=crowded)
            except Rejected as rejected:
                failed(span, rejected.reason.value)
                return await self._reject(work, rejected)
        except (LogUnwritable, StateUnwritable):
            return self._audit_unavailable(work)

    async def _serve(self, work: _Work, *, crowded: bool) -> Reply:
        """Take the steps, in order; each raises `Rejected`, or gives the next one what it needs."""
        standing, peer, ask, span = work.standing, work.peer, work.ask, work.span

        # 1. The order is signed by the agency at the other end of this session.
        with TRACING.step(span, "verify order"):
            member = standing.member(peer, self._clock())
            order = work.order = orders.open_order(ask.order, member)
        span.set_attributes(facts(exchange=order.exchange_id))

        # 2. The broker announced it, so that the middle accounts for it.
        with TRACING.step(span, "await announcement") as step:
            announcement = await self._announcements.wait(
                order.exchange_id, seconds=self._announcement_seconds
            )
            relate(step, parse_traceparent(self._announcements.traceparent(order.exchange_id)))
            orders.check_announced(order, announcement, peer=peer)
        work.announced = True

        # 3. It is fresh, for this provider, and about exactly these bytes.
        with TRACING.step(span, "check order"):
            orders.check_fresh(order, now=self._clock())
            query = orders.check_addressed(order, ask, peer=peer, own=standing.agency)

        # 4. It comes for the first time, which is durable before a store is touched or a receipt signed; and
        # its agency is within its limit.
        with TRACING.step(span, "check replay"):
            self._claim(work, order)
        if crowded:
            raise Crowded

        # 5. What is asked: one plate, one period, a reason (Q1, Q2, Q3).
        with TRACING.step(span, "check question"):
            question = parse_question(query)

        # 6. For whom: the agency vouches for the person (Q4), who is within the limit of one subject.
        now = self._clock()
        with TRACING.step(span, "check subject"):
            claims = _subject(question, member, now)
            self._subjects.enter(ask, requester=peer, user=claims.user)

        # 7. Under which agreement (A2), and 8. what this agency's own policy decides (A1): the one that is in
        # force where the decision stands in the log. Nothing awaits from here to that append.
        await self._people.settled(peer)
        await self._settled.wait()
        standing = work.standing = self.standing
        member = standing.member(peer, now)
        with TRACING.step(span, "decide"):
            work.terms = standing.terms(peer, now)
            check_readings(question, standing.engine.bundle.manifest.confusions)  # Q10
            told = _told(question, standing)
            looked = self._spending.look(
                agency=peer,
                user=claims.user,
                plates=(question.folded, *question.readings),
                likeness=told.likeness,
            )
            reason = ReasonFacts(vague=told.vague, words=told.words, plates=looked.text_plates)
            request = _facts(question, claims, member, work.terms, now, told=reason, spent=looked.spent)
            if (barred := self._people.barred(peer, claims.user)) is not None:  # Q8
                request = replace(request, subject=replace(request.subject, barred=barred))
            stores = [store.facts for store in standing.stores]
            ruling = rule(
                request,
                engine=standing.engine,
                stores=stores,
                documents="" if work.terms is None else ", ".join(work.terms.agreement.documents),
            )
            if ruling.exceeded:
                ruling = replace(ruling, retry_at=self._spending.fits_at(looked, ruling.exceeded))
            spend = None if ruling.exceeded else self._spending.spend(looked)

        # 9. The decision is on disk before any store is touched, and so is that the exchange was here.
        received = records.received(
            standing.agency, order, ask, question, claims, query_digest=work.query_digest, at=now
        )
        decided = records.decided(
            standing.agency,
            order,
            ruling,
            work.grounds,
            facts=write_facts(request, stores),
            query_digest=work.query_digest,
            at=now,
        )
        counts = standing.engine.counts(ruling.rules)  # refused for want of authorization (Q8)

        def count() -> asyncio.Future[None]:
            return self._people.refused(
                peer,
                claims.user,
                order.exchange_id,
                bundle=standing.engine.bundle,
                append=lambda entry: self._append(work, "log suspension", entry),
            )

        remembering = asyncio.create_task(self._remember(work, order, beside=spend))
        try:
            await self._append(work, "log decision", received, decided)
        except LogUnwritable:
            if spend is not None:
                await self._spending.take_back(looked, after=remembering)
            raise
        except asyncio.CancelledError:
            if counts:  # who asks and goes away is counted all the same
                count().cancel()
            raise
        finally:
            await remembering
        if counts:
            await count()

        # 10. Search the permitted stores, in the permitted period, until the deadline.
        try:
            with TRACING.step(span, "search"):
                found = await searching.search(
                    question, ruling, standing.stores, seconds=self._left(order), threads=self._threads
                )
        except SourceError as error:
            LOGGER.error("a store can't be searched, so nothing of any is given: %s", error)
            ruling, found = _referred(ruling), Found(reads=(), truncated=False)

        # 11. Obligations and markings on every read, page and detail.
        with TRACING.step(span, "compose"):
            content = self._composer(work).result(question, ruling, found, now=now)

        # 12. and 13. The release is on disk before the receipt is signed that promises it.
        self._left(order)
        return await self._released(work, order, content)

    async def _released(self, work: _Work, order: SignedOrder, content: Content) -> Reply:
        """Log the release durably, then sign the receipt over it: the last step before anything leaves."""
        entry = records.released(
            work.standing.agency,
            order,
            content.kind,
            work.grounds,
            query_digest=work.query_digest,
            content_root=content.root,
            read_count=content.read_count,
            at=self._clock(),
        )
        promises = await self._append(work, "log release", entry)
        with TRACING.step(work.span, "sign receipt"):
            receipt = self._signer.promised(_outcome(work, order, content), promises[0])
        return _reply(work, order, content, receipt)

    async def _append(self, work: _Work, step: str, *entries: Entry) -> list[Promise]:
        """Write entries durably; raise `LogUnwritable`."""
        watch = Stopwatch()
        with TRACING.step(work.span, step):
            promises = await self._log.append(*entries)
        METERING.appended(watch.seconds)
        return promises

    async def _reject(self, work: _Work, rejected: Rejected) -> Reply | None:
        """Log a rejection; sign a receipt for it if the order was its agency's and has none yet."""
        order = work.order
        answered = order is not None and await self._first_receipt(work, order, rejected)
        kind = _rejection_kind(rejected) if answered else None
        await self._settled.wait()
        work.standing = self.standing
        entry = records.rejected(
            work.standing.agency,
            work.peer,
            rejected.reason,
            exchange_id=work.exchange_id,
            kind=kind,
            query_digest=work.query_digest if answered else None,
            order=work.ask.order if answered else None,
            grounds=work.grounds,
            at=self._clock(),
        )
        promises = await self._append(work, "log rejection", entry)
        if order is None or kind is None:
            return None
        content = self._composer(work).bare(kind, violations=rejected.violations)
        with TRACING.step(work.span, "sign receipt"):
            receipt = self._signer.promised(_outcome(work, order, content), promises[0])
        return _reply(work, order, content, receipt)

    async def _first_receipt(self, work: _Work, order: SignedOrder, rejected: Rejected) -> bool:
        """Return whether this exchange may get a receipt now: it gets one, and only one.

        An order that is too old to be remembered may have had its receipt, and one that lies far ahead would
        have to be remembered for as long: neither is answered.
        """
        if work.first:
            if not work.remembered:
                await self._remember(work, order)
            return True
        if isinstance(rejected, Replayed) or len(order.exchange_id) != orders.EXCHANGE_ID_BYTES:
            return False
        now = self._clock()
        if order.issued_at > now + FRESHNESS or order.replay_until <= now:
            return False
        try:
            self._claim(work, order)
        except Replayed:
            return False
        await self._remember(work, order)
        return True

    def _claim(self, work: _Work, order: SignedOrder) -> None:
        """Take the exchange as new; raise `Replayed` if it came before, and may have its receipt."""
        self._replay.claim(work.peer, order.exchange_id, until=order.replay_until)
        work.first = True

    async def _remember(self, work: _Work, order: SignedOrder, *, beside: Write | None = None) -> None:
        """Make durable that the exchange was here, with what is written `beside`; raise `StateUnwritable`."""
        await self._replay.settle(work.peer, order.exchange_id, until=order.replay_until, beside=beside)
        work.remembered = True

    def _audit_unavailable(self, work: _Work) -> Reply | None:
        """Say, signed, that the log can't be written; nothing of any read is in it."""
        order = work.order
        if order is None or not work.first:
            return None
        content = self._composer(work).bare(common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE)
        receipt = self._signer.unpromised(_outcome(work, order, content), self._log.checkpoint())
        return _reply(work, order, content, receipt)

    def _left(self, order: SignedOrder) -> float:
        """Return the seconds until the deadline; raise `Late` if there are none."""
        seconds = (order.deadline - self._clock()).total_seconds()
        if seconds <= 0:
            raise Late
        return seconds

    def _composer(self, work: _Work) -> Composer:
        """Return what writes this exchange's detail and pages, under the agreement in force."""
        members = work.standing.federation.members
        own, peer = members.get(work.standing.agency), members.get(work.peer)
        return Composer(
            agency=work.standing.agency,
            contact="" if own is None else own.contact,
            terms=work.terms,
            requester_kind="" if peer is None else peer.kind,
            exchange_id=work.exchange_id,
            random=self._random,
        )


def _facts(
    question: Question,
    claims: Claims,
    member: MemberView,
    terms: Terms | None,
    now: datetime,
    *,
    told: ReasonFacts,
    spent: Spent,
) -> DecisionRequest:
    """Return what the policy decides by, or raise `Rejected` for a question that contradicts itself."""
    try:
        return facts_of(question, claims, member, terms, now, told=told, spent=spent)
    except ValueError as error:
        raise Rejected(RejectReason.MALFORMED, f"question: {error}") from error


def _told(question: Question, standing: Standing) -> Told:
    """Return what the free text tells by the words of the policy in force (Q3, Q4)."""
    return told_by(
        question.reason_text,
        plate=question.folded,
        case_number=question.case_number,
        words=standing.engine.bundle.manifest.reasons,
    )


def _subject(question: Question, member: MemberView, now: datetime) -> Claims:
    """Return whom the agency vouches for; raise `Rejected` if its assertion doesn't verify (Q4)."""
    try:
        return verify_assertion(question.assertion, member=member, now=now, certificate_der=None)
    except AssertionInvalid as error:
        raise Rejected(
            RejectReason.SUBJECT, "subject: expected a live assertion of this agency's identity provider (Q4)"
        ) from error


def _referred(ruling: Ruling) -> Ruling:
    """Return the ruling when a store failed: ask the contact, rather than half an answer as a whole one."""
    return replace(
        ruling,
        kind=common_pb2.OUTCOME_KIND_REFERRED,
        public_reason=UNSEARCHABLE,
        stores=(),
        start=None,
        end=None,
        clipped=False,
        applied=(),
    )


def _rejection_kind(rejected: Rejected) -> OutcomeKind:
    """Return the outcome of a rejection that is answered."""
    crowded = isinstance(rejected, Crowded)
    return common_pb2.OUTCOME_KIND_RATE_LIMITED if crowded else common_pb2.OUTCOME_KIND_MALFORMED


def _outcome(work: _Work, order: SignedOrder, content: Content) -> Outcome:
    """Return what the receipt states."""
    return Outcome(
        exchange_id=order.exchange_id,
        query_digest=work.query_digest,
        requester=work.peer,
        kind=content.kind,
        grounds=work.grounds,
        content_root=content.root,
    )


def _reply(work: _Work, order: SignedOrder, content: Content, receipt: Envelope) -> Reply:
    """Return the finished reply."""
    return Reply(
        exchange_id=order.exchange_id,
        kind=content.kind,
        detail=content.detail,
        pages=content.pages,
        receipt=receipt,
        deadline=order.deadline,
        announced=work.announced,
    )
