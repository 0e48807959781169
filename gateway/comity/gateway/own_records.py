"""Retrieves a provider's records of this agency's own users, for its auditors (L3, L6).

In order: the user is an auditor; that they retrieve is durable in the log; the request leaves; each record is
verified before it is given; a page is given before the provider may send the next. What doesn't verify ends
the retrieval, and stands in the log with the statement that the provider signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from comity.audit.entry import Entry
from comity.audit.errors import RecordsInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.retrieval.checking import RecordsCheck, open_statement, require_asked
from comity.certs.assertions import Claims
from comity.certs.clock import Clock
from comity.certs.errors import UnknownLog, UnknownMember
from comity.certs.instants import from_instant, to_instant
from comity.certs.roster import Federation, MemberView
from comity.gateway import records
from comity.gateway.errors import (
    Busy,
    FieldViolation,
    GatewayError,
    NotAnAuditor,
    ProviderBusy,
    ProviderUnable,
    ProviderUnreachable,
    RecordsUnverifiable,
    RequestInvalid,
)
from comity.gateway.verification import is_revoked
from comity.links.errors import LinkError, SessionFailed
from comity.links.frames import reason_name
from comity.links.sessions.hub import GatewaySessions, Session
from comity.v1.audit_service_pb2 import RecordsBatch, RetrieveRecordsRequest, RetrieveRecordsResponse
from comity.v1.common_pb2 import Period
from comity.v1.envelope_pb2 import Envelope
from comity.v1.records_pb2 import RECORDS_REFUSAL_LIMIT, RECORDS_REFUSAL_MALFORMED, RecordsRefusal
from comity.v1.session_pb2 import (
    RecordsAnswer,
    RecordsCancel,
    RecordsCredit,
    RecordsPage,
    RecordsRequest,
    SessionMessage,
)

LOGGER = logging.getLogger("comity.gateway")

AT_A_TIME: Final = 4
"""Retrievals in flight at one gateway."""
TIMEOUT: Final = timedelta(minutes=10)
LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsWanted:
    """A request for records that is whole."""

    provider: str
    start: datetime
    end: datetime
    timeout: timedelta

    @property
    def period(self) -> Period:
        """The period as it travels."""
        return Period(start=from_instant(self.start), end=from_instant(self.end))


def parse_request(request: RetrieveRecordsRequest, *, within: timedelta | None) -> RecordsWanted:
    """Return what is wanted; `within` is left of the caller's own deadline. Raises `RequestInvalid`."""
    wrong: list[FieldViolation] = []

    def complain(name: str, description: str) -> None:
        wrong.append(FieldViolation(field=name, description=description))

    if not request.provider:
        complain("provider", "the agency whose records are wanted")
    start = end = None
    try:
        start, end = to_instant(request.period, "start"), to_instant(request.period, "end")
        if start >= end:
            complain("period", "a start and a later end")
    except ValueError:
        complain("period", "a start and an end")
    timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else TIMEOUT
    if not timedelta(seconds=1) <= timeout <= LONGEST:
        complain("timeout", "from 1 second to 1 hour")
    if wrong or start is None or end is None:
        raise RequestInvalid(tuple(wrong))
    timeout = timeout if within is None else min(timeout, within)
    return RecordsWanted(provider=request.provider, start=start, end=end, timeout=timeout)


@dataclass(slots=True, kw_only=True, eq=False)
class _Retrieval:
    """One retrieval in flight: what came and is not looked at, bounded by the credit that was given."""

    provider: str
    request_id: bytes
    deadline: datetime
    session: Session
    room: int
    """Messages that the provider may still send."""
    known: MemberView | None = None
    """The provider, as its statement was verified by."""
    came: asyncio.Queue[RecordsAnswer | RecordsPage | GatewayError] = field(default_factory=asyncio.Queue)


