"""The pure heart of a link: frames and time in, frames and events out. The same for both sides.

No sockets and no asyncio: `stream` is the shell that reads, writes and waits. The states, drawn in
`docs/links.md`::

    CONNECTING ──▶ GREETING ──▶ UP ──▶ CLOSING ──▶ DOWN        (and from each of them to DOWN)

An end greets as soon as the stream is open; the broker answers with `welcome` once it has judged the
greeting. A side that closes queues `goodbye` as its last frame and is CLOSING until that is written;
a side that gets a goodbye, or loses the stream, is DOWN at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from comity.links.errors import LinkDown, ProtocolViolation
from comity.links.frames import (
    MAX_MESSAGE_BYTES,
    PROTOCOL_VERSION,
    SENT_BY,
    SENT_TO,
    LinkLimits,
    check_sizes,
    goodbye,
    kind,
    size,
)
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import CloseReason, Hello, LinkFrame, Welcome

_PUBLIC_LINES = {
    CloseReason.CLOSE_REASON_PROTOCOL: "the protocol was broken",
    CloseReason.CLOSE_REASON_LIMIT: "a limit was passed",
    CloseReason.CLOSE_REASON_RENEWAL: "the link's time is over",
    CloseReason.CLOSE_REASON_IDLE: "no greeting in time",
}


class LinkState(Enum):
    """Where a link stands."""

    CONNECTING = auto()
    """The stream is not open yet."""
    GREETING = auto()
    """The stream is open; the end has not been welcomed."""
    UP = auto()
    """Frames travel."""
    CLOSING = auto()
    """This side said goodbye, which is not written yet or not yet answered."""
    DOWN = auto()
    """Over; nothing more is read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """The broker's side: an end greeted; judge it and call `welcome` or `close`."""

    hello: Hello


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The link is up. An end's `welcome.max_frame_bytes` is what it may send: the smaller of both limits."""

    welcome: Welcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Frames of one message that are not the link's own, in order."""

    frames: Sequence[LinkFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The link is over; given exactly once.

    `text` is for the own log, `public` the line that the peer gets if this side said goodbye; `was_up`
    tells whether there was a `Linked` before.
    """

    reason: CloseReason
    text: str
    was_up: bool
    public: str = ""


Event = Greeted | Linked | Delivered | Ended


class OutQueue:
    """What waits to be written: bounded in bytes and frames, drained into messages of at most 1 MiB."""

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._frames: deque[tuple[LinkFrame, int]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frames: Sequence[LinkFrame], sizes: Sequence[int]) -> bool:
        """Append frames; False, and nothing is appended, if they would pass a limit."""
        total = sum(sizes)
        if self.bytes + total > self._limits.queue_bytes:
            return False
        if len(self._frames) + len(frames) > self._limits.queue_frames:
            return False
        self._frames.extend(zip(frames, sizes, strict=True))
        self.bytes += total
        return True

    def push_last(self, frame: LinkFrame) -> None:
        """Append one small frame whatever the limits say: the goodbye."""
        self._frames.append((frame, size(frame)))
        self.bytes += self._frames[-1][1]

    def push_first(self, frame: LinkFrame) -> None:
        """Put one small frame in front of all others: the greeting and its answer."""
        self._frames.appendleft((frame, size(frame)))
        self.bytes += self._frames[0][1]

    def drain(self) -> list[LinkFrame]:
        """Take the frames of one message: as many as fit, in order; empty when nothing waits."""
        message: list[LinkFrame] = []
        room = MAX_MESSAGE_BYTES
        while self._frames and self._frames[0][1] <= room:
            frame, one = self._frames.popleft()
            message.append(frame)
            room -= one
            self.bytes -= one
        return message

    def clear(self) -> None:
        """Let everything go."""
        self._frames.clear()
        self.bytes = 0


class LinkMachine:
    """One link, seen from one side.

    `hello` is given for an end's side and None for the broker's. Times are aware; `deadline` is when
    `tick` must be called next. `max_frame_bytes` is what may be sent, once welcomed the smaller of both
    sides' limits.
    """

    def __init__(self, *, limits: LinkLimits, hello: Hello | None) -> None:
        if hello is not None and hello.role not in SENT_BY:
            raise ValueError("an end is a gateway or an adapter")
        self.state = LinkState.CONNECTING
        self.deadline: datetime | None = None
        self.max_frame_bytes = limits.max_frame_bytes
        self._limits = limits
        self._largest = limits.max_frame_bytes
        self._hello = hello
        self._is_end = hello is not None
        self._role = hello.role if hello is not None else EndRole.END_ROLE_UNSPECIFIED
        self._queue = OutQueue(limits)
        self._ended = False

    @property
    def is_end(self) -> bool:
        """Whether this is an end's side, not the broker's."""
        return self._is_end

    @property
    def waiting(self) -> int:
        """Frames that wait to be written."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._queue.bytes

    def connected(self, now: datetime) -> None:
        """Take it that the stream is open: an end's `hello` is the first frame."""
        if self.state is not LinkState.CONNECTING:
            raise ValueError(f"connected in state {self.state.name}")
        self.state = LinkState.GREETING
        self.deadline = now + self._limits.greeting_timeout
        if self._hello is not None:
            self._queue.push_first(LinkFrame(hello=self._hello))

    def welcome(self, welcome: Welcome, now: datetime) -> list[Event]:
        """Accept the end that greeted: the broker's side. Nothing happens if it is gone meanwhile.

        The link closes with RENEWAL at `welcome.ends_at`.
        """
        if self._is_end or self._role == EndRole.END_ROLE_UNSPECIFIED:
            raise ValueError("nobody greeted")
        if self.state is not LinkState.GREETING:
            return []
        self._queue.push_first(LinkFrame(welcome=welcome))
        return self._up(welcome, now)

    def send(self, frames: Sequence[LinkFrame], now: datetime) -> list[Event]:
        """Queue frames.

        Raises `LinkDown` unless UP, `FrameTooLarge` (then none is queued). Passing the queue's limits
        closes the link with LIMIT, and what waited is let go.
        """
        if self.state is not LinkState.UP:
            raise LinkDown(f"link is {self.state.name.lower()}")
        if self._queue.push(frames, check_sizes(frames, self.max_frame_bytes)):
            return []
        self._queue.clear()
        waiting = f"more than {self._limits.queue_bytes} bytes or {self._limits.queue_frames} frames wait"
        return self._close(CloseReason.CLOSE_REASON_LIMIT, waiting, now)

    def next_message(self) -> list[LinkFrame]:
        """Take the frames of the next message to write; empty when there is nothing to write."""
        return [] if self.state is LinkState.DOWN else self._queue.drain()

    def written(self) -> None:
        """Take it that the last message was written: the broker's side is DOWN once its goodbye is.

        An end stays CLOSING until the broker ends the stream, or the closing time is over: hanging up
        earlier could overtake the goodbye.
        """
        if self.state is LinkState.CLOSING and not self._queue and not self._is_end:
            self._down()

    def receive(self, frames: Iterable[LinkFrame], now: datetime) -> list[Event]:
        """Take the frames of one message."""
        events: list[Event] = []
        delivered: list[LinkFrame] = []
        for frame in frames:
            if self.state not in (LinkState.GREETING, LinkState.UP):
                break
            try:
                self._check(frame)
                control = self._control(frame, now)
            except ProtocolViolation as violation:
                control = self._close(violation.reason, violation.text, now)
            if control is None:
                delivered.append(frame)
                continue
            if delivered:
                events.append(Delivered(frames=delivered))
                delivered = []
            events += control
        if delivered:
            events.append(Delivered(frames=delivered))
        return events

    def close(self, reason: CloseReason, text: str, now: datetime) -> list[Event]:
        """Say goodbye after what is queued; `text` is public. Nothing happens if it is over already."""
        return self._close(reason, text, now, public=text)

    def lost(self, text: str) -> list[Event]:
        """Take it that the stream is gone, without a goodbye if there was none."""
        return self._end(CloseReason.CLOSE_REASON_UNSPECIFIED, text)

    def tick(self, now: datetime) -> list[Event]:
        """Act on time: a greeting that didn't come, a goodbye that nobody read, the end of the leaf."""
        if self.deadline is None or now < self.deadline:
            return []
        match self.state:
            case LinkState.GREETING:
                return self._close(CloseReason.CLOSE_REASON_IDLE, "no greeting in time", now)
            case LinkState.UP:
                return self._close(CloseReason.CLOSE_REASON_RENEWAL, "the link's time is over", now)
            case LinkState.CLOSING:
                self._down()
                return []
            case LinkState.CONNECTING | LinkState.DOWN:
                return []

    def _check(self, frame: LinkFrame) -> None:
        one = kind(frame)
        if frame.ByteSize() > self._largest:
            raise ProtocolViolation(
                CloseReason.CLOSE_REASON_LIMIT, f"frame `{one}` is larger than {self._largest} bytes"
            )
        if self.state is LinkState.GREETING:
            due = ("welcome", "goodbye") if self._is_end else ("hello", "goodbye")
            greeted = not self._is_end and self._role != EndRole.END_ROLE_UNSPECIFIED
            if one not in due or (greeted and one == "hello"):
                raise _violation(f"frame `{one}` before the welcome")
            return
        table = SENT_TO if self._is_end else SENT_BY
        if one not in table[self._role] or one in ("hello", "welcome"):
            raise _violation(f"frame `{one}` may not be sent here")

    def _control(self, frame: LinkFrame, now: datetime) -> list[Event] | None:
        match kind(frame):
            case "hello":
                return self._greeted(frame.hello)
            case "welcome":
                return self._welcomed(frame.welcome, now)
            case "goodbye":
                return self._end(frame.goodbye.reason, f"goodbye: {_one_line(frame.goodbye.text)}")
            case _:
                return None

    def _greeted(self, hello: Hello) -> list[Event]:
        if hello.role not in SENT_BY:
            raise _violation("greeting of neither a gateway nor an adapter")
        if PROTOCOL_VERSION not in hello.versions:
            raise _violation("greeting without a version that is spoken here")
        self._role = hello.role
        return [Greeted(hello=hello)]

    def _welcomed(self, welcome: Welcome, now: datetime) -> list[Event]:
        if welcome.version != PROTOCOL_VERSION:
            raise _violation(f"welcome in version {welcome.version}")
        if welcome.session_window < 4096 or welcome.max_frame_bytes < 4096:
            raise _violation("welcome with a window or frame of less than 4 KiB")
        try:
            welcome.ends_at.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise _violation("welcome that ends in no year") from error
        self._largest = max(self._largest, welcome.max_frame_bytes)
        self.max_frame_bytes = min(self.max_frame_bytes, welcome.max_frame_bytes)
        welcome.max_frame_bytes = self.max_frame_bytes
        return self._up(welcome, now)

    def _up(self, welcome: Welcome, now: datetime) -> list[Event]:
        self.state = LinkState.UP
        ends_at = welcome.ends_at.ToDatetime(tzinfo=UTC)
        self.deadline = ends_at if welcome.HasField("ends_at") else None
        return [Linked(welcome=welcome), *self.tick(now)]

    def _close(self, reason: CloseReason, text: str, now: datetime, public: str | None = None) -> list[Event]:
        if self.state in (LinkState.CLOSING, LinkState.DOWN):
            return []
        if self.state is LinkState.CONNECTING:
            return self._end(reason, text)
        line = _PUBLIC_LINES.get(reason, "") if public is None else public
        was_up = self.state is LinkState.UP
        self._queue.push_last(goodbye(reason, line))
        self.state = LinkState.CLOSING
        self.deadline = now + self._limits.closing_timeout
        return self._once(Ended(reason=reason, text=text, was_up=was_up, public=line))

    def _end(self, reason: CloseReason, text: str) -> list[Event]:
        was_up = self.state is LinkState.UP
        self._down()
        return self._once(Ended(reason=reason, text=text, was_up=was_up))

    def _down(self) -> None:
        self.state = LinkState.DOWN
        self.deadline = None
        self._queue.clear()

    def _once(self, ended: Ended) -> list[Event]:
        if self._ended:
            return []
        self._ended = True
        return [ended]


def _violation(text: str) -> ProtocolViolation:
    return ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, text)


def _one_line(text: str) -> str:
    """Return a peer's line fit for a log: printable, short."""
    return "".join(character if character.isprintable() else " " for character in text[:200])
