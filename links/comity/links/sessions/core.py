"""What the hubs of both ends share: frames to sessions, turns of the loop, trust, time.

Nothing here says who opens and who accepts; that is `hub`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Protocol

from comity.certs.agreements import AgreementBook
from comity.certs.clock import Clock
from comity.certs.errors import CertificateRejected, CertificateRevoked, CertsError, UnknownMember
from comity.certs.files import read_public
from comity.certs.profile import load_certificate
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem
from comity.links.channel import SessionChannel, SessionState
from comity.links.errors import (
    ConfigUnusable,
    LinkDown,
    LinkError,
    ProtocolViolation,
    SessionFailed,
    describe_fault,
)
from comity.links.frames import kind, reason_name
from comity.links.sessions.engine import SessionEngine
from comity.links.sessions.session import (
    OnClosed,
    OnMessage,
    OnOpened,
    OnRefused,
    Progress,
    Session,
    SessionLimits,
    Trust,
)
from comity.links.sessions.tls import ExpectedPeer, SessionIdentity, TlsEnd, make_context
from comity.v1.link_pb2 import (
    CloseReason,
    Lane,
    LinkFrame,
    SessionClose,
    SessionCredit,
    SessionData,
    SessionOpen,
    Welcome,
)
from comity.v1.session_pb2 import SessionEnd, SessionMessage

_log = logging.getLogger(__name__)

LANE = Lane.LANE_INTERACTIVE
"""The one lane that is spoken."""

LOG_MESSAGES = frozenset({"checkpoint", "proof_request", "proofs", "cosignature"})
"""Kinds of messages with which either end holds the other's log to what it showed."""

Ending = tuple[CloseReason, str]
"""Why a session is over: the reason that the peer gets, and a line for the own log."""


