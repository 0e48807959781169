"""The sessions of one end: opened when first needed, shared, renewed, closed with whatever they depend on.

`GatewaySessions` opens, `AdapterSessions` accepts. Both are fed by the end's `LinkEvents`: call their
`linked`, `unlinked` and `frames` with what the link gives (frames that are no session's are ignored).
Everything runs on the event loop; callbacks are plain calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from comity.certs.agreements import AgreementBook
from comity.certs.clock import Clock
from comity.certs.roster import Federation
from comity.v1.link_pb2 import CloseReason, LinkFrame, Welcome
from comity.v1.session_pb2 import SessionMessage


class FrameSender(Protocol):
    """What a hub needs of a link; `LinkClient` is one."""

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames; raises `LinkDown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdentity:
    """Which end this is, and where its certificate and key lie (`ssl` loads them from files)."""

    agency: str
    chain: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Times and sizes of sessions."""

    handshake_timeout: timedelta = timedelta(seconds=10)
    """From opening to ready."""
    max_age: timedelta = timedelta(hours=1)
    """After this a session is not handed out any more, and closes once idle."""
    idle_after: timedelta = timedelta(seconds=180)
    """Without a message for so long, a session that is past its age is idle: longer than any exchange."""
    pending_bytes: int = 32 * 1024 * 1024
    """Bytes that may wait for credit in one session; more closes it with LIMIT."""
    page_window: int = 4
    """`Ready.page_window` that an adapter gives."""


class Session:
    """One session with one agency, ready for messages.

    `peer` is the agency's id, `session_id` the broker's number, `agreement_digest` the one of `Ready`,
    `page_window` the pages that may be in flight an exchange before credit, `certificate` the SHA-256 of
    the peer's leaf, `opened_at` and `ends_at` its life.
    """

    peer: str
    session_id: int
    agreement_digest: bytes
    page_window: int
    certificate: bytes
    opened_at: datetime
    ends_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""
        raise NotImplementedError

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the peer's credit."""
        raise NotImplementedError

    def send(self, *messages: SessionMessage) -> None:
        """Queue messages, in order; what is sent in one turn of the loop leaves together.

        Raises `SessionFailed` when the session is over, `FrameTooLarge` for a message over 1 MiB.
        """
        raise NotImplementedError

    def close(self, reason: CloseReason = CloseReason.CLOSE_REASON_SHUTDOWN, text: str = "") -> None:
        """Say `SessionEnd`, and close; `on_closed` follows. Does nothing the second time."""
        raise NotImplementedError


OnMessage = Callable[[Session, SessionMessage], None]
OnOpened = Callable[[Session], None]
OnClosed = Callable[[Session, CloseReason, str], None]
OnRefused = Callable[[str, CloseReason, str], None]
"""(agency, reason, one line): a session that never became ready; the text is for the own log."""


class GatewaySessions:
    """The requester's end: one session per provider."""

    def __init__(
        self,
        *,
        link: FrameSender,
        federation: Federation,
        agreements: AgreementBook,
        identity: SessionIdentity,
        clock: Clock,
        on_message: OnMessage,
        on_closed: OnClosed,
        on_opened: OnOpened | None = None,
        on_refused: OnRefused | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        raise NotImplementedError

    async def session(self, provider: str, *, timeout: float | None = None) -> Session:
        """Return the ready session with a provider, opening it if there is none; callers share an opening.

        `timeout` (seconds) is this caller's own; the opening goes on for the others. Raises
        `SessionFailed` with NO_AGREEMENT (nothing was sent), PEER_ABSENT (the broker says that the
        provider has no link), HANDSHAKE (it failed, or not in time), or the reason of whoever closed it.
        """
        raise NotImplementedError

    def linked(self, welcome: Welcome) -> None:
        """Take the link's welcome."""

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """Close every session: their link is gone."""

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take what came on the link."""

    def refresh(self, federation: Federation, agreements: AgreementBook) -> None:
        """Take a newer roster and agreements; sessions that they don't carry any more close."""

    def close(self) -> None:
        """Close every session with SHUTDOWN."""


class AdapterSessions:
    """The provider's end: accepts sessions of requesters with an agreement in force, and of nobody else."""

    def __init__(
        self,
        *,
        link: FrameSender,
        federation: Federation,
        agreements: AgreementBook,
        identity: SessionIdentity,
        clock: Clock,
        on_message: OnMessage,
        on_closed: OnClosed,
        on_opened: OnOpened | None = None,
        on_refused: OnRefused | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        raise NotImplementedError

    def linked(self, welcome: Welcome) -> None:
        """Take the link's welcome."""

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """Close every session: their link is gone."""

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take what came on the link."""

    def refresh(self, federation: Federation, agreements: AgreementBook) -> None:
        """Take a newer roster and agreements; sessions that they don't carry any more close."""

    def close(self) -> None:
        """Close every session with SHUTDOWN."""
