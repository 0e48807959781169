"""Garbage at every listener of a running federation: it ends as documented, the next honest one is served.

Oversized, deeply nested, truncated, mutated and random; over links, inside sessions, as documents. What
decodes messages without a federation is fuzzed in `tests/fuzz/`; real gRPC and mTLS have a file of their own.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.links.sessions.codec import PREFIX_BYTES, encode
from comity.links.sessions.core import SessionHub
from comity.v1 import audit_pb2, link_pb2, session_pb2
from tests.fuzz import parties
from tests.fuzz.mutator import Mutator
from tests.fuzz.seeds import NOTE
from tests.simulator import FederationSimulator
from tests.support.garbage import garbage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]


@pytest_asyncio.fixture(loop_scope="module")
async def federation(shared: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    yield shared
    await shared.pardons()  # a checkpoint that is heard again later is an older one: who shows it is refused


def mutated(rng: random.Random, heard: Sequence[link_pb2.LinkFrame]) -> link_pb2.LinkFrame:
    """A frame that was once good, with some bytes of it changed, cut or doubled."""
    while True:
        data = bytearray(rng.choice(heard).SerializeToString())
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 8)]
                case _:
                    data[place:place] = data[place : place + rng.randint(1, 40)]
            if not data:
                break
        try:
            return link_pb2.LinkFrame.FromString(bytes(data))
        except DecodeError:
            continue


@pytest.mark.parametrize("listener", ["operator/broker", "lapd/adapter", "sheriff/gateway"])
async def test_mutated_frames_cost_at_most_the_link_that_they_came_on(
    federation: FederationSimulator, listener: str
) -> None:
    """Whatever comes over a link is ignored or ends it, never a fault of ours; then it is dialled again."""
    rng, heard = random.Random(7), list[link_pb2.LinkFrame]()

    def hears(end: str, outward: bool, frame: link_pb2.LinkFrame) -> None:
        inward_wanted = listener == "operator/broker"
        if outward is not inward_wanted and (inward_wanted or end == listener):
            heard.append(link_pb2.LinkFrame.FromString(frame.SerializeToString()))

    federation.broker.listener = hears
    federation.forgets_sessions()
    await federation.search()
    federation.broker.listener = None
    del federation.warnings[:]
    for _ in range(60):
        name = rng.choice(list(federation.broker.wires)) if listener == "operator/broker" else listener
        wire = federation.broker.wires[name]
        deliver = wire.pull if listener == "operator/broker" else wire.push
        deliver(*(mutated(rng, heard) for _ in range(rng.randint(1, 3))))
        await federation.passes(seconds=rng.choice((0.001, 0.05, 2)))
    await federation.passes(seconds=15)
    assert_nothing_is_wrong(federation)


# -- inside a session ------------------------------------------------------------------------------------


def _spoken(message: session_pb2.SessionMessage) -> bytes:
    return encode(message)


ASK = _spoken(session_pb2.SessionMessage(ask=parties.ASK))
TO_PROVIDER = (
    ASK,
    _spoken(session_pb2.SessionMessage(credit=session_pb2.PageCredit(exchange_id=b"e" * 16, pages=1 << 31))),
    _spoken(session_pb2.SessionMessage(cancel=session_pb2.CancelAsk(exchange_id=b"e" * 16))),
    _spoken(session_pb2.SessionMessage(checkpoint=audit_pb2.Checkpoint(note=NOTE))),
)
TO_REQUESTER = (
    _spoken(session_pb2.SessionMessage(result=parties.ANSWERS["lapd"][0])),
    _spoken(session_pb2.SessionMessage(page=parties.ANSWERS["lapd"][1][0])),
    _spoken(session_pb2.SessionMessage(checkpoint=audit_pb2.Checkpoint(note=NOTE))),
    _spoken(session_pb2.SessionMessage(ready=session_pb2.Ready(version=1, agency="lapd", page_window=1))),
)
MUTATED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def plaintexts(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """What a peer with a good certificate may encrypt: garbage, or a message with some fields changed."""
    if draw(st.booleans()):
        return draw(garbage(*good, large=2_000_000))
    mutator = Mutator((session_pb2.SessionMessage,), draw(st.integers(0, 1 << 30)))
    content = draw(st.sampled_from(good))[PREFIX_BYTES:]
    changed = mutator.mutate(b"\0" + content, b"\0" + draw(st.sampled_from(good))[PREFIX_BYTES:], 200_000)[1:]
    try:
        message = session_pb2.SessionMessage.FromString(changed)
        message.ClearField("padding")
        return encode(message)
    except (DecodeError, ValueError):
        return changed


@pytest.mark.parametrize("listener", ["provider", "requester"])
@MUTATED
@given(data=st.data())
async def test_any_plaintext_of_a_peer_costs_at_most_its_session(
    federation: FederationSimulator, listener: str, data: st.DataObject
) -> None:
    """After good TLS with a good certificate, on both sides: ignored, answered or closed, never a fault."""
    gateway, adapter = federation.asking["sheriff"].gateway, federation["lapd"].end
    assert gateway is not None and gateway.sessions is not None and adapter is not None
    raw = data.draw(plaintexts(TO_PROVIDER if listener == "provider" else TO_REQUESTER))
    session = await gateway.sessions.session("lapd")
    hub: SessionHub = gateway.sessions
    if listener == "requester":
        await federation.until(lambda: adapter.sessions._sessions.get(session.session_id))
        hub, session = adapter.sessions, adapter.sessions._sessions[session.session_id]
    session.progress.engine._waiting.append(raw)
    hub._mark(session)
    await federation.passes(seconds=0.2)
    assert_nothing_is_wrong(federation)


async def test_nothing_is_left_of_all_that(federation: FederationSimulator) -> None:
    """No exchange and no session is kept for what was garbage; the next question is answered."""
    await federation.passes(seconds=150)
    gateway, adapter = federation.asking["sheriff"].gateway, federation["lapd"].end
    assert gateway is not None and adapter is not None
    assert gateway._running == {} and len(adapter.exchanges) == 0
    assert len(adapter.sessions._sessions) <= len(federation.providers)
    assert await federation.recovers()
    assert_nothing_is_wrong(federation)


def assert_nothing_is_wrong(federation: FederationSimulator) -> None:
    """No process told its operator of a fault of its own."""
    assert [line for line in federation.warnings if "fault" in line or "failed:" in line] == []
