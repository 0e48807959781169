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

from comity.v1 import link_pb2
from tests.simulator import FederationSimulator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def federation(shared: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    yield shared


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
    assert [line for line in federation.warnings if "fault" in line or "failed:" in line] == []
