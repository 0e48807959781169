"""What a session costs: its handshake, and messages through two ends and the relay, on one core.

Run it as `python benchmarks/sessions.py`. Everything is in one process, without sockets and without
signatures: what is measured is TLS, padding, frames and relay. It judges nothing.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comity.links.sessions.hub import SessionLimits
from comity.v1.session_pb2 import PageDelivery, SessionMessage
from tests.support.sessions import AgencyKeys, World, ask, settle

HANDSHAKES = 100
EXCHANGES = 5_000
SIZES = (200, 4_000, 16_000, 100_000)


def made_world(folder: str) -> World:
    """Return two agencies with an agreement, and a relay between them that keeps nothing."""
    agencies = {name: AgencyKeys(name) for name in ("cbp", "dea", "sheriff")}
    world = World(Path(folder), agencies, limits=SessionLimits(pending_bytes=1 << 30))
    world.middle.seen = _Nothing()
    return world


class _Nothing(list[object]):
    """A list that keeps only its last item."""

    def append(self, item: object) -> None:
        self[:] = [item]


async def handshakes(world: World) -> float:
    """Return the seconds that a session takes from nothing to ready and closed, both ends and relay."""
    gateway, _ = world.gateway(), world.adapter()
    begun = time.perf_counter()
    for _ in range(HANDSHAKES):
        (await gateway.hub.session("cbp")).close()
        await settle()
    return (time.perf_counter() - begun) / HANDSHAKES


async def exchanges(world: World, size: int, concurrent: int) -> float:
    """Return exchanges a second: a question, an answer of `size` bytes, `concurrent` at a time."""
    gateway, adapter = world.gateway(), world.adapter()
    answer = SessionMessage(page=PageDelivery(exchange_id=b"e" * 16, page=bytes(size)))
    question = ask(b"q" * 300)
    adapter.reply = lambda session, message: session.send(answer)
    session = await gateway.hub.session("cbp")
    done = asyncio.Event()
    answered = 0

    def next_one(_: object, message: SessionMessage) -> None:
        nonlocal answered
        answered += 1
        gateway.got.clear()
        adapter.got.clear()
        if answered <= EXCHANGES - concurrent:
            session.send(question)
        if answered == EXCHANGES:
            done.set()

    gateway.reply = next_one
    begun = time.perf_counter()
    for _ in range(concurrent):
        session.send(question)
    await done.wait()
    return EXCHANGES / (time.perf_counter() - begun)


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        world = made_world(folder)
        print(f"handshake, both ends and relay: {await handshakes(world) * 1e3:.1f} ms")
        print(f"{'answer':>10} {'at a time':>10} {'exchanges/s':>12} {'µs each':>8}")
        for size in SIZES:
            for concurrent in (1, 8, 64):
                rate = await exchanges(world, size, concurrent)
                print(f"{size:>8} B {concurrent:>10} {rate:>12.0f} {1e6 / rate:>8.0f}")
        world.close()


if __name__ == "__main__":
    asyncio.run(main())
