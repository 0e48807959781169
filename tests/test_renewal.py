"""Sessions are renewed at least hourly, links come back, and nobody is blamed for it (design 2)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from datetime import timedelta

import pytest

from comity.audit.entry import Entry
from comity.links.frames import kind
from comity.v1.audit_pb2 import Checkpoint
from comity.v1.link_pb2 import LinkFrame
from comity.v1.session_pb2 import PageCredit, SessionMessage
from tests.simulator import PLATE, FederationSimulator
from tests.support.lies import Attack, Rule

PROVIDERS = ("cbp", "lapd")
HOUR = timedelta(hours=1)
BOUND = timedelta(minutes=3, seconds=10)
"""What may be added to a session's hour: its last exchanges, and looking at the time."""


def lives(entries: Iterable[Entry]) -> dict[str, list[tuple[timedelta | None, str]]]:
    """Return by peer, of each session in a log: how long it lasted, None if it goes on, and why it ended.

    A renewal's two sessions overlap: the older one ends.
    """
    opened: dict[str, list[Entry]] = {}
    found: dict[str, list[tuple[timedelta | None, str]]] = {}
    for entry in entries:
        peer = str(entry.public["peer"])
        if entry.kind == "session_opened":
            opened.setdefault(peer, []).append(entry)
        else:
            first = opened[peer].pop(0)
            found.setdefault(peer, []).append((entry.at - first.at, str(entry.public["reason"])))
    for peer, left in opened.items():
        found.setdefault(peer, []).extend((None, "") for _ in left)
    return found


@pytest.mark.long
async def test_three_hours_of_questions_meet_no_renewal(federation: FederationSimulator) -> None:
    """A question every five minutes: each is answered in full, and no session outlives its hour."""
    began = federation.clock()
    while federation.clock() - began < 3 * HOUR:
        answer = await federation.search(of=PROVIDERS, days=1)
        assert answer.is_whole, (federation.clock() - began, answer.kinds, answer.findings)
        await federation.passes(seconds=2)
        federation.clock.jump(5 * 60 - 2)
    for name in ("sheriff/gateway", *(f"{provider}/adapter" for provider in PROVIDERS)):
        ended = lives(federation.journals[name].of("session_opened", "session_closed"))
        assert len(ended) == (2 if name == "sheriff/gateway" else 1)
        for sessions in ended.values():
            assert 3 <= len(sessions) <= 4, sessions
            for age, reason in sessions:
                assert age is None or (age <= HOUR + BOUND and reason == "renewal"), sessions
    assert not federation.warnings


async def test_exchange_under_way_ends_in_the_session_in_which_it_was_asked(
    federation: FederationSimulator,
) -> None:
    """What was asked a second before the hour is over is answered after it, beside a question in another."""
    await federation.search(days=1)
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.sessions is not None
    old = await gateway.sessions.session("lapd")
    federation.clock.jump((old.opened_at + HOUR - federation.clock()).total_seconds() - 1)
    asked = federation["lapd"].asked
    federation["lapd"].goes_silent()
    first = asyncio.create_task(federation.search(days=1))
    await federation.until(lambda: federation["lapd"].asked == asked + 1)
    await federation.passes(seconds=2)
    second = asyncio.create_task(federation.search(days=1))
    await federation.until(lambda: federation["lapd"].asked == asked + 2)
    federation["lapd"].is_honest_again()
    for answer in (await first, await second):
        assert answer.is_whole, answer
    assert await gateway.sessions.session("lapd") is not old and old.is_open
    federation.clock.jump(180)
    await federation.until(lambda: not old.is_open)
    assert (await federation.search(days=1)).is_whole
    closed = federation["lapd"].journal.of("session_closed")
    assert [entry.public["reason"] for entry in closed] == ["renewal"]


