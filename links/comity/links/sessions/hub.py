"""The sessions of one end: opened when first needed, shared, renewed, closed with whatever they depend on.

`GatewaySessions` opens, `AdapterSessions` accepts. Both are fed by the end's `LinkEvents`: call their
`linked`, `unlinked` and `frames` with what the link gives. Everything runs on the event loop.

A session ends with either end's link, with either leaf's `notAfter`, when the agreement is no longer in
force or the roster no longer carries the peer's certificate, and, some time after
`SessionLimits.max_age`, to be replaced by a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime

from comity.certs.instants import from_instant, to_instant
from comity.links.errors import LinkDown, ProtocolViolation, SessionFailed, describe_fault
from comity.links.frames import PROTOCOL_VERSION, session_close
from comity.links.sessions.core import LANE, LOG_MESSAGES, Ending, FrameSender, NoTrust, SessionHub, violation
from comity.links.sessions.session import (
    OnClosed,
    OnMessage,
    OnOpened,
    OnRefused,
    Session,
    SessionLimits,
    Trust,
)
from comity.links.sessions.tls import SessionIdentity, own_identity
from comity.v1.link_pb2 import CloseReason, LinkFrame, SessionClose, SessionOpen
from comity.v1.session_pb2 import Ready, SessionMessage

__all__ = [
    "AdapterSessions",
    "FrameSender",
    "GatewaySessions",
    "OnClosed",
    "OnMessage",
    "OnOpened",
    "OnRefused",
    "Session",
    "SessionIdentity",
    "SessionLimits",
    "own_identity",
]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class GatewaySessions(SessionHub):
    """The requester's end: one session per provider, opened when first needed.

    `on_refused` hears of openings that failed. The arguments are `SessionHub`'s.
    """

    server_side = False
    longest = 1
    accepted = (
        frozenset({"result", "page", "records_answer", "records_page", "end"})
        | frozenset({"suspensions", "noted"})
        | LOG_MESSAGES
    )

    _current: dict[str, Session] = field(default_factory=dict, init=False)
    _opening: dict[int, Session] = field(default_factory=dict, init=False)
    _references: int = field(default=0, init=False)

    async def session(self, provider: str, *, timeout: float | None = None) -> Session:
        """Return the ready session with a provider, opening it if there is none; callers share an opening.

        `timeout` (seconds) is this caller's own; the opening goes on for the others. Raises
        `SessionFailed` with NO_AGREEMENT or LOG_CONTRADICTED (nothing was sent), PEER_ABSENT (the broker says
        that the provider has no link), HANDSHAKE (it failed, or not in time), CREDENTIALS (the provider's
        certificate is not accepted), UNSPECIFIED (the own link is down), or the reason of whoever closed it.
        """
        try:
            trust = self._trust(provider)
        except NoTrust as error:
            raise SessionFailed(provider, error.reason, str(error)) from error
        session = self._current.get(provider)
        if session is None or self._is_due(session, trust):
            session = self._open(provider, trust)
        waiter = session.progress.waiter
        if waiter is not None and not waiter.done():
            await asyncio.wait({waiter}, timeout=timeout)
        if session.is_open:
            return session
        late = CloseReason.CLOSE_REASON_HANDSHAKE, "not ready in the caller's time"
        raise SessionFailed(provider, *(session.progress.ended or late))

    def _is_worn(self, session: Session, now: datetime) -> bool:
        """As the hub's, and a session under another leaf than the own one, or with one that ends soon, too.

        The provider's new leaf needs no word of its own: sessions are renewed hourly, and before either ends.
        """
        if not session.is_open:
            return False
        other = session.progress.identity is not self.identity
        return other or self._is_ending(session, now) or super()._is_worn(session, now)

    def _is_due(self, session: Session, trust: Trust) -> bool:
        """Return whether a session is to be replaced: worn, or under another agreement or CA."""
        if not session.is_open:
            return False
        return trust != session.progress.trust or self._is_worn(session, self.clock())

    def _open(self, provider: str, trust: Trust) -> Session:
        self._references += 1
        reference = self._references
        request = SessionOpen(reference=reference, peer=provider, lane=LANE)
        try:
            session = self._new(trust, reference=reference)
            self.link.send(LinkFrame(session_open=request))
        except LinkDown as error:
            raise SessionFailed(provider, CloseReason.CLOSE_REASON_UNSPECIFIED, str(error)) from error
        session.progress.waiter = asyncio.get_running_loop().create_future()
        self._current[provider] = self._opening[reference] = session
        return session

    def _opened(self, opened: SessionOpen) -> None:
        session = self._opening.pop(opened.reference, None)
        if session is None:  # its opening was given up meanwhile
            self._send([session_close(CloseReason.CLOSE_REASON_IDLE, session_id=opened.session_id)])
            return
        try:
            if opened.peer != session.peer or opened.lane != LANE or opened.session_id in self._sessions:
                raise violation("broker opened another session than was asked for")
            session.progress.engine.channel.opened(opened.session_id)
        except ProtocolViolation as fault:
            self._fail(session, (fault.reason, fault.text))
        else:
            self._begin(session)

    def _closed_afar(self, close: SessionClose) -> None:
        opening = None if close.session_id else self._opening.get(close.reference)
        if opening is None:
            super()._closed_afar(close)
        elif close.reason == CloseReason.CLOSE_REASON_PEER_ABSENT:
            self._end(opening, (close.reason, "the broker has no link of this provider"))
        else:
            self._end(opening, (close.reason, "the broker didn't open it"))

    def _judged(self, session: Session, messages: list[SessionMessage]) -> list[SessionMessage]:
        if not messages:
            return messages
        first, *rest = messages
        if first.WhichOneof("message") != "ready":
            raise violation("session begins without the adapter's ready")
        self._check_ready(session, first.ready)
        session.page_window = first.ready.page_window
        self._ready(session)
        return rest

    def _check_ready(self, session: Session, ready: Ready) -> None:
        if ready.version != PROTOCOL_VERSION or ready.agency != session.peer or not ready.page_window:
            raise violation("adapter's ready names another version or agency, or no page may be sent")
        if ready.HasField("linked_since"):
            try:
                session.peer_linked_since = to_instant(ready, "linked_since")
            except ValueError as error:
                raise violation("adapter's ready names a time that is none") from error
        if ready.agreement_digest != session.agreement_digest:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_NO_AGREEMENT,
                "adapter holds another agreement in force than this end",
            )

    def _trust(self, peer: str) -> Trust:
        return self._pair(provider=peer, requester=self.identity.agency, peer=peer, path="adapter")

    def _all(self) -> list[Session]:
        return [*self._sessions.values(), *self._opening.values()]

    def _forget(self, session: Session) -> None:
        super()._forget(session)
        self._opening.pop(session.progress.engine.channel.reference, None)
        if self._current.get(session.peer) is session:
            del self._current[session.peer]


@dataclass(kw_only=True, eq=False)
class AdapterSessions(SessionHub):
    """The provider's end: accepts sessions of requesters with an agreement in force, and of nobody else.

    `on_refused` hears of those it didn't accept, and of those whose handshake failed. The arguments are
    `SessionHub`'s.
    """

    server_side = True
    longest = 2  # renewal is the gateway's; only a session that it forgot is ended here
    accepted = (
        frozenset({"ask", "cancel", "credit", "acknowledgement", "end"})
        | frozenset({"records_request", "records_credit", "records_cancel", "user_acts", "noted"})
        | LOG_MESSAGES
    )

    def _is_under_other(self, session: Session, trust: Trust) -> bool:
        """As the hub's, but for the gateway's CAs: by those of now its leaf was judged again.

        The gateway has no reason to open another session because of its own CAs, and goes on asking in it.
        """
        return trust.agreement_digest != session.progress.trust.agreement_digest

    def _opened(self, opened: SessionOpen) -> None:
        """Refuse before any byte of TLS, or begin."""
        ending = self._unacceptable(opened)
        if ending is None:
            try:
                trust = self._trust(opened.peer)
            except NoTrust as error:
                ending = error.reason, str(error)
            else:
                try:
                    session = self._new(trust, session_id=opened.session_id)
                except LinkDown:  # the link ended over what came before this in the same message
                    return
                self._begin(session)
                return
        self._send([session_close(ending[0], session_id=opened.session_id)])
        if self.on_refused is not None:
            named = ascii(opened.peer)[1:-1][:60]  # the broker's word alone: of any length, no agency's maybe
            try:
                self.on_refused(named, *ending)
            except Exception as error:
                _log.error("fault while a session was refused: %s", describe_fault(error))

    def _unacceptable(self, opened: SessionOpen) -> Ending | None:
        if not opened.session_id or opened.session_id in self._sessions or opened.lane != LANE:
            return CloseReason.CLOSE_REASON_PROTOCOL, "broker opened a session without a new id or lane"
        having = sum(session.peer == opened.peer for session in self._sessions.values())
        if having >= self.limits.sessions_per_requester:
            return CloseReason.CLOSE_REASON_LIMIT, f"more than {having} sessions at a time"
        return None

    def _judged(self, session: Session, messages: list[SessionMessage]) -> list[SessionMessage]:
        if messages:
            raise violation("gateway sent before it was told that this end is ready")
        ready = Ready(
            version=PROTOCOL_VERSION,
            agency=self.identity.agency,
            agreement_digest=session.agreement_digest,
            page_window=self.limits.page_window,
        )
        if self._linked_at is not None:
            ready.linked_since.CopyFrom(from_instant(self._linked_at))
        session.page_window = self.limits.page_window
        session.progress.engine.queue((SessionMessage(ready=ready),))
        self._ready(session)
        return messages

    def _trust(self, peer: str) -> Trust:
        return self._pair(provider=self.identity.agency, requester=peer, peer=peer, path="gateway")
