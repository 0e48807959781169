"""Frames: which may travel where, how large they may be, and short ways to build them.

A frame is a `LinkFrame`; a message is the list of frames that one gRPC message carries. Everything here
is plain values: no sockets, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import DecodeError

from comity.links.errors import FrameTooLarge
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import (
    CloseReason,
    Goodbye,
    LinkFrame,
    LinkRequest,
    LinkResponse,
    SessionClose,
)

PROTOCOL_VERSION = 1
"""The version of the link protocol that this room speaks."""

KIB = 1024
MAX_MESSAGE_BYTES = 1024 * KIB
"""What the frames of one gRPC message may measure together: larger ones end the whole stream."""

HANDOVER_SECONDS = 5.0
"""How long the older of two links of one end is given to say its last frame."""

FRAME_OVERHEAD_BYTES = 8
"""At most what a frame's tag and length add inside a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """The limits of a link: bytes, frames and times. The same type configures both sides.

    The queue is what waits in front of gRPC's own buffers; when it is passed the link closes with
    `CLOSE_REASON_LIMIT`, so that a peer that stopped reading costs a bounded amount of memory.
    """

    queue_bytes: int = 16 * KIB * KIB
    """Bytes of frames that may wait to be written."""
    queue_frames: int = 65_536
    """Frames that may wait to be written."""
    max_frame_bytes: int = 512 * KIB
    """The largest frame that is sent or taken."""
    session_window: int = 1024 * KIB
    """Bytes of TLS records that a session may have in flight, each direction, before credit."""
    sessions_per_link: int = 256
    """Sessions that one link may have at a time."""
    greeting_timeout: timedelta = timedelta(seconds=10)
    """From the stream's start to `Welcome`."""
    closing_timeout: timedelta = timedelta(seconds=2)
    """From `Goodbye` in the queue to hanging up on a peer that doesn't read."""
    keepalive: timedelta = timedelta(seconds=2)
    """Between HTTP/2 pings."""
    keepalive_timeout: timedelta = timedelta(seconds=1)
    """From a ping without answer to a lost link."""

    def __post_init__(self) -> None:
        """Refuse limits with which no frame could ever travel."""
        if not 4 * KIB <= self.max_frame_bytes <= MAX_MESSAGE_BYTES - FRAME_OVERHEAD_BYTES:
            raise ValueError(f"max_frame_bytes {self.max_frame_bytes} is not between 4 KiB and a message")
        if self.session_window < 4 * KIB or self.queue_bytes < self.max_frame_bytes or self.queue_frames < 1:
            raise ValueError("session_window or queue is smaller than one frame")
        if self.sessions_per_link < 1:
            raise ValueError("sessions_per_link is less than one")


_BOTH = frozenset(
    {"goodbye", "session_open", "session_data", "session_credit", "session_close"}
    | {"checkpoint", "proof_request", "proofs", "cosignature", "handover"}
)
_TO_BOTH = _BOTH | {"welcome", "presence", "roster"}
SENT_BY: dict[EndRole, frozenset[str]] = {
    EndRole.END_ROLE_GATEWAY: _BOTH | {"hello", "own_revocations", "order", "cancel"},
    EndRole.END_ROLE_ADAPTER: _BOTH - {"session_open"} | {"hello", "own_revocations", "receipt"},
}
"""Kinds of frames that an end of a role sends to the broker; any other is a violation."""

SENT_TO: dict[EndRole, frozenset[str]] = {
    EndRole.END_ROLE_GATEWAY: _TO_BOTH | {"order_rejection", "stamp", "account"},
    EndRole.END_ROLE_ADAPTER: _TO_BOTH | {"announcement", "cancel"},
}
"""Kinds of frames that the broker sends to an end of a role; any other is a violation."""

SESSION_KINDS = frozenset({"session_open", "session_data", "session_credit", "session_close"})
"""Kinds of frames that belong to a session."""


def kind(frame: LinkFrame) -> str:
    """Return the name of the frame's kind as the contract has it (`session_data` …), "" if it has none."""
    return frame.WhichOneof("frame") or ""


def read_request(data: bytes) -> LinkRequest:
    """Return an end's message; bytes that are none give a frame that says nothing, which no state accepts.

    gRPC would end the stream with an error of its own, and log it as a fault of ours.
    """
    try:
        return LinkRequest.FromString(data)
    except DecodeError:
        return LinkRequest(frames=[LinkFrame()])


def read_response(data: bytes) -> LinkResponse:
    """Return the broker's message; as `read_request`."""
    try:
        return LinkResponse.FromString(data)
    except DecodeError:
        return LinkResponse(frames=[LinkFrame()])


def size(frame: LinkFrame) -> int:
    """Return what the frame adds to a message, in bytes, at most."""
    return frame.ByteSize() + FRAME_OVERHEAD_BYTES


def goodbye(reason: CloseReason, text: str) -> LinkFrame:
    """Return the last frame of a link; `text` is one public line for the peer's operator."""
    return LinkFrame(goodbye=Goodbye(reason=reason, text=text[:200]))


def session_close(reason: CloseReason, *, session_id: int = 0, reference: int = 0) -> LinkFrame:
    """Return the frame that ends a session, named by its id or, before it has one, by its reference."""
    return LinkFrame(session_close=SessionClose(session_id=session_id, reference=reference, reason=reason))


def reason_name(reason: int) -> str:
    """Return a reason as text for logs: `peer_absent`; a number this version doesn't know as `reason 77`."""
    if reason in CloseReason.values():
        return CloseReason.Name(CloseReason.ValueType(reason)).removeprefix("CLOSE_REASON_").lower()
    return f"reason {reason}"


def check_sizes(frames: Iterable[LinkFrame], max_frame_bytes: int) -> Sequence[int]:
    """Return the size of each frame.

    Raises `FrameTooLarge` if one is larger than `max_frame_bytes`.
    """
    sizes = [size(frame) for frame in frames]
    for one in sizes:
        if one > max_frame_bytes + FRAME_OVERHEAD_BYTES:
            raise FrameTooLarge(f"frame of {one} bytes: at most {max_frame_bytes} may be sent")
    return sizes
