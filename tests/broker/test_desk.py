"""The desk with a real log on disk: what is logged before who hears of it, and what everyone is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.audit.entry import Entry, LoggedEntry, parse_entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.audit.note import LogKey
from comity.audit.tiles import TileFolder
from comity.broker.desk import ExchangeDesk
from comity.broker.errors import OrderRefusal
from comity.broker.orders import Ceiling, verify_order
from comity.broker.replay import SeenExchanges, read_routed
from comity.broker.scribe import Scribe
from comity.broker.trust import Trust
from comity.certs.envelope import open_envelope
from comity.certs.keys import SigningKey, VerifyKey
from comity.v1 import account_pb2, common_pb2, link_pb2, query_pb2, result_pb2
from tests.support import patience

ORIGIN = "operator.example/broker"


def real_now() -> datetime:
    return datetime.now(tz=UTC)


class FakeTrust(Trust):
    """Trust in the test's keys, with a ceiling for every pair but those with `vendor`."""

    def __init__(self, statements: Any) -> None:
        self.statements = statements
        self.expired = False

    def is_current(self, now: datetime) -> bool:
        return not self.expired

    def may_sign(self, key: VerifyKey) -> bool:
        return True

    def statement_keys(self, agency: str, now: datetime) -> tuple[VerifyKey, ...]:
        return (self.statements.keys[agency].public,)

    def ceiling(self, *, provider: str, requester: str, now: datetime) -> Ceiling | None:
        found: Ceiling | None = None if provider == "vendor" else self.statements.ceiling(provider)
        return found


@dataclass
class RecordingPost:
    """Keeps what was sent, in one sequence: `(end, kind, frame)`."""

    adapters: list[str]
    sent: list[tuple[str, str, link_pb2.LinkFrame]] = field(default_factory=list)

    def to_gateway(self, agency: str, *frames: link_pb2.LinkFrame) -> None:
        self._keep(f"{agency}/gateway", frames)

    def to_adapter(self, agency: str, *frames: link_pb2.LinkFrame) -> None:
        self._keep(f"{agency}/adapter", frames)

    def present(self) -> Collection[str]:
        return self.adapters

    def _keep(self, end: str, frames: tuple[link_pb2.LinkFrame, ...]) -> None:
        self.sent += [(end, frame.WhichOneof("frame") or "", frame) for frame in frames]

    @property
    def summary(self) -> list[tuple[str, str]]:
        return [(end, kind) for end, kind, _ in self.sent]

    def all(self, kind: str) -> list[link_pb2.LinkFrame]:
        return [frame for _, found, frame in self.sent if found == kind]


class BreakableLog(SignedLog):
    """A log whose disk can be full."""

    broken = False

    async def append(self, *entries: Entry) -> list[Promise]:
        if self.broken:
            raise LogUnwritable("log: no space left on device")
        return await super().append(*entries)


@dataclass
class Office:
    """A desk with everything around it."""

    desk: ExchangeDesk
    post: RecordingPost
    log: BreakableLog
    scribe: Scribe
    trust: FakeTrust
    key: SigningKey
    statements: Any
    home: Path

    def placement(self, *providers: str, **changes: Any) -> link_pb2.OrderPlacement:
        made: link_pb2.OrderPlacement = self.statements.placement(*providers, now=real_now(), **changes)
        return made

    def order_of(self, placement: link_pb2.OrderPlacement) -> Any:
        """The order as the broker read it, to make receipts for."""
        return verify_order(
            placement,
            agency="sheriff",
            statement_keys=self.trust.statement_keys("sheriff", real_now()),
            seen=lambda _: False,
            ceiling_of=self.statements.ceiling,
            now=real_now(),
        )

    def receipt(self, order: Any, provider: str, **changes: Any) -> link_pb2.ReceiptDelivery:
        envelope = self.statements.receipt(order, provider, **changes)
        return link_pb2.ReceiptDelivery(exchange_id=order.exchange_id, receipt=envelope)

    async def account(self) -> account_pb2.Account:
        """The one account, opened with the broker's key."""
        for _ in range(int(100 * patience.SECONDS)):
            if self.post.all("account"):
                break
            await asyncio.sleep(0.01)
        (frame,) = self.post.all("account")
        return open_envelope(frame.account.account, account_pb2.Account, [self.key.public]).message

    async def logged(self) -> list[LoggedEntry]:
        await self.scribe.settled()
        await self.log.publish()
        folder = TileFolder(self.home / "log")
        return [parse_entry(leaf) for _, leaf in folder.all_entries(self.log.size)]


