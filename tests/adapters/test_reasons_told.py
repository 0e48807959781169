"""A provider whose policy demands a real reason, on its one path: refused, cited, logged, not searched."""

from __future__ import annotations

import re

import pytest

from comity.policy.written import read_facts
from comity.v1 import common_pb2
from tests.adapters.bench import Bench, detail_of


@pytest.mark.parametrize("text", ["investigation", "test", "burglary", "8ABC-123, case LA-2026-1"])
async def test_vague_reason_is_refused_with_its_policy_and_no_store_is_touched(
    bench: Bench, text: str
) -> None:
    """The receipt cites the rule; the decision's facts are logged, and none of them holds the text (Q4)."""
    reply = await bench.reply(bench.ask(bench.query(reason_text=text)))
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    rule = detail_of(reply).rules[0]
    assert (rule.policy_id, list(rule.rules)) == ("lapd.telling-reason", ["Q3", "Q4"])
    assert bench.source.queries == []
    decided = next(entry for entry in bench.log.entries if entry.kind == "decided")
    facts = decided.private["facts"]
    assert read_facts(facts)[0].told.vague
    assert not {"investigation", "burglary", "8ABC"} & set(re.findall("[A-Za-z0-9]+", facts))


async def test_words_of_the_bundle_in_force_decide(bench: Bench) -> None:
    """A text that tells enough is answered, under the very same policies (Q4)."""
    reply = await bench.reply(bench.ask(bench.query(reason_text="trailer stolen at pier 300")))
    assert reply.kind == common_pb2.OUTCOME_KIND_RESPONDED
