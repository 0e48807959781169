"""Sequence numbers and windows of a session, and the channel that both ends count with."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.links.channel import SessionChannel, SessionState
from comity.links.errors import ProtocolViolation
from comity.links.flow import Flow
from comity.links.frames import kind
from comity.v1.link_pb2 import CloseReason, LinkFrame, SessionCredit, SessionData

PROTOCOL, LIMIT = CloseReason.CLOSE_REASON_PROTOCOL, CloseReason.CLOSE_REASON_LIMIT


def reason_of(call: object, *arguments: int) -> CloseReason:
    with pytest.raises(ProtocolViolation) as raised:
        call(*arguments)  # type: ignore[operator]
    return raised.value.reason


def test_gap_repeat_and_empty_frame_are_violations() -> None:
    """Frames count up by one from 0 and carry something."""
    flow = Flow(1000)
    flow.accept(0, 10)
    assert reason_of(flow.accept, 0, 10) == PROTOCOL
    assert reason_of(flow.accept, 2, 10) == PROTOCOL
    assert reason_of(flow.accept, 1, 0) == PROTOCOL
    flow.accept(1, 10)


def test_more_than_the_window_passes_a_limit() -> None:
    """A sender that ignores the window is told LIMIT; credit opens it again."""
    flow = Flow(1000)
    flow.accept(0, 1000)
    assert reason_of(flow.accept, 1, 1) == LIMIT
    flow.credit(1)
    flow.accept(1, 1)


def test_credit_for_what_was_never_sent_is_a_violation() -> None:
    """Credit of nothing or of too much is refused: it would widen the window."""
    flow = Flow(1000)
    flow.accept(0, 10)
    assert reason_of(flow.credit, 11) == PROTOCOL
    assert reason_of(flow.credit, 0) == PROTOCOL


def test_sender_can_t_pass_its_own_window() -> None:
    """A sender that forgets to ask for room is a fault of ours."""
    with pytest.raises(ValueError, match="room for 1000"):
        Flow(1000).stamp(1001)


def two_channels(window: int) -> tuple[SessionChannel, SessionChannel]:
    here = SessionChannel(window=window, max_frame_bytes=4096, reference=1)
    here.opened(9)
    return here, SessionChannel(window=window, max_frame_bytes=4096, session_id=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20_000), max_size=8), st.integers(4096, 20_000))
def test_everything_arrives_whatever_the_window(chunks: list[bytes], window: int) -> None:
    """Bytes come out as they went in, never more in flight than the window, and nothing stalls."""
    here, there = two_channels(window)
    for chunk in chunks:
        here.offer(chunk)
    got = b""
    while frames := here.frames():
        sent = sum(len(frame.session_data.records) for frame in frames)
        assert sent <= window
        for frame in frames:
            assert frame.ByteSize() <= 4096
            got += there.receive(frame.session_data)
        there.consumed(sent)
        for frame in there.frames():
            here.credited(frame.session_credit)
    assert got == b"".join(chunks)
    assert here.pending_bytes == 0


def test_small_offers_travel_in_one_frame() -> None:
    """What waits is put together: a frame for a batch, not for each message."""
    here, _ = two_channels(10_000)
    for _ in range(20):
        here.offer(b"x" * 100)
    (frame,) = here.frames()
    assert len(frame.session_data.records) == 2000


def test_credit_comes_back_in_large_portions() -> None:
    """Credit is given when a quarter of the window was used up, not for each frame."""
    _, there = two_channels(8000)
    there.receive(SessionData(session_id=9, sequence=0, records=bytes(1999)))
    there.consumed(1999)
    assert there.frames() == []
    there.receive(SessionData(session_id=9, sequence=1, records=b"x"))
    there.consumed(1)
    assert there.frames() == [LinkFrame(session_credit=SessionCredit(session_id=9, bytes=2000))]


def test_states_in_their_order() -> None:
    """OPENING gets an id, HANDSHAKING becomes READY, CLOSED is the end; no state is left out."""
    channel = SessionChannel(window=8192, max_frame_bytes=4096, reference=5)
    channel.offer(b"early")
    assert channel.state is SessionState.OPENING and channel.frames() == []
    with pytest.raises(ProtocolViolation):
        channel.ready()
    channel.opened(3)
    with pytest.raises(ProtocolViolation):
        channel.opened(4)
    assert [kind(frame) for frame in channel.frames()] == ["session_data"]
    channel.ready()
    assert channel.state is SessionState.READY
    (close,) = channel.close(PROTOCOL)
    assert (close.session_close.session_id, close.session_close.reason) == (3, PROTOCOL)
    assert channel.close(PROTOCOL) == []
    channel.offer(b"late")
    assert channel.frames() == [] and channel.pending_bytes == 0
