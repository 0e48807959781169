"""Completeness as design 5 has it, for every mixture of outcomes and every rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.gateway.errors import Incomplete, NobodyAnswered, RequestInvalid
from comity.gateway.exchange import Settled
from comity.gateway.summary import has_answer, lacks, require_reachable, summarize
from comity.v1 import common_pb2, query_pb2, query_service_pb2
from tests.gateway.conftest import Provider, make_question
from tests.gateway.test_gateway import CLAIMS, SHORT, World

AGENCIES = ("cbp", "dea", "ice", "lahd", "lapd", "vendor")
SIGNED = ("RESPONDED", "REFUSED", "REFERRED", "RATE_LIMITED", "AUDIT_UNAVAILABLE", "MALFORMED")
BY_BROKER = ("UNREACHABLE", "TIMED_OUT", "BAD_RECEIPT", "CANCELLED")
BY_GATEWAY = ("UNVERIFIABLE", "SESSION_FAILED", "TIMED_OUT", "UNREACHABLE")
OUTCOMES = (
    *((kind, "PROVIDER") for kind in SIGNED),
    *((kind, "BROKER") for kind in BY_BROKER),
    *((kind, "GATEWAY") for kind in BY_GATEWAY),
    ("RESPONDED", "BROKER"),  # nobody's to say; it must count for nothing
    ("RESPONDED", "GATEWAY"),
)

asked = st.dictionaries(st.sampled_from(AGENCIES), st.sampled_from(OUTCOMES), max_size=len(AGENCIES))
rules = st.one_of(
    st.just(("ALL", None)),
    st.tuples(st.just("QUORUM"), st.integers(1, len(AGENCIES))),
    st.tuples(st.just("REQUIRED"), st.sets(st.sampled_from(AGENCIES), min_size=1)),
    st.just(("BEST_EFFORT", None)),
    st.just(("UNSET", None)),
)


def a_rule(name: str, of: Any) -> query_pb2.Completeness:
    match name:
        case "ALL":
            return query_pb2.Completeness(all=True)
        case "QUORUM":
            return query_pb2.Completeness(quorum=of)
        case "REQUIRED":
            return query_pb2.Completeness(required=query_pb2.RequiredProviders(agencies=sorted(of)))
        case "BEST_EFFORT":
            return query_pb2.Completeness(best_effort=True)
        case _:
            return query_pb2.Completeness()


def as_settled(outcomes: Mapping[str, tuple[str, str]]) -> dict[str, Settled]:
    return {
        agency: Settled(
            provider=agency,
            kind=common_pb2.OutcomeKind.Value(f"OUTCOME_KIND_{kind}"),
            attested_by=query_service_pb2.Attestation.Value(f"ATTESTATION_{who}"),
        )
        for agency, (kind, who) in outcomes.items()
    }


def is_met(name: str, of: Any, outcomes: Mapping[str, tuple[str, str]]) -> bool:
    """Design section 5, word for word."""
    signed = [agency for agency, (_, who) in outcomes.items() if who == "PROVIDER"]
    responded = {agency for agency, told in outcomes.items() if told == ("RESPONDED", "PROVIDER")}
    if not signed:  # nobody answered: never OK and empty
        return False
    match name:
        case "ALL":
            return len(signed) == len(outcomes)
        case "QUORUM":
            return len(responded) >= of
        case "REQUIRED":
            return of <= responded
        case _:
            return True


@given(outcomes=asked, rule=rules)
def test_summary_is_complete_exactly_as_the_rule_says(
    outcomes: dict[str, tuple[str, str]], rule: tuple[str, Any]
) -> None:
    """ALL counts what providers signed, QUORUM and REQUIRED only `RESPONDED`, and nobody is never enough."""
    settled, met = as_settled(outcomes), is_met(*rule, outcomes)
    summary = summarize(b"x", settled, (), a_rule(*rule), None)
    assert summary.complete is met
    assert bool(summary.incomplete_text) is not met
    assert {one.agency for one in summary.providers} == set(outcomes)
    assert len(summary.providers) == len(outcomes)
    assert has_answer(settled) is any(who == "PROVIDER" for _, who in outcomes.values())


@given(outcomes=asked, rule=rules)
def test_line_on_what_lacks_names_who_lacks_and_nobody_else(
    outcomes: dict[str, tuple[str, str]], rule: tuple[str, Any]
) -> None:
    """A person reads who is missing: under ALL who signed nothing, under REQUIRED who didn't respond."""
    line = lacks(a_rule(*rule), as_settled(outcomes))
    named = {agency for agency in AGENCIES if agency in line}
    name, of = rule
    if name == "ALL":
        assert named == {agency for agency, (_, who) in outcomes.items() if who != "PROVIDER"}
    elif name == "REQUIRED":
        assert named == {agency for agency in of if outcomes.get(agency) != ("RESPONDED", "PROVIDER")}
    else:
        assert not named


@given(can_be_asked=st.sets(st.sampled_from(AGENCIES), min_size=1), rule=rules)
def test_rule_is_refused_before_asking_exactly_where_no_answer_could_meet_it(
    can_be_asked: set[str], rule: tuple[str, Any]
) -> None:
    """If all who can be asked responding would not do, nothing of the question leaves the house."""
    best = dict.fromkeys(can_be_asked, ("RESPONDED", "PROVIDER"))
    try:
        require_reachable(a_rule(*rule), can_be_asked)
        is_refused = False
    except RequestInvalid:
        is_refused = True
    assert is_refused is not is_met(*rule, best)


RULES: dict[str, query_pb2.Completeness] = {
    "ALL": a_rule("ALL", None),
    "QUORUM": a_rule("QUORUM", 2),
    "REQUIRED": a_rule("REQUIRED", {"lahd"}),
}
"""Each met by two who respond, and not by one."""


@pytest.mark.parametrize("rule", [*RULES.values(), a_rule("BEST_EFFORT", None)], ids=[*RULES, "BEST_EFFORT"])
async def test_nobody_answered_is_an_error_after_the_summary_under_every_rule(
    rule: query_pb2.Completeness,
) -> None:
    """Never OK and empty: the summary names everyone, then the call fails."""
    world = World(Provider("lapd"), Provider("lahd"))
    world.silent = {"lapd", "lahd"}
    parts, question = [], make_question(completeness=rule, **SHORT)
    with pytest.raises(NobodyAnswered):
        async for message in world.gateway.search(question, CLAIMS, "jwt"):
            parts.append(message)
    assert parts[-1].WhichOneof("part") == "summary"
    assert not parts[-1].summary.complete
    assert {one.agency for one in parts[-1].summary.providers} == {"lapd", "lahd"}


@pytest.mark.parametrize("rule", RULES)
async def test_what_a_rule_lacks_is_an_error_after_the_summary(rule: str) -> None:
    """One of two is silent: what the other gave is shown, then the summary, then the error."""
    world = World(Provider("lapd"), Provider("lahd"))
    world.silent = {"lahd"}
    parts = []
    with pytest.raises(Incomplete):
        async for message in world.gateway.search(
            make_question(completeness=RULES[rule], **SHORT), CLAIMS, "jwt"
        ):
            parts.append(message)
    told = [message.WhichOneof("part") for message in parts]
    assert told[0] == "plan" and told[-1] == "summary" and "page" in told
    assert not parts[-1].summary.complete and parts[-1].summary.incomplete_text


def test_answer_that_nobody_was_asked_for_is_not_complete() -> None:
    """ALL of nobody is not all: an empty answer never looks like a complete one."""
    assert not summarize(b"", {}, (), RULES["ALL"], None).complete
