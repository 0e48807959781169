"""Exchanges in flight: what is sent in which order, and that nothing is sent after the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.beside import Beside
from comity.adapters.errors import Late
from comity.adapters.exchanges import FLOOD, Exchanges
from comity.adapters.path import Reply
from comity.adapters.subjects import Subjects
from comity.certs.envelope import digest
from comity.links.errors import SessionFailed
from comity.v1 import common_pb2, link_pb2, session_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.adapters.bench import NOON, Bench, DiaryLog, HandClock, stored_read

EXCHANGE = bytes(range(16))


class PeerDouble:
    """A session that writes down what is sent in it."""

    def __init__(self, diary: list[str], peer: str = "lahd", page_window: int = 2) -> None:
        self.peer = peer
        self.page_window = page_window
        self.sent: list[session_pb2.SessionMessage] = []
        self.closed: link_pb2.CloseReason | None = None
        self._diary = diary

    def send(self, *messages: session_pb2.SessionMessage) -> None:
        if self.closed is not None:
            raise SessionFailed(self.peer, self.closed, "closed")
        self.sent.extend(messages)
        self._diary.extend(str(message.WhichOneof("message")) for message in messages)

    def close(self, reason: link_pb2.CloseReason = link_pb2.CLOSE_REASON_SHUTDOWN, text: str = "") -> None:
        self.closed = reason


class LinkDouble:
    """A link that writes down what is sent on it."""

    def __init__(self, diary: list[str]) -> None:
        self.sent: list[link_pb2.LinkFrame] = []
        self._diary = diary

    def send(self, *frames: link_pb2.LinkFrame) -> None:
        self.sent.extend(frames)
        self._diary.extend(f"link {frame.WhichOneof('frame')}" for frame in frames)


class Answering:
    """A path that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.reply: Reply | None = reply_with()
        self.late = False
        self.crowded: list[bool] = []

    async def answer(
        self, peer: str, ask: session_pb2.Ask, *, crowded: bool = False, span: object = None
    ) -> Reply | None:
        self.crowded.append(crowded)
        await self.go.wait()
        if self.late:
            raise Late
        return self.reply


def reply_with(pages: int = 1, *, announced: bool = True) -> Reply:
    return Reply(
        exchange_id=EXCHANGE,
        kind=common_pb2.OUTCOME_KIND_RESPONDED,
        detail=b"detail",
        pages=tuple(f"page {index}".encode() for index in range(pages)),
        receipt=Envelope(payload=b"receipt"),
        deadline=NOON + timedelta(seconds=10),
        announced=announced,
    )


class Desk:
    """Exchanges with doubles on every side."""

    def __init__(self, clock: HandClock) -> None:
        self.diary: list[str] = []
        self.log = DiaryLog([])
        self.path = Answering()
        self.link = LinkDouble(self.diary)
        self.session = PeerDouble(self.diary)
        self.beside = Beside(self.log)
        self.acknowledgements = Acknowledgements(
            agency="lapd", member=lambda agency: None, beside=self.beside, clock=clock
        )
        self.subjects = Subjects(max_in_flight=2)
        self.exchanges = Exchanges(
            agency="lapd",
            path=self.path,
            link=self.link,
            acknowledgements=self.acknowledgements,
            beside=self.beside,
            clock=clock,
            subjects=self.subjects,
            max_in_flight=2,
            max_exchanges=100,
        )

    def ask(self, exchange_id: bytes = EXCHANGE, session: PeerDouble | None = None) -> None:
        self.exchanges.ask(session or self.session, session_pb2.Ask(exchange_id=exchange_id))

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        await self.beside.settled()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk(HandClock())
    yield desk
    desk.path.go.set()
    await desk.exchanges.stop(seconds=1)


async def test_broker_gets_the_receipt_before_the_gateway_gets_the_result(desk: Desk) -> None:
    """Receipt on the link, then the result, then pages."""
    desk.ask()
    await desk.settle()
    assert desk.diary == ["link receipt", "result", "page"]
    assert desk.link.sent[0].receipt.receipt == desk.session.sent[0].result.receipt


