"""The relay in the middle: it forwards every record of a session to its other end, and to nobody else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from comity.links.errors import ProtocolViolation
from comity.links.frames import LinkLimits, kind
from comity.links.relay import Routed, SessionRelay
from comity.v1.link_pb2 import CloseReason, Lane, LinkFrame, SessionClose, SessionCredit, SessionData

PROTOCOL, LIMIT = CloseReason.CLOSE_REASON_PROTOCOL, CloseReason.CLOSE_REASON_LIMIT
ABSENT = CloseReason.CLOSE_REASON_PEER_ABSENT
LANE = Lane.LANE_INTERACTIVE


def relay_of(**limits: int) -> SessionRelay[str]:
    return SessionRelay(LinkLimits(**limits))  # type: ignore[arg-type]


def opened(relay: SessionRelay[str], gateway: str = "g", adapter: str | None = "a") -> int:
    routed = relay.open(gateway, 7, requester="dea", provider="cbp", adapter=adapter, lane=LANE)
    return routed[0].frame.session_open.session_id


def data(session_id: int, sequence: int, size: int = 10) -> LinkFrame:
    return LinkFrame(session_data=SessionData(session_id=session_id, sequence=sequence, records=bytes(size)))


def credit(session_id: int, size: int) -> LinkFrame:
    return LinkFrame(session_credit=SessionCredit(session_id=session_id, bytes=size))


def closes(routed: list[Routed[str]]) -> dict[str, CloseReason]:
    assert all(kind(frame) == "session_close" for _, frame in routed)
    return {link: frame.session_close.reason for link, frame in routed}


def test_opening_tells_each_end_about_the_other() -> None:
    """The adapter learns the requester, the gateway the id for its reference; neither learns more."""
    relay = relay_of()
    to_adapter, to_gateway = relay.open("g", 7, requester="dea", provider="cbp", adapter="a", lane=LANE)
    assert to_adapter.link == "a" and to_gateway.link == "g"
    assert to_adapter.frame.session_open.peer == "dea"
    assert to_adapter.frame.session_open.reference == 0
    assert to_gateway.frame.session_open.peer == "cbp"
    assert to_gateway.frame.session_open.reference == 7
    assert to_adapter.frame.session_open.session_id == to_gateway.frame.session_open.session_id != 0


def test_absent_provider_is_told_to_the_gateway_alone() -> None:
    """Without a link of the provider no session begins."""
    relay = relay_of()
    ((link, frame),) = relay.open("g", 7, requester="dea", provider="cbp", adapter=None, lane=LANE)
    assert link == "g"
    assert frame.session_close == SessionClose(session_id=0, reference=7, reason=ABSENT)
    assert len(relay) == 0


@pytest.mark.parametrize("lane", [Lane.LANE_UNSPECIFIED, Lane.LANE_BULK])
def test_lane_that_is_not_spoken_is_rejected(lane: Lane) -> None:
    """Only the interactive lane is spoken."""
    routed = relay_of().open("g", 7, requester="dea", provider="cbp", adapter="a", lane=lane)
    assert closes(routed) == {"g": PROTOCOL}


def test_link_has_a_limited_number_of_sessions() -> None:
    """One more session than a link may have is refused with LIMIT; the others live."""
    relay = relay_of(sessions_per_link=2)
    opened(relay), opened(relay, "h")
    routed = relay.open("i", 1, requester="x", provider="cbp", adapter="a", lane=LANE)
    assert closes(routed) == {"i": LIMIT}
    assert len(relay) == 2


def test_records_reach_the_other_end_unchanged() -> None:
    """The frame that came is the frame that goes, in both directions."""
    relay = relay_of()
    session_id = opened(relay)
    up, down = data(session_id, 0), data(session_id, 0, 20)
    assert relay.forward("g", up) == [("a", up)]
    assert relay.forward("a", down) == [("g", down)]


@pytest.mark.parametrize("sequence", [0, 2, 5])
def test_gap_or_repeat_resets_the_whole_session(sequence: int) -> None:
    """A record that is missing or comes twice ends the session for both ends: it is never skipped."""
    relay = relay_of()
    session_id = opened(relay)
    relay.forward("g", data(session_id, 0))
    assert closes(relay.forward("g", data(session_id, sequence))) == {"g": PROTOCOL, "a": PROTOCOL}
    assert relay.forward("g", data(session_id, 1)) == []


def test_sender_that_ignores_the_window_is_reset() -> None:
    """What a session may cost the broker in memory is its window, whatever an end does."""
    relay = relay_of(session_window=4096)
    session_id = opened(relay)
    relay.forward("g", data(session_id, 0, 4096))
    assert closes(relay.forward("g", data(session_id, 1, 1))) == {"g": LIMIT, "a": LIMIT}


def test_credit_opens_the_window_again() -> None:
    """Credit comes end to end: the relay forwards it and counts it."""
    relay = relay_of(session_window=4096)
    session_id = opened(relay)
    relay.forward("g", data(session_id, 0, 4096))
    given = credit(session_id, 4096)
    assert relay.forward("a", given) == [("g", given)]
    assert kind(relay.forward("g", data(session_id, 1, 4096))[0].frame) == "session_data"


def test_false_credit_resets_the_session() -> None:
    """Credit for what was never sent would open the window beyond what the broker can bear."""
    relay = relay_of()
    session_id = opened(relay)
    assert closes(relay.forward("a", credit(session_id, 5))) == {"g": PROTOCOL, "a": PROTOCOL}


def test_close_is_forwarded_with_its_reason() -> None:
    """An end's close reaches the other end, with the gateway's reference, and the id is gone."""
    relay = relay_of()
    session_id = opened(relay)
    frame = LinkFrame(
        session_close=SessionClose(session_id=session_id, reason=CloseReason.CLOSE_REASON_NO_AGREEMENT)
    )
    ((link, told),) = relay.forward("a", frame)
    assert link == "g"
    assert told.session_close.reason == CloseReason.CLOSE_REASON_NO_AGREEMENT
    assert told.session_close.reference == 7
    assert relay.forward("g", data(session_id, 0)) == []


def test_no_end_can_say_that_another_is_absent() -> None:
    """PEER_ABSENT is the broker's word: an adapter that says it of itself is not believed."""
    relay = relay_of()
    session_id = opened(relay)
    frame = LinkFrame(session_close=SessionClose(session_id=session_id, reason=ABSENT))
    assert closes(relay.forward("a", frame)) == {"g": CloseReason.CLOSE_REASON_UNSPECIFIED}


