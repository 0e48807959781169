"""The pure link: who may say what when, how it ends, and that it always does."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comity.links.backoff import Backoff
from comity.links.errors import FrameTooLarge, LinkDown
from comity.links.frames import MAX_MESSAGE_BYTES, LinkLimits, kind
from comity.links.state import Delivered, Ended, Event, Greeted, Linked, LinkMachine, LinkState
from comity.v1.audit_pb2 import Checkpoint
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import (
    AccountDelivery,
    Announcement,
    CloseReason,
    ExchangeCancel,
    Goodbye,
    Hello,
    LinkFrame,
    OrderPlacement,
    OrderRejection,
    Presence,
    ReceiptDelivery,
    SessionOpen,
    StampDelivery,
    Welcome,
)

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
LIMITS = LinkLimits()
HELLO = Hello(versions=[1], spiffe_id="spiffe://cbp.example/gateway", role=EndRole.END_ROLE_GATEWAY)


def welcome(ends_at: datetime = NOON + timedelta(hours=1), **changes: int) -> Welcome:
    ends = Timestamp()
    ends.FromDatetime(ends_at)
    values = {"version": 1, "session_window": 65536, "max_frame_bytes": 65536} | changes
    return Welcome(ends_at=ends, **values)


def note(text: str = "", size: int = 0) -> LinkFrame:
    return LinkFrame(checkpoint=Checkpoint(note=text.encode() + bytes(size)))


def linked(
    role: EndRole = EndRole.END_ROLE_GATEWAY, limits: LinkLimits = LIMITS
) -> tuple[LinkMachine, LinkMachine]:
    """Return an end and its broker, both UP."""
    hello = Hello(versions=[1], role=role)
    end, broker = LinkMachine(limits=limits, hello=hello), LinkMachine(limits=limits, hello=None)
    end.connected(NOON)
    broker.connected(NOON)
    assert broker.receive(end.next_message(), NOON) == [Greeted(hello=hello)]
    assert [type(event) for event in broker.welcome(welcome(), NOON)] == [Linked]
    assert [type(event) for event in end.receive(broker.next_message(), NOON)] == [Linked]
    return end, broker


def ended(events: list[Event]) -> Ended:
    (event,) = (event for event in events if isinstance(event, Ended))
    return event


def test_greeting_and_welcome_come_first() -> None:
    """The end's first frame is its hello, the broker's first its welcome; then both are UP."""
    end, broker = linked()
    assert end.state is broker.state is LinkState.UP
    assert end.max_frame_bytes == 65536


def test_nothing_is_sent_before_the_welcome() -> None:
    """Until it is welcomed an end can't send, and says that its link isn't there."""
    end = LinkMachine(limits=LIMITS, hello=HELLO)
    for _ in range(2):
        with pytest.raises(LinkDown):
            end.send([note()], NOON)
        if end.state is LinkState.CONNECTING:
            end.connected(NOON)


@pytest.mark.parametrize(
    "frames",
    [
        [note()],
        [LinkFrame(hello=HELLO), note()],
        [LinkFrame(hello=HELLO), LinkFrame(hello=HELLO)],
        [LinkFrame(welcome=Welcome())],
        [LinkFrame()],
        [LinkFrame(hello=Hello(versions=[2], role=EndRole.END_ROLE_GATEWAY))],
        [LinkFrame(hello=Hello(versions=[1], role=EndRole.END_ROLE_BROKER))],
        [LinkFrame(hello=Hello(versions=[1]))],
    ],
    ids=["no hello", "early frame", "two hellos", "welcome", "nothing", "version", "broker", "no role"],
)
def test_false_greeting_is_a_violation(frames: list[LinkFrame]) -> None:
    """A broker takes one hello of an end that speaks its version, and nothing else before its welcome."""
    broker = LinkMachine(limits=LIMITS, hello=None)
    broker.connected(NOON)
    end = ended(broker.receive(frames, NOON))
    assert end.reason == CloseReason.CLOSE_REASON_PROTOCOL and not end.was_up
    assert broker.state is LinkState.CLOSING


@pytest.mark.parametrize(
    "frame",
    [
        note(),
        LinkFrame(hello=HELLO),
        LinkFrame(),
        LinkFrame(welcome=welcome(version=2)),
        LinkFrame(welcome=welcome(session_window=10)),
        LinkFrame(welcome=welcome(max_frame_bytes=10)),
    ],
    ids=["early frame", "hello", "nothing", "version", "window", "frame size"],
)
def test_false_welcome_is_a_violation(frame: LinkFrame) -> None:
    """An end takes a welcome that it can live with, and nothing before it."""
    end = LinkMachine(limits=LIMITS, hello=HELLO)
    end.connected(NOON)
    assert ended(end.receive([frame], NOON)).reason == CloseReason.CLOSE_REASON_PROTOCOL


FRAMES = {
    "hello": LinkFrame(hello=HELLO),
    "welcome": LinkFrame(welcome=welcome()),
    "presence": LinkFrame(presence=Presence()),
    "session_open": LinkFrame(session_open=SessionOpen()),
    "order": LinkFrame(order=OrderPlacement()),
    "order_rejection": LinkFrame(order_rejection=OrderRejection()),
    "announcement": LinkFrame(announcement=Announcement()),
    "receipt": LinkFrame(receipt=ReceiptDelivery()),
    "stamp": LinkFrame(stamp=StampDelivery()),
    "cancel": LinkFrame(cancel=ExchangeCancel()),
    "account": LinkFrame(account=AccountDelivery()),
    "checkpoint": note(),
    "nothing": LinkFrame(),
}
TO_BROKER = {
    "gateway": {"session_open", "order", "cancel", "checkpoint"},
    "adapter": {"receipt", "checkpoint"},
}
TO_END = {
    "gateway": {"presence", "session_open", "order_rejection", "stamp", "account", "checkpoint"},
    "adapter": {"presence", "session_open", "announcement", "cancel", "checkpoint"},
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("role", ["gateway", "adapter"])
def test_each_frame_is_for_whom_the_contract_says(role: str, name: str) -> None:
    """A frame in a direction, or of a role, that the contract doesn't give it is a violation."""
    for to_broker, allowed in ((True, TO_BROKER[role]), (False, TO_END[role])):
        end, broker = linked(EndRole.Value(f"END_ROLE_{role.upper()}"))
        events = (broker if to_broker else end).receive([FRAMES[name]], NOON)
        if name in allowed:
            assert events == [Delivered(frames=[FRAMES[name]])]
        else:
            assert ended(events).reason == CloseReason.CLOSE_REASON_PROTOCOL