@asynccontextmanager
async def open_office(
    home: Path, statements: Any, *adapters: str, limit: int = 8, room: int = 100
) -> AsyncIterator[Office]:
    log = await BreakableLog.open(home, origin=ORIGIN, key=LOG_KEY, clock=real_now)
    assert isinstance(log, BreakableLog)
    scribe = Scribe(log)
    post, trust, key = RecordingPost(list(adapters)), FakeTrust(statements), SigningKey.generate()
    desk = ExchangeDesk(
        post=post,
        trust=trust,
        log=log,
        scribe=scribe,
        seen=SeenExchanges(read_routed(home / "log", size=log.size, now=real_now())),
        key=key,
        clock=real_now,
        max_per_agency=limit,
        max_exchanges=room,
    )
    task = asyncio.create_task(scribe.run())
    try:
        yield Office(desk, post, log, scribe, trust, key, statements, home)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.close()


LOG_KEY = LogKey.generate(ORIGIN)


@pytest.fixture
async def office(tmp_path: Path, statements: Any) -> AsyncIterator[Office]:
    async with open_office(tmp_path, statements, "lapd", "cbp") as opened:
        yield opened


async def test_answered_exchange_is_routed_announced_stamped_accounted(office: Office) -> None:
    """The whole course of an exchange, and an account whose promise is the entry that holds it."""
    placement = office.placement("lapd", "cbp")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    assert office.post.summary == [("lapd/adapter", "announcement"), ("cbp/adapter", "announcement")]
    office.desk.receipt("cbp", office.receipt(order, "cbp"))
    office.desk.receipt("lapd", office.receipt(order, "lapd"))
    assert office.post.summary[2:] == [("sheriff/gateway", "stamp")] * 2
    account = await office.account()
    assert [(entry.provider, entry.kind) for entry in account.entries] == [
        ("lapd", common_pb2.OUTCOME_KIND_RESPONDED),
        ("cbp", common_pb2.OUTCOME_KIND_RESPONDED),
    ]
    stamped = [frame.stamp.stamp for frame in office.post.all("stamp")]
    assert account.entries[1].stamp == stamped[0]
    assert account.order_digest == order.digest
    entries = await office.logged()
    assert [entry.kind for entry in entries] == ["routed", "accounted"]
    assert account.promise.index == 1
    assert entries[1].public["outcomes"] == {"lapd": "responded", "cbp": "responded"}
    assert len(office.desk) == 0


async def test_routed_is_on_disk_before_anybody_hears_of_it(office: Office) -> None:
    """While the log can't be written an order is refused and no provider is told."""
    office.log.broken = True
    await office.desk.place("sheriff", [office.placement("lapd")])
    assert office.post.summary == [("sheriff/gateway", "order_rejection")]
    assert "log cannot be written" in office.post.all("order_rejection")[0].order_rejection.text
    assert len(office.desk) == 0


async def test_account_waits_until_it_is_logged(office: Office) -> None:
    """An account whose entry can't be written isn't signed; it comes by itself once the log recovers."""
    placement = office.placement("lapd")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    office.log.broken = True
    office.desk.receipt("lapd", office.receipt(order, "lapd"))
    await asyncio.sleep(0.05)
    assert not office.post.all("account")
    office.log.broken = False
    account = await office.account()
    assert account.entries[0].kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_absent_provider_is_told_as_unreachable_at_once(office: Office) -> None:
    """A provider without a link costs no waiting, and is not announced to."""
    await office.desk.place("sheriff", [office.placement("dea")])
    account = await office.account()
    assert [(e.provider, e.kind, e.announced) for e in account.entries] == [
        ("dea", common_pb2.OUTCOME_KIND_UNREACHABLE, False)
    ]
    assert not office.post.all("announcement")