async def test_receipt_of_what_the_broker_did_not_announce_stays_in_the_session(desk: Desk) -> None:
    """The broker awaits no receipt of an exchange that it doesn't know."""
    desk.path.reply = reply_with(0, announced=False)
    desk.ask()
    await desk.settle()
    assert desk.diary == ["result"]


async def test_pages_wait_for_credit(desk: Desk) -> None:
    """No more pages in flight than the window, then one for each credit."""
    desk.path.reply = reply_with(5)
    desk.ask()
    await desk.settle()
    assert desk.diary.count("page") == 2
    desk.exchanges.credit(desk.session, session_pb2.PageCredit(exchange_id=EXCHANGE, pages=1))
    await desk.settle()
    assert desk.diary.count("page") == 3
    desk.exchanges.credit(desk.session, session_pb2.PageCredit(exchange_id=EXCHANGE, pages=9))
    await desk.settle()
    assert [message.page.page for message in desk.session.sent[1:]] == [b"page %d" % i for i in range(5)]
    assert len(desk.exchanges) == 0


async def test_credit_of_another_session_moves_nothing(desk: Desk) -> None:
    """Who didn't ask can't hurry it."""
    desk.path.reply = reply_with(5)
    desk.ask()
    await desk.settle()
    other = PeerDouble([], peer="sheriff")
    desk.exchanges.credit(other, session_pb2.PageCredit(exchange_id=EXCHANGE, pages=9))
    await desk.settle()
    assert desk.diary.count("page") == 2


@pytest.mark.parametrize("by", ["caller", "caller in time", "broker", "deadline", "session"])
async def test_nothing_is_sent_after_the_end(desk: Desk, by: str) -> None:
    """Cancelled while it is worked on: no receipt, no result, and the log says why."""
    desk.path.go.clear()
    desk.ask()
    await desk.settle()
    match by:
        case "caller":
            desk.exchanges.cancel(desk.session, EXCHANGE)
        case "caller in time":
            desk.exchanges.cancel(desk.session, EXCHANGE, deadline_passed=True)
            desk.exchanges.over(EXCHANGE, deadline_passed=False)
        case "broker":
            desk.exchanges.over(EXCHANGE, deadline_passed=False)
        case "deadline":
            desk.exchanges.over(EXCHANGE, deadline_passed=True)
        case _:
            desk.exchanges.closed(desk.session)
    desk.path.go.set()
    await desk.settle()
    assert desk.diary == []
    (entry,) = desk.log.entries
    assert entry.kind == "cancelled"
    assert entry.public["reason"] == {"broker": "caller", "caller in time": "deadline"}.get(by, by)
    assert entry.exchange == EXCHANGE


async def test_cancel_in_the_same_turn_as_the_question_is_logged_too(desk: Desk) -> None:
    """Even if the work had not begun."""
    desk.ask()
    desk.exchanges.cancel(desk.session, EXCHANGE)
    await desk.settle()
    assert desk.diary == []
    assert desk.log.kinds() == ["cancelled"]


async def test_cancel_between_pages_stops_the_rest(desk: Desk) -> None:
    """What was sent was sent; nothing follows."""
    desk.path.reply = reply_with(5)
    desk.ask()
    await desk.settle()
    desk.exchanges.cancel(desk.session, EXCHANGE)
    desk.exchanges.credit(desk.session, session_pb2.PageCredit(exchange_id=EXCHANGE, pages=9))
    await desk.settle()
    assert desk.diary.count("page") == 2
    assert desk.log.kinds() == ["answered", "cancelled"]


async def test_another_session_cannot_cancel(desk: Desk) -> None:
    """An agency stops its own exchanges, nobody else's."""
    desk.path.go.clear()
    desk.ask()
    await desk.settle()
    desk.exchanges.cancel(PeerDouble([], peer="sheriff"), EXCHANGE)
    desk.path.go.set()
    await desk.settle()
    assert desk.diary == ["link receipt", "result", "page"]


async def test_late_answer_is_cancelled_not_delivered(desk: Desk) -> None:
    """The deadline passed while the path worked (design 5)."""
    desk.path.late = True
    desk.ask()
    await desk.settle()
    assert desk.diary == []
    assert desk.log.entries[0].public["reason"] == "deadline"


