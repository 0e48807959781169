"""Other agencies' users: counted when they are refused, suspended, told of, dismissed and readmitted (Q8).

A refusal for want of authorization is counted before its receipt leaves. The one that is too many suspends:
that is on disk and in the log before the refusal leaves, and the user's agency is told by a signed notice, at
once where it has a session, else when it opens one, until it noted it.

An agency's act about its user counts where the session's peer is that agency and signed it, and it is later
than the last one. A termination bars from the moment it is read, and what is in flight of that user ends. A
question that came after an act waits until that is in force.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from comity.adapters import records
from comity.adapters.barring import Barring, Notice, Suspension
from comity.adapters.beside import Appends, Beside
from comity.adapters.errors import StateUnwritable
from comity.audit.entry import Entry
from comity.audit.errors import AuditError
from comity.certs.clock import Clock
from comity.certs.envelope import digest, seal, seal_payload
from comity.certs.errors import UserActInvalid
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import MemberView
from comity.certs.user_acts import NONCE_BYTES, UserAct, verify_user_act
from comity.links.errors import LinkError
from comity.policy.bundle import PolicyBundle
from comity.policy.facts import Barred
from comity.policy.suspension import Returns
from comity.v1 import users_pb2
from comity.v1.envelope_pb2 import Envelope
from comity.v1.session_pb2 import SessionMessage

LOGGER = logging.getLogger("comity.adapters")

AT_A_TIME: Final = 100
"""Notices in one message."""

_RETURNS: Final = {
    Returns.RECERTIFICATION: users_pb2.ACCESS_RETURNS_RECERTIFICATION,
    Returns.LENGTH: users_pb2.ACCESS_RETURNS_LENGTH,
    Returns.EITHER: users_pb2.ACCESS_RETURNS_EITHER,
    Returns.BOTH: users_pb2.ACCESS_RETURNS_BOTH,
}

Append = Callable[[Entry], Awaitable[object]]
"""Writes an entry durably or raises `LogUnwritable`."""


class Peer(Protocol):
    """A session, as far as this needs it."""

    @property
    def peer(self) -> str:
        """The agency that the session's TLS verified."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""

    def send(self, *messages: SessionMessage) -> None:
        """Queue messages; raise `LinkError`."""