class Retrievals:
    """All retrievals of one gateway."""

    def __init__(
        self,
        *,
        agency: str,
        auditor_role: str,
        federation: Callable[[], Federation],
        sessions: Callable[[], GatewaySessions | None],
        append: Callable[[Claims, Entry], Awaitable[object]],
        beside: Callable[[Entry], None],
        clock: Clock,
    ) -> None:
        """`append` logs durably what a user does or raises `AuditUnavailable`, `beside` does not wait.

        The checkpoint in a statement is not taken for one that the provider shows: a newer one may have
        overtaken it, which would look like a log that shrank, and the provider shows its newest anyway.
        """
        self._agency = agency
        self._role = auditor_role
        self._federation = federation
        self._sessions = sessions
        self._append = append
        self._beside = beside
        self._clock = clock
        self._running: dict[bytes, _Retrieval] = {}
        self._taken = 0

    def __len__(self) -> int:
        """Return how many are in flight."""
        return len(self._running)

    def require_auditor(self, claims: Claims) -> None:
        """Raise `NotAnAuditor` unless the agency says that the user is one, and in good standing."""
        if self._role not in claims.roles:
            raise NotAnAuditor(f"your agency does not say that you have the role `{self._role}`")
        if not claims.good_standing:
            raise NotAnAuditor("your agency does not say that you are in good standing (Q4)")

    async def retrieve(
        self, wanted: RecordsWanted, claims: Claims
    ) -> AsyncGenerator[RetrieveRecordsResponse, None]:
        """Yield the provider's statement and then batches, all verified; close it to cancel.

        Raises `NotAnAuditor`, `RequestInvalid`, `Busy`, `AuditUnavailable`, `ProviderUnreachable`,
        `ProviderBusy`, `ProviderUnable`, `RecordsUnverifiable`.
        """
        self.require_auditor(claims)
        if wanted.provider == self._agency or wanted.provider not in self._federation().members:
            wrong = FieldViolation(field="provider", description="another member's agency id")
            raise RequestInvalid((wrong,))
        if self._taken >= AT_A_TIME:
            raise Busy("too many retrievals are in flight at this gateway; try again later")
        self._taken += 1
        try:
            now = self._clock()
            await self._append(
                claims,
                records.retrieving(
                    self._agency, wanted.provider, claims, start=wanted.start, end=wanted.end, at=now
                ),
            )
            async with contextlib.aclosing(self._answer(wanted, now + wanted.timeout)) as messages:
                async for message in messages:
                    yield message
        finally:
            self._taken -= 1

    async def _answer(
        self, wanted: RecordsWanted, deadline: datetime
    ) -> AsyncGenerator[RetrieveRecordsResponse, None]:
        session = await self._session(wanted)
        retrieval = _Retrieval(
            provider=wanted.provider,
            deadline=deadline,
            request_id=secrets.token_bytes(16),
            session=session,
            room=session.page_window + 1,
        )
        self._running[retrieval.request_id] = retrieval
        done = False
        try:
            request = RecordsRequest(
                request_id=retrieval.request_id, period=wanted.period, deadline=from_instant(deadline)
            )
            session.send(SessionMessage(records_request=request))
            statement, check = await self._statement(retrieval, wanted)
            yield RetrieveRecordsResponse(statement=statement)
            while check.count < check.statement.count:
                page = await self._page(retrieval)
                with self._told(retrieval, statement):
                    self._require_counting(retrieval, statement)
                    for record in page.records:
                        check.take(record)
                    if not page.records:
                        raise RecordsInvalid("a page without records")
                yield RetrieveRecordsResponse(batch=RecordsBatch(records=page.records))
                retrieval.room += 1
                session.send(
                    SessionMessage(records_credit=RecordsCredit(request_id=retrieval.request_id, pages=1))
                )
            with self._told(retrieval, statement):
                self._require_counting(retrieval, statement)
                check.finish()
            done = True
        except LinkError as error:
            raise ProviderUnreachable(f"the session with `{wanted.provider}` ended") from error
        finally:
            del self._running[retrieval.request_id]
            if not done and session.is_open:
                stop = RecordsCancel(request_id=retrieval.request_id)
                with contextlib.suppress(LinkError):
                    session.send(SessionMessage(records_cancel=stop))

    async def _session(self, wanted: RecordsWanted) -> Session:
        sessions = self._sessions()
        if sessions is None:
            raise ProviderUnreachable("this gateway has no link to the broker now")
        try:
            return await sessions.session(wanted.provider, timeout=wanted.timeout.total_seconds())
        except SessionFailed as error:
            raise ProviderUnreachable(
                f"there is no session with `{wanted.provider}`: {reason_name(error.reason)}"
            ) from error

    async def _statement(self, retrieval: _Retrieval, wanted: RecordsWanted) -> tuple[Envelope, RecordsCheck]:
        answer = await self._next(retrieval)
        if not isinstance(answer, RecordsAnswer):
            raise _disordered(retrieval)
        with self._told(retrieval, answer.statement):
            try:
                member = self._federation().member(retrieval.provider)
            except UnknownMember as error:
                raise RecordsInvalid(str(error)) from error
            statement, retrieval.known = open_statement(answer.statement, member), member
            self._require_counting(retrieval, answer.statement)
            require_asked(
                statement, request_id=retrieval.request_id, requester=self._agency, period=wanted.period
            )
            try:
                keys = KeyHistory.named(member.key_set.log_key(f"{member.domain}/adapter"))
            except UnknownLog as error:
                raise RecordsInvalid(str(error)) from error
            check = RecordsCheck(statement, keys=keys)
        return answer.statement, check

    @contextlib.contextmanager
    def _told(self, retrieval: _Retrieval, statement: Envelope) -> Iterator[None]:
        """Log, and tell the caller, what of a provider's records does not verify."""
        try:
            yield
        except RecordsInvalid as error:
            LOGGER.error("records of `%s` do not verify: %s", retrieval.provider, error)
            self._beside(
                records.unverifiable(self._agency, retrieval.provider, str(error), statement, self._clock())
            )
            raise RecordsUnverifiable(f"what `{retrieval.provider}` sent does not verify: {error}") from error

    def _require_counting(self, retrieval: _Retrieval, statement: Envelope) -> None:
        """Raise `RecordsInvalid` once the provider, or the key that signed the statement, is revoked."""
        member, known = self._federation().members.get(retrieval.provider), retrieval.known
        if member is not None and known is not None and is_revoked(statement, known, member):
            raise RecordsInvalid("the provider, or the statement key that signed them, is revoked")

    async def _page(self, retrieval: _Retrieval) -> RecordsPage:
        page = await self._next(retrieval)
        if not isinstance(page, RecordsPage):
            raise _disordered(retrieval)
        return page

    async def _next(self, retrieval: _Retrieval) -> RecordsAnswer | RecordsPage:
        """Return the next message; raise what ended the retrieval, its deadline among it."""
        left = (retrieval.deadline - self._clock()).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left)):
                came = await retrieval.came.get()
        except TimeoutError as error:
            raise ProviderUnreachable(f"`{retrieval.provider}` did not give all records in time") from error
        if isinstance(came, GatewayError):
            raise came
        if isinstance(came, RecordsAnswer) and came.WhichOneof("answer") != "statement":
            raise _refused(retrieval.provider, came.refusal)
        return came

    # -- what arrives ---------------------------------------------------------------------------

    def came(self, session: Session, message: RecordsAnswer | RecordsPage) -> None:
        """Take a message of the session in which its request was made; any other is let go."""
        retrieval = self._running.get(message.request_id)
        if retrieval is None or retrieval.session is not session:
            return
        if retrieval.room < 0:
            return
        retrieval.room -= 1
        if retrieval.room < 0:
            fault = RecordsUnverifiable(f"`{retrieval.provider}` sends more than it was given credit for")
            retrieval.came.put_nowait(fault)
            return
        retrieval.came.put_nowait(message)

    def waits_in(self, session: Session) -> bool:
        """Return whether a retrieval goes on in a session."""
        return any(retrieval.session is session for retrieval in self._running.values())

    def closed(self, session: Session) -> None:
        """End the retrievals of a session that is over."""
        for retrieval in self._running.values():
            if retrieval.session is session:
                ended = ProviderUnreachable(f"the session with `{retrieval.provider}` ended")
                retrieval.came.put_nowait(ended)


def _disordered(retrieval: _Retrieval) -> GatewayError:
    return RecordsUnverifiable(f"`{retrieval.provider}` sent records in another order than agreed")


def _refused(provider: str, refusal: RecordsRefusal) -> GatewayError:
    if refusal == RECORDS_REFUSAL_LIMIT:
        return ProviderBusy(f"`{provider}` gives no more records now; ask again later")
    if refusal == RECORDS_REFUSAL_MALFORMED:
        return ProviderUnable(f"`{provider}` does not take the request for records")
    return ProviderUnable(f"`{provider}` can't give records now: its log can't be written or read")
