"""Receipts that were given out: acknowledged by the requester's signature, or logged as not (L1, L2)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comity.adapters import acknowledgements
from comity.adapters.acknowledgements import MARK_TICKS, PATIENCE, Acknowledgements
from comity.adapters.beside import Beside
from comity.adapters.orders import FRESHNESS
from comity.adapters.path import Reply
from comity.adapters.receipts_open import OpenReceipt, SettledMark, read_open
from comity.adapters.state import open_state
from comity.audit.entry import Entry, to_milliseconds
from comity.audit.log import Promise, SignedLog
from comity.audit.note import LogKey
from comity.certs.envelope import digest, seal
from comity.certs.keys import SigningKey
from comity.gateway.records import acknowledgement
from comity.v1 import common_pb2, envelope_pb2, session_pb2
from tests.adapters.bench import HandClock
from tests.simulator import FederationSimulator
from tests.support.logs import noon

LAHD, SHERIFF = SigningKey.generate(), SigningKey.generate()
EXCHANGE = b"e" * 16
RECEIPT = envelope_pb2.Envelope(payload=b"receipt")


class Waiting:
    """An adapter's acknowledgements, and what it logged."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.entries: list[Entry] = []
        self.beside = Beside(self)  # type: ignore[arg-type]
        self.all = Acknowledgements(agency="lapd", member=self.member, beside=self.beside, clock=self.clock)

    async def append(self, *entries: Entry) -> list[Promise]:
        self.entries += entries
        return []

    def member(self, agency: str) -> Any:
        keys = {"lahd": LAHD, "sheriff": SHERIFF}
        if agency not in keys:
            return None
        return SimpleNamespace(key_set=SimpleNamespace(statement_keys_at=lambda at: (keys[agency].public,)))

    def give(self, exchange_id: bytes = EXCHANGE, peer: str = "lahd") -> None:
        reply = Reply(
            exchange_id=exchange_id,
            kind=common_pb2.OUTCOME_KIND_RESPONDED,
            detail=b"",
            pages=(),
            receipt=RECEIPT,
            deadline=self.clock() + timedelta(seconds=10),
            announced=True,
        )
        self.all.answered(peer, reply)

    async def kinds(self) -> list[str]:
        await self.beside.settled()
        return [entry.kind for entry in self.entries]


def said(clock: HandClock, key: SigningKey = LAHD, **changes: Any) -> session_pb2.AcknowledgementDelivery:
    leaf = changes.pop("leaf", b"l" * 32)
    promise = Promise(origin="lahd.example/gateway", index=7, leaf_hash=leaf)
    statement = acknowledgement("lahd", "lapd", EXCHANGE, digest(b"receipt"), promise, clock())
    for name, value in changes.items():
        setattr(statement, name, value)
    return session_pb2.AcknowledgementDelivery(exchange_id=EXCHANGE, acknowledgement=seal(statement, key))


async def test_signed_acknowledgement_is_logged_with_its_evidence() -> None:
    """The provider keeps the requester's word, and where the requester's own log has the delivery."""
    waiting = Waiting()
    waiting.give()
    delivery = said(waiting.clock)
    waiting.all.came("lahd", delivery)
    assert await waiting.kinds() == ["answered", "acknowledged"]
    entry = waiting.entries[-1]
    assert entry.public["receipt"] == digest(b"receipt").hex()
    assert (entry.public["index"], entry.public["leaf"]) == (7, (b"l" * 32).hex())
    assert entry.attachments["acknowledgement"] == delivery.acknowledgement.SerializeToString()
    waiting.clock.forward(PATIENCE.total_seconds() + 60)
    waiting.all.tick()
    assert await waiting.kinds() == ["answered", "acknowledged"]


async def test_missing_acknowledgement_is_logged_once_its_time_is_over() -> None:
    """Not before a minute after the deadline, then once."""
    waiting = Waiting()
    waiting.give()
    waiting.clock.forward(9 + PATIENCE.total_seconds())
    waiting.all.tick()
    assert await waiting.kinds() == ["answered"]
    waiting.clock.forward(2)
    waiting.all.tick()
    waiting.all.tick()
    assert await waiting.kinds() == ["answered", "unacknowledged"]
    waiting.all.came("lahd", said(waiting.clock))
    assert await waiting.kinds() == ["answered", "unacknowledged"]


