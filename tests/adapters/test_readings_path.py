"""Several readings of a plate at the provider: those that were named are searched, each read says which."""

from __future__ import annotations

import time

import pytest

from comity.adapters.errors import Late
from comity.adapters.sources.source import SourceResult
from comity.policy.written import read_facts
from comity.v1 import common_pb2
from tests.adapters.bench import Bench, detail_of, reads_of, stored_read

RESPONDED = common_pb2.OUTCOME_KIND_RESPONDED
MALFORMED = common_pb2.OUTCOME_KIND_MALFORMED


async def test_named_readings_are_searched_and_each_read_says_which_it_is(bench: Bench) -> None:
    """Exactly the plate and the readings that were named; another likely one stays where it is (Q10)."""
    bench.source.reads = [
        stored_read(1),
        stored_read(2, plate="8A8-C123"),
        stored_read(3, plate="BABC123"),
        stored_read(4, plate="8ABCI23"),
    ]
    reply = await bench.reply(bench.ask(bench.query(readings=["8A8C123", "BABC123"])))
    assert reply.kind == RESPONDED
    assert sorted((read.plate.number, read.matched_reading) for read in reads_of(reply)) == [
        ("8A8-C123", "8A8C123"),
        ("8ABC-123", "8ABC123"),
        ("BABC123", "BABC123"),
    ]
    assert [query.folded_plate for query in bench.source.queries] == ["8ABC123", "8A8C123", "BABC123"]
    received, decided = bench.log.entries[:2]
    assert received.private["readings"] == "8A8C123 BABC123"
    facts = decided.private["facts"]
    assert read_facts(facts)[0].readings == 3 and "8A8C123" not in facts


async def test_search_that_nobody_waits_for_takes_no_further_reading(bench: Bench) -> None:
    """Each reading has the time that is left, and what was given up frees the store's thread."""
    ask = bench.ask(bench.query(readings=["8A8C123", "BABC123"]))

    def give_up_at_the_second() -> None:
        time.sleep(0.002)
        if len(bench.source.queries) == 2:
            bench.source.queries[-1].over.set()

    bench.source.hook = give_up_at_the_second
    with pytest.raises(Late):
        await bench.answer(ask)
    first, second = (query.seconds for query in bench.source.queries)
    assert first is not None and second is not None and second < first <= 10


async def test_exactly_the_plate_names_no_reading(bench: Bench) -> None:
    """Without readings nothing changes: the misread stays another plate (Q6)."""
    bench.source.reads = [stored_read(1), stored_read(2, plate="8A8C123")]
    reply = await bench.reply()
    assert [(read.plate.number, read.matched_reading) for read in reads_of(reply)] == [("8ABC-123", "")]
    assert "readings" not in bench.log.entries[0].private


async def test_store_that_gives_a_reading_nobody_named_is_cut(bench: Bench) -> None:
    """What a store gives is held against each reading by itself, and given once."""
    bench.source.gives = SourceResult(
        reads=(stored_read(1), stored_read(2, plate="8A8C123"), stored_read(3, plate="8ABCI23")),
        truncated=False,
    )
    reply = await bench.reply(bench.ask(bench.query(readings=["8A8C123"])))
    assert sorted(read.read_id for read in reads_of(reply)) == ["fixed:r1", "fixed:r2"]


@pytest.mark.parametrize(
    ("readings", "violation"),
    [
        (["9XYZ999"], "readings[0]: expected a likely reading"),
        (["8A8C123", "BA8CI23"], "readings[1]: expected a likely reading"),
        (["8abc-123"], "readings[0]: expected a folded plate"),
        (["8ABC1%3"], "readings[0]: expected a folded plate"),
        ([""], "readings[0]: expected a folded plate"),
        (["8ABC123"], "readings[0]: expected each once, and not the plate"),
        (["8A8C123", "8A8C123"], "readings[1]: expected each once"),
        (["8A8C123"] * 64, "readings: expected at most 63"),
    ],
)
async def test_reading_that_is_none_is_malformed_and_named(
    bench: Bench, readings: list[str], violation: str
) -> None:
    """No second plate, no pattern, no list without bound slips in as a reading (Q1, Q10, Q11)."""
    reply = await bench.reply(bench.ask(bench.query(readings=readings)))
    assert reply.kind == MALFORMED
    said = list(detail_of(reply).violations)
    assert any(item.startswith(violation) for item in said)
    assert not any(word in item for item in said for word in ("9XYZ", "8A8C", "BA8C", "8ABC"))
    assert bench.source.queries == [] and "decided" not in bench.log.kinds()


async def test_requester_without_permission_is_refused_as_a_whole(bench: Bench) -> None:
    """Not even the plate itself is searched: an answer for it alone would look like one for all (Q10)."""
    query = bench.query("sheriff", readings=["8A8C123"])
    reply = await bench.reply(bench.ask(query, requester="sheriff"), peer="sheriff")
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    detail = detail_of(reply)
    assert [list(rule.rules) for rule in detail.rules] == [["Q10"]]
    assert "ask for exactly the plate" in detail.public_reason
    assert bench.source.queries == []


async def test_reads_of_all_readings_are_cut_to_one_number(bench: Bench) -> None:
    """The newest of all of them, and the answer says that there were more."""
    bench.source.reads = [stored_read(n, plate="8A8C123") for n in range(700)] + [
        stored_read(1000 + n) for n in range(700)
    ]
    detail = detail_of(await bench.reply(bench.ask(bench.query(readings=["8A8C123"]))))
    assert detail.truncated and detail.read_count == 1000
