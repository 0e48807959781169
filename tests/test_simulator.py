"""The simulator itself: an honest federation answers in it, and time that nobody waits for passes."""

from __future__ import annotations

from tests.simulator import FederationSimulator


async def test_honest_federation_answers_in_full(federation: FederationSimulator) -> None:
    """Four providers release two pages each; all of it is shown, stamped, and nothing is found."""
    answer = await federation.search(days=30)
    assert answer.kinds == dict.fromkeys(("cbp", "dea", "lahd", "lapd"), "RESPONDED"), answer
    assert answer.is_whole
    assert [len(outcome.pages) for outcome in answer.outcomes.values()] == [2, 2, 2, 2]
    assert all(outcome.stamp is not None for outcome in answer.outcomes.values())


async def test_silent_provider_is_named_not_hidden(federation: FederationSimulator) -> None:
    """A provider that never answers appears in the answer as timed out, and costs one deadline."""
    federation["lahd"].goes_silent()
    answer = await federation.search()
    assert answer.outcomes["lahd"].kind == "TIMED_OUT"
    assert answer.outcomes["lapd"].kind == "RESPONDED"
    assert 4 <= answer.seconds < 5