async def test_session_that_broke_gets_nothing_and_it_is_logged(desk: Desk) -> None:
    """A result that can't be sent is told as cancelled."""
    desk.session.closed = link_pb2.CLOSE_REASON_PEER_ABSENT
    desk.ask()
    await desk.settle()
    assert desk.session.sent == []
    assert desk.log.kinds() == ["answered", "cancelled"]
    assert desk.log.entries[1].public["reason"] == "session"


async def test_requester_over_its_limit_is_told_and_a_flood_closes_its_session(desk: Desk) -> None:
    """Beyond the limit the path is told; far beyond it, the session goes."""
    desk.path.go.clear()
    for number in range(FLOOD * 2 + 1):
        desk.ask(number.to_bytes(16))
    await desk.settle()
    assert desk.path.crowded == [False, False] + [True] * (FLOOD * 2 - 2)
    assert desk.session.closed == link_pb2.CLOSE_REASON_LIMIT
    other = PeerDouble([], peer="sheriff")
    desk.ask(b"x" * 16, other)
    await desk.settle()
    assert desk.path.crowded[-1] is False


async def test_receipts_are_kept_as_evidence(desk: Desk) -> None:
    """The provider can show what it signed."""
    desk.ask()
    await desk.settle()
    (entry,) = [entry for entry in desk.log.entries if entry.kind == "answered"]
    assert (entry.public["peer"], entry.public["receipt"]) == ("lahd", digest(b"receipt").hex())
    assert Envelope.FromString(entry.attachments["receipt"]).payload == b"receipt"


async def test_stop_lets_what_is_nearly_done_end(desk: Desk) -> None:
    """A stop takes no new question, lets those in flight end, and cancels what doesn't."""
    desk.path.go.clear()
    desk.ask()
    await desk.settle()
    asyncio.get_running_loop().call_later(0.01, desk.path.go.set)
    await desk.exchanges.stop(seconds=1)
    desk.ask(b"y" * 16)
    assert desk.diary == ["link receipt", "result", "page"]
    assert len(desk.exchanges) == 0


async def test_cancel_during_the_search_releases_nothing(bench: Bench, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """With the real path: cancelled while a store works, no release is logged and nothing is sent."""
    loop, searching, diary = asyncio.get_running_loop(), asyncio.Event(), list[str]()
    cancelled = threading.Event()
    bench.source.reads = [stored_read()]

    def hook() -> None:
        loop.call_soon_threadsafe(searching.set)
        cancelled.wait(30)

    bench.source.hook = hook
    session = PeerDouble(diary)
    beside = Beside(bench.log)
    exchanges = Exchanges(
        agency="lapd",
        path=bench.path,
        link=LinkDouble(diary),
        acknowledgements=Acknowledgements(
            agency="lapd", member=lambda agency: None, beside=beside, clock=bench.clock
        ),
        beside=beside,
        subjects=bench.subjects,
        clock=bench.clock,
        max_in_flight=2,
        max_exchanges=2,
    )
    ask = bench.ask()
    exchanges.ask(session, ask)
    await searching.wait()
    exchanges.cancel(session, ask.exchange_id)
    cancelled.set()
    await exchanges.stop(seconds=1)
    await beside.settled()
    assert diary == []
    assert bench.log.kinds() == ["received", "decided", "cancelled"]


async def test_what_is_in_flight_of_a_dismissed_user_ends(desk: Desk) -> None:
    """Nothing more of it is sent, the log says why, and what others asked goes on (Q8)."""
    desk.path.go.clear()
    desk.ask()
    desk.ask(bytes(16))
    mine, other = (running.ask for running in desk.exchanges._running)
    desk.subjects.enter(mine, requester="lahd", user="x")
    desk.subjects.enter(other, requester="lahd", user="y")
    desk.exchanges.dismiss("sheriff", "x")
    await desk.settle()
    assert len(desk.exchanges) == 2, "another agency's user of that name is another person"
    desk.exchanges.dismiss("lahd", "x")
    await desk.settle()
    assert [running.ask for running in desk.exchanges._running] == [other]
    assert [(entry.kind, entry.public["reason"]) for entry in desk.log.entries] == [
        ("cancelled", "terminated")
    ]
    assert desk.diary == []