@pytest.mark.parametrize("frame_of", [data, lambda i, n: credit(i, 5), lambda i, n: _close(i)])
def test_frame_for_another_pair_s_session_reaches_nobody(frame_of: object) -> None:
    """A link that names a session it is not part of breaks the protocol; the session goes on."""
    relay = relay_of()
    session_id = opened(relay)
    with pytest.raises(ProtocolViolation):
        relay.forward("stranger", frame_of(session_id, 0))  # type: ignore[operator]
    assert relay.forward("g", data(session_id, 0)) != []


def _close(session_id: int) -> LinkFrame:
    return LinkFrame(session_close=SessionClose(session_id=session_id))


def test_lost_link_ends_its_sessions_and_no_others() -> None:
    """Each other end is told PEER_ABSENT; sessions between others go on."""
    relay = relay_of()
    first, second, other = opened(relay), opened(relay, "h"), opened(relay, "g", "b")
    assert closes(relay.link_lost("a")) == {"g": ABSENT, "h": ABSENT}
    assert relay.forward("g", data(first, 0)) == relay.forward("h", data(second, 0)) == []
    assert relay.forward("g", data(other, 0)) != []
    assert relay.link_lost("a") == []


def test_reset_closes_a_link_s_sessions_for_both_ends() -> None:
    """After a revocation, say, all sessions of a link end while the link itself may stay."""
    relay = relay_of()
    opened(relay)
    reason = CloseReason.CLOSE_REASON_CREDENTIALS
    assert closes(relay.reset("a", reason)) == {"g": reason, "a": reason}
    assert len(relay) == 0