def test_frames_before_a_violation_are_delivered_and_none_after() -> None:
    """Frames of one message count up to the one that breaks the protocol."""
    _, broker = linked()
    events = broker.receive([note("a"), LinkFrame(), note("b")], NOON)
    assert events[0] == Delivered(frames=[note("a")])
    assert len(events) == 2 and ended(events).was_up
    assert broker.receive([note("c")], NOON) == []


def test_goodbye_is_the_last_frame_and_ends_the_other_side() -> None:
    """What was queued leaves before the goodbye; the other side learns the reason and is down at once."""
    end, broker = linked()
    end.send([note("last")], NOON)
    assert ended(end.close(CloseReason.CLOSE_REASON_SHUTDOWN, "stops", NOON)).was_up
    events = broker.receive(end.next_message(), NOON)
    assert events[0] == Delivered(frames=[note("last")])
    assert ended(events).reason == CloseReason.CLOSE_REASON_SHUTDOWN
    assert broker.state is LinkState.DOWN
    with pytest.raises(LinkDown):
        end.send([note()], NOON)


def test_broker_is_down_once_its_goodbye_is_written_and_an_end_waits_for_the_stream() -> None:
    """An end that hung up at once could overtake its goodbye: it waits, but not for ever."""
    end, broker = linked()
    for machine in (end, broker):
        machine.close(CloseReason.CLOSE_REASON_SHUTDOWN, "", NOON)
        assert [kind(frame) for frame in machine.next_message()] == ["goodbye"]
        machine.written()
    assert broker.state is LinkState.DOWN
    assert end.state is LinkState.CLOSING
    end.tick(NOON + LIMITS.closing_timeout)
    assert end.state is LinkState.DOWN


