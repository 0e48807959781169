"""The published roster over a link: whole, in order, bounded, and taken one at a time."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.adapters import server as adapter_end
from comity.broker import server as broker_end
from comity.certs.errors import FileUnusable, RosterInvalid
from comity.certs.own_lists import MAX_OWN_LIST_BYTES
from comity.gateway import end as gateway_end
from comity.links import roster
from comity.links.errors import LinkDown
from comity.links.roster import (
    MAX_PARTS,
    PART_BYTES,
    OwnRevocations,
    RevocationsInbox,
    RosterInbox,
    cut,
)
from comity.v1.link_pb2 import LinkFrame, RosterDelivery, Welcome

LOG = logging.getLogger("test")
REST = roster.REST_SECONDS


class Taken:
    """What an inbox had taken; refuses `bad`."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def __call__(self, data: bytes) -> bool:
        self.all.append(data)
        if data == b"bad":
            raise RosterInvalid("roster isn't signed by the pinned authority")
        return True


@contextlib.asynccontextmanager
async def running(taken: Taken) -> AsyncIterator[RosterInbox]:
    inbox = RosterInbox(taken, log=LOG)
    task = asyncio.create_task(inbox.run())
    yield inbox
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def settled(taken: Taken, count: int) -> None:
    async with asyncio.timeout(20):
        while len(taken.all) < count:
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(roster, "REST_SECONDS", 0.0)


def add(inbox: RosterInbox, *frames: LinkFrame) -> None:
    for frame in frames:
        inbox.add(frame.roster)


@settings(max_examples=50, deadline=None)
@given(data=st.binary(min_size=1, max_size=3_000), room=st.integers(70, 700))
def test_what_is_cut_is_put_together_again(data: bytes, room: int) -> None:
    """Whatever a frame may measure; no frame is larger."""
    frames = cut(data, max_frame_bytes=room)
    if not frames:
        assert len(data) > MAX_PARTS * (room - 64)
        return
    assert b"".join(frame.roster.data for frame in frames) == data
    assert all(frame.ByteSize() <= room for frame in frames)


async def test_roster_is_taken_when_its_last_part_came() -> None:
    taken = Taken()
    async with running(taken) as inbox:
        frames = cut(b"x" * (2 * PART_BYTES + 5))
        assert len(frames) == 3
        add(inbox, *frames[:2])
        await asyncio.sleep(0.01)
        assert not taken.all
        add(inbox, frames[2])
        await settled(taken, 1)
    assert taken.all == [b"x" * (2 * PART_BYTES + 5)]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(1, 2)], id="begins in the middle"),
        pytest.param([(0, 3), (2, 3)], id="leaves one out"),
        pytest.param([(0, 2), (1, 2, b"")], id="empty part"),
        pytest.param([(0, 1, b"x" * (PART_BYTES + 1))], id="too large a part"),
        pytest.param([(part, MAX_PARTS + 1) for part in range(MAX_PARTS + 1)], id="too many parts"),
        pytest.param([(0, 0)], id="of none"),
    ],
)
async def test_parts_that_do_not_fit_are_let_go(
    parts: list[tuple[int, int, bytes] | tuple[int, int]],
) -> None:
    """And cost nobody the next whole one."""
    taken = Taken()
    async with running(taken) as inbox:
        for part in parts:
            data = part[2] if len(part) == 3 else b"y"
            inbox.add(RosterDelivery(part=part[0], parts=part[1], data=data))
        assert inbox._waiting is None
        add(inbox, *cut(b"whole"))
        await settled(taken, 1)
    assert taken.all == [b"whole"]


async def test_a_link_that_ends_leaves_no_half_behind() -> None:
    """The rest of it over the next link is not put to it."""
    taken, two = Taken(), cut(b"x" * (PART_BYTES + 1))
    async with running(taken) as inbox:
        add(inbox, two[0])
        inbox.unlinked()
        add(inbox, two[1])
        assert inbox._waiting is None
        add(inbox, *cut(b"whole"))
        await settled(taken, 1)
    assert taken.all == [b"whole"]


async def test_of_many_that_wait_the_newest_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A broker that sends without end makes no more work than one at a time; what is bad is said."""
    taken = Taken()
    async with running(taken) as inbox:
        for number in range(500):
            add(inbox, *cut(b"%d" % number))
        add(inbox, *cut(b"bad"))
        await settled(taken, 1)
        add(inbox, *cut(b"good"))
        await settled(taken, 2)
    assert taken.all == [b"bad", b"good"]
    assert "is not taken: roster isn't signed" in caplog.text


async def test_broker_takes_of_each_agency_the_newest_list_that_it_brought(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that floods takes its own slot alone; what is too large is let go; what is bad is said."""
    taken: list[tuple[str, bytes]] = []

    def take(agency: str, data: bytes) -> bool:
        taken.append((agency, data))
        if data == b"bad":
            raise RosterInvalid("it isn't signed by its identity key")
        return True

    inbox = RevocationsInbox(take, log=LOG)
    for number in range(500):
        inbox.add("lapd", b"%d" % number)
    inbox.add("lapd", b"bad")
    inbox.add("dea", b"good")
    inbox.add("dea", b"x" * (MAX_OWN_LIST_BYTES + 1))
    inbox.add("dea", b"")
    task = asyncio.create_task(inbox.run())
    async with asyncio.timeout(20):
        while len(taken) < 2:
            await asyncio.sleep(0.002)
        inbox.add("lapd", b"better")
        while len(taken) < 3:
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert taken == [("lapd", b"bad"), ("dea", b"good"), ("lapd", b"better")]
    assert "`lapd` brought is not taken" in caplog.text


