"""One direction of a session: its sequence numbers and its window.

The same object stands at the sender (`stamp`), at the receiver (`accept`) and, in the relay, in between
(`accept`, then `credit`): all three count alike, so each of them notices what another did wrong.
"""

from __future__ import annotations

from comity.links.errors import ProtocolViolation
from comity.v1.link_pb2 import CloseReason


class Flow:
    """Counts the frames and the bytes of records in flight in one direction of one session.

    Frames count up by one from 0. Of bytes, at most `window` are sent and not yet credited.
    """

    __slots__ = ("in_flight", "sequence", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.sequence = 0
        self.in_flight = 0

    @property
    def room(self) -> int:
        """Bytes of records that may be sent now."""
        return self.window - self.in_flight

    def stamp(self, size: int) -> int:
        """Count a frame of `size` bytes that is being sent and return its sequence number.

        Raises `ValueError` if the window has no room: the sender asks `room` first.
        """
        if not 0 < size <= self.room:
            raise ValueError(f"frame of {size} bytes: the window has room for {self.room}")
        return self._count(size)

    def accept(self, sequence: int, size: int) -> None:
        """Count a frame that came.

        Raises `ProtocolViolation`: with PROTOCOL for a gap, a repeat or an empty frame, with LIMIT when
        the peer sent more than its window.
        """
        if sequence != self.sequence:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_PROTOCOL,
                f"frame {sequence} of a session where {self.sequence} was due",
            )
        if size == 0:
            raise ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, "frame of a session without records")
        if size > self.room:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_LIMIT, f"{size} bytes of a session where {self.room} were allowed"
            )
        self._count(size)

    def credit(self, size: int) -> None:
        """Count bytes that the receiver consumed.

        Raises `ProtocolViolation` for credit of nothing, or of more than is in flight.
        """
        if not 0 < size <= self.in_flight:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_PROTOCOL,
                f"credit of {size} bytes where {self.in_flight} are in flight",
            )
        self.in_flight -= size

    def _count(self, size: int) -> int:
        number = self.sequence
        self.sequence += 1
        self.in_flight += size
        return number
