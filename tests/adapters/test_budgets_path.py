"""Budgets on the provider's one path: signed, cited, logged, and nobody else's questions spend them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from comity.adapters.recomputing import Bundles
from comity.adapters.records import kind_name, told_of
from comity.adapters.ruling import rule
from comity.certs.instants import to_instant
from comity.policy.bundle import shipped
from comity.policy.written import read_facts
from comity.v1 import common_pb2
from tests.adapters.bench import NOON, Bench, detail_of
from tests.support.federation import FederationOnDisk

LIMITED = common_pb2.OUTCOME_KIND_RATE_LIMITED
RESPONDED = common_pb2.OUTCOME_KIND_RESPONDED


def with_budget(folder: Path, budget: str) -> Path:
    """LAPD's bundle, with a budget on its permit of the Port Police."""
    shutil.copytree(shipped("lapd"), folder)
    permits = folder / "policies" / "40-permits.cedar"
    text = permits.read_text()
    permits.write_text(text.replace('@retain_days("730")', f'@retain_days("730")\n@budget("{budget}")', 1))
    return folder


@pytest.fixture
def budgeted(provider_federation: FederationOnDisk, tmp_path: Path) -> Iterator[Bench]:
    """LAPD's end, which takes two questions an hour of one user of the Port Police."""
    bench = Bench(provider_federation, tmp_path, bundle=with_budget(tmp_path / "law", "user 2/hour"))
    yield bench
    bench.threads.shutdown()


async def test_question_over_the_budget_gets_a_signed_limit_that_says_when(budgeted: Bench) -> None:
    """RATE_LIMITED cites the policy, says the instant, touches no store, and is logged like a decision."""
    for _ in range(2):
        assert (await budgeted.reply()).kind == RESPONDED
        budgeted.clock.forward(60)
    searched = len(budgeted.source.queries)
    reply = await budgeted.reply()
    assert budgeted.receipt(reply.receipt).kind == LIMITED
    detail = detail_of(reply)
    assert detail.kind == LIMITED and not reply.pages
    assert [item.policy_id for item in detail.rules] == ["lapd.moa"] and detail.rules[0].document
    assert detail.public_reason == "the budget is used up: 2 questions an hour for one user"
    assert to_instant(detail, "retry_at") == NOON + timedelta(hours=1)
    assert detail.retry_after_seconds == 58 * 60
    assert len(budgeted.source.queries) == searched
    assert budgeted.log.kinds()[-3:] == ["received", "decided", "released"]
    assert {entry.public["outcome"] for entry in budgeted.log.entries[-2:]} == {"rate_limited"}


async def test_who_comes_back_when_told_is_answered(budgeted: Bench) -> None:
    """A question that was turned away doesn't push back the instant that it was told."""
    await budgeted.reply()
    await budgeted.reply()
    told = to_instant(detail_of(await budgeted.reply()), "retry_at")
    budgeted.clock.forward(1800)
    for _ in range(2):
        assert to_instant(detail_of(await budgeted.reply()), "retry_at") == told
    budgeted.clock.forward((told - budgeted.clock()).total_seconds())
    assert (await budgeted.reply()).kind == RESPONDED


async def test_restart_gives_no_budget_back(budgeted: Bench) -> None:
    """The counts are on disk with the exchange itself."""
    await budgeted.reply()
    await budgeted.reply()
    budgeted.build()
    assert (await budgeted.reply()).kind == LIMITED


async def test_question_whose_decision_is_not_logged_spends_nothing(budgeted: Bench) -> None:
    """A log that is full for a while uses up nobody's budget, in memory or on disk."""
    budgeted.log.unwritable = frozenset({"decided"})
    for _ in range(3):
        assert (await budgeted.reply()).kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE
    budgeted.log.unwritable = frozenset()
    assert (await budgeted.reply()).kind == RESPONDED
    budgeted.build()
    assert (await budgeted.reply()).kind == RESPONDED
    assert (await budgeted.reply()).kind == LIMITED