async def test_agency_that_signs_lists_all_day_has_few_of_them_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would go to every end and into every log; nobody else's waits, and the newest comes at last."""
    monkeypatch.setattr("comity.links.roster.LISTS_AT_ONCE", 3)
    taken: list[tuple[str, bytes]] = []
    inbox = RevocationsInbox(lambda agency, data: not taken.append((agency, data)), log=LOG)
    task = asyncio.create_task(inbox.run())
    async with asyncio.timeout(20):
        number = 0
        while [agency for agency, _ in taken].count("lapd") < 3:
            number += 1
            inbox.add("lapd", b"%d" % number)
            inbox.add("dea", b"the same over each link")
            await asyncio.sleep(0.002)
        for newest in (b"newer", b"newest"):
            inbox.add("lapd", newest)
            await asyncio.sleep(0.05)
        assert sorted(agency for agency, _ in taken) == ["dea", "lapd", "lapd", "lapd"]
        inbox.add("lahd", b"good")
        while taken[-1] != ("lahd", b"good"):
            await asyncio.sleep(0.002)
        monkeypatch.setattr("comity.links.roster.LIST_SECONDS", 0.001)
        while taken[-1] != ("lapd", b"newest"):
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_rest_after_what_was_taken_is_longer_than_two_looks_of_every_end() -> None:
    """Else who brings a newer list each moment would keep every other from being read."""
    assert 2 * max(gateway_end.WATCH_SECONDS, adapter_end.WATCH_SECONDS, broker_end.WATCH_SECONDS) < REST


@pytest.mark.parametrize("kind", ["rosters", "lists"])
async def test_what_is_taken_leaves_the_folder_at_rest_for_a_while(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """However fast newer ones come."""
    monkeypatch.setattr(roster, "REST_SECONDS", 0.05)
    times: list[float] = []

    def take(*what: object) -> bool:
        times.append(time.monotonic())
        return True

    rosters, lists = RosterInbox(take, log=LOG), RevocationsInbox(take, log=LOG)
    task = asyncio.create_task(rosters.run() if kind == "rosters" else lists.run())
    async with asyncio.timeout(20):
        while len(times) < 4:
            data = b"%f" % time.monotonic()
            add(rosters, *cut(data))
            lists.add("lapd", data)
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(after - before >= 0.045 for before, after in itertools.pairwise(times))


async def test_roster_that_could_not_be_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is handed out once, with the lists of revocations; and an older one is let go for a newer."""
    monkeypatch.setattr("comity.links.roster.AGAIN_SECONDS", 0.001)
    tries: list[bytes] = []

    def take(data: bytes) -> bool:
        tries.append(data)
        if len(tries) < 3 or data == b"bad":
            raise FileUnusable("file `x` can't be written: no space left on device")
        return True

    inbox = RosterInbox(take, log=LOG)
    add(inbox, *cut(b"roster"))
    task = asyncio.create_task(inbox.run())
    with caplog.at_level("INFO"):
        async with asyncio.timeout(20):
            while "newer roster" not in caplog.text:
                await asyncio.sleep(0.002)
            assert tries == [b"roster"] * 3 and caplog.text.count("is not taken") == 1
            add(inbox, *cut(b"bad"))
            while tries.count(b"bad") < 2:
                await asyncio.sleep(0.002)
            add(inbox, *cut(b"good"))
            while caplog.text.count("newer roster") < 2:
                await asyncio.sleep(0.002)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tries[-1] == b"good"


async def test_list_that_could_not_be_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end brings it once: a disk that was full for a moment at the broker doesn't lose a revocation."""
    monkeypatch.setattr("comity.links.roster.AGAIN_SECONDS", 0.001)
    tries: list[bytes] = []

    def take(agency: str, data: bytes) -> bool:
        tries.append(data)
        if len(tries) < 3:
            raise FileUnusable("file `x` can't be written: no space left on device")
        return True

    inbox = RevocationsInbox(take, log=LOG)
    inbox.add("lapd", b"list")
    task = asyncio.create_task(inbox.run())
    with caplog.at_level("INFO"):
        async with asyncio.timeout(20):
            while "newer list" not in caplog.text:
                await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tries == [b"list"] * 3 and caplog.text.count("is not taken") == 1


def test_own_list_is_brought_over_each_link_and_when_it_changes() -> None:
    """Not to a broker that knows no such frame, and not where there is none; a link may be down."""
    sent: list[bytes] = []

    def send(frame: LinkFrame) -> None:
        if sent == [b"1", b"1", b"2"]:
            raise LinkDown("link is not there")
        sent.append(frame.own_revocations.list)

    def federation(data: bytes | None) -> Any:
        return SimpleNamespace(own_lists={} if data is None else {"lapd": SimpleNamespace(data=data)})

    own = OwnRevocations("lapd", send)
    own.in_force(federation(None))
    own.linked(Welcome(takes_revocations=True))
    assert sent == []
    own.in_force(federation(b"1"))
    own.linked(Welcome())
    own.in_force(federation(b"0"))
    assert sent == [b"1"]
    own.in_force(federation(b"1"))
    own.linked(Welcome(takes_revocations=True))
    own.in_force(federation(b"2"))
    own.in_force(federation(b"3"))
    assert sent == [b"1", b"1", b"2"]