class FrameSender(Protocol):
    """What a hub needs of a link; `LinkClient` is one."""

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames; raises `LinkDown`."""


class NoTrust(LinkError):
    """No session may be opened with an agency; the text says why, for the own log, the reason for both."""

    def __init__(self, text: str, reason: CloseReason = CloseReason.CLOSE_REASON_NO_AGREEMENT) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(kw_only=True, eq=False)
class SessionHub(ABC):
    """The sessions of one end. Raises `ConfigUnusable` if the own certificate can't be read.

    Call `linked`, `unlinked` and `frames` with what the link gives. Callbacks are plain calls on the event
    loop; one that raises costs its session, not the link.
    """

    link: FrameSender
    federation: Federation
    agreements: AgreementBook
    identity: SessionIdentity
    clock: Clock
    on_message: OnMessage
    on_closed: OnClosed
    on_opened: OnOpened | None = None
    on_refused: OnRefused | None = None
    limits: SessionLimits = field(default_factory=SessionLimits)
    is_barred: Callable[[str], bool] | None = None
    """Whether an agency is refused because its log contradicted itself; asked first, and each tick."""
    is_mute: Callable[[], bool] | None = None
    """Whether this end can't speak for its agency, as its own statement key is revoked; asked as well."""
    is_busy: Callable[[Session], bool] | None = None
    """Whether its owner waits for something in a session; one that must make room closes soon if not."""

    server_side: ClassVar[bool]
    accepted: ClassVar[frozenset[str]]
    """Kinds of messages that the other end may send."""
    longest: ClassVar[int]
    """After how many times `SessionLimits.max_age` this end renews."""

    _welcome: Welcome | None = field(default=None, init=False)
    _linked_at: datetime | None = field(default=None, init=False)
    _sessions: dict[int, Session] = field(default_factory=dict, init=False)
    _contexts: dict[tuple[bytes, ...], ssl.SSLContext] = field(default_factory=dict, init=False)
    _dirty: dict[Session, None] = field(default_factory=dict, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _own_end: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._own_end = _end_of(self.identity)

    # What the end calls.

    def linked(self, welcome: Welcome) -> None:
        """Take the link's welcome; new sessions use the certificate that lies on disk now."""
        self._welcome, self._linked_at = welcome, self.clock()
        self._read_own()

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """End every session: their link is gone. PEER_ABSENT it is not, that is said of other ends only."""
        self._welcome = None
        absent = reason == CloseReason.CLOSE_REASON_PEER_ABSENT
        told = CloseReason.CLOSE_REASON_UNSPECIFIED if absent else reason
        for session in self._all():
            self._end(session, (told, f"own link is over: {text}"))

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take what came on the link. Other frames, and those of sessions that are over, are ignored."""
        for frame in frames:
            match kind(frame):
                case "session_data":
                    self._data(frame.session_data)
                case "session_credit":
                    self._credit(frame.session_credit)
                case "session_open":
                    self._opened(frame.session_open)
                case "session_close":
                    self._closed_afar(frame.session_close)
                case _:
                    continue

    def refresh(self, federation: Federation, agreements: AgreementBook) -> None:
        """Take a newer roster and agreements; sessions that they don't carry any more end at once.

        New sessions use the certificate that lies on disk now. If it can't be read, that is told, and what
        is newer counts all the same: nobody stays trusted because of a file of our own.
        """
        self._read_own()
        self.federation = federation
        self.agreements = agreements
        self.tick()

    def take_identity(self, identity: SessionIdentity) -> None:
        """Have new sessions use another leaf of this end. A gateway's older sessions drain meanwhile."""
        self.identity = identity
        self._read_own()

    def tick(self) -> None:
        """Look at times, agreements and certificates; happens by itself while there are sessions."""
        now = self.clock()
        for session in self._all():
            ending = self._over(session, now)
            if ending is not None:
                self._fail(session, ending)

    @property
    def count(self) -> int:
        """Sessions that have begun and are not over."""
        return len(self._sessions)

    def close(self) -> None:
        """End every session with SHUTDOWN, and stop looking at the time."""
        for session in self._all():
            self.close_session(session, CloseReason.CLOSE_REASON_SHUTDOWN, "this end stops")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What a session asks for.

    def send(self, session: Session, messages: tuple[SessionMessage, ...]) -> None:
        """Queue messages in a session; as `Session.send`."""
        progress = session.progress
        if not session.is_open:
            reason, text = progress.ended or (CloseReason.CLOSE_REASON_UNSPECIFIED, "it is not ready")
            raise SessionFailed(session.peer, reason, text)
        progress.engine.queue(messages)
        progress.touched = self.clock()
        if session.pending_bytes > self.limits.pending_bytes:
            text = f"more than {self.limits.pending_bytes} bytes wait for credit"
            self._fail(session, (CloseReason.CLOSE_REASON_LIMIT, text), later=True)
            raise SessionFailed(session.peer, CloseReason.CLOSE_REASON_LIMIT, text)
        self._mark(session)

    def close_session(self, session: Session, reason: CloseReason, text: str) -> None:
        """Close a session from this end; as `Session.close`."""
        if session.is_open:
            end = SessionMessage(end=SessionEnd(text=reason_name(reason)))
            session.progress.engine.queue((end,))
            try:
                self._send(session.progress.engine.frames())
            except ProtocolViolation:
                _log.debug("what was queued in a session with `%s` can't be sent any more", session.peer)
        self._fail(session, (reason, text), later=True)

    # What the two ends do differently.

    def _read_own(self) -> None:
        """Have new sessions use what lies on disk; a leaf that can't be read is told."""
        try:
            self._own_end = _end_of(self.identity)
        except ConfigUnusable as error:
            _log.error("own certificate is not read anew: %s", error)
        self._contexts.clear()

    @abstractmethod
    def _opened(self, opened: SessionOpen) -> None:
        """Take the link's word that a session begins."""

    @abstractmethod
    def _judged(self, session: Session, messages: list[SessionMessage]) -> list[SessionMessage]:
        """Make a session ready whose certificates are judged; return the messages for its owner."""

    @abstractmethod
    def _trust(self, peer: str) -> Trust:
        """Return by whose word `peer` may be spoken to now; raises `NoTrust`."""

    def _is_worn(self, session: Session, now: datetime) -> bool:
        """Return whether a session is past its age or its keys' use, and must make room for a new one."""
        tls = session.progress.engine.tls
        used = tls is not None and tls.records >= self.limits.max_records
        return used or now - session.opened_at >= self.longest * self.limits.max_age

    def _is_under_other(self, session: Session, trust: Trust) -> bool:
        """Return whether a session that may go on must make room for one by the word of now."""
        return trust != session.progress.trust

    def _is_ending(self, session: Session, now: datetime) -> bool:
        """Return whether a session's certificates end so soon that its exchanges must end in time.

        That is `idle_after` before, or a third of its life if that is shorter.
        """
        margin = min(self.limits.idle_after, (session.ends_at - session.opened_at) / 3)
        return now >= session.ends_at - margin

    def _all(self) -> list[Session]:
        return list(self._sessions.values())

    # Frames in.

    def _data(self, data: SessionData) -> None:
        session = self._sessions.get(data.session_id)
        if session is None:
            return
        try:
            messages = session.progress.engine.receive(data)
            if session.progress.engine.state is SessionState.HANDSHAKING:
                messages = self._handshaking(session, messages)
            self._give(session, messages)
        except ProtocolViolation as violation:
            self._fail(session, (violation.reason, violation.text))
        except Exception as error:
            self._fault(session, error)
        else:
            self._mark(session)

    def _credit(self, credit: SessionCredit) -> None:
        session = self._sessions.get(credit.session_id)
        if session is None:
            return
        try:
            session.progress.engine.credited(credit)
        except ProtocolViolation as violation:
            self._fail(session, (violation.reason, violation.text))
        else:
            self._mark(session)

    def _closed_afar(self, close: SessionClose) -> None:
        session = self._sessions.get(close.session_id)
        if session is not None:
            self._end(session, (close.reason, f"closed from afar: {reason_name(close.reason)}"))

    def _handshaking(self, session: Session, messages: list[SessionMessage]) -> list[SessionMessage]:
        tls = session.progress.engine.tls
        if tls is None or tls.peer is None:
            return messages
        if not session.certificate:
            session.certificate = tls.peer.fingerprint
            session.ends_at = min(tls.peer.not_after, session.progress.own_end)
            session.progress.leaf, session.progress.others = tls.peer_der, tls.peer_others
        return self._judged(session, messages)

    def _ready(self, session: Session) -> None:
        """Make a session ready and tell its owner."""
        progress = session.progress
        progress.engine.channel.ready()
        session.opened_at = progress.touched = self.clock()
        progress.was_ready = True
        progress.wake()
        if self.on_opened is not None:
            self._call(session, self.on_opened, session)

    def _give(self, session: Session, messages: Sequence[SessionMessage]) -> None:
        """Give messages to the owner; raises `ProtocolViolation` for one that may not be sent here."""
        if messages:
            session.progress.touched = self.clock()
        for message in messages:
            if not session.is_open:
                return
            name = message.WhichOneof("message")
            if name not in self.accepted:
                raise violation(f"session message `{name}` may not be sent here")
            if name == "end":
                self._fail(session, (CloseReason.CLOSE_REASON_SHUTDOWN, "ended by the other end"))
                return
            self._call(session, self.on_message, session, message)

    def _call(self, session: Session, callback: Callable[..., None], *arguments: object) -> None:
        """Call back; what the callback raises costs this one session."""
        try:
            callback(*arguments)
        except Exception as error:
            self._fault(session, error)

    def _fault(self, session: Session, error: Exception) -> None:
        """End one session after a fault of our own code, whose text may name people: it is not logged."""
        _log.error("fault in a session with `%s`: %s", session.peer, describe_fault(error))
        self._fail(session, (CloseReason.CLOSE_REASON_UNSPECIFIED, "a fault on this side"), later=True)

    # Frames out.

    def _mark(self, session: Session) -> None:
        """Let a session's frames leave at the end of this turn of the loop, together with those of others."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty[session] = None

    def _flush(self) -> None:
        dirty, self._dirty = list(self._dirty), {}
        frames: list[LinkFrame] = []
        for session in dirty:
            try:
                frames += session.progress.engine.frames()
            except ProtocolViolation as fault:
                self._fail(session, (fault.reason, fault.text))
            except Exception as error:
                self._fault(session, error)
        self._send(frames)

    def _send(self, frames: Sequence[LinkFrame]) -> None:
        if frames and self.link.is_up:
            try:
                self.link.send(*frames)
            except LinkDown:
                _log.debug("link went down while sending: its sessions end with it")

    # Beginnings and ends.

    def _new(self, trust: Trust, *, session_id: int = 0, reference: int = 0) -> Session:
        """Return a session that has not begun; raises `LinkDown` without a link."""
        if self._welcome is None or not self.link.is_up:
            raise LinkDown("own link to the broker is down")
        channel = SessionChannel(
            window=self._welcome.session_window,
            max_frame_bytes=self._welcome.max_frame_bytes,
            session_id=session_id,
            reference=reference,
        )
        now = self.clock()
        self._watch()
        progress = Progress(
            engine=SessionEngine(channel),
            trust=trust,
            since=now,
            touched=now,
            identity=self.identity,
            own_end=self._own_end,
        )
        return Session(self, progress)

    def _begin(self, session: Session) -> None:
        """Start TLS in a session that has its id."""
        self._sessions[session.session_id] = session
        expected = session.progress.trust.expected
        try:
            context = self._context(expected.ca_certificates)
            session.progress.identity, session.progress.own_end = self.identity, self._own_end
            session.progress.engine.begin(
                TlsEnd(context, server_side=self.server_side, expected=expected, lane=LANE, clock=self.clock)
            )
        except ConfigUnusable as error:
            self._fail(session, (CloseReason.CLOSE_REASON_UNSPECIFIED, str(error)))
        except ProtocolViolation as fault:
            self._fail(session, (fault.reason, fault.text))
        else:
            self._mark(session)

    def _context(self, ca_certificates: tuple[bytes, ...]) -> ssl.SSLContext:
        """Return the one context for the sessions with the peer that has these CAs."""
        context = self._contexts.get(ca_certificates)
        if context is None:
            context = make_context(
                self.identity, server_side=self.server_side, ca_certificates=ca_certificates, lane=LANE
            )
            self._contexts[ca_certificates] = context
        return context

    def _fail(self, session: Session, ending: Ending, *, later: bool = False) -> None:
        """End a session from this end, saying so; what is queued is let go."""
        if session.progress.ended is None:
            self._send(session.progress.engine.close(ending[0]))
            self._end(session, ending, later=later)

    def _end(self, session: Session, ending: Ending, *, later: bool = False) -> None:
        """Take it that a session is over, and tell its owner: now, or after the call that it is in."""
        progress = session.progress
        if progress.ended is not None:
            return
        progress.ended = ending
        progress.engine.closed()
        self._forget(session)
        progress.wake()
        if later:
            asyncio.get_running_loop().call_soon(self._tell, session, ending)
        else:
            self._tell(session, ending)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)
        self._dirty.pop(session, None)

    def _tell(self, session: Session, ending: Ending) -> None:
        if session.progress.was_ready:
            self._call(session, self.on_closed, session, *ending)
        elif self.on_refused is not None:
            self._call(session, self.on_refused, session.peer, *ending)

    # Time and trust.

    def _watch(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.limits.tick.total_seconds(), self._watched)

    def _watched(self) -> None:
        self._timer = None
        self.tick()
        if self._all():
            self._watch()

    def _over(self, session: Session, now: datetime) -> Ending | None:
        """Return why a session must end now; None if it may go on."""
        progress = session.progress
        if not session.is_open:
            late = now - progress.since >= self.limits.handshake_timeout
            return (CloseReason.CLOSE_REASON_HANDSHAKE, "not ready in time") if late else None
        if now >= session.ends_at:
            return CloseReason.CLOSE_REASON_CREDENTIALS, "a certificate has expired"
        try:
            trust = self._trust(session.peer)
        except NoTrust as error:
            return error.reason, str(error)
        expected, known = trust.expected, progress.judged or progress.trust.expected
        same = expected.revoked is known.revoked or expected.revoked == known.revoked
        if expected != known or not same:
            try:
                session.ends_at = min(
                    session.ends_at,
                    trust.expected.verify(progress.leaf, now, others=progress.others).not_after,
                )
            except CertificateRevoked as error:
                return CloseReason.CLOSE_REASON_REVOKED, f"peer's certificate: {error}"
            except CertificateRejected as error:
                if not self._may_finish(session, known.ca_certificates, expected, now):
                    return CloseReason.CLOSE_REASON_CREDENTIALS, f"peer's certificate: {error}"
            else:
                progress.judged = expected
        if not self._is_under_other(session, trust) and not self._is_worn(session, now):
            progress.worn_since = None
            return None
        progress.worn_since = progress.worn_since or now
        quiet = now - max(progress.touched, progress.worn_since) >= self.limits.quiet_after
        if quiet and self.is_busy is not None and not self.is_busy(session):
            return CloseReason.CLOSE_REASON_RENEWAL, "a newer one is there, and nothing is left to do"
        if now - min(progress.touched, progress.worn_since) >= self.limits.idle_after:
            return CloseReason.CLOSE_REASON_RENEWAL, "its time is over"
        return None

    def _may_finish(
        self, session: Session, earlier: tuple[bytes, ...], expected: ExpectedPeer, now: datetime
    ) -> bool:
        """Return whether what goes on in a session may end in it, though its peer's CA counts no more.

        That is so for `leave_after` at most, if the CA was dropped and nothing else is wrong: whose leaf or
        CA is revoked, or who got another name, has no such time. Nothing new begins in it, as it isn't handed
        out any more.
        """
        progress = session.progress
        if self.is_busy is None or not self.is_busy(session):
            return False
        earlier = tuple(der for der in earlier if expected.revoked.certificate(der) is None)
        if not earlier:
            return False
        progress.worn_since = progress.worn_since or now
        if now - progress.worn_since >= self.limits.leave_after:
            return False
        try:
            replace(expected, ca_certificates=earlier).verify(progress.leaf, now, others=progress.others)
        except CertificateRejected:
            return False
        return True

    def _pair(self, *, provider: str, requester: str, peer: str, path: str) -> Trust:
        """Return the trust in `peer`, one of a pair with an agreement in force; raises `NoTrust`.

        The agreement pins the peer's identity key, or one that led to it; that signs its key set, which holds
        its CAs: so not even the governing authority can slip a false CA in. A roster past its time vouches
        for nobody: who keeps a newer one from us, and with it a revocation, gains no more than that time.
        """
        if self.is_barred is not None and self.is_barred(peer):
            reason = CloseReason.CLOSE_REASON_LOG_CONTRADICTED
            raise NoTrust(f"`{peer}` is refused: its log contradicts what it showed before", reason)
        if self.is_mute is not None and self.is_mute():
            raise NoTrust("own statement key is revoked", CloseReason.CLOSE_REASON_REVOKED)
        if self.clock() >= self.federation.trusted_until:
            raise NoTrust("the roster is past its time")
        try:
            member = self.federation.member(peer)
        except UnknownMember as error:
            raise NoTrust(str(error)) from error
        if member.revoked.everything is not None:
            text = f"`{peer}` is {member.revoked.everything}"
            raise NoTrust(text, CloseReason.CLOSE_REASON_REVOKED)
        if member.suspended:
            raise NoTrust(f"`{peer}` is suspended")
        own = self.federation.members.get(self.identity.agency)
        for one in (member, own):
            if one is not None and one.lapsed:
                raise NoTrust(f"`{one.agency}`: {one.lapsed}", CloseReason.CLOSE_REASON_CREDENTIALS)
        found = self.agreements.grant(provider=provider, requester=requester, now=self.clock())
        if found is None:
            why = self.agreements.why_resting(provider=provider, requester=requester, now=self.clock())
            text = f"no agreement in force under which `{requester}` may ask `{provider}`"
            raise NoTrust(f"{text}: {why}" if why else text)
        agreement, _ = found
        if agreement.identity_key(peer) != member.identity_key:
            raise NoTrust(f"the agreement pins another identity key of `{peer}` than the roster has")
        expected = ExpectedPeer(
            agency=peer,
            spiffe_id=member.spiffe_id(path),
            ca_certificates=member.key_set.ca_certificates,
            revoked=member.revoked,
        )
        return Trust(expected=expected, agreement_digest=agreement.digest)


def _end_of(identity: SessionIdentity) -> datetime:
    """Return when an end's own leaf expires."""
    try:
        given = identity.chain
        chain = split_pem(given if isinstance(given, bytes) else read_public(given))
        return min(load_certificate(der).not_valid_after_utc for der in chain)
    except CertsError as error:
        raise ConfigUnusable(f"certificate of `{identity.agency}`: {error}") from error


def violation(text: str) -> ProtocolViolation:
    """Return a violation that closes a session with PROTOCOL."""
    return ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, text)
