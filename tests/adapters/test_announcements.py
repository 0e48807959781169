"""Announcements: waited for, matched, forgotten; and threads that keep no process alive."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from comity.adapters import announcements
from comity.adapters.announcements import Announcements
from comity.adapters.threads import DaemonExecutor, StoreThreads
from comity.certs.instants import from_instant
from comity.v1.link_pb2 import Announcement
from tests.adapters.bench import HandClock


def announced(clock: HandClock, number: int, *, seconds: float = 10) -> Announcement:
    return Announcement(
        exchange_id=number.to_bytes(16),
        requester="lahd",
        deadline=from_instant(clock() + timedelta(seconds=seconds)),
    )


async def test_everyone_who_waits_is_told() -> None:
    """Two copies of a question wait for one announcement; the replay guard tells them apart."""
    clock = HandClock()
    known = Announcements(clock)
    waiting = [asyncio.create_task(known.wait(bytes(15) + b"\x01", seconds=5)) for _ in range(2)]
    await asyncio.sleep(0)
    known.add(announced(clock, 1))
    assert [found.requester for found in await asyncio.gather(*waiting) if found] == ["lahd", "lahd"]


async def test_what_does_not_come_is_none_and_leaves_nothing_behind() -> None:
    """Questions about what nobody announced can't fill the memory."""
    known = Announcements(HandClock())
    assert await known.wait(bytes(16), seconds=0.001) is None
    assert known._waiting == {}


async def test_first_announcement_of_an_exchange_stays() -> None:
    """A second one can't hand an exchange to another requester."""
    clock = HandClock()
    known = Announcements(clock)
    known.add(announced(clock, 1))
    other = announced(clock, 1)
    other.requester = "sheriff"
    known.add(other)
    found = await known.wait((1).to_bytes(16), seconds=0)
    assert found is not None
    assert found.requester == "lahd"


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past deadlines go, and of too many the oldest."""
    monkeypatch.setattr(announcements, "MAX_WAITING", 3)
    clock = HandClock()
    known = Announcements(clock)
    for number in range(5):
        known.add(announced(clock, number))
    assert len(known._known) == 3
    clock.forward(11)
    known.add(announced(clock, 9))
    assert list(known._known) == [(9).to_bytes(16)]


async def test_announcement_past_its_deadline_is_as_if_it_never_came() -> None:
    """Also one without a deadline."""
    clock = HandClock()
    known = Announcements(clock)
    known.add(announced(clock, 1, seconds=0))
    known.add(Announcement(exchange_id=bytes(16), requester="lahd"))
    assert known._known == {}


async def test_store_that_hangs_keeps_no_other_search_waiting() -> None:
    """Searches run beside each other, in daemon threads, at most as many as allowed."""
    executor, release = DaemonExecutor(2), threading.Event()
    loop = asyncio.get_running_loop()
    hung = loop.run_in_executor(executor, release.wait, 10)
    assert await loop.run_in_executor(executor, lambda: threading.current_thread().daemon)
    assert [await loop.run_in_executor(executor, lambda: 1) for _ in range(5)] == [1] * 5
    assert len(executor._threads) == 2
    release.set()
    await hung
    executor.shutdown()


async def test_store_that_never_returns_takes_no_thread_from_another() -> None:
    """Each store has its own threads: all of one's may hang, and the other is searched at once."""
    threads, release = StoreThreads(2), threading.Event()
    loop = asyncio.get_running_loop()
    hung = [loop.run_in_executor(threads.of("hangs"), release.wait, 10) for _ in range(2)]
    waits = loop.run_in_executor(threads.of("hangs"), lambda: 1)
    assert await loop.run_in_executor(threads.of("works"), lambda: 2) == 2
    assert not waits.done()
    release.set()
    assert await waits == 1 and await asyncio.gather(*hung)
    threads.shutdown()


async def test_fault_in_a_thread_comes_back() -> None:
    """What a store raises is raised where it is awaited."""
    executor = DaemonExecutor(1)

    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await asyncio.get_running_loop().run_in_executor(executor, fail)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(fail)