class People:
    """Who of other agencies' users may ask here. `sessions` and `dismiss` are set by the end."""

    sessions: Mapping[str, Peer]
    """The newest open session of each agency."""
    dismiss: Callable[[str, str], None]
    """(agency, user): end what is in flight of a user."""

    def __init__(
        self,
        *,
        agency: str,
        barring: Barring,
        key: SigningKey,
        log: Appends,
        beside: Beside,
        member: Callable[[str], MemberView | None],
        clock: Clock,
    ) -> None:
        self.sessions = {}
        self.dismiss = lambda agency, user: None
        self._agency = agency
        self._barring = barring
        self.key = key
        """The statement key in force."""
        self._log = log
        self._beside = beside
        self._member = member
        self._clock = clock
        self._owing = asyncio.Lock()
        """Held while a refusal is counted and a suspension logged."""
        self._told_owing = False
        self._keeping: dict[str, tuple[int, asyncio.Event]] = {}
        """By agency: how many deliveries of acts are being kept, and what is set when none is."""

    # -- the path -------------------------------------------------------------------------------

    def barred(self, agency: str, user: str) -> Barred | None:
        """Return why a user may not ask here now; None: nothing bars them."""
        return self._barring.barred(agency, user, self._clock())

    async def settled(self, agency: str) -> None:
        """Wait until the acts that an agency sent before are in force, or can't be kept now."""
        if agency in self._keeping:
            await self._keeping[agency][1].wait()

    def refused(
        self, agency: str, user: str, exchange_id: bytes, *, bundle: PolicyBundle, append: Append
    ) -> asyncio.Future[None]:
        """Count a refusal for want of authorization, and suspend where the policy says so.

        Everything is durable when what this returns is done. It is begun at once, in a task of its own, which
        goes on if the caller is cancelled. Raises `StateUnwritable`, and what `append` raises.
        """
        terms = bundle.manifest.suspension

        def sign(suspension: Suspension, exchange_ids: tuple[bytes, ...]) -> Notice:
            return self._notice(agency, user, suspension, exchange_ids, bundle.digest)

        async def count() -> None:
            if terms is None:
                return
            async with self._owing:
                notice = await self._barring.refused(agency, user, exchange_id, terms, self._clock(), sign)
                if notice is not None:
                    await self._log_notice(notice, append)

        return asyncio.shield(self._beside.start(count()))

    async def _log_notice(self, notice: Notice, append: Append) -> None:
        """Log a suspension and tell its agency, while `_owing` is held, so that it is logged once."""
        await append(records.user_suspended(self._agency, notice.envelope, self._clock()))
        await self._barring.notice_logged(notice)
        LOGGER.warning(
            "a user of `%s` is suspended: refused too often for want of authorization", notice.agency
        )
        self._tell(notice.agency)

    # -- the end --------------------------------------------------------------------------------

    async def take_up(self) -> None:
        """Log suspensions that the log doesn't have yet; raise `AuditError`, `StateUnwritable`."""
        async with self._owing:
            for notice in self._barring.unlogged():
                await self._log_notice(notice, self._log.append)

    def tick(self) -> None:
        """Try again to log suspensions that couldn't be logged, if there are any and nobody is at it."""
        if not self._owing.locked() and self._barring.unlogged():
            self._beside.start(self._try_to_take_up())

    async def _try_to_take_up(self) -> None:
        try:
            await self.take_up()
        except (AuditError, StateUnwritable) as error:
            if not self._told_owing:
                LOGGER.error("a suspension can't be logged, which is tried again: %s", error)
            self._told_owing = True
        else:
            self._told_owing = False

    def opened(self, session: Peer) -> None:
        """A session is ready: its agency is told what it has not noted."""
        self.tick()
        self._tell(session.peer)

    def noted(self, session: Peer, digests: Sequence[bytes]) -> None:
        """An agency has noted notices."""
        self._beside.start(self._forget(session.peer, tuple(digests)))

    def acts(self, session: Peer, acts: Sequence[Envelope]) -> None:
        """Take an agency's acts about its users into force; those that don't count change nothing."""
        agency, now = session.peer, self._clock()
        member = self._member(agency)
        fresh: list[UserAct] = []
        for envelope in acts:
            if member is None or self._barring.knows(digest(envelope.payload)):
                continue
            try:
                act = verify_user_act(envelope, member=member, now=now)
            except UserActInvalid as error:
                LOGGER.warning("an act about a user is not accepted: %s", error)
                continue
            if self._barring.is_stale(act):
                LOGGER.warning("an act of `%s` about a user is no newer than the last one", agency)
                continue
            self._barring.bar(act)
            if act.terminates:
                self.dismiss(agency, act.user)
            fresh.append(act)
        if fresh:
            count, kept = self._keeping.get(agency, (0, asyncio.Event()))
            self._keeping[agency] = (count + 1, kept)
            self._beside.start(self._keep(session, fresh))

    async def _keep(self, session: Peer, acts: Sequence[UserAct]) -> None:
        """Put acts on disk, into the log and into force, and say so. What fails is sent again another day."""
        digests = []
        try:
            for act in acts:
                ended = await self._barring.keep_act(act)
                if ended is None:
                    LOGGER.warning("an act of `%s` about a user came after a later one", session.peer)
                    continue
                await self._log.append(records.user_act(self._agency, act, ended=ended, at=self._clock()))
                await self._barring.act_logged(act)
                digests.append(act.digest)
        except (AuditError, StateUnwritable) as error:
            LOGGER.error("acts about users can't be kept: %s", error)
            return
        finally:
            self._kept(session.peer)
        if digests:
            _send(session, SessionMessage(noted=users_pb2.NotedDelivery(digests=digests)))

    def _kept(self, agency: str) -> None:
        count, kept = self._keeping.pop(agency)
        if count > 1:
            self._keeping[agency] = (count - 1, kept)
        else:
            kept.set()

    async def _forget(self, agency: str, digests: Sequence[bytes]) -> None:
        try:
            await self._barring.noted(agency, digests)
        except StateUnwritable as error:
            LOGGER.error("that a notice was noted can't be kept: %s", error)

    def _tell(self, agency: str) -> None:
        """Send an agency the notices that it has not noted, if it has a session; under the key in force."""
        session = self.sessions.get(agency)
        if session is None:
            return
        kept = [Envelope.FromString(notice.envelope) for notice in self._barring.notices(agency)]
        envelopes = [seal_payload(each.payload_type, each.payload, self.key) for each in kept]
        for start in range(0, len(envelopes), AT_A_TIME):
            delivery = users_pb2.SuspensionDelivery(notices=envelopes[start : start + AT_A_TIME])
            _send(session, SessionMessage(suspensions=delivery))

    def _notice(
        self,
        agency: str,
        user: str,
        suspension: Suspension,
        exchange_ids: tuple[bytes, ...],
        policy: bytes,
    ) -> Notice:
        """Return what an agency is told of a suspension, signed."""
        notice = users_pb2.SuspensionNotice(
            nonce=secrets.token_bytes(NONCE_BYTES),
            provider=self._agency,
            agency=agency,
            user=user,
            suspended_at=from_instant(suspension.since),
            returns=_RETURNS[suspension.returns],
            refusals=suspension.refusals,
            window_seconds=int(suspension.window.total_seconds()),
            exchange_ids=exchange_ids,
            policy_digest=policy,
        )
        if suspension.until is not None:
            notice.ends_at.CopyFrom(from_instant(suspension.until))
        envelope = seal(notice, self.key)
        return Notice(digest=digest(envelope.payload), agency=agency, envelope=envelope.SerializeToString())


def _send(session: Peer, message: SessionMessage) -> None:
    """Send if the session is open: what is not sent now is sent when the next one opens."""
    if session.is_open:
        try:
            session.send(message)
        except LinkError as error:
            LOGGER.info("what was said of users waits for the next session: %s", type(error).__name__)