async def test_silent_provider_is_timed_out_at_the_deadline_and_cancelled(office: Office) -> None:
    """At the deadline the account goes out, and the silent adapter is told to stop."""
    placement = office.placement("lapd", "cbp", lasts=timedelta(seconds=1.5))
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    office.desk.receipt("cbp", office.receipt(order, "cbp"))
    account = await office.account()
    assert [e.kind for e in account.entries] == [
        common_pb2.OUTCOME_KIND_TIMED_OUT,
        common_pb2.OUTCOME_KIND_RESPONDED,
    ]
    cancels = [
        (end, frame.cancel.deadline_passed) for end, kind, frame in office.post.sent if kind == "cancel"
    ]
    assert cancels == [("lapd/adapter", True)]
    office.desk.receipt("lapd", office.receipt(order, "lapd"))
    assert len(office.post.all("stamp")) == 1


async def test_bad_receipt_is_accounted_for_and_not_stamped(office: Office) -> None:
    """A receipt under another marking than the lodged ceiling is BAD_RECEIPT, and is not delivered."""
    placement = office.placement("lapd")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])

    def change(receipt: result_pb2.Receipt) -> None:
        receipt.ceiling_marking = b"a marking of its own"

    office.desk.receipt("lapd", office.receipt(order, "lapd", change=change))
    account = await office.account()
    assert account.entries[0].kind == common_pb2.OUTCOME_KIND_BAD_RECEIPT
    assert not account.entries[0].HasField("stamp")
    assert not office.post.all("stamp")


async def test_receipt_of_a_stranger_to_the_exchange_does_nothing(office: Office) -> None:
    """`cbp`, which isn't asked, can neither answer nor spoil an exchange of `lapd`'s."""
    placement = office.placement("lapd")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    office.desk.receipt("cbp", office.receipt(order, "lapd", signed_by="cbp"))
    office.desk.receipt("cbp", office.receipt(order, "lapd"))
    assert not office.post.all("stamp")
    assert not office.post.all("account")
    office.desk.receipt("lapd", office.receipt(order, "lapd"))
    assert (await office.account()).entries[0].kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_second_different_receipt_is_logged_as_a_contradiction(office: Office) -> None:
    """Two statements about one exchange: the first stays, the second stands in the log, once."""
    placement = office.placement("lapd", "cbp")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    for _ in range(3):
        office.desk.receipt("lapd", office.receipt(order, "lapd"))
    entries = await office.logged()
    assert [entry.kind for entry in entries] == ["routed", "contradiction"]
    assert entries[1].public["peer"] == "lapd"
    assert len(office.post.all("stamp")) == 1


async def test_asker_cancels_and_nobody_else_can(office: Office) -> None:
    """Only the agency that placed an exchange ends it; the adapters are told, the account says so."""
    placement = office.placement("lapd")
    order = office.order_of(placement)
    await office.desk.place("sheriff", [placement])
    office.desk.cancel("cbp", order.exchange_id)
    assert len(office.desk) == 1
    office.desk.cancel("sheriff", order.exchange_id)
    account = await office.account()
    assert account.entries[0].kind == common_pb2.OUTCOME_KIND_CANCELLED
    assert office.post.all("cancel")[0].cancel.deadline_passed is False


async def test_gateway_that_is_gone_cancels_its_exchanges_alone(office: Office) -> None:
    """What a lost gateway asked is ended at the providers; another agency's exchanges go on."""
    await office.desk.place("sheriff", [office.placement("lapd")])
    await office.desk.place("cbp", [office.placement("lapd", requester="cbp", signed_by="cbp")])
    office.desk.gateway_lost("sheriff")
    assert len(office.desk) == 1
    entries = await office.logged()
    assert [(e.kind, e.public["agency"]) for e in entries[2:]] == [("accounted", "sheriff")]
    assert entries[2].public["outcomes"] == {"lapd": "cancelled"}


async def test_adapter_lost_is_unreachable_without_waiting(office: Office) -> None:
    """A provider whose link ends while it is asked costs no deadline."""
    await office.desk.place("sheriff", [office.placement("lapd")])
    office.desk.adapter_lost("lapd")
    account = await office.account()
    assert [(e.kind, e.announced) for e in account.entries] == [(common_pb2.OUTCOME_KIND_UNREACHABLE, True)]


