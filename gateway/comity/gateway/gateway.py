"""One gateway: its keys, its log, its link, its sessions, and the exchanges in flight.

The order of things in an exchange, which nothing may change: the question is checked; the user is
checked; the order is signed; **`asked` is durable**; the order and then the queries leave; what
comes back is verified; **`delivered` is durable**; the caller sees it; the summary accounts for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from opentelemetry.trace import Span

from comity.audit.agreement_entries import agreement_entries
from comity.audit.entry import Entry
from comity.audit.errors import AuditError
from comity.audit.log import Promise, SignedLog
from comity.certs.agreements import AgreementBook, AgreementView, GrantView
from comity.certs.assertions import Claims, PublishedBy
from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials
from comity.certs.envelope import seal
from comity.certs.errors import CertificateRevoked
from comity.certs.instants import from_instant
from comity.certs.roster import Federation
from comity.gateway import records
from comity.gateway.calls import OpenCalls
from comity.gateway.errors import (
    AgencyBusy,
    AuditUnavailable,
    BrokerUnavailable,
    Busy,
    CallerTooSlow,
    FieldViolation,
    HoldsTooMuch,
    HouseRulesStop,
    Incomplete,
    KeyRevoked,
    NobodyAnswered,
    NobodyToAsk,
    NotAMember,
    RequestInvalid,
    RosterOutOfDate,
    SubjectRefused,
)
from comity.gateway.exchange import Exchange, Settled
from comity.gateway.findings import SaidAbsent, said_absent
from comity.gateway.house import HouseSaid, activated, citation, distinct, judge
from comity.gateway.limits import GatewayLimits, Place, Places, Tally
from comity.gateway.logons import Logons
from comity.gateway.order import SignedOrder, sign_order
from comity.gateway.own_records import Retrievals
from comity.gateway.people import People
from comity.gateway.question import Question
from comity.gateway.standing import Standing
from comity.gateway.summary import has_answer, require_reachable, summarize
from comity.gateway.telemetry import METERING, Trail, count_not_asked
from comity.gateway.verification import Expectation
from comity.links.client import LinkClient
from comity.links.errors import LinkError, SessionFailed, describe_fault
from comity.links.frames import reason_name
from comity.links.peer_logs import PeerLogs
from comity.links.roster import OwnRevocations, RosterInbox
from comity.links.sessions.hub import GatewaySessions, Session, own_identity
from comity.links.telemetry.metrics import Stopwatch
from comity.links.telemetry.spans import NO_SPAN
from comity.policy.house.rules import HouseRules
from comity.v1 import link_pb2, query_service_pb2, result_pb2, session_pb2

ACCOUNT_GRACE = timedelta(milliseconds=500)
SETTLE_SECONDS = 2.0
LOGGER = logging.getLogger("comity.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Askable:
    provider: str
    agreement: AgreementView
    grant: GrantView


class _Running:
    """One exchange in flight with the event that wakes its caller."""

    def __init__(
        self,
        exchange: Exchange,
        order: SignedOrder,
        asked_at: datetime,
        place: Place,
        trail: Trail,
        user: str,
    ) -> None:
        self.user = user
        self.exchange = exchange
        self.order = order
        self.asked_at = asked_at
        self.place = place
        self.trail = trail
        self.overdue: asyncio.TimerHandle | None = None
        self.let_go: Busy | SubjectRefused | KeyRevoked | None = None
        self.changed = asyncio.Event()
        self.opening: list[asyncio.Task[None]] = []
        self.sessions: dict[str, Session] = {}
        self.delivered: dict[str, Promise] = {}


class Gateway:
    """The requester's end. `search` is the one way to ask; everything else serves it."""

    def __init__(
        self,
        *,
        agency: str,
        federation: Federation,
        agreements: AgreementBook,
        credentials: EndCredentials,
        log: SignedLog,
        clock: Clock,
        limits: GatewayLimits,
        auditor_role: str = "auditor",
        house: HouseRules | None = None,
    ) -> None:
        self.agency = agency
        self.standing = Standing(federation=federation, agreements=agreements)
        self.house = house
        """The agency's own rules for its own people; None: it has none."""
        self.credentials = credentials
        """Those in force: replaced as a whole by `take_credentials`."""
        self._log = log
        self._clock = clock
        self._limits = limits
        self._places = Places(limits)
        self._held = Tally()
        self._logons = Logons()
        self.published: PublishedBy | None = None
        """What is known of the keys that our identity provider publishes; None: nobody follows them."""
        self.rosters: RosterInbox | None = None
        """Where rosters go that the broker brings."""
        self._running: dict[bytes, _Running] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open_sessions: dict[str, Session] = {}
        self.logs = PeerLogs(
            log,
            clock,
            end=self,
            opened=self._open_sessions,
            peer_role="adapter",
            consequence="nothing can be asked",
            alarmed=METERING.alarmed,
            logger=LOGGER,
        )
        """What peers and this end say of their logs."""
        self._said_absent: dict[str, SaidAbsent] = {}
        """By provider: the newest account that says that it had no link."""
        self.link_up = asyncio.Event()
        """Set while there is a link to the broker."""
        self.is_stopping = False
        """Whether this end hangs up by itself."""
        self.link: LinkClient | None = None
        self.sessions: GatewaySessions | None = None
        self.own_revocations = OwnRevocations(agency, self._send_link)
        """Brings this agency's own list of revocations to the broker."""
        self.own_revocations.in_force(federation)
        self.calls = OpenCalls()
        """Calls of this agency's own systems that are under way."""
        self.retrievals = Retrievals(
            agency=agency,
            auditor_role=auditor_role,
            federation=lambda: self.federation,
            sessions=lambda: self.sessions,
            append=self._append_for,
            beside=lambda entry: self.start(self._record_beside(entry)),
            clock=clock,
        )
        """Records of this agency's own users, for its auditors."""
        self.people = People(
            agency=agency,
            member=lambda name: self.federation.members.get(name),
            key=lambda: self.credentials.statement,
            sessions=self._open_sessions,
            append=self._append,
            beside=self.start,
            let_go=self._dismiss,
            clock=clock,
        )
        """This agency's own users, as far as their access goes."""

    @property
    def in_flight(self) -> Sized:
        """The exchanges in flight, to be counted."""
        return self._running

    def waits_in(self, session: Session) -> bool:
        """Return whether an exchange or a retrieval of records goes on in a session."""
        asked = any(running.sessions.get(session.peer) is session for running in self._running.values())
        return asked or self.retrievals.waits_in(session)

    # -- what is in force -----------------------------------------------------------------------

    @property
    def federation(self) -> Federation:
        """The roster in force."""
        return self.standing.federation

    def refresh(self, standing: Standing) -> None:
        """Take a newer roster and agreements into force: for the next question, and for open sessions."""
        self.standing = standing
        self.own_revocations.in_force(standing.federation)
        if self.sessions is not None:
            self.sessions.refresh(standing.federation, standing.agreements)
        own = standing.federation.members.get(self.agency)
        for cut in () if own is None else self.calls.judge(own, self._clock()):
            entry = records.call_cut(self.agency, self._clock(), cut.certificate, cut.revoked)
            self.start(self._record_beside(entry))
        revoked = self._own_revoked()
        self.tell_if_revoked()
        for running in list(self._running.values()):
            if revoked:
                self._let_go(running, KeyRevoked("nothing more is shown"))
            elif self._is_revoked(running.user):
                self._let_go(running, SubjectRefused("your access was revoked: nothing more is shown"))
        self._withdraw_revoked()

    def _withdraw_revoked(self) -> None:
        """Show nothing more of what a revoked key signed, or of what came under a revoked certificate."""
        judged: dict[Session, bool] = {}
        for running in self._running.values():
            for provider in running.order.asking:
                member, session = self.federation.members.get(provider), running.sessions.get(provider)
                if member is None:
                    continue
                running.exchange.on_member(member)
                if session is None:
                    continue
                if session not in judged:
                    judged[session] = session.is_revoked(member.revoked)
                if judged[session]:
                    running.exchange.on_certificate_revoked(provider)
            running.changed.set()

    def tell_if_revoked(self) -> None:
        """Tell the operator that nothing can be asked, if our own key or certificate is revoked."""
        if self._own_revoked():
            LOGGER.error(
                "own statement key or certificate is revoked: nothing is asked until another one is in force "
                "(comity certs rotate statement-key, comity certs renew)"
            )

    def _own_revoked(self) -> bool:
        """Whether our own statement key or certificate is revoked: nobody takes what we ask by it."""
        own, mine = self.standing.federation.members.get(self.agency), self.credentials
        if own is None:
            return False
        try:
            own.revoked.check_chain(mine.chain_der)
        except CertificateRevoked:
            return True
        return own.revokes(mine.statement.public)

    def _is_revoked(self, user: str) -> bool:
        own = self.standing.federation.members.get(self.agency)
        return own is not None and own.revoked.user(self.agency, user) is not None

    def _require_access_still(self, claims: Claims) -> None:
        """Raise `SubjectRefused` if the user's access ended while a question was being logged (Q8)."""
        self.people.require_access(claims)
        if self._is_revoked(claims.user):
            raise SubjectRefused("your access was revoked: nothing was asked")

    async def reload(self, load: Callable[[], Standing]) -> None:
        """Take what `load` reads, on a thread, into force, agreements that are new logged first.

        Raises what `load` raises, or `AuditUnavailable`; what was in force then stays.
        """
        old, new = self.standing, await asyncio.to_thread(load)
        entries = agreement_entries(
            self.agency, self._clock(), before=old.agreements.agreements, now=new.agreements.agreements
        )
        entries += [
            records.revocations_activated(self.agency, self._clock(), *listed)
            for listed in new.federation.lists_since(old.federation)
        ]
        if entries:
            await self._append(*entries)
        self.refresh(new)
        if new != old:
            LOGGER.info("in force: roster %d", new.federation.version)

    async def reload_house(self, load: Callable[[], HouseRules | None]) -> None:
        """Take the house rules that `load` reads, on a thread, into force, logged first.

        Raises what `load` raises, or `AuditUnavailable`; what was in force then stays.
        """
        rules = await asyncio.to_thread(load)
        if rules is None or (self.house is not None and rules.bundle.digest == self.house.bundle.digest):
            return
        await self._append(activated(self.agency, rules, self._clock()))
        self.house = rules
        LOGGER.info("in force: house rules, version %s", rules.bundle.version)

    def take_credentials(self, credentials: EndCredentials) -> None:
        """Have the next order, acknowledgement and session use these; what is in flight goes on as it is."""
        self.credentials = credentials
        if self.sessions is not None:
            self.sessions.take_identity(own_identity(self.agency, credentials))

    # -- asking ---------------------------------------------------------------------------------

    async def search(
        self, question: Question, claims: Claims, assertion: str, *, span: Span = NO_SPAN
    ) -> AsyncGenerator[query_service_pb2.SearchResponse, None]:
        """Ask, and yield plan, outcomes with their pages, and summary.

        `span` is the caller's, to which the exchange's trace is linked. A caller has
        `GatewayLimits.read_seconds` after the deadline to take the last message. Raises, after the summary
        where there is one: `RequestInvalid`, `RosterOutOfDate`, `NotAMember`, `KeyRevoked`, `HouseRulesStop`,
        `Busy` and its kinds, `AuditUnavailable`, `BrokerUnavailable`, `NobodyToAsk`, `NobodyAnswered`,
        `Incomplete`.
        """
        now, standing = self._clock(), self.standing
        try:
            standing.require_asking(self.agency, now=now)
            if self._own_revoked():
                raise KeyRevoked("nothing was asked")
        except (RosterOutOfDate, NotAMember, KeyRevoked) as error:
            why = error.reason.lower()
            entry = records.turned_down(self.agency, why, now, claims=claims, question=question)
            await self._append_for(claims, entry)
            raise
        askable, not_asked = self._plan(standing, question, now)
        if not askable:
            count_not_asked(item.agency for item in not_asked)
            await self._append_for(
                claims,
                records.turned_down(
                    self.agency, "nobody_to_ask", now, claims=claims, question=question, not_asked=not_asked
                ),
            )
            yield _plan_message(question, None, (), not_asked, now)
            yield query_service_pb2.SearchResponse(
                summary=summarize(b"", {}, not_asked, question.completeness, None)
            )
            raise NobodyToAsk("no provider could be asked; the plan says why of each")
        askable, not_asked, house = await self._obey(standing, question, claims, askable, not_asked, now)
        require_reachable(question.completeness, {item.provider for item in askable})
        if self.logs.broker_refused():
            raise BrokerUnavailable(
                "the broker's log contradicts what it showed this gateway before, so nothing is asked "
                "through it until an administrator lifts that (comity audit pardon)"
            )
        if self.link is None or self.sessions is None or not self.link.is_up:
            raise BrokerUnavailable("this gateway has no link to the broker now, so nothing was asked")
        place = self._places.take(claims.user)  # before `asked` is written, which lets others in
        trail = Trail(search=span, requester=self.agency)
        try:
            running = await self._ask(
                standing, question, claims, assertion, askable, not_asked, house, now, place, trail
            )
        except BaseException as error:
            place.leave()
            trail.fail(error)
            raise
        finished = False
        try:
            providers = [item.provider for item in askable]
            yield _plan_message(question, running.order, providers, not_asked, now, house)
            settled: dict[str, Settled] = {}
            async for item in self._settle(running):
                _require_kept(running)
                for message in self._outcome_messages(running, item):
                    yield message
                    _require_kept(running)
                withdrawn = running.exchange.withdrawn(item.provider)
                if withdrawn is not None and withdrawn is not item:  # revoked while it was logged, or shown
                    item = withdrawn
                    for message in self._outcome_messages(running, item):
                        yield message
                settled[item.provider] = item
                running.exchange.shown(item.provider)
                self._acknowledge(running, item)
            with trail.summary():
                summary = summarize(
                    running.order.exchange_id, settled, not_asked, question.completeness, running.exchange
                )
                await self._append(*records.concluded(self.agency, running.exchange, settled, self._clock()))
            finished = True
            exchange = running.exchange
            if exchange.account is not None and exchange.account_envelope is not None:
                told = said_absent(exchange.account, exchange.account_envelope)
                self._said_absent.update({said.provider: said for said in told})
            yield query_service_pb2.SearchResponse(summary=summary)
        finally:
            self._end(running, cancelled=not finished)
        if running.exchange.rejection == link_pb2.ORDER_REJECTION_REASON_LIMIT:
            raise AgencyBusy("the broker takes no more exchanges of this agency now; try again in a second")
        if not has_answer(settled):
            raise NobodyAnswered("nobody answered; the summary says what happened at each provider")
        if not summary.complete:
            raise Incomplete(f"the answer is not as complete as asked: {summary.incomplete_text}")

    def _plan(
        self, standing: Standing, question: Question, now: datetime
    ) -> tuple[list[_Askable], list[query_service_pb2.NotAsked]]:
        """Decide whom to ask: providers of the roster with an agreement in force, as the caller chose."""
        unknown = sorted(question.providers - standing.federation.members.keys())
        if unknown:
            known = ", ".join(sorted(standing.federation.members))
            raise RequestInvalid(
                (FieldViolation(field="providers", description=f"members of the federation: {known}"),)
            )
        askable: list[_Askable] = []
        not_asked: list[query_service_pb2.NotAsked] = []

        def leave_out(agency: str, reason: query_service_pb2.NotAskedReason, text: str) -> None:
            not_asked.append(query_service_pb2.NotAsked(agency=agency, reason=reason, text=text))

        for name, member in sorted(standing.federation.members.items()):
            if name == self.agency:
                continue
            named = name in question.providers
            if not member.provides:
                if named:
                    leave_out(name, query_service_pb2.NOT_ASKED_REASON_NOT_A_PROVIDER, "it provides nothing")
                continue
            if question.providers and not named:
                leave_out(name, query_service_pb2.NOT_ASKED_REASON_EXCLUDED, "you did not name it")
                continue
            if member.is_out:
                why = member.lapsed or "it is suspended in the roster"
                leave_out(name, query_service_pb2.NOT_ASKED_REASON_SUSPENDED, why)
                continue
            if self.logs.is_refused(name):
                reason = query_service_pb2.NOT_ASKED_REASON_LOG_CONTRADICTED
                leave_out(name, reason, "its log contradicts what it showed this gateway before (L2)")
                continue
            found = standing.agreements.grant(provider=name, requester=self.agency, now=now)
            if found is None:
                why = standing.agreements.why_resting(provider=name, requester=self.agency, now=now)
                leave_out(
                    name,
                    query_service_pb2.NOT_ASKED_REASON_NO_AGREEMENT,
                    f"{why or 'no agreement in force'}: nothing of the question left the house (A2)",
                )
                continue
            askable.append(_Askable(provider=name, agreement=found[0], grant=found[1]))
        return askable, not_asked

    async def _obey(
        self,
        standing: Standing,
        question: Question,
        claims: Claims,
        askable: list[_Askable],
        not_asked: list[query_service_pb2.NotAsked],
        now: datetime,
    ) -> tuple[list[_Askable], list[query_service_pb2.NotAsked], HouseSaid | None]:
        """Leave out whom the house rules stop; raise `HouseRulesStop`, once that is logged, if they stop all.

        Nothing of this goes further than the log and the caller: an order is made of what is left.
        """
        rules = self.house
        if rules is None:
            return askable, not_asked, None
        names = [item.provider for item in askable]
        judged = judge(rules, question, claims, federation=standing.federation, providers=names, now=now)
        said = HouseSaid.of(rules, judged)
        stopped = [
            query_service_pb2.NotAsked(
                agency=name,
                reason=query_service_pb2.NOT_ASKED_REASON_HOUSE_RULES,
                text=f"your agency's house rules: {found[0].text}",
                house_rules=map(citation, found),
            )
            for name, found in said.stopped.items()
        ]
        left = [item for item in askable if item.provider not in said.stopped]
        not_asked = [*not_asked, *stopped]
        if not left:
            count_not_asked(item.agency for item in not_asked)
            await self._append_for(
                claims,
                records.turned_down(
                    self.agency,
                    "house_rules",
                    now,
                    claims=claims,
                    question=question,
                    not_asked=not_asked,
                    house=said,
                ),
            )
            found = distinct(rule for rules in said.stopped.values() for rule in rules)
            raise HouseRulesStop(tuple(map(citation, found)))
        return left, not_asked, said

    async def _ask(
        self,
        standing: Standing,
        question: Question,
        claims: Claims,
        assertion: str,
        askable: Sequence[_Askable],
        not_asked: Sequence[query_service_pb2.NotAsked],
        house: HouseSaid | None,
        now: datetime,
        place: Place,
        trail: Trail,
    ) -> _Running:
        federation = standing.federation
        with trail.step("sign order"):
            order = sign_order(
                question,
                requester=self.agency,
                providers=[item.provider for item in askable],
                assertion=assertion,
                key=self.credentials.statement,
                roster_version=federation.version,
                now=now,
                deadline=now + question.timeout,
            )
        with trail.step("log asked"):
            entry = records.asked(self.agency, question, claims, order, not_asked, now, house)
            await self._append_for(claims, entry)
        try:
            self._require_access_still(claims)
            if self._own_revoked():
                raise KeyRevoked("nothing was asked")
        except (SubjectRefused, KeyRevoked):
            await self._record_cancelled(order.exchange_id)
            raise
        newest = self.federation  # a list of revocations may have come while that was logged
        count_not_asked(item.agency for item in not_asked)
        trail.ordered(order.exchange_id, order.asking)
        exchange = Exchange(
            order,
            {
                item.provider: Expectation(
                    question=question,
                    requester=self.agency,
                    requester_kind=federation.member(self.agency).kind,
                    asking=order.asking[item.provider],
                    exchange_id=order.exchange_id,
                    ordered_at=order.issued_at,
                    member=newest.members.get(item.provider) or federation.member(item.provider),
                    agreement=item.agreement,
                    grant=item.grant,
                )
                for item in askable
            },
            requester=self.agency,
            operator=newest.operator,
            limits=self._limits,
            tally=self._held,
        )
        running = _Running(exchange, order, now, place, trail, claims.user)
        self._running[order.exchange_id] = running
        self._idle.clear()
        assert self.link is not None
        try:
            self.link.send(
                link_pb2.LinkFrame(
                    order=link_pb2.OrderPlacement(order=order.envelope, leaves=list(order.leaves)),
                    traceparent=trail.traceparent,
                )
            )
        except LinkError as error:
            self._forget(order.exchange_id)
            raise BrokerUnavailable("the link to the broker was lost before anything was asked") from error
        seconds = (order.deadline - self._clock()).total_seconds() + self._limits.read_seconds
        late = CallerTooSlow("the answer was not read in the time after its deadline; ask again")
        running.overdue = asyncio.get_running_loop().call_later(seconds, self._let_go, running, late)
        for provider in order.asking:
            running.opening.append(asyncio.create_task(self._ask_one(running, provider)))
        return running

    async def _ask_one(self, running: _Running, provider: str) -> None:
        assert self.sessions is not None
        asking = running.order.asking[provider]
        try:
            session = await self.sessions.session(provider)
            running.sessions[provider] = session
            if session.opened_at >= running.order.issued_at:
                running.exchange.on_late_session(provider)
                running.changed.set()
                if not running.exchange.is_open(provider):
                    return
            session.send(
                session_pb2.SessionMessage(
                    ask=session_pb2.Ask(
                        exchange_id=running.order.exchange_id,
                        order=running.order.envelope,
                        inclusion=asking.inclusion,
                        query=asking.query,
                    ),
                    traceparent=running.trail.of(provider),
                )
            )
        except SessionFailed as error:
            self._session_failed(running, provider, error.reason)

    def _session_failed(self, running: _Running, provider: str, reason: link_pb2.CloseReason) -> None:
        absent = reason == link_pb2.CLOSE_REASON_PEER_ABSENT
        running.exchange.on_session_failed(
            provider, f"the session with this provider failed: {reason_name(reason)}", absent=absent
        )
        running.changed.set()

    async def _settle(self, running: _Running) -> AsyncIterator[Settled]:
        """Yield each provider's outcome once it is final, and for signed ones once it is logged."""
        exchange = running.exchange
        cancelled_at_broker = False
        while True:
            _require_kept(running)
            batch = exchange.take_settled()
            if batch:
                for item in batch:
                    self._stop_late(running, item)
                entries = records.delivered(self.agency, running.order.exchange_id, batch, self._clock())
                if entries:
                    with running.trail.step("log delivered"):
                        promises = await self._append(*entries)
                    given = [item for item in batch if item.result is not None]
                    for item, promise in zip(given, promises, strict=True):
                        running.delivered[item.provider] = promise
                        if exchange.withdrawn(item.provider) is None:  # a revoked key promises nothing
                            self._hold_to_promise(item, running.order.exchange_id)
                elapsed = (self._clock() - running.asked_at).total_seconds()
                for item in batch:
                    running.trail.settled(item.provider, item.kind, elapsed)
                    yield item
                continue
            if exchange.is_finished:
                return
            if exchange.awaits_only_broker and not cancelled_at_broker:
                cancelled_at_broker = True
                exchange.cancelling()
                self._send_link(
                    link_pb2.LinkFrame(cancel=link_pb2.ExchangeCancel(exchange_id=running.order.exchange_id))
                )
            running.changed.clear()
            grace = ACCOUNT_GRACE if exchange.account is None else timedelta(0)
            remaining = (running.order.deadline + grace - self._clock()).total_seconds()
            try:
                async with asyncio.timeout(max(remaining, 0)):
                    await running.changed.wait()
            except TimeoutError:
                exchange.end_waiting()

    def _hold_to_promise(self, item: Settled, exchange_id: bytes) -> None:
        """Have the provider's log shown to hold what its receipt promises (L2)."""
        if item.result is None or not item.result.receipt.receipt.HasField("promise"):
            return
        receipt = item.result.receipt
        self.logs.promised(
            item.provider, receipt.receipt.promise, exchange=exchange_id, statement=receipt.digest
        )

    def _stop_late(self, running: _Running, item: Settled) -> None:
        """Cancel at a provider whose outcome is not its own word: what still comes of it is not shown."""
        session = running.sessions.get(item.provider)
        if item.is_signed_by_provider or session is None or not session.is_open:
            return
        passed = self._clock() >= running.order.deadline
        stop = session_pb2.CancelAsk(exchange_id=running.order.exchange_id, deadline_passed=passed)
        with contextlib.suppress(LinkError):
            session.send(session_pb2.SessionMessage(cancel=stop))

    def _outcome_messages(
        self, running: _Running, item: Settled
    ) -> Iterator[query_service_pb2.SearchResponse]:
        """Yield an outcome and then its pages, each taken out of what is held.

        Of one that is withdrawn, nothing more.
        """
        if running.exchange.withdrawn(item.provider) not in (None, item):
            return
        elapsed = self._clock() - running.asked_at
        outcome = query_service_pb2.ProviderOutcome(
            agency=item.provider,
            kind=item.kind,
            attested_by=item.attested_by,
            stamp=item.stamp,
            text=item.text,
            elapsed_ms=max(0, int(elapsed / timedelta(milliseconds=1))),
        )
        pages = deque[result_pb2.Page]() if item.result is None else item.result.pages
        if item.result is not None:
            outcome.detail.CopyFrom(item.result.receipt.detail)
            outcome.receipt.CopyFrom(item.result.receipt.envelope)
            outcome.page_count = len(pages)
        if not pages:
            running.exchange.showing_last(item.provider)
        yield query_service_pb2.SearchResponse(outcome=outcome)
        while pages:  # empty, too, once it is withdrawn
            page = query_service_pb2.ProviderPage(agency=item.provider, page=pages.popleft())
            if not pages:
                running.exchange.showing_last(item.provider)
            yield query_service_pb2.SearchResponse(page=page)

    def _acknowledge(self, running: _Running, item: Settled) -> None:
        """Tell a provider, signed, that its result was given to the caller; without a session, not."""
        session, promise = running.sessions.get(item.provider), running.delivered.get(item.provider)
        if item.result is None or promise is None or session is None or not session.is_open:
            return
        statement = records.acknowledgement(
            self.agency,
            item.provider,
            running.order.exchange_id,
            item.result.receipt.digest,
            promise,
            self._clock(),
        )
        delivery = session_pb2.AcknowledgementDelivery(
            exchange_id=running.order.exchange_id,
            acknowledgement=seal(statement, self.credentials.statement),
        )
        with contextlib.suppress(LinkError):
            session.send(session_pb2.SessionMessage(acknowledgement=delivery))

    def _end(self, running: _Running, *, cancelled: bool) -> None:
        """Let go of an exchange, once; if nobody wants it any more, tell all who work on it to stop."""
        exchange_id = running.order.exchange_id
        if not self._forget(exchange_id):
            return
        running.exchange.give_up()
        running.place.leave()
        running.trail.end("cancelled" if cancelled else "concluded")
        if running.overdue is not None:
            running.overdue.cancel()
        for task in running.opening:
            task.cancel()
        if not cancelled:
            return
        stop = session_pb2.SessionMessage(cancel=session_pb2.CancelAsk(exchange_id=exchange_id))
        for session in running.sessions.values():
            if session.is_open:
                with contextlib.suppress(LinkError):
                    session.send(stop)
        self._send_link(link_pb2.LinkFrame(cancel=link_pb2.ExchangeCancel(exchange_id=exchange_id)))
        self.start(self._record_cancelled(exchange_id))

    def _dismiss(self, user: str, why: SubjectRefused) -> None:
        """Let go of all that is in flight of a user whose access ended (Q8)."""
        for running in list(self._running.values()):
            if running.user == user:
                self._let_go(running, why)

    def _let_go(self, running: _Running, why: Busy | SubjectRefused | KeyRevoked) -> None:
        """End an exchange whether its caller reads or not; the caller learns `why` when it reads on."""
        if running.order.exchange_id in self._running:
            LOGGER.warning("an exchange is let go: %s", why.reason.lower())
            running.let_go = why
            self._end(running, cancelled=True)
            running.changed.set()

    def _forget(self, exchange_id: bytes) -> bool:
        """Take an exchange out of those in flight; return whether it was one."""
        known = self._running.pop(exchange_id, None) is not None
        if not self._running:
            self._idle.set()
        return known

    # -- the log --------------------------------------------------------------------------------

    async def _append(self, *entries: Entry) -> list[Promise]:
        watch = Stopwatch()
        try:
            promises = await self._log.append(*entries)
        except AuditError as error:
            LOGGER.error("the log cannot be written: nothing is asked or shown until it can")
            raise AuditUnavailable(
                "this gateway's log cannot be written, so nothing is asked or shown"
            ) from error
        METERING.appended(watch.seconds)
        return promises

    async def record_turned_down(self, claims: Claims, why: str) -> None:
        """Log that a request was turned down before anything left the house; `why` holds no content."""
        await self._append_for(claims, records.turned_down(self.agency, why, self._clock(), claims=claims))

    async def _append_for(self, claims: Claims, *entries: Entry) -> list[Promise]:
        """Write entries of what a user does, behind the user's logon if this is its first use (Q4)."""
        now = self._clock()
        logon = self._logons.entries(self.agency, claims, now)
        promises = await self._append(*logon, *entries)
        if logon:
            self._logons.logged(claims, now)
        return promises[len(logon) :]

    async def _record_cancelled(self, exchange_id: bytes) -> None:
        with contextlib.suppress(AuditUnavailable):
            await self._append(records.cancelled(self.agency, exchange_id, self._clock()))

    # -- what arrives ---------------------------------------------------------------------------

    def _on_frame(self, frame: link_pb2.LinkFrame) -> None:
        match frame.WhichOneof("frame"):
            case "stamp":
                stamp, parent = frame.stamp.stamp, frame.traceparent
                self._told(stamp.exchange_id, lambda trail: trail.stamped(stamp.provider, parent))
                self._with(stamp.exchange_id, lambda e: e.on_stamp(frame.stamp))
            case "account":
                now, account, parent = self._clock(), frame.account, frame.traceparent
                self._told(account.exchange_id, lambda trail: trail.accounted(parent))
                self._with(account.exchange_id, lambda e: e.on_account(account, now=now))
            case "order_rejection":
                rejection = frame.order_rejection
                self._with(rejection.exchange_id, lambda e: e.on_rejected(rejection.text, rejection.reason))
            case "roster":
                if self.rosters is not None:
                    self.rosters.add(frame.roster)
            case "checkpoint" | "proof_request" | "proofs" | "cosignature" as name:
                self.logs.took(self.federation.operator.agency, getattr(frame, name))
            case _:
                pass

    def on_message(self, session: Session, message: session_pb2.SessionMessage) -> None:
        """Take one message of a session; its peer is whoever the session's TLS verified."""
        match message.WhichOneof("message"):
            case "result":
                peer, parent = session.peer, message.traceparent
                self._told(message.result.exchange_id, lambda trail: trail.answered(peer, parent))
                self._with(
                    message.result.exchange_id,
                    lambda e: e.on_result(session.peer, message.result, now=self._clock()),
                )
            case "page":
                self._on_page(session, message.page)
            case "suspensions":
                self.people.suspensions(session, message.suspensions.notices)
            case "noted":
                self.people.noted(session, message.noted.digests)
            case "records_answer":
                self.retrievals.came(session, message.records_answer)
            case "records_page":
                self.retrievals.came(session, message.records_page)
            case "checkpoint" | "proof_request" | "proofs" | "cosignature" as name:
                if self._open_sessions.get(session.peer) is session:  # else it comes too late
                    self.logs.took(session.peer, getattr(message, name))
            case _:
                pass

    def _on_page(self, session: Session, delivery: session_pb2.PageDelivery) -> None:
        """Take a page, and give credit for another one if one may follow."""
        running = self._running.get(delivery.exchange_id)
        if running is None:
            return
        may_follow = running.exchange.on_page(session.peer, delivery)
        running.changed.set()
        while self._held.bytes > self._limits.max_held_bytes:
            greatest = max(self._running.values(), key=lambda one: one.exchange.held)
            self._let_go(greatest, HoldsTooMuch("this gateway holds too much of answers; ask for less"))
        if may_follow and running.let_go is None:
            credit = session_pb2.PageCredit(exchange_id=delivery.exchange_id, pages=1)
            with contextlib.suppress(LinkError):
                session.send(session_pb2.SessionMessage(credit=credit))

    def on_session_opened(self, session: Session) -> None:
        """A session became ready; from now on both ends show each other their newest checkpoints."""
        self.logs.connected(session.peer)
        self._open_sessions[session.peer] = session
        self.people.opened(session)
        self._hold_to_account(session)
        self._record("session_opened", {"peer": session.peer, "certificate": session.certificate.hex()})

    def _hold_to_account(self, session: Session) -> None:
        """Compare what the broker last said of a provider's link with what the provider says of it."""
        said = self._said_absent.pop(session.peer, None)
        if said is None:
            return
        found = said.refuted(session.peer_linked_since, operator=self.federation.operator.agency)
        if found is not None:
            LOGGER.warning("%s", found.text)
            entry = records.contradicted(self.agency, said.exchange_id, [found], self._clock())
            self.start(self._record_beside(entry))

    def on_session_closed(self, session: Session, reason: link_pb2.CloseReason, text: str) -> None:
        """A session ended: every exchange that awaits something of its peer learns so."""
        if reason == link_pb2.CLOSE_REASON_LOG_CONTRADICTED:
            LOGGER.error("session with %s closed (%s): %s", session.peer, reason_name(reason), text)
        if self._open_sessions.get(session.peer) is session:
            del self._open_sessions[session.peer]
        self.retrievals.closed(session)
        for running in list(self._running.values()):
            if running.sessions.get(session.peer) is session:
                self._session_failed(running, session.peer, reason)
        self._record("session_closed", {"peer": session.peer, "reason": reason_name(reason)})

    def on_session_refused(self, peer: str, reason: link_pb2.CloseReason, text: str) -> None:
        """A session never became ready. That a provider is absent is no event of its own."""
        if reason == link_pb2.CLOSE_REASON_PEER_ABSENT:
            return
        LOGGER.warning("session with %s was not opened: %s", peer, text)
        self._record("session_refused", {"peer": peer, "reason": reason_name(reason)})

    def linked(self, welcome: link_pb2.Welcome) -> None:
        """The link is up."""
        LOGGER.info("linked to the broker")
        self.link_up.set()
        self.own_revocations.linked(welcome)
        self.logs.connected(self.federation.operator.agency)
        self._record("link_opened", {"peer": self.federation.operator.agency})
        if self.sessions is not None:
            self.sessions.linked(welcome)

    def unlinked(self, reason: link_pb2.CloseReason, text: str) -> None:
        """The link is gone; the client dials again by itself."""
        level = logging.INFO if self.is_stopping else logging.WARNING
        LOGGER.log(level, "the link to the broker ended (%s): %s", reason_name(reason), text)
        self.link_up.clear()
        if self.rosters is not None:
            self.rosters.unlinked()
        if self.sessions is not None:
            self.sessions.unlinked(reason, text)
        for running in self._running.values():
            running.exchange.on_link_lost()
            running.changed.set()
        self._record("link_closed", {"peer": self.federation.operator.agency, "reason": reason_name(reason)})

    def frames(self, frames: Sequence[link_pb2.LinkFrame]) -> None:
        """Take one message's frames from the link: first the exchanges', then the sessions'."""
        for frame in frames:
            self._on_frame(frame)
        if self.sessions is not None:
            self.sessions.frames(frames)

    # -- peers' logs and ours -------------------------------------------------------------------

    async def exchange_checkpoints(self) -> None:
        """Show our newest checkpoint to the broker and to every session's peer, about each second."""
        while True:
            await asyncio.sleep(1.0)
            self.logs.offer()
            self.logs.tick()

    # -- small parts ----------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside; its errors are logged by their kind alone."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def settle_tasks(self) -> None:
        """Wait for exchanges that end without their link, and for what runs beside, before the log closes.

        At most two seconds each: a caller who takes no more of an answer holds nobody up.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._idle.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SETTLE_SECONDS)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("a task beside the exchanges failed: %s", describe_fault(error))

    def _record(self, kind: str, public: Mapping[str, str]) -> None:
        self.start(self._record_beside(records.event(kind, self.agency, self._clock(), **public)))

    async def _record_beside(self, entry: Entry) -> None:
        with contextlib.suppress(AuditUnavailable):
            await self._append(entry)

    def _told(self, exchange_id: bytes, tell: Callable[[Trail], None]) -> None:
        running = self._running.get(exchange_id)
        if running is not None:
            tell(running.trail)

    def _with(self, exchange_id: bytes, act: Callable[[Exchange], None]) -> None:
        running = self._running.get(exchange_id)
        if running is not None:
            act(running.exchange)
            running.changed.set()

    def _send_link(self, frame: link_pb2.LinkFrame) -> None:
        if self.link is not None:
            with contextlib.suppress(LinkError):
                self.link.send(frame)


def _require_kept(running: _Running) -> None:
    """Raise why an exchange was let go, if it was."""
    if running.let_go is not None:
        raise running.let_go


def _plan_message(
    question: Question,
    order: SignedOrder | None,
    providers: Sequence[str],
    not_asked: Sequence[query_service_pb2.NotAsked],
    now: datetime,
    house: HouseSaid | None = None,
) -> query_service_pb2.SearchResponse:
    plan = query_service_pb2.Plan(
        exchange_id=order.exchange_id if order else b"",
        asked=providers,
        not_asked=not_asked,
        deadline=from_instant(order.deadline if order else now),
        folded_plate=question.folded_plate,
        house_warnings=map(citation, house.warnings) if house else (),
    )
    return query_service_pb2.SearchResponse(plan=plan)
