"""Orders from outside the window in which replays are remembered: one exchange, one receipt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from comity.adapters.replay import ReplayGuard
from comity.adapters.state import open_state
from comity.certs.instants import from_instant
from comity.v1 import common_pb2, query_pb2
from tests.adapters.bench import NOON, Bench


async def test_order_that_was_answered_gets_no_second_truth_after_its_window(bench: Bench) -> None:
    """What is too old to be remembered is not answered: its first receipt said otherwise (design 3)."""
    ask = bench.ask()
    reply = await bench.reply(ask)
    assert reply.kind == common_pb2.OUTCOME_KIND_RESPONDED
    bench.clock.forward(131)
    bench.announcements.clear()
    await bench.reply()  # what is written next makes room by forgetting the first
    bench.announce(ask.exchange_id, "lahd")
    assert await bench.answer(ask) is None
    assert bench.log.kinds()[-1] == "rejected"
    assert bench.log.entries[-1].public["reason"] == "expired"


async def test_order_from_the_end_of_time_is_rejected(bench: Bench) -> None:
    """A time at the edge of the calendar is a rejection like any other, not a fault."""

    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    member = bench.federation.member("lahd")
    keys = tuple(replace(key, not_after=end) for key in member.key_set.statement_keys)
    members = {
        **bench.federation.members,
        "lahd": replace(member, key_set=replace(member.key_set, statement_keys=keys)),
    }
    bench.standing(federation=replace(bench.federation, members=members))

    def last_instant(order: query_pb2.Order) -> None:
        order.issued_at.CopyFrom(from_instant(end))

    assert await bench.answer(bench.ask(order=last_instant)) is None
    assert bench.log.entries[-1].public["reason"] == "expired"


async def test_order_from_the_far_future_is_not_remembered_for_ever(bench: Bench) -> None:
    """One hostile order can't keep all that come after it in memory."""

    def next_month(order: query_pb2.Order) -> None:
        order.issued_at.CopyFrom(from_instant(NOON + timedelta(days=30)))

    ask = bench.ask(order=next_month)
    assert await bench.answer(ask) is None
    bench.clock.forward(300)
    guard = ReplayGuard(open_state(bench.folder / "state.db"), clock=bench.clock)
    await guard.admit("lahd", ask.exchange_id, until=bench.clock() + timedelta(seconds=130))