async def test_replay_after_a_restart_is_refused(tmp_path: Path, statements: Any) -> None:
    """The broker's own log gives back what was routed: a restart doesn't make an order fresh again."""
    async with open_office(tmp_path, statements, "lapd") as office:
        placement = office.placement("lapd")
        await office.desk.place("sheriff", [placement])
        assert len(office.post.all("announcement")) == 1
    async with open_office(tmp_path, statements, "lapd") as again:
        await again.desk.place("sheriff", [placement])
        assert again.post.summary == [("sheriff/gateway", "order_rejection")]
        rejection = again.post.all("order_rejection")[0].order_rejection
        assert "placed before" in rejection.text
        assert rejection.exchange_id == query_pb2.Order.FromString(placement.order.payload).exchange_id
        assert [entry.kind for entry in await again.logged()] == ["routed", "order_refused"]


async def test_agency_over_its_limit_is_refused_and_another_is_not(tmp_path: Path, statements: Any) -> None:
    """Exchanges in flight are limited per agency, so that one can't take the room of all."""
    async with open_office(tmp_path, statements, "lapd", limit=2) as office:
        await office.desk.place("sheriff", [office.placement("lapd") for _ in range(3)])
        assert len(office.post.all("announcement")) == 2
        (rejected,) = office.post.all("order_rejection")
        assert rejected.order_rejection.reason == link_pb2.ORDER_REJECTION_REASON_LIMIT
        assert "agency" in rejected.order_rejection.text
        await office.desk.place("cbp", [office.placement("lapd", requester="cbp", signed_by="cbp")])
        assert len(office.post.all("announcement")) == 3


async def test_full_broker_refuses_everybody_until_an_exchange_ends(tmp_path: Path, statements: Any) -> None:
    """All agencies together have a limit, which is the broker's own memory; what ends makes room again."""
    async with open_office(tmp_path, statements, "lapd", room=2) as office:
        first = office.placement("lapd")
        await office.desk.place("sheriff", [first, office.placement("lapd")])
        await office.desk.place("cbp", [office.placement("lapd", requester="cbp", signed_by="cbp")])
        (rejected,) = office.post.all("order_rejection")
        assert rejected.order_rejection.reason == link_pb2.ORDER_REJECTION_REASON_LIMIT
        assert "at this broker" in rejected.order_rejection.text
        office.desk.cancel("sheriff", query_pb2.Order.FromString(first.order.payload).exchange_id)
        await office.desk.place("cbp", [office.placement("lapd", requester="cbp", signed_by="cbp")])
        assert len(office.post.all("announcement")) == 3
        assert len(office.desk) == 2


@pytest.mark.parametrize("refusal", list(OrderRefusal), ids=lambda refusal: str(refusal.name))
def test_every_refusal_of_an_order_has_a_reason_for_machines(refusal: OrderRefusal) -> None:
    """A gateway acts on the reason, never on the line for people."""
    assert refusal.reason != link_pb2.ORDER_REJECTION_REASON_UNSPECIFIED


async def test_order_under_an_expired_roster_is_refused(office: Office) -> None:
    """A list past its date is not trusted: nobody can hold the broker on an old roster."""
    office.trust.expired = True
    await office.desk.place("sheriff", [office.placement("lapd")])
    assert office.post.summary == [("sheriff/gateway", "order_rejection")]


async def test_stop_accounts_for_what_is_in_flight_and_takes_nothing_more(office: Office) -> None:
    """Nobody is left in the dark by an orderly stop."""
    await office.desk.place("sheriff", [office.placement("lapd")])
    office.desk.stop()
    assert (await office.account()).entries[0].kind == common_pb2.OUTCOME_KIND_UNREACHABLE
    await office.desk.place("sheriff", [office.placement("lapd")])
    assert office.post.summary[-1] == ("sheriff/gateway", "order_rejection")


async def test_refusals_hold_no_more_than_agency_and_reason(office: Office) -> None:
    """What is logged of a refused order names who and why."""
    await office.desk.place("sheriff", [office.placement("lapd", "vendor")])
    (entry,) = await office.logged()
    assert entry.kind == "order_refused"
    assert dict(entry.public) == {"agency": "sheriff", "reason": "no_ceiling", "provider": "vendor"}