async def test_agency_over_what_is_remembered_is_turned_away_undecided(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger has an end for each agency, which no policy needs to set; another one's is its own."""
    monkeypatch.setattr(bench.path._spending, "_most_a_day", 2)
    for _ in range(2):
        assert (await bench.reply()).kind == RESPONDED
    reply = await bench.reply()
    assert reply.kind == LIMITED and bench.receipt(reply.receipt).kind == LIMITED
    assert bench.log.kinds().count("decided") == 2
    assert bench.log.entries[-1].public["reason"] == "crowded_day"
    assert (await bench.reply(bench.ask(requester="sheriff"), peer="sheriff")).kind == RESPONDED
    bench.clock.forward(24 * 3600)
    assert bench.path._spending.look(agency="lahd", user="x", plates=("8ABC123",), likeness="").spent


async def test_refused_questions_count(budgeted: Bench) -> None:
    """Who tries out what the policy permits spends the budget, as any question does."""
    for _ in range(2):
        vague = budgeted.ask(budgeted.query(reason_text="test"))
        assert (await budgeted.reply(vague)).kind == common_pb2.OUTCOME_KIND_REFUSED
    assert (await budgeted.reply()).kind == LIMITED


async def test_replayed_malformed_and_forged_questions_spend_nothing(budgeted: Bench) -> None:
    """Nobody starves a user with questions that this user never asked, or that were none."""
    ask = budgeted.ask()
    assert (await budgeted.reply(ask)).kind == RESPONDED
    for _ in range(3):
        assert await budgeted.answer(ask) is None
        assert (await budgeted.reply(budgeted.ask(budgeted.query(case_number=None)))).kind != RESPONDED
        assert (await budgeted.reply(budgeted.ask(budgeted.query(assertion="x.y.z")))).kind != RESPONDED
        forged = budgeted.ask(signer=budgeted.statement_key("sheriff"))
        assert await budgeted.answer(forged) is None
    assert (await budgeted.reply()).kind == RESPONDED
    assert (await budgeted.reply()).kind == LIMITED


async def test_other_agency_is_answered_while_one_is_limited(budgeted: Bench) -> None:
    """A budget is of the agency that asks: no other can use it up (L6)."""
    for _ in range(3):
        await budgeted.reply()
    assert (await budgeted.reply(budgeted.ask(requester="sheriff"), peer="sheriff")).kind == RESPONDED


async def test_questions_at_the_same_time_get_no_more_than_the_budget(budgeted: Bench) -> None:
    """Ten together: two are answered, whatever waits for the disk meanwhile."""
    replies = await asyncio.gather(*(budgeted.reply() for _ in range(10)))
    assert sorted(reply.kind for reply in replies) == [RESPONDED] * 2 + [LIMITED] * 8


async def test_limited_decision_is_made_again_from_what_was_logged(budgeted: Bench, tmp_path: Path) -> None:
    """`policy replay` needs no ledger: what was spent is among the facts, and no user or plate is."""
    for _ in range(3):
        await budgeted.reply()
    decided = [entry for entry in budgeted.log.entries if entry.kind == "decided"][-1]
    request, stores = read_facts(decided.private["facts"])
    assert request.spent.user_hour == 2
    engine = Bundles([tmp_path / "law"]).engine(budgeted.bundle.digest.hex())
    assert engine is not None
    ruling = rule(request, engine=engine, stores=stores)
    assert (kind_name(ruling.kind), told_of(ruling)) == (
        decided.public["outcome"],
        {name: value for name, value in decided.private.items() if name != "facts"},
    )


async def test_one_text_for_many_plates_is_refused(bench: Bench) -> None:
    """The 26th plate under one pasted text is refused, under another text it is answered (Q4)."""
    for number in range(25):
        plate = common_pb2.Plate(number=f"7XYZ{number:03}", state="CA", country="US")
        text = f"seen with 7XYZ-{number:03} near the pier"
        assert (await bench.reply(bench.ask(bench.query(plate=plate, reason_text=text)))).kind == RESPONDED
    pasted = bench.ask(bench.query(reason_text="Seen with 8ABC123 near the PIER!"))
    reply = await bench.reply(pasted)
    assert [item.policy_id for item in detail_of(reply).rules] == ["lapd.pasted-reason"]
    assert (await bench.reply()).kind == RESPONDED