def test_lost_stream_ends_without_a_reason() -> None:
    """A stream that ends without a goodbye is told as UNSPECIFIED, exactly once."""
    end, _ = linked()
    assert ended(end.lost("gone")) == Ended(
        reason=CloseReason.CLOSE_REASON_UNSPECIFIED, text="gone", was_up=True
    )
    assert end.lost("again") == end.close(CloseReason.CLOSE_REASON_SHUTDOWN, "", NOON) == []


def test_full_queue_closes_with_limit_and_lets_everything_go() -> None:
    """A peer that doesn't read costs a bounded queue, then its link."""
    limits = LinkLimits(queue_bytes=2 * 1024 * 1024)
    end, _ = linked(limits=limits)
    events: list[Event] = []
    while not events:
        events = end.send([note(size=60_000)], NOON)
        assert end.waiting_bytes <= limits.queue_bytes + 100
    assert ended(events).reason == CloseReason.CLOSE_REASON_LIMIT
    assert [kind(frame) for frame in end.next_message()] == ["goodbye"]


def test_many_small_frames_pass_the_limit_of_frames() -> None:
    """The queue is bounded in frames, too."""
    end, _ = linked(limits=LinkLimits(queue_frames=10))
    assert end.send([note()] * 10, NOON) == []
    assert ended(end.send([note()], NOON)).reason == CloseReason.CLOSE_REASON_LIMIT


def test_too_large_frame_is_refused_here_and_a_violation_there() -> None:
    """A frame over the limit isn't queued, nor is anything beside it; one that comes closes the link."""
    end, broker = linked()
    with pytest.raises(FrameTooLarge):
        end.send([note("x"), note(size=70_000)], NOON)
    assert end.waiting == 0
    events = broker.receive([note(size=LIMITS.max_frame_bytes + 1)], NOON)
    assert ended(events).reason == CloseReason.CLOSE_REASON_LIMIT


def test_message_holds_what_fits_in_a_mebibyte() -> None:
    """What waits leaves together, in order, cut before 1 MiB: a larger message would end the stream."""
    end, _ = linked()
    end.send([note(str(n), 60_000) for n in range(100)], NOON)
    messages = []
    while message := end.next_message():
        messages.append(message)
    assert [frame for message in messages for frame in message] == [note(str(n), 60_000) for n in range(100)]
    assert len(messages) == 6
    assert all(sum(f.ByteSize() + 4 for f in message) <= MAX_MESSAGE_BYTES for message in messages)


def test_end_that_never_greets_is_hung_up_on() -> None:
    """A greeting has its time."""
    broker = LinkMachine(limits=LIMITS, hello=None)
    broker.connected(NOON)
    assert broker.tick(NOON + timedelta(seconds=9)) == []
    assert ended(broker.tick(NOON + LIMITS.greeting_timeout)).reason == CloseReason.CLOSE_REASON_IDLE


def test_link_ends_with_its_leaf() -> None:
    """At the time that the welcome named, both sides end the link with RENEWAL."""
    for machine in linked():
        assert machine.tick(NOON + timedelta(minutes=59)) == []
        assert ended(machine.tick(NOON + timedelta(hours=1))).reason == CloseReason.CLOSE_REASON_RENEWAL


def test_goodbye_text_is_made_fit_for_a_log() -> None:
    """A peer's line can't break a log's lines."""
    end, _ = linked()
    text = ended(end.receive([LinkFrame(goodbye=Goodbye(text="a\nb\x1b[31m" + "x" * 500))], NOON)).text
    assert text.isprintable() and len(text) < 250


def test_welcome_comes_too_late_for_an_end_that_is_gone() -> None:
    """Judging takes time; an end that left meanwhile isn't linked."""
    broker = LinkMachine(limits=LIMITS, hello=None)
    broker.connected(NOON)
    broker.receive([LinkFrame(hello=HELLO)], NOON)
    broker.lost("gone")
    assert broker.welcome(welcome(), NOON) == []
    assert broker.state is LinkState.DOWN