async def test_checkpoint_that_an_older_session_delivers_late_accuses_nobody(
    federation: FederationSimulator,
) -> None:
    """While a session is renewed there are two: a checkpoint in the slower one is old, and no log shrank."""
    await federation.search(days=1)
    gateway, adapter = federation.asking["sheriff"].gateway, federation["lapd"].end
    assert gateway is not None and gateway.sessions is not None and adapter is not None
    gateway.sessions.is_busy = None  # or the older one would be closed, with nothing left to do in it
    old = {"gateway": await gateway.sessions.session("lapd"), "adapter": adapter._open["sheriff"]}
    logs = {"gateway": federation["lapd"].journal.log, "adapter": federation.asking["sheriff"].journal.log}
    await federation.passes(seconds=3)
    notes = {side: log.checkpoint() for side, log in logs.items()}
    for seconds in (3500, 100):  # the old one is in use until its hour is over
        federation.clock.jump(seconds)
        assert (await federation.search(days=1)).is_whole
    await federation.passes(seconds=5)  # the newer ones were exchanged
    assert old["gateway"].is_open and adapter._open["sheriff"] is not old["adapter"]
    for side, end in (("gateway", gateway), ("adapter", adapter)):
        late = SessionMessage(checkpoint=Checkpoint(note=notes[side]))
        end.on_message(old[side], late)
    await federation.passes(seconds=3)
    for name in ("lapd/adapter", "sheriff/gateway"):
        assert not federation.journals[name].of("contradiction")
    gateway.on_message(  # said in the newest session, in which order is kept, it is what it looks like
        await gateway.sessions.session("lapd"), SessionMessage(checkpoint=Checkpoint(note=notes["gateway"]))
    )
    await federation.until(lambda: federation.journals["sheriff/gateway"].of("contradiction"))


async def test_provider_that_links_between_an_order_and_its_session_makes_no_liar_of_the_broker(
    federation: FederationSimulator,
) -> None:
    """It had no link when the order was routed, and has one when the session is opened: it is UNREACHABLE."""
    await federation.search(days=1)
    wire, held = federation.broker.wires["sheriff/gateway"], list[LinkFrame]()

    def hold(attack: Attack) -> Rule:
        def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
            if outward or held or kind(frame) != "session_open" or frame.session_open.peer != "lahd":
                return None
            held.append(frame)
            return []

        return rule

    federation.broker._tell("holds", hold)
    federation["lahd"].loses_its_link()
    await federation.passes(seconds=0)
    asking = asyncio.create_task(federation.search(days=1))
    await federation.until(lambda: held)
    link = federation["lahd"].end
    assert link is not None
    await federation.until(lambda: link.link.is_up)
    wire.pull(*held)
    answer = await asking
    assert answer.kinds == {
        "cbp": "RESPONDED",
        "dea": "RESPONDED",
        "lahd": "UNREACHABLE",
        "lapd": "RESPONDED",
    }
    assert answer.outcomes["lahd"].attested_by == "BROKER" and not answer.findings
    assert answer.seconds < 2
    assert not federation.journals["lahd/adapter"].of("rejected")
    assert (await federation.search(days=1)).is_whole


async def test_gateway_that_takes_no_more_pages_holds_its_provider_back(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credit an adapter sends `page_window` pages and waits; with it, all of them arrive."""
    now = int(federation.clock().timestamp())
    with sqlite3.connect(federation.made.adapter_home("lapd") / "reads.db") as store:
        rows = [(f"more-{number}", PLATE, "CA", now - 600 - number) for number in range(400)]
        store.executemany("INSERT INTO reads VALUES (?, ?, ?, ?)", rows)
    store.close()
    await federation.search(of=["lapd"], days=1)
    gateway, adapter = federation.asking["sheriff"].gateway, federation["lapd"].end
    assert gateway is not None and gateway.sessions is not None and adapter is not None
    pages, credits = 0, list[tuple[object, PageCredit]]()
    take = gateway.sessions.on_message

    def count(session: object, message: SessionMessage) -> None:
        nonlocal pages
        pages += message.HasField("page")
        take(session, message)  # type: ignore[arg-type]

    monkeypatch.setattr(gateway.sessions, "on_message", count)
    with monkeypatch.context() as hold:
        hold.setattr(adapter.exchanges, "credit", lambda *credit: credits.append(credit))
        asking = asyncio.create_task(federation.search(of=["lapd"], days=30))
        await federation.until(lambda: len(credits) == 4)
        await federation.passes(seconds=1)
        assert pages == 4 and not asking.done()
    for session, credit in credits:
        adapter.exchanges.credit(session, credit)  # type: ignore[arg-type]
    answer = await asking
    assert answer.is_whole and len(answer.outcomes["lapd"].pages) == pages == 5
