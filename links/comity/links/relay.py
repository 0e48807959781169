"""The relay: which session lies on which two links, seen from the middle.

Pure: it takes frames and gives frames, each with the link it goes to, and touches no socket. It can't
read what it carries. It never drops a record: a session's bytes are bounded by its window, whose credit
comes end to end, and what breaks a rule resets the whole session.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from comity.links.errors import ProtocolViolation
from comity.links.flow import Flow
from comity.links.frames import LinkLimits, kind, session_close
from comity.v1.link_pb2 import (
    CloseReason,
    Lane,
    LinkFrame,
    SessionClose,
    SessionCredit,
    SessionData,
    SessionOpen,
)

L = TypeVar("L", bound=Hashable)
"""Whatever the broker knows a link by: any hashable that is one per link."""


class Routed(NamedTuple, Generic[L]):
    """A frame and the link that it goes to."""

    link: L
    frame: LinkFrame


@dataclass(slots=True, eq=False)
class _Session(Generic[L]):
    session_id: int
    reference: int
    gateway: L
    adapter: L
    to_adapter: Flow
    to_gateway: Flow
    bytes_carried: int = field(default=0)

    def other(self, link: L) -> L:
        return self.adapter if link == self.gateway else self.gateway


class SessionRelay(Generic[L]):
    """The table of sessions of one broker: opens, forwards in both directions, closes.

    A session has one id on both of its links. Frames for an id that is not (or no longer) in the table
    are ignored, because they may have been on their way when it closed; a frame for another pair's
    session is a `ProtocolViolation` of that link, and reaches nobody.
    """

    def __init__(self, limits: LinkLimits | None = None) -> None:
        self._limits = limits or LinkLimits()
        self._sessions: dict[int, _Session[L]] = {}
        self._by_link: dict[L, set[int]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        """Return how many sessions are open now."""
        return len(self._sessions)

    def open(
        self, gateway: L, reference: int, *, requester: str, provider: str, adapter: L | None, lane: Lane
    ) -> list[Routed[L]]:
        """Open a session from `requester`'s gateway to `provider`'s adapter.

        `adapter` is the provider's link, None when it has none now: then the gateway gets a close with
        PEER_ABSENT. Returned are the frames for both: the adapter learns the requester, the gateway the
        id that belongs to its `reference`. A lane that isn't spoken closes with PROTOCOL, too many
        sessions on either link with LIMIT.
        """
        if adapter is None:
            return [self._refusal(gateway, reference, CloseReason.CLOSE_REASON_PEER_ABSENT)]
        if lane != Lane.LANE_INTERACTIVE or gateway == adapter:
            return [self._refusal(gateway, reference, CloseReason.CLOSE_REASON_PROTOCOL)]
        most = self._limits.sessions_per_link
        if any(len(self._by_link.get(link, ())) >= most for link in (gateway, adapter)):
            return [self._refusal(gateway, reference, CloseReason.CLOSE_REASON_LIMIT)]
        self._last_id += 1
        window = self._limits.session_window
        session = _Session(self._last_id, reference, gateway, adapter, Flow(window), Flow(window))
        self._sessions[session.session_id] = session
        for link in (gateway, adapter):
            self._by_link.setdefault(link, set()).add(session.session_id)
        return [
            Routed(
                adapter,
                LinkFrame(session_open=SessionOpen(session_id=session.session_id, peer=requester, lane=lane)),
            ),
            Routed(
                gateway,
                LinkFrame(
                    session_open=SessionOpen(
                        session_id=session.session_id, reference=reference, peer=provider, lane=lane
                    )
                ),
            ),
        ]

    def forward(self, link: L, frame: LinkFrame) -> list[Routed[L]]:
        """Take `session_data`, `session_credit` or `session_close` from a link and route it.

        A gap, a repeat, an empty frame or credit for nothing resets the session with PROTOCOL, more than
        the window with LIMIT; both links are told. Raises `ProtocolViolation` when the session is not
        one of this link, and `ValueError` for a frame of another kind.
        """
        match kind(frame):
            case "session_data":
                return self._data(link, frame, frame.session_data)
            case "session_credit":
                return self._credit(link, frame, frame.session_credit)
            case "session_close":
                return self._close(link, frame, frame.session_close)
            case other:
                raise ValueError(f"frame `{other}` is none that a relay forwards")

    def link_lost(self, link: L) -> list[Routed[L]]:
        """Forget a link: each of its sessions is closed towards the other end with PEER_ABSENT."""
        routed = []
        for session_id in sorted(self._by_link.get(link, ())):
            session = self._sessions[session_id]
            self._forget(session)
            routed.append(self._closing(session, session.other(link), CloseReason.CLOSE_REASON_PEER_ABSENT))
        self._by_link.pop(link, None)
        return routed

    def moved(self, older: L, newer: L) -> None:
        """Have a newer link carry the sessions of an older one, from the next frame on."""
        for session_id in self._by_link.pop(older, set()):
            session = self._sessions[session_id]
            if session.gateway == older:
                session.gateway = newer
            else:
                session.adapter = newer
            self._by_link.setdefault(newer, set()).add(session_id)

    def reset(self, link: L, reason: CloseReason) -> list[Routed[L]]:
        """Close every session of a link that stays, towards both ends: after a revocation, say."""
        routed = []
        for session_id in sorted(self._by_link.get(link, ())):
            routed += self._reset(self._sessions[session_id], reason)
        return routed

    def _data(self, link: L, frame: LinkFrame, data: SessionData) -> list[Routed[L]]:
        session = self._find(link, data.session_id)
        if session is None:
            return []
        flow = session.to_adapter if link == session.gateway else session.to_gateway
        try:
            flow.accept(data.sequence, len(data.records))
        except ProtocolViolation as violation:
            return self._reset(session, violation.reason)
        session.bytes_carried += len(data.records)
        return [Routed(session.other(link), frame)]

    def _credit(self, link: L, frame: LinkFrame, credit: SessionCredit) -> list[Routed[L]]:
        session = self._find(link, credit.session_id)
        if session is None:
            return []
        flow = session.to_gateway if link == session.gateway else session.to_adapter
        try:
            flow.credit(credit.bytes)
        except ProtocolViolation as violation:
            return self._reset(session, violation.reason)
        return [Routed(session.other(link), frame)]

    def _close(self, link: L, frame: LinkFrame, close: SessionClose) -> list[Routed[L]]:
        if close.session_id == 0:
            return []
        session = self._find(link, close.session_id)
        if session is None:
            return []
        self._forget(session)
        absent = close.reason == CloseReason.CLOSE_REASON_PEER_ABSENT  # the broker's word, never an end's
        reason = CloseReason.CLOSE_REASON_UNSPECIFIED if absent else close.reason
        return [self._closing(session, session.other(link), reason)]

    def _find(self, link: L, session_id: int) -> _Session[L] | None:
        session = self._sessions.get(session_id)
        if session is not None and link not in (session.gateway, session.adapter):
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_PROTOCOL, f"session {session_id} is not one of this link"
            )
        return session

    def _reset(self, session: _Session[L], reason: CloseReason) -> list[Routed[L]]:
        self._forget(session)
        return [self._closing(session, link, reason) for link in (session.gateway, session.adapter)]

    def _forget(self, session: _Session[L]) -> None:
        del self._sessions[session.session_id]
        for link in (session.gateway, session.adapter):
            remaining = self._by_link[link]
            remaining.discard(session.session_id)
            if not remaining:
                del self._by_link[link]

    @staticmethod
    def _closing(session: _Session[L], link: L, reason: CloseReason) -> Routed[L]:
        reference = session.reference if link == session.gateway else 0
        return Routed(link, session_close(reason, session_id=session.session_id, reference=reference))

    @staticmethod
    def _refusal(gateway: L, reference: int, reason: CloseReason) -> Routed[L]:
        return Routed(gateway, session_close(reason, reference=reference))