def test_backoff_doubles_to_its_longest_and_is_drawn_in_full() -> None:
    """Between nothing and the bound, and the bound doubles from 0.2 s to 5 s."""
    most = Backoff(draw=lambda: 1.0)
    assert [most.wait(n).total_seconds() for n in (0, 1, 2, 3, 4, 5, 1000)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert Backoff(draw=lambda: 0.0).wait(9) == timedelta()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_frame_bytes": 100},
        {"max_frame_bytes": 2 << 20},
        {"session_window": 1},
        {"queue_bytes": 5},
        {"queue_frames": 0},
        {"sessions_per_link": 0},
    ],
)
def test_limits_with_which_nothing_could_travel_are_refused(wrong: dict[str, int]) -> None:
    """Limits are valid once built."""
    with pytest.raises(ValueError):
        LinkLimits(**wrong)  # type: ignore[arg-type]


class TwoSides(RuleBasedStateMachine):
    """An end and its broker, with a stream between that delays and breaks: any order of things."""

    def __init__(self) -> None:
        super().__init__()
        limits = LinkLimits(queue_frames=8)
        self.sides = [LinkMachine(limits=limits, hello=HELLO), LinkMachine(limits=limits, hello=None)]
        self.wires: list[deque[list[LinkFrame]]] = [deque(), deque()]
        self.now = NOON
        self.sent: list[list[bytes]] = [[], []]
        self.got: list[list[bytes]] = [[], []]
        self.up = [0, 0]
        self.over = [0, 0]
        self.count = 0
        for side in self.sides:
            side.connected(self.now)

    def take(self, side: int, events: list[Event]) -> None:
        for event in events:
            assert not self.over[side], "an event after the end"
            match event:
                case Greeted():
                    self.take(side, self.sides[side].welcome(welcome(), self.now))
                case Linked():
                    self.up[side] += 1
                case Delivered(frames=frames):
                    assert self.up[side] == 1
                    self.got[side] += [frame.checkpoint.note for frame in frames]
                case Ended(was_up=was_up):
                    assert was_up == bool(self.up[side])
                    self.over[side] += 1

    @rule(side=st.integers(0, 1), number=st.integers(1, 4))
    def send(self, side: int, number: int) -> None:
        frames = [note(str(self.count + n)) for n in range(number)]
        self.count += number
        try:
            events = self.sides[side].send(frames, self.now)
        except LinkDown:
            assert self.sides[side].state is not LinkState.UP
            return
        self.take(side, events)
        self.sent[side] += [frame.checkpoint.note for frame in frames] if not events else []

    @rule(side=st.integers(0, 1))
    def write(self, side: int) -> None:
        message = self.sides[side].next_message()
        if message:
            self.wires[side].append([LinkFrame.FromString(f.SerializeToString()) for f in message])
        else:
            self.sides[side].written()

    @rule(side=st.integers(0, 1))
    def read(self, side: int) -> None:
        wire = self.wires[1 - side]
        if wire:
            self.take(side, self.sides[side].receive(wire.popleft(), self.now))

    @rule(side=st.integers(0, 1))
    def close(self, side: int) -> None:
        self.take(side, self.sides[side].close(CloseReason.CLOSE_REASON_SHUTDOWN, "", self.now))

    @rule(seconds=st.integers(0, 8))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for side in (0, 1):
            self.take(side, self.sides[side].tick(self.now))

    @rule()
    def break_stream(self) -> None:
        for side in (0, 1):
            self.take(side, self.sides[side].lost("broken"))

    @invariant()
    def in_order_and_without_gaps(self) -> None:
        for side in (0, 1):
            got = self.got[side]
            assert got == self.sent[1 - side][: len(got)]

    @invariant()
    def ends_once_and_waits_boundedly(self) -> None:
        for side, machine in enumerate(self.sides):
            assert self.up[side] <= 1 and self.over[side] <= 1
            assert machine.waiting <= 8 + 2
            if machine.state in (LinkState.CLOSING, LinkState.DOWN):
                assert self.over[side] == 1

    def teardown(self) -> None:
        """Whatever happened: given time, both sides are down."""
        for _ in range(3):
            self.now += timedelta(hours=2)
            for side in (0, 1):
                self.take(side, self.sides[side].tick(self.now))
        assert all(side.state is LinkState.DOWN for side in self.sides)
        assert self.over == [1, 1]


TwoSides.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTwoSides = TwoSides.TestCase