FORGED: dict[str, Callable[[HandClock], tuple[str, session_pb2.AcknowledgementDelivery]]] = {
    "signed by another agency": lambda clock: ("lahd", said(clock, SHERIFF)),
    "of another receipt": lambda clock: ("lahd", said(clock, receipt_digest=b"x" * 32)),
    "of another exchange": lambda clock: ("lahd", said(clock, exchange_id=b"f" * 16)),
    "to another provider": lambda clock: ("lahd", said(clock, provider="dea")),
    "in another agency's name": lambda clock: ("lahd", said(clock, requester="sheriff")),
    "without an entry of its log": lambda clock: ("lahd", said(clock, leaf=b"")),
    "with more than an entry's hash": lambda clock: ("lahd", said(clock, leaf=b"l" * 60_000)),
    "brought by another agency": lambda clock: ("sheriff", said(clock)),
    "brought by a stranger": lambda clock: ("nobody", said(clock)),
}


@pytest.mark.parametrize("way", FORGED)
async def test_acknowledgement_that_is_not_the_requesters_word_counts_for_nothing(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not logged as one, and the true one is still waited for."""
    waiting = Waiting()
    waiting.give()
    waiting.all.came(*FORGED[way](waiting.clock))
    assert await waiting.kinds() == ["answered"]
    assert len(waiting.all) == 1
    waiting.all.came("lahd", said(waiting.clock))
    assert await waiting.kinds() == ["answered", "acknowledged"]


async def test_acknowledgement_that_nobody_waits_for_writes_nothing() -> None:
    """A requester can't fill the provider's log with statements about exchanges that never were."""
    waiting = Waiting()
    waiting.all.came("lahd", said(waiting.clock))
    assert await waiting.kinds() == []


async def test_cancelled_exchange_is_not_waited_for() -> None:
    """That it ended early stands in the log already."""
    waiting = Waiting()
    waiting.give()
    waiting.all.cancelled("lahd", EXCHANGE)
    waiting.clock.forward(3_600)
    waiting.all.tick()
    assert await waiting.kinds() == ["answered"]


async def test_waiting_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the oldest is logged as missing: memory is bounded, and nothing is silent."""
    monkeypatch.setattr(acknowledgements, "MAX_WAITING", 2)
    waiting = Waiting()
    for number in range(3):
        waiting.give(bytes([number]) * 16)
        await waiting.beside.settled()
    assert len(waiting.all) == 2
    assert await waiting.kinds() == ["answered", "answered", "answered", "unacknowledged"]
    assert waiting.entries[3].exchange == bytes(16)


async def test_every_result_that_a_caller_saw_is_acknowledged(federation: FederationSimulator) -> None:
    """Over the whole federation: each provider's log ends an exchange with the requester's word."""
    answer = await federation.search()
    assert answer.is_whole
    logs = [federation[name].journal for name in answer.kinds]
    await federation.until(lambda: all(log.of("acknowledged") for log in logs))
    delivered = {
        entry.public["peer"]: entry for entry in federation.asking["sheriff"].journal.of("delivered")
    }
    for name in answer.kinds:
        (answered,) = federation[name].journal.of("answered")
        (acknowledged,) = federation[name].journal.of("acknowledged")
        assert acknowledged.exchange == answered.exchange == answer.exchange_id
        receipts = {one.public["receipt"] for one in (answered, acknowledged, delivered[name])}
        assert len(receipts) == 1
        (released,) = federation[name].journal.of("released")
        place = federation[name].journal.entries.index(released)
        assert delivered[name].public["index"] == place


async def test_result_that_never_reached_its_caller_is_not_acknowledged(
    federation: FederationSimulator,
) -> None:
    """The broker holds what a provider released: the provider's log says that nobody acknowledged it."""
    assert (await federation.search()).is_whole
    federation.broker.holds_records(of="lapd", toward="gateway")
    answer = await federation.search()
    assert answer.kinds["lapd"] != "RESPONDED"
    await federation.passes(seconds=PATIENCE.total_seconds() + 10)
    log = federation["lapd"].journal
    ended = [entry.kind for entry in log.entries if entry.exchange == answer.exchange_id]
    assert "acknowledged" not in ended
    assert ended[-1] in ("unacknowledged", "cancelled")


@pytest.mark.long
async def test_receipt_that_was_open_at_a_restart_is_logged_as_missing_at_its_time(
    federation: FederationSimulator,
) -> None:
    """The adapter is stopped while it waits; the next one finds that in its log, and waits on (L1, L2)."""
    lapd = federation["lapd"]
    assert (await federation.search()).is_whole
    await federation.until(lambda: lapd.journal.of("acknowledged"))
    federation.broker.holds_records(of="lapd", toward="gateway")
    answer = await federation.search()
    (answered,) = [one for one in lapd.journal.of("answered") if one.exchange == answer.exchange_id]
    assert answered.public["deadline"]
    await lapd.ends()
    before = lapd.journal
    assert not before.of("unacknowledged")
    await lapd.starts()
    await federation.until(lambda: lapd.journal.of("link_opened"))
    assert lapd.journal is not before and not lapd.journal.of("unacknowledged")
    await federation.passes(seconds=PATIENCE.total_seconds() + 20)
    (missing,) = lapd.journal.of("unacknowledged")
    assert (missing.exchange, missing.public["receipt"]) == (answer.exchange_id, answered.public["receipt"])
    due = int(answered.public["deadline"]) + int(PATIENCE.total_seconds() * 1000)  # type: ignore[call-overload]
    assert to_milliseconds(missing.at) >= due
    await lapd.ends()
    await lapd.starts()
    await federation.passes(seconds=3)
    assert not lapd.journal.of("unacknowledged")


async def test_receipt_that_waited_through_a_long_stop_is_logged_at_once(tmp_path: Path) -> None:
    """What became overdue while nobody ran stands in the log with the first second of the next run."""
    before = Waiting()
    before.give()
    await before.beside.settled()
    after = Waiting()
    after.clock.forward(3_600)
    after.all.take_up(await logged(tmp_path, before.entries))
    after.all.tick()
    assert await after.kinds() == ["unacknowledged"]


async def test_acknowledgement_that_comes_after_a_restart_counts(tmp_path: Path) -> None:
    """The receipt is known by its digest in the log: the requester's word on it is taken as before."""
    before = Waiting()
    before.give()
    await before.beside.settled()
    after = Waiting()
    after.all.take_up(await logged(tmp_path, before.entries))
    after.all.came("lahd", said(after.clock))
    assert await after.kinds() == ["acknowledged"]


async def test_clock_set_back_over_a_restart_makes_nothing_wait_for_ever(tmp_path: Path) -> None:
    """A receipt of a time to come is waited for no longer than a fresh one could be."""
    before = Waiting()
    before.clock.forward(86_400)
    before.give()
    await before.beside.settled()
    after = Waiting()
    after.all.take_up(await logged(tmp_path, before.entries))
    after.clock.forward((FRESHNESS + PATIENCE).total_seconds())
    after.all.tick()
    assert await after.kinds() == ["unacknowledged"]


async def test_mark_of_what_is_settled_never_passes_an_open_receipt(tmp_path: Path) -> None:
    """A restart reads the log from the mark: before it every receipt has its end, and it moves on (L2)."""
    waiting = Waiting()
    mark = SettledMark(open_state(tmp_path / "state.db"))
    waiting.all = Acknowledgements(
        agency="lapd",
        member=waiting.member,
        beside=waiting.beside,
        clock=waiting.clock,
        log_size=lambda: len(waiting.entries),
        mark=mark,
    )

    async def ticks(count: int) -> int:
        for _ in range(count):
            waiting.all.tick()
            await waiting.beside.settled()
        return SettledMark(open_state(tmp_path / "state.db")).index

    waiting.give(b"1" * 16)
    await waiting.beside.settled()
    waiting.all.cancelled("lahd", b"1" * 16)
    waiting.give(b"2" * 16)
    await waiting.beside.settled()
    assert await ticks(2 * MARK_TICKS) == 1
    assert [one.index for one in await logged(tmp_path, waiting.entries, start=1)] == [1]
    waiting.clock.forward(10 + PATIENCE.total_seconds())
    assert await ticks(2 * MARK_TICKS) == 3
    assert await logged(tmp_path, waiting.entries, start=3) == []
    assert [one.index for one in await logged(tmp_path, waiting.entries, start=99)] == [0]


async def logged(tmp_path: Path, entries: Sequence[Entry], *, start: int = 0) -> list[OpenReceipt]:
    """Return which receipts are open in a log of these entries."""
    key = LogKey.generate("lapd.example/adapter")
    home = tmp_path / secrets.token_hex(4)
    log = await SignedLog.open(home, origin=key.origin, key=key, clock=noon)
    await log.append(*entries)
    await log.close()
    return read_open(home / "log", size=log.size, start=start)