def test_other_frames_are_not_relayed() -> None:
    """The relay takes frames of sessions alone."""
    with pytest.raises(ValueError, match="none that a relay forwards"):
        relay_of().forward("g", LinkFrame())


class RelayUnderWay(RuleBasedStateMachine):
    """Any order of openings, records, credits, closes and lost links, against a plain model."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.relay = relay_of(session_window=4096, sessions_per_link=4)
        self.ends: dict[int, tuple[str, str]] = {}
        self.sent: dict[tuple[int, str], int] = {}
        self.flying: dict[tuple[int, str], int] = {}

    @rule(target=sessions, gateway=st.sampled_from("gh"), adapter=st.sampled_from("ab"))
    def open(self, gateway: str, adapter: str) -> int:
        routed = self.relay.open(gateway, 1, requester="r", provider="p", adapter=adapter, lane=LANE)
        if len(routed) == 1:
            assert closes(routed) == {gateway: LIMIT}
            return 0
        assert [link for link, _ in routed] == [adapter, gateway]
        session_id = routed[0].frame.session_open.session_id
        assert session_id not in self.ends
        self.ends[session_id] = (gateway, adapter)
        return session_id

    @rule(session_id=sessions, sender=st.integers(0, 1), size=st.integers(1, 3000), skip=st.booleans())
    def send(self, session_id: int, sender: int, size: int, skip: bool) -> None:
        pair = self.ends.get(session_id)
        if pair is None:
            assert self.relay.forward("g", data(session_id, 0, size)) == []
            return
        key = session_id, pair[sender]
        sequence = self.sent.get(key, 0)
        frame = data(session_id, sequence + skip, size)
        routed = self.relay.forward(pair[sender], frame)
        if skip or self.flying.get(key, 0) + size > 4096:
            assert set(closes(routed)) == set(pair)
            del self.ends[session_id]
            return
        assert routed == [(pair[1 - sender], frame)]
        self.sent[key] = sequence + 1
        self.flying[key] = self.flying.get(key, 0) + size

    @rule(session_id=sessions, sender=st.integers(0, 1), size=st.integers(1, 3000))
    def give_credit(self, session_id: int, sender: int, size: int) -> None:
        pair = self.ends.get(session_id)
        if pair is None:
            return
        key = session_id, pair[1 - sender]
        routed = self.relay.forward(pair[sender], credit(session_id, size))
        if size > self.flying.get(key, 0):
            assert set(closes(routed)) == set(pair)
            del self.ends[session_id]
        else:
            assert routed == [(pair[1 - sender], credit(session_id, size))]
            self.flying[key] -= size

    @rule(session_id=sessions, sender=st.integers(0, 1))
    def close(self, session_id: int, sender: int) -> None:
        pair = self.ends.pop(session_id, None)
        routed = self.relay.forward(pair[sender] if pair else "g", _close(session_id))
        assert set(closes(routed)) == ({pair[1 - sender]} if pair else set())

    @precondition(lambda self: self.ends)
    @rule(link=st.sampled_from("ghab"))
    def lose(self, link: str) -> None:
        gone = {i: pair for i, pair in self.ends.items() if link in pair}
        routed = self.relay.link_lost(link)
        assert len(routed) == len(gone)
        assert link not in {told for told, _ in routed}
        for session_id in gone:
            del self.ends[session_id]

    @invariant()
    def same_sessions(self) -> None:
        assert len(self.relay) == len(self.ends)


RelayUnderWay.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRelayUnderWay = RelayUnderWay.TestCase
