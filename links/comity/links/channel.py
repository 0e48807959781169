"""The pure heart of a session at an end: its states, its sequence numbers and its windows.

What the records mean is for `sessions` to know: this counts them and cuts them into frames. The states,
drawn in `docs/links.md`::

    OPENING ──▶ HANDSHAKING ──▶ READY ──▶ CLOSED        (and from each of them to CLOSED)
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from comity.links.errors import ProtocolViolation
from comity.links.flow import Flow
from comity.links.frames import session_close
from comity.v1.link_pb2 import CloseReason, LinkFrame, SessionCredit, SessionData

_FRAME_ROOM = 64
"""Bytes of a `SessionData` frame that are not records, at most."""


class SessionState(Enum):
    """Where a session stands, seen from one end."""

    OPENING = auto()
    """The gateway asked for it; the broker has not given it an id."""
    HANDSHAKING = auto()
    """TLS is being set up, or the adapter's `Ready` has not come."""
    READY = auto()
    """Messages travel."""
    CLOSED = auto()
    """Over."""


class SessionChannel:
    """One session at one end: records in, records out, within the window that `Welcome` gave."""

    def __init__(self, *, window: int, max_frame_bytes: int, session_id: int = 0, reference: int = 0) -> None:
        """Start in OPENING with a `reference` (a gateway's), or in HANDSHAKING with an id (an adapter's)."""
        self.session_id = session_id
        self.reference = reference
        self.state = SessionState.HANDSHAKING if session_id else SessionState.OPENING
        self._out = Flow(window)
        self._in = Flow(window)
        self._largest = min(max_frame_bytes - _FRAME_ROOM, window)
        self._pending: deque[bytes] = deque()
        self._owed = 0
        self.pending_bytes = 0

    def opened(self, session_id: int) -> None:
        """Take the id that the broker chose: OPENING becomes HANDSHAKING."""
        if self.state is not SessionState.OPENING or session_id == 0:
            raise _violation("session id where none was due")
        self.session_id = session_id
        self.state = SessionState.HANDSHAKING

    def ready(self) -> None:
        """Take it that both ends have judged each other: HANDSHAKING becomes READY."""
        if self.state is not SessionState.HANDSHAKING:
            raise _violation(f"ready in state {self.state.name.lower()}")
        self.state = SessionState.READY

    def offer(self, records: bytes) -> None:
        """Add records to what waits; they leave with `frames` as the window allows."""
        if records and self.state is not SessionState.CLOSED:
            self._pending.append(records)
            self.pending_bytes += len(records)

    def frames(self) -> list[LinkFrame]:
        """Take what may be sent now: records within the window, and credit that is owed."""
        if self.state in (SessionState.OPENING, SessionState.CLOSED):
            return []
        frames = []
        while self._pending and self._out.room:
            frames.append(self._cut())
        if self._owed * 4 >= self._in.window:
            frames.append(self._credit())
        return frames

    def receive(self, data: SessionData) -> bytes:
        """Take a frame of records and return them.

        Raises `ProtocolViolation` for a gap, a repeat or more than the window: the session is to be
        closed with its reason.
        """
        self._in.accept(data.sequence, len(data.records))
        return data.records

    def consumed(self, size: int) -> None:
        """Take it that received records were used up: their bytes become credit for the peer."""
        self._owed += size

    def credited(self, credit: SessionCredit) -> None:
        """Take credit of the peer; raises `ProtocolViolation` for credit of what was never sent."""
        self._out.credit(credit.bytes)

    def close(self, reason: CloseReason) -> list[LinkFrame]:
        """Close, and return the frame that says so; nothing if it is closed already."""
        if self.state is SessionState.CLOSED:
            return []
        opening = self.state is SessionState.OPENING
        self.closed()
        return (
            [] if opening else [session_close(reason, session_id=self.session_id, reference=self.reference)]
        )

    def closed(self) -> None:
        """Take it that the other side closed, or the link is gone: what waits is let go."""
        self.state = SessionState.CLOSED
        self._pending.clear()
        self.pending_bytes = 0

    def _cut(self) -> LinkFrame:
        """Take one frame's worth of records: several offers together, or a part of one."""
        most = min(self._out.room, self._largest)
        parts: list[bytes] = []
        while self._pending and most:
            part = self._pending.popleft()
            if len(part) > most:
                self._pending.appendleft(part[most:])
                part = part[:most]
            parts.append(part)
            most -= len(part)
        records = b"".join(parts)
        self.pending_bytes -= len(records)
        data = SessionData(
            session_id=self.session_id, sequence=self._out.stamp(len(records)), records=records
        )
        return LinkFrame(session_data=data)

    def _credit(self) -> LinkFrame:
        size, self._owed = self._owed, 0
        self._in.credit(size)
        return LinkFrame(session_credit=SessionCredit(session_id=self.session_id, bytes=size))


def _violation(text: str) -> ProtocolViolation:
    return ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, text)
