"""One session's records, messages and frames together, without a socket, a loop or a peer's name.

Frames of the link go in and come out at one side; `SessionMessage`s at the other. TLS, padding and the
session's windows are in between. Messages that wait are encrypted together, so that a batch costs one
frame.
"""

from __future__ import annotations

from comity.links.channel import SessionChannel, SessionState
from comity.links.errors import ProtocolViolation
from comity.links.sessions.codec import Decoder, encode
from comity.links.sessions.tls import TlsEnd
from comity.v1.link_pb2 import CloseReason, LinkFrame, SessionCredit, SessionData
from comity.v1.session_pb2 import SessionMessage


class SessionEngine:
    """The moving parts of one session at one end.

    Everything that a peer does wrong raises `ProtocolViolation` with the reason to close with.
    """

    def __init__(self, channel: SessionChannel) -> None:
        self.channel = channel
        self._tls: TlsEnd | None = None
        self._decoder = Decoder()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self.channel.state

    @property
    def tls(self) -> TlsEnd | None:
        """The TLS connection; None before `begin`."""
        return self._tls

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not in a frame yet: messages of this turn, and records that wait for credit."""
        return self._waiting_bytes + self.channel.pending_bytes

    def begin(self, tls: TlsEnd) -> None:
        """Start TLS: the gateway's first records are then in `frames()`."""
        self._tls = tls
        tls.start()

    def queue(self, messages: tuple[SessionMessage, ...]) -> None:
        """Add messages to what leaves with the next `frames()`; for `FrameTooLarge` none is added."""
        encoded = [encode(message) for message in messages]
        self._waiting += encoded
        self._waiting_bytes += sum(map(len, encoded))

    def receive(self, data: SessionData) -> list[SessionMessage]:
        """Take a frame of records; return the messages that are complete now."""
        if self._tls is None:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_PROTOCOL, "records before the session was opened"
            )
        records = self.channel.receive(data)
        plaintext = self._tls.feed(records)
        self.channel.consumed(len(records))
        return self._decoder.feed(plaintext) if plaintext else []

    def credited(self, credit: SessionCredit) -> None:
        """Take credit of the peer."""
        self.channel.credited(credit)

    def frames(self) -> list[LinkFrame]:
        """Take the frames that may be sent now: queued messages encrypted, records cut, credit given."""
        if self._tls is None or self.state is SessionState.CLOSED:
            return []
        if self._waiting:
            plaintext, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
            self._tls.seal(plaintext)
        self.channel.offer(self._tls.outgoing())
        return self.channel.frames()

    def close(self, reason: CloseReason) -> list[LinkFrame]:
        """Close, and return the last frames: records as far as the window allows (an alert among them)."""
        if self._tls is not None:
            self.channel.offer(self._tls.outgoing())
        frames = [*self.channel.frames(), *self.channel.close(reason)]
        self.closed()
        return frames

    def closed(self) -> None:
        """Take it that the session is over: what waits is let go."""
        self.channel.closed()
        self._waiting, self._waiting_bytes = [], 0
