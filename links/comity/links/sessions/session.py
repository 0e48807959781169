"""A session as its owner holds it, and the times and sizes of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from comity.certs.errors import CertificateRevoked
from comity.certs.revocations import RevokedOf
from comity.links.channel import SessionState
from comity.links.sessions.engine import SessionEngine
from comity.links.sessions.tls import ExpectedPeer, SessionIdentity
from comity.v1.link_pb2 import CloseReason
from comity.v1.session_pb2 import SessionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Times and sizes of sessions."""

    handshake_timeout: timedelta = timedelta(seconds=10)
    """From opening to ready."""
    max_age: timedelta = timedelta(hours=1)
    """After this a session is not handed out any more, and closes once idle."""
    idle_after: timedelta = timedelta(seconds=180)
    """Without a message for so long, a session that is past its age is idle: longer than any exchange.

    It is also how long such a session lasts at most, whatever comes in it: no exchange of it is left then.
    """
    quiet_after: timedelta = timedelta(seconds=2)
    """Without a message for so long, a session that must make room closes if its owner waits for nothing."""
    leave_after: timedelta = timedelta(seconds=60)
    """How long what goes on in a session may go on once the CA of the peer's leaf was dropped."""
    pending_bytes: int = 32 * 1024 * 1024
    """Bytes that may wait for credit in one session; more closes it with LIMIT."""
    page_window: int = 4
    """`Ready.page_window` that an adapter gives."""
    sessions_per_requester: int = 8
    """Sessions that an adapter has with one requester at a time."""
    max_records: int = 1 << 23
    """After so many records a session is as if past its age: RFC 8446, section 5.5, allows 2^24.5 a key."""
    tick: timedelta = timedelta(seconds=0.5)
    """How often times, agreements and certificates are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """By whose word a peer may be spoken to now."""

    expected: ExpectedPeer
    """What its leaf must be."""
    agreement_digest: bytes
    """SHA-256 of the payload of the agreement in force."""


class SessionOwner(Protocol):
    """Who carries out what is asked of a session: the hub."""

    def send(self, session: Session, messages: tuple[SessionMessage, ...]) -> None:
        """Queue messages; as `Session.send`."""

    def close_session(self, session: Session, reason: CloseReason, text: str) -> None:
        """Close a session; as `Session.close`."""


@dataclass(slots=True, kw_only=True, eq=False)
class Progress:
    """What the hub, and nobody else, keeps and changes of a session."""

    engine: SessionEngine
    trust: Trust
    since: datetime
    """When its opening began."""
    touched: datetime
    """When a message last came or went."""
    identity: SessionIdentity
    """The own leaf with which it was opened."""
    own_end: datetime
    """When that leaf expires."""
    worn_since: datetime | None = None
    """When it was first found past its age, or under other terms than those in force."""
    leaf: bytes = b""
    """The peer's leaf, DER, once judged."""
    others: tuple[bytes, ...] = ()
    """What the peer sent after its leaf."""
    judged: ExpectedPeer | None = None
    """What the peer's certificate was last judged by since; None: what `trust` expects."""
    was_ready: bool = False
    waiter: asyncio.Future[None] | None = None
    """Done when the session is ready or over: what the callers of an opening share."""
    ended: tuple[CloseReason, str] | None = None
    """Why it is over."""

    def wake(self) -> None:
        """Let those go on who wait for the session to be ready or over."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Session:
    """One session with one agency. Those that are handed out are ready for messages.

    Compared and hashed by identity. All attributes are for reading.
    """

    def __init__(self, owner: SessionOwner, progress: Progress) -> None:
        """Only a hub makes sessions."""
        self.peer: str = progress.trust.expected.agency
        """The other agency's id."""
        self.agreement_digest: bytes = progress.trust.agreement_digest
        """SHA-256 of the payload of the agreement that both ends named in force."""
        self.page_window: int = 0
        """Pages that may be in flight an exchange before credit."""
        self.peer_linked_since: datetime | None = None
        """Since when an adapter says that its link has been up; None: it didn't say."""
        self.certificate: bytes = b""
        """SHA-256 of the peer's leaf."""
        self.opened_at: datetime = progress.since
        """When it became ready."""
        self.ends_at: datetime = progress.since
        """When the first of both leaves expires, and the session with it."""
        self.progress = progress
        """The hub's own."""
        self._owner = owner

    def __repr__(self) -> str:
        state = self.progress.engine.state.name.lower()
        return f"<Session {self.session_id} with `{self.peer}`, {state}>"

    @property
    def session_id(self) -> int:
        """The broker's number for this session; 0 before it has one."""
        return self.progress.engine.channel.session_id

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""
        return self.progress.engine.state is SessionState.READY

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the peer's credit: a sender of much looks at this."""
        return self.progress.engine.pending_bytes

    def is_revoked(self, revoked: RevokedOf) -> bool:
        """Return whether a list revokes the certificates that the peer showed, also once it is over."""
        try:
            revoked.check_chain([self.progress.leaf, *self.progress.others] if self.certificate else [])
        except CertificateRevoked:
            return True
        return False

    def send(self, *messages: SessionMessage) -> None:
        """Queue messages, in order; what is sent in one turn of the loop leaves together.

        Raises `SessionFailed` when the session is over, also by passing `SessionLimits.pending_bytes`;
        `FrameTooLarge` for a message over 1 MiB, then none of these is sent.
        """
        self._owner.send(self, messages)

    def close(
        self, reason: CloseReason = CloseReason.CLOSE_REASON_SHUTDOWN, text: str = "closed by this end"
    ) -> None:
        """Say `SessionEnd` and close; `on_closed` follows on the loop's next turn.

        `text` is for the own log. Does nothing the second time.
        """
        self._owner.close_session(self, reason, text)


OnMessage = Callable[[Session, SessionMessage], None]
"""(session, message): what came, in order; never `ready` or `end`, which are the hub's."""
OnOpened = Callable[[Session], None]
"""(session): it is ready."""
OnClosed = Callable[[Session, CloseReason, str], None]
"""(session, reason, line for the own log): a session that was ready is over; exactly once."""
OnRefused = Callable[[str, CloseReason, str], None]
"""(agency, reason, line for the own log): a session that never became ready."""
